//! A tree: records with their children, created together or not at all.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::connection::Connection;
use crate::error::ClientError;
use crate::refusal::ErrorItem;
use crate::rest::sobject::segment;

/// A record of a tree, with children.
///
/// ```
/// use tieline_client::composite::Tree;
///
/// let account = Tree::new("Account", "engines", serde_json::json!({"Name": "Analytical Engines"}))
///     .child("Contacts", Tree::new("Contact", "ada", serde_json::json!({"LastName": "Lovelace"})));
/// assert_eq!(account.len(), 2);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Tree {
    object: String,
    reference: String,
    fields: Value,
    children: Vec<(String, Tree)>,
}

/// What became of a tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TreeReply {
    /// Nothing was created.
    pub has_errors: bool,
    /// Of all records when they were created; otherwise of those that were refused.
    pub results: Vec<TreeResult>,
}

/// What became of a record of a tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TreeResult {
    /// The name that the caller gave it.
    pub reference_id: String,
    /// Its id, if it was created.
    #[serde(default)]
    pub id: Option<String>,
    /// Why it was not.
    #[serde(default)]
    pub errors: Vec<ErrorItem>,
}

impl Tree {
    /// A record without children. `reference` names it in the reply, and must be the only one of its name there.
    pub fn new(object: impl Into<String>, reference: impl Into<String>, fields: Value) -> Self {
        Self { object: object.into(), reference: reference.into(), fields, children: Vec::new() }
    }

    /// The same with a child in a relationship, such as `Contacts`.
    pub fn child(mut self, relationship: impl Into<String>, child: Tree) -> Self {
        self.children.push((relationship.into(), child));
        self
    }

    /// How many records there are in it.
    pub fn len(&self) -> usize {
        1 + self.children.iter().map(|(_, child)| child.len()).sum::<usize>()
    }

    /// Never: a tree has at least its root.
    pub fn is_empty(&self) -> bool {
        false
    }

    fn written(&self) -> Value {
        let mut record = Map::new();
        record.insert("attributes".to_owned(), json!({"type": self.object, "referenceId": self.reference}));
        if let Value::Object(fields) = &self.fields {
            record.extend(fields.clone().into_iter().filter(|(key, _)| key != "attributes"));
        }
        for (relationship, child) in &self.children {
            let children = record.entry(relationship.clone()).or_insert_with(|| json!({"records": []}));
            if let Some(Value::Array(records)) = children.get_mut("records") {
                records.push(child.written());
            }
        }
        record.into()
    }
}

impl Connection {
    /// Creates trees, whose roots are of one object: up to 200 records in all. A refusal of records is in the reply, and
    /// then nothing was created.
    ///
    /// # Errors
    /// As [`Connection::send`]. Never repeated after a lost answer.
    pub async fn create_trees(&self, object: &str, trees: &[Tree]) -> Result<TreeReply, ClientError> {
        let records: Vec<Value> = trees.iter().map(Tree::written).collect();
        let path = format!("composite/tree/{}", segment(object));
        let request = self.json(Method::POST, &path, &json!({"records": records}))?;
        match self.send_json(&request).await {
            // The reply of a refusal comes with status 400, and is one object instead of a list of errors.
            Err(ClientError::Refused(refusal)) => match serde_json::from_slice(refusal.body()) {
                Ok(reply) => Ok(reply),
                Err(_) => Err(ClientError::Refused(refusal)),
            },
            other => other,
        }
    }
}
