//! Several requests in one call, in four forms.
//!
//! | | up to | together | later ones use results of earlier ones |
//! | --- | --- | --- | --- |
//! | [`Composite`] | 25 | if asked | yes |
//! | [`Graph`] | 500 in 75 graphs | each graph | yes |
//! | [`Batch`] | 25 | no | no |
//! | [`Tree`] | 200 records with their children | yes | no |
//!
//! Each counts as one call against the API budget.
//!
//! ```no_run
//! # async fn example(org: tieline_client::Connection) -> Result<(), tieline_client::ClientError> {
//! use serde_json::json;
//! use tieline_client::composite::Composite;
//!
//! let mut call = Composite::new().all_or_none();
//! let account = call.create("Account", &json!({"Name": "Analytical Engines"}));
//! let contact = call.create("Contact", &json!({"LastName": "Lovelace", "AccountId": account.id()}));
//! let read = call.read::<tieline_client::Record>("Contact", contact.id(), &["Account.Name"]);
//!
//! let answers = org.composite(&call).await?;
//! println!("{} {:?}", answers.get(&account)?.id, answers.get(&read)?);
//! # Ok(()) }
//! ```
//!
//! Source: "Composite" of the REST API Developer Guide, v66.

mod batch;
mod graph;
mod parts;
mod reply;
mod tree;

pub use batch::{Batch, BatchReply};
pub use graph::{Graph, Graphs};
pub use parts::{Created, IdInPath, Part, Parts, Reference};
pub use reply::{Answers, PartError};
pub use tree::{Tree, TreeReply, TreeResult};

use reqwest::Method;
use serde::Serialize;

use crate::connection::Connection;
use crate::error::ClientError;
use reply::CompositeResponse;

/// Requests that are carried out one after the other, in one call.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Composite {
    all_or_none: bool,
    #[serde(rename = "compositeRequest")]
    parts: Parts,
}

impl Composite {
    /// A call without requests.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, and one that fails undoes the others.
    pub fn all_or_none(self) -> Self {
        Self { all_or_none: true, ..self }
    }
}

impl std::ops::Deref for Composite {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl std::ops::DerefMut for Composite {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.parts
    }
}

impl Connection {
    /// Sends a composite call. What became of each request is in the answers; the call itself succeeds even if all of them
    /// fail.
    ///
    /// # Errors
    /// As [`Connection::send`]. After a lost answer it is repeated only if each of its requests reads, or changes a record by its id
    /// or external id.
    pub async fn composite(&self, call: &Composite) -> Result<Answers, ClientError> {
        self.writable([&call.parts], "composite")?;
        let request =
            || Ok(self.json(Method::POST, "composite", &self.written(call))?.repeatable(call.parts.repeatable()));
        let (response, _): (CompositeResponse, _) = self.send_with_paths(request).await?;
        self.answers(&request()?, &call.parts, response)
    }

    /// Requests know their paths only from here on: the version is the connection's.
    fn written(&self, call: &Composite) -> Composite {
        Composite { all_or_none: call.all_or_none, parts: call.parts.under(self) }
    }
}
