//! `tieline keys`: the master keys that seal what is secret in the database.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::json;
use tieline_auth::keyring::{Keyring, file};
use tieline_auth::{Clock, SystemClock};
use tieline_store::{Canary, KeyUse, Progress, Store, StoreError, Uuid};

use crate::commands::unless_stopped;
use crate::failure::{Failure, PARTLY};
use crate::output::{count, hint, progress_bar, table};
use crate::settings::Database;

/// So many data keys in one step.
const BATCH: u32 = 100;

/// Make, add, rotate and retire the master keys of the database
#[derive(Subcommand)]
pub(crate) enum Keys {
    Init(Init),
    Add(Add),
    Status(Status),
    Rotate(Rotate),
    Retire(Retire),
}

/// Make a key file with one fresh key
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline keys init tieline.key

Only its owner may read the file. Without it nothing opens that is sealed in the database: back it up, elsewhere than
the database. docs/keys.md says more.")]
pub(crate) struct Init {
    /// The file, which must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Put a fresh key before the others in the key file
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline keys add                                        tieline.db.key, beside SQLite's tieline.db
  tieline keys add --master-key-file /etc/tieline/key

Then, in this order: give the file to every node and restart them all; `tieline keys rotate`; `tieline keys retire`.
The old key stays in the file until all is under the new one.")]
pub(crate) struct Add {
    #[command(flatten)]
    database: Database,
}

/// Show which keys there are, and what needs them
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline keys status
  tieline keys status --json | jq -r '.keys[] | select(.needed | not) | .name'")]
pub(crate) struct Status {
    #[command(flatten)]
    database: Database,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Bring everything under the first key, while all runs
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline keys rotate
  tieline keys rotate --data-keys                         the keys of each integration too
  tieline keys rotate --database-url postgres://tieline@db/tieline --json

Restart all nodes with the new key in their ring before. It may be stopped at any time, and goes on where it stopped;
several may run at once. Exit codes: 0 done, 4 the key service is out of reach (run it again), 5 some could not be changed.")]
pub(crate) struct Rotate {
    #[command(flatten)]
    database: Database,
    /// Make the data keys anew too, and seal everything with the new ones
    #[arg(long)]
    data_keys: bool,
    /// Of the data keys, those made before this time alone [default: now]
    #[arg(long, value_name = "TIME", requires = "data_keys")]
    older_than: Option<Timestamp>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// Remove a key that nothing needs any more
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline keys retire local:9a2db2e23f1504cd

`tieline keys status` shows the names. A key that something still needs is not removed.")]
pub(crate) struct Retire {
    /// Name of the key
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    database: Database,
}

impl Keys {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Keys::Init(command) => command.run(),
            Keys::Add(command) => command.run(),
            Keys::Status(command) => command.run().await,
            Keys::Rotate(command) => command.run().await,
            Keys::Retire(command) => command.run().await,
        }
    }
}

impl Init {
    fn run(self) -> Result<(), Failure> {
        let path = self.file.display();
        if std::fs::symlink_metadata(&self.file).is_ok() {
            return Err(Failure::usage(
                format!("{path} is there already, and was left as it is"),
                format!("name another file; to add a key to it: tieline keys add --master-key-file {path}"),
            ));
        }
        let ring = Keyring::load_or_create(&self.file)?;
        say!("Made {path} with the key {}.", ring.primary().name());
        hint("back it up, elsewhere than the database: without it nothing opens that it sealed");
        Ok(())
    }
}

impl Add {
    fn run(self) -> Result<(), Failure> {
        let path = key_file(&self.database)?;
        if !path.exists() {
            return Err(Failure::usage(
                format!("the key file {} is not there", path.display()),
                format!("make it with: tieline keys init {}", path.display()),
            ));
        }
        if seals_tokens_too(&path) {
            return Err(Failure::usage(
                format!(
                    "the store in TIELINE_TOKEN_STORE is sealed with {}, and takes a file of one key alone",
                    path.display()
                ),
                "give the database a key file of its own first: copy it, and name the copy with --master-key-file",
            ));
        }
        let old = file::names(&path)?;
        let name = file::add(&path)?;
        let path = path.display();
        say!("Added {name} as the first key of {path}.");
        say!("Next, in this order:");
        say!("  1. back up {path}, give it to every node, and restart them all");
        say!("  2. tieline keys rotate");
        for old in old {
            say!("  3. tieline keys retire {old}");
        }
        Ok(())
    }
}

/// A token store beside the database takes its one key from the same variable.
fn seals_tokens_too(path: &Path) -> bool {
    let store = std::env::var("TIELINE_TOKEN_STORE").unwrap_or_default();
    let is_elsewhere = ["", "memory:"].contains(&store.trim()) || store.trim().starts_with("keychain:");
    !is_elsewhere && crate::settings::master_key_file().is_some_and(|file| file == path)
}

/// The file that the commands edit.
fn key_file(database: &Database) -> Result<PathBuf, Failure> {
    let resolved = database.resolved(&database.file()?);
    resolved.own_key_file().ok_or_else(|| {
        Failure::usage(
            "the keys are not in a file of their own: TIELINE_MASTER_KEY holds them, or nothing names a file",
            "change TIELINE_MASTER_KEY by hand, the new key first; or set TIELINE_MASTER_KEY_FILE (or --master-key-file)",
        )
    })
}

fn yes(truth: bool) -> &'static str {
    if truth { "yes" } else { "no" }
}

impl Status {
    async fn run(self) -> Result<(), Failure> {
        let store = self.database.open().await?;
        let keys = store.key_usage().await?;
        store.close().await;
        if self.json {
            say!("{}", json!({ "keys": keys.iter().map(as_json).collect::<Vec<_>>() }));
            return Ok(());
        }
        let mut shown = table(&["key", "in the ring", "wraps new ones", "data keys", "canary"]);
        for key in &keys {
            let data_keys = match key.values {
                0 => key.data_keys.to_string(),
                values => format!("{} and {}", key.data_keys, count(values, "old value")),
            };
            shown.add_row([&*key.service, yes(key.in_ring), yes(key.primary), &data_keys, &canary(&key.canary)]);
        }
        say!("{shown}");
        for key in keys.iter().filter(|key| key.is_needed() && !key.in_ring) {
            hint(&format!(
                "{} is missing in the ring: what it wrapped does not open without it (docs/keys.md)",
                key.service
            ));
        }
        let to_do = keys.iter().any(|key| key.is_needed() && !key.primary);
        if to_do {
            hint("bring all under the first key with: tieline keys rotate");
        } else {
            tell_unneeded(&keys);
        }
        Ok(())
    }
}

fn canary(canary: &Canary) -> String {
    match canary {
        Canary::None => "none".to_owned(),
        Canary::Unchecked => "not tried".to_owned(),
        Canary::Opens => "opens".to_owned(),
        Canary::Away(reason) | Canary::Refused(reason) => reason.clone(),
    }
}

fn as_json(key: &KeyUse) -> serde_json::Value {
    json!({
        "name": key.service,
        "in_ring": key.in_ring,
        "primary": key.primary,
        "data_keys": key.data_keys,
        "old_values": key.values,
        "needed": key.is_needed(),
        "canary": canary(&key.canary),
    })
}

fn unneeded(keys: &[KeyUse]) -> impl Iterator<Item = &str> {
    keys.iter().filter(|key| !key.is_needed()).map(|key| key.service.as_str())
}

fn tell_unneeded(keys: &[KeyUse]) {
    for name in unneeded(keys) {
        say!("Nothing needs {name} any more: tieline keys retire {name}");
    }
}

/// What was done in all.
#[derive(Default)]
struct Done {
    rewrapped: u64,
    renewed: u64,
    resealed: u64,
    failed: Vec<(Uuid, StoreError)>,
}

impl Rotate {
    async fn run(self) -> Result<(), Failure> {
        let store = self.database.open().await?;
        let now = SystemClock::default().now();
        let older_than = self.older_than.unwrap_or(now);
        if older_than > now {
            return Err(Failure::usage(
                format!("{older_than} is still to come: keys that are made meanwhile would be made anew without end"),
                "name a time that has passed",
            ));
        }
        let work = async {
            let mut done = Done { resealed: store.reseal_old_values().await?, ..Done::default() };
            rewrap(&store, &mut done).await?;
            if self.data_keys {
                renew(&store, older_than, now, &mut done).await?;
            }
            Ok::<Done, Failure>(done)
        };
        let done = unless_stopped(work).await.map_err(|failure| match self.data_keys {
            // With the same time, what is new already is not made anew again.
            true => failure
                .or(&format!("spare what is done already: tieline keys rotate --data-keys --older-than {older_than}")),
            false => failure,
        })?;
        let keys = store.key_usage().await?;
        store.close().await;
        self.tell(&done, &keys);
        if done.failed.is_empty() { Ok(()) } else { Err(Failure::told(PARTLY)) }
    }

    fn tell(&self, done: &Done, keys: &[KeyUse]) {
        let left: u64 = keys.iter().filter(|key| !key.primary).map(|key| key.data_keys + key.values).sum();
        for (id, error) in &done.failed {
            note!("error: data key {id}: {error}");
            hint(&error.hint());
        }
        if self.json {
            let failed =
                |(id, error): &(Uuid, StoreError)| json!({ "data_key": id.to_string(), "error": error.to_string() });
            say!(
                "{}",
                json!({
                    "rewrapped": done.rewrapped,
                    "renewed": done.renewed,
                    "resealed": done.resealed,
                    "left": left,
                    "failed": done.failed.iter().map(failed).collect::<Vec<_>>(),
                    "unneeded": unneeded(keys).collect::<Vec<_>>(),
                })
            );
            return;
        }
        let primary = keys.first().map(|key| key.service.as_str()).unwrap_or_default();
        say!("Brought {} under {primary}.", count(done.rewrapped, "data key"));
        if self.data_keys {
            say!("Made {} anew.", count(done.renewed, "data key"));
        }
        if done.resealed > 0 {
            say!("Sealed {} anew.", count(done.resealed, "value"));
        }
        if left > 0 {
            say!("{} not under it yet.", count(left, "data key"));
            hint("if a node still runs with the old keys, restart it; then run the same command again");
        }
        tell_unneeded(keys);
    }
}

async fn rewrap(store: &Store, done: &mut Done) -> Result<(), Failure> {
    let bar = progress_bar("data keys");
    let mut after = None;
    loop {
        let step = store.rewrap_data_keys(after, BATCH).await?;
        done.rewrapped += step.done;
        bar.set_length(done.rewrapped + step.left);
        bar.set_position(done.rewrapped);
        let Progress { failed, next, .. } = step;
        done.failed.extend(failed);
        after = next;
        if after.is_none() {
            bar.finish_and_clear();
            return Ok(());
        }
    }
}

async fn renew(store: &Store, older_than: Timestamp, now: Timestamp, done: &mut Done) -> Result<(), Failure> {
    let bar = progress_bar("data keys made anew");
    let mut after = None;
    loop {
        let step = store.renew_data_keys(older_than, now, after, BATCH).await?;
        done.renewed += step.done;
        done.resealed += step.resealed;
        bar.set_length(done.renewed + step.left);
        bar.set_position(done.renewed);
        let Progress { failed, next, .. } = step;
        done.failed.extend(failed);
        after = next;
        if after.is_none() {
            bar.finish_and_clear();
            return Ok(());
        }
    }
}

impl Retire {
    async fn run(self) -> Result<(), Failure> {
        let resolved = self.database.resolved(&self.database.file()?);
        let store = resolved.open().await?;
        let keys = store.key_usage().await?;
        let name = self.name.as_str();
        let Some(key) = keys.iter().find(|key| key.service == name) else {
            let known = keys.iter().map(|key| key.service.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Failure::usage(
                format!("there is no key {name}, neither in the ring nor in the database"),
                format!("name one of these: {known}"),
            ));
        };
        // Asked of the database before the file loses it.
        store.forget_key(name).await?;
        store.close().await;
        let path = resolved.own_key_file().filter(|path| holds(path, name));
        match path {
            Some(path) => {
                file::retire(&path, name)?;
                say!("Removed {name} from {}, and nothing in the database needs it.", path.display());
                hint(
                    "give the file to every node; backups of the database from before the rotation still need the old key",
                );
            }
            None => {
                say!("Nothing in the database needs {name} any more.");
                if key.in_ring {
                    hint("take it out of TIELINE_MASTER_KEY by hand");
                }
            }
        }
        Ok(())
    }
}

fn holds(path: &Path, name: &str) -> bool {
    file::names(path).is_ok_and(|names| names.iter().any(|held| held == name))
}
