//! Single records.

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::connection::Connection;
use crate::error::ClientError;
use crate::send::Request;

#[derive(Deserialize)]
struct Created {
    id: String,
}

impl Connection {
    /// Creates a record and answers its id. Never repeated blindly: when the connection breaks, the error says
    /// that the outcome is unknown.
    ///
    /// # Errors
    /// As [`Connection::send`]; Salesforce's refusal names the fields.
    pub async fn create(&self, object: &str, fields: &impl Serialize) -> Result<String, ClientError> {
        let request = self.with_body(Method::POST, &format!("sobjects/{object}"), fields)?;
        Ok(self.send_json::<Created>(&request).await?.id)
    }

    /// Reads a record: all fields that the user may see.
    ///
    /// # Errors
    /// As [`Connection::send`]; `NOT_FOUND` for a record that is deleted or was never there.
    pub async fn read<T: DeserializeOwned>(&self, object: &str, id: &str) -> Result<T, ClientError> {
        self.send_json(&Request::get(self.data_path(&format!("sobjects/{object}/{id}")))).await
    }

    /// Changes the given fields; `null` empties one.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn update(&self, object: &str, id: &str, fields: &impl Serialize) -> Result<(), ClientError> {
        let request = self.with_body(Method::PATCH, &format!("sobjects/{object}/{id}"), fields)?;
        self.send(&request).await.map(drop)
    }

    /// Moves a record to the recycle bin.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn delete(&self, object: &str, id: &str) -> Result<(), ClientError> {
        let path = self.data_path(&format!("sobjects/{object}/{id}"));
        self.send(&Request { method: Method::DELETE, path, body: None, idempotent: true }).await.map(drop)
    }

    fn with_body(&self, method: Method, rest: &str, fields: &impl Serialize) -> Result<Request, ClientError> {
        let path = self.data_path(rest);
        let what = format!("{method} {path}");
        Request::json(method, path, fields).map_err(|e| ClientError::Unreadable {
            org: self.org().to_owned(),
            what,
            reason: format!("the record cannot be written as JSON: {e}"),
        })
    }
}
