//! Paths of fields, followed through the describes.

use tieline_client::rest::describe::{Describe, FieldDescribe};
use tieline_store::object_tables::ColumnKind;

use super::describes::{Describes, reference};
use super::error::Flaw;

/// Relationships of a path at most. Source: SOQL and SOSL Reference, "Understanding Relationship Query Limitations":
/// five levels from child to parent.
pub(super) const MOST_LEVELS: usize = 5;

/// What may be selected through a reference to several objects: the fields of the object `Name`, that all of them share.
/// Source: Object Reference for the Salesforce Platform, "Name".
const NAME_FIELDS: [(&str, ColumnKind); 14] = [
    ("Id", ColumnKind::Text),
    ("Name", ColumnKind::Text),
    ("Type", ColumnKind::Text),
    ("FirstName", ColumnKind::Text),
    ("LastName", ColumnKind::Text),
    ("Alias", ColumnKind::Text),
    ("Email", ColumnKind::Text),
    ("IsActive", ColumnKind::Bool),
    ("Phone", ColumnKind::Text),
    ("ProfileId", ColumnKind::Text),
    ("RecordTypeId", ColumnKind::Text),
    ("Title", ColumnKind::Text),
    ("Username", ColumnKind::Text),
    ("UserRoleId", ColumnKind::Text),
];

/// Fields by which changes are found, the best first.
pub(super) const STAMPS: [&str; 4] = ["SystemModstamp", "LastModifiedDate", "CreatedDate", "LoginTime"];

/// A path, followed to its end.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    /// As the org writes it.
    pub(super) path: String,
    pub(super) kind: ColumnKind,
    /// Its values change without the record's stamp.
    pub(super) calculated: bool,
    /// An address or a place, whose parts are fields too. The Bulk API does not have it.
    pub(super) compound: bool,
    /// The parents on the way.
    pub(super) hops: Vec<Hop>,
}

/// A parent on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) reference: String,
    pub(super) relationship: String,
    /// The objects it may be: one, unless the reference leads to several.
    pub(super) objects: Vec<String>,
    pub(super) stamp: Option<String>,
}

/// The kind of column for a type of field; none for what cannot be one.
///
/// Source: Object Reference for the Salesforce Platform, "Field Types".
pub(super) fn kind_of(field: &FieldDescribe) -> Option<ColumnKind> {
    Some(match field.type_name.as_str() {
        "int" | "long" => ColumnKind::Integer,
        "double" | "currency" | "percent" => ColumnKind::Number,
        "boolean" => ColumnKind::Bool,
        "date" => ColumnKind::Date,
        "datetime" => ColumnKind::DateTime,
        "time" => ColumnKind::Time,
        "address" | "location" | "complexvalue" | "json" => ColumnKind::Json,
        // Their values are not in the answer, but the address of a download.
        "base64" => return None,
        // string, textarea, picklist, multipicklist, reference, id, email, phone, url, combobox, encryptedstring,
        // anyType; and types that are not known yet.
        _ => ColumnKind::Text,
    })
}

pub(super) fn is_compound(field: &FieldDescribe) -> bool {
    matches!(field.type_name.as_str(), "address" | "location" | "complexvalue")
}

/// The best field by which changes of an object are found.
pub(super) fn stamp_of(describe: &Describe) -> Option<&FieldDescribe> {
    STAMPS.iter().filter_map(|name| describe.field(name)).find(|field| is_stamp(field))
}

pub(super) fn is_stamp(field: &FieldDescribe) -> bool {
    field.type_name == "datetime" && field.filterable && field.sortable
}

/// Follows a path from an object. `at`: where in the definition it is written.
pub(super) fn resolve(describes: &Describes, object: &Describe, path: &str, at: &str) -> Result<Resolved, Flaw> {
    let mut names: Vec<&str> = path.split('.').map(str::trim).collect();
    let last = names.pop().unwrap_or_default();
    if names.len() > MOST_LEVELS {
        return Err(Flaw::new(
            at,
            format!("`{path}` goes through {} relationships, and SOQL goes through five", names.len()),
        ));
    }
    let (mut describe, mut hops, mut written) = (object, Vec::<Hop>::new(), String::new());
    for (n, name) in names.iter().enumerate() {
        let Some(field) = reference(describe, name) else {
            return Err(no_relationship(describe, name, path, at));
        };
        let relationship = field.relationship_name.as_deref().unwrap_or(name);
        let reference = format!("{written}{}", field.name);
        written = format!("{written}{relationship}");
        let parent = match field.reference_to.as_slice() {
            [only] => describes.get(only).ok_or_else(|| {
                let reason = format!("`{path}` leads to {only}, which the org does not show to this user");
                Flaw::new(at, reason).hint("give the user read access to the object, or leave the column out")
            })?,
            several => {
                hops.push(Hop { reference, relationship: written.clone(), objects: several.to_vec(), stamp: None });
                if n + 1 < names.len() {
                    let reason = format!("`{path}` goes on behind {relationship}, which may be of several objects");
                    return Err(Flaw::new(at, reason).hint(format!("`{written}.Name` is as far as it goes")));
                }
                return shared(&written, last, path, at, hops);
            }
        };
        let stamp = stamp_of(parent).map(|field| format!("{written}.{}", field.name));
        hops.push(Hop { reference, relationship: written.clone(), objects: vec![parent.name.clone()], stamp });
        written.push('.');
        describe = parent;
    }
    let Some(field) = describe.field(last) else { return Err(no_field(describe, last, path, at)) };
    let kind = kind_of(field).ok_or_else(|| {
        let reason = format!("`{path}` is a file's content, which a query does not answer");
        Flaw::new(at, reason).hint("leave the column out; the content is downloaded from the address of its record")
    })?;
    let path = format!("{written}{}", field.name);
    Ok(Resolved { path, kind, calculated: field.calculated, compound: is_compound(field), hops })
}

fn shared(written: &str, last: &str, path: &str, at: &str, hops: Vec<Hop>) -> Result<Resolved, Flaw> {
    let Some((name, kind)) = NAME_FIELDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(last)) else {
        let names = NAME_FIELDS.map(|(name, _)| name);
        let reason = format!("`{path}`: {written} may be of several objects, and they share no field `{last}`");
        let flaw = Flaw::new(at, reason).near(last, names);
        return Err(if flaw.hint.is_some() { flaw } else { flaw.hint(format!("they share {}", names.join(", "))) });
    };
    Ok(Resolved { path: format!("{written}.{name}"), kind: *kind, calculated: false, compound: false, hops })
}

fn no_field(describe: &Describe, name: &str, path: &str, at: &str) -> Flaw {
    let whole = if name == path { String::new() } else { format!("`{path}`: ") };
    let flaw = Flaw::new(at, format!("{whole}the object {} has no field `{name}`", describe.name));
    let near = flaw.clone().near(name, describe.fields.iter().map(|field| field.name.as_str()));
    match reference(describe, name) {
        Some(_) => flaw.hint(format!("`{path}` is a parent: name a field of it, such as `{path}.Name`")),
        None if near.hint.is_none() => flaw.hint("or the user may not read it: see its field-level security"),
        None => near,
    }
}

fn no_relationship(describe: &Describe, name: &str, path: &str, at: &str) -> Flaw {
    let reason = format!("`{path}`: the object {} has no relationship `{name}`", describe.name);
    let flaw = Flaw::new(at, reason);
    // `AccountId.Name` and `Region__c.Name` are what people write.
    if let Some(relationship) = describe.field(name).and_then(|field| field.relationship_name.as_deref()) {
        return flaw.hint(format!("the field `{name}` is gone through as `{relationship}`"));
    }
    flaw.near(name, describe.fields.iter().filter_map(|field| field.relationship_name.as_deref()))
}
