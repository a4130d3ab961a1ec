//! The zip file that a deploy brings and a retrieve answers: `package.xml`, components below their folders, and
//! `destructiveChanges.xml`.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::xml::{Node, element};

/// Limits of the Metadata API for one package: files, and bytes once unpacked.
const FILES: usize = 10_000;
const BYTES: u64 = 600 * 1024 * 1024;

/// Type and names, as a manifest lists them.
pub(crate) type Manifest = Vec<(String, Vec<String>)>;

pub(crate) struct Package {
    pub(crate) manifest: Manifest,
    /// What is to be deleted.
    pub(crate) destructive: Manifest,
    /// Path below the package's root, and content.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The folder that the package stands in inside the zip file, with a slash; empty for the zip file's root.
    pub(crate) root: String,
}

/// The package cannot be read.
pub(crate) const NO_MANIFEST: &str = "No package.xml found";

impl Package {
    pub(crate) fn read(zip: &[u8]) -> Result<Self, String> {
        let unreadable = |e: zip::result::ZipError| format!("the zip file cannot be read: {e}");
        let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(unreadable)?;
        if archive.len() > FILES {
            return Err(format!("Maximum number of files exceeded: {FILES}"));
        }
        let mut all = BTreeMap::new();
        let mut left = BYTES;
        for at in 0..archive.len() {
            let file = archive.by_index(at).map_err(unreadable)?;
            // A name that leads out of the package is nothing that a client may send.
            let name = file.enclosed_name().ok_or("a file's name leads out of the package")?;
            let name = name.to_string_lossy().replace('\\', "/");
            if file.is_dir() {
                continue;
            }
            let mut content = Vec::new();
            file.take(left + 1).read_to_end(&mut content).map_err(|e| format!("the zip file cannot be read: {e}"))?;
            left = left.checked_sub(content.len() as u64).ok_or("Maximum size of unzipped files exceeded")?;
            all.insert(name, content);
        }
        let manifest = all.keys().find(|name| *name == "package.xml" || name.ends_with("/package.xml"));
        let root = manifest.ok_or(NO_MANIFEST)?.trim_end_matches("package.xml").to_owned();
        let within = |(name, content): (String, Vec<u8>)| Some((name.strip_prefix(&root)?.to_owned(), content));
        let mut files: BTreeMap<String, Vec<u8>> = all.into_iter().filter_map(within).collect();
        let mut list = |name: &str| -> Result<Manifest, String> {
            match files.remove(name) {
                Some(content) => Ok(manifest_of(&Node::parse(&content).map_err(|e| format!("{name}: {e}"))?)),
                None => Ok(Manifest::new()),
            }
        };
        let manifest = list("package.xml")?;
        let mut destructive = Manifest::new();
        for name in ["destructiveChangesPre.xml", "destructiveChanges.xml", "destructiveChangesPost.xml"] {
            destructive.extend(list(name)?);
        }
        Ok(Package { manifest, destructive, files, root })
    }
}

/// Reads `<types><members/>…<name/></types>`, of a package.xml or of a retrieve request's `unpackaged`.
pub(crate) fn manifest_of(node: &Node) -> Manifest {
    let members = |types: &Node| types.all("members").map(|m| m.text.trim().to_owned()).collect();
    node.all("types").map(|types| (types.get("name").to_owned(), members(types))).collect()
}

/// A zip file of these files, with a manifest of them.
pub(crate) fn write(
    files: &BTreeMap<String, Vec<u8>>,
    manifest: &Manifest,
    version: &str,
) -> zip::result::ZipResult<Vec<u8>> {
    let mut types = String::new();
    for (name, members) in manifest {
        let members: String = members.iter().map(|member| element("members", member)).collect();
        types.push_str(&format!("<types>{members}{}</types>", element("name", name)));
    }
    let manifest = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Package xmlns=\"http://soap.sforce.com/2006/04/metadata\">{types}{}</Package>\n",
        element("version", version)
    );
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in
        files.iter().map(|(n, c)| (n.as_str(), c.as_slice())).chain([("package.xml", manifest.as_bytes())])
    {
        zip.start_file(name, SimpleFileOptions::default())?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}
