//! `login` and `logout` of the Partner API, by which clients log in with a user name and a password and no app at all.
//!
//! The call is not there in API version 65 and later, is off in new orgs, and ends everywhere in Summer '27.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::post;

use super::soap::{Fault, envelope, read};
use super::xml::{Node, element, element_raw};
use crate::Shared;
use crate::oauth::grants::{SESSION_TIMEOUT, Session};
use crate::org::Org;

const PARTNER: &str = "urn:partner.soap.sforce.com";
const FAULTS: &str = "urn:fault.partner.soap.sforce.com";
/// The last version that has the call.
const LAST: f64 = 64.0;

pub(crate) fn router() -> Router<Shared> {
    let mut router = Router::new();
    for kind in ["u", "c"] {
        router = router
            .route(&format!("/services/Soap/{kind}/{{version}}"), post(call))
            .route(&format!("/services/Soap/{kind}/{{version}}/{{rest}}"), post(call_of_org));
    }
    router
}

async fn call_of_org(state: State<Shared>, Path((version, _)): Path<(String, String)>, body: Bytes) -> Response {
    call(state, Path(version), body).await
}

async fn call(State(shared): State<Shared>, Path(version): Path<String>, body: Bytes) -> Response {
    let answer = match read(&body) {
        Ok((session, operation)) => shared.with_org(move |org| answer(org, &version, &session, &operation)).await,
        Err(fault) => Err(fault),
    };
    match answer {
        Ok((operation, body)) => envelope(PARTNER, operation, &body),
        Err(fault) => {
            let inner = element("sf:exceptionCode", &fault.0) + &element("sf:exceptionMessage", &fault.1);
            let detail = format!("<sf:LoginFault xsi:type=\"sf:LoginFault\">{inner}</sf:LoginFault>");
            fault.respond(FAULTS, &element_raw("detail", &detail))
        }
    }
}

fn answer(org: &mut Org, version: &str, session: &str, operation: &Node) -> Result<(&'static str, String), Fault> {
    match operation.name.as_str() {
        "login" => Ok(("login", login(org, version, operation)?)),
        "logout" => {
            org.grants.revoke(session);
            Ok(("logout", String::new()))
        }
        other => Err(Fault::new("INVALID_OPERATION", format!("No operation available for request {other}"))),
    }
}

fn login(org: &mut Org, version: &str, operation: &Node) -> Result<String, Fault> {
    if version.parse::<f64>().is_ok_and(|version| version > LAST) {
        return Err(Fault::new("UNSUPPORTED_API_VERSION", "login() is not available in this API version"));
    }
    if !org.metadata.behaviour.soap_login {
        // The words are not documented.
        return Err(Fault::new("INVALID_OPERATION", "SOAP API login() is disabled by default in this org."));
    }
    let refused = || Fault::new("INVALID_LOGIN", "Invalid username, password, security token; or user locked out.");
    let user = org.user(operation.get("username")).ok().flatten().filter(|user| user.active).ok_or_else(refused)?;
    if org.passwords.get(&user.id).is_none_or(|password| password != operation.get("password")) {
        return Err(refused());
    }
    if !org.count_login(&user.id, "SOAP") {
        return Err(Fault::new("LOGIN_RATE_EXCEEDED", "login rate exceeded"));
    }
    let now = org.now();
    let token = org.open_session(Session {
        user_id: user.id.clone(),
        client_id: String::new(),
        scope: "full".to_owned(),
        family: None,
        by_password: true,
        opened: now,
        last_used: now,
    });
    let org15 = &org.id[..15];
    let url = |kind: &str| format!("{}/services/Soap/{kind}/{version}/{org15}", org.base_url);
    // In this order: some clients count the children.
    let text = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| element(name, value)).collect::<String>();
    let seconds = SESSION_TIMEOUT.as_secs().to_string();
    let info = text(&[
        ("accessibilityMode", "false"),
        ("chatterExternal", "false"),
        ("currencySymbol", "$"),
        ("orgAttachmentFileSizeLimit", "26214400"),
        ("orgDefaultCurrencyIsoCode", "USD"),
        ("orgDefaultCurrencyLocale", "en_US"),
        ("orgDisallowHtmlAttachments", "false"),
        ("orgHasPersonAccounts", "false"),
        ("organizationId", &org.id),
        ("organizationMultiCurrency", "false"),
        ("organizationName", "tieline local org"),
        ("profileId", "00e000000000000AAA"),
    ]) + "<roleId xsi:nil=\"true\"/>"
        + &text(&[("sessionSecondsValid", &seconds)])
        + "<userDefaultCurrencyIsoCode xsi:nil=\"true\"/>"
        + &text(&[
            ("userEmail", &user.username),
            ("userFullName", &user.username),
            ("userId", &user.id),
            ("userLanguage", "en_US"),
            ("userLocale", "en_US"),
            ("userName", &user.username),
            ("userTimeZone", "GMT"),
            ("userType", "Standard"),
            ("userUiSkin", "Theme3"),
        ]);
    let body = text(&[
        ("metadataServerUrl", &url("m")),
        ("passwordExpired", "false"),
        ("sandbox", "false"),
        ("serverUrl", &url("u")),
        ("sessionId", &token),
        ("userId", &user.id),
    ]) + &element_raw("userInfo", &info);
    Ok(element_raw("result", &body))
}
