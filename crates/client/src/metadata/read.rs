//! Single components, lists of them, and the types that there are.

use super::xml::{Element, escape};
use crate::connection::Connection;
use crate::error::ClientError;

/// A component as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProperties {
    /// Metadata type.
    pub type_name: String,
    /// The component's name.
    pub full_name: String,
    /// Its id.
    pub id: String,
    /// Its file, below `unpackaged/`.
    pub file_name: String,
    /// When it was changed last, as the org writes it.
    pub last_modified: String,
    /// By whom.
    pub last_modified_by: String,
}

/// A kind of component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataType {
    /// Such as `PermissionSet`.
    pub name: String,
    /// Folder of its files in a package.
    pub directory: String,
    /// Suffix of its files, without the dot; empty for types that are folders.
    pub suffix: String,
    /// Content and description are two files.
    pub meta_file: bool,
}

fn text(element: &Element, name: &str) -> String {
    element.at(name).unwrap_or_default().to_owned()
}

impl Connection {
    /// The components of a type.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn list_metadata(&self, type_name: &str) -> Result<Vec<FileProperties>, ClientError> {
        let version = self.api_version();
        let query =
            format!("<queries><type>{}</type></queries><asOfVersion>{version}</asOfVersion>", escape(type_name));
        let answer = self.soap(&format!("<listMetadata>{query}</listMetadata>"), true).await?;
        let properties = |one: &Element| FileProperties {
            type_name: text(one, "type"),
            full_name: text(one, "fullName"),
            id: text(one, "id"),
            file_name: text(one, "fileName"),
            last_modified: text(one, "lastModifiedDate"),
            last_modified_by: text(one, "lastModifiedByName"),
        };
        Ok(answer.all("result").map(properties).collect())
    }

    /// The types that the org has.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn describe_metadata(&self) -> Result<Vec<MetadataType>, ClientError> {
        let version = self.api_version();
        let operation = format!("<describeMetadata><asOfVersion>{version}</asOfVersion></describeMetadata>");
        let answer = self.soap(&operation, true).await?;
        let of = |one: &Element| MetadataType {
            name: text(one, "xmlName"),
            directory: text(one, "directoryName"),
            suffix: text(one, "suffix"),
            meta_file: one.flag("metaFile"),
        };
        Ok(answer.child("result").into_iter().flat_map(|result| result.all("metadataObjects").map(of)).collect())
    }

    /// Reads components; one that is not there is left out. Settings have a type each: `ConnectedAppSettings` with the
    /// name `ConnectedApp`.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn read_metadata(&self, type_name: &str, names: &[&str]) -> Result<Vec<Element>, ClientError> {
        let names: String = names.iter().map(|name| format!("<fullNames>{}</fullNames>", escape(name))).collect();
        let operation = format!("<readMetadata><type>{}</type>{names}</readMetadata>", escape(type_name));
        let answer = self.soap(&operation, true).await?;
        let records = answer.children.into_iter().filter(|result| result.name == "result");
        let records = records.flat_map(|result| result.children).filter(|record| record.at("fullName").is_some());
        Ok(records.collect())
    }
}
