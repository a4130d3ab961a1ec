//! Reads `standard.txt`. The format is explained at the top of that file.

use std::collections::BTreeMap;

use super::{Field, FieldKind, SObject};

pub(super) const FACTS: &str = include_str!("standard.txt");

pub(super) fn objects(facts: &str) -> Vec<SObject> {
    let mut objects: Vec<SObject> = Vec::new();
    for line in facts.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if let Some(head) = line.strip_prefix("object ") {
            objects.push(object(head));
        } else {
            objects.last_mut().expect("a field line follows an object line").add_field(field(line));
        }
    }
    objects
}

fn object(head: &str) -> SObject {
    let mut quoted = head.split('"');
    let mut words = quoted.next().unwrap_or("").split_whitespace().map(str::to_owned);
    let mut word = || words.next().expect("an object line names object and key prefix");
    let (name, key_prefix) = (word(), word());
    let label = quoted.next().unwrap_or(&name).to_owned();
    let label_plural = quoted.nth(1).unwrap_or(&name).to_owned();
    let read_only = quoted.next().is_some_and(|rest| rest.contains("readonly"));
    SObject { name, key_prefix, label, label_plural, read_only, fields: Vec::new(), by_name: BTreeMap::new() }
}

/// Reads one field line: `Name | type | attributes | Label`.
pub(crate) fn field(line: &str) -> Field {
    let mut parts = line.splitn(4, '|').map(str::trim);
    let mut part = || parts.next().unwrap_or_else(|| panic!("four parts in the field line: {line}"));
    let (name, kind, attributes, label) = (part(), part(), part(), part());
    let has = |flag: &str| attributes.split_whitespace().any(|a| a == flag);
    let value = |key: &str| attributes.split_whitespace().find_map(|a| a.strip_prefix(key)).map(str::to_owned);
    let kind = kind_of(kind);
    let not_null = has("required") || has("notnull") || matches!(kind, FieldKind::Id | FieldKind::Boolean);
    Field {
        name: name.to_owned(),
        label: label.to_owned(),
        createable: has("create"),
        updateable: has("update"),
        required: has("required"),
        nillable: !not_null,
        // Flags are separated by spaces, so a space inside a default is written %20.
        default: value("default:").map(|d| d.replace("%20", " ")),
        name_field: has("name"),
        id_lookup: has("idlookup") || kind == FieldKind::Id,
        external_id: has("externalid"),
        unique: has("unique"),
        filterable: !has("nofilter"),
        sortable: !has("nosort"),
        groupable: !has("nogroup"),
        restricted: has("restricted"),
        calculated: has("calculated"),
        auto_number: has("autonumber"),
        case_sensitive: has("casesensitive"),
        html: has("html"),
        compound: value("compound:"),
        formula: None,
        kind,
    }
}

fn kind_of(text: &str) -> FieldKind {
    let (head, values) = text.split_once(':').map_or((text, ""), |(h, v)| (h, v));
    let mut words = head.split_whitespace();
    let type_name = words.next().unwrap_or("");
    let rest = head[type_name.len()..].trim();
    let length = || rest.split(',').next().and_then(|n| n.trim().parse().ok()).unwrap_or(255);
    let scale = || rest.split(',').nth(1).and_then(|n| n.trim().parse().ok()).unwrap_or(0);
    let number = |type_name| FieldKind::Number { type_name, precision: length(), scale: scale() };
    let characters = |type_name| FieldKind::Text { type_name, length: length() };
    let listed = |type_name| FieldKind::Picklist {
        type_name,
        length: length(),
        values: values.split(';').map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned).collect(),
    };
    match type_name {
        "id" => FieldKind::Id,
        "boolean" => FieldKind::Boolean,
        "int" => FieldKind::Int { digits: length() },
        "double" => number("double"),
        "currency" => number("currency"),
        "percent" => number("percent"),
        "date" => FieldKind::Date,
        "datetime" => FieldKind::DateTime,
        "time" => FieldKind::Time,
        "string" => characters("string"),
        "textarea" => characters("textarea"),
        "email" => characters("email"),
        "phone" => characters("phone"),
        "url" => characters("url"),
        "encryptedstring" => characters("encryptedstring"),
        "picklist" => listed("picklist"),
        "multipicklist" => listed("multipicklist"),
        "combobox" => listed("combobox"),
        "address" => FieldKind::Address,
        "location" => FieldKind::Location,
        "base64" => FieldKind::Base64,
        "complexvalue" => characters("complexvalue"),
        "reference" => {
            let mut words = rest.split_whitespace();
            let targets = words.next().unwrap_or("").split(',').map(str::to_owned).collect();
            let (mut relationship, mut children) = (None, None);
            while let (Some(key), Some(name)) = (words.next(), words.next()) {
                match key {
                    "as" => relationship = Some(name.to_owned()),
                    _ => children = Some(name.to_owned()),
                }
            }
            FieldKind::Reference { targets, relationship, children }
        }
        other => panic!("unknown field type `{other}` in the list of standard objects"),
    }
}

/// A custom text field, long enough for whatever a file holds.
pub(crate) fn custom_field(name: &str) -> Field {
    let label = name.trim_end_matches("__c").replace('_', " ");
    field(&format!("{name} | textarea 32000 | create update | {label}"))
}

/// A custom field of a type as `standard.txt` writes it.
pub(crate) fn typed_field(name: &str, kind: &str, attributes: &str) -> Result<Field, String> {
    let type_name = kind.split([' ', ':']).next().unwrap_or("");
    if kind.contains('|') || !TYPES.contains(&type_name) {
        return Err(format!("no such field type: {kind}"));
    }
    let label = name.trim_end_matches("__c").replace('_', " ");
    Ok(field(&format!("{name} | {kind} | {attributes}{} | {label}", bounds(type_name, kind))))
}

/// What real describes say that a custom field of this type cannot do.
fn bounds(type_name: &str, kind: &str) -> &'static str {
    let length: u32 = kind.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(255);
    match type_name {
        "textarea" if length > 255 => " nofilter nosort nogroup",
        "encryptedstring" => " nofilter nosort nogroup",
        "multipicklist" | "location" | "address" => " nosort nogroup",
        "datetime" | "time" | "double" | "currency" | "percent" | "textarea" => " nogroup",
        _ => "",
    }
}

/// The parts of a custom location: they are fields too, `Place__Latitude__s`.
pub(crate) fn location_parts(field: &Field) -> Vec<Field> {
    let stem = field.name.trim_end_matches("__c");
    let part = |part: &str| {
        let label = format!("{} ({part})", field.label);
        self::field(&format!(
            "{stem}__{part}__s | double 18,15 | create update nogroup compound:{} | {label}",
            field.name
        ))
    };
    vec![part("Latitude"), part("Longitude")]
}

/// What a custom field can be.
const TYPES: [&str; 19] = [
    "boolean",
    "int",
    "double",
    "currency",
    "percent",
    "date",
    "datetime",
    "time",
    "string",
    "textarea",
    "email",
    "phone",
    "url",
    "picklist",
    "multipicklist",
    "reference",
    "encryptedstring",
    "location",
    "combobox",
];

/// A custom object with the fields that every object has.
pub(crate) fn custom_object(name: &str, key_prefix: &str) -> SObject {
    let label = name.trim_end_matches("__c").replace('_', " ");
    let mut made = object(&format!("{name} {key_prefix} \"{label}\" \"{label}\""));
    for line in [
        "Id | id | notnull idlookup | Record ID",
        "OwnerId | reference Group,User as Owner | create update notnull | Owner ID",
        "IsDeleted | boolean | notnull default:false | Deleted",
        "Name | string 80 | create update name idlookup | Name",
        "CreatedDate | datetime | notnull | Created Date",
        "CreatedById | reference User as CreatedBy | notnull | Created By ID",
        "LastModifiedDate | datetime | notnull | Last Modified Date",
        "LastModifiedById | reference User as LastModifiedBy | notnull | Last Modified By ID",
        "SystemModstamp | datetime | notnull | System Modstamp",
    ] {
        made.add_field(field(line));
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_reads_whole() {
        let objects = objects(FACTS);
        let contact = objects.iter().find(|o| o.name == "Contact").expect("there is a Contact");
        assert_eq!(contact.key_prefix, "003");
        assert_eq!(contact.label_plural, "Contacts");
        let last_name = contact.field("lastname").expect("names are found in any case");
        assert!(last_name.required && last_name.createable && !last_name.nillable);
        let (account_id, target) = contact.relationship("account").expect("a contact has an account");
        assert_eq!((account_id.name.as_str(), target), ("AccountId", "Account"));
        for object in &objects {
            assert!(object.field("Id").is_some(), "{}.Id", object.name);
            // A login in the history never changes.
            let changes = object.name != "LoginHistory";
            assert_eq!(object.field("SystemModstamp").is_some(), changes, "{}.SystemModstamp", object.name);
        }
    }
}
