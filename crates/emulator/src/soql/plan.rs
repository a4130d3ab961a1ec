//! Checks a query against the schema and turns it into SQL for the embedded SQLite.

use jiff::Timestamp;
use rusqlite::types::Value as SqlValue;

use super::ast::{Query, Subtotals};
use super::condition::{self, Place};
use super::path::{Join, unknown_object};
use super::positioned;
use crate::api_error::ApiError;
use crate::org::ARCHIVED;
use crate::schema::{FieldKind, SObject, Schema};

/// A query ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) object: String,
    pub(crate) shape: Shape,
    /// SQL expressions, in the order in which [`Output`] refers to them.
    pub(crate) columns: Vec<String>,
    pub(crate) outputs: Vec<Output>,
    /// Joins of parent rows, after `FROM "Object" t0`.
    pub(crate) joins: String,
    /// ` WHERE …`, or nothing.
    pub(crate) filter: String,
    /// ` GROUP BY … HAVING …`, or nothing.
    pub(crate) grouping: String,
    /// ` ORDER BY …`, or nothing.
    pub(crate) order: String,
    /// Values of filter and grouping, in order.
    pub(crate) values: Vec<SqlValue>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: u64,
}

impl Plan {
    /// Whether the query reads a field of this name from an object of this name, here or in a parent.
    pub(crate) fn reads(&self, object: &str, field: &str) -> bool {
        let column = format!(".\"{field}\"");
        let here = self.object == object || self.joins.contains(&format!("\"{object}\""));
        let named = here
            && self
                .columns
                .iter()
                .chain([&self.joins, &self.filter, &self.grouping, &self.order])
                .any(|sql| sql.contains(&column));
        named || children(&self.outputs).any(|plan| plan.reads(object, field))
    }
}

fn children(outputs: &[Output]) -> impl Iterator<Item = &Plan> {
    outputs.iter().filter_map(|output| match output {
        Output::Children { plan, .. } => Some(&**plan),
        _ => None,
    })
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    Rows,
    /// `SELECT COUNT()`: a total and no records.
    Count,
    /// Grouped rows: `AggregateResult`.
    Aggregate,
}

/// One key of a record in the answer.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    Field {
        key: String,
        column: usize,
        render: Render,
    },
    Parent {
        key: String,
        object: String,
        id: usize,
        fields: Vec<Output>,
    },
    /// A parent that can be of several objects, answered as `Name`: each object with the column of its id.
    Name {
        key: String,
        targets: Vec<(String, usize)>,
        fields: Vec<Output>,
    },
    /// TYPEOF: each object with the column of its id, and what is read from it.
    TypeOf {
        key: String,
        branches: Vec<(String, usize, Vec<Output>)>,
    },
    /// A child subquery: rows of `plan` whose `link` field holds the parent's id (in column `id`).
    Children {
        key: String,
        link: String,
        id: usize,
        plan: Box<Plan>,
    },
}

impl Output {
    pub(crate) fn key(&self) -> &str {
        match self {
            Output::Field { key, .. }
            | Output::Parent { key, .. }
            | Output::Name { key, .. }
            | Output::TypeOf { key, .. }
            | Output::Children { key, .. } => key,
        }
    }
}

/// How a stored value is written in JSON.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Render {
    Text,
    Boolean,
    Int,
    /// Doubles always carry a fraction: `1.0`.
    Double,
    /// Already JSON: an address.
    Json,
}

pub(crate) fn render_of(kind: &FieldKind) -> Render {
    match kind {
        FieldKind::Boolean => Render::Boolean,
        FieldKind::Int { .. } => Render::Int,
        FieldKind::Number { .. } => Render::Double,
        FieldKind::Address | FieldKind::Location => Render::Json,
        // A structure of the Tooling API.
        FieldKind::Text { type_name: "complexvalue", .. } => Render::Json,
        _ => Render::Text,
    }
}

/// What a query is planned with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The query's text, for error positions.
    pub(crate) soql: &'a str,
    pub(crate) schema: &'a Schema,
    pub(crate) now: Timestamp,
    /// Who asks: USING SCOPE mine.
    pub(crate) user_id: &'a str,
    /// API version: child subqueries nest since 58.
    pub(crate) version: u32,
    /// `queryAll`.
    pub(crate) deleted_too: bool,
}

/// What a plan is made with: the queried object, its aliases, the joins found so far.
pub(super) struct Planner<'a> {
    pub(super) context: Context<'a>,
    pub(super) object: &'a SObject,
    /// Aliases in lower case, with the relationships that each stands for.
    pub(super) aliases: Vec<(String, Vec<String>)>,
    /// Table alias of the queried object: `t0`, or another name inside a semi-join.
    pub(super) table: String,
    pub(super) joins: Vec<Join>,
    /// What the query groups by, as SQL; the n-th is left out of a subtotal whose mask has bit n.
    pub(super) groups: Vec<String>,
    pub(super) subtotals: Subtotals,
    /// How many subqueries this one is inside of.
    pub(super) depth: usize,
    pub(super) aggregated: bool,
}

/// The highest OFFSET.
const MAX_OFFSET: u64 = 2_000;

/// Plans a whole query.
pub(crate) fn plan_in(context: &Context<'_>, query: &Query) -> Result<Plan, ApiError> {
    let name = &query.object;
    let object = context.schema.object(&name.text).ok_or_else(|| unknown_object(context.soql, name))?;
    let mut planner = Planner::new(*context, object, query, "t0");
    planner.plan(query)
}

impl<'a> Planner<'a> {
    pub(super) fn new(context: Context<'a>, object: &'a SObject, query: &Query, table: &str) -> Self {
        let mut aliases = Vec::new();
        if let Some(alias) = &query.alias {
            aliases.push((alias.to_ascii_lowercase(), Vec::new()));
        }
        for (path, alias) in &query.parents {
            let steps = own_steps(&path.text, object, &aliases);
            aliases.push((alias.to_ascii_lowercase(), steps));
        }
        Planner {
            context,
            object,
            aliases,
            table: table.to_owned(),
            joins: Vec::new(),
            groups: Vec::new(),
            subtotals: Subtotals::None,
            depth: 0,
            aggregated: false,
        }
    }

    pub(super) fn error(&self, code: &'static str, at: usize, text: &str) -> ApiError {
        positioned(code, self.context.soql, at, text)
    }

    pub(super) fn malformed(&self, at: usize, text: &str) -> ApiError {
        self.error("MALFORMED_QUERY", at, text)
    }

    pub(super) fn plan(&mut self, query: &Query) -> Result<Plan, ApiError> {
        let shape = self.shape(query)?;
        self.aggregated = shape == Shape::Aggregate;
        let mut values = Vec::new();
        let mut filters = Vec::new();
        if !self.context.deleted_too && self.object.field("IsDeleted").is_some() {
            filters.push(format!("{}.\"IsDeleted\" = 0", self.table));
        }
        // Archived activities are no longer found by `query`; they are not deleted.
        if !self.context.deleted_too && ARCHIVED.contains(&self.object.name.as_str()) {
            filters.push(format!("{}.\"IsArchived\" = 0", self.table));
        }
        filters.extend(self.scope(query)?);
        if let Some(filter) = &query.filter {
            super::semi_join::check_places(self, filter)?;
            filters.push(condition::condition(self, filter, Place::Where, &mut values)?);
        }
        let grouping = self.grouping(query, &mut values)?;
        let (mut columns, mut outputs) = (Vec::new(), Vec::new());
        if shape == Shape::Rows {
            columns.push(format!("{}.\"{}\"", self.table, self.object.id_field()));
        }
        if shape != Shape::Count {
            self.select(query, shape, &mut columns, &mut outputs)?;
        }
        let order = self.order(query)?;
        if query.offset.is_some_and(|o| o > MAX_OFFSET) {
            return Err(ApiError::bad("NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"));
        }
        let mut joins = self.joins_sql();
        if self.subtotals != Subtotals::None {
            joins += &format!(" CROSS JOIN ({}) subtotals", self.masks());
        }
        Ok(Plan {
            object: self.object.name.clone(),
            shape,
            columns,
            outputs,
            joins,
            filter: if filters.is_empty() { String::new() } else { format!(" WHERE {}", filters.join(" AND ")) },
            grouping,
            order,
            values,
            limit: query.limit,
            offset: query.offset.unwrap_or(0),
        })
    }

    /// USING SCOPE. Words of the refusal are unverified.
    fn scope(&self, query: &Query) -> Result<Option<String>, ApiError> {
        let Some(scope) = &query.scope else { return Ok(None) };
        let owner = if self.object.name == "User" { "Id" } else { "OwnerId" };
        match scope.text.to_ascii_lowercase().as_str() {
            "everything" => Ok(None),
            // The users here are in no public group.
            "mine" | "mine_and_my_groups" if self.object.field(owner).is_some() => {
                let user = self.context.user_id.replace('\'', "");
                Ok(Some(format!("{}.\"{owner}\" = '{user}'", self.table)))
            }
            _ => {
                let text = format!("scope '{}' is not supported for '{}'", scope.text, self.object.name);
                Err(self.malformed(scope.at, &text))
            }
        }
    }
}

/// The steps of a path, without the object's alias or name in front, and with other aliases spelt out.
pub(super) fn own_steps(text: &str, object: &SObject, aliases: &[(String, Vec<String>)]) -> Vec<String> {
    let mut steps: Vec<String> = text.split('.').map(str::to_owned).collect();
    if steps.len() < 2 || object.relationship(&steps[0]).is_some() {
        return steps;
    }
    if let Some((_, stands_for)) = aliases.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(&steps[0])) {
        steps.splice(..1, stands_for.iter().cloned());
    } else if object.name.eq_ignore_ascii_case(&steps[0]) {
        steps.remove(0);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soql::{parse::parse, run};
    use crate::{records, schema};

    fn found(soql: &str) -> Result<usize, ApiError> {
        let mut schema = Schema::standard();
        let account = schema.object_mut("Account").expect("a standard object");
        account.add_field(schema::field("Tags__c | multipicklist 255 : A; B; C | create update | Tags"));
        let account = schema.object("Account").expect("a standard object").clone();
        let db = records::open()?;
        records::create_table(&db, &account)?;
        for (n, tags) in [Some("A"), Some("A;B"), Some("B;C"), None].into_iter().enumerate() {
            let id = crate::id::record_id("001", n as u64);
            db.execute("INSERT INTO \"Account\" (\"Id\", \"Tags__c\") VALUES (?, ?)", rusqlite::params![id, tags])?;
        }
        let now = "2026-11-25T10:00:00Z".parse().expect("a timestamp");
        let context = Context { soql, schema: &schema, now, user_id: "", version: 67, deleted_too: false };
        let plan = plan_in(&context, &parse(soql)?)?;
        Ok(run::rows(&db, &plan, "", None)?.len())
    }

    #[test]
    fn multi_select_picklists_include_and_exclude() {
        for (condition, expected) in [
            ("INCLUDES ('A')", 2),
            ("INCLUDES ('a;B')", 1),
            ("INCLUDES ('A;B', 'C')", 2),
            ("EXCLUDES ('A')", 2),
            ("EXCLUDES ('A', 'B')", 1),
            ("= null", 1),
            ("= 'A;B'", 1),
        ] {
            assert_eq!(
                found(&format!("SELECT Id FROM Account WHERE Tags__c {condition}")).ok(),
                Some(expected),
                "{condition}"
            );
        }
        assert_eq!(
            found("SELECT Id FROM Account WHERE Tags__c INCLUDES (1)").expect_err("a number").code,
            "INVALID_FIELD"
        );
    }

    #[test]
    fn a_hundred_thousand_characters_are_read() {
        let soql = |n: usize| format!("SELECT Id FROM Account WHERE Name = 'x'{}", " ".repeat(n - 39));
        assert_eq!(soql(100_000).len(), 100_000);
        assert_eq!(found(&soql(100_000)).ok(), Some(0));
        assert_eq!(found(&soql(100_001)).expect_err("one more").code, "MALFORMED_QUERY");
    }
}
