//! What a component changes in the org besides being there.

use serde_json::{Map, Value, json};

use super::types::{CONNECTED_APP, CUSTOM_FIELD, CUSTOM_OBJECT, EXTERNAL_APP, GLOBAL_OAUTH, PERMISSION_SET, SETTINGS};
use super::xml::Node;
use super::{Key, apps, fields, type_named};
use crate::api_error::ApiError;
use crate::oauth::random_token;
use crate::org::Org;

/// Fills in what the org chooses: consumer key and secret, once; switches that a settings file leaves out stay.
pub(super) fn complete(type_name: &str, mut body: Node, before: Option<&Node>) -> Node {
    match type_name {
        GLOBAL_OAUTH => keys(&mut body, before),
        CONNECTED_APP => {
            let old = before.and_then(|b| b.child("oauthConfig"));
            if let Some(oauth) = body.children.iter_mut().find(|child| child.name == "oauthConfig") {
                keys(oauth, old);
            }
        }
        // Fields are components of their own.
        CUSTOM_OBJECT => body.children.retain(|child| child.name != "fields"),
        SETTINGS => {
            for old in before.into_iter().flat_map(|b| &b.children) {
                if body.child(&old.name).is_none() {
                    body.children.push(old.clone());
                }
            }
        }
        _ => {}
    }
    body
}

fn keys(body: &mut Node, before: Option<&Node>) {
    let alphanumeric = |length| random_token(length).replace(['.', '_'], "x");
    for (name, new) in [("consumerKey", format!("3MVG9{}", alphanumeric(80))), ("consumerSecret", alphanumeric(64))] {
        let rotates = name == "consumerSecret" && body.flag("shouldRotateConsumerSecret");
        let old = before.map(|b| b.get(name)).filter(|old| !old.is_empty() && !rotates);
        // The key is chosen at creation only; a secret may be set again.
        let given =
            Some(body.get(name)).filter(|given| !given.is_empty() && (name == "consumerSecret" || old.is_none()));
        let value = given.or(old).map_or(new, str::to_owned);
        body.children.retain(|child| child.name != name);
        body.children.push(Node { name: name.to_owned(), text: value, ..Node::default() });
    }
}

/// Brings rows and apps in line with the components.
pub(super) fn apply(org: &mut Org, changed: &[Key], by: &str) -> Result<(), ApiError> {
    for key in changed {
        match key.0 {
            PERMISSION_SET => permission_set(org, &key.1, by)?,
            CUSTOM_OBJECT => fields::apply_object(org, &key.1)?,
            CUSTOM_FIELD => fields::apply_field(org, &key.1)?,
            _ => {}
        }
        let prefix = type_named(key.0).map_or("000", |of| of.prefix);
        if org.metadata.components.get(key).is_some_and(|component| component.id.is_empty()) {
            let id = org.new_id(prefix);
            if let Some(component) = org.metadata.components.get_mut(key) {
                component.id = id;
            }
        }
    }
    let of_an_app = |key: &&Key| key.0 == CONNECTED_APP || key.0 == EXTERNAL_APP || key.0.starts_with("Extl");
    if changed.iter().any(|key| of_an_app(&key)) {
        apps::rebuild(org);
    }
    Ok(())
}

/// A permission set is a row too, whose id others refer to.
fn permission_set(org: &mut Org, name: &str, by: &str) -> Result<(), ApiError> {
    let row = |org: &Org| -> Option<String> {
        org.db.query_row("SELECT \"Id\" FROM \"PermissionSet\" WHERE \"Name\" = ?", [name], |row| row.get(0)).ok()
    };
    let there = row(org);
    let key = (PERMISSION_SET, name.to_owned());
    let Some(component) = org.metadata.components.get(&key) else {
        if let Some(id) = there {
            org.db.execute("DELETE FROM main.\"PermissionSetAssignment\" WHERE \"PermissionSetId\" = ?", [&id])?;
            org.db.execute("DELETE FROM main.\"PermissionSet\" WHERE \"Id\" = ?", [&id])?;
        }
        return Ok(());
    };
    let mut fields: Map<String, Value> = Map::new();
    fields.insert("Name".to_owned(), json!(name));
    fields.insert("Label".to_owned(), json!(component.body.get("label")));
    for permission in component.body.all("userPermissions") {
        fields.insert(format!("Permissions{}", permission.get("name")), json!(permission.flag("enabled")));
    }
    let id = match there {
        Some(id) => {
            org.update("PermissionSet", &id, &fields, by)?;
            id
        }
        None => org.create("PermissionSet", &fields, by, true)?,
    };
    if let Some(component) = org.metadata.components.get_mut(&key) {
        component.id = id;
    }
    Ok(())
}
