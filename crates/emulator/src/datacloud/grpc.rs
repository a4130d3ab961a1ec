//! The query service: each request is checked and passed on to Hyper, and its answer back as it comes.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Request;
use axum::response::Response;
use axum::routing::post;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use prost::Message;

use super::message::{PREFIX, QueryParam, fields};
use super::refusal::{Code, SERVICE, grpc};
use super::statement::only_reads;
use super::{Engine, message};
use crate::Shared;

/// Hyper's own bound on a query's text (`max_query_size`); parameters have room beside it.
const LONGEST_REQUEST: usize = 80 << 20;

pub(super) fn router() -> Router<Shared> {
    Router::new().route(&format!("{SERVICE}{{method}}"), post(pass))
}

async fn pass(State(shared): State<Shared>, Path(method): Path<String>, mut request: Request<Body>) -> Response {
    if !["ExecuteQuery", "GetQueryInfo", "GetQueryResult", "CancelQuery"].contains(&method.as_str()) {
        return grpc(Code::Unimplemented, &format!("the service has no method {method}"));
    }
    let Some(engine) = &shared.engine else {
        return grpc(Code::Unavailable, "this local org was started without hyperd");
    };
    if method == "ExecuteQuery" {
        request = match with_database(request, engine).await {
            Ok(request) => request,
            Err((code, message)) => return grpc(code, message),
        };
    }
    // The token is between the client and this door.
    request.headers_mut().remove("authorization");
    match engine.send(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => {
            tracing::warn!(?error, "hyperd could not be asked");
            grpc(Code::Unavailable, "hyperd could not be asked")
        }
    }
}

/// Checks what is to be executed, and attaches the tenant's tables to it.
async fn with_database(request: Request<Body>, engine: &Engine) -> Result<Request<Body>, (Code, &'static str)> {
    let (mut parts, body) = request.into_parts();
    let body = Limited::new(body, LONGEST_REQUEST).collect().await;
    let body = body.map_err(|_| (Code::InvalidArgument, "the request is too long, or did not end"))?.to_bytes();
    let message = single(&body)?;
    let broken = (Code::InvalidArgument, "the request is not a QueryParam");
    let fields = fields(message).ok_or(broken)?;
    if fields.iter().any(|(number, _)| *number == 2) {
        // A tenant is no file server: which databases there are is its own affair.
        return Err((Code::PermissionDenied, "databases cannot be attached"));
    }
    // Of a field that comes twice, the last one counts.
    let query = fields.iter().rev().find(|(number, _)| *number == 1).map_or(&b""[..], |(_, text)| text);
    let query = std::str::from_utf8(query).map_err(|_| broken)?;
    if !only_reads(query) {
        // How a tenant words it is not documented; that its query service takes queries only is.
        return Err((Code::InvalidArgument, "only queries are allowed: SELECT, WITH, VALUES, TABLE or EXPLAIN"));
    }
    parts.headers.remove("content-length");
    Ok(Request::from_parts(parts, Body::from(attached(message, engine))))
}

/// The one message of a unary request.
fn single(body: &Bytes) -> Result<&[u8], (Code, &'static str)> {
    let (prefix, message) =
        body.split_at_checked(PREFIX).ok_or((Code::InvalidArgument, "the request has no message"))?;
    if prefix[0] != 0 {
        return Err((Code::Unimplemented, "compressed messages are not understood"));
    }
    let length = prefix[1..].try_into().map(u32::from_be_bytes).unwrap_or_default();
    if length as usize != message.len() {
        return Err((Code::InvalidArgument, "the request is not one message"));
    }
    Ok(message)
}

/// A message grows by fields that are written behind it.
fn attached(message: &[u8], engine: &Engine) -> Bytes {
    let addition = QueryParam { databases: vec![engine.attached()], ..QueryParam::default() };
    let length = message.len() + addition.encoded_len();
    let mut frame = BytesMut::with_capacity(message::PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put_slice(message);
    // Only a buffer that is too small makes this fail, and this one grows.
    let _ = addition.encode(&mut frame);
    frame.freeze()
}
