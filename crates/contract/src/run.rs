//! Trying one expectation after the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tieline_auth::{Grant, OrgConfig};
use url::Url;

use crate::answer::{Words, cut};
use crate::case::Case;
use crate::expectation::{Area, Expectation, Need, Unmet};
use crate::org::Org;
use crate::report::{Finding, Report, Verdict};
use crate::suite;

/// As much of an answer as a report shows.
const SHOWN: usize = 300;

/// A check that takes longer has gone wrong.
const AT_MOST: Duration = Duration::from_secs(10 * 60);

/// How a run is made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// No record is written.
    pub read_only: bool,
    /// Deploys are sent too; they change nothing.
    pub deploy: bool,
    /// What was made is not deleted in the end.
    pub keep: bool,
    /// A production org is taken too.
    pub even_production: bool,
    /// After so many calls the rest is skipped.
    pub max_calls: u64,
    /// Only these areas; all if there are none.
    pub areas: Vec<Area>,
    /// Object and field for the upserts; looked for if there is none.
    pub external_id: Option<(String, String)>,
    /// Version of the API; agreed with the org if there is none.
    pub api_version: Option<String>,
    /// The control API, if the org is the emulator.
    pub control: Option<Url>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            read_only: false,
            deploy: false,
            keep: false,
            even_production: false,
            max_calls: 1_000,
            areas: Vec::new(),
            external_id: None,
            api_version: None,
            control: None,
        }
    }
}

/// Tries the suite on an org, and cleans up after it. `seen` hears of each expectation as it comes out.
///
/// # Errors
/// When the login fails, or the org is one that people work in.
pub async fn run(config: OrgConfig, settings: &Settings, seen: impl FnMut(&Finding)) -> anyhow::Result<Report> {
    run_until(config, settings, seen, std::future::pending()).await
}

/// The same, which stops when `stop` is over, and cleans up.
///
/// # Errors
/// As [`run`].
pub async fn run_until(
    config: OrgConfig,
    settings: &Settings,
    mut seen: impl FnMut(&Finding),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Report> {
    let org = Org::open(config, settings).await?;
    let mut findings = Vec::new();
    let mut stop = std::pin::pin!(stop);
    let mut stopped = false;
    for expectation in suite::all() {
        if !settings.areas.is_empty() && !settings.areas.contains(&expectation.area) {
            continue;
        }
        let finding = tokio::select! {
            finding = find(&org, settings, &expectation) => finding,
            () = &mut stop => {
                stopped = true;
                break;
            }
        };
        seen(&finding);
        findings.push(finding);
    }
    let left = if settings.keep {
        vec![format!("what begins with {}, as asked", org.marker)]
    } else {
        org.clean_up(!settings.read_only).await
    };
    Ok(Report {
        findings,
        stopped,
        kind: org.kind.clone(),
        api_version: org.connection.api_version().to_owned(),
        calls: org.calls(),
        left,
        marker: org.marker.clone(),
    })
}

async fn find(org: &Org, settings: &Settings, expectation: &Expectation) -> Finding {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let clean = |text: &str| cut(&org.redactor.clean(text), SHOWN);
    let unmet = expectation.needs.iter().copied().find(|need| !is_met(org, settings, *need));
    let verdict = if let Some(need) = unmet {
        Verdict::Skipped { why: need.unmet().to_owned() }
    } else if org.calls() >= settings.max_calls {
        Verdict::Skipped { why: format!("the run has used the {} calls that it may (--max-calls)", settings.max_calls) }
    } else {
        let case = Case { org, notes: Arc::clone(&notes) };
        match tokio::time::timeout(AT_MOST, (expectation.check)(&case)).await {
            Ok(Ok(detail)) => Verdict::Held { detail: clean(&detail) },
            Ok(Err(Unmet::Different { expected, seen })) => {
                Verdict::NotHeld { expected: clean(&expected), seen: clean(&seen) }
            }
            Ok(Err(Unmet::NotApplicable(why))) => Verdict::Skipped { why: clean(&why) },
            Err(_) => Verdict::NotHeld { expected: "an end".to_owned(), seen: format!("none after {AT_MOST:?}") },
        }
    };
    let notes: Vec<Words> = std::mem::take(&mut *notes.lock().unwrap_or_else(PoisonError::into_inner));
    Finding {
        name: expectation.name,
        area: expectation.area,
        source: expectation.source(),
        verdict,
        words: notes.iter().map(|w| Words { expected: clean(&w.expected), seen: clean(&w.seen) }).collect(),
    }
}

fn is_met(org: &Org, settings: &Settings, need: Need) -> bool {
    let grant = &org.config.grant;
    match need {
        Need::Write => !settings.read_only,
        Need::Deploy => settings.deploy,
        Need::Login => org.connection.credentials().is_renewable(),
        Need::Jwt => matches!(grant, Grant::JwtBearer { .. }),
        Need::RefreshToken => matches!(grant, Grant::RefreshToken { .. }) && !org.rotates,
        Need::ClientCredentials => matches!(grant, Grant::ClientCredentials),
        Need::App => !org.config.client_id.is_empty(),
        Need::Secret => org.config.client_secret.is_some(),
        Need::Control => org.control.is_some(),
    }
}
