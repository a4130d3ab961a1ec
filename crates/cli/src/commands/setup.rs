//! `tieline setup`: from an org without an app to a login that works.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::output;
use crate::setup::bootstrap::Bootstrap;
use crate::setup::jwt;
use crate::setup::key::Wanted;
use crate::setup::plan::{AppKind, NAME, Plan, Stage};
use crate::setup::rotate::Rotation;
use crate::setup::undo;
use crate::setup::{Patience, Say};

/// Set up the login of an integration in an org
#[derive(Subcommand)]
pub(crate) enum Setup {
    Jwt(Box<Jwt>),
    RotateCertificate(Box<Rotate>),
}

impl Setup {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Setup::Jwt(command) => command.run().await,
            Setup::RotateCertificate(command) => command.run().await,
        }
    }
}

/// Where the org is, and how patiently it is waited for.
#[derive(clap::Args)]
struct Waiting {
    /// Seconds between looks while the org takes its time with the app
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    poll_seconds: u64,
    /// Seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    wait_seconds: u64,
}

impl Waiting {
    fn patience(&self) -> Patience {
        Patience::new(self.poll_seconds, self.wait_seconds)
    }
}

/// Make key, certificate and app for the JWT bearer flow, and verify the login
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline setup jwt                                  asks what it needs to know
  tieline setup jwt --instance-url https://acme.my.salesforce.com --username bot@acme.example
  tieline setup jwt --stage prod --output keys/prod --alias prod
  tieline setup jwt --key transit:transit/tieline    the key never leaves Vault
  tieline setup jwt --key kms:alias/tieline          nor AWS KMS
  tieline setup jwt --dry-run                        shows what would be deployed
  tieline setup jwt --manual                         says where to click, then verifies
  tieline setup jwt --undo                           removes what it made
  SF_ACCESS_TOKEN=… tieline setup jwt --non-interactive --json --instance-url URL --output DIR

Run it again after an interruption: it goes on where it stopped, and a finished setup is only
verified. It writes .env.jwt, jwt-config.json, private_key.pem (mode 0600) and public.crt.
docs/setup.md walks through it.")]
pub(crate) struct Jwt {
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// User whom the app is to log in [default: you]
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Folder for what is written
    #[arg(long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Kind of app
    #[arg(long, value_enum, default_value = "eca")]
    app: AppKind,
    /// Stage: an app and a key for each
    #[arg(long, value_enum, conflicts_with = "name")]
    stage: Option<Stage>,
    /// Name of the app [default: JWT_Lambda_Integration, or by --stage]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where the private key is to be: file, keychain, transit:MOUNT/NAME in Vault or OpenBao, or kms:KEY in AWS
    #[arg(long, value_name = "PLACE", default_value = "file")]
    key: Wanted,
    /// Bits of the key [default: 2048]
    #[arg(long, value_name = "BITS", value_parser = ["2048", "3072", "4096"])]
    key_bits: Option<String>,
    /// Days that the certificate is good for [default: 365]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=3650))]
    days: Option<i64>,
    /// OAuth scopes of the app
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "api,refresh_token,offline_access,id,profile,email"
    )]
    scopes: Vec<String>,
    /// Callback URL of the app; repeat it for more [default: the success page of login.salesforce.com]
    #[arg(long = "callback", value_name = "URL")]
    callbacks: Vec<String>,
    /// Contact address of the app [default: yours]
    #[arg(long, value_name = "ADDRESS")]
    contact_email: Option<String>,
    /// Let users approve the app for themselves, instead of those alone who hold its permission set
    #[arg(long)]
    self_authorize: bool,
    /// Enforce the org's IP ranges; without it they are relaxed, for addresses of Lambda change
    #[arg(long)]
    enforce_ip: bool,
    /// Save the login under this name for later commands too
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
    /// Print where to click in Setup, then verify
    #[arg(long, conflicts_with_all = ["undo", "dry_run"])]
    manual: bool,
    /// Remove what the setup made, in the org and here
    #[arg(long, conflicts_with = "dry_run")]
    undo: bool,
    /// Print the metadata instead of deploying it
    #[arg(long)]
    dry_run: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

impl Jwt {
    async fn run(self) -> Result<(), Failure> {
        let say = Say;
        crate::commands::end_questions_well();
        if self.undo {
            let told = undo::undo(&self.output, &self.bootstrap, say).await?;
            if self.json {
                output::line(&told.to_string())?;
            }
            return Ok(());
        }
        let plan = self.plan();
        if self.dry_run {
            return self.show(&plan);
        }
        let json = self.json;
        let manual = self.manual;
        let setup = jwt::Setup {
            contact_is_open: self.contact_email.is_none(),
            shape_is_named: self.contact_email.is_some() || self.days.is_some() || self.key_bits.is_some(),
            plan,
            username: self.username,
            folder: self.output,
            key: self.key,
            bits: self.key_bits.and_then(|bits| bits.parse().ok()).unwrap_or(2_048),
            days: self.days.unwrap_or(365),
            patience: self.waiting.patience(),
            bootstrap: self.bootstrap,
            alias: self.alias,
        };
        let outcome = if manual { setup.manual(say).await? } else { setup.run(say).await? };
        if json {
            output::line(&outcome.json().to_string())?;
        } else {
            outcome.tell();
        }
        Ok(())
    }

    fn plan(&self) -> Plan {
        let name = self.name.clone().or_else(|| self.stage.map(|stage| stage.app_name().to_owned()));
        // A folder's setup keeps its name, which a rotation may have changed.
        let name = name.or_else(|| crate::setup::name_in(&self.output));
        let mut callbacks = self.callbacks.clone();
        if callbacks.is_empty() {
            callbacks.push("https://login.salesforce.com/services/oauth2/success".to_owned());
        }
        Plan {
            kind: self.app,
            name: name.unwrap_or_else(|| NAME.to_owned()),
            contact_email: self.contact_email.clone().unwrap_or_default(),
            callbacks,
            scopes: self.scopes.iter().map(|scope| scope.trim().to_owned()).collect(),
            self_authorize: self.self_authorize,
            enforce_ip: self.enforce_ip,
        }
    }

    /// What would be deployed. Where the org's answers are needed, their place is marked.
    fn show(&self, plan: &Plan) -> Result<(), Failure> {
        let certificate = std::fs::read_to_string(self.output.join("public.crt")).ok();
        let certificate = certificate.unwrap_or_else(|| "(the certificate that setup makes, in PEM)".to_owned());
        let mut plan = plan.clone();
        if plan.contact_email.is_empty() {
            "you@example.com".clone_into(&mut plan.contact_email);
        }
        let deploys = crate::setup::deploys(&plan, &certificate)?;
        if self.json {
            let text = |files: std::collections::BTreeMap<String, Vec<u8>>| -> serde_json::Map<_, _> {
                files.into_iter().map(|(path, content)| (path, json!(String::from_utf8_lossy(&content)))).collect()
            };
            let all: Vec<_> =
                deploys.into_iter().map(|(what, files)| json!({"deploy": what, "files": text(files)})).collect();
            output::line(&json!({"deploys": all}).to_string())?;
            return Ok(());
        }
        for (number, (what, files)) in deploys.iter().enumerate() {
            output::line(&format!("# deploy {}: {what}", number + 1))?;
            for (path, content) in files {
                output::line(&format!("\n## {path}\n{}", String::from_utf8_lossy(content).trim_end()))?;
            }
            output::line("")?;
        }
        note!("nothing was deployed; each of these is checked by the org first (checkOnly)");
        Ok(())
    }
}

/// Replace key and certificate of a login that `setup jwt` has made
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline setup rotate-certificate               a second app with a new key, verified
  tieline setup rotate-certificate --retire      then, when nobody uses the old one, remove it
  tieline setup rotate-certificate --cut-over    the same app gets the new certificate
  tieline setup rotate-certificate --if-due      does nothing before the last 30 days")]
pub(crate) struct Rotate {
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// Folder that `setup jwt` wrote to
    #[arg(long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Give the same app the new certificate, instead of a second app
    #[arg(long, conflicts_with = "retire")]
    cut_over: bool,
    /// Remove the app and the key before
    #[arg(long)]
    retire: bool,
    /// Only if the certificate ends within 30 days
    #[arg(long, conflicts_with = "retire")]
    if_due: bool,
    /// The new key, where it is in KMS: kms:KEY. Elsewhere it is made
    #[arg(long, value_name = "PLACE", value_parser = in_kms)]
    key: Option<Wanted>,
    /// Bits of the new key
    #[arg(long, value_name = "BITS", default_value = "2048", value_parser = ["2048", "3072", "4096"])]
    key_bits: String,
    /// Days that the new certificate is good for
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(i64).range(1..=3650))]
    days: i64,
    #[command(flatten)]
    waiting: Waiting,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

fn in_kms(text: &str) -> Result<Wanted, String> {
    let wanted = text.parse().ok().filter(|wanted| matches!(wanted, Wanted::Kms(_)));
    wanted.ok_or_else(|| "write kms:KEY; keys elsewhere are made, not named".to_owned())
}

impl Rotate {
    async fn run(self) -> Result<(), Failure> {
        let json = self.json;
        let rotation = Rotation {
            folder: self.output,
            cut_over: self.cut_over,
            retire: self.retire,
            if_due: self.if_due,
            key: self.key,
            bits: self.key_bits.parse().unwrap_or(2_048),
            days: self.days,
            patience: self.waiting.patience(),
            bootstrap: self.bootstrap,
        };
        crate::commands::end_questions_well();
        let told = rotation.run(Say).await?;
        if json {
            output::line(&told.to_string())?;
        }
        Ok(())
    }
}
