//! `tieline token`: a valid token for other tools.

use serde_json::json;

use crate::failure::Failure;
use crate::{output, settings};

/// Print a valid access token for other tools
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline token
  curl -H \"Authorization: Bearer $(tieline token)\" \"$SF_LOGIN_URL/services/data\"
  tieline token --json | jq -r .instance_url")]
pub(crate) struct Token {
    /// Print token, instance URL and times as JSON
    #[arg(long)]
    json: bool,
}

impl Token {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let connection = settings::connection().await?;
        let (token, from_cache) = connection.credentials().token_and_source().await?;
        let text = if self.json {
            json!({
                "access_token": token.access_token().expose(),
                "instance_url": token.instance_url().as_str().trim_end_matches('/'),
                "issued_at": token.issued_at().to_string(),
                "expires_at": token.expires_at().map(|t| t.to_string()),
                "from_cache": from_cache,
            })
            .to_string()
        } else {
            token.access_token().expose().to_owned()
        };
        output::line(&text)?;
        Ok(())
    }
}
