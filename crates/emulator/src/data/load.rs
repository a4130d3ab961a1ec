//! Loads a folder of records: sObject tree files (`{"records": [{"attributes": {"type": …}, …}]}`, as
//! `sf data export tree` writes them) and CSV files named after their object.
//!
//! - References between records (`@AccountRef1`, or the number of a row in a CSV file of the same folder) become ids.
//! - A custom object or field (`…__c`) that the org lacks is made, as text; a standard field it lacks is refused.
//! - CSV that is not UTF-8 is read as Windows-1252, as Data Loader writes it on Western machines.
//! - A record that the org refuses is named and left out; the rest goes on.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Map, Value};

use crate::org::Org;
use crate::schema::{FieldKind, custom_field, custom_object};

/// One record as its file has it.
struct Loose {
    object: String,
    /// What other records call it: `AccountRef1`, or `Account/1` for row id 1 of a CSV file.
    name: Option<String>,
    fields: Map<String, Value>,
    file: PathBuf,
}

pub(crate) fn load(org: &mut Org, folder: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    collect(folder, &mut files).with_context(|| format!("could not read the data folder {}", folder.display()))?;
    files.sort();
    let mut loose = Vec::new();
    for file in &files {
        let bytes = std::fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
        match file.extension().and_then(|e| e.to_str()) {
            Some("json") => {
                tree_file(file, &bytes, &mut loose).with_context(|| format!("could not load {}", file.display()))?
            }
            _ => csv_file(file, &bytes, &mut loose).with_context(|| format!("could not load {}", file.display()))?,
        }
    }
    if loose.is_empty() {
        bail!(
            "the data folder {} holds no records\nhint: sObject tree files (*.json) and CSV files named after their object are read",
            folder.display()
        );
    }
    insert_all(org, loose)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some("json" | "csv")) {
            files.push(path);
        }
    }
    Ok(())
}

fn tree_file(file: &Path, bytes: &[u8], loose: &mut Vec<Loose>) -> anyhow::Result<()> {
    let json: Value = serde_json::from_slice(bytes).context("this is not JSON")?;
    // Plan files name other files; they hold no records themselves.
    let Some(records) = json.get("records").and_then(Value::as_array) else { return Ok(()) };
    for record in records {
        tree_record(file, record, None, loose)?;
    }
    Ok(())
}

fn tree_record(
    file: &Path,
    record: &Value,
    parent: Option<(&str, &str)>,
    loose: &mut Vec<Loose>,
) -> anyhow::Result<()> {
    let Some(fields) = record.as_object() else { bail!("a record is not a JSON object: {record}") };
    let attributes = &record["attributes"];
    let object = attributes["type"].as_str().context("a record has no attributes.type")?.to_owned();
    let name = attributes["referenceId"]
        .as_str()
        .map(str::to_owned)
        .unwrap_or_else(|| format!("{}#{}", file.display(), loose.len()));
    let mut own = Map::new();
    let mut children = Vec::new();
    for (key, value) in fields.iter().filter(|(key, _)| *key != "attributes") {
        match value.get("records").and_then(Value::as_array) {
            Some(records) => children.push((key.clone(), records)),
            None => drop(own.insert(key.clone(), value.clone())),
        }
    }
    if let Some((relationship, parent)) = parent {
        own.insert(format!("\u{0}{relationship}"), Value::String(format!("@{parent}")));
    }
    loose.push(Loose { object, name: Some(name.clone()), fields: own, file: file.to_owned() });
    for (relationship, records) in children {
        for record in records {
            tree_record(file, record, Some((&relationship, &name)), loose)?;
        }
    }
    Ok(())
}

fn csv_file(file: &Path, bytes: &[u8], loose: &mut Vec<Loose>) -> anyhow::Result<()> {
    let text = decode(bytes);
    let object = object_of(file);
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let headers = reader.headers()?.clone();
    for row in reader.records() {
        let row = row?;
        let mut fields = Map::new();
        let mut name = None;
        for (header, value) in headers.iter().zip(&row) {
            let header = header.trim();
            if header.eq_ignore_ascii_case("id") {
                name = Some(format!("{object}/{value}"));
            } else if !header.is_empty() && !value.is_empty() {
                fields.insert(header.to_owned(), Value::String(value.to_owned()));
            }
        }
        loose.push(Loose { object: object.clone(), name, fields, file: file.to_owned() });
    }
    Ok(())
}

fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|b| windows_1252(*b)).collect(),
    }
}

/// Latin-1, with printable characters where Windows has them and Latin-1 has controls.
fn windows_1252(byte: u8) -> char {
    const C1: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => C1[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

/// `Contact.csv`, `Contacts.csv` and `Contact_Data.csv` all hold contacts.
fn object_of(file: &Path) -> String {
    let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or("").to_owned();
    let stem = stem.strip_suffix("_Data").unwrap_or(&stem);
    match stem {
        "Opportunities" => "Opportunity".to_owned(),
        "Accounts" | "Contacts" | "Leads" | "Campaigns" | "Users" | "Cases" | "Tasks" => {
            stem[..stem.len() - 1].to_owned()
        }
        _ => stem.to_owned(),
    }
}

fn insert_all(org: &mut Org, loose: Vec<Loose>) -> anyhow::Result<()> {
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let mut ids: HashMap<String, String> = HashMap::new();
    org.db.execute_batch("BEGIN").context("begin")?;
    let mut waiting = loose;
    // Parents may stand behind their children: go round until nothing moves any more.
    loop {
        let before = waiting.len();
        let mut later = Vec::new();
        for record in waiting {
            match resolve(org, &record, &ids, false) {
                Some(fields) => insert(org, &record, fields, &mut ids, &mut refused),
                None => later.push(record),
            }
        }
        waiting = later;
        if waiting.is_empty() || waiting.len() == before {
            break;
        }
    }
    for record in waiting {
        let fields = resolve(org, &record, &ids, true).unwrap_or_default();
        insert(org, &record, fields, &mut ids, &mut refused);
    }
    org.db.execute_batch("COMMIT").context("commit")?;
    for (reason, count) in refused {
        tracing::warn!(count, "records left out: {reason}");
    }
    Ok(())
}

/// Replaces names of records by ids. `None`: one of them is not there yet. With `anyway`, a name that leads
/// nowhere is dropped with its field.
fn resolve(org: &Org, record: &Loose, ids: &HashMap<String, String>, anyway: bool) -> Option<Map<String, Value>> {
    let mut fields = Map::new();
    for (key, value) in &record.fields {
        let text = value.as_str().unwrap_or("");
        if let Some(relationship) = key.strip_prefix('\u{0}') {
            let parent = ids.get(text.trim_start_matches('@'));
            let Some(id) = parent else { if anyway { continue } else { return None } };
            let field = org.schema.by_prefix(id).and_then(|p| {
                org.schema.children(p).find(|(o, _, name)| {
                    o.name.eq_ignore_ascii_case(&record.object)
                        && name.is_some_and(|n| n.eq_ignore_ascii_case(relationship))
                })
            });
            if let Some((_, field, _)) = field {
                fields.insert(field.name.clone(), Value::String(id.clone()));
            }
            continue;
        }
        let kind = org.schema.object(&record.object).and_then(|o| o.field(key)).map(|f| f.kind.clone());
        let name = match (&kind, text.strip_prefix('@')) {
            (_, Some(name)) if !name.contains('@') && !name.contains(' ') => Some(vec![name.to_owned()]),
            (Some(FieldKind::Reference { targets, .. }), None)
                if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) =>
            {
                Some(targets.iter().map(|t| format!("{t}/{text}")).collect())
            }
            _ => None,
        };
        match name {
            None => drop(fields.insert(key.clone(), value.clone())),
            Some(names) => match names.iter().find_map(|n| ids.get(n)) {
                Some(id) => drop(fields.insert(key.clone(), Value::String(id.clone()))),
                None if anyway => {}
                None => return None,
            },
        }
    }
    Some(fields)
}

fn insert(
    org: &mut Org,
    record: &Loose,
    fields: Map<String, Value>,
    ids: &mut HashMap<String, String>,
    refused: &mut BTreeMap<String, usize>,
) {
    let author = org.admin_id.clone();
    let made =
        make_custom(org, &record.object, &fields).and_then(|()| org.create(&record.object, &fields, &author, true));
    match made {
        Ok(id) => {
            if let Some(name) = &record.name {
                ids.insert(name.clone(), id);
            }
        }
        Err(error) => {
            let reason = format!("{}: {} ({})", record.file.display(), error.message, error.code);
            *refused.entry(reason).or_default() += 1;
        }
    }
}

/// Makes the custom object and the custom fields that the data uses and the org lacks.
fn make_custom(org: &mut Org, object: &str, fields: &Map<String, Value>) -> Result<(), crate::api_error::ApiError> {
    if org.schema.object(object).is_none() && object.to_ascii_lowercase().ends_with("__c") {
        let prefix = format!("a{:02}", org.schema.objects().filter(|o| o.name.ends_with("__c")).count() % 100);
        org.add_object(custom_object(object, &prefix))?;
    }
    let lacking: Vec<String> = match org.schema.object(object) {
        Some(known) => fields.keys().filter(|f| is_custom(f) && known.field(f).is_none()).cloned().collect(),
        None => Vec::new(),
    };
    for name in lacking {
        org.add_field(object, custom_field(&name))?;
    }
    Ok(())
}

/// Custom fields end in `__c`, the parts of a custom geolocation in `__s`.
fn is_custom(field: &str) -> bool {
    let field = field.to_ascii_lowercase();
    field.ends_with("__c") || field.ends_with("__s")
}
