//! `tieline token`: a valid token for other tools.

use std::io::Read;
use std::time::Duration;

use serde_json::json;
use tieline_auth::Secret;

use crate::failure::Failure;
use crate::output;
use crate::settings::OrgChoice;

/// Print a valid access token for other tools
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline token
  curl -H \"Authorization: Bearer $(tieline token)\" \"$SF_LOGIN_URL/services/data\"
  tieline token --json | jq -r .instance_url
  tieline token --min-ttl 60                         one that is used for a minute more at least
  echo \"$TOKEN\" | tieline token --refused -          the org has refused $TOKEN: another one")]
pub(crate) struct Token {
    #[command(flatten)]
    org: OrgChoice,
    /// Print token, instance URL and times as JSON
    #[arg(long)]
    json: bool,
    /// Seconds that the token must be good for: a new one is fetched if the one at hand has less. More than the
    /// policy (TIELINE_TOKEN_REUSE) gives any token is warned of
    #[arg(long, value_name = "SECONDS")]
    min_ttl: Option<u64>,
    /// A token that the org has refused, from standard input (`-`): another one is printed
    #[arg(long, value_name = "-", conflicts_with = "min_ttl")]
    refused: Option<String>,
}

impl Token {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let refused = self.refused.as_deref().map(from_standard_input).transpose()?;
        let connection = self.org.connection().await?;
        let credentials = connection.credentials();
        let (token, from_cache) = match (refused, self.min_ttl) {
            (Some(refused), _) => credentials.token_instead_of(&refused).await?,
            (None, Some(seconds)) => credentials.token_for(Duration::from_secs(seconds)).await?,
            (None, None) => credentials.token_and_source().await?,
        };
        if let (Some(wanted), Some(end)) = (self.min_ttl, token.expires_at()) {
            let left = end.duration_since(crate::login::now()).as_secs().max(0).unsigned_abs();
            if left < wanted {
                note!(
                    "warning: a new token is used for {left} s here, not for {wanted}: TIELINE_TOKEN_REUSE=until_refused lifts that"
                );
            }
        }
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

/// A secret is never an argument: other users of the machine see those.
fn from_standard_input(argument: &str) -> Result<Secret, Failure> {
    if argument != "-" {
        return Err(Failure::usage(
            "a token cannot be given as an argument, which every user of this machine can read",
            "pass it on standard input: echo \"$TOKEN\" | tieline token --refused -",
        ));
    }
    let mut text = String::new();
    std::io::stdin().take(64 * 1024).read_to_string(&mut text)?;
    match text.trim() {
        "" => Err(Failure::usage("standard input holds no token", "echo \"$TOKEN\" | tieline token --refused -")),
        token => Ok(Secret::new(token)),
    }
}
