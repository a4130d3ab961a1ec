//! Tokens that are fetched while the function starts: it will need them, and starting takes a tenth of a second or more.

use std::time::Duration;

use tieline_auth::ConfigError;
use tieline_auth::aws::Variable;

use crate::broker::DEFAULT_CONNECTION;
use crate::orgs::Orgs;

/// How long the first invocation is held back for them; who needs a token then waits for it anyway.
const AHEAD: Duration = Duration::from_secs(2);

/// The connections that `TIELINE_PREFETCH` names; without it `default`, if there is one.
pub(crate) fn wanted(variable: &Variable, orgs: &Orgs) -> Result<Vec<String>, ConfigError> {
    let known = |name: &str| orgs.names().any(|known| known == name);
    let listed = variable("TIELINE_PREFETCH").filter(|text| !text.trim().is_empty());
    let names: Vec<String> = match listed.as_deref().map(str::trim) {
        None => return Ok(Vec::from_iter(known(DEFAULT_CONNECTION).then(|| DEFAULT_CONNECTION.to_owned()))),
        Some("none") => return Ok(Vec::new()),
        Some(text) => text.split(',').map(|name| name.trim().to_owned()).collect(),
    };
    match names.iter().find(|name| !known(name)) {
        None => Ok(names),
        Some(unknown) => Err(ConfigError::new(
            format!("TIELINE_PREFETCH names `{unknown}`, which is no connection"),
            "name connections of TIELINE_CONNECTIONS, or none",
        )),
    }
}

/// Waits for them, within reason.
pub(crate) async fn wait_for(fetching: impl Iterator<Item = impl Future<Output = ()>>) {
    if tokio::time::timeout(AHEAD, futures_util::future::join_all(fetching)).await.is_err() {
        tracing::info!("fetching tokens ahead takes longer than the first invocation should wait");
    }
}
