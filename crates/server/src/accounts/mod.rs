//! People, teams and API keys.
//!
//! `session` and `setup` take passwords, `oidc` the word of a provider, `password_reset` a link of the operator's.

pub(crate) mod account;
pub(crate) mod api_keys;
pub(crate) mod businesses;
pub(crate) mod invitations;
pub(crate) mod oidc;
pub(crate) mod password_reset;
pub(crate) mod session;
pub(crate) mod setup;
pub(crate) mod team;

use serde::{Deserialize, Deserializer};
use tieline_auth::Secret;
use tieline_store::Role;
use utoipa::ToSchema;

use crate::problem::Problem;

/// A secret in a request's body: it prints nothing.
pub(crate) struct SecretText(pub(crate) Secret);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Secret::new(text)))
    }
}

/// What a member or a key may do; each may do all that the ones before it may.
#[derive(Debug, Clone, Copy, serde::Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Role)]
pub(crate) enum RoleName {
    /// Look.
    Viewer,
    /// Import, and run what is set up.
    Member,
    /// Connect orgs, make API keys, invite people.
    Admin,
    /// Everything.
    Owner,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Role::Viewer,
            RoleName::Member => Role::Member,
            RoleName::Admin => Role::Admin,
            RoleName::Owner => Role::Owner,
        }
    }
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => RoleName::Viewer,
            Role::Member => RoleName::Member,
            Role::Admin => RoleName::Admin,
            Role::Owner => RoleName::Owner,
        }
    }
}

/// An address that mail can be sent to, as far as its form tells.
pub(crate) fn checked_email(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    let fits = text.len() <= 254
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.')
        })
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || "<>,;:\"\\".contains(c))
        && text.matches('@').count() == 1;
    if fits {
        Ok(text.to_lowercase())
    } else {
        Err(Problem::invalid("email is no address", "write it like ada@example.com"))
    }
}

/// A name of something, trimmed; refused when it is empty, too long, or holds control characters.
pub(crate) fn checked_name(what: &str, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 100 || text.chars().any(char::is_control) {
        return Err(Problem::invalid(format!("{what} is empty, longer than 100 characters, or holds line breaks"), ""));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_other_text() {
        for good in ["ada@example.com", " Ada.Lovelace+x@mail.example.co.uk "] {
            assert_eq!(checked_email(good).unwrap(), good.trim().to_lowercase());
        }
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "a@b@c.de",
            "a b@c.de",
            "a@c.de\r\nBcc: x@y.de",
            "<a@c.de>",
        ] {
            assert!(checked_email(bad).is_err(), "{bad}");
        }
    }
}
