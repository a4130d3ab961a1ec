//! Our half of the benchmarks. `cargo xtask bench NAME` runs it beside the peers and makes the table; alone it prints
//! one JSON object a measurement: `case`, `who`, `unit`, `value`.
//!
//! - `tieline-bench org`: a local org that prints how to log in, and serves until its input ends.
//! - `tieline-bench tokens CASE`: one case, against the org in the variable `ORG`.
#![expect(clippy::print_stdout, reason = "measurements go to standard output")]

mod measure;
mod tokens;

use tieline_emulator::{Emulator, Options};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["org"] => org().await,
        ["tokens", case] => tokens::run(case).await,
        _ => anyhow::bail!("usage: tieline-bench org | tieline-bench tokens CASE"),
    }
}

async fn org() -> anyhow::Result<()> {
    let org = Emulator::start(Options { contacts: 50, ..Options::default() }).await?;
    println!("{}", serde_json::to_string(org.info())?);
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await??;
    org.stop().await;
    Ok(())
}
