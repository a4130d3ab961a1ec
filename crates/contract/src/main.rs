//! `cargo xtask contract`: what held, on the org that the `SF_*` variables name.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program reports to the developer at the terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tieline_auth::OrgConfig;
use tieline_contract::{Area, Finding, Settings};
use url::Url;

/// Tries what we expect of Salesforce on the org that the `SF_*` variables name, and reports what held.
#[derive(Debug, Parser)]
#[command(
    name = "tieline-contract",
    version,
    after_help = "Exit codes: 0 all held, 1 something did not, 2 it could not run."
)]
struct Arguments {
    /// Write no records
    #[arg(long)]
    read_only: bool,
    /// Send deploys too; they change nothing
    #[arg(long)]
    deploy: bool,
    /// Leave in the org what was made
    #[arg(long)]
    keep: bool,
    /// Take a production org too
    #[arg(long)]
    even_production: bool,
    /// Skip the rest after so many API calls
    #[arg(long, default_value_t = 1_000)]
    max_calls: u64,
    /// Only this area, such as `queries`; repeat it for more
    #[arg(long = "area", value_name = "AREA", value_parser = area)]
    areas: Vec<Area>,
    /// An external id that upserts may use, such as `Account.Ext__c`
    #[arg(long, value_name = "OBJECT.FIELD", value_parser = external_id)]
    external_id: Option<(String, String)>,
    /// The control API, if the org is the emulator
    #[arg(long, value_name = "URL")]
    control: Option<Url>,
    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,
    /// Write a Markdown file too, to attach to an issue
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// List the expectations, and ask nobody
    #[arg(long)]
    list: bool,
}

fn area(text: &str) -> Result<Area, String> {
    let wanted = text.replace('-', " ");
    Area::ALL
        .into_iter()
        .find(|area| area.to_string() == wanted)
        .ok_or_else(|| format!("the areas are {}", Area::ALL.map(|area| area.to_string().replace(' ', "-")).join(", ")))
}

fn external_id(text: &str) -> Result<(String, String), String> {
    let (object, field) = text.split_once('.').ok_or("write it as Account.Ext__c")?;
    Ok((object.to_owned(), field.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    match try_suite(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {}", tieline_auth::redact::mask(&format!("{error:#}")));
            ExitCode::from(2)
        }
    }
}

/// True if everything held.
async fn try_suite(arguments: Arguments) -> Result<bool> {
    if arguments.list {
        for one in tieline_contract::expectations() {
            println!("{}: {} ({})", one.area, one.name, one.source());
        }
        return Ok(true);
    }
    if arguments.keep && arguments.read_only {
        bail!("--keep makes no sense with --read-only");
    }
    let config = OrgConfig::from_env().map_err(|error| anyhow::anyhow!("{error}\nhint: {}", error.hint()))?;
    let settings = Settings {
        read_only: arguments.read_only,
        deploy: arguments.deploy,
        keep: arguments.keep,
        even_production: arguments.even_production,
        max_calls: arguments.max_calls,
        areas: arguments.areas,
        external_id: arguments.external_id,
        api_version: std::env::var("SF_API_VERSION").ok().filter(|version| !version.trim().is_empty()),
        control: arguments.control,
    };
    let mut before = None;
    let show = |finding: &Finding| {
        if arguments.json {
            println!("{}", finding.json());
            return;
        }
        if before.replace(finding.area) != Some(finding.area) {
            println!("\n{}", finding.area);
        }
        print!("{}", finding.lines());
    };
    let stop = async {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("stopping, and deleting what was made; another Ctrl-C does not wait for that");
            // The first one has taken the signal's own effect away.
            tokio::spawn(async {
                let _ = tokio::signal::ctrl_c().await;
                std::process::exit(2);
            });
        }
    };
    let report = tieline_contract::run_until(config, &settings, show, stop).await?;
    eprint!("\n{}", report.summary());
    if let Some(file) = arguments.report {
        std::fs::write(&file, report.markdown()).with_context(|| format!("could not write {}", file.display()))?;
        eprintln!("the report is in {}", file.display());
    }
    if report.stopped {
        bail!("the run was stopped before its end");
    }
    Ok(report.all_held())
}
