//! What the org says: whether it lets the login in, to whom it belongs, and what is left of its limits.

use jiff::SignedDuration;
use serde::Deserialize;
use tieline_auth::error::AuthErrorKind;
use tieline_auth::{AuthError, Credentials, Grant};
use tieline_client::{ClientError, Connection, soql};

use super::Check;
use crate::failure::Failure;

/// Logins that a user may make in an hour (Salesforce Developer Limits).
const LOGINS: u64 = 3_600;

/// The login, told apart: whether the org knows the app, whether the user may, and what else.
pub(super) async fn login(connection: &Connection) -> (Vec<Check>, Option<Connection>) {
    let began = std::time::Instant::now();
    let fresh = anew(connection);
    let Err(error) = fresh.credentials().token().await else {
        let how = fresh.credentials().config().grant.name();
        let check = Check::pass("login", format!("{how}, {} ms", began.elapsed().as_millis()));
        return (vec![check], Some(fresh));
    };
    let (name, seen): (_, &[&'static str]) = part(&error);
    let mut checks: Vec<Check> =
        seen.iter().map(|name| Check::pass(name, "in order, as far as the org has looked")).collect();
    checks.push(Check::failed(name, Failure::from(error)));
    (checks, None)
}

/// A token at hand says nothing of the next login, so one is made, where that spends nothing. A refresh token may be spent
/// by it: there the token at hand, or the store's next one, must do.
fn anew(connection: &Connection) -> Connection {
    let config = connection.credentials().config().clone();
    if !matches!(config.grant, Grant::JwtBearer { .. } | Grant::ClientCredentials | Grant::Password { .. }) {
        return connection.clone();
    }
    let credentials = Credentials::new(config).map_err(ClientError::from);
    credentials.and_then(Connection::new).unwrap_or_else(|_| connection.clone())
}

/// Which part of the login a refusal is about, and what it shows to be in order: the org looks at the app first, then at
/// the signature, then at the user.
fn part(error: &AuthError) -> (&'static str, &'static [&'static str]) {
    let AuthErrorKind::Refused { error, description, .. } = error.kind() else { return ("login", &[]) };
    let description = description.to_ascii_lowercase();
    match error.as_str() {
        "invalid_client_id" | "invalid_client" | "app_not_found" => ("app", &[]),
        "app_blocked" | "OAUTH_APP_BLOCKED" => ("API access", &["app"]),
        "invalid_app_access" => ("approval", &["app"]),
        _ if description.contains("approved") => ("approval", &["app"]),
        _ if description.contains("assertion") || description.contains("jwt") => ("signature", &["app"]),
        _ if description.contains("inactive") => ("user", &["app"]),
        _ => ("login", &[]),
    }
}

pub(super) async fn check(connection: &Connection) -> Vec<Check> {
    let mut checks = vec![Check::pass("app", "the org knows it and has let it in")];
    let user = match connection.credentials().userinfo().await {
        Ok(user) => user,
        Err(error) => {
            checks.push(Check::failed("user", error.into()));
            return checks;
        }
    };
    let name = user.preferred_username.clone().unwrap_or_else(|| user.user_id.clone());
    checks.push(match user.active {
        Some(false) => Check::fail("user", format!("{name} is not active"), "activate it in Setup, Users"),
        _ => Check::pass("user", format!("{name}, active")),
    });
    checks.push(scopes(connection).await);
    let limits = connection.limits().await;
    checks.push(match &limits {
        Ok(_) => access_control(connection).await,
        Err(error) => Check::fail("API access", error.to_string(), error.hint()),
    });
    if limits.is_err() {
        return checks;
    }
    checks.push(login_rate(connection, &user.user_id).await);
    checks.push(match limits.ok().and_then(|limits| limits.get("DailyApiRequests").cloned()) {
        None => Check::warn("API calls", "the org does not tell how many are left", "look at Setup, System Overview"),
        Some(limit) => {
            let detail = format!("{} of {} left for 24 hours", limit.remaining, limit.max);
            let share = limit.remaining as f64 / limit.max.max(1) as f64;
            let hint =
                "see who uses them (Setup, System Overview), and call less: one token for all, bulk for many records";
            match share {
                share if share < 0.05 => Check::fail("API calls", detail, hint),
                share if share < 0.2 => Check::warn("API calls", detail, hint),
                _ => Check::pass("API calls", detail),
            }
        }
    });
    checks.extend(my_domain_policy(connection).await);
    checks
}

async fn scopes(connection: &Connection) -> Check {
    let token = match connection.credentials().token().await {
        Ok(token) => token,
        Err(error) => return Check::failed("scopes", error.into()),
    };
    let told = match token.scope() {
        Some(scope) => Some(scope.to_owned()),
        // The app needs the right to ask.
        None => connection.credentials().introspect().await.ok().and_then(|answer| answer.scope),
    };
    match told {
        None => Check::warn("scopes", "the org does not tell", "see the app's OAuth settings in Setup"),
        Some(scope) if scope.split_whitespace().any(|s| s == "api" || s == "full") => Check::pass("scopes", scope),
        Some(scope) => {
            Check::fail("scopes", format!("`{scope}` lets nobody call the API"), "add the scope `api` to the app")
        }
    }
}

async fn access_control(connection: &Connection) -> Check {
    match crate::setup::only_approved_apps(connection).await {
        Some(true) => Check::pass("API access", "API Access Control is on, and lets this app in"),
        Some(false) => Check::pass("API access", "API Access Control is off"),
        None => Check::pass("API access", "the API answers (whether API Access Control is on, this user may not see)"),
    }
}

async fn login_rate(connection: &Connection, user_id: &str) -> Check {
    #[derive(Deserialize)]
    struct Row {
        n: u64,
    }
    let since = crate::login::now() - SignedDuration::from_hours(1);
    let query = format!(
        "SELECT COUNT(Id) n FROM LoginHistory WHERE UserId = {} AND LoginTime > {}",
        soql::text(user_id),
        soql::datetime(since)
    );
    let mut pages = connection.query_pages::<Row>(&query);
    match pages.next().await {
        Ok(page) => {
            let count = page.and_then(|page| page.records.into_iter().next()).map_or(0, |row| row.n);
            let detail = format!("{count} of {LOGINS} logins in the last hour");
            let hint = "share one token instead of logging in each time: TIELINE_TOKEN_STORE (docs/fleet.md)";
            match count {
                count if count * 10 >= LOGINS * 9 => Check::fail("login rate", detail, hint),
                count if count * 4 >= LOGINS => Check::warn("login rate", detail, hint),
                _ => Check::pass("login rate", detail),
            }
        }
        Err(ClientError::Refused(_)) => {
            Check::pass("login rate", "not known: this user may not see the login history (Manage Users)")
        }
        Err(error) => Check::warn("login rate", error.to_string(), error.hint()),
    }
}

/// The org may close the common login host for itself; who sees that setting is told before it happens.
async fn my_domain_policy(connection: &Connection) -> Option<Check> {
    let settings = connection.read_metadata("MyDomainSettings", &["MyDomain"]).await.ok()?.pop()?;
    let host = connection.credentials().config().login_url.host_str().unwrap_or_default().to_owned();
    let common = host == "login.salesforce.com" || host == "test.salesforce.com";
    (settings.flag("canOnlyLoginWithMyDomainUrl") && common).then(|| {
        Check::fail(
            "My Domain",
            format!("the org takes logins at its own domain only, and SF_LOGIN_URL is {host}"),
            "set SF_LOGIN_URL to https://YOURDOMAIN.my.salesforce.com",
        )
    })
}
