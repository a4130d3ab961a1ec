//! Requests on their way to a resource, whether they came over the network or out of another request.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request};
use axum::http::header::ALLOW;
use axum::http::{HeaderMap, Method, Response as HttpResponse, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tower::ServiceExt;

use crate::Shared;
use crate::api_error::ApiError;

tokio::task_local! {
    /// The resource that the request is for, such as `GET sobjects/{object}/{id}`.
    static RESOURCE: String;
}

/// Remembers the resource, for the ledger.
pub(super) async fn remember(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let path = path.trim_start_matches("/services/").trim_start_matches("data/").trim_start_matches("{version}");
    let path = path.trim_start_matches('/');
    let resource = format!("{} {}", request.method(), if path.is_empty() { "versions" } else { path });
    RESOURCE.scope(resource, next.run(request)).await
}

pub(super) fn resource() -> Option<String> {
    RESOURCE.try_with(Clone::clone).ok()
}

/// `POST …?_HttpMethod=PATCH`, for clients that cannot send PATCH.
pub(crate) fn override_method(request: &mut Request<Body>) {
    let path = request.uri().path();
    if request.method() != Method::POST
        || !(path.starts_with("/services/data/") || path.starts_with("/services/apexrest/"))
    {
        return;
    }
    let named = request.uri().query().and_then(|query| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == "_HttpMethod")
            .and_then(|(_, method)| method.to_ascii_uppercase().parse().ok())
    });
    if let Some(method) = named {
        *request.method_mut() = method;
    }
}

/// Marks a refusal whose text is to name the methods that are allowed; the router knows them only later.
#[derive(Clone)]
struct Refused(Method);

pub(super) async fn method_not_allowed(method: Method) -> Response {
    let mut response = ApiError::new(405, "METHOD_NOT_ALLOWED", "HTTP Method not allowed").into_response();
    response.extensions_mut().insert(Refused(method));
    response
}

/// The recorded text: `HTTP Method 'PATCH' not allowed. Allowed are GET,HEAD,POST`.
pub(super) fn refuse_method(method: &Method, allowed: &[&str]) -> Response {
    let mut allowed = allowed.to_vec();
    allowed.sort_unstable();
    let allowed = allowed.join(",");
    let message = format!("HTTP Method '{method}' not allowed. Allowed are {allowed}");
    let mut response = ApiError::new(405, "METHOD_NOT_ALLOWED", message).into_response();
    if let Ok(allowed) = allowed.parse() {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

/// Completes a refusal of [`method_not_allowed`].
pub(crate) fn name_methods(response: HttpResponse<Body>) -> HttpResponse<Body> {
    let Some(Refused(method)) = response.extensions().get() else { return response };
    let allowed = response.headers().get(ALLOW).and_then(|a| a.to_str().ok()).unwrap_or("");
    refuse_method(method, &allowed.split(',').map(str::trim).filter(|m| !m.is_empty()).collect::<Vec<_>>())
}

/// A request inside of another one.
pub(super) struct Inner {
    pub(super) method: Method,
    /// From the root of the host; characters that no URL may have are escaped here.
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What stands as it is in recorded URLs of subrequests, though no URL may have it.
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'#');

/// The way for requests inside of others: the same router as for those from outside. To be used inside of
/// [`crate::turn::Turn::keep`] only, where the requests count as one.
#[derive(Clone)]
pub(super) struct Inside(Router);

impl Inside {
    pub(super) fn of(shared: &Shared) -> Self {
        Inside(super::router().with_state(shared.clone()))
    }

    pub(super) async fn send(&self, inner: Inner) -> Answer {
        let refused = |error: ApiError| Answer {
            status: error.status,
            headers: HeaderMap::new(),
            body: error.body().to_string().into_bytes().into(),
        };
        let url = utf8_percent_encode(&inner.url, UNSAFE).to_string();
        let Ok(uri) = url.parse::<Uri>() else { return refused(ApiError::not_found()) };
        let mut request = Request::new(inner.body.map_or_else(Body::empty, Body::from));
        *request.method_mut() = inner.method;
        *request.uri_mut() = crate::serve::plain_path(&uri);
        *request.headers_mut() = inner.headers;
        override_method(&mut request);
        let response = self.0.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let (parts, body) = name_methods(response).into_parts();
        match body.collect().await {
            Ok(body) => Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.to_bytes() },
            Err(_) => refused(ApiError::new(500, "UNKNOWN_EXCEPTION", "the answer broke off")),
        }
    }
}
