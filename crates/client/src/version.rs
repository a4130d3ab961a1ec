//! Which version of the API is spoken.
//!
//! Orgs of one release have the same versions, and all have had the default for a while when a release of this library
//! has it: so calls are sent under it without a question. An org that answers 404 or 410 is asked once which versions it
//! has (`GET /services/data`, which needs no login); if the wanted one is not among them, the nearest older one takes its
//! place for this connection.

use std::borrow::Cow;
use std::sync::OnceLock;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::connection::Connection;
use crate::error::ClientError;
use crate::reply::Reply;
use crate::request::Request;

/// Version of the API that calls use unless told otherwise: Summer '26, in every org by the time of writing.
pub const DEFAULT_API_VERSION: &str = "67.0";

/// Which version of the API calls use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ApiVersion {
    /// [`DEFAULT_API_VERSION`], or the nearest older one that the org has.
    #[default]
    Negotiated,
    /// This one, such as `61.0`, whatever the org says.
    Pinned(String),
}

impl ApiVersion {
    /// The version that a setting names, with or without its `v`; without a setting it is negotiated.
    pub fn told(setting: Option<&str>) -> Self {
        match setting.map(|text| text.trim().trim_start_matches('v')) {
            None | Some("") => ApiVersion::Negotiated,
            Some(version) => ApiVersion::Pinned(version.to_owned()),
        }
    }
}

impl From<&str> for ApiVersion {
    fn from(version: &str) -> Self {
        ApiVersion::Pinned(version.to_owned())
    }
}

impl From<String> for ApiVersion {
    fn from(version: String) -> Self {
        ApiVersion::Pinned(version)
    }
}

/// A version that an org has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// Its release, such as `Summer '26`.
    pub label: String,
    /// Its path, such as `/services/data/v67.0`.
    pub url: String,
    /// Its number, such as `67.0`.
    pub version: String,
}

/// What a connection speaks.
#[derive(Debug)]
pub(crate) struct Version {
    wanted: String,
    pinned: bool,
    /// Set once the org was asked.
    agreed: OnceLock<String>,
}

impl Version {
    pub(crate) fn new(wanted: &ApiVersion) -> Self {
        let (wanted, pinned) = match wanted {
            ApiVersion::Negotiated => (DEFAULT_API_VERSION, false),
            ApiVersion::Pinned(version) => (version.trim_start_matches('v'), true),
        };
        Self { wanted: wanted.to_owned(), pinned, agreed: OnceLock::new() }
    }

    pub(crate) fn current(&self) -> &str {
        self.agreed.get().unwrap_or(&self.wanted)
    }

    pub(crate) fn is_agreed(&self) -> bool {
        self.agreed.get().is_some()
    }

    /// A path made before the versions were compared, under the version that holds now.
    pub(crate) fn path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match (self.agreed.get(), self.rest(path)) {
            (Some(agreed), Some(rest)) if *agreed != self.wanted => format!("/services/data/v{agreed}/{rest}").into(),
            _ => path.into(),
        }
    }

    /// What follows the wanted version in a path.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix("/services/data/v")?.strip_prefix(&self.wanted)?.strip_prefix('/')
    }
}

fn number(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

/// The wanted version if it is offered, else the nearest older one, else the oldest.
fn nearest(wanted: &str, offered: &[VersionInfo]) -> Option<String> {
    let wanted = number(wanted)?;
    let numbered = || offered.iter().filter_map(|one| Some((number(&one.version)?, &one.version)));
    let older = numbered().filter(|(n, _)| *n <= wanted).max();
    older.or_else(|| numbered().min()).map(|(_, version)| version.clone())
}

impl Connection {
    /// Version of the API that calls use, such as `67.0`.
    pub fn api_version(&self) -> &str {
        self.0.version.current()
    }

    /// Path of a resource under this connection's version: `/services/data/v67.0/…`.
    pub fn data_path(&self, rest: &str) -> String {
        format!("/services/data/v{}/{rest}", self.api_version())
    }

    /// The versions that the org has, the oldest first.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn api_versions(&self) -> Result<Vec<VersionInfo>, ClientError> {
        self.send_json(&Request::get("/services/data")).await
    }

    /// True if the call is worth sending again because its path has another version than when it was sent.
    pub(crate) async fn another_version(&self, request: &Request, agreed_then: bool, error: &ClientError) -> bool {
        let version = &self.0.version;
        let may_be_it = matches!(error, ClientError::Refused(refusal) if matches!(refusal.status, 404 | 410));
        if !may_be_it || version.pinned || version.rest(&request.path).is_none() {
            return false;
        }
        if version.agreed.get().is_some() {
            // If not then, another call has asked meanwhile.
            return !agreed_then && version.current() != version.wanted;
        }
        // The answer that there is counts, not the failure of the question.
        let Ok(offered) = Box::pin(self.api_versions()).await else { return false };
        let agreed = nearest(&version.wanted, &offered).unwrap_or_else(|| version.wanted.clone());
        if agreed != version.wanted {
            tracing::info!(org = self.org(), wanted = version.wanted, agreed, "the org has another version of the API");
        }
        *version.agreed.get_or_init(|| agreed) != version.wanted
    }

    /// Sends a call whose body names paths of its own, and once more with other paths if the org turns out to have another
    /// version.
    pub(crate) async fn send_with_paths<T: DeserializeOwned>(
        &self,
        request: impl Fn() -> Result<Request, ClientError>,
    ) -> Result<(T, Option<Timestamp>), ClientError> {
        let read = |reply: Reply| Ok((serde_json::from_slice(&reply.body)?, reply.server_time));
        let version = self.api_version();
        match self.send_and(&Request { names_paths: true, ..request()? }, read).await {
            // Any other refusal is no matter of versions, and what was sent may have been carried out.
            Err(ClientError::Refused(refusal))
                if matches!(refusal.status, 404 | 410) && self.api_version() != version =>
            {
                self.send_and(&request()?, read).await
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(versions: &[&str]) -> Vec<VersionInfo> {
        let of = |version: &&str| VersionInfo {
            label: String::new(),
            url: format!("/services/data/v{version}"),
            version: (*version).to_owned(),
        };
        versions.iter().map(of).collect()
    }

    #[test]
    fn the_nearest_older_version_is_taken_by_number() {
        let of = |wanted, versions: &[&str]| nearest(wanted, &offered(versions));
        assert_eq!(of("67.0", &["66.0", "67.0", "68.0"]).as_deref(), Some("67.0"));
        assert_eq!(of("67.0", &["9.0", "65.0", "66.0"]).as_deref(), Some("66.0"));
        assert_eq!(of("100.0", &["9.0", "99.0"]).as_deref(), Some("99.0"));
        assert_eq!(of("31.0", &["50.0", "60.0"]).as_deref(), Some("50.0"));
        assert_eq!(of("67.0", &[]), None);
    }

    #[test]
    fn only_paths_of_the_wanted_version_change() {
        let version = Version::new(&ApiVersion::Negotiated);
        assert_eq!(version.path("/services/data/v67.0/limits"), "/services/data/v67.0/limits");
        version.agreed.set("66.0".to_owned()).unwrap();
        assert_eq!(version.path("/services/data/v67.0/limits"), "/services/data/v66.0/limits");
        assert_eq!(version.path("/services/data/v60.0/limits"), "/services/data/v60.0/limits");
        assert_eq!(version.path("/services/apexrest/x"), "/services/apexrest/x");
    }
}
