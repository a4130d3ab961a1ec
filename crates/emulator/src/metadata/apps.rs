//! From components to OAuth clients: a connected app is one file, an external client app five.

use jiff::Timestamp;

use super::check::public_key;
use super::types::{CONNECTED_APP, EXTERNAL_APP, GLOBAL_OAUTH, OAUTH_POLICIES, OAUTH_SETTINGS, POLICIES};
use super::xml::Node;
use super::{Components, elements};
use crate::oauth::app::{App, Policy};
use crate::org::Org;

/// Makes the org's apps as the components say. A new or changed one becomes known after the activation delay; until then
/// the token endpoint knows it as it was.
pub(super) fn rebuild(org: &mut Org) {
    let wanted: Vec<App> = org
        .metadata
        .components
        .iter()
        .filter_map(|((kind, name), component)| match *kind {
            CONNECTED_APP => connected(org, name, &component.body),
            EXTERNAL_APP => external(&org.metadata.components, name),
            _ => None,
        })
        .collect();
    let active_from = org.now() + org.metadata.behaviour.activation;
    let gone: Vec<String> = org
        .apps
        .iter()
        .filter(|app| app.made_by.is_some() && !wanted.iter().any(|w| w.client_id == app.client_id))
        .map(|app| app.client_id.clone())
        .collect();
    for client_id in gone {
        org.apps.retain(|app| app.client_id != client_id);
        org.approvals.retain(|(app, _)| *app != client_id);
        org.grants.end_app(&client_id);
    }
    for mut app in wanted {
        let newest = org.apps.iter().rev().find(|old| old.client_id == app.client_id);
        if newest.is_some_and(|old| old.is_like(&app)) {
            continue;
        }
        app.active_from = active_from;
        org.apps.push(app);
    }
    // What was superseded, and the superseding version is active.
    let now = org.now();
    let apps = std::mem::take(&mut org.apps);
    let superseded =
        |at: usize| apps[at + 1..].iter().any(|new| new.client_id == apps[at].client_id && new.active_from <= now);
    let keep: Vec<bool> = (0..apps.len()).map(|at| !superseded(at)).collect();
    org.apps = apps.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(app, _)| app).collect();
}

fn app(made_by: (&'static str, &str), label: &str, keys: &Node, policy: Policy) -> App {
    App {
        name: label.to_owned(),
        client_id: keys.get("consumerKey").to_owned(),
        client_secret: keys.get("consumerSecret").to_owned(),
        public_key: public_key(keys.get("certificate")),
        initial: policy.clone(),
        policy,
        made_by: Some((made_by.0, made_by.1.to_owned())),
        active_from: Timestamp::MIN,
    }
}

fn policy(callbacks: &str, keys: &Node, scopes: Vec<String>) -> Policy {
    Policy {
        callback_urls: callbacks.split_whitespace().map(str::to_owned).collect(),
        scopes,
        rotation: keys.flag("isRefreshTokenRotationEnabled"),
        secret_required_for_refresh: keys.flag_or("isSecretRequiredForRefreshToken", true),
        pkce_required: keys.flag_or("isPkceRequired", keys.child("externalClientApplication").is_some()),
        client_credentials_user: None,
        password_flow: false,
        device_flow: keys.flag("isDeviceFlowEnabled"),
        ..Policy::new(Vec::new(), "")
    }
}

fn oauth_scopes<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names
        .filter_map(|name| elements::SCOPES.iter().find(|(known, _)| *known == name.trim()))
        .flat_map(|(_, scopes)| scopes.iter().map(|s| (*s).to_owned()))
        .collect()
}

fn connected(org: &Org, name: &str, body: &Node) -> Option<App> {
    let oauth = body.child("oauthConfig")?;
    let scopes = oauth_scopes(oauth.all("scopes").map(|s| s.text.as_str()));
    let named = body.all("permissionSetName").map(|set| set.text.trim());
    let id = |name: &str| -> Option<String> {
        org.db.query_row("SELECT \"Id\" FROM \"PermissionSet\" WHERE \"Name\" = ?", [name], |row| row.get(0)).ok()
    };
    let policy = Policy {
        admin_approved: oauth.flag("isAdminApproved"),
        permission_sets: named.filter_map(id).collect(),
        profiles: body.all("profileName").map(|p| p.text.trim().to_owned()).collect(),
        // The old kind of app has the password flow where the org allows it.
        password_flow: true,
        ..policy(oauth.get("callbackUrl"), oauth, scopes)
    };
    Some(app((CONNECTED_APP, name), body.get("label"), oauth, policy))
}

/// An external client app is an OAuth client once its global settings are there and its plug-in is not switched off.
fn external(components: &Components, name: &str) -> Option<App> {
    let part = |kind: &'static str| {
        let of_this = |((k, _), c): &(&super::Key, &super::Component)| {
            *k == kind && c.body.get("externalClientApplication") == name
        };
        components.iter().find(|entry| of_this(entry)).map(|(_, component)| &component.body)
    };
    let header = components.get(&(EXTERNAL_APP, name.to_owned()))?;
    let global = part(GLOBAL_OAUTH)?;
    let switched_on = |policies: &Node| policies.flag("isEnabled") && policies.flag_or("isOauthPluginEnabled", true);
    part(POLICIES).is_none_or(switched_on).then_some(())?;
    let scopes = part(OAUTH_SETTINGS).map(|settings| settings.get("commaSeparatedOauthScopes")).unwrap_or_default();
    let list = |text: &str| text.split(',').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect::<Vec<_>>();
    let mut policy = policy(global.get("callbackUrl"), global, oauth_scopes(scopes.split(',')));
    if let Some(policies) = part(OAUTH_POLICIES) {
        policy.admin_approved = policies.get("permittedUsersPolicyType") == "AdminApprovedPreAuthorized";
        let sets = list(policies.get("commaSeparatedPermissionSet"));
        policy.permission_sets = sets.iter().filter_map(|id| crate::id::normalise(id)).collect();
        policy.profiles = list(policies.get("commaSeparatedProfile"));
    }
    Some(app((EXTERNAL_APP, name), header.body.get("label"), global, policy))
}
