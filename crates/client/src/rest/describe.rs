//! What objects and fields the org has, remembered for an hour.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::sobject::segment;
use crate::connection::Connection;
use crate::error::ClientError;

/// An object's describe. What is not named here is in `more`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Describe {
    /// API name.
    pub name: String,
    /// What people call one of it.
    #[serde(default)]
    pub label: String,
    /// What people call several.
    #[serde(default)]
    pub label_plural: String,
    /// The first three characters of its ids; some objects have none.
    #[serde(default)]
    pub key_prefix: Option<String>,
    /// Made in this org, or by a package?
    #[serde(default)]
    pub custom: bool,
    /// May it be queried?
    #[serde(default)]
    pub queryable: bool,
    /// May records be created?
    #[serde(default)]
    pub createable: bool,
    /// May records be changed?
    #[serde(default)]
    pub updateable: bool,
    /// May records be deleted?
    #[serde(default)]
    pub deletable: bool,
    /// May it be asked what was changed and deleted?
    #[serde(default)]
    pub replicateable: bool,
    /// May it be searched?
    #[serde(default)]
    pub searchable: bool,
    /// Its fields.
    #[serde(default)]
    pub fields: Vec<FieldDescribe>,
    /// Objects that refer to it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub child_relationships: Vec<ChildRelationship>,
    /// Its record types.
    #[serde(default, deserialize_with = "null_as_default")]
    pub record_type_infos: Vec<RecordTypeInfo>,
    /// What else the org says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// One field of a [`Describe`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDescribe {
    /// API name.
    pub name: String,
    /// What people call it.
    #[serde(default)]
    pub label: String,
    /// Type, such as `string`, `reference` or `datetime`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Longest value in characters; 0 where that means nothing.
    #[serde(default)]
    pub length: u32,
    /// Digits in all, for numbers.
    #[serde(default)]
    pub precision: u32,
    /// Digits behind the point.
    #[serde(default)]
    pub scale: u32,
    /// May it be empty?
    #[serde(default)]
    pub nillable: bool,
    /// May it be given when a record is created?
    #[serde(default)]
    pub createable: bool,
    /// May it be changed?
    #[serde(default)]
    pub updateable: bool,
    /// Is it computed by the org?
    #[serde(default)]
    pub calculated: bool,
    /// Does the org give it a value when none is given?
    #[serde(default)]
    pub defaulted_on_create: bool,
    /// Made in this org, or by a package?
    #[serde(default)]
    pub custom: bool,
    /// Is it an external id?
    #[serde(default)]
    pub external_id: bool,
    /// May a record be found by it, as by an external id?
    #[serde(default)]
    pub id_lookup: bool,
    /// Is no value in it twice?
    #[serde(default)]
    pub unique: bool,
    /// Does a comparison regard case?
    #[serde(default)]
    pub case_sensitive: bool,
    /// May it stand in a condition?
    #[serde(default)]
    pub filterable: bool,
    /// May a query be ordered by it?
    #[serde(default)]
    pub sortable: bool,
    /// Objects that a reference leads to.
    #[serde(default, deserialize_with = "null_as_default")]
    pub reference_to: Vec<String>,
    /// Name of the reference in paths, such as `Account` in `Account.Name`.
    #[serde(default)]
    pub relationship_name: Option<String>,
    /// The compound field that it is a part of.
    #[serde(default)]
    pub compound_field_name: Option<String>,
    /// Values to choose from.
    #[serde(default, deserialize_with = "null_as_default")]
    pub picklist_values: Vec<PicklistValue>,
    /// What else the org says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A value of a picklist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PicklistValue {
    /// As it is stored.
    pub value: String,
    /// As people see it.
    #[serde(default)]
    pub label: Option<String>,
    /// May it be chosen?
    #[serde(default)]
    pub active: bool,
    /// Is it chosen at first?
    #[serde(default)]
    pub default_value: bool,
    /// What else the org says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// An object that refers to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildRelationship {
    /// The object that refers.
    #[serde(rename = "childSObject")]
    pub child_object: String,
    /// By which field.
    pub field: String,
    /// Name of the children in a query of the parent; some have none.
    #[serde(default)]
    pub relationship_name: Option<String>,
    /// What else the org says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A record type of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordTypeInfo {
    /// Its id.
    pub record_type_id: String,
    /// What people call it.
    pub name: String,
    /// API name.
    #[serde(default)]
    pub developer_name: Option<String>,
    /// May the user create records of it?
    #[serde(default)]
    pub available: bool,
    /// What else the org says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// One line of the list of all objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectSummary {
    /// API name.
    pub name: String,
    /// What people call one of it.
    #[serde(default)]
    pub label: String,
    /// The first three characters of its ids; some objects have none.
    #[serde(default)]
    pub key_prefix: Option<String>,
    /// Made in this org?
    #[serde(default)]
    pub custom: bool,
    /// May it be queried?
    #[serde(default)]
    pub queryable: bool,
    /// What else the org says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

#[derive(Deserialize)]
struct Global {
    sobjects: Vec<ObjectSummary>,
}

fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Describe {
    /// A field by its name, in any case.
    pub fn field(&self, name: &str) -> Option<&FieldDescribe> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }
}

impl Connection {
    /// Describes one object. The answer is remembered for an hour ([`Options::describes`](crate::Options::describes)) and
    /// shared by all connections of this process to the org as this user; after that the org is asked whether it has
    /// changed.
    ///
    /// # Errors
    /// As [`Connection::send`]; `NOT_FOUND` for an object the user cannot see.
    pub async fn describe(&self, object: &str) -> Result<Arc<Describe>, ClientError> {
        self.remembered(&describe_path(object), false).await
    }

    /// The same as it is now: the org is asked whether it has changed, by a conditional request.
    ///
    /// # Errors
    /// As [`Connection::describe`].
    pub async fn describe_now(&self, object: &str) -> Result<Arc<Describe>, ClientError> {
        self.remembered(&describe_path(object), true).await
    }

    /// Lists all objects; remembered as [`Connection::describe`].
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn describe_global(&self) -> Result<Arc<Vec<ObjectSummary>>, ClientError> {
        self.remembered("sobjects", false).await
    }

    /// The same as it is now.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn describe_global_now(&self) -> Result<Arc<Vec<ObjectSummary>>, ClientError> {
        self.remembered("sobjects", true).await
    }
}

fn describe_path(object: &str) -> String {
    format!("sobjects/{}/describe", segment(object))
}

/// What can be remembered.
pub(crate) trait Remembered: Send + Sync + Sized + 'static {
    /// Reads the answer.
    fn read(body: &[u8]) -> Result<Self, serde_json::Error>;
}

impl Remembered for Describe {
    fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

impl Remembered for Vec<ObjectSummary> {
    fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(serde_json::from_slice::<Global>(body)?.sobjects)
    }
}
