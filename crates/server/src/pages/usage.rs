//! How each connection is, and what there was of everything, day by day.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tieline_store::mappings::{Mapping, MappingState};
use tieline_store::sync_work::WorkItem;
use tieline_store::{DayUsage, Integration, Role, Uuid};

use super::Failed;
use super::charts::{self, Chart, Series};
use super::connections::Connected;
use super::frame::{Frame, Place};
use super::visit::Visit;
use super::words::{Ago, Pill, Span, ago, grouped, pill};
use crate::extract::Query;
use crate::problem::Problem;

/// Days that one may look at; the first unless told otherwise.
const SPANS: [u32; 3] = [7, 30, 90];

/// Which days, of what.
#[derive(Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    days: String,
    #[serde(default)]
    connection: String,
}

impl Which {
    fn days(&self) -> u32 {
        self.days.parse().ok().filter(|days| SPANS.contains(days)).unwrap_or(SPANS[0])
    }
}

/// How a connection is.
struct Standing {
    of: Connected,
    /// How far behind the org the mapping is that lags most; none: nothing has been read to its end.
    behind: Option<Span>,
    mappings: usize,
    running: usize,
    waiting: usize,
    failing: Vec<Failing>,
}

/// A mapping that fails, or waits for somebody.
struct Failing {
    id: Uuid,
    name: String,
    state: Pill,
    reason: String,
    since: Option<Ago>,
}

impl Standing {
    fn of(integration: Integration, mappings: Vec<Mapping>, work: &[WorkItem], visit: &Visit) -> Self {
        let (now, id) = (visit.service.now(), integration.id);
        let mine = || work.iter().filter(move |item| item.integration_id == id);
        let at_work = |mapping: &&Mapping| mapping.state != MappingState::Paused;
        let read: Vec<Option<Timestamp>> =
            mappings.iter().filter(at_work).map(|mapping| mapping.standing.checkpoint.through).collect();
        let behind = read.iter().copied().collect::<Option<Vec<Timestamp>>>().and_then(|read| read.into_iter().min());
        Self {
            behind: behind.map(|through| Span(now.duration_since(through).max(jiff::SignedDuration::ZERO))),
            mappings: mappings.len(),
            running: mine().filter(|item| item.is_running(now)).count(),
            waiting: mine().filter(|item| !item.is_running(now) && item.ready_at.is_some_and(|at| at <= now)).count(),
            failing: mappings
                .iter()
                .filter_map(|mapping| Failing::of(mapping, mine().find(|item| item.work.id() == mapping.id), now))
                .collect(),
            of: Connected::of(integration, visit),
        }
    }
}

impl Failing {
    fn of(mapping: &Mapping, work: Option<&WorkItem>, now: Timestamp) -> Option<Self> {
        let failing = work.and_then(|work| work.failing.as_ref());
        let calls = matches!(mapping.state, MappingState::SchemaChanged | MappingState::NeedsReauth);
        if failing.is_none() && !calls && mapping.held.is_none() {
            return None;
        }
        Some(Self {
            id: mapping.id,
            name: mapping.name.clone(),
            state: pill(if calls || mapping.held.is_some() { mapping.state.name() } else { "failed" }),
            reason: failing
                .map(|failing| failing.reason.clone())
                .or_else(|| mapping.state_reason.clone())
                .unwrap_or_default(),
            since: failing.map(|failing| failing.since).or(mapping.held.map(|held| held.at)).map(|at| ago(at, now)),
        })
    }
}

/// Somebody who does not take what is sent to them. Only admins know whom there is.
struct Deaf {
    kind: &'static str,
    name: String,
    why: String,
    since: Option<Ago>,
}

/// What is sent out.
struct Outgoing {
    receivers: usize,
    waiting: i64,
    deaf: Vec<Deaf>,
}

async fn outgoing(visit: &Visit) -> Result<Outgoing, Failed> {
    let (tenant, now) = (&visit.caller.tenant, visit.service.now());
    let (channels, webhooks) = (tenant.alert_channels().await?, tenant.record_webhooks(None).await?);
    let receivers = channels.len() + webhooks.len();
    let since = |at: Option<Timestamp>| at.map(|at| ago(at, now));
    let channels = channels.into_iter().filter(|c| c.last_error.is_some() && c.last_failure_at > c.last_success_at);
    let mut deaf: Vec<Deaf> = channels
        .map(|c| Deaf {
            kind: "alert channel",
            name: c.name,
            why: c.last_error.unwrap_or_default(),
            since: since(c.last_failure_at),
        })
        .collect();
    for webhook in webhooks {
        let fails = webhook.last_failure_at > webhook.last_success_at;
        if fails || webhook.disabled_reason.is_some() {
            deaf.push(Deaf {
                kind: "webhook of records",
                name: webhook.shown,
                why: webhook.disabled_reason.or(webhook.last_error).unwrap_or_default(),
                since: since(webhook.last_failure_at),
            });
        }
    }
    Ok(Outgoing { receivers, waiting: tenant.waiting_deliveries().await?, deaf })
}

#[derive(Template)]
#[template(path = "usage.html")]
struct Page {
    frame: Frame,
    standing: Vec<Standing>,
    /// Why nothing can be written, if so.
    database: Option<&'static str>,
    outgoing: Option<Outgoing>,
    charts: Vec<Chart>,
    days: u32,
    connection: Option<Uuid>,
    /// For how many days runs and logs are kept, and for how many imports, where that is less than what is asked for.
    kept: Option<(u32, u32)>,
    is_empty: bool,
}

impl Page {
    fn spans(&self) -> [u32; 3] {
        SPANS
    }

    fn chosen(&self) -> String {
        self.connection.map(|id| id.to_string()).unwrap_or_default()
    }
}

/// The page.
pub(crate) async fn usage(visit: Visit, Query(which): Query<Which>) -> Result<Response, Failed> {
    let tenant = &visit.caller.tenant;
    let (days, integrations) = (which.days(), tenant.integrations().await?);
    let connection = match which.connection.as_str() {
        "" => None,
        named => Some(
            integrations
                .iter()
                .find(|integration| integration.id.to_string() == named)
                .ok_or_else(|| Problem::not_found("connection"))?
                .id,
        ),
    };
    let (work, mut standing) = (tenant.sync_work().await?, Vec::new());
    for integration in integrations {
        let mappings = tenant.mappings(integration.id).await?;
        standing.push(Standing::of(integration, mappings, &work, &visit));
    }
    let keeps = tenant.retention().await?;
    let (logs, imports) = (keeps.log_days.min(days), keeps.import_days.min(days));
    let figures = visit.service.usage(tenant, connection, days).await?;
    let charts = charts_of(&figures);
    let page = Page {
        frame: visit.frame(Place::Usage, "Health and usage").await?,
        standing,
        database: visit.service.readiness().ask().await.err(),
        outgoing: match visit.caller.at_least(Role::Admin) {
            Ok(()) => Some(outgoing(&visit).await?),
            Err(_) => None,
        },
        is_empty: charts.iter().all(|chart| chart.is_empty),
        charts,
        days,
        connection,
        kept: (logs < days || imports < days).then_some((logs, imports)),
    };
    Ok(Html(page.render()?).into_response())
}

/// What is taken of a day.
type Value = fn(&DayUsage) -> i64;

fn charts_of(figures: &[DayUsage]) -> Vec<Chart> {
    let days: Vec<Timestamp> = figures.iter().map(|day| day.day).collect();
    let of = |value: Value| figures.iter().map(value).collect::<Vec<i64>>();
    let series = |words, class, value: Value| Series { words, class, values: of(value) };
    let rows = charts::most(&days, &of(DayUsage::rows), "row", "rows");
    let calls = charts::most(&days, &of(|day| day.api_calls), "API call", "API calls");
    let failures = |all: Value, bad: Value, one, many| charts::failures(days.len(), &of(all), &of(bad), one, many);
    let runs = failures(|day| day.succeeded + day.failed, |day| day.failed, "sync run", "sync runs");
    let imports = failures(|day| day.leads, |day| day.failed_imports, "new lead", "new leads");
    let logins = failures(|day| day.sign_ins + day.failed_sign_ins, |day| day.failed_sign_ins, "sign-in", "sign-ins");
    vec![
        Chart::of(
            "rows",
            "Rows written",
            rows,
            &days,
            vec![
                series("new", "s-good", |day| day.new),
                series("changed", "s-main", |day| day.changed),
                series("deleted", "s-bad", |day| day.deleted),
            ],
        ),
        Chart::of("calls", "API calls", calls, &days, vec![series("API calls", "s-main", |day| day.api_calls)])
            .with_column("bytes read", figures.iter().map(|day| grouped(day.bytes))),
        Chart::of(
            "runs",
            "Sync runs",
            runs,
            &days,
            vec![series("succeeded", "s-good", |day| day.succeeded), series("failed", "s-bad", |day| day.failed)],
        ),
        Chart::of(
            "imports",
            "Imports",
            imports,
            &days,
            vec![series("new leads", "s-good", |day| day.leads), series("failed", "s-bad", |day| day.failed_imports)],
        ),
        Chart::of(
            "sign-ins",
            "Signing in to the orgs",
            logins,
            &days,
            vec![
                series("signed in", "s-good", |day| day.sign_ins),
                series("refused", "s-bad", |day| day.failed_sign_ins),
            ],
        ),
    ]
}

/// What the overview shows of the last week.
pub(crate) async fn strip(visit: &Visit) -> Result<Vec<Chart>, Failed> {
    let figures = visit.service.usage(&visit.caller.tenant, None, SPANS[0]).await?;
    let mut charts = charts_of(&figures);
    charts.truncate(2);
    Ok(charts)
}
