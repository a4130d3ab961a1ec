//! Who is taken for one person: the rules, one after the other, in a form that works without script.
//!
//! Adding, moving and taking out sends what has been typed and shows it again, changed; nothing is saved before the button that
//! says so.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use tieline_store::duplicates::{KeyKind, MatchAction, MatchRule, MatchRules};

use super::Failed;
use super::frame::{Frame, Place};
use super::visit::{Sent, Visit, done};
use crate::duplicates::rules;
use crate::extract::Body;
use crate::problem::Problem;

/// A key that two rows may have in common, and what is compared.
const KEYS: [(KeyKind, &str, &str); 4] = [
    (KeyKind::Email, "E-mail", "in whatever case"),
    (KeyKind::Phone, "Phone", "the same number, however it is written"),
    (KeyKind::NameCompany, "Name and company", "both, without case and accents"),
    (KeyKind::ExternalId, "A field of yours", "as it is: the number of a customer, for one"),
];

/// What the form sends: of each rule a name, a field and an action; keys say by a number of which rule they are.
#[derive(Default, Deserialize)]
pub(crate) struct Typed {
    #[serde(default)]
    name: Vec<String>,
    #[serde(default)]
    field: Vec<String>,
    #[serde(default)]
    action: Vec<String>,
    /// `0 email`, …
    #[serde(default)]
    key: Vec<String>,
    #[serde(default)]
    region: String,
    #[serde(default)]
    provider: String,
    /// `save`, `add`, `up 2`, `out 2`.
    #[serde(default)]
    go: String,
}

impl Typed {
    fn rules(&self) -> MatchRules {
        let text = |list: &[String], n: usize| list.get(n).map(|text| text.trim().to_owned()).unwrap_or_default();
        let rule = |n: usize| MatchRule {
            name: text(&self.name, n),
            keys: KeyKind::ALL.into_iter().filter(|kind| self.key.contains(&key(n, *kind))).collect(),
            field: Some(text(&self.field, n)).filter(|field| !field.is_empty()),
            action: if text(&self.action, n) == "merge" { MatchAction::Merge } else { MatchAction::Show },
        };
        MatchRules {
            rules: (0..self.name.len()).map(rule).collect(),
            default_region: Some(self.region.trim().to_uppercase()).filter(|region| !region.is_empty()),
            provider_rules: !self.provider.is_empty(),
        }
    }
}

fn key(n: usize, kind: KeyKind) -> String {
    format!("{n} {}", kind.name())
}

#[derive(Template)]
#[template(path = "duplicate_rules.html")]
struct Page {
    frame: Frame,
    rules: MatchRules,
    problem: Option<Problem>,
}

impl Page {
    /// The keys of a rule: what the form sends of it, words, and whether it is one.
    fn keys(&self, n: &usize, rule: &MatchRule) -> Vec<(String, &'static str, &'static str, bool)> {
        let of = |(kind, words, more): (KeyKind, _, _)| (key(*n, kind), words, more, rule.keys.contains(&kind));
        KEYS.into_iter().map(of).collect()
    }

    /// What a rule says, for whoever may only read it.
    fn says(&self, rule: &MatchRule) -> String {
        let words = rule.keys.iter().filter_map(|kind| KEYS.into_iter().find(|(of, ..)| of == kind));
        let words = words.map(|(kind, words, _)| match (&rule.field, kind) {
            (Some(field), KeyKind::ExternalId) => field.clone(),
            _ => words.to_lowercase(),
        });
        words.collect::<Vec<_>>().join(" and ")
    }

    fn merges(&self, rule: &MatchRule) -> bool {
        rule.action == MatchAction::Merge
    }
}

/// The page.
pub(crate) async fn rules(visit: Visit) -> Result<Response, Failed> {
    let rules = visit.caller.tenant.match_rules().await?;
    shown(&visit, rules, None).await
}

async fn shown(visit: &Visit, rules: MatchRules, problem: Option<Problem>) -> Result<Response, Failed> {
    let status = problem.as_ref().map_or(axum::http::StatusCode::OK, Problem::status);
    let page = Page { frame: visit.frame(Place::Duplicates, "Rules for duplicates").await?, rules, problem };
    Ok((status, Html(page.render()?)).into_response())
}

/// Changes what has been typed, or saves it.
pub(crate) async fn sent(sent: Sent<Typed>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let mut typed = form.rules();
    let (act, n) = form.go.split_once(' ').unwrap_or((&form.go, ""));
    let n = n.parse::<usize>().unwrap_or(usize::MAX);
    match act {
        "add" => typed.rules.push(MatchRule {
            name: String::new(),
            keys: Vec::new(),
            field: None,
            action: MatchAction::Show,
        }),
        "up" if (1..typed.rules.len()).contains(&n) => typed.rules.swap(n - 1, n),
        "out" if n < typed.rules.len() => drop(typed.rules.remove(n)),
        _ => {
            let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
            let body = Body(typed.clone().into());
            return match rules::change_match_rules(service, caller, body).await {
                Ok(_) => Ok(done("/duplicates/rules", "rules_saved")),
                Err(problem) => shown(&visit, typed, Some(problem)).await,
            };
        }
    }
    shown(&visit, typed, None).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_the_rules() {
        let text = |text: &str| text.to_owned();
        let typed = Typed {
            name: vec![text(" mail "), text("erp")],
            field: vec![text(""), text("Erp__c")],
            action: vec![text("show"), text("merge")],
            key: vec![text("1 external_id"), text("0 email"), text("0 phone"), text("7 email")],
            region: text("de"),
            ..Typed::default()
        };
        let rule = |name: &str, keys: &[KeyKind], field: Option<&str>, action| MatchRule {
            name: text(name),
            keys: keys.to_vec(),
            field: field.map(text),
            action,
        };
        let expected = MatchRules {
            rules: vec![
                rule("mail", &[KeyKind::Email, KeyKind::Phone], None, MatchAction::Show),
                rule("erp", &[KeyKind::ExternalId], Some("Erp__c"), MatchAction::Merge),
            ],
            default_region: Some(text("DE")),
            provider_rules: false,
        };
        assert_eq!(typed.rules(), expected);
    }
}
