//! What there is to query: the objects of the tenant and their fields.
//!
//! Source: `GET /api/v1/metadata` of the tenant host, by the Data 360 Query API's documentation.

use serde::{Deserialize, Serialize};

use crate::cloud::DataCloud;
use crate::error::DataCloudError;
use crate::http::{Call, segment};

/// Kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// Data model objects, `…__dlm`.
    DataModel,
    /// Data lake objects, `…__dll`.
    DataLake,
    /// Calculated insights, `…__cio`.
    CalculatedInsight,
}

impl ObjectKind {
    /// As the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            ObjectKind::DataModel => "DataModelObject",
            ObjectKind::DataLake => "DataLakeObject",
            ObjectKind::CalculatedInsight => "CalculatedInsight",
        }
    }
}

/// An object that can be queried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Its name in SQL.
    pub name: String,
    /// Its name for people.
    #[serde(rename = "displayName", default)]
    pub display_name: String,
    /// `Profile`, `Engagement`, `Related`; of calculated insights none.
    #[serde(default)]
    pub category: Option<String>,
    /// Its fields. Calculated insights list theirs as dimensions and measures.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// What a calculated insight groups by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dimensions: Vec<Field>,
    /// What a calculated insight measures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Field>,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Its name in SQL.
    pub name: String,
    /// Its name for people.
    #[serde(rename = "displayName", default)]
    pub display_name: String,
    /// `STRING`, `NUMBER`, `DATE_TIME`, …
    #[serde(rename = "type", default)]
    pub kind: String,
}

impl DataCloud {
    /// The objects of one kind, or of all; with a name, that one alone.
    ///
    /// # Errors
    /// The failure of token or call, after what could be retried was retried.
    ///
    /// ```no_run
    /// # async fn example(cloud: tieline_datacloud::DataCloud) -> Result<(), tieline_datacloud::DataCloudError> {
    /// use tieline_datacloud::metadata::ObjectKind;
    /// for object in cloud.objects(Some(ObjectKind::DataLake), None).await? {
    ///     println!("{} ({} fields)", object.name, object.fields.len());
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn objects(&self, kind: Option<ObjectKind>, name: Option<&str>) -> Result<Vec<Object>, DataCloudError> {
        #[derive(Deserialize)]
        struct Body {
            metadata: Vec<Object>,
        }
        let mut filters = Vec::new();
        filters.extend(kind.map(|kind| format!("entityType={}", kind.name())));
        filters.extend(name.map(|name| format!("entityName={}", segment(name))));
        let query = if filters.is_empty() { String::new() } else { format!("?{}", filters.join("&")) };
        let call = Call::get("listing objects", format!("/api/v1/metadata{query}"));
        Ok(self.rest_json::<Body>(&call).await?.metadata)
    }
}
