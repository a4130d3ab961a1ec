//! Every metric, and the functions that count. Without a recorder they cost a few nanoseconds and do nothing.
//!
//! Each label's values come from a list that this program knows: routes, codes, states. Orgs, businesses, users and
//! addresses are no labels: a service with thousands of them would make thousands of series.

use std::time::Duration;

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
