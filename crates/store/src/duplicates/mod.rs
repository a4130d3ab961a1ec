//! Duplicates: rows of a business that may be one person, shown to its people, and made one by them or by a rule of theirs.
//!
//! What is the same record at the source is one row from the beginning (the tables' unique key); what is compared here
//! are rows of different records, contacts with contacts and leads with leads.
//!
//! **Finding** is a pass behind the syncs, not a part of them: whoever writes a contact or lead only marks the row, and
//! [`Tenant::find_duplicates`](crate::Tenant::find_duplicates) writes the keys of marked rows, some hundred at a time, and looks who has the same. It
//! remembers what is done in the rows themselves, so that it may stop anywhere.
//!
//! **Merging** copies nothing. Each row goes on being what its own source says; the one that went names the one that
//! stayed (`merged_into`), and that one says which of its fields are shown of which other row (`merged_fields`). So syncs
//! need not know of merges, an undone merge leaves both rows as they are by then, and somebody who is erased takes their
//! fields along.
//!
//! Reading order: [`rules`] (who is matched), `normal` and `phone` (by what), `scan` and `pairs` (finding), `list`,
//! `merge`, `merged` (reading what was merged), `follow` (merges of the org, and leads that follow their contacts).

mod follow;
mod list;
mod merge;
mod merged;
mod normal;
mod pairs;
mod phone;
pub mod rules;
mod scan;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use follow::{Told, org_merges};
pub(crate) use merged::{composed_leads, roots, taken_fields};
pub use {
    list::DuplicateFilter, list::DuplicatePair, list::Side, merge::Decision, rules::KeyKind, rules::MatchAction,
    rules::MatchRule, rules::MatchRules, rules::RulesError, scan::Scan,
};

/// The fields that a merge may take of either row. All come from the sources.
pub const FIELDS: [&str; 7] = ["first_name", "last_name", "name", "email", "phone", "company", "title"];

/// What a pair is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Two contacts.
    Contact,
    /// Two leads.
    Lead,
}

impl Subject {
    /// Both.
    pub const ALL: [Subject; 2] = [Subject::Contact, Subject::Lead];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Contact => "contact",
            Subject::Lead => "lead",
        }
    }

    pub(crate) fn table(self) -> &'static str {
        match self {
            Subject::Contact => "contacts",
            Subject::Lead => "leads",
        }
    }
}

/// How a pair stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DuplicateState {
    /// Nobody has decided.
    Open,
    /// They are two.
    Dismissed,
    /// They are one.
    Merged,
}

impl DuplicateState {
    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            DuplicateState::Open => "open",
            DuplicateState::Dismissed => "dismissed",
            DuplicateState::Merged => "merged",
        }
    }

    fn from_name(name: &str) -> Self {
        match name {
            "dismissed" => DuplicateState::Dismissed,
            "merged" => DuplicateState::Merged,
            _ => DuplicateState::Open,
        }
    }
}

/// Two rows that may be one person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Duplicate {
    /// UUID.
    pub id: Uuid,
    /// Contacts or leads.
    pub subject: Subject,
    /// The two rows.
    pub rows: [Uuid; 2],
    /// The rule that found them; `salesforce` where the org has merged them itself.
    pub rule: String,
    /// By what they agree: `email`, `phone`, `name_company`, `external_id:` and its field.
    pub agreed: Vec<String>,
    /// How it stands.
    pub state: DuplicateState,
    /// Of a merge: the row that stayed.
    pub kept_id: Option<Uuid>,
    /// Of a merge: the row that went into it.
    pub merged_id: Option<Uuid>,
    /// Of a merge: the fields that are the latter's.
    pub fields: Vec<String>,
    /// Of two leads: the merge of their contacts, which they followed.
    pub cause: Option<Uuid>,
    /// Who decided: `user …`, `api_key …`, `rule:…`, `salesforce`, `system`.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// When it was found.
    pub created_at: Timestamp,
}
