//! Every metric, and the functions that count. Without a recorder they cost a few nanoseconds and do nothing.
//!
//! Each label's values come from a list that this program knows: routes, codes, states. Orgs, businesses, users and
//! addresses are no labels: a service with thousands of them would make thousands of series.

use std::time::Duration;

use tieline_store::Run;
use tieline_store::mappings::{MappingState, ObjectLag};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

pub(super) const REQUESTS: &str = "tieline_http_requests_total";
/// Also named where its buckets are chosen.
pub(super) const REQUEST_DURATION: &str = "tieline_http_request_duration_seconds";
const IN_FLIGHT: &str = "tieline_http_requests_in_flight";
const EVENT_STREAMS: &str = "tieline_event_streams";
const LOGINS_BEGUN: &str = "tieline_logins_begun_total";
const LOGINS_FINISHED: &str = "tieline_logins_finished_total";
const LOGINS_REFUSED: &str = "tieline_logins_refused_total";
const RATE_LIMITED: &str = "tieline_rate_limited_total";
const IMPORTS: &str = "tieline_imports_total";
const IMPORT_ROWS: &str = "tieline_import_rows_total";
const SYNC_RUNS: &str = "tieline_sync_runs_total";
const SYNCS_WAITING: &str = "tieline_sync_queue_waiting";
const SYNCS_RUNNING: &str = "tieline_sync_queue_running";
const SYNCS_OLDEST: &str = "tieline_sync_queue_oldest_seconds";
const ROWS: &str = "tieline_sync_rows_total";
const SYNC_BYTES: &str = "tieline_sync_bytes_total";
const SYNC_CALLS: &str = "tieline_sync_api_calls_total";
const FAILED_CELLS: &str = "tieline_sync_failed_cells_total";
const DRIFT: &str = "tieline_sync_drift_found_total";
/// Also named where its buckets are chosen.
pub(super) const RUN_SECONDS: &str = "tieline_sync_run_seconds";
const LAG: &str = "tieline_sync_lag_seconds";
const UNVERIFIED: &str = "tieline_sync_unverified_seconds";
const MAPPINGS: &str = "tieline_sync_mappings";
const NOTIFICATIONS: &str = "tieline_notifications_total";
const ALERT_DELIVERIES: &str = "tieline_alert_deliveries_total";
const RECORD_DELIVERIES: &str = "tieline_record_deliveries_total";
const CONNECTIONS: &str = "tieline_database_connections";
const CONNECTIONS_IDLE: &str = "tieline_database_connections_idle";
const CONNECTIONS_LIMIT: &str = "tieline_database_connections_limit";
const MEMORY: &str = "tieline_process_resident_memory_bytes";
const OPEN_FILES: &str = "tieline_process_open_files";
const OPEN_FILES_LIMIT: &str = "tieline_process_open_files_limit";
const BUILD: &str = "tieline_build_info";
const TRACE_EXPORTS: &str = "tieline_trace_exports_total";
/// Counted by `tieline_auth::event`.
const TOKEN_EVENTS: &str = "tieline_token_events_total";

/// Bounds of the request durations, in seconds: most answers take a few milliseconds, and none more than the router's
/// 60 seconds.
pub(super) const DURATIONS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// Bounds of a sync run's duration, in seconds: a poll that finds nothing takes one call, a first load hours.
pub(super) const RUN_DURATIONS: [f64; 12] =
    [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 14_400.0, 43_200.0];

/// Objects that are labels; of an org's own there may be thousands, so they have one label together.
/// Source: Object Reference for the Salesforce Platform, "Standard Objects": those that most orgs have.
const OBJECTS: [&str; 16] = [
    "Account",
    "Asset",
    "Campaign",
    "CampaignMember",
    "Case",
    "Contact",
    "Contract",
    "Event",
    "Lead",
    "Opportunity",
    "OpportunityLineItem",
    "Order",
    "PricebookEntry",
    "Product2",
    "Task",
    "User",
];
const CUSTOM: &str = "custom";
const OTHER: &str = "other";

/// The label of an object.
fn object_label(object: &str) -> &'static str {
    match OBJECTS.into_iter().find(|known| *known == object) {
        Some(known) => known,
        None if object.contains("__") => CUSTOM,
        None => OTHER,
    }
}

/// Names, units and meanings, for the `# HELP` lines; and zeros, so that an alert on an increase sees the first one.
pub(super) fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "Requests by route, method and class of status (gone: the client left)");
    describe_histogram!(REQUEST_DURATION, Unit::Seconds, "Time to the head of the answer, by route and method");
    describe_gauge!(IN_FLIGHT, Unit::Count, "Requests that have no answer yet");
    describe_gauge!(EVENT_STREAMS, Unit::Count, "Open streams of events to pages");
    describe_counter!(LOGINS_BEGUN, Unit::Count, "Logins to orgs that were begun");
    describe_counter!(LOGINS_FINISHED, Unit::Count, "Logins to orgs that ended in a connected integration");
    describe_counter!(LOGINS_REFUSED, Unit::Count, "Logins to orgs that failed, by the code of the problem");
    describe_counter!(RATE_LIMITED, Unit::Count, "Requests refused for their number, by class of limit");
    describe_counter!(IMPORTS, Unit::Count, "Imports that ended, by outcome");
    describe_counter!(IMPORT_ROWS, Unit::Count, "Rows of imports, by outcome");
    describe_counter!(SYNC_RUNS, Unit::Count, "Sync runs that ended on this node, by outcome");
    describe_gauge!(SYNCS_WAITING, Unit::Count, "Sync runs that are due or asked for, of all nodes");
    describe_gauge!(SYNCS_RUNNING, Unit::Count, "Sync runs that a worker is at, of all nodes");
    describe_gauge!(SYNCS_OLDEST, Unit::Seconds, "How long the oldest of those that are due has waited");
    describe_counter!(ROWS, Unit::Count, "Rows of mappings' runs that ended on this node, by object and kind");
    describe_counter!(SYNC_BYTES, Unit::Bytes, "Bytes of orgs' answers to those runs, by object");
    describe_counter!(SYNC_CALLS, Unit::Count, "API calls of those runs, by object");
    describe_counter!(FAILED_CELLS, Unit::Count, "Values that did not fit their columns, by object");
    describe_counter!(DRIFT, Unit::Count, "Differences that no cursor could see, found and repaired, by object");
    describe_histogram!(RUN_SECONDS, Unit::Seconds, "How long mappings' runs took on this node, by object and state");
    describe_gauge!(LAG, Unit::Seconds, "How far the mapping that lags most is behind, by object, of all nodes");
    describe_gauge!(
        UNVERIFIED,
        Unit::Seconds,
        "How long ago what is proven of the least proven mapping ends, by object"
    );
    describe_gauge!(MAPPINGS, Unit::Count, "Mappings by state, of all nodes");
    describe_counter!(NOTIFICATIONS, Unit::Count, "Notifications raised and resolved on this node, by kind");
    describe_counter!(ALERT_DELIVERIES, Unit::Count, "Attempts at messages of alerts, by kind of channel and outcome");
    describe_gauge!(CONNECTIONS, Unit::Count, "Open connections to the database, by pool");
    describe_gauge!(CONNECTIONS_IDLE, Unit::Count, "Those of them that nobody uses");
    describe_gauge!(CONNECTIONS_LIMIT, Unit::Count, "As many as may be open");
    describe_gauge!(MEMORY, Unit::Bytes, "Memory of this process that is in RAM (Linux)");
    describe_gauge!(OPEN_FILES, Unit::Count, "Open files and sockets of this process (Linux)");
    describe_gauge!(OPEN_FILES_LIMIT, Unit::Count, "As many as may be open (Linux)");
    describe_gauge!(BUILD, Unit::Count, "1; its labels say which version runs on which database");
    describe_counter!(TRACE_EXPORTS, Unit::Count, "Batches of spans sent to the OTLP receiver, by outcome");
    describe_counter!(TOKEN_EVENTS, Unit::Count, "What happened to orgs' tokens, by event");
    counter!(LOGINS_BEGUN).increment(0);
    counter!(LOGINS_FINISHED).increment(0);
    for outcome in ["done", "failed", "paused_quota", "fenced", "gone", "taken_over", "given_back"] {
        counter!(SYNC_RUNS, "outcome" => outcome).increment(0);
    }
    for outcome in ["delivered", "put_off", "given_up"] {
        for channel in ["webhook", "slack", "email"] {
            counter!(ALERT_DELIVERIES, "channel" => channel, "outcome" => outcome).increment(0);
        }
    }
    gauge!(IN_FLIGHT).increment(0);
    gauge!(EVENT_STREAMS).increment(0);
}

/// A request was answered after so long, or (`status` is `gone`) its client did not wait for the answer.
pub(super) fn request(route: &str, method: &'static str, status: &'static str, took: Duration) {
    counter!(REQUESTS, "route" => route.to_owned(), "method" => method, "status" => status).increment(1);
    histogram!(REQUEST_DURATION, "route" => route.to_owned(), "method" => method).record(took);
}

/// Counted up while the value lives.
#[derive(Debug)]
pub(crate) struct Counted(&'static str);

impl Counted {
    pub(super) fn request() -> Self {
        Self::new(IN_FLIGHT)
    }

    pub(crate) fn event_stream() -> Self {
        Self::new(EVENT_STREAMS)
    }

    fn new(name: &'static str) -> Self {
        gauge!(name).increment(1);
        Self(name)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!(self.0).decrement(1);
    }
}

/// Somebody was sent to an org's login page.
pub fn login_begun() {
    counter!(LOGINS_BEGUN).increment(1);
}

/// An org was connected.
pub fn login_finished() {
    counter!(LOGINS_FINISHED).increment(1);
}

/// An org was not connected, for the reason that the problem's code names.
pub fn login_refused(code: &'static str) {
    counter!(LOGINS_REFUSED, "code" => code).increment(1);
}

/// A request was refused because there were too many. `class` names the limit.
pub fn rate_limited(class: &'static str) {
    counter!(RATE_LIMITED, "class" => class).increment(1);
}

/// The work on an import ended: `success`, `failed`, `postponed`, `cancelled`, `taken_over`,
/// `given_back`.
pub fn import_ended(outcome: &'static str) {
    counter!(IMPORTS, "outcome" => outcome).increment(1);
}

/// So many rows of an import were `created`, `updated`, `unchanged`, `failed`.
pub fn import_rows(outcome: &'static str, rows: u64) {
    counter!(IMPORT_ROWS, "outcome" => outcome).increment(rows);
}

/// A sync run ended: `done`, `failed`, `paused_quota`, `fenced` (a run begun by hand has its checkpoint), `gone`, `taken_over` (by
/// another worker), `given_back`.
pub(crate) fn sync_run(outcome: &'static str) {
    counter!(SYNC_RUNS, "outcome" => outcome).increment(1);
}

/// A run of a mapping ended: with its counters, after so long.
pub(crate) fn mapping_run(run: &Run, took: Duration) {
    let object = object_label(&run.object);
    let number = |n: i64| u64::try_from(n).unwrap_or_default();
    for (kind, rows) in
        [("read", run.rows_read), ("inserted", run.inserted), ("updated", run.updated), ("deleted", run.deleted)]
    {
        counter!(ROWS, "object" => object, "kind" => kind).increment(number(rows));
    }
    for (name, n) in [
        (SYNC_BYTES, run.bytes),
        (SYNC_CALLS, run.api_calls),
        (FAILED_CELLS, run.failed_cells),
        (DRIFT, run.drift_found),
    ] {
        counter!(name, "object" => object).increment(number(n));
    }
    // `running`: it could not be noted how it ended, and the next one notes that.
    let states = ["success", "failed", "paused_quota"];
    let state = states.into_iter().find(|state| *state == run.state).unwrap_or("failed");
    histogram!(RUN_SECONDS, "object" => object, "state" => state).record(took);
}

/// How far the mappings of all businesses are, by object.
pub(super) fn mappings(lags: &[ObjectLag], states: &[(MappingState, i64)], now: jiff::Timestamp) {
    let behind = |at: jiff::Timestamp| now.duration_since(at).as_secs_f64().max(0.0);
    for label in OBJECTS.into_iter().chain([CUSTOM, OTHER]) {
        let of = || lags.iter().filter(|lag| object_label(&lag.object) == label);
        for (name, oldest) in [
            (LAG, of().filter_map(|lag| lag.through).map(behind).fold(0.0, f64::max)),
            (UNVERIFIED, of().filter_map(|lag| lag.verified_through).map(behind).fold(0.0, f64::max)),
        ] {
            gauge!(name, "object" => label).set(oldest);
        }
    }
    for (state, n) in states {
        gauge!(MAPPINGS, "state" => state.name()).set(u32::try_from(*n).unwrap_or(u32::MAX));
    }
}

/// An attempt at a message ended: `delivered`, `put_off`, `given_up`. `channel` is the kind of channel; `unopened` where that
/// could not be read.
pub(crate) fn alert_delivery(channel: &'static str, outcome: &'static str) {
    counter!(ALERT_DELIVERIES, "channel" => channel, "outcome" => outcome).increment(1);
}

/// An attempt at a webhook of changed records ended: `delivered`, `put_off`, `given_up`.
pub(crate) fn record_delivery(outcome: &'static str) {
    counter!(RECORD_DELIVERIES, "outcome" => outcome).increment(1);
}

/// Spans were sent: `sent`, `refused` (by the receiver), `failed` (it was not reached).
pub(super) fn trace_export(outcome: &'static str) {
    counter!(TRACE_EXPORTS, "outcome" => outcome).increment(1);
}

/// How the queue of sync runs stands.
pub(super) fn sync_queue(state: &tieline_store::sync_work::QueueState, now: jiff::Timestamp) {
    let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    gauge!(SYNCS_WAITING).set(count(state.waiting));
    gauge!(SYNCS_RUNNING).set(count(state.running));
    gauge!(SYNCS_OLDEST).set(state.oldest.map_or(0.0, |since| now.duration_since(since).as_secs_f64().max(0.0)));
}

/// What can be read at any time, read now.
pub(super) fn read_now(store: &tieline_store::Store) {
    for pool in store.pools() {
        gauge!(CONNECTIONS, "pool" => pool.name).set(pool.open);
        gauge!(CONNECTIONS_IDLE, "pool" => pool.name).set(pool.idle);
        gauge!(CONNECTIONS_LIMIT, "pool" => pool.name).set(pool.limit);
    }
    for (kind, raised, resolved) in store.alerts().counts() {
        counter!(NOTIFICATIONS, "kind" => kind.name(), "event" => "raised").absolute(raised);
        counter!(NOTIFICATIONS, "kind" => kind.name(), "event" => "resolved").absolute(resolved);
    }
    let process = super::process::Process::now();
    let gauges = [
        (MEMORY, process.resident_memory),
        (OPEN_FILES, process.open_files),
        (OPEN_FILES_LIMIT, process.open_files_limit),
    ];
    for (name, value) in gauges {
        if let Some(value) = value {
            // Exact up to 2^53.
            #[expect(clippy::cast_precision_loss)]
            gauge!(name).set(value as f64);
        }
    }
    let database = if store.is_shared() { "postgresql" } else { "sqlite" };
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION"), "database" => database).set(1);
}
