//! Deploys, each checked first, and what a refusal means.

use std::time::Duration;

use tieline_client::Connection;
use tieline_client::metadata::{ComponentMessage, DeployOptions, DeployResult, Package};

use super::say::{Say, span};
use crate::failure::Failure;

/// Pause between looks at a deploy that is running, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// A deploy of a few files that takes longer than this waits behind others of the org.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// Checks the package, then deploys it.
pub(crate) async fn deploy(org: &Connection, package: &Package, what: &str, say: Say) -> Result<DeployResult, Failure> {
    run(
        org,
        package,
        DeployOptions { check_only: true, ..DeployOptions::default() },
        &format!("checking {what}"),
        what,
        say,
    )
    .await?;
    run(org, package, DeployOptions::default(), &format!("deploying {what}"), what, say).await
}

async fn run(
    org: &Connection,
    package: &Package,
    options: DeployOptions,
    doing: &str,
    what: &str,
    say: Say,
) -> Result<DeployResult, Failure> {
    let id = org.deploy(package, options).await.map_err(|error| {
        let refused = error.salesforce_code().is_some_and(|code| code.starts_with("INSUFFICIENT_ACCESS"));
        let failure = Failure::repeatable(error);
        if refused {
            failure.or("log in for the setup as an administrator, who has Customize Application and Modify Metadata")
        } else {
            failure
        }
    })?;
    let mut waiting = say.waiting(doing);
    let began = tokio::time::Instant::now();
    let mut pause = PAUSE.0;
    loop {
        let status = org.deploy_status(&id).await?;
        if status.done {
            drop(waiting);
            return if status.success { Ok(status) } else { Err(failed(&status, what)) };
        }
        if began.elapsed() > PATIENCE {
            return Err(Failure::transient(
                format!("the deploy {id} of {what} has not ended after {}", span(PATIENCE)),
                "look at Setup, Deployment Status; then run the same command again: it goes on from here",
            ));
        }
        waiting.change(format!("{doing}: {} ({})", status.status, span(began.elapsed())));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

fn failed(status: &DeployResult, what: &str) -> Failure {
    let told = |failure: &ComponentMessage| {
        let line = match failure.line_number {
            0 => String::new(),
            line => format!(", line {line}"),
        };
        let of = if failure.component_type.is_empty() { &failure.file_name } else { &failure.component_type };
        format!("{of} {}{line}: {}", failure.full_name, failure.problem)
    };
    let reasons: Vec<String> = status.failures().iter().map(told).collect();
    let reasons = match (reasons.is_empty(), &status.error_message) {
        (true, Some(message)) => message.clone(),
        (true, None) => format!("it ended as {}", status.status),
        (false, _) => reasons.join("; "),
    };
    let hint = status.failures().iter().find_map(hint_for).unwrap_or(
        "the words are the org's; --dry-run prints what is deployed, and Setup, Deployment Status shows the deploy",
    );
    Failure::needs_person(format!("the org did not take {what}: {reasons}"), hint)
}

/// What a refusal means. By which words an org refuses new connected apps since Spring '26, no source tells: any refusal to
/// create one is taken for that.
fn hint_for(failure: &ComponentMessage) -> Option<&'static str> {
    let problem = failure.problem.to_ascii_lowercase();
    let has = |text: &str| problem.contains(text);
    Some(match failure.component_type.as_str() {
        _ if has("consumer key is already taken") => {
            "another app has this consumer key: leave it to the org to choose one"
        }
        "ConnectedApp" if has("connected app") || has("not available") || has("not enabled") || has("support") => {
            "this org makes no new connected apps (the default since Spring '26): leave out --app connected-app for an external \
             client app, or ask Salesforce Support to switch them on"
        }
        "ExternalClientApplication" if has("not available") || has("not enabled") || has("disabled") => {
            "external client apps are switched off in this org: Setup, External Client Apps, Settings, switch them on; then run \
             the same command again"
        }
        "ExtlClntAppGlobalOauthSettings" | "ExtlClntAppOauthSettings" if has("consumer secret") => {
            "Setup, External Client Apps, Settings: allow access to OAuth consumer secrets via the Metadata API; and give your \
             user the permission View External Client Apps Consumer Secrets in Metadata"
        }
        _ if has("certificate") => {
            "the certificate must be X.509 over an RSA key of 2,048 bits or more, and not over yet"
        }
        _ if has("insufficient") || has("privilege") => "log in for the setup as an administrator",
        _ => return None,
    })
}
