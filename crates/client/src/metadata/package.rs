//! A package: components with their manifest, as the zip file that the API takes.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::xml::escape;

/// Components to deploy or delete.
#[derive(Debug, Clone, Default)]
pub struct Package {
    version: String,
    files: BTreeMap<String, Vec<u8>>,
    manifest: BTreeMap<String, Vec<String>>,
    destructive: BTreeMap<String, Vec<String>>,
}

impl Package {
    /// An empty one, for an API version such as `67.0`.
    pub fn new(version: impl Into<String>) -> Self {
        Self { version: version.into(), ..Self::default() }
    }

    /// Adds a component with its file. `path` is the place below the package's root: `permissionsets/Name.permissionset`.
    pub fn add(&mut self, type_name: &str, full_name: &str, path: &str, content: impl Into<Vec<u8>>) {
        self.files.insert(path.to_owned(), content.into());
        self.manifest.entry(type_name.to_owned()).or_default().push(full_name.to_owned());
    }

    /// Deletes a component. One that is not there is no error.
    pub fn delete(&mut self, type_name: &str, full_name: &str) {
        self.destructive.entry(type_name.to_owned()).or_default().push(full_name.to_owned());
    }

    /// Everything that the zip file holds, by its path: the components, `package.xml`, and `destructiveChanges.xml` where
    /// there is something to delete.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.files.clone();
        files.insert("package.xml".to_owned(), manifest(&self.manifest, Some(&self.version)));
        if !self.destructive.is_empty() {
            files.insert("destructiveChanges.xml".to_owned(), manifest(&self.destructive, None));
        }
        files
    }

    /// The zip file.
    ///
    /// # Errors
    /// When a path cannot stand in a zip file.
    pub fn zip(&self) -> std::io::Result<Vec<u8>> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (path, content) in self.files() {
            zip.start_file(path, SimpleFileOptions::default())?;
            zip.write_all(&content)?;
        }
        Ok(zip.finish()?.into_inner())
    }
}

fn manifest(types: &BTreeMap<String, Vec<String>>, version: Option<&str>) -> Vec<u8> {
    let mut xml =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Package xmlns=\"http://soap.sforce.com/2006/04/metadata\">\n"
            .to_owned();
    for (name, members) in types {
        xml.push_str("    <types>\n");
        for member in members {
            xml.push_str(&format!("        <members>{}</members>\n", escape(member)));
        }
        xml.push_str(&format!("        <name>{}</name>\n    </types>\n", escape(name)));
    }
    if let Some(version) = version {
        xml.push_str(&format!("    <version>{}</version>\n", escape(version)));
    }
    xml.push_str("</Package>\n");
    xml.into_bytes()
}
