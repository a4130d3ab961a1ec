//! `/api/duplicates`: two rows that may be one person, and what is decided about them.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tieline_store::duplicates::{
    Decision, Duplicate, DuplicateFilter, DuplicatePair, DuplicateState, FIELDS, Side, Subject,
};
use tieline_store::{Role, SourceType, Uuid};
use utoipa::{IntoParams, ToSchema};

use crate::caller::Caller;
use crate::extract::{Body, Path, Query};
use crate::lists::Place;
use crate::problem::Problem;
use crate::service::Service;

/// How a pair stands.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DuplicateState)]
pub(crate) enum StateName {
    /// Nobody has decided.
    Open,
    /// They are two.
    Dismissed,
    /// They are one.
    Merged,
}

impl From<StateName> for DuplicateState {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Open => DuplicateState::Open,
            StateName::Dismissed => DuplicateState::Dismissed,
            StateName::Merged => DuplicateState::Merged,
        }
    }
}

impl From<DuplicateState> for StateName {
    fn from(state: DuplicateState) -> Self {
        match state {
            DuplicateState::Open => StateName::Open,
            DuplicateState::Dismissed => StateName::Dismissed,
            DuplicateState::Merged => StateName::Merged,
        }
    }
}

/// What a pair is of.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DuplicateKind)]
pub(crate) enum KindName {
    /// Two contacts.
    Contact,
    /// Two leads.
    Lead,
}

/// Two rows that may be one person.
#[derive(Serialize, ToSchema)]
#[schema(as = Duplicate)]
pub(crate) struct DuplicateView {
    /// UUID.
    id: Uuid,
    /// Two contacts or two leads.
    kind: KindName,
    /// Their ids.
    #[schema(min_items = 2, max_items = 2)]
    rows: Vec<Uuid>,
    /// The rule that has found them; `salesforce` where the org has merged them itself, `contacts` where leads followed.
    rule: String,
    /// By what they agree: `email`, `phone`, `name_company`, `external_id:` with its field.
    agreed: Vec<String>,
    /// How it stands.
    state: StateName,
    /// Of a merge: the row that stayed.
    kept_id: Option<Uuid>,
    /// Of a merge: the row that went into it.
    merged_id: Option<Uuid>,
    /// Of a merge: the fields that are the latter's.
    fields: Vec<String>,
    /// Of two leads: the merge of their contacts, which they followed.
    cause: Option<Uuid>,
    /// Who decided: `user …`, `api_key …`, `rule:…`, `salesforce`, `system`.
    decided_by: Option<String>,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    decided_at: Option<Timestamp>,
    /// When it was found.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Duplicate> for DuplicateView {
    fn from(pair: Duplicate) -> Self {
        Self {
            id: pair.id,
            kind: match pair.subject {
                Subject::Contact => KindName::Contact,
                Subject::Lead => KindName::Lead,
            },
            rows: pair.rows.to_vec(),
            rule: pair.rule,
            agreed: pair.agreed,
            state: pair.state.into(),
            kept_id: pair.kept_id,
            merged_id: pair.merged_id,
            fields: pair.fields,
            cause: pair.cause,
            decided_by: pair.decided_by,
            decided_at: pair.decided_at,
            created_at: pair.created_at,
        }
    }
}

/// A page of pairs.
#[derive(Serialize, ToSchema)]
pub(crate) struct DuplicatePage {
    /// Newest first.
    items: Vec<DuplicateView>,
    /// Where the next page begins; none: this was the last.
    next: Option<String>,
}

/// One of the two rows, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = DuplicateSide)]
pub(crate) struct SideView {
    /// UUID.
    id: Uuid,
    /// Where it comes from.
    integration_id: Option<Uuid>,
    /// `salesforce`, `hubspot`, `csv` or `manual`.
    #[schema(value_type = String, example = "salesforce")]
    source_type: SourceType,
    /// The source's id.
    source_id: String,
    /// Given name.
    first_name: Option<String>,
    /// Family name.
    last_name: Option<String>,
    /// Full name.
    name: Option<String>,
    /// E-mail address.
    email: Option<String>,
    /// Phone number.
    phone: Option<String>,
    /// Name of the company.
    company: Option<String>,
    /// Job title.
    title: Option<String>,
    /// The row that it has become a part of.
    merged_into: Option<Uuid>,
    /// When this version came.
    #[schema(value_type = String, format = DateTime)]
    last_synced_at: Timestamp,
    /// When it came first.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Side> for SideView {
    fn from(side: Side) -> Self {
        let [first_name, last_name, name, email, phone, company, title] = side.fields;
        Self {
            id: side.id,
            integration_id: side.integration_id,
            source_type: side.source_type,
            source_id: side.source_id,
            first_name,
            last_name,
            name,
            email,
            phone,
            company,
            title,
            merged_into: side.merged_into,
            last_synced_at: side.last_synced_at,
            created_at: side.created_at,
        }
    }
}

/// A pair with both rows.
#[derive(Serialize, ToSchema)]
#[schema(as = DuplicatePair)]
pub(crate) struct PairView {
    /// The pair.
    duplicate: DuplicateView,
    /// Both rows, in the order of `rows`.
    #[schema(min_items = 2, max_items = 2)]
    sides: Vec<SideView>,
    /// The fields in which they differ.
    differing: Vec<&'static str>,
}

impl From<DuplicatePair> for PairView {
    fn from(pair: DuplicatePair) -> Self {
        Self {
            duplicate: pair.duplicate.into(),
            sides: pair.sides.into_iter().map(SideView::from).collect(),
            differing: pair.differing,
        }
    }
}

/// Which pairs.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// That stand so.
    state: Option<StateName>,
    /// That the rule of this name has found.
    #[param(max_length = 40)]
    rule: Option<String>,
    /// `next` of the page before.
    #[param(max_length = 200)]
    cursor: Option<String>,
    /// Pairs of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// Of which row a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FieldOf {
    /// Of the row that stays.
    Keep,
    /// Of the other.
    Other,
}

/// Whose fields are shown; what is left out is of the row that stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MergedFields {
    first_name: Option<FieldOf>,
    last_name: Option<FieldOf>,
    name: Option<FieldOf>,
    email: Option<FieldOf>,
    phone: Option<FieldOf>,
    company: Option<FieldOf>,
    title: Option<FieldOf>,
}

impl MergedFields {
    fn of_the_other(self) -> BTreeSet<String> {
        let chosen = [self.first_name, self.last_name, self.name, self.email, self.phone, self.company, self.title];
        let named = FIELDS.into_iter().zip(chosen).filter(|(_, of)| *of == Some(FieldOf::Other));
        named.map(|(name, _)| name.to_owned()).collect()
    }
}

/// A merge.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToMerge {
    /// The row that stays: one of `rows`.
    keep: Uuid,
    /// Whose fields are shown.
    #[serde(default)]
    fields: MergedFields,
}

impl ToMerge {
    /// `keep` stays, and is shown with these fields of the other row; a name that is no field's says nothing.
    pub(crate) fn of<'n>(keep: Uuid, of_the_other: impl Iterator<Item = &'n str>) -> Self {
        let mut fields = MergedFields::default();
        for name in of_the_other {
            let field = match name {
                "first_name" => &mut fields.first_name,
                "last_name" => &mut fields.last_name,
                "name" => &mut fields.name,
                "email" => &mut fields.email,
                "phone" => &mut fields.phone,
                "company" => &mut fields.company,
                "title" => &mut fields.title,
                _ => continue,
            };
            *field = Some(FieldOf::Other);
        }
        Self { keep, fields }
    }
}

fn decided(decision: Decision) -> Result<Json<DuplicateView>, Problem> {
    match decision {
        Decision::Done(pair) => Ok(Json((*pair).into())),
        Decision::NotFound => Err(Problem::not_found("duplicate")),
        Decision::Decided(state) => Err(Problem::conflict(
            "decided",
            format!("the pair is {}", state.name()),
            "read it again; a decision can be taken back",
        )),
        Decision::NotOfPair => {
            Err(Problem::invalid("`keep` is none of the two rows", "name one of `rows` of the pair"))
        }
        Decision::Gone => Err(Problem::conflict(
            "gone",
            "one of the two rows was deleted, or both are parts of one row already",
            "read the list again",
        )),
        Decision::Moved => Err(Problem::conflict(
            "moved",
            "the rows were merged further since, or one of them was deleted",
            "take the later merge back first",
        )),
    }
}

/// The duplicates of the business
#[utoipa::path(get, path = "/api/duplicates", tag = "duplicates", params(Which), responses(
    (status = 200, description = "A page", body = DuplicatePage),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn duplicates(caller: Caller, Query(which): Query<Which>) -> Result<Json<DuplicatePage>, Problem> {
    if which.rule.as_ref().is_some_and(|rule| rule.chars().count() > 40) {
        return Err(Problem::invalid("rule is too long", "name a rule as GET /api/match-rules does"));
    }
    let place = Place { cursor: which.cursor, limit: which.limit };
    let filter = DuplicateFilter { state: which.state.map(DuplicateState::from), rule: which.rule.as_deref() };
    let page = caller.tenant.duplicates(&filter, place.cursor()?, place.limit()?).await?;
    let items = page.items.into_iter().map(DuplicateView::from).collect();
    Ok(Json(DuplicatePage { items, next: page.next.map(|cursor| cursor.to_string()) }))
}

/// One pair, both rows side by side
#[utoipa::path(get, path = "/api/duplicates/{id}", tag = "duplicates", params(("id" = Uuid, Path, description = "The pair")), responses(
    (status = 200, description = "It", body = PairView),
    (status = "4XX", description = "There is none", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn duplicate(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<PairView>, Problem> {
    let pair = caller.tenant.duplicate(id).await?.ok_or_else(|| Problem::not_found("duplicate"))?;
    Ok(Json(pair.into()))
}

/// Say that they are two
///
/// The pair does not come back, unless the two come to agree in something else.
#[utoipa::path(post, path = "/api/duplicates/{id}/dismiss", tag = "duplicates", params(("id" = Uuid, Path, description = "The pair")), responses(
    (status = 200, description = "It is dismissed, or was before", body = DuplicateView),
    (status = "4XX", description = "Nothing is decided", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn dismiss_duplicate(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<DuplicateView>, Problem> {
    caller.at_least(Role::Member)?;
    decided(caller.tenant.dismiss_duplicate(id, service.now()).await?)
}

/// Make them one
///
/// Here alone: the org is told nothing. Both rows go on with what their sources say; the one that stays is shown with the
/// chosen fields of the other, which is found by no list any more. Leads of two contacts follow them.
#[utoipa::path(post, path = "/api/duplicates/{id}/merge", tag = "duplicates", request_body = ToMerge, params(("id" = Uuid, Path, description = "The pair")), responses(
    (status = 200, description = "They are one", body = DuplicateView),
    (status = "4XX", description = "Nothing is decided", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn merge_duplicate(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(merge): Body<ToMerge>,
) -> Result<Json<DuplicateView>, Problem> {
    caller.at_least(Role::Member)?;
    let fields = merge.fields.of_the_other();
    decided(caller.tenant.merge_duplicate(id, merge.keep, &fields, service.now()).await?)
}

/// Take the decision back
///
/// A merge, as long as neither row was merged further; or that they are two.
#[utoipa::path(post, path = "/api/duplicates/{id}/undo", tag = "duplicates", params(("id" = Uuid, Path, description = "The pair")), responses(
    (status = 200, description = "It is taken back", body = DuplicateView),
    (status = "4XX", description = "It stands", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "The service failed", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn undo_duplicate(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<DuplicateView>, Problem> {
    caller.at_least(Role::Member)?;
    decided(caller.tenant.undo_duplicate(id, service.now()).await?)
}
