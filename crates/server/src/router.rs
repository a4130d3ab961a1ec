//! The table of contents.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accounts::{api_keys, businesses, invitations, session, setup, team};
use crate::problem::Problem;
use crate::service::Service;
use crate::{connect, guard, health, integrations, openapi, pages, proxy};

/// Longest body, unless a route says otherwise.
const LONGEST_BODY: usize = 256 * 1024;
/// How long an answer may take. Event streams have answered by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long requests may go on once the service is being stopped.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The API, with its description.
fn api() -> OpenApiRouter<Service> {
    OpenApiRouter::with_openapi(proxy::described(openapi::Document::openapi()))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(setup::setup_state, setup::setup))
        .routes(routes!(session::session, session::sign_in, session::sign_out))
        .routes(routes!(session::sessions))
        .routes(routes!(session::end_session))
        .routes(routes!(session::change_password))
        .routes(routes!(businesses::create_business))
        .routes(routes!(team::members))
        .routes(routes!(team::change_role, team::remove_member))
        .routes(routes!(invitations::invitations, invitations::invite))
        .routes(routes!(invitations::take_back))
        .routes(routes!(invitations::accept))
        .routes(routes!(api_keys::keys, api_keys::create_key))
        .routes(routes!(api_keys::revoke_key))
        .routes(routes!(integrations::integrations, integrations::create_integration))
        .routes(routes!(integrations::integration, integrations::change_integration, integrations::delete_integration))
        .routes(routes!(connect::disconnect))
        .routes(routes!(connect::revoke_all))
        .routes(routes!(connect::authorize))
        .routes(routes!(connect::callback))
}

/// The pages: not part of the API, and free to change.
fn pages() -> Router<Service> {
    let css = ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../assets/page.css"));
    let js = |text: &'static str| ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], text);
    let (live, join) = (js(include_str!("../assets/live.js")), js(include_str!("../assets/join.js")));
    Router::new()
        .route("/", get(pages::page))
        .route("/overview", get(pages::overview))
        .route("/sync", axum::routing::post(pages::sync_now))
        .route("/events", get(pages::events))
        .route("/setup", get(pages::sign_in::setup_page).post(pages::sign_in::set_up))
        .route("/sign-in", get(pages::sign_in::sign_in_page).post(pages::sign_in::sign_in))
        .route("/sign-out", axum::routing::post(pages::sign_in::sign_out))
        .route("/join", get(pages::sign_in::join_page).post(pages::sign_in::join))
        .route("/assets/page.css", get(async move || css))
        .route("/assets/live.js", get(async move || live))
        .route("/assets/join.js", get(async move || join))
}

/// All routes.
pub fn router(service: Service) -> Router {
    let (api, document) = api().split_for_parts();
    let document = openapi::Described::new(&document);
    Router::new()
        .merge(api)
        .merge(pages())
        .merge(document.routes())
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, PATIENCE))
        .merge(proxy::routes())
        .fallback(async || Problem::not_found("page or resource"))
        .method_not_allowed_fallback(async || {
            let hint = "the header Allow names the methods that it has";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "there is no such method here", hint)
        })
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            use axum::response::IntoResponse;
            Problem::internal("a handler panicked", &"see the panic's own message").into_response()
        }))
        .layer(from_fn_with_state(service.clone(), guard::local_only))
        .layer(from_fn(guard::headers))
        .with_state(service)
}

/// The description of the API, as JSON.
pub fn openapi_json() -> String {
    openapi::Described::new(&api().into_openapi()).json().to_owned()
}

/// Serves pages and API, and keeps the integrations in step, until `stop` resolves.
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
    let stopping = service.stopping();
    let mut stopped = stopping.subscribe();
    let router = router(service).into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
        stop.await;
        // Open event streams end with this: they would hold the service for ever.
        stopping.send_replace(true);
    });
    let served = tokio::select! {
        served = serving => served,
        // Whoever has not got an answer by then does not get one.
        () = async {
            let _ = stopped.wait_for(|stopping| *stopping).await;
            tokio::time::sleep(LAST_WORDS).await;
        } => Ok(()),
    };
    // A run that is cut off here goes on where it stopped.
    keeping_up.abort();
    served
}
