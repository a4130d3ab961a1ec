//! SOSL: [`sosl`] reads the statement, [`terms`] what is looked for, and the SOQL planner does the rest.

mod sosl;
mod terms;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

pub(crate) use sosl::parse;

use crate::api_error::ApiError;
use crate::schema::{Field, FieldKind, SObject};
use crate::soql::plan::{Context, Shape, plan_in};
use crate::soql::{self, field_sql, run};

/// A search as either resource asks for it.
#[derive(Debug)]
pub(crate) struct Search {
    /// As written, with escapes.
    pub(crate) terms: String,
    pub(crate) group: Group,
    /// Empty: the ids of all objects that are searched.
    pub(crate) returning: Vec<Returning>,
    pub(crate) limit: usize,
}

#[derive(Debug)]
pub(crate) struct Returning {
    pub(crate) object: String,
    pub(crate) fields: String,
    /// From WHERE to OFFSET, as in SOQL.
    pub(crate) clauses: String,
}

/// Which fields are searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Group {
    All,
    Name,
    Email,
    Phone,
}

impl Group {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            // The sidebar's fields are a selection of all; which, is not documented for every object.
            "ALL" | "SIDEBAR" => Group::All,
            "NAME" => Group::Name,
            "EMAIL" => Group::Email,
            "PHONE" => Group::Phone,
            _ => return None,
        })
    }

    fn holds(self, field: &Field) -> bool {
        let FieldKind::Text { type_name, .. } = &field.kind else {
            return self == Group::All && matches!(field.kind, FieldKind::Picklist { type_name: "combobox", .. });
        };
        match self {
            Group::All => true,
            Group::Name => field.name_field || field.compound.as_deref() == Some("Name"),
            Group::Email => *type_name == "email",
            Group::Phone => *type_name == "phone",
        }
    }
}

fn malformed(text: String) -> ApiError {
    ApiError::bad("MALFORMED_SEARCH", text)
}

/// The function that looks into a row's fields.
pub(crate) fn register(db: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_UTF8;
    db.create_scalar_function("sosl_find", -1, flags, |context| {
        let terms = context.get_or_create_aux(0, |value| -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
            terms::parse(value.as_str()?).map_err(|error| error.message.into())
        })?;
        let fields: Vec<Vec<String>> =
            (1..context.len()).filter_map(|n| context.get_raw(n).as_str().ok()).map(terms::split).collect();
        Ok(terms.meets(&fields))
    })
}

/// Finds the records and writes them as JSON, comma separated.
pub(crate) fn find(
    db: &Connection,
    context: &Context<'_>,
    search: &Search,
    version: &str,
) -> Result<Vec<u8>, ApiError> {
    let everything: Vec<Returning>;
    let returning = if search.returning.is_empty() {
        let of = |o: &SObject| Returning { object: o.name.clone(), fields: "Id".to_owned(), clauses: String::new() };
        everything = context.schema.objects().filter(|o| o.searchable()).map(of).collect();
        &everything
    } else {
        &search.returning
    };
    let mut left = search.limit;
    let mut out = Vec::new();
    for wanted in returning {
        let soql = format!("SELECT {} FROM {} {}", wanted.fields, wanted.object, wanted.clauses);
        let context = Context { soql: &soql, deleted_too: false, ..*context };
        let plan = soql::parse::parse(&soql).and_then(|query| plan_in(&context, &query)).map_err(as_search)?;
        let Some(object) = context.schema.object(&plan.object) else { continue };
        if !object.searchable() {
            // In the words of the query API; unverified.
            let text = format!("entity type {} does not support search", object.name);
            return Err(ApiError::bad("INVALID_TYPE_FOR_OPERATION", text));
        }
        if plan.shape != Shape::Rows {
            return Err(malformed("aggregates are not allowed in a search".to_owned()));
        }
        let fields: Vec<String> =
            object.columns().filter(|f| search.group.holds(f)).map(|f| field_sql("t0", object, f)).collect();
        if fields.is_empty() {
            continue;
        }
        let condition = format!("sosl_find(?, {})", fields.join(", "));
        let mut rows = run::rows(db, &plan, &condition, Some(&search.terms))?;
        rows.truncate(left);
        left -= rows.len();
        let records = run::records(db, &plan, &rows, version)?;
        if !out.is_empty() && !records.is_empty() {
            out.push(b',');
        }
        out.extend(records);
    }
    Ok(out)
}

fn as_search(mut error: ApiError) -> ApiError {
    if error.code == "MALFORMED_QUERY" {
        error.code = "MALFORMED_SEARCH";
    }
    error
}
