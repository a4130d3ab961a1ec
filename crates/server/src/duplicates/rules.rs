//! `/api/match-rules`: who may be one person.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tieline_store::Role;
use tieline_store::duplicates::{KeyKind, MatchAction, MatchRule, MatchRules};
use utoipa::ToSchema;

use crate::caller::Caller;
use crate::extract::Body;
use crate::problem::Problem;
use crate::service::Service;

/// A key that two rows may have in common.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = MatchKey)]
pub(crate) enum KeyName {
    /// E-mail address, in whatever case.
    Email,
    /// Telephone number, in whatever form.
    Phone,
    /// Name and company, in whatever case and with or without accents.
    NameCompany,
    /// The field that `field` names, in `custom_fields` or `source_metadata`.
    ExternalId,
}

/// What is done with a pair that a rule finds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = MatchAction)]
pub(crate) enum ActionName {
    /// It is shown, and somebody decides.
    #[default]
    Show,
    /// It is merged: the older row stays, and what it lacks is the other's.
    Merge,
}

/// A rule.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MatchRule)]
pub(crate) struct RuleView {
    /// What people call it.
    #[schema(min_length = 1, max_length = 40, pattern = "^[a-z0-9_-]+$", example = "email")]
    name: String,
    /// The keys that must all agree, each once.
    #[schema(min_items = 1, max_items = 4)]
    keys: Vec<KeyName>,
    /// Of `external_id`: the name of its field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 40)]
    field: Option<String>,
    /// What is done; it is shown, unless told otherwise.
    #[serde(default)]
    action: ActionName,
}

/// How the rows of the business are matched.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MatchRules)]
pub(crate) struct RulesView {
    /// The first that fits counts.
    #[schema(max_items = 20)]
    rules: Vec<RuleView>,
    /// The region whose telephone numbers are written without a country: `DE`. None: such numbers are compared as they are.
    #[schema(min_length = 2, max_length = 2)]
    default_region: Option<String>,
    /// Whether dots and what follows a plus are nothing in addresses of providers that say so themselves.
    #[serde(default)]
    provider_rules: bool,
}

impl From<MatchRules> for RulesView {
    fn from(rules: MatchRules) -> Self {
        let key = |key: KeyKind| match key {
            KeyKind::Email => KeyName::Email,
            KeyKind::Phone => KeyName::Phone,
            KeyKind::NameCompany => KeyName::NameCompany,
            KeyKind::ExternalId => KeyName::ExternalId,
        };
        let rule = |rule: MatchRule| RuleView {
            name: rule.name,
            keys: rule.keys.into_iter().map(key).collect(),
            field: rule.field,
            action: match rule.action {
                MatchAction::Show => ActionName::Show,
                MatchAction::Merge => ActionName::Merge,
            },
        };
        Self {
            rules: rules.rules.into_iter().map(rule).collect(),
            default_region: rules.default_region,
            provider_rules: rules.provider_rules,
        }
    }
}

impl From<RulesView> for MatchRules {
    fn from(view: RulesView) -> Self {
        let key = |key: KeyName| match key {
            KeyName::Email => KeyKind::Email,
            KeyName::Phone => KeyKind::Phone,
            KeyName::NameCompany => KeyKind::NameCompany,
            KeyName::ExternalId => KeyKind::ExternalId,
        };
        let rule = |rule: RuleView| MatchRule {
            name: rule.name,
            keys: rule.keys.into_iter().map(key).collect(),
            field: rule.field,
            action: match rule.action {
                ActionName::Show => MatchAction::Show,
                ActionName::Merge => MatchAction::Merge,
            },
        };
        Self {
            rules: view.rules.into_iter().map(rule).collect(),
            default_region: view.default_region,
            provider_rules: view.provider_rules,
        }
    }
}

/// The match rules
#[utoipa::path(get, path = "/api/match-rules", tag = "duplicates", responses(
    (status = 200, description = "All", body = RulesView),
    (status = "4XX", description = "Not for this caller", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn match_rules(caller: Caller) -> Result<Json<RulesView>, Problem> {
    Ok(Json(caller.tenant.match_rules().await?.into()))
}

/// Change the match rules
///
/// All of them. Every contact and lead is looked at anew, behind. What was dismissed stays so; what no rule finds any more
/// is no open pair any more; what was merged stays merged.
#[utoipa::path(put, path = "/api/match-rules", tag = "duplicates", request_body = RulesView, responses(
    (status = 200, description = "They are changed", body = RulesView),
    (status = "4XX", description = "They are not", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn change_match_rules(
    State(service): State<Service>,
    caller: Caller,
    Body(to): Body<RulesView>,
) -> Result<Json<RulesView>, Problem> {
    caller.at_least(Role::Admin)?;
    let to = MatchRules::from(to);
    to.check().map_err(|error| Problem::invalid(error.to_string(), error.hint()))?;
    caller.tenant.set_match_rules(&to, service.now()).await?;
    Ok(Json(to.into()))
}
