//! Components out of the org, as a zip file.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::xml::escape;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::wait::Wait;

/// A retrieve of a few components takes seconds, one of a whole org minutes.
const WAIT: Wait = Wait {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(5),
    at_most: Some(Duration::from_secs(10 * 60)),
};
/// Unzipped, no retrieve is larger (Metadata API limits: 600 MB).
const BYTES: u64 = 600 * 1024 * 1024;

/// What a retrieve has brought.
#[derive(Debug, Clone, Default)]
pub struct Retrieved {
    /// Files by their path in the package: `permissionsets/Name.permissionset`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What could not be had, in the org's words.
    pub problems: Vec<String>,
}

impl Connection {
    /// Retrieves components, by type and full name (`*` for all of a type), and waits for them: ten minutes at most.
    ///
    /// # Errors
    /// As [`Connection::send`]. A component that is not there is no error but among [`Retrieved::problems`].
    /// [`ClientError::StillRunning`] when the time is over; [`Connection::retrieved`] goes on with it.
    pub async fn retrieve(&self, wanted: &[(&str, &[&str])]) -> Result<Retrieved, ClientError> {
        let id = self.start_retrieve(wanted).await?;
        self.retrieved(&id, &WAIT).await
    }

    /// Begins a retrieve and answers its id.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn start_retrieve(&self, wanted: &[(&str, &[&str])]) -> Result<String, ClientError> {
        let version = self.api_version();
        let mut types = String::new();
        for (name, members) in wanted {
            let members: String = members.iter().map(|m| format!("<members>{}</members>", escape(m))).collect();
            types.push_str(&format!("<types>{members}<name>{}</name></types>", escape(name)));
        }
        let operation = format!(
            "<retrieve><retrieveRequest><apiVersion>{version}</apiVersion><singlePackage>true</singlePackage>\
             <unpackaged>{types}<version>{version}</version></unpackaged></retrieveRequest></retrieve>"
        );
        let started = self.soap(&operation, true).await?;
        let id = started.at("result/id").ok_or_else(|| self.not_retrieved("it names no job".to_owned()))?;
        Ok(id.to_owned())
    }

    /// Waits for a retrieve that was begun, and answers what it has brought.
    ///
    /// # Errors
    /// As [`Connection::retrieve`].
    pub async fn retrieved(&self, id: &str, wait: &Wait) -> Result<Retrieved, ClientError> {
        let look = format!(
            "<checkRetrieveStatus><asyncProcessId>{}</asyncProcessId><includeZip>true</includeZip></checkRetrieveStatus>",
            escape(id)
        );
        let mut waiting = wait.begin();
        loop {
            let answer = self.soap(&look, true).await?;
            let result = answer.child("result").ok_or_else(|| self.not_retrieved("it holds no result".to_owned()))?;
            if !result.flag("done") {
                waiting.pause(self.org(), id, result.at("status").unwrap_or("running")).await?;
                continue;
            }
            if !result.flag("success") {
                let reason = result.at("errorMessage").unwrap_or("the org gave no reason").to_owned();
                return Err(self.not_retrieved(reason));
            }
            let problems = result.all("messages").filter_map(|m| m.at("problem")).map(str::to_owned).collect();
            let zip = STANDARD.decode(result.at("zipFile").unwrap_or_default());
            let zip = zip.map_err(|e| self.not_retrieved(e.to_string()))?;
            return Ok(Retrieved { files: unzip(&zip).map_err(|reason| self.not_retrieved(reason))?, problems });
        }
    }

    fn not_retrieved(&self, reason: String) -> ClientError {
        let (org, what) = (self.org().to_owned(), "retrieve".to_owned());
        ClientError::Unreadable { org, what, reason, outcome_unknown: false }
    }
}

fn unzip(zip: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(zip)).map_err(|e| e.to_string())?;
    let mut files = BTreeMap::new();
    let mut left = BYTES;
    for at in 0..archive.len() {
        let file = archive.by_index(at).map_err(|e| e.to_string())?;
        let Some(name) = file.enclosed_name() else {
            return Err(format!("the name of file {at} leads out of the package"));
        };
        let name = name.to_string_lossy().into_owned();
        let mut content = Vec::new();
        file.take(left + 1).read_to_end(&mut content).map_err(|e| e.to_string())?;
        left = left.checked_sub(content.len() as u64).ok_or("it is larger than a retrieve can be")?;
        // Of a package without a name the org makes a folder of that name.
        files.insert(name.strip_prefix("unpackaged/").unwrap_or(&name).to_owned(), content);
    }
    Ok(files)
}
