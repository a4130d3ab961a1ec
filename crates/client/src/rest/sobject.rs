//! Single records.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::connection::Connection;
use crate::error::ClientError;
use crate::refusal::ErrorItem;
use crate::request::Request;

/// What became of one record of a write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SaveResult {
    /// The record's id; none where the record was not created.
    #[serde(default)]
    pub id: Option<String>,
    /// Was it written?
    pub success: bool,
    /// Why it was not.
    #[serde(default)]
    pub errors: Vec<ErrorItem>,
    /// With upserts: was it created? Otherwise it was there and was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<bool>,
    /// What else the org says.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// What became of an upsert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upserted {
    /// The record's id; none before v46, where the org does not say it of a record that was there.
    pub id: Option<String>,
    /// Was it created? Otherwise it was there and was changed.
    pub created: bool,
}

/// What a path does not take as itself (RFC 3986, "unreserved" are the others).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One segment of a path: nothing in it ends the segment or begins a query.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

impl Connection {
    /// Creates a record and answers its id. Never repeated blindly: when the answer is lost, the error says that
    /// the outcome is unknown. [`Connection::upsert`] may be repeated.
    ///
    /// ```no_run
    /// # async fn example(org: tieline_client::Connection) -> Result<(), tieline_client::ClientError> {
    /// let fields = serde_json::json!({"LastName": "Lovelace", "Email": "ada@example.com"});
    /// let id = org.create("Contact", &fields).await?;
    /// org.update("Contact", &id, &serde_json::json!({"Email": null})).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Connection::send`]; Salesforce's refusal names the fields.
    pub async fn create(&self, object: &str, fields: &impl Serialize) -> Result<String, ClientError> {
        let request = self.json(Method::POST, &format!("sobjects/{}", segment(object)), fields)?;
        let saved: SaveResult = self.send_json(&request).await?;
        saved.id.ok_or_else(|| self.unreadable_answer(&request, "it names no id"))
    }

    /// Reads a record: all fields that the user may see.
    ///
    /// # Errors
    /// As [`Connection::send`]; `NOT_FOUND` for a record that is deleted or was never there.
    pub async fn read<T: DeserializeOwned>(&self, object: &str, id: &str) -> Result<T, ClientError> {
        self.send_json(&Request::get(self.data_path(&self.record_path(object, &[id])?))).await
    }

    /// Reads some fields of a record. For those of its parents use a query.
    ///
    /// # Errors
    /// As [`Connection::read`].
    pub async fn read_fields<T: DeserializeOwned>(
        &self,
        object: &str,
        id: &str,
        fields: &[&str],
    ) -> Result<T, ClientError> {
        let path = format!("{}?fields={}", self.record_path(object, &[id])?, segment(&fields.join(",")));
        self.send_json(&Request::get(self.data_path(&path))).await
    }

    /// Reads the record that has this value in an external id (or in another field that the org looks records up by).
    ///
    /// # Errors
    /// As [`Connection::read`]; `MULTIPLE_CHOICES` when several records have it.
    pub async fn read_by<T: DeserializeOwned>(&self, object: &str, field: &str, value: &str) -> Result<T, ClientError> {
        self.send_json(&Request::get(self.data_path(&self.record_path(object, &[field, value])?))).await
    }

    /// Changes the given fields; `null` empties one.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn update(&self, object: &str, id: &str, fields: &impl Serialize) -> Result<(), ClientError> {
        let request = self.json(Method::PATCH, &self.record_path(object, &[id])?, fields)?;
        self.send_for_nothing(&request).await
    }

    /// Creates the record that has this value in an external id, or changes the one that has it. `fields` are the
    /// others: the org refuses the external id among them.
    ///
    /// After a lost answer it is repeated, and then a record that the first attempt created is told as changed.
    ///
    /// # Errors
    /// As [`Connection::send`]; `MULTIPLE_CHOICES` when several records have the value.
    pub async fn upsert(
        &self,
        object: &str,
        field: &str,
        value: &str,
        fields: &impl Serialize,
    ) -> Result<Upserted, ClientError> {
        let request = self.json(Method::PATCH, &self.record_path(object, &[field, value])?, fields)?;
        self.send_and(&request, |reply| {
            // Without a body only before v46. Under another status it is a body that was lost.
            if reply.status == 204 {
                return Ok(Upserted { id: None, created: false });
            }
            let saved: SaveResult = serde_json::from_slice(&reply.body)?;
            Ok(Upserted { id: saved.id, created: saved.created.unwrap_or(reply.status == 201) })
        })
        .await
    }

    /// Moves a record to the recycle bin. A record that is in it already is no error if an answer was lost before: then
    /// it was this call that put it there.
    ///
    /// # Errors
    /// As [`Connection::send`]; `ENTITY_IS_DELETED` for a record that was deleted before.
    pub async fn delete(&self, object: &str, id: &str) -> Result<(), ClientError> {
        let request = Request::new(Method::DELETE, self.data_path(&self.record_path(object, &[id])?));
        // Told apart here: the first attempt alone, and then the rest.
        match self.send_for_nothing(&request.clone().repeatable(false)).await {
            Err(error) if error.outcome_unknown() => match self.send_for_nothing(&request).await {
                Err(ClientError::Refused(refusal)) if refusal.code == "ENTITY_IS_DELETED" => Ok(()),
                other => other,
            },
            other => other,
        }
    }

    /// Sends what the org answers by nothing. A page of a proxy's under status 200 must not pass for that.
    pub(crate) async fn send_for_nothing(&self, request: &Request) -> Result<(), ClientError> {
        self.send_and(request, |reply| match reply.status {
            200..300 if reply.body.is_empty() => Ok(()),
            _ => Err(serde::de::Error::custom("it holds something where the org answers nothing")),
        })
        .await
    }

    pub(crate) fn json(&self, method: Method, rest: &str, body: &impl Serialize) -> Result<Request, ClientError> {
        let path = self.data_path(rest);
        let what = format!("{method} {path}");
        Request::json(method, path, body).map_err(|e| ClientError::Unsendable {
            org: self.org().to_owned(),
            what,
            reason: format!("it cannot be written as JSON: {e}"),
        })
    }

    pub(crate) fn unreadable_answer(&self, request: &Request, reason: &str) -> ClientError {
        let (org, what, reason) = (self.org().to_owned(), request.what(), reason.to_owned());
        ClientError::Unreadable { org, what, reason, outcome_unknown: !request.reads }
    }

    fn record_path(&self, object: &str, segments: &[&str]) -> Result<String, ClientError> {
        record_path(object, segments).ok_or_else(|| ClientError::Unsendable {
            org: self.org().to_owned(),
            what: format!("a call for a record of {object}"),
            reason: "its id is empty".to_owned(),
        })
    }
}

/// The path of a record; `None` without a name for it, which would make it that of the object.
fn record_path(object: &str, segments: &[&str]) -> Option<String> {
    let mut path = format!("sobjects/{}", segment(object));
    for one in segments {
        if one.is_empty() {
            return None;
        }
        path.push('/');
        path.push_str(&segment(one));
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_within_its_segment() {
        let path = record_path("Account", &["Ext__c", "a/b?c=d#e %ü"]);
        assert_eq!(path.as_deref(), Some("sobjects/Account/Ext__c/a%2Fb%3Fc%3Dd%23e%20%25%C3%BC"));
        // As an empty variable of a script would have it.
        assert_eq!(record_path("Account", &[""]), None);
    }

    #[test]
    fn a_double_is_read_as_it_is_written() {
        for text in ["94.95886283158103", "0.1", "-37.78999999999999", "5e-324"] {
            let read: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(read.to_string(), text);
        }
    }
}
