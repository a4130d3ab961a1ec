//! Objects and fields of the org as rows.

use rusqlite::types::Value as SqlValue;
use serde_json::json;

use crate::api_error::ApiError;
use crate::id::record_id;
use crate::org::Org;
use crate::records::{self, Write};
use crate::schema::{Field, FieldKind, SObject};

/// All views. The org has no Apex and no sandboxes, so those stay empty.
pub(super) const NAMES: [&str; 9] = [
    "EntityDefinition",
    "FieldDefinition",
    "CustomObject",
    "CustomField",
    "ApexClass",
    "ApexTrigger",
    "ApexLog",
    "SandboxProcess",
    "SandboxInfo",
];

/// The id of rows that have none.
const NO_ID: &str = "000000000000000AAA";

type Columns = Vec<(String, SqlValue)>;

fn text(value: &str) -> SqlValue {
    SqlValue::Text(value.to_owned())
}

fn flag(value: bool) -> SqlValue {
    SqlValue::Integer(i64::from(value))
}

/// The id of what the Metadata API made: the same for the same name, whatever else the org has.
fn stable_id(prefix: &str, name: &str) -> String {
    // FNV-1a.
    let hash = name
        .to_lowercase()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    record_id(prefix, hash % 62u64.pow(8))
}

fn is_custom(name: &str) -> bool {
    name.ends_with("__c")
}

fn developer_name(name: &str) -> &str {
    name.strip_suffix("__c").unwrap_or(name)
}

/// Standard objects go by their names, custom ones by ids.
fn entity_id(object: &SObject) -> String {
    if is_custom(&object.name) { stable_id("01I", &object.name) } else { object.name.clone() }
}

/// The statement that makes a view's table. Unlike records, these rows may share an id.
pub(super) fn table(object: &SObject) -> String {
    let column = |f: &Field| match f.kind {
        FieldKind::Text { .. } | FieldKind::Picklist { .. } => format!("\"{}\" TEXT COLLATE SOQL", f.name),
        FieldKind::Boolean => format!("\"{}\" INTEGER NOT NULL DEFAULT 0", f.name),
        _ => format!("\"{}\"", f.name),
    };
    let columns: Vec<String> = object.columns().map(column).collect();
    format!("CREATE TABLE \"{}\" ({})", object.name, columns.join(", "))
}

pub(super) fn fill(org: &Org) -> Result<(), ApiError> {
    org.db.execute_batch("SAVEPOINT views")?;
    let filled = fill_all(org);
    org.db.execute_batch("RELEASE views")?;
    filled
}

fn fill_all(org: &Org) -> Result<(), ApiError> {
    let put = |object: &str, columns: Columns| {
        let columns = columns.into_iter().filter(|(_, v)| *v != SqlValue::Null).collect();
        records::apply(&org.db, &Write::Insert { object: object.to_owned(), id: String::new(), columns })
    };
    for object in org.schema.objects() {
        put("EntityDefinition", entity(object))?;
        if is_custom(&object.name) {
            put("CustomObject", custom_object(object))?;
        }
        for field in &object.fields {
            put("FieldDefinition", field_definition(object, field))?;
            if is_custom(&field.name) {
                put("CustomField", custom_field(object, field))?;
            }
        }
    }
    Ok(())
}

fn entity(object: &SObject) -> Columns {
    let (writable, custom) = (!object.read_only, is_custom(&object.name));
    let mut columns: Columns = [
        ("Id", text(NO_ID)),
        ("DurableId", SqlValue::Text(entity_id(object))),
        ("QualifiedApiName", text(&object.name)),
        ("DeveloperName", text(developer_name(&object.name))),
        ("MasterLabel", text(&object.label)),
        ("Label", text(&object.label)),
        ("PluralLabel", text(&object.label_plural)),
        ("KeyPrefix", text(&object.key_prefix)),
        ("PublisherId", text(if custom { "<local>" } else { "System" })),
        ("ExternalSharingModel", text("Private")),
        ("InternalSharingModel", text("ReadWrite")),
    ]
    .map(|(c, v)| (c.to_owned(), v))
    .into();
    if custom {
        columns.push(("DeploymentStatus".to_owned(), text("Deployed")));
    }
    for (name, value) in [
        ("IsApexTriggerable", writable),
        ("IsCompactLayoutable", writable),
        ("IsCustomizable", writable),
        ("IsEverCreatable", writable),
        ("IsEverDeletable", writable),
        ("IsEverUpdatable", writable),
        ("IsIdEnabled", true),
        ("IsLayoutable", writable),
        ("IsQueryable", true),
        ("IsReplicateable", true),
        ("IsRetrieveable", true),
        ("IsSearchable", writable),
        ("IsTriggerable", writable),
        ("IsWorkflowEnabled", writable),
    ] {
        columns.push((name.to_owned(), flag(value)));
    }
    columns
}

fn field_definition(object: &SObject, field: &Field) -> Columns {
    let custom = is_custom(&field.name);
    let entity = entity_id(object);
    let own = if custom { stable_id("00N", &format!("{}.{}", object.name, field.name)) } else { field.name.clone() };
    let (length, precision, scale) = sizes(field);
    let (targets, relationship) = match &field.kind {
        FieldKind::Reference { targets, relationship, .. } => (targets.clone(), relationship.clone()),
        _ => (Vec::new(), None),
    };
    let compound = !field.kind.has_column();
    [
        ("Id", text(NO_ID)),
        ("DurableId", SqlValue::Text(format!("{entity}.{own}"))),
        ("QualifiedApiName", text(&field.name)),
        ("EntityDefinitionId", SqlValue::Text(entity)),
        ("DeveloperName", text(developer_name(&field.name))),
        ("MasterLabel", text(&field.label)),
        ("Label", text(&field.label)),
        ("DataType", SqlValue::Text(data_type(field))),
        ("ValueTypeId", text(value_type(&field.kind))),
        ("Length", SqlValue::Integer(length.into())),
        ("Precision", SqlValue::Integer(precision.into())),
        ("Scale", SqlValue::Integer(scale.into())),
        ("RelationshipName", relationship.map_or(SqlValue::Null, SqlValue::Text)),
        (
            "ReferenceTo",
            SqlValue::Text(
                json!({"referenceTo": if targets.is_empty() { json!(null) } else { json!(targets) }}).to_string(),
            ),
        ),
        ("PublisherId", text(if custom { "<local>" } else { "System" })),
        ("IsApiFilterable", flag(field.filterable && !compound)),
        ("IsApiGroupable", flag(field.groupable && !compound)),
        ("IsApiSortable", flag(field.sortable && !compound)),
        ("IsCalculated", flag(field.calculated)),
        ("IsCompound", flag(compound)),
        ("IsHtmlFormatted", flag(field.html)),
        ("IsIndexed", flag(field.id_lookup || field.external_id || field.kind.is_id() || field.name_field)),
        ("IsNameField", flag(field.name_field)),
        ("IsNillable", flag(field.nillable)),
        ("IsPolymorphicForeignKey", flag(targets.len() > 1)),
    ]
    .map(|(c, v)| (c.to_owned(), v))
    .into()
}

fn custom_object(object: &SObject) -> Columns {
    [
        ("Id", SqlValue::Text(entity_id(object))),
        ("DeveloperName", text(developer_name(&object.name))),
        ("Language", text("en_US")),
        ("ManageableState", text("unmanaged")),
        ("SharingModel", text("ReadWrite")),
    ]
    .map(|(c, v)| (c.to_owned(), v))
    .into()
}

fn custom_field(object: &SObject, field: &Field) -> Columns {
    let (length, precision, scale) = sizes(field);
    let some = |n: u32| if n == 0 { SqlValue::Null } else { SqlValue::Integer(n.into()) };
    [
        ("Id", SqlValue::Text(stable_id("00N", &format!("{}.{}", object.name, field.name)))),
        ("TableEnumOrId", SqlValue::Text(entity_id(object))),
        ("EntityDefinitionId", SqlValue::Text(entity_id(object))),
        ("DeveloperName", text(developer_name(&field.name))),
        ("Length", some(length)),
        ("Precision", some(precision)),
        ("Scale", some(scale)),
        ("ManageableState", text("unmanaged")),
    ]
    .map(|(c, v)| (c.to_owned(), v))
    .into()
}

fn sizes(field: &Field) -> (u32, u32, u32) {
    match &field.kind {
        FieldKind::Text { length, .. } | FieldKind::Picklist { length, .. } => (*length, 0, 0),
        FieldKind::Number { precision, scale, .. } => (0, *precision, *scale),
        FieldKind::Int { digits } => (0, *digits, 0),
        kind if kind.is_id() => (18, 0, 0),
        _ => (0, 0, 0),
    }
}

/// As Setup names a field's type.
fn data_type(field: &Field) -> String {
    if field.calculated {
        return format!("Formula ({})", value_type(&field.kind));
    }
    if field.auto_number {
        return "Auto Number".to_owned();
    }
    match &field.kind {
        FieldKind::Id => "Lookup()".to_owned(),
        FieldKind::Reference { targets, .. } => format!("Lookup({})", targets.join(",")),
        FieldKind::Boolean => "Checkbox".to_owned(),
        FieldKind::Int { digits } => format!("Number({digits}, 0)"),
        FieldKind::Number { type_name, precision, scale } => {
            let whole = precision.saturating_sub(*scale);
            let name = match *type_name {
                "currency" => "Currency",
                "percent" => "Percent",
                _ => "Number",
            };
            format!("{name}({whole}, {scale})")
        }
        FieldKind::Date => "Date".to_owned(),
        FieldKind::DateTime => "Date/Time".to_owned(),
        FieldKind::Time => "Time".to_owned(),
        FieldKind::Text { type_name, length } => match *type_name {
            "email" => "Email".to_owned(),
            "phone" => "Phone".to_owned(),
            "url" => format!("URL({length})"),
            "textarea" if *length > 255 => format!("Long Text Area({length})"),
            "textarea" => format!("Text Area({length})"),
            "encryptedstring" => format!("Text (Encrypted)({length})"),
            _ => format!("Text({length})"),
        },
        FieldKind::Picklist { type_name: "multipicklist", .. } => "Picklist (Multi-Select)".to_owned(),
        FieldKind::Picklist { .. } => "Picklist".to_owned(),
        FieldKind::Address => "Address".to_owned(),
        FieldKind::Location => "Geolocation".to_owned(),
        FieldKind::Base64 => "Base64".to_owned(),
    }
}

fn value_type(kind: &FieldKind) -> &'static str {
    match kind {
        FieldKind::Id | FieldKind::Reference { .. } => "id",
        FieldKind::Boolean => "boolean",
        FieldKind::Int { .. } => "integer",
        FieldKind::Number { .. } => "double",
        FieldKind::Date => "date",
        FieldKind::DateTime => "datetime",
        FieldKind::Time => "time",
        FieldKind::Address => "address",
        FieldKind::Location => "location",
        FieldKind::Base64 => "base64",
        FieldKind::Text { .. } | FieldKind::Picklist { .. } => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_names() {
        assert_eq!(stable_id("01I", "Invoice__c"), stable_id("01I", "invoice__c"));
        assert_ne!(stable_id("01I", "Invoice__c"), stable_id("01I", "Order__c"));
        assert_eq!(stable_id("00N", "Account.Colour__c").len(), 18);
    }
}
