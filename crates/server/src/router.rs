//! The table of contents.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, RawQuery};
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accounts::oidc::{self, identities};
use crate::accounts::{account, api_keys, businesses, invitations, password_reset, session, setup, team};
use crate::alerts::{channels, notifications, rules};
use crate::background::Background;
use crate::duplicates::{pairs, passes, rules as match_rules};
use crate::limits::{Class, rate_limited};
use crate::mappings::{changing, check, detail, errors, objects, resting, runs};
use crate::problem::Problem;
use crate::records::{reading, webhooks};
use crate::service::Service;
use crate::{
    assets, connect, contacts, export, guard, health, imports, integrations, leads, logs, openapi, pages,
    personal_data, proxy, retention, telemetry,
};

/// Longest body, unless a route says otherwise.
const LONGEST_BODY: usize = 256 * 1024;
/// The longest list of contacts: 200,000 ids in quotes.
const LONGEST_IMPORT: usize = 8 * 1024 * 1024;
/// How long an answer may take. Event streams have answered by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long requests may go on once the service is being stopped.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The API, with its description. `limited` puts the limit of a class before its routes.
fn api(limited: impl Fn(OpenApiRouter<Service>, Class) -> OpenApiRouter<Service>) -> OpenApiRouter<Service> {
    let guessed = OpenApiRouter::new()
        .routes(routes!(setup::setup))
        .routes(routes!(session::sign_in))
        .routes(routes!(session::change_password))
        .routes(routes!(password_reset::reset_password))
        .routes(routes!(account::delete_account))
        .routes(routes!(invitations::accept));
    let people = OpenApiRouter::new()
        .routes(routes!(session::session, session::sign_out))
        .routes(routes!(session::sessions))
        .routes(routes!(identities::identities))
        .routes(routes!(identities::unlink_identity))
        .routes(routes!(session::end_session))
        .routes(routes!(businesses::create_business))
        .routes(routes!(businesses::change_business, businesses::delete_business))
        .routes(routes!(team::members))
        .routes(routes!(team::change_role, team::remove_member))
        .routes(routes!(invitations::invitations, invitations::invite))
        .routes(routes!(invitations::take_back))
        .routes(routes!(api_keys::keys, api_keys::create_key))
        .routes(routes!(api_keys::revoke_key))
        .routes(routes!(logs::audit))
        .routes(routes!(logs::verify_audit));
    let work = OpenApiRouter::new()
        .routes(routes!(integrations::integrations, integrations::create_integration))
        .routes(routes!(integrations::integration, integrations::change_integration, integrations::delete_integration))
        .routes(routes!(logs::logs))
        .routes(routes!(connect::disconnect))
        .routes(routes!(connect::revoke_all))
        .routes(routes!(connect::authorize))
        .routes(routes!(imports::imports))
        .routes(routes!(imports::import))
        .routes(routes!(imports::import_rows))
        .routes(routes!(imports::cancel_import))
        .routes(routes!(imports::retry_import))
        .routes(routes!(leads::leads))
        .routes(routes!(leads::lead))
        .routes(routes!(objects::objects))
        .routes(routes!(objects::object))
        .routes(routes!(detail::mappings, changing::create_mapping))
        .routes(routes!(check::check_mapping))
        .routes(routes!(detail::mapping, changing::change_mapping, changing::delete_mapping))
        .routes(routes!(resting::pause_mapping))
        .routes(routes!(resting::resume_mapping))
        .routes(routes!(runs::runs, runs::request_run))
        .routes(routes!(runs::run))
        .routes(routes!(errors::errors))
        .routes(routes!(reading::records))
        .routes(routes!(reading::record))
        .routes(routes!(reading::synced_contacts))
        .routes(routes!(reading::synced_contact))
        .routes(routes!(webhooks::record_webhooks, webhooks::create_record_webhook))
        .routes(routes!(webhooks::record_webhook, webhooks::change_record_webhook, webhooks::delete_record_webhook))
        .routes(routes!(webhooks::test_record_webhook))
        .routes(routes!(webhooks::rotate_record_webhook_secret))
        .routes(routes!(webhooks::rewind_record_webhook))
        .routes(routes!(pairs::duplicates))
        .routes(routes!(pairs::duplicate))
        .routes(routes!(pairs::dismiss_duplicate))
        .routes(routes!(pairs::merge_duplicate))
        .routes(routes!(pairs::undo_duplicate))
        .routes(routes!(passes::scan_duplicates))
        .routes(routes!(match_rules::match_rules, match_rules::change_match_rules))
        .routes(routes!(personal_data::erasures, personal_data::erase))
        .routes(routes!(personal_data::lift_erasure))
        .routes(routes!(personal_data::person))
        .routes(routes!(retention::retention, retention::change_retention))
        .routes(routes!(export::export))
        .routes(routes!(channels::channels, channels::create_channel))
        .routes(routes!(channels::channel, channels::change_channel, channels::delete_channel))
        .routes(routes!(channels::test_channel))
        .routes(routes!(channels::rotate_secret))
        .routes(routes!(rules::rules, rules::create_rule))
        .routes(routes!(rules::change_rule, rules::delete_rule))
        .routes(routes!(notifications::notifications))
        .routes(routes!(notifications::notification))
        .routes(routes!(notifications::acknowledge));
    let chosen = OpenApiRouter::new()
        .routes(routes!(contacts::contacts, contacts::import_contacts))
        .layer(DefaultBodyLimit::max(LONGEST_IMPORT));
    let back = OpenApiRouter::new().routes(routes!(connect::callback));
    OpenApiRouter::with_openapi(proxy::described(openapi::Document::openapi()))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(setup::setup_state))
        .merge(limited(guessed, Class::SignIn))
        .merge(limited(people, Class::Pages))
        .merge(limited(work.merge(chosen), Class::Api))
        .merge(limited(back, Class::Callback))
}

/// Static files: nothing is counted there.
fn files() -> Router<Service> {
    assets::ALL.into_iter().fold(Router::new(), |router, asset| {
        router.route(asset.path(), get(async move |query: RawQuery| asset.serve(query).await))
    })
}

/// The pages: not part of the API, and free to change.
fn pages() -> Router<Service> {
    Router::new()
        .route("/", get(pages::overview::overview))
        .route("/sync", post(pages::sync_now))
        .route("/events", get(pages::events))
        .route("/theme", post(pages::choices::theme))
        .route("/business", post(pages::choices::business))
        .route("/connections", get(pages::connections::connections))
        .route("/connections/new", get(pages::setup::org::new).post(pages::setup::org::create))
        .route("/connections/{id}", get(pages::connections::connection))
        .route("/connections/{id}/rename", post(pages::connections::rename))
        .route("/connections/{id}/test", post(pages::connections::test))
        .route("/connections/{id}/disconnect", post(pages::connections::disconnect))
        .route("/connections/{id}/delete", post(pages::connections::delete))
        .route("/connections/{id}/pick", get(pages::people::pick).post(pages::people::picked))
        .route("/mappings", get(pages::mappings::list::mappings))
        .route("/mappings/new", get(pages::mappings::choose::choose).post(pages::mappings::edit::make))
        .route("/mappings/{id}", get(pages::mappings::one::mapping))
        .route("/mappings/{id}/edit", get(pages::mappings::edit::edit).post(pages::mappings::edit::change))
        .route("/mappings/{id}/run", post(pages::mappings::acts::run))
        .route("/mappings/{id}/pause", post(pages::mappings::acts::pause))
        .route("/mappings/{id}/resume", post(pages::mappings::acts::resume))
        .route("/mappings/{id}/delete", post(pages::mappings::acts::delete))
        .route("/runs", get(pages::runs::runs))
        .route("/runs/{id}", get(pages::runs::run))
        .route("/runs/{id}/again", post(pages::runs::again))
        .route("/contacts", get(pages::contacts::contacts))
        .route("/contacts/{id}", get(pages::contacts::contact))
        .route("/contacts/{id}/import", post(pages::contacts::import))
        .route("/connections/{id}/setup", get(pages::setup::setup))
        .route("/connections/{id}/setup/org", get(pages::setup::org::org).post(pages::setup::org::change))
        .route("/connections/{id}/setup/app", get(pages::setup::app::app).post(pages::setup::app::choose))
        .route("/connections/{id}/setup/connect", get(pages::setup::login::login).post(pages::setup::login::go))
        .route(
            "/connections/{id}/setup/objects",
            get(pages::setup::objects::objects).post(pages::setup::objects::choose),
        )
        .route("/connections/{id}/setup/fields", get(pages::setup::fields::fields).post(pages::setup::fields::choose))
        .route(
            "/connections/{id}/setup/sync",
            get(pages::setup::first_sync::sync).post(pages::setup::first_sync::again),
        )
        .route("/connections/{id}/setup/finish", post(pages::setup::first_sync::finish))
        .route("/home/integrations/salesforce-guide", get(pages::guide::guide))
        .route("/help", get(pages::help::help))
        .route("/imports", get(pages::people::imports))
        .route("/imports/{id}", get(pages::people::one_import))
        .route("/imports/{id}/cancel", post(pages::people::cancel_import))
        .route("/imports/{id}/retry", post(pages::people::retry_import))
        .route("/leads", get(pages::people::leads))
        .route("/duplicates", get(pages::duplicates::duplicates))
        .route("/duplicates/scan", post(pages::duplicates::scan))
        .route("/duplicates/rules", get(pages::duplicate_rules::rules).post(pages::duplicate_rules::sent))
        .route("/duplicates/{id}", get(pages::duplicates::duplicate))
        .route("/duplicates/{id}/merge", post(pages::duplicates::merge))
        .route("/duplicates/{id}/dismiss", post(pages::duplicates::dismiss))
        .route("/duplicates/{id}/undo", post(pages::duplicates::undo))
        .route("/usage", get(pages::usage::usage))
        .merge(managing())
        .route("/logs", get(pages::watch::logs))
        .route("/audit", get(pages::watch::audit))
        .route("/connect", get(pages::connect::connect))
        .route("/setup", get(pages::sign_in::setup_page))
        .route("/sign-in", get(pages::sign_in::sign_in_page))
        .route("/sign-out", post(pages::sign_in::sign_out))
        .route("/join", get(pages::sign_in::join_page))
        .route("/reset", get(pages::sign_in::reset_page))
        .route("/account", get(pages::account::account))
        .route("/account/unlink", post(pages::account::unlink))
        .route("/account/business", post(pages::account::make_business))
        .route("/account/sessions/end", post(pages::account::end_session))
        .route("/account/sessions/end-others", post(pages::account::end_others))
}

/// Alerts, team, keys and settings.
fn managing() -> Router<Service> {
    use pages::alerting::{self, channels, rules};
    use pages::settings::{self, personal_data};
    use pages::{keys, team, webhooks};
    Router::new()
        .route("/alerts", get(alerting::alerts))
        .route("/alerts/{id}", get(alerting::alert))
        .route("/alerts/{id}/acknowledge", post(alerting::acknowledge))
        .route("/alerts/channels", get(channels::channels))
        .route("/alerts/channels/new", get(channels::new).post(channels::make))
        .route("/alerts/channels/{id}", get(channels::channel).post(channels::change))
        .route("/alerts/channels/{id}/delete", post(channels::delete))
        .route("/alerts/rules", get(rules::rules))
        .route("/alerts/rules/new", get(rules::new).post(rules::make))
        .route("/alerts/rules/{id}", get(rules::rule).post(rules::change))
        .route("/alerts/rules/{id}/delete", post(rules::delete))
        .route("/team", get(team::page).post(team::invite))
        .route("/team/members/{id}/role", post(team::change_role))
        .route("/team/members/{id}/remove", post(team::remove))
        .route("/team/invitations/{id}/take-back", post(team::take_back))
        .route("/keys", get(keys::page).post(keys::make))
        .route("/keys/{id}/revoke", post(keys::revoke))
        .route("/settings", get(settings::page))
        .route("/settings/name", post(settings::rename))
        .route("/settings/retention", post(settings::keep))
        .route("/settings/end", post(settings::end))
        .route("/settings/personal-data", get(personal_data::page).post(personal_data::asked))
        .route("/settings/personal-data/{id}/lift", post(personal_data::lift))
        .route("/webhooks", get(webhooks::webhooks).post(webhooks::make))
        .route("/webhooks/{id}", get(webhooks::webhook).post(webhooks::change))
        .route("/webhooks/{id}/delete", post(webhooks::delete))
}

/// Where somebody proves who they are.
fn forms() -> Router<Service> {
    Router::new()
        .route("/setup", post(pages::sign_in::set_up))
        .route("/sign-in", post(pages::sign_in::sign_in))
        .route("/join", post(pages::sign_in::join))
        .route("/reset", post(pages::sign_in::reset))
        .route("/sign-in/provider", post(pages::sign_in::to_provider))
        .route("/account/password", post(pages::account::change_password))
        .route("/account/delete", post(pages::account::delete))
}

/// Where a provider sends browsers back to.
fn back() -> Router<Service> {
    Router::new().route(oidc::CALLBACK, get(oidc::callback::callback))
}

/// All routes.
pub fn router(service: Service) -> Router {
    let limits = service.clone();
    let limited = move |routes: OpenApiRouter<Service>, class| routes.route_layer(rate_limited(limits.clone(), class));
    let (api, document) = api(limited).split_for_parts();
    let document = openapi::Described::new(&document);
    Router::new()
        .merge(api)
        .merge(files())
        .merge(pages().route_layer(rate_limited(service.clone(), Class::Pages)))
        .merge(forms().route_layer(rate_limited(service.clone(), Class::SignIn)))
        .merge(back().route_layer(rate_limited(service.clone(), Class::Callback)))
        .merge(document.routes())
        .merge(telemetry::routes())
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, PATIENCE))
        // Bodies of any length and calls of any duration: it has bounds of its own.
        .merge(proxy::before_all(proxy::routes().route_layer(rate_limited(service.clone(), Class::Api))))
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
        .layer(from_fn_with_state(service.clone(), telemetry::request::follow))
        .with_state(service)
}

/// What a node without pages and API answers: how it is.
fn health_routes(service: Service) -> Router {
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .merge(telemetry::routes())
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, PATIENCE))
        .layer(from_fn(guard::headers))
        .with_state(service)
}

/// Works on what there is, without pages and API, until `stop` resolves. With a listener it answers how it is, and its
/// metrics.
///
/// # Errors
/// When the listener fails.
pub async fn work(
    listener: Option<TcpListener>,
    service: Service,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let background = Background::start(&service);
    let (answering, stopping) = (service.clone(), service.stopping());
    let mut stopped = stopping.subscribe();
    let answered = tokio::spawn(async move {
        let Some(listener) = listener else { return Ok(()) };
        let routes = health_routes(answering).into_make_service_with_connect_info::<SocketAddr>();
        let until = async move { drop(stopped.wait_for(|stopping| *stopping).await) };
        axum::serve(listener, routes).with_graceful_shutdown(until).await
    });
    stop.await;
    service.drain().await;
    stopping.send_replace(true);
    background.stop(&service).await;
    tracing::info!("stopped");
    answered.await.unwrap_or(Ok(()))
}

/// The description of the API, as JSON.
pub fn openapi_json() -> String {
    openapi::Described::new(&api(|routes, _| routes).into_openapi()).json().to_owned()
}

/// Serves pages and API, and keeps the integrations in step if the settings say so, until `stop` resolves.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let background = Background::start(&service);
    let leaving = service.clone();
    let stopping = service.stopping();
    let mut stopped = stopping.subscribe();
    let router = router(service.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
        stop.await;
        leaving.drain().await;
        // Open event streams end with this: they would hold the service for ever.
        stopping.send_replace(true);
    });
    let served = tokio::select! {
        served = serving => {
            tracing::info!("stopped: every request was answered");
            served
        }
        // Whoever has not got an answer by then does not get one.
        () = async {
            let _ = stopped.wait_for(|stopping| *stopping).await;
            tokio::time::sleep(LAST_WORDS).await;
        } => {
            tracing::warn!(seconds = LAST_WORDS.as_secs(), "stopped, although some requests were not answered");
            Ok(())
        }
    };
    background.stop(&service).await;
    served
}
