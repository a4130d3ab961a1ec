//! A PostgreSQL server for one benchmark, with the settings that it has by default: it waits for the disk.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A server in a folder of its own; both go with the value.
pub(super) struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    pub(super) url: String,
}

impl Postgres {
    pub(super) fn start(programs: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = PathBuf::from(format!("/tmp/tieline-bench-pg-{port}"));
        std::fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let server = Self { programs: programs.to_owned(), folder, url };
        if is_root() {
            // PostgreSQL refuses to run as root.
            let owned = Command::new("chown").arg("postgres").arg(&server.folder).status()?;
            ensure!(owned.success(), "{} cannot be given to the user postgres", server.folder.display());
        }
        let data = server.data();
        server.run("initdb", &["-D", &data, "-A", "trust", "-U", "postgres", "-E", "UTF8"])?;
        let socket = server.folder.display().to_string();
        let options = format!("-p {port} -k {socket} -h 127.0.0.1");
        server.run("pg_ctl", &["-D", &data, "-w", "-l", &format!("{socket}/log"), "-o", &options, "start"])?;
        Ok(server)
    }

    /// A new database's URL.
    pub(super) fn database(&self, name: &str) -> Result<String> {
        let server = self.url.trim_end_matches("/postgres");
        self.run("createdb", &["--maintenance-db", &self.url, name])?;
        Ok(format!("{server}/{name}"))
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let program = self.programs.join(program);
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(&program);
                command
            }
            false => Command::new(&program),
        };
        let status =
            command.args(arguments).current_dir("/tmp").stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        ensure!(status.success(), "{} failed ({status})\nhint: see {}/log", program.display(), self.folder.display());
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "stop"]);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|text| text.lines().any(|line| line.starts_with("Uid:\t0\t")))
}
