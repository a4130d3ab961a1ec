//! `search` and `parameterizedSearch`.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use url::form_urlencoded;

use super::{Call, json_response};
use crate::Shared;
use crate::api_error::ApiError;
use crate::search::{self, Group, Returning, Search};
use crate::soql::plan::Context;

/// Since this version the records stand in an object.
const WRAPPED_SINCE: u32 = 37;

pub(super) async fn search(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let sosl = pairs(query.as_deref()).into_iter().find(|(k, _)| k == "q").map(|(_, v)| v).unwrap_or_default();
            answer(call, &search::parse(&sosl)?)
        })
        .await
}

pub(super) async fn by_parameters(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let search = of_pairs(&pairs(query.as_deref()))?;
            answer(call, &search)
        })
        .await
}

pub(super) async fn by_body(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            if body.is_empty() {
                let text = "The HTTP entity body is required, but this request has no entity body.";
                return Err(ApiError::bad("JSON_PARSER_ERROR", text));
            }
            let body: Value = serde_json::from_slice(&body).map_err(|e| {
                let text = format!("Unexpected character: {e} at [line:{}, column:{}]", e.line(), e.column());
                ApiError::bad("JSON_PARSER_ERROR", text)
            })?;
            let search = of_body(&body)?;
            answer(call, &search)
        })
        .await
}

fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    form_urlencoded::parse(query.unwrap_or("").as_bytes()).into_owned().collect()
}

fn answer(call: &mut Call<'_>, search: &Search) -> Result<Response, ApiError> {
    let version = call.version.split('.').next().and_then(|v| v.parse().ok()).unwrap_or(0);
    let context = Context {
        soql: "",
        schema: &call.org.schema,
        now: call.org.now(),
        user_id: &call.user_id,
        version,
        deleted_too: false,
    };
    let records = search::find(&call.org.db, &context, search, &call.version)?;
    let (before, after): (&[u8], &[u8]) =
        if version >= WRAPPED_SINCE { (b"{\"searchRecords\":[", b"]}") } else { (b"[", b"]") };
    Ok(json_response(200, [before, &records, after].concat()))
}

/// One object of a parameterized search.
#[derive(Default)]
struct Wanted {
    object: String,
    fields: Vec<String>,
    condition: String,
    order: String,
    limit: Option<u64>,
}

/// The whole of a parameterized search.
#[derive(Default)]
struct Parameters {
    terms: String,
    group: Option<String>,
    fields: Vec<String>,
    objects: Vec<Wanted>,
    default_limit: Option<u64>,
    overall_limit: Option<u64>,
    offset: Option<u64>,
}

impl Parameters {
    fn search(self) -> Result<Search, ApiError> {
        if self.terms.trim().is_empty() {
            // Unverified.
            return Err(ApiError::bad("MALFORMED_SEARCH", "No search term found."));
        }
        // The braces of FIND are added here, so those in the text are no braces.
        let mut sosl = String::from("FIND {");
        let mut escaped = false;
        for c in self.terms.chars() {
            if matches!(c, '{' | '}') && !escaped {
                sosl.push('\\');
            }
            escaped = c == '\\' && !escaped;
            sosl.push(c);
        }
        sosl.push('}');
        let mut search = search::parse(&sosl)?;
        if let Some(group) = &self.group {
            let text = || ApiError::bad("MALFORMED_SEARCH", format!("unexpected token: '{group}'"));
            search.group = Group::named(group).ok_or_else(text)?;
        }
        search.limit = self.overall_limit.map_or(search.limit, |l| search.limit.min(l as usize));
        if self.objects.is_empty() && !self.fields.is_empty() {
            let text = "the parameter 'fields' needs the parameter 'sobject'";
            return Err(ApiError::bad("MALFORMED_SEARCH", text));
        }
        for wanted in self.objects {
            let mut clauses = Vec::new();
            if !wanted.condition.is_empty() {
                clauses.push(format!("WHERE {}", wanted.condition));
            }
            if !wanted.order.is_empty() {
                clauses.push(format!("ORDER BY {}", wanted.order));
            }
            clauses.extend(wanted.limit.or(self.default_limit).map(|l| format!("LIMIT {l}")));
            clauses.extend(self.offset.map(|o| format!("OFFSET {o}")));
            let fields = if wanted.fields.is_empty() { &self.fields } else { &wanted.fields };
            let fields = if fields.is_empty() { "Id".to_owned() } else { fields.join(", ") };
            search.returning.push(Returning { object: wanted.object, fields, clauses: clauses.join(" ") });
        }
        Ok(search)
    }
}

/// `q=Acme&sobject=Account&Account.fields=Id,Name&Account.limit=10&in=NAME`.
fn of_pairs(pairs: &[(String, String)]) -> Result<Search, ApiError> {
    let list = |text: &str| text.split(',').map(|f| f.trim().to_owned()).collect::<Vec<_>>();
    let mut asked = Parameters::default();
    for (_, objects) in pairs.iter().filter(|(k, _)| k == "sobject") {
        asked.objects.extend(list(objects).into_iter().map(|object| Wanted { object, ..Wanted::default() }));
    }
    for (key, value) in pairs {
        match key.as_str() {
            "q" => asked.terms.clone_from(value),
            "in" => asked.group = Some(value.clone()),
            "fields" => asked.fields = list(value),
            "defaultLimit" => asked.default_limit = value.parse().ok(),
            "overallLimit" => asked.overall_limit = value.parse().ok(),
            "offset" => asked.offset = value.parse().ok(),
            _ => {
                let Some((object, what)) = key.rsplit_once('.') else { continue };
                let found = asked.objects.iter_mut().find(|w| w.object.eq_ignore_ascii_case(object));
                let Some(wanted) = found else { continue };
                match what {
                    "fields" => wanted.fields = list(value),
                    "where" => wanted.condition.clone_from(value),
                    "orderBy" => wanted.order.clone_from(value),
                    "limit" => wanted.limit = value.parse().ok(),
                    _ => {}
                }
            }
        }
    }
    asked.search()
}

/// `{"q": "Acme", "fields": ["Id"], "sobjects": [{"name": "Account", "limit": 10}], "in": "NAME"}`.
fn of_body(body: &Value) -> Result<Search, ApiError> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let list = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    let wanted = |object: &Value| Wanted {
        object: text(&object["name"]),
        fields: list(&object["fields"]),
        condition: text(&object["where"]),
        order: text(&object["orderBy"]),
        limit: object["limit"].as_u64(),
    };
    Parameters {
        terms: text(&body["q"]),
        group: body["in"].as_str().map(str::to_owned),
        fields: list(&body["fields"]),
        objects: body["sobjects"].as_array().into_iter().flatten().map(wanted).collect(),
        default_limit: body["defaultLimit"].as_u64(),
        overall_limit: body["overallLimit"].as_u64(),
        offset: body["offset"].as_u64(),
    }
    .search()
}
