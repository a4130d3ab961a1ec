//! `tieline request`: any call, with login, retry and API budget.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;

use tieline_client::{Body, ClientError, Connection, Download, Method, Request as Call};

use super::records::text;
use super::stopped;
use crate::failure::{Failure, UNFINISHED};
use crate::settings::OrgChoice;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;
use crate::visible::Visible;

/// Send any request to the org
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline request GET limits
  tieline request GET /services/data
  tieline request PATCH sobjects/Contact/003Em0000000001IAA --json-body '{\"Title\": \"Admiral\"}' -i
  tieline request POST composite --file composite.json --header Sforce-Call-Options:client=acme

A path without a slash before it follows /services/data/vNN.N/. The body is printed as it came, that of a refusal too; the
exit code is that of every other command. After a lost answer every method but POST is sent
again; a POST only where the org has certainly not seen it.")]
pub(crate) struct Request {
    #[command(flatten)]
    org: OrgChoice,
    /// HTTP method
    method: String,
    /// Path on the org's host, with its query string
    path: String,
    /// A header; repeat it for more
    #[arg(long, value_name = "NAME:VALUE")]
    header: Vec<String>,
    /// File to send; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "json_body")]
    file: Option<PathBuf>,
    /// JSON to send
    #[arg(long, value_name = "JSON")]
    json_body: Option<String>,
    /// Print status and headers to standard error
    #[arg(long, short)]
    include: bool,
}

impl Request {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let method = method(&self.method)?;
        let (mut headers, mut content_type) = (Vec::new(), None);
        for header in &self.header {
            let wrong = || Failure::usage(format!("`{header}` is no header"), "write --header NAME:VALUE");
            let (name, value) = header.split_once(':').ok_or_else(wrong)?;
            let (name, value) = (name.trim(), value.trim());
            if name.eq_ignore_ascii_case("content-type") {
                content_type = Some(value.to_owned());
                continue;
            }
            headers.push((name.parse().map_err(|_| wrong())?, value.parse().map_err(|_| wrong())?));
        }
        let bytes = match (&self.file, &self.json_body) {
            (Some(file), _) => Some(text(file)?),
            (None, Some(json)) => {
                serde_json::from_str::<serde::de::IgnoredAny>(json)
                    .map_err(|e| Failure::usage(format!("--json-body is no JSON: {e}"), "put it in single quotes"))?;
                Some(json.clone().into_bytes())
            }
            (None, None) => None,
        };
        let connection = self.org.to_call().await?;
        let path = if self.path.starts_with('/') { self.path.clone() } else { connection.data_path(&self.path) };
        let mut call = Call::new(method, path);
        for (name, value) in headers {
            call = call.with_header(name, value);
        }
        if let Some(bytes) = bytes {
            call = call.with_body(body(content_type, bytes));
        }
        print(sent(&connection, &call).await?, &call, self.include).await
    }
}

pub(super) fn method(text: &str) -> Result<Method, Failure> {
    let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
    known.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
        Failure::usage(
            format!("`{text}` is no HTTP method"),
            "write GET, POST, PUT, PATCH, DELETE or HEAD before the path",
        )
    })
}

/// JSON unless told otherwise.
pub(super) fn body(content_type: Option<String>, bytes: Vec<u8>) -> Body {
    match content_type {
        Some(content_type) => Body::Raw { content_type, bytes: bytes.into() },
        None => Body::Json(bytes.into()),
    }
}

pub(super) async fn sent(connection: &Connection, call: &Call) -> Result<Result<Download, ClientError>, Failure> {
    tokio::select! {
        answer = connection.download(call) => Ok(answer),
        () = stopped() => Err(Failure::told(ENDED_BY_A_PERSON)),
    }
}

/// Prints a body as it comes; that of a refusal before its error.
pub(super) async fn print(answer: Result<Download, ClientError>, call: &Call, include: bool) -> Result<(), Failure> {
    let failed = if call.idempotent { Failure::repeatable } else { Failure::from };
    let stdout = std::io::stdout();
    // As it came, where a program reads it; on a terminal nothing of it is obeyed.
    let mut out: Box<dyn Write> = if stdout.is_terminal() { Box::new(Visible::new(stdout)) } else { Box::new(stdout) };
    let mut answer = match answer {
        Err(ClientError::Refused(refusal)) => {
            if include {
                note!("HTTP {}", refusal.status);
            }
            wrote(out.write_all(refusal.body()).and_then(|()| out.flush()))?;
            if !refusal.body().is_empty() && !refusal.body().ends_with(b"\n") {
                wrote(out.write_all(b"\n"))?;
            }
            return Err(failed(ClientError::Refused(refusal)));
        }
        other => other.map_err(failed)?,
    };
    if include {
        note!("HTTP {}", answer.status);
        for (name, value) in &answer.headers {
            note!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
    }
    // The org has answered, so it has done what it was asked for.
    let broken = |error: ClientError| match call.idempotent {
        true => Failure::repeatable(error),
        false => Failure::new(error.to_string(), "the org carried it out, and the answer broke off: do not repeat it")
            .with_code(UNFINISHED),
    };
    loop {
        let chunk = tokio::select! {
            chunk = answer.chunk() => chunk.map_err(broken)?,
            () = stopped() => return Err(Failure::told(ENDED_BY_A_PERSON)),
        };
        let Some(chunk) = chunk else { break };
        if !wrote(out.write_all(&chunk))? {
            return Ok(());
        }
    }
    wrote(out.flush())?;
    Ok(())
}

/// False when the reader has seen enough.
fn wrote(outcome: std::io::Result<()>) -> Result<bool, Failure> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}
