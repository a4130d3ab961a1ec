//! The keys of a row: its fields, as they are compared.

use std::collections::BTreeSet;

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use uuid::Uuid;

use super::phone;
use super::rules::{KeyKind, MatchRules};
use crate::error::StoreError;
use crate::sql::Row;

/// Characters of a value that is compared: what is longer is no key but a text.
const LONGEST: usize = 320;

/// Providers that say themselves that dots in a name are nothing, and that what follows a plus is.
/// Source: Gmail Help, "Dots don't matter in Gmail addresses" and "Create task-specific email addresses".
const DOTLESS: [&str; 2] = ["gmail.com", "googlemail.com"];
/// Providers that say so of the plus. Source: the help pages of Outlook.com, Fastmail and Proton Mail, "plus addressing"
/// and "+ aliases".
const PLUS: [&str; 7] =
    ["outlook.com", "hotmail.com", "live.com", "msn.com", "fastmail.com", "proton.me", "protonmail.com"];

/// A row, as far as it is matched.
#[derive(Debug, Clone)]
pub(super) struct Matched {
    pub(super) id: Uuid,
    pub(super) source_type: String,
    pub(super) source_id: String,
    pub(super) deleted: bool,
    name: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    company: Option<String>,
    source_metadata: Value,
    custom_fields: Value,
}

/// What is read of a row for it; the table of leads has no tombstones.
pub(super) fn columns(subject: super::Subject) -> String {
    let deleted = if subject == super::Subject::Contact { "deleted" } else { "false AS deleted" };
    format!(
        "id, source_type, source_id, {deleted}, name, first_name, last_name, email, phone, company, source_metadata, custom_fields"
    )
}

pub(super) fn matched(row: &Row) -> Result<Matched, StoreError> {
    Ok(Matched {
        id: row.get("id")?,
        source_type: row.get("source_type")?,
        source_id: row.get("source_id")?,
        deleted: row.get("deleted")?,
        name: row.find("name")?,
        first_name: row.find("first_name")?,
        last_name: row.find("last_name")?,
        email: row.find("email")?,
        phone: row.find("phone")?,
        company: row.find("company")?,
        source_metadata: row.get("source_metadata")?,
        custom_fields: row.get("custom_fields")?,
    })
}

impl Matched {
    /// Its keys by kind. Who was deleted at the source has none.
    pub(super) fn keys(&self, rules: &MatchRules) -> BTreeSet<(String, String)> {
        let mut keys = BTreeSet::new();
        if self.deleted {
            return keys;
        }
        let mut also = |kind: &str, text: Option<String>| {
            if let Some(text) = text.filter(|text| !text.is_empty() && text.chars().count() <= LONGEST) {
                keys.insert((kind.to_owned(), text));
            }
        };
        let region = rules.default_region.as_deref().and_then(phone::region);
        for rule in &rules.rules {
            for (key, kind) in rule.keys.iter().zip(rule.kinds()) {
                let text = match key {
                    KeyKind::Email => self.email.as_deref().and_then(|email| address(email, rules.provider_rules)),
                    KeyKind::Phone => self.phone.as_deref().and_then(|number| phone::compared(number, region)),
                    KeyKind::NameCompany => self.name_and_company(),
                    KeyKind::ExternalId => rule.field.as_deref().and_then(|field| self.external_id(field)),
                };
                also(&kind, text);
            }
        }
        keys
    }

    fn name_and_company(&self) -> Option<String> {
        let name = match &self.name {
            Some(name) => folded(name),
            None => {
                let parts: Vec<&str> =
                    [&self.first_name, &self.last_name].into_iter().flatten().map(|n| &**n).collect();
                folded(&parts.join(" "))
            }
        };
        let company = folded(self.company.as_deref()?);
        (!name.is_empty() && !company.is_empty()).then(|| format!("{name}\n{company}"))
    }

    fn external_id(&self, field: &str) -> Option<String> {
        let value = [&self.custom_fields, &self.source_metadata].into_iter().find_map(|fields| fields.get(field));
        match value? {
            Value::String(text) => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// An address as it is compared; none, if it is no address.
fn address(email: &str, provider_rules: bool) -> Option<String> {
    let email = email.trim().to_lowercase();
    let (name, domain) = email.rsplit_once('@')?;
    if name.is_empty() || domain.is_empty() {
        return None;
    }
    if provider_rules {
        let plain = name.split('+').next().unwrap_or(name);
        if DOTLESS.contains(&domain) {
            return Some(format!("{}@{}", plain.replace('.', ""), DOTLESS[0]));
        }
        if PLUS.contains(&domain) {
            return Some(format!("{plain}@{domain}"));
        }
    }
    Some(email)
}

/// Without case, accents and what is between words. Letters that are no letter with a mark (ø, ł) stay what they are, and
/// so does a company's form: whether "Acme" and "Acme GmbH" are one, no rule here knows.
fn folded(text: &str) -> String {
    let plain: String = text.nfkd().filter(|c| !is_combining_mark(*c)).collect();
    let plain = plain.to_lowercase().replace('ß', "ss");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duplicates::{MatchAction, MatchRule};

    fn row() -> Matched {
        let text = |text: &str| Some(text.to_owned());
        Matched {
            id: Uuid::nil(),
            source_type: "csv".to_owned(),
            source_id: "1".to_owned(),
            deleted: false,
            name: None,
            first_name: text("  Änne "),
            last_name: text("Strauß"),
            email: text(" Anne@Example.com "),
            phone: text("+49 30 1234567"),
            company: text("ACME\u{a0} GmbH"),
            source_metadata: serde_json::json!({"Erp__c": " A-1 ", "Other": 7}),
            custom_fields: serde_json::json!({"Other": 8.0}),
        }
    }

    #[test]
    fn a_row_has_the_keys_that_rules_ask_for() {
        let keys = |row: &Matched, rules: &MatchRules| -> Vec<String> {
            row.keys(rules).into_iter().map(|(kind, text)| format!("{kind}={text}")).collect()
        };
        let usual = ["email=anne@example.com", "name_company=anne strauss\nacme gmbh", "phone=49301234567"];
        assert_eq!(keys(&row(), &MatchRules::default()), usual);
        assert_eq!(keys(&Matched { deleted: true, ..row() }, &MatchRules::default()), [""; 0]);
        let none = Matched { email: Some("none".into()), phone: Some("12".into()), company: None, ..row() };
        assert_eq!(keys(&none, &MatchRules::default()), [""; 0]);
        let by = |field: &str| MatchRules {
            rules: vec![MatchRule {
                name: "x".into(),
                keys: vec![KeyKind::ExternalId],
                field: Some(field.into()),
                action: MatchAction::Show,
            }],
            ..MatchRules::default()
        };
        assert_eq!(keys(&row(), &by("Erp__c")), ["external_id:Erp__c=A-1"]);
        assert_eq!(keys(&row(), &by("Other")), ["external_id:Other=8.0"], "the business's own before the source's");
        assert_eq!(keys(&row(), &by("None")), [""; 0]);
    }

    #[test]
    fn a_provider_has_its_own_rules_where_that_is_asked_for() {
        assert_eq!(address("A.d.a+x@GMail.com", false).as_deref(), Some("a.d.a+x@gmail.com"));
        assert_eq!(address("A.d.a+x@googlemail.com", true).as_deref(), Some("ada@gmail.com"));
        assert_eq!(address("a.b+x@outlook.com", true).as_deref(), Some("a.b@outlook.com"));
        assert_eq!(address("a.b+x@example.com", true).as_deref(), Some("a.b+x@example.com"));
        assert_eq!(address("@example.com", true), None);
    }
}
