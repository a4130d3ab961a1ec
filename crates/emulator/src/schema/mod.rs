//! What objects and fields the org has. Standard objects come from `standard.txt`, a compact list of facts;
//! custom ones are added while the org lives.

mod describe;
mod standard;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::formula::Formula;

pub(crate) use describe::{describe_global, describe_object};
pub(crate) use standard::{custom_field, custom_object, field, location_parts, typed_field};

/// The org's objects, found by name in any case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schema {
    objects: BTreeMap<String, SObject>,
}

#[derive(Debug, Clone)]
pub(crate) struct SObject {
    pub(crate) name: String,
    pub(crate) key_prefix: String,
    pub(crate) label: String,
    pub(crate) label_plural: String,
    pub(crate) read_only: bool,
    pub(crate) fields: Vec<Field>,
    by_name: BTreeMap<String, usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) kind: FieldKind,
    pub(crate) createable: bool,
    pub(crate) updateable: bool,
    pub(crate) required: bool,
    pub(crate) nillable: bool,
    pub(crate) default: Option<String>,
    pub(crate) name_field: bool,
    pub(crate) id_lookup: bool,
    pub(crate) external_id: bool,
    pub(crate) unique: bool,
    pub(crate) filterable: bool,
    pub(crate) sortable: bool,
    pub(crate) groupable: bool,
    pub(crate) restricted: bool,
    pub(crate) calculated: bool,
    pub(crate) auto_number: bool,
    pub(crate) case_sensitive: bool,
    pub(crate) html: bool,
    /// The compound field (an address, a person's name) that this one is a part of.
    pub(crate) compound: Option<String>,
    /// What its value is worked out from; such a field has no column.
    pub(crate) formula: Option<Formula>,
}

impl Field {
    /// Whether the table has a column for it.
    pub(crate) fn is_stored(&self) -> bool {
        self.kind.has_column() && self.formula.is_none()
    }

    pub(crate) fn is_custom(&self) -> bool {
        self.name.ends_with("__c")
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FieldKind {
    Id,
    Boolean,
    Int {
        digits: u32,
    },
    /// `double`, `currency` or `percent`.
    Number {
        type_name: &'static str,
        precision: u32,
        scale: u32,
    },
    Date,
    DateTime,
    Time,
    /// `string`, `textarea`, `email`, `phone`, `url`, `encryptedstring`, with its length in characters.
    Text {
        type_name: &'static str,
        length: u32,
    },
    /// `picklist`, `multipicklist` or `combobox`.
    Picklist {
        type_name: &'static str,
        length: u32,
        values: Vec<String>,
    },
    Reference {
        targets: Vec<String>,
        relationship: Option<String>,
        children: Option<String>,
    },
    Address,
    Location,
    Base64,
}

impl FieldKind {
    /// Addresses and locations are put together from their parts and have no column.
    pub(crate) fn has_column(&self) -> bool {
        !matches!(self, FieldKind::Address | FieldKind::Location)
    }

    /// As a describe names it.
    pub(crate) fn type_name(&self) -> &'static str {
        describe::sizes(self).0
    }

    pub(crate) fn is_id(&self) -> bool {
        matches!(self, FieldKind::Id | FieldKind::Reference { .. })
    }
}

impl SObject {
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.by_name.get(&name.to_ascii_lowercase()).map(|i| &self.fields[*i])
    }

    /// The reference field behind a relationship name such as `Account` or `Parent__r`.
    pub(crate) fn relationship(&self, name: &str) -> Option<(&Field, &str)> {
        self.fields.iter().find_map(|field| match &field.kind {
            FieldKind::Reference { targets, relationship: Some(r), .. } if r.eq_ignore_ascii_case(name) => {
                // A polymorphic relationship leads to Name; the first target with one stands for it.
                Some((field, targets.iter().find(|t| *t == "User").or(targets.first())?.as_str()))
            }
            _ => None,
        })
    }

    /// Whether SOSL finds its records.
    pub(crate) fn searchable(&self) -> bool {
        const NOT: [&str; 9] = [
            "CampaignMember",
            "OpportunityContactRole",
            "OpportunityLineItem",
            "PermissionSet",
            "PermissionSetAssignment",
            "PricebookEntry",
            "Profile",
            "RecordType",
            "UserRole",
        ];
        !self.read_only && !NOT.contains(&self.name.as_str())
    }

    /// The field that a record's URL ends with. Some views of the Tooling API have no ids.
    pub(crate) fn id_field(&self) -> &'static str {
        if self.field("DurableId").is_some() { "DurableId" } else { "Id" }
    }

    pub(crate) fn columns(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|f| f.is_stored())
    }

    pub(crate) fn add_field(&mut self, field: Field) {
        self.by_name.insert(field.name.to_ascii_lowercase(), self.fields.len());
        self.fields.push(field);
    }

    pub(crate) fn replace_field(&mut self, field: Field) {
        let name = field.name.clone();
        self.rename_field(&name, field);
    }

    /// Puts a field, of whatever name, in the place of another.
    pub(crate) fn rename_field(&mut self, old: &str, field: Field) {
        if let Some(place) = self.by_name.remove(&old.to_ascii_lowercase()) {
            self.by_name.insert(field.name.to_ascii_lowercase(), place);
            self.fields[place] = field;
        }
    }

    pub(crate) fn remove_field(&mut self, name: &str) {
        self.fields.retain(|field| field.name != name);
        self.by_name = self.fields.iter().enumerate().map(|(i, f)| (f.name.to_ascii_lowercase(), i)).collect();
    }
}

impl Schema {
    /// The standard objects.
    pub(crate) fn standard() -> Self {
        // Read once in a process: many orgs are started by tests.
        static STANDARD: OnceLock<Schema> = OnceLock::new();
        STANDARD.get_or_init(|| Self::read(standard::FACTS)).clone()
    }

    /// Objects from a list of facts in the format of `standard.txt`.
    pub(crate) fn read(facts: &str) -> Self {
        let mut schema = Schema { objects: BTreeMap::new() };
        for object in standard::objects(facts) {
            schema.add(object);
        }
        schema
    }

    pub(crate) fn add(&mut self, object: SObject) {
        self.objects.insert(object.name.to_ascii_lowercase(), object);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.objects.remove(&name.to_ascii_lowercase());
    }

    pub(crate) fn object(&self, name: &str) -> Option<&SObject> {
        self.objects.get(&name.to_ascii_lowercase())
    }

    pub(crate) fn object_mut(&mut self, name: &str) -> Option<&mut SObject> {
        self.objects.get_mut(&name.to_ascii_lowercase())
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = &SObject> {
        self.objects.values()
    }

    pub(crate) fn by_prefix(&self, id: &str) -> Option<&SObject> {
        let prefix = id.get(..3)?;
        self.objects().find(|o| o.key_prefix == prefix)
    }

    /// The objects and fields that point at `parent`, with the name the parent knows the children by.
    pub(crate) fn children<'a>(
        &'a self,
        parent: &'a SObject,
    ) -> impl Iterator<Item = (&'a SObject, &'a Field, Option<&'a str>)> {
        self.objects().flat_map(move |object| {
            object.fields.iter().filter_map(move |field| match &field.kind {
                FieldKind::Reference { targets, children, .. } if targets.contains(&parent.name) => {
                    Some((object, field, children.as_deref()))
                }
                _ => None,
            })
        })
    }
}
