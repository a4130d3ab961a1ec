//! The API's description as a page: made by the server from the same document, so that no other site's script is needed.

use askama::Template;
use serde_json::Value;

#[derive(Template)]
#[template(path = "docs.html")]
struct Page {
    title: String,
    description: String,
    groups: Vec<Group>,
}

struct Group {
    name: String,
    description: String,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    description: String,
    /// Parameters, then what the body holds.
    fields: Vec<Field>,
    responses: Vec<Answer>,
}

struct Field {
    name: String,
    place: String,
    kind: String,
    required: bool,
    description: String,
}

struct Answer {
    status: String,
    description: String,
    kind: String,
}

/// The page of a document.
pub(crate) fn page(json: &str) -> String {
    let document: Value = serde_json::from_str(json).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let tags = document["tags"].as_array().cloned().unwrap_or_default();
    let mut groups: Vec<Group> = tags
        .iter()
        .map(|tag| Group { name: text(&tag["name"]), description: text(&tag["description"]), operations: Vec::new() })
        .collect();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let tag = text(&operation["tags"][0]);
            if let Some(group) = groups.iter_mut().find(|group| group.name == tag) {
                group.operations.push(Operation::read(&document, method, path, operation));
            }
        }
    }
    let page = Page {
        title: text(&document["info"]["title"]),
        description: text(&document["info"]["description"]),
        groups: groups.into_iter().filter(|group| !group.operations.is_empty()).collect(),
    };
    page.render().unwrap_or_default()
}

impl Operation {
    fn read(document: &Value, method: &str, path: &str, operation: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let parameters = operation["parameters"].as_array().into_iter().flatten().map(|parameter| Field {
            name: text(&parameter["name"]),
            place: text(&parameter["in"]),
            kind: kind(&parameter["schema"]),
            required: parameter["required"].as_bool().unwrap_or(false),
            description: text(&parameter["description"]),
        });
        let schema = resolved(document, &operation["requestBody"]["content"]["application/json"]["schema"]);
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let body = schema["properties"].as_object().into_iter().flatten().map(|(name, property)| Field {
            name: name.clone(),
            place: "body".to_owned(),
            kind: kind(property),
            required: required.contains(&name.as_str()),
            description: text(&property["description"]),
        });
        let responses = operation["responses"].as_object().into_iter().flatten().map(|(status, response)| Answer {
            status: status.clone(),
            description: text(&response["description"]),
            kind: response["content"]
                .as_object()
                .and_then(|all| all.values().next())
                .map_or_else(String::new, |c| kind(&c["schema"])),
        });
        Self {
            id: text(&operation["operationId"]),
            method: method.to_uppercase(),
            path: path.to_owned(),
            summary: text(&operation["summary"]),
            description: text(&operation["description"]),
            fields: parameters.chain(body).collect(),
            responses: responses.collect(),
        }
    }
}

/// The schema behind a reference.
fn resolved(document: &Value, schema: &Value) -> Value {
    let Some(name) = schema["$ref"].as_str().and_then(|text| text.rsplit('/').next()) else { return schema.clone() };
    document["components"]["schemas"][name].clone()
}

/// A schema's type, in a word or two.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|text| text.rsplit('/').next()) {
        return name.to_owned();
    }
    let either = ["oneOf", "anyOf"].iter().find_map(|key| schema[*key].as_array());
    if let Some(either) = either {
        return either.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let name = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    match (name.as_str(), schema["format"].as_str()) {
        ("array", _) => format!("list of {}", kind(&schema["items"])),
        (_, Some(format)) => format!("{name} ({format})"),
        _ => name,
    }
}
