//! Hyper as it is, for what a client alone costs.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::Context;

pub(crate) struct Engine {
    process: Child,
    pub(crate) url: String,
    /// Open for as long as Hyper may have something to say.
    _lines: Lines<BufReader<ChildStdout>>,
    _folder: tempfile::TempDir,
}

impl Engine {
    pub(crate) fn start(hyperd: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("hyper.yaml");
        let settings = format!(
            "listen-connection: tcp.grpc://127.0.0.1:auto\nskip-license: true\nno-password: true\n\
             grpc_persist_results: true\ngrpc_threads: 2\nlog-dir: {}\n",
            folder.path().display()
        );
        std::fs::write(&config, settings)?;
        let mut process = Command::new(hyperd)
            .arg("--config")
            .arg(&config)
            .args(["--no-password", "run"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("hyperd does not start")?;
        let stdout = process.stdout.take().context("hyperd has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let url = loop {
            let line = lines.next().context("hyperd ends without listening")??;
            if let Some(address) = line.strip_prefix("gRPC listening on ") {
                break format!("http://{address}");
            }
        };
        Ok(Self { process, url, _lines: lines, _folder: folder })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
