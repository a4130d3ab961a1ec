//! Graphs: up to 500 requests in one call, each graph a transaction of its own.

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::parts::Parts;
use super::reply::{Answers, CompositeResponse};
use crate::connection::Connection;
use crate::error::ClientError;

/// One graph: requests that are carried out together or not at all. They create, change, read and delete records;
/// queries are not among them.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Graph {
    #[serde(rename = "compositeRequest")]
    parts: Parts,
}

impl Graph {
    /// A graph without requests.
    pub fn new() -> Self {
        Self::default()
    }
}

impl std::ops::Deref for Graph {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl std::ops::DerefMut for Graph {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.parts
    }
}

#[derive(Serialize)]
struct Sent {
    graphs: Vec<One>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One {
    graph_id: String,
    #[serde(flatten)]
    graph: Graph,
}

#[derive(Deserialize)]
struct Answered {
    graphs: Vec<AnsweredOne>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnsweredOne {
    graph_id: String,
    graph_response: CompositeResponse,
    is_successful: bool,
}

/// What became of the graphs, in the order in which they were given.
#[derive(Debug)]
pub struct Graphs(Vec<(bool, Answers)>);

impl Graphs {
    /// The n-th graph was carried out.
    pub fn is_success(&self, graph: usize) -> bool {
        self.0.get(graph).is_some_and(|(success, _)| *success)
    }

    /// The answers to the requests of the n-th graph.
    pub fn answers(&self, graph: usize) -> Option<&Answers> {
        self.0.get(graph).map(|(_, answers)| answers)
    }
}

impl Connection {
    /// Sends graphs: up to 75 with up to 500 requests in all. One that fails undoes itself and no other.
    ///
    /// # Errors
    /// As [`Connection::composite`].
    pub async fn graphs(&self, graphs: &[Graph]) -> Result<Graphs, ClientError> {
        self.writable(graphs.iter().map(|graph| &graph.parts), "composite/graph")?;
        let repeatable = graphs.iter().all(|graph| graph.parts.repeatable());
        let request = || {
            let of = |(n, graph): (usize, &Graph)| One {
                graph_id: format!("graph{n}"),
                graph: Graph { parts: graph.parts.under(self) },
            };
            let sent = Sent { graphs: graphs.iter().enumerate().map(of).collect() };
            Ok(self.json(Method::POST, "composite/graph", &sent)?.repeatable(repeatable))
        };
        let (mut answered, _): (Answered, _) = self.send_with_paths(request).await?;
        let request = request()?;
        let mut found = Vec::with_capacity(graphs.len());
        for (n, graph) in graphs.iter().enumerate() {
            let name = format!("graph{n}");
            let Some(at) = answered.graphs.iter().position(|one| one.graph_id == name) else {
                return Err(self.unreadable_answer(&request, "it does not answer all graphs of the call"));
            };
            let one = answered.graphs.swap_remove(at);
            found.push((one.is_successful, self.answers(&request, &graph.parts, one.graph_response)?));
        }
        Ok(Graphs(found))
    }

    /// Refuses a call with a body that could not be written.
    pub(super) fn writable<'a>(
        &self,
        parts: impl IntoIterator<Item = &'a Parts>,
        what: &str,
    ) -> Result<(), ClientError> {
        match parts.into_iter().find_map(|parts| parts.failed.clone()) {
            None => Ok(()),
            Some(reason) => {
                let (org, reason) = (self.org().to_owned(), format!("it cannot be written as JSON: {reason}"));
                Err(ClientError::Unsendable { org, what: format!("POST {what}"), reason })
            }
        }
    }
}
