//! Which object a life is about, and what of it can change.

use serde_json::{Map, Value, json};
use tieline_sync::mapping::{ColumnDefinition, Definition, Method};

/// An object, with what the simulation needs to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cast {
    /// A custom object with a formula and a lookup to accounts.
    Thing,
    /// A person with a company: merged, and moved when companies are merged.
    Contact,
    /// A company, the parent of others of its kind.
    Account,
    /// A task, which is archived without a stamp.
    Task,
    /// A person with a company, in the mapping that is built in.
    BuiltIn,
}

pub(super) const ALL: [Cast; 4] = [Cast::Thing, Cast::Contact, Cast::Account, Cast::Task];

impl Cast {
    pub(super) fn object(self) -> &'static str {
        match self {
            Cast::Thing => "Thing__c",
            Cast::Contact | Cast::BuiltIn => "Contact",
            Cast::Account => "Account",
            Cast::Task => "Task",
        }
    }

    /// The field that tells one version of a record from another: the first of the [`Cast::columns`].
    pub(super) fn version(self) -> &'static str {
        match self {
            Cast::Thing => "Serial__c",
            Cast::Contact | Cast::BuiltIn => "Title",
            Cast::Account => "Site",
            Cast::Task => "Description",
        }
    }

    /// The columns of the version, and of the parent's field.
    pub(super) fn columns(self) -> (&'static str, &'static str) {
        if self == Cast::BuiltIn { ("title", "company") } else { ("version", "parent_name") }
    }

    /// The reference to its parent.
    pub(super) fn parent(self) -> Option<&'static str> {
        match self {
            Cast::Thing => Some("Account__c"),
            Cast::Contact | Cast::BuiltIn => Some("AccountId"),
            Cast::Account => Some("ParentId"),
            Cast::Task => None,
        }
    }

    /// The parent's field that is among the columns.
    pub(super) fn parents_name(self) -> Option<&'static str> {
        match self {
            Cast::Thing => Some("Account__r.Name"),
            Cast::Contact | Cast::BuiltIn => Some("Account.Name"),
            Cast::Account => Some("Parent.Name"),
            Cast::Task => None,
        }
    }

    pub(super) fn merges(self) -> bool {
        matches!(self, Cast::Contact | Cast::Account | Cast::BuiltIn)
    }

    /// Fields that are hidden and shown.
    pub(super) fn hideable(self) -> &'static [&'static str] {
        match self {
            Cast::Thing => &["Text__c", "Day__c", "Account__c", "Words__c"],
            Cast::Contact | Cast::BuiltIn => &["Email", "Department", "AccountId"],
            Cast::Account => &["Rating", "NumberOfEmployees", "ParentId"],
            Cast::Task => &["Priority", "ActivityDate"],
        }
    }

    /// A record's fields, but for its version.
    pub(super) fn fields(self, rng: &mut fastrand::Rng) -> Map<String, Value> {
        let word = ["one", "zwei", "três", "četiri", "五", "", "NA", "a\nb"][rng.usize(..8)];
        let day = format!("2026-0{}-1{}", rng.u8(1..=9), rng.u8(0..=9));
        let fields = match self {
            Cast::Thing => {
                json!({"Text__c": word, "Day__c": day, "Amount__c": rng.i32(-9_999..9_999) as f64 / 100.0})
            }
            Cast::Contact | Cast::BuiltIn => {
                json!({"LastName": format!("l{word}"), "Email": format!("{}@example.org", rng.u16(..)),
                "Department": word, "DoNotCall": rng.bool()})
            }
            Cast::Account => json!({"Name": format!("n{word}"), "NumberOfEmployees": rng.u16(..),
                "Rating": rng.choice(["Hot", "Warm", "Cold"])}),
            Cast::Task => json!({"Subject": word, "ActivityDate": day, "Priority": rng.choice(["High", "Normal"])}),
        };
        match fields {
            Value::Object(mut fields) => {
                fields.retain(|_, _| rng.u8(..4) > 0);
                fields
            }
            _ => Map::new(),
        }
    }

    /// What a record cannot be without.
    pub(super) fn needed(self) -> Map<String, Value> {
        let fields = match self {
            Cast::Contact | Cast::BuiltIn => json!({"LastName": "needed"}),
            Cast::Account => json!({"Name": "needed"}),
            Cast::Thing | Cast::Task => json!({}),
        };
        fields.as_object().cloned().unwrap_or_default()
    }

    /// The version's value.
    pub(super) fn at_version(self, version: u64) -> Value {
        if self == Cast::Thing { json!(version) } else { json!(version.to_string()) }
    }

    /// The custom object, to be made.
    pub(super) fn custom(self) -> Option<Value> {
        (self == Cast::Thing).then(|| {
            json!({"name": "Thing__c", "fields": [
                {"name": "Serial__c", "type": "double 18,0"},
                {"name": "Text__c", "type": "string 80"},
                {"name": "Day__c", "type": "date"},
                {"name": "Amount__c", "type": "double 18,2"},
                {"name": "Account__c", "type": "reference Account as Account__r children Things__r"},
                {"name": "Words__c", "type": "string 255",
                 "formula": "Account__r.Name & \" \" & TEXT(Day__c) & \" \" & TEXT(TODAY())"},
            ]})
        })
    }

    /// The mapping: all fields that are of interest, and one of the parent's. Not of the one that is built in.
    pub(super) fn definition(self, name: &str, method: Method, percent: u8) -> Definition {
        let mut definition = Definition::all_of(name, self.object());
        definition.all_fields = Some(true);
        let named = |path: &str, column: &str| ColumnDefinition {
            column: Some(column.to_owned()),
            ..ColumnDefinition::of(path)
        };
        definition.columns.push(named(self.version(), "version"));
        definition.columns.extend(self.parents_name().map(|path| named(path, "parent_name")));
        // Wide rows cost time and find nothing more.
        let ignored: &[&str] = match self {
            Cast::Thing | Cast::BuiltIn => &[],
            Cast::Contact => &["Mailing*", "Other*", "Last*Date", "LastCU*", "*Phone", "Jigsaw*", "Assistant*", "*Fax"],
            Cast::Account => &["Billing*", "Shipping*", "Last*Date", "*Sic*", "*Naics*", "Jigsaw*", "D*", "T*Symbol"],
            Cast::Task => &["Recurrence*", "Call*", "Last*Date", "Reminder*"],
        };
        definition.ignore = ignored.iter().map(|&pattern| pattern.to_owned()).collect();
        if self == Cast::Task {
            definition.refresh.push("IsArchived".to_owned());
        }
        definition.method = method;
        definition.mass_delete_percent = percent;
        definition
    }
}
