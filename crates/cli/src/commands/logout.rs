//! `tieline logout`: end a saved login, at the org and here.

use crate::failure::Failure;
use crate::orgs::Orgs;
use crate::settings::saved_org;

/// End a saved login: revoke its tokens at the org, and forget it here
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline logout                      the default org
  tieline logout --org staging
  tieline logout --all
  tieline logout --org gone --forget  an org that cannot be reached any more")]
pub(crate) struct Logout {
    /// Saved org, by alias or user name [default: the default org]
    #[arg(long, value_name = "ALIAS")]
    org: Option<String>,
    /// All saved orgs
    #[arg(long, conflicts_with = "org")]
    all: bool,
    /// Forget it here even if the org could not be told
    #[arg(long)]
    forget: bool,
}

impl Logout {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut orgs = Orgs::open()?;
        let wanted: Vec<String> = match (&self.org, self.all) {
            (_, true) => orgs.entries().map(|(alias, _)| alias.clone()).collect(),
            (Some(org), _) => vec![orgs.find(org)?.0],
            (None, _) => vec![orgs.default_alias().map(str::to_owned).ok_or_else(|| {
                Failure::usage("no org is saved as the default", "name one with --org; `tieline orgs` lists them")
            })?],
        };
        if wanted.is_empty() {
            note!("no org is saved");
        }
        for alias in wanted {
            let (_, entry) = orgs.find(&alias)?;
            match self.revoke(&orgs, &alias, &entry).await {
                Ok(()) => say!("Logged out of {} ({alias}).", entry.username),
                Err(failure) if self.forget => {
                    note!("warning: {}; its tokens may live on at the org", failure.message());
                    say!("Forgot {} ({alias}).", entry.username);
                }
                Err(failure) => return Err(failure.or("forget it here alone with --forget")),
            }
            orgs.remove(&alias)?;
        }
        Ok(())
    }

    async fn revoke(&self, orgs: &Orgs, alias: &str, entry: &crate::orgs::Entry) -> Result<(), Failure> {
        let connection = saved_org(orgs, alias, entry).await?;
        let report = connection.credentials().revoke().await?;
        for outcome in [report.refresh_token, report.access_token].into_iter().flatten() {
            outcome?;
        }
        Ok(())
    }
}
