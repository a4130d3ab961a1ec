//! The bound on the length of a URI.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const MAX_BYTES: usize = 16_384;

/// A longer URI is refused at the gateway, before login and limits. The body is that of Jetty, which stands there;
/// unverified.
pub(super) async fn bounded(request: Request, next: Next) -> Response {
    let uri = request.uri();
    let length = uri.path_and_query().map_or(0, |p| p.as_str().len());
    if length <= MAX_BYTES {
        return next.run(request).await;
    }
    let body = "<h1>Bad Message 414</h1><pre>reason: URI Too Long</pre>";
    (axum::http::StatusCode::URI_TOO_LONG, [("content-type", "text/html;charset=iso-8859-1")], body).into_response()
}
