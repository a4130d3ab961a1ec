//! Every refusal that Salesforce's OAuth endpoints are known to give: what happened, whether it passes by itself,
//! and the next act.
//!
//! Sources: Salesforce Help "OAuth 2.0 error codes" and "JWT bearer flow" pages; the server's own list of codes as
//! mirrored in the Mobile SDK (`OAuthErrorCode`); descriptions as real orgs were seen to write them. The same reason
//! comes under different codes, so a row may match by its description alone.

/// Who can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Time: worth trying again as it is.
    Wait,
    /// The login-rate limit or a lock: time too, but minutes or an hour of it.
    WaitLong,
    /// A person: log in again, approve, change a setting.
    Person,
}

/// A refusal and what to do about it.
#[derive(Debug, Clone, Copy)]
pub struct Explanation {
    /// OAuth error code; `*` matches any.
    pub error: &'static str,
    /// Part of the description, in lower case; empty matches any.
    pub description: &'static str,
    /// What happened.
    pub meaning: &'static str,
    /// Who can help.
    pub remedy: Remedy,
    /// The next act.
    pub next: &'static str,
}

const fn row(
    error: &'static str,
    description: &'static str,
    remedy: Remedy,
    meaning: &'static str,
    next: &'static str,
) -> Explanation {
    Explanation { error, description, meaning, remedy, next }
}

use Remedy::{Person, Wait, WaitLong};

/// All rows; the first that matches counts.
#[rustfmt::skip]
pub const OAUTH: &[Explanation] = &[
    row("*", "login rate exceeded", WaitLong, "the user has logged in 3,600 times within the hour", "share one token instead of logging in each time (docs/fleet.md), and wait"),
    row("rate_limit_exceeded", "", WaitLong, "the user has logged in 3,600 times within the hour", "share one token instead of logging in each time (docs/fleet.md), and wait"),
    row("*", "approved this consumer", Person, "the user is not approved for the app, or does not exist in this org", "check the user name (SF_USERNAME); pre-authorise the user for the app (admin-approved, with a permission set), or let the user log in to it once"),
    row("*", "audience", Person, "the assertion's `aud` does not belong to this org", "choose the pair of host and audience that fits the org (SF_LOGIN_URL, SF_AUDIENCE)"),
    row("*", "couldn't validate jwt", Person, "the signature of the assertion does not verify", "the private key does not belong to the certificate that the app was given: upload the matching certificate, or use the other key"),
    row("*", "invalid assertion", Person, "the signature of the assertion does not verify, or it is malformed", "the private key does not belong to the certificate that the app was given: upload the matching certificate, or use the other key"),
    row("bad_jti_claim", "", Wait, "the assertion was used before", "nothing: the next one differs"),
    row("*", "expired authorization code", Person, "the code or the assertion had expired when it arrived", "log in again; with a private key: set this machine's clock right"),
    row("*", "invalid authorization code", Person, "the code was used before, or belongs to another app", "log in again: a code works once"),
    row("*", "code verifier", Person, "the PKCE verifier does not belong to the code", "log in again, and finish it in the program that began it"),
    row("*", "code challenge", Person, "the app wants PKCE and got none, or another one", "log in again, and finish it in the program that began it"),
    row("*", "expired access/refresh token", Person, "the refresh token was revoked, has expired, was replaced by a newer one, or is the sixth of its user", "log in again for a new refresh token"),
    row("*", "token exchange", Person, "the org's token exchange handler refused the subject token", "check the subject token, and the Apex handler in the org"),
    row("token_exchange_failed", "", Person, "the org's token exchange handler refused the subject token", "check the subject token, and the Apex handler in the org"),
    row("*", "already being processed", Wait, "the same request is running", "try again in a moment"),
    row("*", "inactive", Person, "the user is frozen or deactivated, or the org is", "reactivate it, or use another user"),
    row("inactive_user", "", Person, "the user is frozen or deactivated", "reactivate it, or use another user"),
    row("inactive_org", "", Person, "the org is locked, closed or suspended", "ask the org's owner or Salesforce"),
    row("*", "ip restricted", Person, "the app or the profile allows only certain addresses", "relax the IP rule, or add this machine's address"),
    row("*", "user is locked", WaitLong, "too many wrong passwords", "wait (15 minutes by default), or let an admin unlock the user"),
    row("*", "password expired", Person, "the password must be changed", "change it in the browser, or use a flow without password"),
    row("*", "challenge required", Person, "the org wants to verify this device", "log in once in a browser from here, or use a flow without password"),
    row("*", "no client credentials user", Person, "the app has no user to run as", "set the app's client credentials user (Run As) in its policies"),
    row("*", "no valid scopes", Person, "none of the app's scopes can be used with this grant", "add the scope `api` to the app"),
    row("*", "not supported on this domain", Person, "this grant works on the org's own My Domain only", "set SF_LOGIN_URL to https://YOURDOMAIN.my.salesforce.com"),
    row("*", "flow not enabled", Person, "the app does not allow this grant", "enable the flow in the app's settings"),
    row("*", "flow disabled", Person, "the org or the app does not allow this grant", "use another grant: JWT bearer, client credentials, or a browser login"),
    row("oauth_flow_disabled", "", Person, "the org or the app does not allow this grant", "use another grant: JWT bearer, client credentials, or a browser login"),
    row("*", "authentication failure", Person, "user name, password or security token is wrong, or the app is an external client app, which has no password grant", "check user name, password and security token; better: use JWT bearer or client credentials"),
    row("*", "must use https", Person, "the request came over plain HTTP", "write https:// in SF_LOGIN_URL"),
    row("invalid_client_id", "", Person, "the app is not known at this host", "check SF_CLIENT_ID (the consumer key) and SF_LOGIN_URL; a new app takes up to ten minutes to become known"),
    row("invalid_client", "", Person, "the consumer secret is wrong or missing, or the app is not installed in this org", "check SF_CLIENT_SECRET; if the app was made elsewhere, see that it is installed in this org"),
    row("app_not_found", "", Person, "the external client app is not installed in this org", "install it, or log in to the org that has it"),
    row("OAUTH_EC_APP_NOT_FOUND", "", Person, "the external client app is not installed in this org", "install it, or log in to the org that has it"),
    row("invalid_app_access", "", Person, "the app's policies do not allow the user", "an admin must allow the user in the app's policies: add a permission set or profile of the user to the app"),
    row("OAUTH_APP_ACCESS_DENIED", "", Person, "the app's policies do not allow the user", "an admin must allow the user in the app's policies: add a permission set or profile of the user to the app"),
    row("app_blocked", "", Person, "an admin has blocked the app", "unblock it under Connected Apps OAuth Usage"),
    row("OAUTH_APP_BLOCKED", "", Person, "an admin has blocked the app", "unblock it under Connected Apps OAuth Usage"),
    row("access_denied", "", Person, "the user pressed Deny, or the device login was refused", "log in again and allow the app"),
    row("immediate_unsuccessful", "", Person, "a login without a page was wanted, but the user must see one", "log in with a browser"),
    row("redirect_uri_mismatch", "", Person, "the redirect URI is not among the app's callback URLs", "add exactly SF_REDIRECT_URI to the app's callback URLs"),
    row("redirect_uri_missing", "", Person, "no redirect URI was sent", "set SF_REDIRECT_URI to one of the app's callback URLs"),
    row("authorization_pending", "", Wait, "nobody has entered the code yet", "enter the code on the page that was named"),
    row("slow_down", "", Wait, "the code was asked for too often", "wait a few seconds longer in between"),
    row("invalid_scope", "", Person, "the app does not have that scope", "ask for scopes that the app has, or add them to it"),
    row("unsupported_grant_type", "", Person, "this host does not know the grant", "check SF_LOGIN_URL"),
    row("unsupported_response_type", "", Person, "this host does not know the flow", "check the login host"),
    row("unsupported_token_type", "", Person, "this kind of token cannot be revoked here", "revoke the refresh token, or the session in the org"),
    row("invalid_token", "", Person, "the token is unknown, or has ended already", "nothing, if it was to be ended; else log in again"),
    row("invalid_request", "", Person, "the request is not as the org wants it", "the description says what; report it if it is not in your hands"),
    row("server_error", "", Wait, "Salesforce failed", "try again later; see https://status.salesforce.com"),
    row("service_unavailable", "", Wait, "Salesforce is not available", "try again later; see https://status.salesforce.com"),
    row("system_down", "", Wait, "Salesforce is not available", "try again later; see https://status.salesforce.com"),
    row("unknown_error", "", Wait, "Salesforce failed without a reason", "try again later; see https://status.salesforce.com"),
    row("login_error", "", Person, "the login did not succeed", "look at the user's login history in the org"),
    row("invalid_grant", "", Person, "the org does not accept this login", "look at the user's login history in the org: it names the reason"),
];

/// The row for a refusal.
///
/// ```
/// use tieline_auth::catalogue::{Remedy, explain};
/// assert_eq!(explain("invalid_grant", "login rate exceeded").unwrap().remedy, Remedy::WaitLong);
/// assert_eq!(explain("invalid_grant", "inactive user").unwrap().remedy, Remedy::Person);
/// assert!(explain("something_new", "").is_none());
/// ```
pub fn explain(error: &str, description: &str) -> Option<&'static Explanation> {
    let description = description.to_ascii_lowercase();
    OAUTH.iter().find(|row| (row.error == "*" || row.error == error) && description.contains(row.description))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_in_the_documentation_and_is_reached() {
        let page = include_str!("../../../docs/errors.md").to_lowercase();
        for row in OAUTH {
            if row.error != "*" {
                assert!(
                    page.contains(&format!("`{}`", row.error.to_lowercase())),
                    "{} is not in docs/errors.md",
                    row.error
                );
            }
            assert!(page.contains(row.description), "`{}` is not in docs/errors.md", row.description);
            assert!(page.contains(&row.meaning.to_lowercase()), "`{}` is not in docs/errors.md", row.meaning);
            let error = if row.error == "*" { "invalid_grant" } else { row.error };
            let found = explain(error, row.description).expect("a row");
            assert_eq!(found.meaning, row.meaning, "another row comes first for {error} {}", row.description);
        }
    }
}
