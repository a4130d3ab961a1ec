//! Custom objects and fields. A field has no file of its own: it stands in the file of its object.

use super::types::{CUSTOM_FIELD, CUSTOM_OBJECT};
use super::xml::Node;
use super::{Components, Key};
use crate::api_error::ApiError;
use crate::formula;
use crate::org::Org;
use crate::schema::{self, Field};

/// The field `Object.Name` out of the object's file, as a component of its own.
pub(super) fn out_of(object: &Node, full_name: &str) -> Option<Node> {
    let (_, name) = full_name.split_once('.')?;
    let mut field = object.all("fields").find(|field| field.get("fullName") == name)?.clone();
    field.name = CUSTOM_FIELD.to_owned();
    field.children.retain(|child| child.name != "fullName");
    Some(field)
}

/// The object's file with one field in it; the other way round.
pub(super) fn into_object(full_name: &str, mut field: Node) -> Node {
    let name = full_name.split_once('.').map_or(full_name, |(_, name)| name);
    field.name = "fields".to_owned();
    field.children.insert(0, Node { name: "fullName".to_owned(), text: name.to_owned(), ..Node::default() });
    Node { name: CUSTOM_OBJECT.to_owned(), children: vec![field], ..Node::default() }
}

/// Full names of the fields in an object's file.
pub(super) fn names(object: &str, file: &[u8]) -> Vec<String> {
    let Ok(node) = Node::parse(file) else { return Vec::new() };
    node.all("fields").map(|field| format!("{object}.{}", field.get("fullName"))).collect()
}

fn is_custom(name: &str) -> bool {
    name.ends_with("__c")
}

fn exists(org: &Org, there: &Components, object: &str) -> bool {
    org.schema.object(object).is_some() || there.contains_key(&(CUSTOM_OBJECT, object.to_owned()))
}

pub(super) fn check_object(org: &Org, name: &str, body: &Node) -> Result<(), String> {
    if org.schema.object(name).is_some() {
        return Ok(());
    }
    if !is_custom(name) {
        return Err(format!("Entity of type 'CustomObject' named '{name}' cannot be found"));
    }
    for needed in ["label", "pluralLabel", "nameField", "deploymentStatus", "sharingModel"] {
        if body.child(needed).is_none() {
            return Err(format!("Must specify '{needed}' for CustomObject: {name}"));
        }
    }
    Ok(())
}

pub(super) fn check_field(org: &Org, there: &Components, full_name: &str, body: &Node) -> Result<(), String> {
    let Some((object, name)) = full_name.split_once('.').filter(|(_, name)| is_custom(name)) else {
        return Err(format!("{full_name} is not the name of a custom field"));
    };
    if !exists(org, there, object) {
        return Err(format!("Entity of type 'CustomObject' named '{object}' cannot be found"));
    }
    let made = field(name, body)?;
    let text = body.get("formula");
    // Of an object that comes with the same deploy the fields are not known yet.
    if let Some(described) = org.schema.object(object).filter(|_| !text.is_empty()) {
        formula::compile(&org.schema, described, &made, text, blank_as_zero(body))?;
    }
    let target = body.get("referenceTo");
    if !target.is_empty() && !exists(org, there, target) {
        return Err(format!("referenceTo value of '{target}' does not resolve to a valid sObject type"));
    }
    let before = org.schema.object(object).and_then(|o| o.field(name));
    if before.is_some_and(|before| std::mem::discriminant(&before.kind) != std::mem::discriminant(&made.kind)) {
        return Err(format!("Cannot update a field to a {} from something else", body.get("type")));
    }
    Ok(())
}

/// The field in the terms of the schema, or what is wrong with it.
fn field(name: &str, body: &Node) -> Result<Field, String> {
    let type_name = body.get("type");
    let number = |element: &str| -> Result<u32, String> {
        let missing = || format!("Must specify '{element}' for a CustomField of type {type_name}");
        body.get(element).parse().map_err(|_| missing())
    };
    let values = || -> Result<String, String> {
        let definition = body.child("valueSet").and_then(|set| set.child("valueSetDefinition"));
        let Some(definition) = definition else { return Err("Must specify a value set for a picklist".to_owned()) };
        Ok(definition.all("value").map(|value| value.get("fullName")).collect::<Vec<_>>().join(";"))
    };
    let stem = name.trim_end_matches("__c");
    let kind = match type_name {
        // As describes tell the length of a formula.
        "Text" if !body.get("formula").is_empty() => "string 1300".to_owned(),
        "Text" => format!("string {}", number("length")?),
        "TextArea" => "textarea 255".to_owned(),
        "LongTextArea" | "Html" => format!("textarea {}", number("length")?),
        "Number" => format!("double {},{}", number("precision")?, number("scale")?),
        "Currency" => format!("currency {},{}", number("precision")?, number("scale")?),
        "Percent" => format!("percent {},{}", number("precision")?, number("scale")?),
        "Checkbox" => "boolean".to_owned(),
        "Date" => "date".to_owned(),
        "DateTime" => "datetime".to_owned(),
        "Time" => "time".to_owned(),
        "Email" => "email 80".to_owned(),
        "Phone" => "phone 40".to_owned(),
        "Url" => "url 255".to_owned(),
        "Picklist" => format!("picklist 255 : {}", values()?),
        "MultiselectPicklist" => format!("multipicklist 4099 : {}", values()?),
        "Lookup" | "MasterDetail" if !body.get("referenceTo").is_empty() => {
            let children = match body.get("relationshipName") {
                "" => String::new(),
                children => format!(" children {children}__r"),
            };
            format!("reference {} as {stem}__r{children}", body.get("referenceTo"))
        }
        "Lookup" | "MasterDetail" => {
            return Err(format!("Must specify 'referenceTo' for a CustomField of type {type_name}"));
        }
        // A limit of this org, and said as such.
        other => return Err(format!("the local org has no fields of type {other}")),
    };
    if kind.contains('|') {
        return Err("a bar cannot be part of a picklist value here".to_owned());
    }
    let mut attributes = "create update".to_owned();
    let restricted = body.child("valueSet").is_some_and(|set| set.flag("restricted"));
    for (on, word) in [
        (body.flag("externalId"), " externalid idlookup"),
        (body.flag("unique"), " unique"),
        (body.flag("caseSensitive"), " casesensitive"),
        (body.flag("required") || type_name == "MasterDetail", " required"),
        (restricted, " restricted"),
        (type_name == "Html", " html"),
        (type_name == "Checkbox" && body.get("defaultValue") == "true", " default:true"),
    ] {
        attributes.push_str(if on { word } else { "" });
    }
    let mut made = schema::typed_field(name, &kind, &attributes)?;
    made.label = body.get("label").to_owned();
    Ok(made)
}

fn blank_as_zero(body: &Node) -> bool {
    body.get("formulaTreatBlanksAs") == "BlankAsZero"
}

pub(super) fn apply_object(org: &mut Org, name: &str) -> Result<(), ApiError> {
    let key: Key = (CUSTOM_OBJECT, name.to_owned());
    let Some(component) = org.metadata.components.get(&key) else { return Ok(()) };
    if org.schema.object(name).is_some() {
        return Ok(());
    }
    let prefix = org.free_prefix();
    let mut object = schema::custom_object(name, &prefix);
    object.label = component.body.get("label").to_owned();
    object.label_plural = component.body.get("pluralLabel").to_owned();
    org.add_object(object)
}

pub(super) fn apply_field(org: &mut Org, full_name: &str) -> Result<(), ApiError> {
    let Some((object, name)) = full_name.split_once('.') else { return Ok(()) };
    let key: Key = (CUSTOM_FIELD, full_name.to_owned());
    match org.metadata.components.get(&key) {
        // It has passed the check.
        Some(component) => match field(name, &component.body) {
            Ok(field) if !component.body.get("formula").is_empty() => {
                let (text, blank_as_zero) = (component.body.get("formula").to_owned(), blank_as_zero(&component.body));
                org.add_formula(object, field, &text, blank_as_zero)
            }
            Ok(field) => org.put_field(object, field),
            Err(problem) => Err(ApiError::new(500, "UNKNOWN_EXCEPTION", problem)),
        },
        None => org.remove_field(object, name),
    }
}
