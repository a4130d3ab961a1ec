//! Our half of the benchmarks. `cargo xtask bench NAME` runs it beside the peers and makes the table; alone it prints
//! one JSON object a measurement: `case`, `who`, `unit`, `value`.
//!
//! - `tieline-bench org`: a local org that prints how to log in, and serves until its input ends.
//! - `tieline-bench org datacloud`: the same with Data Cloud, and an engine without a tenant's host before it.
//! - `tieline-bench tokens CASE`, `tieline-bench datacloud CASE direct|tenant`: one case, against the org in the variable
//!   `ORG`.
//! - `tieline-bench fixture`: an org that answers from memory, for the cases of `client`; it prints its URLs, and serves until
//!   its input ends.
//! - `tieline-bench fixture sync`: the same for the cases of `sync`: it answers what the run of a mapping asks for, too.
//! - `tieline-bench client CASE [one-thread]`, `tieline-bench floor CASE [threads]`: one case, against the fixture whose URL is in the
//!   variable `ORG`.
//! - `tieline-bench sync postgres|sqlite`: the thinnest program that keeps contacts in the database that `DATABASE` names.
//! - `tieline-bench service …`: load for the service that the variable `SERVICE` names; see `service`.

mod client;
mod contact;
mod datacloud;
mod engine;
mod fixture;
mod floor;
mod measure;
mod service;
mod sync;
mod tokens;

use anyhow::Context;
use tieline_emulator::{DataCloud, Emulator, Options};
use tokio::runtime::Builder;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The rest runs on what `#[tokio::main]` makes.
    let mut runtime = match arguments[..] {
        ["client", _, "one-thread"] | ["floor", _] | ["sync", _] => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(run(&arguments))
}

async fn run(arguments: &[&str]) -> anyhow::Result<()> {
    match *arguments {
        ["org"] => org(None).await,
        ["org", "datacloud"] => {
            let hyperd = std::env::var_os("TIELINE_TEST_HYPERD").context("TIELINE_TEST_HYPERD names no Hyper")?;
            org(Some(hyperd.into())).await
        }
        ["datacloud", case, where_to] => datacloud::run(case, where_to).await,
        ["tokens", case] => tokens::run(case).await,
        ["fixture"] => fixture::run().await,
        ["fixture", "sync"] => fixture::run_mapped().await,
        ["sync", case] => sync::run(case).await,
        ["client", case] => client::run(case, "tieline").await,
        ["client", case, "one-thread"] => client::run(case, "tieline, one thread").await,
        ["floor", case] => floor::run(case, "floor").await,
        ["service", ref rest @ ..] => service::run(rest).await,
        ["floor", case, "threads"] => floor::run(case, "floor, several threads").await,
        _ => anyhow::bail!(
            "usage: tieline-bench org [datacloud] | tokens CASE | datacloud CASE direct|tenant | fixture [sync] | \
             client CASE [one-thread] | floor CASE [threads] | sync postgres|sqlite | service …"
        ),
    }
}

async fn org(hyperd: Option<std::path::PathBuf>) -> anyhow::Result<()> {
    let engine = hyperd.as_deref().map(engine::Engine::start).transpose()?;
    let datacloud = hyperd.map(|hyperd| DataCloud { hyperd: Some(hyperd), ..DataCloud::default() });
    let org = Emulator::start(Options { contacts: 50, datacloud, ..Options::default() }).await?;
    let mut info = serde_json::to_value(org.info())?;
    if let Some(engine) = &engine {
        info["engine"] = engine.url.as_str().into();
    }
    measure::line(&info);
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await??;
    org.stop().await;
    Ok(())
}
