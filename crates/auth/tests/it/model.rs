//! Random histories of a fleet under rotation, judged by the org's ledger and a model of a few lines.
//!
//! Every step is real: real credentials, a real store, the emulator over HTTP. The model knows three things: how many
//! refreshes have certainly happened, whether an answer was lost, and what must therefore be true.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use tieline_auth::error::AuthErrorKind;
use tieline_auth::token_store::memory::MemoryStore;
use tieline_auth::{Credentials, Grant, Reuse, Secret};

use crate::world::{World, open, over};

const PROCESSES: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    /// A process asks for a token.
    Ask(usize),
    /// All of them ask at once.
    AskAll,
    /// A process is told that its token was refused, and asks again.
    Refused(usize),
    /// The org ends all sessions; whoever calls finds out.
    SessionsEnd,
    /// A process dies and comes back with the refresh token of old.
    Restart(usize),
    /// The next token request is answered by a gateway; the org does not see it.
    GatewayAnswers,
    /// The org carries out the next token request, and the answer is lost.
    AnswerLost,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..PROCESSES).prop_map(Step::Ask),
        2 => Just(Step::AskAll),
        4 => (0..PROCESSES).prop_map(Step::Refused),
        2 => Just(Step::SessionsEnd),
        3 => (0..PROCESSES).prop_map(Step::Restart),
        2 => Just(Step::GatewayAnswers),
        1 => Just(Step::AnswerLost),
    ]
}

struct Fleet {
    world: World,
    refresh_token: String,
    store: Arc<MemoryStore>,
    processes: Vec<Credentials>,
    /// An answer to a refresh was lost: from then on only a new login helps.
    lost: bool,
    answer_will_be_lost: bool,
}

impl Fleet {
    async fn new() -> Self {
        let world = World::rotating().await;
        let refresh_token = world.info().refresh_token.clone();
        let mut fleet = Fleet {
            world,
            refresh_token,
            store: Arc::default(),
            processes: Vec::new(),
            lost: false,
            answer_will_be_lost: false,
        };
        fleet.processes = (0..PROCESSES).map(|_| fleet.start()).collect();
        fleet
    }

    fn start(&self) -> Credentials {
        let grant = Grant::RefreshToken { refresh_token: Secret::new(&self.refresh_token) };
        let mut config = self.world.config(grant);
        config.reuse = Reuse::UntilRefused;
        open(config, over(self.store.clone()))
    }

    /// What must hold for every answer.
    async fn judge(&mut self, outcome: Result<Arc<tieline_auth::Token>, tieline_auth::AuthError>) -> bool {
        match outcome {
            Ok(token) => {
                let works = self.world.takes(token.access_token().expose()).await;
                if works {
                    // As the client says after every call that went through.
                    self.processes.iter().for_each(|process| process.accepted(&token));
                    return true;
                }
                // Only an end of all sessions explains a dead token, and then one refusal must mend it.
                false
            }
            Err(error) => {
                assert!(matches!(error.kind(), AuthErrorKind::Uncertain), "{error}");
                assert!(self.answer_will_be_lost || self.lost, "nothing was lost, and yet: {error}");
                (self.lost, self.answer_will_be_lost) = (true, false);
                true
            }
        }
    }

    async fn ask(&mut self, process: usize) {
        let credentials = self.processes[process].clone();
        // As the client does it: again after a refusal, and once more for each token that another process had.
        for attempt in 0..=PROCESSES {
            let outcome = credentials.token().await;
            let held = outcome.as_ref().ok().cloned();
            if self.judge(outcome).await {
                return;
            }
            let held = held.unwrap();
            assert!(attempt == 0 || held.is_adopted(), "a token that the org gave after a refusal works");
            credentials.refused(&held);
        }
        panic!("more dead tokens than processes");
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Ask(process) => self.ask(*process).await,
            Step::AskAll => {
                let all = self.processes.clone();
                for outcome in futures_util::future::join_all(all.iter().map(Credentials::token)).await {
                    self.judge(outcome).await;
                }
            }
            Step::Refused(process) => {
                let credentials = self.processes[*process].clone();
                if let Ok(token) = credentials.token().await {
                    // What the client does before it speaks of a refusal.
                    credentials.accepted(&token);
                    credentials.refused(&token);
                }
                self.ask(*process).await;
            }
            Step::SessionsEnd => self.world.end_sessions().await,
            Step::Restart(process) => self.processes[*process] = self.start(),
            Step::GatewayAnswers => self.world.token_fault(json!({"status": 504, "body": "gateway"}), 1).await,
            Step::AnswerLost => {
                if !self.answer_will_be_lost {
                    self.world.token_fault(json!({"cut": 0}), 1).await;
                    self.answer_will_be_lost = true;
                }
            }
        }
    }

    async fn check(&self) {
        let ledger = self.world.ledger().await;
        assert_eq!(ledger["spent_refresh_tokens_replayed"], 0, "{ledger}");
        assert_eq!(ledger["refresh_families"]["alive"], 1, "{ledger}");
    }
}

#[test]
fn s03_no_history_makes_a_fleet_replay_a_spent_token() {
    let cases = if std::env::var_os("TIELINE_TEST_LONG").is_some() { 400 } else { 25 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let histories = proptest::collection::vec(step(), 1..25);
    runner
        .run(&histories, |history| {
            runtime.block_on(async {
                let mut fleet = Fleet::new().await;
                for step in &history {
                    fleet.take(step).await;
                }
                fleet.check().await;
            });
            Ok(())
        })
        .unwrap();
}
