//! The bound on the length of a URI.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const MAX_BYTES: usize = 16_384;

/// A request inside of another one, which did not come through the gateway: Salesforce's own advice for queries that are
/// too long for a URI (Salesforce Help 000386264).
#[derive(Clone)]
pub(super) struct Enclosed;

/// A longer URI is refused at the gateway, before login and limits. The body is that of Jetty, which stands there;
/// unverified.
pub(super) async fn bounded(request: Request, next: Next) -> Response {
    let uri = request.uri();
    let length = uri.path_and_query().map_or(0, |p| p.as_str().len());
    if length <= MAX_BYTES || request.extensions().get::<Enclosed>().is_some() {
        return next.run(request).await;
    }
    let body = "<h1>Bad Message 414</h1><pre>reason: URI Too Long</pre>";
    (axum::http::StatusCode::URI_TOO_LONG, [("content-type", "text/html;charset=iso-8859-1")], body).into_response()
}
