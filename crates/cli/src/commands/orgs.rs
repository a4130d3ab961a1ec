//! `tieline orgs`: the saved logins.

use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::orgs::Orgs;
use crate::output;

/// List the saved orgs, choose the default one, rename them
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  tieline orgs
  tieline orgs --json | jq -r '.[].username'
  tieline orgs default staging
  tieline orgs rename acme production"
)]
pub(crate) struct OrgsCommand {
    #[command(subcommand)]
    act: Option<Act>,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Act {
    /// Use this org where none is named
    #[command(after_help = "Examples:\n  tieline orgs default staging")]
    Default {
        /// Alias or user name
        org: String,
    },
    /// Give an org another alias
    #[command(after_help = "Examples:\n  tieline orgs rename acme production")]
    Rename {
        /// Alias or user name
        org: String,
        /// The new alias
        alias: String,
    },
}

impl OrgsCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut orgs = Orgs::open()?;
        match self.act {
            Some(Act::Default { org }) => {
                let alias = orgs.set_default(&org)?;
                say!("`{alias}` is the default org.");
            }
            Some(Act::Rename { org, alias }) => {
                orgs.rename(&org, &alias)?;
                say!("`{org}` is called `{alias}` now.");
            }
            None if self.json => {
                let all: Vec<_> = orgs
                    .entries()
                    .map(|(alias, entry)| {
                        json!({
                            "alias": alias, "default": orgs.default_alias() == Some(alias), "username": entry.username,
                            "user_id": entry.user_id, "org_id": entry.org_id, "instance_url": entry.instance_url,
                            "grant": entry.grant, "saved_at": entry.saved_at,
                        })
                    })
                    .collect();
                output::line(&serde_json::Value::from(all).to_string())?;
            }
            None if orgs.entries().next().is_none() => {
                note!("no org is saved yet: `tieline login` adds one");
            }
            None => {
                let mut table = output::table(&["", "alias", "user", "instance URL", "org id", "by"]);
                for (alias, entry) in orgs.entries() {
                    let mark = if orgs.default_alias() == Some(alias) { "*" } else { "" };
                    table.add_row([mark, alias, &entry.username, &entry.instance_url, &entry.org_id, &entry.grant]);
                }
                output::line(&table.to_string())?;
            }
        }
        Ok(())
    }
}
