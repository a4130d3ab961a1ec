//! `tieline apex`: code of the org's own, by Apex REST or anonymous.

use std::path::PathBuf;

use tieline_client::{Body, Method, Request};

use super::records::{object, text};
use super::request::{body, print, sent};
use super::stopped;
use crate::failure::{FAILED, Failure};
use crate::output;
use crate::settings::OrgChoice;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Call Apex REST, or run Apex
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  tieline apex GET orders/42
  tieline apex POST orders Name=Tea Quantity:=3
  tieline apex PUT orders --file orders.json

The path follows /services/apexrest/. What the code answers is printed as it is. After a lost answer every method but POST
is sent again; a POST only where the org has certainly not seen it. `tieline apex run` runs Apex that is not stored in the
org."
)]
pub(crate) struct Apex {
    #[command(subcommand)]
    run: Option<Anonymous>,
    #[command(flatten)]
    org: OrgChoice,
    /// HTTP method
    #[arg(required = true)]
    method: Option<String>,
    /// Path behind /services/apexrest/
    #[arg(required = true)]
    path: Option<String>,
    /// Fields of a JSON body: FIELD=text, FIELD:=JSON, FIELD= for null
    #[arg(value_name = "FIELD=VALUE")]
    fields: Vec<String>,
    /// File to send; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "fields")]
    file: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Anonymous {
    Run(Run),
}

/// Run Apex that is not stored in the org (anonymous)
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline apex run fix.apex
  echo 'System.debug(1);' | tieline apex run -

What it did before it failed is undone; its debug log stays in the org.")]
struct Run {
    #[command(flatten)]
    org: OrgChoice,
    /// File of Apex; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// One JSON object, as the org says it
    #[arg(long)]
    json: bool,
}

impl Apex {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if let Some(Anonymous::Run(command)) = self.run {
            return command.run().await;
        }
        let method = super::request::method(self.method.as_deref().unwrap_or_default())?;
        if method == Method::GET && !(self.fields.is_empty() && self.file.is_none()) {
            return Err(Failure::usage("a GET has no body", "write values into the path: orders?name=Tea"));
        }
        let path = self.path.unwrap_or_default();
        let mut request = Request::new(method, format!("/services/apexrest/{}", path.trim_start_matches('/')));
        if let Some(file) = &self.file {
            request = request.with_body(body(None, text(file)?));
        } else if !self.fields.is_empty() {
            let fields = serde_json::to_vec(&object(&self.fields)?).map_err(anyhow::Error::from)?;
            request = request.with_body(Body::Json(fields.into()));
        }
        let connection = self.org.to_call().await?;
        print(sent(&connection, &request).await?, &request, false).await
    }
}

impl Run {
    async fn run(self) -> Result<(), Failure> {
        let code = String::from_utf8(text(&self.file)?)
            .map_err(|_| Failure::usage(format!("{} is not UTF-8", self.file.display()), "save it as UTF-8"))?;
        let connection = self.org.to_call().await?;
        let done = tokio::select! {
            done = connection.execute_anonymous(&code) => done?,
            () = stopped() => return Err(Failure::told(ENDED_BY_A_PERSON)),
        };
        if self.json {
            output::line(&serde_json::to_string(&done).map_err(anyhow::Error::from)?)?;
            return if done.success { Ok(()) } else { Err(Failure::told(FAILED)) };
        }
        if done.success {
            note!("done");
            return Ok(());
        }
        let at = format!("line {}, column {}", done.line, done.column);
        if !done.compiled {
            let problem = done.compile_problem.as_deref().unwrap_or("the org gives no reason");
            return Err(Failure::new(format!("it does not compile: {at}: {problem}"), "nothing was run"));
        }
        let thrown = done.exception_message.as_deref().unwrap_or("the org gives no reason");
        let trace = done.exception_stack_trace.as_deref().map(|trace| format!("\n{trace}")).unwrap_or_default();
        Err(Failure::new(format!("it failed: {at}: {thrown}{trace}"), "what it did before is undone"))
    }
}
