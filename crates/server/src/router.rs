//! The table of contents.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::service::Service;
use crate::{guard, pages};

/// All routes.
pub fn router(service: Service) -> Router {
    let css = ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../assets/page.css"));
    let js = ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../assets/live.js"));
    Router::new()
        .route("/", get(pages::page))
        .route("/overview", get(pages::overview))
        .route("/sync", post(pages::sync_now))
        .route("/events", get(pages::events))
        .route("/assets/page.css", get(async move || css))
        .route("/assets/live.js", get(async move || js))
        .route("/health/live", get(async || "live\n"))
        .route("/health/ready", get(pages::ready))
        .layer(from_fn(guard::guard))
        .with_state(service)
}

/// Serves the pages and keeps the integrations in step until `stop` resolves.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let keeper = service.clone();
    let keeping_up = tokio::spawn(async move { keeper.keep_up().await });
    // Open event streams would hold a graceful shutdown for ever: whoever stops the service does not wait for
    // browsers. A run that is cut off here goes on where it stopped.
    let served = tokio::select! {
        served = axum::serve(listener, router(service)) => served,
        () = stop => Ok(()),
    };
    keeping_up.abort();
    served
}
