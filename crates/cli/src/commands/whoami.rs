//! `tieline whoami`: who a login speaks for.

use serde_json::json;

use crate::failure::Failure;
use crate::output;
use crate::settings::OrgChoice;
use crate::visible::visible;

/// Show which user of which org the commands speak for
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline whoami
  tieline whoami --org staging --json")]
pub(crate) struct Whoami {
    #[command(flatten)]
    org: OrgChoice,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Whoami {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let chosen = self.org.choose().await?;
        let credentials = chosen.connection.credentials();
        let user = credentials.userinfo().await?;
        let token = credentials.token().await?;
        let instance_url = token.instance_url().as_str().trim_end_matches('/');
        let from =
            chosen.alias.as_deref().map_or("the SF_* variables".to_owned(), |alias| format!("saved org `{alias}`"));
        if self.json {
            let told = json!({
                "username": user.preferred_username, "name": user.name, "email": user.email, "user_id": user.user_id,
                "org_id": user.organization_id, "instance_url": instance_url, "alias": chosen.alias,
                "grant": credentials.config().grant.name(), "scope": token.scope(), "active": user.active,
            });
            output::line(&told.to_string())?;
            return Ok(());
        }
        let rows = [
            ("user", user.preferred_username.as_deref().unwrap_or_default()),
            ("name", user.name.as_deref().unwrap_or_default()),
            ("org", &user.organization_id),
            ("instance URL", instance_url),
            ("grant", credentials.config().grant.name()),
            ("scopes", token.scope().unwrap_or("not told")),
            ("from", &from),
        ];
        for (name, value) in rows {
            output::line(&visible(&format!("{name:<14}{value}")))?;
        }
        Ok(())
    }
}
