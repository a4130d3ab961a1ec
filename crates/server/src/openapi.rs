//! The API's description: OpenAPI 3.1, made from the code.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Html;
use axum::routing::get;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::service::Service;

/// What stands above all operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "tieline",
        description = "Connect Salesforce orgs, bring their contacts in, and call their APIs. Errors are problem details (RFC 9457) whose `code` never changes its meaning.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "connect", description = "Connecting orgs, and taking the connection away"),
        (name = "integrations", description = "What is connected"),
        (name = "contacts", description = "Contacts of orgs, and the leads that are made of them"),
        (name = "mappings", description = "What is kept in step: which objects go into which tables, and how that goes"),
        (name = "records", description = "Records of mappings, and webhooks that tell of changes"),
        (name = "duplicates", description = "Contacts and leads that may be one person"),
        (name = "alerts", description = "What is wrong, and who is told of it"),
        (name = "accounts", description = "People and their sessions"),
        (name = "team", description = "The members of a business"),
        (name = "keys", description = "API keys"),
        (name = "personal data", description = "What people have a right to, and how long things are kept"),
        (name = "health", description = "Whether the service works"),
    ),
    security(("api_key" = []), ("session" = [], "csrf" = [])),
    modifiers(&Security)
)]
pub(crate) struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("api_key", bearer);
        let cookie = ApiKeyValue::with_description("tieline_session", "over HTTPS: __Host-tieline_session");
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        let csrf = ApiKeyValue::with_description("X-CSRF-Token", "csrf_token of GET /api/session, for changes");
        components.add_security_scheme("csrf", SecurityScheme::ApiKey(ApiKey::Header(csrf)));
    }
}

/// The description, as it is given out.
#[derive(Clone)]
pub(crate) struct Described {
    json: String,
}

impl Described {
    pub(crate) fn new(document: &utoipa::openapi::OpenApi) -> Self {
        Self { json: document.to_pretty_json().unwrap_or_default() }
    }

    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    pub(crate) fn routes(self) -> Router<Service> {
        let json = self.json.clone();
        let page = crate::openapi_page::page(&self.json);
        Router::new()
            .route("/openapi.json", get(async move || ([(CONTENT_TYPE, "application/json")], json)))
            .route("/docs", get(async move || ([(CACHE_CONTROL, "max-age=300")], Html(page))))
    }
}
