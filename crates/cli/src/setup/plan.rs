//! What is wanted: which app, for whom, with which rights.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The kind of app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AppKind {
    /// External client app: what Salesforce recommends, and the only kind that new orgs let one make.
    Eca,
    /// Connected app, where the org still allows new ones.
    ConnectedApp,
}

/// The stage that an app belongs to: one app and one key for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Stage {
    Dev,
    Prod,
}

/// Name of the app where no stage is named.
pub(crate) const NAME: &str = "JWT_Lambda_Integration";

impl Stage {
    pub(crate) fn app_name(self) -> &'static str {
        match self {
            Stage::Dev => "JWT_Lambda_Dev",
            Stage::Prod => "JWT_Lambda_Prod",
        }
    }
}

/// An app as it is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) kind: AppKind,
    /// Its name, which is also its label.
    pub(crate) name: String,
    pub(crate) contact_email: String,
    pub(crate) callbacks: Vec<String>,
    /// OAuth scopes, such as `api`.
    pub(crate) scopes: Vec<String>,
    /// All users may approve it for themselves, instead of those whom a permission set names.
    pub(crate) self_authorize: bool,
    pub(crate) enforce_ip: bool,
}

/// OAuth scopes and their names in metadata. The pairing follows the names; `Basic` is the identity URL.
const SCOPES: [(&str, &str); 14] = [
    ("id", "Basic"),
    ("api", "Api"),
    ("web", "Web"),
    ("full", "Full"),
    ("refresh_token", "RefreshToken"),
    ("offline_access", "RefreshToken"),
    ("openid", "OpenID"),
    ("profile", "Profile"),
    ("email", "Email"),
    ("custom_permissions", "CustomPermissions"),
    ("cdp_query_api", "CDPQuery"),
    ("cdp_profile_api", "CDPProfile"),
    ("cdp_ingest_api", "CDPIngest"),
    ("chatter_api", "Chatter"),
];

impl Plan {
    /// Checks what the org would refuse later, and in words that name no option.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let mut letters = self.name.bytes();
        let fits = letters.next().is_some_and(|b| b.is_ascii_alphabetic())
            && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !self.name.contains("__")
            && !self.name.ends_with('_')
            // The second app, while a certificate is rotated.
            && !self.name.ends_with("_2")
            // Labels made of it must fit into 80 characters too.
            && self.name.len() <= 50;
        if !fits {
            return Err(Failure::usage(
                format!("`{}` cannot be the name of an app", self.name),
                "use letters, digits and single underscores, a letter first, 50 at most, and not _2 at the end",
            ));
        }
        for callback in &self.callbacks {
            let url = url::Url::parse(callback).ok();
            let local = |url: &url::Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
            if !url.is_some_and(|url| url.scheme() == "https" || (url.scheme() == "http" && local(&url))) {
                return Err(Failure::usage(
                    format!("`{callback}` cannot be a callback URL"),
                    "write it like https://app.example.org/callback; plain http is for this machine alone",
                ));
            }
        }
        if !self.contact_email.is_empty() && !self.contact_email.contains('@') {
            return Err(Failure::usage(
                format!("`{}` is no e-mail address", self.contact_email),
                "give the address of whoever answers for the app: --contact-email you@example.org",
            ));
        }
        self.metadata_scopes().map(drop)
    }

    /// The scopes by their metadata names, each once.
    pub(crate) fn metadata_scopes(&self) -> Result<Vec<&'static str>, Failure> {
        let mut names = Vec::new();
        for scope in &self.scopes {
            let Some((_, name)) = SCOPES.iter().find(|(known, _)| known == scope) else {
                let known = SCOPES.map(|(known, _)| known).join(", ");
                return Err(Failure::usage(
                    format!("`{scope}` is not a scope that setup knows"),
                    format!("choose among {known}"),
                ));
            };
            if !names.contains(name) {
                names.push(*name);
            }
        }
        if !names.contains(&"Api") && !names.contains(&"Full") {
            return Err(Failure::usage(
                "without the scope `api` the app can log in and call nothing",
                "add it: --scopes api,refresh_token,id",
            ));
        }
        Ok(names)
    }

    pub(crate) fn wants_refresh_token(&self) -> bool {
        self.scopes.iter().any(|scope| scope == "refresh_token" || scope == "offline_access")
    }

    /// The permission set whose holders are pre-authorised. A second app, beside the first while its certificate is
    /// rotated, has the same one.
    pub(crate) fn permission_set(&self) -> Option<String> {
        let name = self.name.strip_suffix("_2").unwrap_or(&self.name);
        (!self.self_authorize).then(|| format!("{name}_Access"))
    }

    pub(crate) fn kind_in_words(&self) -> &'static str {
        match self.kind {
            AppKind::Eca => "external client app",
            AppKind::ConnectedApp => "connected app",
        }
    }
}
