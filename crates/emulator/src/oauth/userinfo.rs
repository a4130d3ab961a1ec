//! `/services/oauth2/userinfo`, the identity URL, and revocation.

use rusqlite::OptionalExtension;
use serde_json::{Value, json};

use super::OAuthError;
use crate::api_error::ApiError;
use crate::org::Org;

/// What both identity answers are made of.
pub(crate) fn userinfo(org: &Org, user_id: &str) -> Result<Value, ApiError> {
    let sql = "SELECT \"Username\", \"Name\", \"Email\", \"FirstName\", \"LastName\" FROM \"User\" WHERE \"Id\" = ?";
    let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<[Option<String>; 5]> {
        Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?])
    };
    let found = org.db.query_row(sql, [user_id], row).optional()?.ok_or_else(ApiError::not_found)?;
    let [username, name, email, first, last] = found;
    let id = format!("{}/id/{}/{user_id}", org.base_url, org.id);
    let base = &org.base_url;
    Ok(json!({
        "sub": id, "id": id, "user_id": user_id, "organization_id": org.id,
        "preferred_username": username, "username": username, "nickname": username, "name": name,
        "display_name": name, "email": email, "email_verified": true, "given_name": first, "family_name": last,
        "first_name": first, "last_name": last, "zoneinfo": "GMT", "active": true, "user_type": "STANDARD",
        "language": "en_US", "locale": "en_US", "utcOffset": 0,
        "urls": {
            "rest": format!("{base}/services/data/v{{version}}/"),
            "sobjects": format!("{base}/services/data/v{{version}}/sobjects/"),
            "query": format!("{base}/services/data/v{{version}}/query/"),
            "custom_domain": base,
        },
        "updated_at": crate::clock::datetime(org.now()),
    }))
}

/// Ends a token. An unknown one is an error, told in url-encoded form as real orgs do.
pub(crate) fn revoke(org: &mut Org, token: &str) -> Result<(), OAuthError> {
    if org.grants.revoke(token) { Ok(()) } else { Err(OAuthError("invalid_token", "invalid token")) }
}
