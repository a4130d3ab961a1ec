//! An org, PostgreSQL, a queue of SQS, and environments of Lambda with `tieline worker --lambda` in them, which are really frozen.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lambda_simulator::{FreezeMode, InvocationBuilder, InvocationStatus, Simulator};
use serde_json::{Value, json};
use tieline_auth::aws::Service;
use tieline_auth::keyring::Keyring;
use tieline_auth::{Clock, Settings, SystemClock};
use tieline_store::{NewUser, Store, Tenant};
use tieline_sync::engine::create_mapping;
use tieline_sync::integration;
use tieline_sync::mapping::Definition;

use crate::moto::Moto;
use crate::nodes::MASTER_KEY;
use crate::org::{Org, PROGRAM};
use crate::servers::Postgres;

const LONG: Duration = Duration::from_secs(60);

pub(super) struct World {
    pub(super) org: Org,
    pub(super) postgres: Postgres,
    pub(super) store: Store,
    moto: Moto,
    queue: String,
    folder: tempfile::TempDir,
}

/// A message as Lambda hands it on, and how it is deleted.
pub(super) struct Message {
    pub(super) record: Value,
    receipt: Value,
}

impl World {
    /// None: a part was skipped.
    pub(super) async fn new(contacts: usize, page_takes_ms: u32) -> Option<Self> {
        let (postgres, moto) = (Postgres::start()?, Moto::start().await?);
        let org = Org::start(&["--contacts", &contacts.to_string()]);
        let ring = Keyring::from_spec(MASTER_KEY, |_| None).unwrap();
        let store = Store::connect(&postgres.url, ring).await.unwrap();
        let made = moto.admin(Service::Sqs, "CreateQueue", json!({"QueueName": "syncs"})).await;
        let queue = made["QueueUrl"].as_str().unwrap().to_owned();
        if page_takes_ms > 0 {
            let slow = json!({"path": "/services/data/v67.0/query", "delay_ms": page_takes_ms, "times": 0});
            org.control("POST", "faults", &slow);
        }
        Some(Self { org, postgres, store, moto, queue, folder: tempfile::tempdir().unwrap() })
    }

    /// Some businesses more.
    pub(super) async fn businesses(&self, count: usize) -> Vec<Tenant> {
        let now = SystemClock::default().now();
        let owner = NewUser { email: "owner@example.com", name: "Ada", password_hash: None };
        let owner = self.store.set_up(&owner, "Own", "127.0.0.1", now).await.unwrap().unwrap().id;
        let mut made = Vec::new();
        for number in 0..count {
            let id = self.store.create_business(&format!("B{number}"), owner, "127.0.0.1", now).await.unwrap();
            made.push(self.store.for_work(id));
        }
        made
    }

    /// Gives a business a mapping of the org's contacts, and answers its table.
    pub(super) async fn map(&self, tenant: &Tenant) -> String {
        let now = SystemClock::default().now();
        let login = self.org.login();
        let (login, credentials) = integration::capture(|name| login.get(name).cloned()).unwrap();
        let id = tenant.save_integration("default", &credentials, now).await.unwrap();
        let connection = login.connect(Settings::default()).unwrap();
        let people = json!({"name": "people", "object": "Contact", "columns": ["LastName", "Email"]});
        let people = Definition::from_json(people).unwrap();
        create_mapping(&connection, tenant, id, &people, now).await.unwrap().table.name().to_owned()
    }

    /// An environment whose invocations have so long.
    pub(super) async fn environment(&self, timeout: Duration) -> Environment {
        let simulator = Simulator::builder().function_name("syncs").freeze_mode(FreezeMode::Process);
        let simulator = simulator.extension_ready_timeout(LONG).build().await.unwrap();
        let log = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap().keep().unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["worker", "--lambda", "--allow-loopback", "--sync-lease", "3", "--every", "100000"]);
        command.env_clear().envs(simulator.lambda_env_vars()).envs(&self.moto.variables).envs([
            ("TIELINE_DATABASE_URL", self.postgres.url.as_str()),
            ("TIELINE_MASTER_KEY", MASTER_KEY),
            ("TIELINE_SYNC_QUEUE_URL", &self.queue),
        ]);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.0).spawn().unwrap();
        simulator.register_freeze_pid(process.id());
        Environment { simulator, process, log: log.1, timeout, is_warm: false }
    }

    /// Up to ten messages that are in the queue.
    pub(super) async fn receive(&self) -> Vec<Message> {
        let body = json!({"QueueUrl": self.queue, "MaxNumberOfMessages": 10, "VisibilityTimeout": 2});
        let answer = self.moto.admin(Service::Sqs, "ReceiveMessage", body).await;
        let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
        let message = |message: &Value| Message {
            record: json!({"messageId": message["MessageId"], "body": message["Body"], "eventSource": "aws:sqs"}),
            receipt: message["ReceiptHandle"].clone(),
        };
        messages.iter().map(message).collect()
    }

    pub(super) async fn delete(&self, message: &Message) {
        let body = json!({"QueueUrl": self.queue, "ReceiptHandle": message.receipt});
        self.moto.admin(Service::Sqs, "DeleteMessage", body).await;
    }

    /// Does what Lambda does with a queue, until it is empty: each message invokes the function, and is deleted unless it failed.
    /// How many invocations that took.
    pub(super) async fn pump(&self, environment: &mut Environment) -> usize {
        let mut invocations = 0;
        loop {
            let messages = self.receive().await;
            if messages.is_empty() {
                return invocations;
            }
            for message in messages {
                let answer = environment.invoke(event(&[&message])).await.unwrap();
                assert_eq!(answer["batchItemFailures"], json!([]), "{}", environment.log());
                self.delete(&message).await;
                invocations += 1;
            }
        }
    }

    pub(super) fn count(&self, of: &str) -> usize {
        self.postgres.sql(&format!("SELECT count(*) FROM {of}")).parse().unwrap()
    }

    pub(super) fn until(&self, sql: &str, wanted: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        loop {
            let found = self.postgres.sql(sql);
            if wanted(&found) {
                return;
            }
            assert!(begun.elapsed() < LONG, "{sql}: `{found}`");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What SQS invokes a function with.
pub(super) fn event(messages: &[&Message]) -> Value {
    let records: Vec<&Value> = messages.iter().map(|message| &message.record).collect();
    json!({ "Records": records })
}

/// What EventBridge invokes it with.
pub(super) fn tick() -> Value {
    json!({"version": "0", "source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": {}})
}

pub(super) struct Environment {
    simulator: Simulator,
    process: Child,
    log: std::path::PathBuf,
    timeout: Duration,
    is_warm: bool,
}

impl Environment {
    /// Invokes the function, and answers what it says; its error where it fails. It is frozen before and after.
    pub(super) async fn invoke(&mut self, event: Value) -> Result<Value, String> {
        let id = self.begin(event).await;
        let state = self.simulator.wait_for_invocation_complete(&id, LONG).await;
        let state = state.unwrap_or_else(|error| panic!("{error}: {}", self.log()));
        match state.status {
            InvocationStatus::Success => Ok(state.response.unwrap().payload),
            _ => Err(format!("{:?}", state.error)),
        }
    }

    /// Begins an invocation that nobody waits for.
    pub(super) async fn begin(&mut self, event: Value) -> String {
        let begun = Instant::now();
        while self.is_warm && self.simulator.wait_for_frozen(Duration::from_millis(50)).await.is_err() {
            assert!(begun.elapsed() < LONG, "it is not frozen: {}", self.log());
        }
        self.is_warm = true;
        let timeout = self.timeout.as_millis() as u64;
        let invocation = InvocationBuilder::new().payload(event).timeout_ms(timeout).build().unwrap();
        self.simulator.enqueue(invocation).await
    }

    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
