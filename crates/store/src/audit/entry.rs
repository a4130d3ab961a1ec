//! What an entry of the audit log says.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A person.
    User(Uuid),
    /// A program, by the id of its API key.
    ApiKey(Uuid),
    /// The service itself.
    System,
    /// Nobody that we know: a sign-in that failed.
    Anonymous,
}

impl Actor {
    /// Its kind in the database and in the API.
    pub fn kind(self) -> &'static str {
        match self {
            Actor::User(_) => "user",
            Actor::ApiKey(_) => "api_key",
            Actor::System => "system",
            Actor::Anonymous => "anonymous",
        }
    }

    /// The id of the person or key.
    pub fn id(self) -> Option<Uuid> {
        match self {
            Actor::User(id) | Actor::ApiKey(id) => Some(id),
            Actor::System | Actor::Anonymous => None,
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was tried and failed.
    Failure,
    /// The actor may not do it.
    Denied,
}

impl Outcome {
    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
            Outcome::Denied => "denied",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Outcome::Success, Outcome::Failure, Outcome::Denied].into_iter().find(|outcome| outcome.name() == name)
    }
}

/// The actions, each with the name that it keeps for ever.
macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident = $name:literal,)*) => {
        /// What was done: a closed list. The names never change; new ones may come.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Action {
            $($(#[$doc])* $action,)*
        }

        impl Action {
            /// All of them.
            pub const ALL: &[Action] = &[$(Action::$action,)*];

            /// Its name in the database and in the API: `resource.action`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Action::$action => $name,)*
                }
            }
        }
    };
}

actions! {
    /// The service was set up.
    ServiceSetUp = "service.set_up",
    /// A business was made.
    BusinessCreated = "business.created",
    /// Its name or settings changed.
    BusinessUpdated = "business.updated",
    /// It was deleted, with all that it had: an entry of the service's own chain.
    BusinessDeleted = "business.deleted",
    /// Somebody was invited.
    MemberInvited = "member.invited",
    /// An invitation was taken back.
    MemberInvitationRevoked = "member.invitation_revoked",
    /// An invitation was accepted.
    MemberJoined = "member.joined",
    /// A member has another role.
    MemberRoleChanged = "member.role_changed",
    /// A member was taken out, or left.
    MemberRemoved = "member.removed",
    /// Somebody signed in.
    SessionStarted = "session.started",
    /// Somebody tried to.
    SessionFailed = "session.failed",
    /// A session was ended.
    SessionEnded = "session.ended",
    /// A password was changed.
    PasswordChanged = "password.changed",
    /// The operator made a link by which a password can be set anew.
    PasswordResetCreated = "password.reset_created",
    /// A password was set anew by such a link.
    PasswordReset = "password.reset",
    /// Somebody can sign in with an identity of a provider from now on.
    IdentityLinked = "identity.linked",
    /// They cannot any more.
    IdentityUnlinked = "identity.unlinked",
    /// A key was made.
    ApiKeyCreated = "api_key.created",
    /// A key was revoked.
    ApiKeyRevoked = "api_key.revoked",
    /// A way into an org was set up.
    ConnectionCreated = "connection.created",
    /// Its settings changed.
    ConnectionUpdated = "connection.updated",
    /// Somebody signed in to the org for it.
    ConnectionAuthorized = "connection.authorized",
    /// Its token was renewed.
    ConnectionRefreshed = "connection.refreshed",
    /// It was disconnected: we forgot its credentials.
    ConnectionDisconnected = "connection.disconnected",
    /// Its tokens were revoked at the org.
    ConnectionRevoked = "connection.revoked",
    /// It was deleted.
    ConnectionDeleted = "connection.deleted",
    /// A credential was opened, or a token was given to a caller.
    CredentialRead = "credential.read",
    /// A request that changes something is about to go to an org. `proxy.called` tells how it ended; without that, the
    /// service died in between, and what the org has done is not known.
    ProxyBegun = "proxy.begun",
    /// A request went to an org on a caller's behalf.
    ProxyCalled = "proxy.called",
    /// A mapping was made, with its table.
    MappingCreated = "mapping.created",
    /// Its definition changed.
    MappingChanged = "mapping.changed",
    /// It was deleted, with its table.
    MappingDeleted = "mapping.deleted",
    /// A sync was started by hand.
    SyncTriggered = "sync.triggered",
    /// A sync was paused.
    SyncPaused = "sync.paused",
    /// It goes on.
    SyncResumed = "sync.resumed",
    /// A run was cancelled.
    SyncCancelled = "sync.cancelled",
    /// Its schedule changed.
    SyncScheduleChanged = "sync.schedule_changed",
    /// An import was asked for.
    ImportCreated = "import.created",
    /// An import that had failed, or some of its rows, goes on.
    ImportRetried = "import.retried",
    /// An import was cancelled.
    ImportCancelled = "import.cancelled",
    /// What is known of a person was erased.
    ContactErased = "contact.erased",
    /// A person who was erased may come back.
    ContactErasureLifted = "contact.erasure_lifted",
    /// All that is known of a person was read.
    ContactRead = "contact.read",
    /// How duplicates are found was changed.
    MatchRulesChanged = "match_rules.changed",
    /// Two rows that may be one person were said to be two.
    DuplicateDismissed = "duplicate.dismissed",
    /// Two rows became one.
    DuplicateMerged = "duplicate.merged",
    /// They are two again.
    DuplicateUndone = "duplicate.undone",
    /// How long things are kept was changed.
    RetentionChanged = "retention.changed",
    /// What was older than that was taken out.
    RetentionSwept = "retention.swept",
    /// All of a business was exported.
    BusinessExported = "business.exported",
    /// Somebody deleted their account: an entry of the service's own chain.
    AccountDeleted = "account.deleted",
    /// The audit log was exported.
    AuditLogExported = "audit_log.exported",
    /// A data key or master key was replaced.
    KeyRotated = "key.rotated",
    /// A rule for alerts was made.
    AlertCreated = "alert.created",
    /// It changed.
    AlertUpdated = "alert.updated",
    /// It was deleted.
    AlertDeleted = "alert.deleted",
    /// A webhook of changed records was made.
    RecordWebhookCreated = "record_webhook.created",
    /// It changed.
    RecordWebhookUpdated = "record_webhook.updated",
    /// Somebody has set its position.
    RecordWebhookRewound = "record_webhook.rewound",
    /// The service has switched it off.
    RecordWebhookDisabled = "record_webhook.disabled",
    /// Its signing secret was replaced.
    RecordWebhookKeyRotated = "record_webhook.key_rotated",
    /// It was deleted.
    RecordWebhookDeleted = "record_webhook.deleted",
    /// Somebody has seen a notification.
    AlertAcknowledged = "alert.acknowledged",
    /// The secret that signs webhooks was replaced.
    AlertKeyRotated = "alert.key_rotated",
}

impl Action {
    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Action::ALL.iter().copied().find(|action| action.name() == name)
    }
}

/// What it was done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// `connection`, `member`, `api_key`, …
    pub kind: &'a str,
    /// Its id.
    pub id: &'a str,
}

/// Something that happened, to be kept.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Who did it.
    pub actor: Actor,
    /// What was done.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// What it was done to.
    pub target: Option<Target<'a>>,
    /// What else is worth knowing: names, never secrets. What looks like one is masked all the same.
    pub detail: Value,
    /// Where the request came from.
    pub address: Option<&'a str>,
}

impl<'a> Entry<'a> {
    /// Something that was done; the rest is filled in by the caller.
    pub fn new(actor: Actor, action: Action) -> Self {
        let (outcome, detail) = (Outcome::Success, Value::Object(serde_json::Map::new()));
        Entry { actor, action, outcome, target: None, detail, address: None }
    }

    /// With what it was done to.
    #[must_use]
    pub fn on(self, kind: &'a str, id: &'a str) -> Self {
        Entry { target: Some(Target { kind, id }), ..self }
    }
}

/// An entry as it was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// UUID.
    pub id: Uuid,
    /// Its place in the chain: 1, 2, …
    pub position: i64,
    /// When it happened, to a millisecond.
    pub at: Timestamp,
    /// `user`, `api_key`, `system` or `anonymous`.
    pub actor_type: String,
    /// Id of the person or key.
    pub actor_id: Option<String>,
    /// See [`Action`]; a newer program may have written one that this one does not know.
    pub action: String,
    /// `success`, `failure` or `denied`.
    pub outcome: String,
    /// What kind of thing it was done to.
    pub target_type: Option<String>,
    /// Its id.
    pub target_id: Option<String>,
    /// A JSON object, as the text that the digest is over.
    pub detail: String,
    /// Where the request came from.
    pub address: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_name_of_its_own_in_the_form_resource_action() {
        let names: std::collections::BTreeSet<_> = Action::ALL.iter().map(|action| action.name()).collect();
        assert_eq!(names.len(), Action::ALL.len());
        for action in Action::ALL {
            let (resource, verb) = action.name().split_once('.').unwrap();
            let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(plain(resource) && plain(verb), "{}", action.name());
            assert_eq!(Action::from_name(action.name()), Some(*action));
        }
    }
}
