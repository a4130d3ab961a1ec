//! Calls with their right answers, and the judgement over what came of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::TryStreamExt;
use serde_json::{Value, json};
use tieline_client::composite::Composite;
use tieline_client::{AllOrNone, ClientError, Connection, Record};

use crate::server::{Answer, Seen, Server};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Limits,
    Query,
    Create,
    Update,
    Delete,
    Many,
    Composite,
}

pub(crate) const ALL: [Call; 7] =
    [Call::Limits, Call::Query, Call::Create, Call::Update, Call::Delete, Call::Many, Call::Composite];

const ID: &str = "003000000000001AAA";

fn saved() -> Value {
    json!({"id": ID, "success": true, "errors": []})
}

impl Call {
    /// The org carries it out once at most.
    pub(crate) fn is_post(self) -> bool {
        matches!(self, Call::Create | Call::Many | Call::Composite)
    }

    /// What the org answers when it is asked for the n-th time (from 0).
    pub(crate) fn good(self, seen: &Seen, n: usize) -> (u16, Value) {
        match self {
            Call::Limits => (200, json!({"DailyApiRequests": {"Max": 15000, "Remaining": 14998}})),
            Call::Query if seen.path.contains("01g") => {
                (200, json!({"totalSize": 2, "done": true, "records": [{"Id": "b"}]}))
            }
            Call::Query => (
                200,
                json!({"totalSize": 2, "done": false, "nextRecordsUrl": "/services/data/v67.0/query/01g-1", "records": [{"Id": "a"}]}),
            ),
            Call::Create => (201, saved()),
            Call::Update => (204, Value::Null),
            Call::Delete if n == 0 => (204, Value::Null),
            Call::Delete => {
                (404, json!([{"errorCode": "ENTITY_IS_DELETED", "message": "entity is deleted", "fields": []}]))
            }
            Call::Many => (
                200,
                json!([saved(), {"success": false, "errors": [{"statusCode": "X", "message": "y", "fields": []}]}]),
            ),
            Call::Composite => (
                200,
                json!({"compositeResponse": [{"body": saved(), "httpHeaders": {}, "httpStatusCode": 201, "referenceId": "ref0"}]}),
            ),
        }
    }

    /// What the caller is told.
    pub(crate) async fn run(self, org: &Connection) -> Result<Value, ClientError> {
        let fields = json!({"LastName": "Lovelace"});
        Ok(match self {
            Call::Limits => json!(org.limits().await?),
            Call::Query => json!(org.query::<Record>("SELECT Id FROM Contact").try_collect::<Vec<_>>().await?),
            Call::Create => json!(org.create("Contact", &fields).await?),
            Call::Update => json!(org.update("Contact", ID, &fields).await?),
            Call::Delete => json!(org.delete("Contact", ID).await?),
            Call::Many => {
                let results = org.create_many("Contact", [&fields, &fields], AllOrNone::Each);
                json!(results.map_ok(|one| (one.id, one.success, one.errors.len())).try_collect::<Vec<_>>().await?)
            }
            Call::Composite => {
                let mut call = Composite::new();
                let part = call.create("Contact", &fields);
                json!(org.composite(&call).await?.get(&part)?.id)
            }
        })
    }

    pub(crate) fn right(self) -> Value {
        match self {
            Call::Limits => json!({"DailyApiRequests": {"Max": 15000, "Remaining": 14998}}),
            Call::Query => json!([{"Id": "a"}, {"Id": "b"}]),
            Call::Create | Call::Composite => json!(ID),
            Call::Update | Call::Delete => Value::Null,
            Call::Many => json!([[ID, true, 0], [null, false, 1]]),
        }
    }
}

/// How often something goes wrong before the org answers as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    Once,
    Always,
}

/// What became of a call.
pub(crate) struct Verdict {
    pub(crate) call: Call,
    pub(crate) outcome: Result<Value, ClientError>,
    /// How often the org carried it out.
    pub(crate) done: usize,
    pub(crate) requests: usize,
}

/// Runs a call against an org whose answer `spoil` spoils, from the request `first` on. With `carries_out` the org has
/// done its work before the answer is spoiled.
pub(crate) async fn spoiled(
    call: Call,
    first: usize,
    times: Times,
    carries_out: bool,
    spoil: impl Fn(Answer) -> Answer + Send + Sync + 'static,
) -> Verdict {
    let (asked, done) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let counted = done.clone();
    let server = Server::start(move |seen| {
        let n = asked.fetch_add(1, Ordering::SeqCst);
        let is_spoiled = n == first || (n > first && times == Times::Always);
        let before = done.load(Ordering::SeqCst);
        if carries_out || !is_spoiled {
            done.fetch_add(1, Ordering::SeqCst);
        }
        let (status, body) = call.good(seen, before);
        let answer = Answer::json(status, &body);
        if is_spoiled { spoil(answer) } else { answer }
    })
    .await;
    let outcome = call.run(&server.connect()).await;
    Verdict { call, outcome, done: counted.load(Ordering::SeqCst), requests: server.seen().len() }
}

impl Verdict {
    /// Right, or an error that says what is known. `may` is whether a client can know that nothing was done.
    pub(crate) fn check(&self, may: bool, of: &dyn std::fmt::Debug) {
        let Self { call, outcome, done, requests } = self;
        match outcome {
            Ok(told) => assert_eq!(*told, call.right(), "{call:?} {of:?}"),
            Err(error) => {
                assert!(
                    matches!(
                        error,
                        ClientError::Unreachable { .. } | ClientError::Refused(_) | ClientError::Unreadable { .. }
                    ),
                    "{call:?} {of:?}: {error}"
                );
                if call.is_post() {
                    assert_eq!(error.outcome_unknown(), may, "{call:?} {of:?}: {error}");
                }
            }
        }
        if call.is_post() {
            assert!(*done <= 1, "{call:?} {of:?}: carried out {done} times in {requests} requests");
            assert!(outcome.is_err() || *done == 1, "{call:?} {of:?}: told as done, and was not");
        }
    }

    /// Healed by asking again, where asking again does no harm.
    pub(crate) fn healed(&self, of: &dyn std::fmt::Debug) {
        self.check(true, of);
        assert_eq!(self.outcome.is_ok(), !self.call.is_post(), "{:?} {of:?}: {:?}", self.call, self.outcome);
        if self.call.is_post() {
            assert_eq!((self.done, self.requests), (1, 1), "{:?} {of:?}", self.call);
        }
    }

    /// Did not heal: a typed error.
    pub(crate) fn failed(&self, may: bool, of: &dyn std::fmt::Debug) -> &ClientError {
        self.check(may, of);
        self.outcome.as_ref().expect_err(&format!("{:?} {of:?} must fail", self.call))
    }
}
