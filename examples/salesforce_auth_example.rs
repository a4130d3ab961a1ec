//! Logs in to an org for its Data Cloud, asks for both tokens, and lists what there is to query.
//!
//! The same variables as the example of this name in `hyperdb-api-salesforce` knows:
//!
//! ```sh
//! export SF_LOGIN_URL=https://login.salesforce.com SF_CLIENT_ID=3MVG9…
//! export SF_USERNAME=you@example.com SF_PRIVATE_KEY_PATH=private.key   # or
//! export SF_USERNAME=you@example.com SF_PASSWORD=… SF_CLIENT_SECRET=… # or
//! export SF_REFRESH_TOKEN=… SF_CLIENT_SECRET=…
//! export SF_DATASPACE=default                                         # optional
//! cargo run --package tieline-datacloud --example salesforce_auth_example
//! ```
//!
//! With a local org in place of a real one: `tieline emulate --datacloud` prints what to set.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

use tieline_auth::ConfigError;
use tieline_datacloud::{AuthMode, DataCloud, DataCloudError, SalesforceAuthConfig, SharedTokenProvider};

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn needed(name: &str) -> Result<String, ConfigError> {
    variable(name).ok_or_else(|| ConfigError::new(format!("{name} is not set"), format!("export {name}=…")))
}

fn mode() -> Result<AuthMode, ConfigError> {
    if let Some(token) = variable("SF_REFRESH_TOKEN") {
        return Ok(AuthMode::refresh_token(token));
    }
    if let Some(password) = variable("SF_PASSWORD") {
        return Ok(AuthMode::password(needed("SF_USERNAME")?, password));
    }
    let path = variable("SF_PRIVATE_KEY_FILE").map_or_else(|| needed("SF_PRIVATE_KEY_PATH"), Ok)?;
    let pem = std::fs::read_to_string(&path)
        .map_err(|e| ConfigError::new(format!("{path} cannot be read: {e}"), "name the private key's file"))?;
    AuthMode::private_key(needed("SF_USERNAME")?, &pem)
}

async fn run() -> Result<(), DataCloudError> {
    let mut config = SalesforceAuthConfig::new(needed("SF_LOGIN_URL")?, needed("SF_CLIENT_ID")?)?.auth_mode(mode()?);
    if let Some(secret) = variable("SF_CLIENT_SECRET") {
        config = config.client_secret(secret);
    }
    if let Some(dataspace) = variable("SF_DATASPACE") {
        config = config.dataspace(dataspace);
    }
    let provider = SharedTokenProvider::new(config)?;
    let token = provider.get_token().await?;
    println!("tenant      {}", token.tenant_url());
    println!("tenant id   {}", token.tenant_id().unwrap_or_default());
    println!("lakehouse   {}", token.lakehouse_name(provider.dataspace()).unwrap_or_default());
    println!("expires     {}", token.expires_at().map_or_else(String::new, |at| format!("{at:.0}")));

    // Clones share both tokens: these ask for nothing.
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let provider = provider.clone();
            tokio::spawn(async move { provider.get_token().await })
        })
        .collect();
    for task in tasks {
        let same = task.await.expect("the task does not panic")?;
        assert_eq!(same.tenant_url(), token.tenant_url());
    }
    println!("exchanges   {}", provider.stats().token_requests);

    for object in DataCloud::new(provider)?.objects(None, None).await? {
        println!("object      {} ({} fields)", object.name, object.fields.len());
    }
    Ok(())
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    match run().await {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("error: {error}\nhint: {}", error.hint());
            1.into()
        }
    }
}
