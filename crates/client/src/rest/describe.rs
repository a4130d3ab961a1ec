//! What objects and fields the org has.

use serde::{Deserialize, Serialize};

use crate::connection::Connection;
use crate::error::ClientError;
use crate::request::Request;

/// An object's describe, as far as programs need it; unknown keys are ignored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Describe {
    /// API name.
    pub name: String,
    /// What people call one of it.
    pub label: String,
    /// The first three characters of its ids; some objects have none.
    pub key_prefix: Option<String>,
    /// May it be queried?
    pub queryable: bool,
    /// Its fields.
    pub fields: Vec<FieldDescribe>,
}

/// One field of a [`Describe`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDescribe {
    /// API name.
    pub name: String,
    /// What people call it.
    pub label: String,
    /// Type, such as `string`, `reference` or `datetime`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Longest value in characters; 0 where that means nothing.
    pub length: u32,
    /// May it be empty?
    pub nillable: bool,
    /// May it be given when a record is created?
    pub createable: bool,
    /// May it be changed?
    pub updateable: bool,
    /// Is it computed by the org?
    pub calculated: bool,
    /// Objects that a reference leads to.
    pub reference_to: Vec<String>,
    /// Name of the reference in paths, such as `Account` in `Account.Name`.
    pub relationship_name: Option<String>,
}

/// One line of the list of all objects.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectSummary {
    /// API name.
    pub name: String,
    /// What people call one of it.
    pub label: String,
    /// Made in this org?
    pub custom: bool,
    /// May it be queried?
    pub queryable: bool,
}

#[derive(Deserialize)]
struct Global {
    sobjects: Vec<ObjectSummary>,
}

impl Connection {
    /// Describes one object.
    ///
    /// # Errors
    /// As [`Connection::send`]; `NOT_FOUND` for an object the user cannot see.
    pub async fn describe(&self, object: &str) -> Result<Describe, ClientError> {
        self.send_json(&Request::get(self.data_path(&format!("sobjects/{object}/describe")))).await
    }

    /// Lists all objects.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn describe_global(&self) -> Result<Vec<ObjectSummary>, ClientError> {
        Ok(self.send_json::<Global>(&Request::get(self.data_path("sobjects"))).await?.sobjects)
    }
}
