//! Paths to fields of the object and of its parents, and the joins that they need.

use super::ast::Name;
use super::plan::{Planner, own_steps};
use super::positioned;
use crate::api_error::ApiError;
use crate::schema::{self, Field, FieldKind, SObject};

/// A parent that is joined in.
pub(super) struct Join {
    /// `.account.owner`
    pub(super) path: String,
    /// The relationship's name as the schema spells it.
    pub(super) key: String,
    /// The object and its table alias; several for a polymorphic relationship.
    pub(super) targets: Vec<(String, String)>,
    pub(super) polymorphic: bool,
    sql: String,
}

/// A field found by its path, as SQL.
pub(super) struct Resolved {
    pub(super) sql: String,
    pub(super) field: Field,
}

/// How many relationships a path may follow, and how many different ones a query may.
const MAX_LEVELS: usize = 5;
const MAX_PARENTS: usize = 55;

/// Fields of `Name`, as which a polymorphic parent is read (Object Reference, Name). `Type` is made up below.
const NAME_FIELDS: [&str; 14] = [
    "Alias",
    "Email",
    "FirstName",
    "Id",
    "IsActive",
    "LastName",
    "Name",
    "Phone",
    "ProfileId",
    "RecordTypeId",
    "Title",
    "UserRoleId",
    "Username",
    "MiddleName",
];

pub(super) fn unknown_object(soql: &str, name: &Name) -> ApiError {
    positioned(
        "INVALID_TYPE",
        soql,
        name.at,
        &format!(
            "sObject type '{}' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names.",
            name.text
        ),
    )
}

impl<'a> Planner<'a> {
    pub(super) fn steps(&self, name: &Name) -> Vec<String> {
        own_steps(&name.text, self.object, &self.aliases)
    }

    pub(super) fn join(&self, path: &str) -> Option<&Join> {
        self.joins.iter().find(|j| j.path == path)
    }

    pub(super) fn joins_sql(&self) -> String {
        self.joins.iter().map(|j| j.sql.as_str()).collect()
    }

    pub(super) fn no_relationship(&self, step: &str, at: usize) -> ApiError {
        let text = format!(
            "Didn't understand relationship '{step}' in field path. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the appropriate names."
        );
        self.error("INVALID_FIELD", at, &text)
    }

    pub(super) fn no_column(&self, column: &str, entity: &str, at: usize) -> ApiError {
        let text = format!(
            "No such column '{column}' on entity '{entity}'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names."
        );
        self.error("INVALID_FIELD", at, &text)
    }

    /// Finds a field by its path and adds the joins it needs.
    pub(super) fn resolve(&mut self, name: &Name) -> Result<Resolved, ApiError> {
        let steps = self.steps(name);
        let (last, parents) = steps.split_last().expect("a path has at least one step");
        let places = self.follow(parents, name.at)?;
        let polymorphic = self.join(&path_of(parents)).is_some_and(|j| j.polymorphic);
        self.field_at(&places, polymorphic, last, name.at)
    }

    /// The objects at the end of a path of relationships, with their table aliases.
    pub(super) fn follow(&mut self, parents: &[String], at: usize) -> Result<Vec<(&'a SObject, String)>, ApiError> {
        if parents.len() > MAX_LEVELS {
            // The bound is documented; the words are unverified.
            let text = format!("a field path follows at most {MAX_LEVELS} relationships");
            return Err(self.malformed(at, &text));
        }
        let schema = self.context.schema;
        let mut places = vec![(self.object, self.table.clone())];
        let mut path = String::new();
        for step in parents {
            path = format!("{path}.{}", step.to_ascii_lowercase());
            if self.join(&path).is_none() {
                self.add_join(&places, step, &path, at)?;
            }
            let Some(join) = self.join(&path) else { return Err(self.no_relationship(step, at)) };
            places = join.targets.iter().filter_map(|(o, table)| Some((schema.object(o)?, table.clone()))).collect();
        }
        Ok(places)
    }

    fn add_join(
        &mut self,
        places: &[(&'a SObject, String)],
        step: &str,
        path: &str,
        at: usize,
    ) -> Result<(), ApiError> {
        let found = places.iter().find_map(|(object, table)| Some((object.relationship(step)?.0, table)));
        let Some((field, table)) = found else { return Err(self.no_relationship(step, at)) };
        let FieldKind::Reference { targets, relationship, .. } = &field.kind else {
            return Err(self.no_relationship(step, at));
        };
        let there: Vec<&SObject> = targets.iter().filter_map(|t| self.context.schema.object(t)).collect();
        // The org lacks what the relationship leads to.
        if there.is_empty() {
            return Err(self.no_relationship(step, at));
        }
        if self.joins.len() >= MAX_PARENTS {
            return Err(self.malformed(at, &format!("a query follows at most {MAX_PARENTS} relationships")));
        }
        let mut join = Join {
            path: path.to_owned(),
            key: relationship.clone().unwrap_or_else(|| step.to_owned()),
            targets: Vec::new(),
            polymorphic: targets.len() > 1,
            sql: String::new(),
        };
        for (n, target) in there.into_iter().enumerate() {
            let next = format!("{}p{}_{n}", self.table, self.joins.len());
            join.sql += &format!(
                " LEFT JOIN \"{}\" {next} ON {next}.\"{}\" = {table}.\"{}\"",
                target.name,
                target.id_field(),
                field.name
            );
            join.targets.push((target.name.clone(), next));
        }
        self.joins.push(join);
        Ok(())
    }

    fn field_at(
        &self,
        places: &[(&'a SObject, String)],
        polymorphic: bool,
        name: &str,
        at: usize,
    ) -> Result<Resolved, ApiError> {
        if !polymorphic {
            let (object, table) = &places[0];
            let field = object.field(name).ok_or_else(|| self.no_column(name, &object.name, at))?;
            return Ok(Resolved { sql: field_sql(table, object, field), field: field.clone() });
        }
        if name.eq_ignore_ascii_case("Type") {
            let cases: String =
                places.iter().map(|(o, table)| format!(" WHEN {table}.\"Id\" IS NOT NULL THEN '{}'", o.name)).collect();
            let field = schema::field("Type | string 40 | - | Type");
            return Ok(Resolved { sql: format!("(CASE{cases} END COLLATE SOQL)"), field });
        }
        if !NAME_FIELDS.iter().any(|f| f.eq_ignore_ascii_case(name)) {
            return Err(self.no_column(name, "Name", at));
        }
        let columns: Vec<(String, &Field)> = places
            .iter()
            .filter_map(|(o, table)| Some((o.field(name)?, table)))
            .filter(|(f, _)| f.is_stored())
            .map(|(f, table)| (format!("{table}.\"{}\"", f.name), f))
            .collect();
        let Some((first, field)) = columns.first() else { return Err(self.no_column(name, "Name", at)) };
        let sql = match columns.len() {
            1 => first.clone(),
            // A function's value does not compare as its column does.
            _ => {
                let columns: Vec<&str> = columns.iter().map(|(c, _)| c.as_str()).collect();
                format!("(coalesce({}) COLLATE SOQL)", columns.join(", "))
            }
        };
        Ok(Resolved { sql, field: (*field).clone() })
    }
}

/// The key of a join.
pub(super) fn path_of(parents: &[String]) -> String {
    parents.iter().map(|step| format!(".{}", step.to_ascii_lowercase())).collect()
}

/// The SQL that reads a field; compound addresses are put together as JSON.
pub(crate) fn field_sql(table: &str, object: &SObject, field: &Field) -> String {
    if let Some(formula) = &field.formula {
        return formula.sql(table);
    }
    if field.kind.has_column() {
        return format!("{table}.\"{}\"", field.name);
    }
    let parts: Vec<&Field> = object.columns().filter(|f| f.compound.as_deref() == Some(&field.name)).collect();
    if parts.is_empty() {
        return "NULL".to_owned();
    }
    let prefix = field.name.strip_suffix("Address").unwrap_or("");
    let pairs: Vec<String> = parts
        .iter()
        .map(|f| {
            // A part of a custom location: `Place__Latitude__s`.
            let own = f.name.strip_suffix("__s").and_then(|name| name.rsplit_once("__")).map(|(_, part)| part);
            let part = own.unwrap_or_else(|| f.name.strip_prefix(prefix).unwrap_or(&f.name));
            let key = part[..1].to_ascii_lowercase() + &part[1..];
            format!("'{key}', {table}.\"{}\"", f.name)
        })
        .collect();
    let any: Vec<String> = parts.iter().map(|f| format!("{table}.\"{}\"", f.name)).collect();
    let any = if any.len() > 1 { format!("coalesce({})", any.join(", ")) } else { any.join("") };
    format!("CASE WHEN {any} IS NULL THEN NULL ELSE json_object({}) END", pairs.join(", "))
}
