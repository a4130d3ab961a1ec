//! A Lambda environment: the real extension and a function in processes of their own, which are really frozen.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lambda_simulator::{FreezeMode, InvocationStatus, ShutdownReason, Simulator};
use serde_json::Value;

use crate::world::World;

pub(crate) const SESSION: &str = "planted AWS session token";
const LONG: Duration = Duration::from_secs(30);

/// A process that ends with the value.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// As the kernel says it: `T` is stopped.
    fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?')
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct Environment {
    simulator: Simulator,
    pub(crate) extension: Option<Process>,
    function: Option<Process>,
    pub(crate) port: u16,
    folder: tempfile::TempDir,
    is_warm: std::sync::atomic::AtomicBool,
}

/// The variables of a login by JWT, as a function has them.
pub(crate) fn jwt(world: &World) -> BTreeMap<String, String> {
    let info = world.info();
    let pairs = [
        ("SF_LOGIN_URL", info.login_url.clone()),
        ("SF_CLIENT_ID", info.client_id.clone()),
        ("SF_USERNAME", info.username.clone()),
        ("SF_PRIVATE_KEY_FILE", info.private_key_file.display().to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn functions(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/functions").join(name)
}

pub(crate) fn node() -> Option<Command> {
    let mut command = Command::new(crate::parts::part("node", "TIELINE_TEST_NODE")?);
    command
        .arg(functions("node.mjs"))
        .env("TIELINE_TEST_NODE_MODULES", std::env::var("TIELINE_TEST_NODE_MODULES").unwrap());
    Some(command)
}

/// A function with the package `tieline`, whose folder of modules is given.
pub(crate) fn with_package(modules: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("TIELINE_TEST_NODE").unwrap());
    command.arg(functions("package.mjs")).env("TIELINE_TEST_MODULES", modules).env("LAMBDA_TASK_ROOT", "/var/task");
    command
}

pub(crate) fn python() -> Option<Command> {
    let mut command = Command::new(crate::parts::part("python", "TIELINE_TEST_PYTHON")?);
    command.args(["-m", "awslambdaric", "python_function.handler"]).env("PYTHONPATH", functions(""));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

impl Environment {
    /// Starts the extension, waits until it has registered, then starts the function: the order that Lambda keeps.
    pub(crate) async fn start(variables: &BTreeMap<String, String>, function: Option<Command>) -> Self {
        let mut environment = Self::empty().await;
        let mut command = Command::new(crate::extension());
        command.env_clear().envs(environment.simulator.lambda_env_vars());
        command.env("AWS_SESSION_TOKEN", SESSION).env("TIELINE_BROKER_PORT", environment.port.to_string());
        command.envs(variables).stdout(environment.file("metrics")).stderr(environment.file("log"));
        environment.extension = Some(environment.spawned(command));
        environment.registered().await;
        if let Some(function) = function {
            environment.add(function);
        }
        environment
    }

    /// A function without the extension.
    pub(crate) async fn alone(function: Command) -> Self {
        let mut environment = Self::empty().await;
        environment.add(function);
        environment
    }

    async fn empty() -> Self {
        let simulator = Simulator::builder()
            .function_name("orders")
            .freeze_mode(FreezeMode::Process)
            .extension_ready_timeout(LONG)
            .build()
            .await
            .unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        Environment { simulator, extension: None, function: None, port, folder, is_warm: false.into() }
    }

    fn add(&mut self, mut function: Command) {
        let own: Vec<_> =
            function.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap().to_owned())).collect();
        function.env_clear().envs(self.simulator.lambda_env_vars()).envs(own).env("AWS_SESSION_TOKEN", SESSION);
        function.env("TIELINE_BROKER_PORT", self.port.to_string());
        function.stdout(self.file("function-metrics")).stderr(self.file("function"));
        self.function = Some(self.spawned(function));
    }

    fn file(&self, name: &str) -> Stdio {
        Stdio::from(std::fs::File::create(self.folder.path().join(name)).unwrap())
    }

    fn spawned(&self, mut command: Command) -> Process {
        let process = command.spawn().unwrap();
        self.simulator.register_freeze_pid(process.id());
        Process(process)
    }

    async fn registered(&self) {
        let started = Instant::now();
        while self.simulator.extension_count().await == 0 {
            assert!(started.elapsed() < LONG, "the extension did not register: {}", self.log());
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    }

    /// Invokes the function, and answers what it says; its error where it fails.
    pub(crate) async fn invoke(&self, event: Value) -> Result<Value, String> {
        self.frozen_if_warm().await;
        self.is_warm.store(true, std::sync::atomic::Ordering::Relaxed);
        let id = self.begin(event).await;
        self.finished(&id).await
    }

    /// The simulator may freeze for the invocation before after it has thawed for the next one.
    pub(crate) async fn frozen_if_warm(&self) {
        if self.is_warm.load(std::sync::atomic::Ordering::Relaxed) {
            self.frozen().await;
        }
    }

    /// Queues an invocation that nobody waits for.
    pub(crate) async fn begin(&self, event: Value) -> String {
        self.simulator.enqueue_payload(event).await
    }

    pub(crate) async fn finished(&self, id: &str) -> Result<Value, String> {
        let state = self.simulator.wait_for_invocation_complete(id, LONG).await;
        let state = state.unwrap_or_else(|e| {
            let states = [&self.extension, &self.function].map(|process| process.as_ref().map(Process::state));
            panic!("{e}; extension and function are {states:?}: {} {}", self.log(), self.read("function"))
        });
        match state.status {
            InvocationStatus::Success => Ok(state.response.unwrap().payload),
            _ => Err(format!("{:?}", state.error)),
        }
    }

    /// Lambda freezes the environment when everybody is done.
    pub(crate) async fn frozen(&self) {
        let started = Instant::now();
        // The simulator does not notice a freeze between its look and its wait, so the wait is short.
        while self.simulator.wait_for_frozen(Duration::from_millis(50)).await.is_err() {
            assert!(started.elapsed() < LONG, "it is not frozen: {}", self.log());
        }
        // It says so before it has stopped the last process; a thaw in between would miss it.
        for process in [&self.extension, &self.function].into_iter().flatten() {
            while process.state() != 'T' {
                assert!(started.elapsed() < LONG, "a process is not stopped");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    /// Lambda ends the environment once it is frozen. Answers how long the extension took, whether it ended well, and
    /// what it wrote.
    pub(crate) async fn shut_down(self) -> (Duration, bool, String, String) {
        self.frozen().await;
        let (simulator, mut extension) = (self.simulator, self.extension.unwrap());
        let started = Instant::now();
        let ended = tokio::spawn(async move {
            loop {
                if let Some(status) = extension.0.try_wait().unwrap() {
                    return (started.elapsed(), status.success());
                }
                assert!(started.elapsed() < LONG, "the extension does not end");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        simulator.graceful_shutdown(ShutdownReason::Spindown).await;
        let (took, fine) = ended.await.unwrap();
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        (took, fine, read("metrics"), read("log"))
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    pub(crate) fn log(&self) -> String {
        self.read("log")
    }

    /// What the function has logged.
    pub(crate) fn function_log(&self) -> String {
        self.read("function")
    }

    /// The metrics that the function has written so far.
    pub(crate) fn function_metrics(&self) -> Vec<Value> {
        self.read("function-metrics").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The metrics that the extension has written so far.
    pub(crate) fn metrics(&self) -> Vec<Value> {
        self.read("metrics").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
