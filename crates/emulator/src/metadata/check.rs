//! What a file must pass before the org takes it.

use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::types::{
    CERTIFICATE, CONNECTED_APP, CUSTOM_FIELD, CUSTOM_OBJECT, EXTERNAL_APP, GLOBAL_OAUTH, OAUTH_POLICIES,
    OAUTH_SETTINGS, PERMISSION_SET, POLICIES, SETTINGS, Type,
};
use super::xml::Node;
use super::{Components, elements, fields, setting};
use crate::org::Org;

/// The org does not say by which words a new connected app is refused since Spring '26; no source has the text.
const NO_NEW_CONNECTED_APPS: &str = "You can't create connected apps in this org. To enable connected app creation, contact Salesforce Customer Support.";
/// The same for consumer secrets that the setting withholds.
pub(super) const NO_SECRETS: &str = "Allow Access to OAuth Consumer Secrets via Metadata API is not enabled";

/// Checks one component against what is there after the components before it.
pub(super) fn check(org: &Org, there: &Components, of: &Type, full_name: &str, body: &Node) -> Result<(), String> {
    if let Some(problem) = org.metadata.behaviour.problems.iter().find(|p| p.type_name == of.name) {
        return Err(problem.problem.clone());
    }
    if body.name != of.root(full_name) {
        return Err(format!("Error parsing file: the root element is {}, not {}", body.name, of.root(full_name)));
    }
    form(of.name, body)?;
    let exists = there.contains_key(&(of.name, full_name.to_owned()));
    match of.name {
        EXTERNAL_APP if !setting(there, "ExternalClientApp", "enableExternalClientApps") => {
            Err("Not available for deploy for this organization".to_owned())
        }
        OAUTH_SETTINGS => {
            app_of(there, body)?;
            scopes(body.get("commaSeparatedOauthScopes").split(',').map(str::trim).filter(|s| !s.is_empty()))
        }
        GLOBAL_OAUTH => {
            app_of(there, body)?;
            if !setting(there, "ExternalClientApp", "enableConsumerSecretApiAccess") {
                return Err(NO_SECRETS.to_owned());
            }
            key_is_free(org, body.get("consumerKey"), full_name)?;
            certificate(body.get("certificate"))
        }
        OAUTH_POLICIES => {
            app_of(there, body)?;
            let sets = body.get("commaSeparatedPermissionSet");
            let known = |id: &str| crate::id::normalise(id).is_some_and(|id| is_permission_set(org, &id));
            match sets.split(',').map(str::trim).find(|id| !id.is_empty() && !known(id)) {
                Some(id) => Err(format!("In field: commaSeparatedPermissionSet - no PermissionSet with id {id} found")),
                None => Ok(()),
            }
        }
        POLICIES => app_of(there, body),
        CONNECTED_APP => {
            if !exists && !org.metadata.behaviour.connected_app_creation {
                return Err(NO_NEW_CONNECTED_APPS.to_owned());
            }
            let Some(oauth) = body.child("oauthConfig") else { return Ok(()) };
            form("oauthConfig", oauth)?;
            if let Some(policy) = body.child("oauthPolicy") {
                form("oauthPolicy", policy)?;
            }
            key_is_free(org, oauth.get("consumerKey"), full_name)?;
            scopes(oauth.all("scopes").map(|s| s.text.trim()))?;
            for set in body.all("permissionSetName") {
                let name = set.text.trim();
                if !there.contains_key(&(PERMISSION_SET, name.to_owned())) {
                    return Err(format!("In field: permissionSetName - no PermissionSet named {name} found"));
                }
            }
            certificate(oauth.get("certificate"))
        }
        PERMISSION_SET => {
            let object = org.schema.object("PermissionSet").ok_or("there is no PermissionSet")?;
            let known = |name: &str| object.field(&format!("Permissions{name}")).is_some();
            match body.all("userPermissions").map(|p| p.get("name")).find(|name| !known(name)) {
                Some(name) => Err(format!("Unknown user permission: {name}")),
                None => Ok(()),
            }
        }
        SETTINGS if full_name == "ExternalClientApp" => {
            // Once on, the feature stays.
            Ok(())
        }
        CUSTOM_OBJECT => fields::check_object(org, full_name, body),
        CUSTOM_FIELD => fields::check_field(org, there, full_name, body),
        CERTIFICATE => Ok(()),
        _ => Ok(()),
    }
}

fn form(type_name: &str, body: &Node) -> Result<(), String> {
    let Some(form) = elements::of(type_name) else { return Ok(()) };
    for child in &body.children {
        if !form.known.split_whitespace().any(|known| known == child.name) {
            return Err(format!(
                "Error parsing file: Element {{http://soap.sforce.com/2006/04/metadata}}{} invalid at this location in type {type_name}",
                child.name
            ));
        }
        if let Some((list, values)) = elements::values(type_name, &child.name)
            && !values.contains(&child.text.trim())
        {
            return Err(format!("'{}' is not a valid value for the enum '{list}'", child.text.trim()));
        }
    }
    match form.required.iter().find(|name| body.get(name).is_empty()) {
        Some(missing) => Err(format!("Required field is missing: {missing}")),
        None => Ok(()),
    }
}

fn app_of(there: &Components, body: &Node) -> Result<(), String> {
    let name = body.get("externalClientApplication");
    if there.contains_key(&(EXTERNAL_APP, name.to_owned())) {
        return Ok(());
    }
    Err(format!("In field: externalClientApplication - no ExternalClientApplication named {name} found"))
}

fn scopes<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    match names.find(|name| !elements::SCOPES.iter().any(|(known, _)| known == name)) {
        Some(unknown) => Err(format!("'{unknown}' is not a valid value for the enum 'ConnectedAppOauthAccessScope'")),
        None => Ok(()),
    }
}

/// Consumer keys are unique among all orgs, and chosen once.
fn key_is_free(org: &Org, key: &str, component: &str) -> Result<(), String> {
    if key.is_empty() {
        return Ok(());
    }
    let mut others = org.apps.iter().filter(|app| app.made_by.as_ref().is_none_or(|made| made.1 != component));
    if others.any(|app| app.client_id == key) {
        return Err("The consumer key is already taken.".to_owned());
    }
    if !(8..=256).contains(&key.len()) {
        return Err("The consumer key must have 8 to 256 characters.".to_owned());
    }
    Ok(())
}

fn is_permission_set(org: &Org, id: &str) -> bool {
    org.db.query_row("SELECT 1 FROM \"PermissionSet\" WHERE \"Id\" = ?", [id], |_| Ok(())).is_ok()
}

/// An X.509 certificate over an RSA key of 2,048 bits or more.
fn certificate(pem: &str) -> Result<(), String> {
    if pem.is_empty() || public_key(pem).is_some() { Ok(()) } else { Err("The certificate isn't valid.".to_owned()) }
}

/// The RSA key of a certificate, as PKCS#1 in DER.
pub(super) fn public_key(pem: &str) -> Option<Vec<u8>> {
    let pem = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?.1;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
    match certificate.public_key().parsed().ok()? {
        PublicKey::RSA(key) if key.key_size() >= 2_048 => {
            Some(certificate.public_key().subject_public_key.data.to_vec())
        }
        _ => None,
    }
}
