//! Redis and PostgreSQL of a test's own: a random port or a socket in a temporary folder, gone with the value.

// Another crate's tests read this file too, and need PostgreSQL alone.
#![allow(dead_code)]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::parts::part;

fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what} did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) struct Redis {
    process: Child,
    pub(crate) url: String,
    _folder: tempfile::TempDir,
}

impl Redis {
    pub(crate) fn start() -> Option<Self> {
        let server = part("redis", "TIELINE_TEST_REDIS")?;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new(server)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string(), "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let redis = Redis { process, url: format!("redis://127.0.0.1:{port}"), _folder: folder };
        wait_for("Redis", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
    pub(crate) url: String,
}

impl Postgres {
    pub(crate) fn start() -> Option<Self> {
        let programs = part("postgres", "TIELINE_TEST_POSTGRES")?;
        // Not under the user's own folder: PostgreSQL refuses to run as root, and its own user must get there.
        let folder = tempfile::Builder::new().prefix("tieline-pg-").tempdir_in("/tmp").unwrap();
        if is_root() {
            assert!(Command::new("chown").arg("postgres").arg(folder.path()).status().unwrap().success());
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let server = Postgres { programs, folder, url };
        let data = server.folder.path().join("data");
        let data = data.to_str().unwrap();
        server.run("initdb", &["-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8"]);
        server.begin();
        Some(server)
    }

    /// Starts the server, again after [`stop`](Self::stop) with what it held then.
    pub(crate) fn begin(&self) {
        let (data, socket) = (self.data(), self.folder.path().to_str().unwrap());
        let port = self.url.rsplit(':').next().unwrap().split('/').next().unwrap();
        let options = format!("-p {port} -k {socket} -h 127.0.0.1 -F -c max_connections=300");
        self.run("pg_ctl", &["-D", &data, "-w", "-l", &format!("{socket}/log"), "-o", &options, "start"]);
    }

    /// Stops it: `fast`, or `immediate` as in a crash.
    pub(crate) fn stop(&self, how: &str) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-m", how, "stop"]);
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let status = command.args(arguments).current_dir("/tmp").stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.unwrap().success(), "{arguments:?}; see {}/log", self.folder.path().display());
    }

    /// Runs SQL as the superuser.
    pub(crate) fn sql(&self, text: &str) -> String {
        self.sql_at(&self.url, text)
    }

    /// The rows of a query as CSV, with a header.
    pub(crate) fn csv(&self, text: &str) -> Vec<u8> {
        let output =
            Command::new(self.programs.join("psql")).args([&self.url, "-Xqc", text, "--csv"]).output().unwrap();
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// All that is in it, as text: what is binary in hexadecimal digits.
    pub(crate) fn dump(&self) -> Vec<u8> {
        let output = Command::new(self.programs.join("pg_dump")).args(["--inserts", &self.url]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// The same in another database of the server, or as another user.
    pub(crate) fn sql_at(&self, url: &str, text: &str) -> String {
        let output = Command::new(self.programs.join("psql")).args([url, "-XAtqc", text]).output().unwrap();
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.folder.path().join("data/postmaster.pid").exists() {
            self.stop("immediate");
        }
    }
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|s| s.lines().any(|l| l.starts_with("Uid:\t0\t")))
}

/// PgBouncer before a PostgreSQL server, giving every transaction whichever connection is free.
pub(crate) struct PgBouncer {
    folder: tempfile::TempDir,
    /// Of the database `postgres`.
    pub(crate) url: String,
}

impl PgBouncer {
    pub(crate) fn start(postgres: &Postgres) -> Option<Self> {
        let program = part("pgbouncer", "TIELINE_TEST_PGBOUNCER")?;
        let folder = tempfile::Builder::new().prefix("tieline-pgb-").tempdir_in("/tmp").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = postgres.url.rsplit(':').next().unwrap().split('/').next().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(file("users.txt"), "\"postgres\" \"\"\n").unwrap();
        // Two connections to the server: everybody gets everybody else's.
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 2\n\
             max_client_conn = 300\nignore_startup_parameters = extra_float_digits\nlogfile = {}\npidfile = {}\n",
            file("users.txt"),
            file("log"),
            file("pid"),
        );
        std::fs::write(file("pgbouncer.ini"), settings).unwrap();
        let mut command = if is_root() {
            assert!(Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).status().unwrap().success());
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let started = command.arg("-d").arg(file("pgbouncer.ini")).stderr(Stdio::null()).status().unwrap();
        assert!(started.success(), "see {}", file("log"));
        wait_for("PgBouncer", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(PgBouncer { folder, url: format!("postgres://postgres@127.0.0.1:{port}/postgres") })
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.folder.path().join("pid")).unwrap_or_default();
        let _ = Command::new("kill").arg(pid.trim()).status();
        wait_for("the end of PgBouncer", || !std::path::Path::new("/proc").join(pid.trim()).exists());
    }
}
