//! The program `hyperd`, as a child that ends with the org.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::Engine;

/// Starts within a tenth of a second; the rest is for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Hyper. Dropping it stops it.
pub(crate) struct Hyperd {
    child: Child,
    /// The callback connection: Hyper tells its address on it, and ends when it breaks. That happens too when this
    /// process is killed.
    _callback: TcpStream,
}

impl Hyperd {
    /// Starts the program with all that it writes in this folder.
    ///
    /// # Errors
    /// When it cannot be started, or does not listen in time.
    pub(crate) async fn start(program: &Path, folder: PathBuf) -> anyhow::Result<(Self, Engine)> {
        std::fs::create_dir_all(folder.join("files"))
            .with_context(|| format!("could not make the folder {}", folder.display()))?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("could not listen for hyperd")?;
        let output = folder.join("output.txt");
        let child = match spawn(program, &folder, &output, listener.local_addr()?.port()) {
            Ok(child) => child,
            Err(error) => {
                bail!("could not start {}: {error:#}\nhint: is it Hyper's server, and executable?", program.display())
            }
        };
        let mut hyperd = (child, listener);
        let (callback, address) = tokio::select! {
            called = called_back(&hyperd.1) => called?,
            ended = hyperd.0.wait() => bail!(
                "hyperd ended at once ({}){}\nhint: run {} by hand, or start the org without it",
                ended?, last_words(&output), program.display()
            ),
            () = tokio::time::sleep(PATIENCE) => bail!(
                "hyperd did not begin to listen within {} seconds{}\nhint: is the machine busy? try once more",
                PATIENCE.as_secs(), last_words(&output)
            ),
        };
        let engine = Engine::new(address, folder);
        Ok((Hyperd { child: hyperd.0, _callback: callback }, engine))
    }

    /// Stops it, and waits until its files are closed.
    pub(crate) async fn stop(mut self) {
        // Nothing in it is worth an orderly end.
        let _ = self.child.kill().await;
    }
}

/// The end of what it wrote, for an error.
fn last_words(output: &Path) -> String {
    let said = std::fs::read_to_string(output).unwrap_or_default();
    let said: Vec<&str> = said.lines().rev().take(5).collect();
    said.into_iter().rev().map(|line| format!("\n  {line}")).collect()
}

/// Clients may read no files but those that are being ingested.
fn spawn(program: &Path, folder: &Path, output: &Path, callback: u16) -> anyhow::Result<Child> {
    let config = folder.join("hyper.yaml");
    let quoted = |path: &Path| serde_json::Value::from(path.display().to_string()).to_string();
    let settings = [
        "listen-connection: tcp.grpc://127.0.0.1:auto".to_owned(),
        "skip-license: true".to_owned(),
        "no-password: true".to_owned(),
        // As a tenant does: results stay to be fetched.
        "grpc_persist_results: true".to_owned(),
        "grpc_threads: 2".to_owned(),
        r#"grpc_service_roles: {"default": {"user": "hyper_admin", "authorizations": []}}"#.to_owned(),
        "init-user: hyper_admin".to_owned(),
        // Compared as the beginning of a path: without the slash at the end it is no folder, and matches nothing.
        format!("external_file_whitelist: {}", quoted(&folder.join("files/"))),
        format!("log-dir: {}", quoted(folder)),
    ];
    std::fs::write(&config, settings.join("\n"))?;
    let said = std::fs::File::create(output)?;
    let child = Command::new(program)
        .arg("--config")
        .arg(&config)
        .args(["--callback-connection", &format!("tab.tcp://127.0.0.1:{callback}")])
        .args(["--init-user", "hyper_admin", "--no-password", "run"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

/// Waits for Hyper's call: a byte with the length of what follows, and its address as text with a zero at the end.
async fn called_back(listener: &TcpListener) -> anyhow::Result<(TcpStream, String)> {
    let (mut callback, _) = listener.accept().await?;
    let length = callback.read_u8().await?;
    let mut address = vec![0; length.into()];
    callback.read_exact(&mut address).await?;
    let address = String::from_utf8_lossy(&address).trim_end_matches('\0').to_owned();
    let address = address.strip_prefix("tcp.grpc://").map(str::to_owned);
    Ok((callback, address.context("hyperd does not listen for gRPC\nhint: it may be too old")?))
}
