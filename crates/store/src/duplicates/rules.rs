//! Who is matched: an ordered list of rules, each a set of keys that must all agree.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::phone;
use crate::audit::Action;
use crate::error::StoreError;
use crate::open::Tenant;
use crate::personal_data::hold_alone;
use crate::sql::Row;

/// Rules of one business.
pub const MOST_RULES: usize = 20;
/// Characters of a rule's name, and of a field's.
pub const LONGEST_NAME: usize = 40;

/// A key that two rows may have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// E-mail address, in whatever case.
    Email,
    /// Telephone number, in whatever form.
    Phone,
    /// Name and company, in whatever case and with or without accents.
    NameCompany,
    /// A field of the source's or the business's own, as it is.
    ExternalId,
}

impl KeyKind {
    /// All of them.
    pub const ALL: [KeyKind; 4] = [KeyKind::Email, KeyKind::Phone, KeyKind::NameCompany, KeyKind::ExternalId];

    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            KeyKind::Email => "email",
            KeyKind::Phone => "phone",
            KeyKind::NameCompany => "name_company",
            KeyKind::ExternalId => "external_id",
        }
    }
}

/// What is done with a pair that a rule finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatchAction {
    /// It is shown, and somebody decides.
    #[default]
    Show,
    /// It is merged: the older row stays, and what it lacks is the other's.
    Merge,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchRule {
    /// What people call it.
    pub name: String,
    /// The keys that must all agree.
    pub keys: Vec<KeyKind>,
    /// Of `external_id`: the field's name in `custom_fields` or `source_metadata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is done.
    #[serde(default)]
    pub action: MatchAction,
}

impl MatchRule {
    /// The kinds of its keys as rows have them: that of an external id says of which field.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let of = |key: &KeyKind| match (key, &self.field) {
            (KeyKind::ExternalId, Some(field)) => format!("{}:{field}", key.name()),
            _ => key.name().to_owned(),
        };
        self.keys.iter().map(of).collect()
    }
}

/// How the rows of a business are matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MatchRules {
    /// The first that fits counts.
    pub rules: Vec<MatchRule>,
    /// The region whose numbers are written without a country, as ISO 3166 has it: `DE`. None: such numbers are
    /// compared as they are.
    pub default_region: Option<String>,
    /// Whether dots and what follows a plus are nothing in addresses of providers that say so themselves.
    pub provider_rules: bool,
}

impl Default for MatchRules {
    /// E-mail, phone, name and company: each shows.
    fn default() -> Self {
        let rule = |name: &str, key| MatchRule {
            name: name.to_owned(),
            keys: vec![key],
            field: None,
            action: MatchAction::Show,
        };
        let rules = vec![
            rule("email", KeyKind::Email),
            rule("phone", KeyKind::Phone),
            rule("name_company", KeyKind::NameCompany),
        ];
        Self { rules, default_region: None, provider_rules: false }
    }
}

/// Why rules cannot be so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// Too many.
    #[error("{0} rules were sent, and a business has {MOST_RULES} at most")]
    Many(usize),
    /// A name that is none.
    #[error("`{0}` cannot name a rule: a name has 1 to {LONGEST_NAME} of a-z, 0-9, _ and -")]
    Name(String),
    /// The name of merges that the org has made.
    #[error("`salesforce` names what the org has merged itself")]
    Reserved,
    /// Two of one name.
    #[error("there are two rules `{0}`")]
    Twice(String),
    /// No keys, or one of them twice.
    #[error("the rule `{0}` has no keys, or one of them twice")]
    Keys(String),
    /// A field without its key, or a key without its field.
    #[error(
        "the rule `{0}` names a field without the key `external_id`, or has the key without a field of 1 to {LONGEST_NAME} characters"
    )]
    Field(String),
    /// A region that is not known.
    #[error("`{0}` is no region whose telephone numbers are known here")]
    Region(String),
}

impl RulesError {
    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            RulesError::Region(_) => format!("one of {}", phone::regions().collect::<Vec<_>>().join(", ")),
            RulesError::Field(_) => "name the field as custom_fields or source_metadata has it".to_owned(),
            RulesError::Keys(_) => "one to four of email, phone, name_company, external_id".to_owned(),
            _ => "name it otherwise, or send fewer".to_owned(),
        }
    }
}

impl MatchRules {
    /// Whether they can be so.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), RulesError> {
        if self.rules.len() > MOST_RULES {
            return Err(RulesError::Many(self.rules.len()));
        }
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-');
        let mut names = std::collections::HashSet::new();
        for rule in &self.rules {
            if rule.name.is_empty() || rule.name.len() > LONGEST_NAME || !rule.name.bytes().all(plain) {
                return Err(RulesError::Name(rule.name.clone()));
            }
            if rule.name == "salesforce" {
                return Err(RulesError::Reserved);
            }
            if !names.insert(&rule.name) {
                return Err(RulesError::Twice(rule.name.clone()));
            }
            let keys: std::collections::HashSet<KeyKind> = rule.keys.iter().copied().collect();
            if keys.is_empty() || keys.len() < rule.keys.len() {
                return Err(RulesError::Keys(rule.name.clone()));
            }
            let named = rule.field.as_ref().is_some_and(|field| {
                !field.trim().is_empty() && field.chars().count() <= LONGEST_NAME && !field.contains(char::is_control)
            });
            if keys.contains(&KeyKind::ExternalId) != named || rule.field.is_some() != named {
                return Err(RulesError::Field(rule.name.clone()));
            }
        }
        match &self.default_region {
            Some(region) if phone::region(region).is_none() => Err(RulesError::Region(region.clone())),
            _ => Ok(()),
        }
    }

    pub(crate) fn merging(&self) -> Vec<String> {
        let merging = self.rules.iter().filter(|rule| rule.action == MatchAction::Merge);
        merging.map(|rule| rule.name.clone()).collect()
    }
}

impl Tenant {
    /// How the business's rows are matched.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn match_rules(&self) -> Result<MatchRules, StoreError> {
        let mut tx = self.read("reading the match rules").await?;
        let row = tx.query("SELECT * FROM match_rules WHERE business_id = $1").bind(self.business()).optional().await?;
        row.as_ref().map_or_else(|| Ok(MatchRules::default()), rules)
    }

    /// Changes how. All rows are looked at anew, by the next passes. Whoever calls has [checked](MatchRules::check) them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_match_rules(&self, to: &MatchRules, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("changing the match rules").await?;
        // A pass that is under way goes by the rules before, and would say that it is done with these.
        hold_alone(&mut tx, self.business()).await?;
        tx.query(
            "INSERT INTO match_rules (business_id, rules, default_region, provider_rules, rescan, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (business_id) DO UPDATE SET rules = excluded.rules,
             default_region = excluded.default_region, provider_rules = excluded.provider_rules,
             rescan = excluded.rescan, updated_at = excluded.updated_at",
        )
        .bind(self.business())
        .bind(json!(to.rules))
        .bind(&to.default_region)
        .bind(to.provider_rules)
        .bind(json!({"contact": ["", ""], "lead": ["", ""]}))
        .bind(now)
        .execute()
        .await?;
        self.note(&mut tx, Action::MatchRulesChanged, None, json!(to), now).await?;
        tx.commit().await
    }
}

pub(super) fn rules(row: &Row) -> Result<MatchRules, StoreError> {
    Ok(MatchRules {
        // A newer program may know more kinds of keys: then nothing is matched by its rules here.
        rules: serde_json::from_value(row.get("rules")?).unwrap_or_default(),
        default_region: row.find("default_region")?,
        provider_rules: row.get("provider_rules")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_checked_and_the_defaults_merge_nothing() {
        let usual = MatchRules::default();
        assert_eq!((usual.check(), usual.merging()), (Ok(()), vec![]));
        let with = |change: fn(&mut MatchRules)| {
            let mut rules = MatchRules::default();
            change(&mut rules);
            rules.check()
        };
        assert_eq!(with(|r| r.rules[0].name = "Bad name".into()), Err(RulesError::Name("Bad name".into())));
        assert_eq!(with(|r| r.rules[0].name = "salesforce".into()), Err(RulesError::Reserved));
        assert_eq!(with(|r| r.rules[0].name = "phone".into()), Err(RulesError::Twice("phone".into())));
        assert_eq!(with(|r| r.rules[0].keys.clear()), Err(RulesError::Keys("email".into())));
        assert_eq!(with(|r| r.rules[0].keys.push(KeyKind::Email)), Err(RulesError::Keys("email".into())));
        assert_eq!(with(|r| r.rules[0].field = Some("X".into())), Err(RulesError::Field("email".into())));
        assert_eq!(with(|r| r.rules[0].keys = vec![KeyKind::ExternalId]), Err(RulesError::Field("email".into())));
        assert_eq!(with(|r| r.default_region = Some("XX".into())), Err(RulesError::Region("XX".into())));
        assert_eq!(with(|r| r.rules = vec![r.rules[0].clone(); 21]), Err(RulesError::Many(21)));
        assert_eq!(with(|r| r.default_region = Some("DE".into())), Ok(()));
    }
}
