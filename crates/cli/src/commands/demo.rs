//! `tieline demo`: the main job on this machine, from the private key to the row and the page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use tieline_auth::{Clock, SystemClock};
use tieline_client::{ClientError, Connection, Record};
use tieline_emulator::{Emulator, Options, OrgInfo};
use tieline_server::{Service, Settings};
use tieline_store::Store;
use tieline_sync::engine::{Asked, Engine, EngineCare, MappingReport};
use tieline_sync::{Comparison, compare_contacts, integration};
use tokio::net::TcpListener;

use crate::commands::{stopped, sync};
use crate::failure::Failure;
use crate::output;

/// Time between changes that the demo makes in its org.
const CHANGE_EVERY: Duration = Duration::from_secs(3);

/// See the main job happen: a local org, a database kept in step with it, a page that shows it
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline demo                         stays, and changes something in the org every few seconds
  tieline demo --once --json           one pass, compared afresh on both sides; exit 0 only if they are equal
  tieline demo --contacts 50000")]
pub(crate) struct Demo {
    /// One pass, then stop
    #[arg(long)]
    once: bool,
    /// Print the outcome of `--once` as one JSON object
    #[arg(long, requires = "once")]
    json: bool,
    /// How many contacts the org has
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    contacts: usize,
    /// Address of the page; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

impl Demo {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let began = Instant::now();
        if !self.listen.ip().is_loopback() {
            return Err(Failure::usage(
                format!("the demo's page cannot listen on {}", self.listen),
                "choose an address such as 127.0.0.1:7400",
            ));
        }
        let listener =
            TcpListener::bind(self.listen).await.with_context(|| format!("could not listen on {}", self.listen))?;
        let say = |text: String| {
            if !self.json {
                say!("{text}");
            }
        };
        let org = Emulator::start(Options { contacts: self.contacts, ..Options::default() }).await?;
        say(format!("A local org with {} contacts runs at {}.", self.contacts, org.info().instance_url));
        let folder = tempfile::Builder::new()
            .prefix("tieline-demo-")
            .tempdir()
            .context("could not make a folder for the database")?;
        let clock = Arc::new(SystemClock::default());
        let store = Store::open(&folder.path().join("demo.db")).await?;
        let (login, credentials) = integration::capture(variables(org.info()))?;
        let tenant = store.own();
        let integration = tenant.save_integration("demo", &credentials, clock.now()).await?;
        let connection = login.connect(tieline_auth::Settings::default())?;
        say(format!("Logging in by JWT as {}; the database is {}.", org.info().username, store.place()));
        let mapping = tenant.contacts_mapping(integration).await?.context("the demo's own integration")?;
        let engine = Engine { connection, store: tenant.clone(), care: EngineCare::default(), clock };
        let report = sync::pass(&engine, &mapping, Asked::default()).await?;
        let compared = compare_contacts(&engine.connection, &tenant).await?;
        if self.json {
            output::line(&json(&compared, &engine.connection, began).to_string())?;
        } else {
            say!("{}", sync::summary(&report));
            say!("{}", verdict(&compared));
        }
        let outcome = if self.once { Ok(()) } else { stay(listener, &store, engine.connection.clone(), &report).await };
        store.close().await;
        org.stop().await;
        outcome?;
        if compared.is_equal() {
            Ok(())
        } else {
            Err(Failure::new(
                verdict(&compared),
                "this must not happen; please report it with the output of TIELINE_LOG=debug",
            ))
        }
    }
}

/// The login of the local org, by the names it has in an environment.
fn variables(info: &OrgInfo) -> impl Fn(&str) -> Option<String> {
    let info = info.clone();
    move |name| match name {
        "SF_LOGIN_URL" => Some(info.login_url.clone()),
        "SF_CLIENT_ID" => Some(info.client_id.clone()),
        "SF_USERNAME" => Some(info.username.clone()),
        "SF_PRIVATE_KEY" => std::fs::read_to_string(&info.private_key_file).ok(),
        _ => None,
    }
}

/// The stable form that scripts read.
fn json(compared: &Comparison, connection: &Connection, began: Instant) -> serde_json::Value {
    json!({
        "org": {"contacts": compared.org},
        "database": {
            "contacts": compared.database, "missing": compared.missing, "extra": compared.extra, "different": compared.different,
        },
        "token_requests": connection.credentials().stats().token_requests,
        "api_calls": connection.api_calls(),
        "seconds": (began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
    })
}

fn verdict(compared: &Comparison) -> String {
    let Comparison { org, database, missing, extra, different } = compared;
    format!(
        "Read afresh on both sides: {org} contacts in the org, {database} in the database; {missing} missing, {extra} extra, {different} different."
    )
}

/// Serves the page and keeps the org moving until somebody stops it.
async fn stay(
    listener: TcpListener,
    store: &Store,
    connection: Connection,
    report: &MappingReport,
) -> Result<(), Failure> {
    let address = listener.local_addr().context("the page's address")?;
    let service = Service::new(
        store.clone(),
        Settings {
            // Whoever runs a demo sits before it.
            sign_in: false,
            every: Duration::from_secs(60),
            allow_loopback: true,
            ..Settings::new(format!("http://{address}").parse().context("the page's address")?)
        },
    )?;
    let changes = tokio::spawn(change_for_ever(connection, service.clone()));
    say!(
        "\nOpen http://{address}: the page follows the org, which changes every {} seconds. Ctrl-C stops it.",
        CHANGE_EVERY.as_secs()
    );
    if let Some(error) = &report.run.error {
        note!("the first run ended with an error: {error}");
    }
    let served = tieline_server::serve(listener, service, stopped()).await;
    changes.abort();
    say!("Stopped; the demo's org and database are gone.");
    Ok(served?)
}

/// Creates, changes and deletes contacts, one thing at a time.
async fn change_for_ever(connection: Connection, service: Service) {
    let mut turn = 0u64;
    let mut newest = None;
    loop {
        tokio::time::sleep(CHANGE_EVERY).await;
        match change(&connection, turn, &mut newest).await {
            Ok(what) => {
                say!("  in the org: {what}");
                service.sync_soon().await;
            }
            Err(error) => note!("the demo could not change its org: {error}"),
        }
        turn += 1;
    }
}

async fn change(connection: &Connection, turn: u64, newest: &mut Option<String>) -> Result<String, ClientError> {
    const NAMES: [(&str, &str); 5] =
        [("Ada", "Lovelace"), ("さくら", "山田"), ("Zoë", "Brontë 🦀"), ("يوسف", "العربي"), ("Ольга", "Смирнова")];
    let (first, last) = NAMES[(turn / 4) as usize % NAMES.len()];
    match (turn % 4, newest.as_deref()) {
        (1, Some(id)) => {
            connection.update("Contact", id, &json!({"Title": format!("Engineer, grade {}", turn / 4 + 1)})).await?;
            Ok(format!("{first} {last} got a title"))
        }
        (2, _) => {
            let page = connection
                .query_pages::<Record>("SELECT Id, Name FROM Contact ORDER BY SystemModstamp LIMIT 1")
                .next()
                .await?;
            let oldest = page.and_then(|page| page.records.into_iter().next()).unwrap_or_default();
            let text = |key: &str| oldest.get(key).and_then(|v| v.as_str()).unwrap_or("").to_owned();
            connection
                .update("Contact", &text("Id"), &json!({"Phone": format!("+49 30 {:06}", turn * 37 % 1_000_000)}))
                .await?;
            Ok(format!("{} got another phone number", text("Name")))
        }
        (3, Some(id)) => {
            connection.delete("Contact", id).await?;
            *newest = None;
            Ok(format!("{first} {last} was deleted"))
        }
        _ => {
            *newest = Some(connection.create("Contact", &json!({"FirstName": first, "LastName": last})).await?);
            Ok(format!("{first} {last} is new"))
        }
    }
}
