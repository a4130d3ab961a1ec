//! The Metadata API: components come as files in a zip, and the org changes by them.
//!
//! Reading order: [`types`] (what there is), [`package`] (how it travels), [`deploy`] (how it gets in: [`check`], then
//! [`apply`]), [`retrieve`] (how it gets out), [`soap`] (the two ways to ask; the other one is `rest/metadata.rs`).

mod apply;
pub(crate) mod apps;
mod check;
pub(crate) mod deploy;
mod elements;
mod fields;
mod package;
pub(crate) mod retrieve;
pub(crate) mod soap;
pub(crate) mod soap_login;
mod types;
pub(crate) mod xml;

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::org::Org;
use types::{SETTINGS, Type};
use xml::Node;

/// What was deployed: the file as a tree, and the certificate's text for a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    pub(crate) id: String,
    pub(crate) body: Node,
    pub(crate) content: Option<Vec<u8>>,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
    pub(crate) by: String,
}

/// Type and full name.
type Key = (&'static str, String);
type Components = BTreeMap<Key, Component>;

/// All that the Metadata API of an org knows.
#[derive(Default)]
pub(crate) struct Metadata {
    components: Components,
    deploys: HashMap<String, deploy::Deploy>,
    retrieves: HashMap<String, retrieve::Retrieve>,
    pub(crate) behaviour: Behaviour,
}

/// How the org behaves while somebody sets it up; the control API changes it.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    /// Off since Spring '26 unless Salesforce Support has switched it on (help article 005228017).
    pub(crate) connected_app_creation: bool,
    /// The SOAP call `login()`: off in new orgs, and gone in API version 65 and later.
    pub(crate) soap_login: bool,
    /// How long a new or changed app takes to become known to the token endpoint.
    pub(crate) activation: SignedDuration,
    /// How long a deploy takes.
    pub(crate) deploy_time: SignedDuration,
    /// The org tells consumer keys and secrets by the Metadata API when its setting allows it. Newer documents call the
    /// setting deprecated (Metadata API Developer Guide, v260): without it the org never tells.
    pub(crate) tells_consumer_keys: bool,
    /// Problems that the next deploys meet.
    pub(crate) problems: Vec<Problem>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            connected_app_creation: false,
            soap_login: true,
            activation: SignedDuration::ZERO,
            deploy_time: SignedDuration::ZERO,
            tells_consumer_keys: true,
            problems: Vec::new(),
        }
    }
}

/// A component that fails, whatever it holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Problem {
    /// Metadata type, such as `ExternalClientApplication`.
    #[serde(rename = "type")]
    type_name: String,
    /// What the org says.
    problem: String,
}

/// A change of the behaviour: keys that are absent stay as they are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Change {
    connected_app_creation: Option<bool>,
    soap_login: Option<bool>,
    activation_seconds: Option<i64>,
    deploy_seconds: Option<i64>,
    tells_consumer_keys: Option<bool>,
    problems: Option<Vec<Problem>>,
    /// Setup switches by feature: `{"ConnectedApp": {"enableAdminApprovedAppsOnly": true}}`.
    settings: BTreeMap<String, BTreeMap<String, bool>>,
}

impl Org {
    /// A switch of the org's setup, as the settings files of the Metadata API name it.
    pub(crate) fn setting(&self, feature: &str, switch: &str) -> bool {
        setting(&self.metadata.components, feature, switch)
    }

    fn set(&mut self, feature: &str, switch: &str, on: bool) {
        let now = self.now();
        let by = self.admin_id.clone();
        let component = self.metadata.components.entry((SETTINGS, feature.to_owned())).or_insert_with(|| Component {
            id: crate::id::record_id("0cm", 1),
            body: Node { name: format!("{feature}Settings"), ..Node::default() },
            content: None,
            created: now,
            modified: now,
            by,
        });
        component.body.children.retain(|child| child.name != switch);
        component.body.children.push(Node { name: switch.to_owned(), text: on.to_string(), ..Node::default() });
    }

    /// The switches as a new Developer Edition has them.
    pub(crate) fn reset_setup(&mut self) {
        self.metadata.behaviour = Behaviour::default();
        for (feature, switch, on) in [
            ("ExternalClientApp", "enableExternalClientApps", true),
            ("ExternalClientApp", "enableConsumerSecretApiAccess", false),
            ("ConnectedApp", "enableAdminApprovedAppsOnly", false),
            ("MyDomain", "canOnlyLoginWithMyDomainUrl", false),
        ] {
            self.set(feature, switch, on);
        }
    }

    pub(crate) fn change_setup(&mut self, change: Change) {
        let behaviour = &mut self.metadata.behaviour;
        let seconds = |s: i64| SignedDuration::from_secs(s.max(0));
        behaviour.connected_app_creation = change.connected_app_creation.unwrap_or(behaviour.connected_app_creation);
        behaviour.soap_login = change.soap_login.unwrap_or(behaviour.soap_login);
        behaviour.activation = change.activation_seconds.map_or(behaviour.activation, seconds);
        behaviour.deploy_time = change.deploy_seconds.map_or(behaviour.deploy_time, seconds);
        behaviour.tells_consumer_keys = change.tells_consumer_keys.unwrap_or(behaviour.tells_consumer_keys);
        if let Some(problems) = change.problems {
            behaviour.problems = problems;
        }
        for (feature, switches) in change.settings {
            for (switch, on) in switches {
                self.set(&feature, &switch, on);
            }
        }
    }

    /// Whether the user's profile or one of its permission sets holds a user permission, such as `ModifyMetadata`.
    pub(crate) fn may(&self, user_id: &str, permission: &str) -> bool {
        let column = format!("\"Permissions{permission}\"");
        let sql = format!(
            "SELECT {column} FROM \"Profile\" WHERE \"Id\" = (SELECT \"ProfileId\" FROM \"User\" WHERE \"Id\" = ?1) \
             UNION ALL SELECT {column} FROM \"PermissionSet\" WHERE \"Id\" IN \
             (SELECT \"PermissionSetId\" FROM \"PermissionSetAssignment\" WHERE \"AssigneeId\" = ?1)"
        );
        let any = || -> rusqlite::Result<bool> {
            let mut statement = self.db.prepare_cached(&sql)?;
            let found: Vec<bool> = statement.query_map([user_id], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(found.contains(&true))
        };
        any().unwrap_or(false)
    }

    /// Who may use the Metadata API at all.
    pub(crate) fn may_change_metadata(&self, user_id: &str) -> bool {
        self.may(user_id, "ModifyMetadata") || self.may(user_id, "ModifyAllData")
    }
}

/// The refusal of a user without the right to it. The text is from memory of real orgs.
pub(crate) const NOT_ALLOWED: (&str, &str) = (
    "INSUFFICIENT_ACCESS",
    "use of the Metadata API requires a user with the ModifyAllData or ModifyMetadata permissions",
);

fn setting(components: &Components, feature: &str, switch: &str) -> bool {
    components.get(&(SETTINGS, feature.to_owned())).is_some_and(|component| component.body.flag(switch))
}

fn type_named(name: &str) -> Option<&'static Type> {
    types::by_name(name)
}
