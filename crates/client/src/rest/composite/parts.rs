//! The requests of a composite call, and references from later ones to earlier ones.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::connection::Connection;
use crate::rest::sobject::segment;

/// A request whose answer is a `T`.
#[derive(Debug)]
pub struct Part<T> {
    pub(super) at: usize,
    reference: String,
    answer: PhantomData<fn() -> T>,
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self { at: self.at, reference: self.reference.clone(), answer: PhantomData }
    }
}

/// The answer to a request that created a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The record's id.
    pub id: String,
    /// With upserts: was it created? Otherwise it was there and was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<bool>,
}

/// A value that the org puts in when it comes to it: `@{ref.id}`. It stands for text in the fields of a record, in ids and
/// in queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference(String);

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.0
    }
}

impl<T> Part<T> {
    /// Something in the answer, such as `Name` or `records[0].Id`.
    pub fn field(&self, path: &str) -> Reference {
        Reference(format!("@{{{}.{path}}}", self.reference))
    }
}

impl Part<Created> {
    /// The id of the record.
    pub fn id(&self) -> Reference {
        self.field("id")
    }
}

/// The requests of a call, in order.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Parts {
    requests: Vec<One>,
    /// Set when the body of one could not be written; told when the call is sent.
    #[serde(skip)]
    pub(super) failed: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct One {
    method: &'static str,
    url: String,
    reference_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    http_headers: Map<String, Value>,
}

/// A record's id in a path: an id as it is, or a [`Reference`] to one that the call itself finds out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdInPath(String);

impl From<&str> for IdInPath {
    fn from(id: &str) -> Self {
        IdInPath(segment(id))
    }
}

impl From<String> for IdInPath {
    fn from(id: String) -> Self {
        IdInPath(segment(&id))
    }
}

impl From<&String> for IdInPath {
    fn from(id: &String) -> Self {
        IdInPath(segment(id))
    }
}

impl From<Reference> for IdInPath {
    /// Its braces stay.
    fn from(reference: Reference) -> Self {
        IdInPath(reference.0)
    }
}

/// A request whose second time changes nothing more than its first: of those that write, a change of a record by its id or
/// external id. A record that the first time deleted is an error the second time, and a record without an id is created
/// twice.
pub(super) fn repeatable(method: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let mut of_record = path.strip_prefix("sobjects/").unwrap_or_default().split('/').skip(1);
    let named = of_record.next().is_some_and(|field| match of_record.next() {
        None | Some("") => !field.is_empty() && !field.eq_ignore_ascii_case("Id"),
        Some(_) => true,
    });
    matches!(method, "GET" | "HEAD") || (method == "PATCH" && named)
}

impl Parts {
    /// Adds any request below `/services/data/vNN.0/`, such as `POST` to `sobjects/Account`.
    pub fn request<T>(
        &mut self,
        method: &'static str,
        path: impl Into<String>,
        body: Option<&impl Serialize>,
    ) -> Part<T> {
        let body = match body.map(serde_json::to_value).transpose() {
            Ok(body) => body,
            Err(error) => {
                self.failed.get_or_insert(error.to_string());
                None
            }
        };
        let at = self.requests.len();
        let reference = format!("ref{at}");
        let one = One { method, url: path.into(), reference_id: reference.clone(), body, http_headers: Map::new() };
        self.requests.push(one);
        Part { at, reference, answer: PhantomData }
    }

    /// Adds a header to the request that was added last, such as `Sforce-Auto-Assign`.
    pub fn header(&mut self, name: &str, value: &str) {
        if let Some(last) = self.requests.last_mut() {
            last.http_headers.insert(name.to_owned(), value.into());
        }
    }

    /// Creates a record.
    pub fn create(&mut self, object: &str, fields: &impl Serialize) -> Part<Created> {
        self.request("POST", format!("sobjects/{}", segment(object)), Some(fields))
    }

    /// Changes a record.
    pub fn update(&mut self, object: &str, id: impl Into<IdInPath>, fields: &impl Serialize) -> Part<()> {
        self.request("PATCH", format!("sobjects/{}/{}", segment(object), id.into().0), Some(fields))
    }

    /// Creates or changes the record that has this value in an external id.
    pub fn upsert(&mut self, object: &str, field: &str, value: &str, fields: &impl Serialize) -> Part<Created> {
        self.request(
            "PATCH",
            format!("sobjects/{}/{}/{}", segment(object), segment(field), segment(value)),
            Some(fields),
        )
    }

    /// Moves a record to the recycle bin.
    pub fn delete(&mut self, object: &str, id: impl Into<IdInPath>) -> Part<()> {
        self.request("DELETE", format!("sobjects/{}/{}", segment(object), id.into().0), None::<&()>)
    }

    /// Reads fields of a record; all without a list.
    pub fn read<T>(&mut self, object: &str, id: impl Into<IdInPath>, fields: &[&str]) -> Part<T> {
        let mut path = format!("sobjects/{}/{}", segment(object), id.into().0);
        if !fields.is_empty() {
            let fields: Vec<String> = fields.iter().map(|field| segment(field)).collect();
            path.push_str("?fields=");
            path.push_str(&fields.join(","));
        }
        self.request("GET", path, None::<&()>)
    }

    /// Runs a query and answers its first page. References may stand in it, as they are written: `'@{ref0.id}'`.
    pub fn query<T>(&mut self, soql: &str) -> Part<T> {
        // The org reads references before it decodes the URL, so their braces stay.
        let encoded = segment(soql).replace("%40%7B", "@{").replace("%7D", "}").replace("%5B", "[").replace("%5D", "]");
        self.request("GET", format!("query?q={encoded}"), None::<&()>)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The same with whole paths.
    pub(super) fn under(&self, connection: &Connection) -> Self {
        let mut parts = self.clone();
        for one in &mut parts.requests {
            one.url = connection.data_path(&one.url);
        }
        parts
    }

    pub(super) fn reference(&self, at: usize) -> &str {
        self.requests.get(at).map_or("", |one| &one.reference_id)
    }

    pub(super) fn what(&self, at: usize) -> String {
        self.requests
            .get(at)
            .map_or_else(String::new, |one| format!("{} {}", one.method, one.url.split('?').next().unwrap_or_default()))
    }

    /// True if a second time changes nothing more than the first.
    pub(super) fn repeatable(&self) -> bool {
        self.requests.iter().all(|one| repeatable(one.method, &one.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_second_time_does_again_is_not_repeated() {
        for (method, path, expected) in [
            ("GET", "query?q=x", true),
            ("PATCH", "sobjects/Contact/003000000000001AAA", true),
            ("PATCH", "sobjects/Contact/Ext__c/a%2Fb", true),
            ("PATCH", "sobjects/Contact/Id/003000000000001AAA", true),
            ("PATCH", "sobjects/Contact/Id/", false),
            ("PATCH", "sobjects/Contact/Id", false),
            ("PATCH", "composite/sobjects/Contact/Id", false),
            ("DELETE", "sobjects/Contact/003000000000001AAA", false),
            ("POST", "sobjects/Contact", false),
            ("PUT", "anything", false),
        ] {
            assert_eq!(repeatable(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn only_references_keep_their_braces() {
        let mut parts = Parts::default();
        let created = parts.create("Account", &serde_json::json!({"Name": "x"}));
        let _ = parts.delete("Account", created.id());
        let _ = parts.delete("Account", "@{ref0.id}/../x?y");
        let _ = parts.read::<Value>("Account", "001000000000001AAA", &["Name&x=y"]);
        let urls: Vec<&str> = parts.requests.iter().skip(1).map(|one| &*one.url).collect();
        assert_eq!(
            urls,
            [
                "sobjects/Account/@{ref0.id}",
                "sobjects/Account/%40%7Bref0.id%7D%2F..%2Fx%3Fy",
                "sobjects/Account/001000000000001AAA?fields=Name%26x%3Dy",
            ]
        );
    }
}
