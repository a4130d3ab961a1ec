//! Checks a query against the schema and turns it into SQL for the embedded SQLite.

use jiff::Timestamp;
use rusqlite::types::Value as SqlValue;

use super::ast::{Name, Operand, Query, Selection};
use super::{positioned, sql};
use crate::api_error::ApiError;
use crate::schema::{Field, FieldKind, SObject, Schema};

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
    /// A child subquery: rows of `plan` whose `link` field holds the parent's id (in column `id`).
    Children {
        key: String,
        link: String,
        id: usize,
        plan: Box<Plan>,
    },
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
        _ => Render::Text,
    }
}

/// A field found by its path, as SQL.
pub(super) struct Resolved {
    pub(super) sql: String,
    pub(super) field: Field,
}

/// What a plan is made with: the query's text for error positions, the schema, the joins found so far.
pub(super) struct Planner<'a> {
    pub(super) soql: &'a str,
    pub(super) schema: &'a Schema,
    pub(super) now: Timestamp,
    pub(super) object: &'a SObject,
    alias: Option<String>,
    /// Table alias of the queried object: `t0`, or another name inside a semi-join.
    pub(super) table: String,
    joins: Vec<Join>,
}

struct Join {
    path: String,
    table: String,
    object: String,
    sql: String,
}

/// Plans a whole query. `deleted_too` is `queryAll`.
pub(crate) fn plan(
    soql: &str,
    query: &Query,
    schema: &Schema,
    now: Timestamp,
    deleted_too: bool,
) -> Result<Plan, ApiError> {
    let object = schema.object(&query.object.text).ok_or_else(|| unknown_object(soql, &query.object))?;
    let mut planner = Planner::new(soql, schema, now, object, query.alias.clone(), "t0");
    planner.plan(query, deleted_too)
}

fn unknown_object(soql: &str, name: &Name) -> ApiError {
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
    pub(super) fn new(
        soql: &'a str,
        schema: &'a Schema,
        now: Timestamp,
        object: &'a SObject,
        alias: Option<String>,
        table: &str,
    ) -> Self {
        Planner { soql, schema, now, object, alias, table: table.to_owned(), joins: Vec::new() }
    }

    fn plan(&mut self, query: &Query, deleted_too: bool) -> Result<Plan, ApiError> {
        let mut columns = Vec::new();
        let mut outputs = Vec::new();
        let aggregated = !query.group_by.is_empty()
            || query
                .selections
                .iter()
                .any(|s| matches!(s, Selection::Operand { operand, .. } if is_aggregate(operand)));
        let count_only = matches!(query.selections.as_slice(),
            [Selection::Operand { operand: Operand::Call { function, arguments }, .. }]
                if function.text.eq_ignore_ascii_case("count") && arguments.is_empty());
        let shape = match (count_only, aggregated) {
            (true, _) => Shape::Count,
            (_, true) => Shape::Aggregate,
            _ => Shape::Rows,
        };
        if shape == Shape::Rows {
            columns.push(format!("{}.\"Id\"", self.table));
        }
        if shape != Shape::Count {
            self.select(query, shape, deleted_too, &mut columns, &mut outputs)?;
        }
        let mut values = Vec::new();
        let mut filters = Vec::new();
        if !deleted_too && self.object.field("IsDeleted").is_some() {
            filters.push(format!("{}.\"IsDeleted\" = 0", self.table));
        }
        if let Some(condition) = &query.filter {
            filters.push(sql::condition(self, condition, &mut values)?);
        }
        let mut grouping = String::new();
        if !query.group_by.is_empty() {
            let by: Vec<String> =
                query.group_by.iter().map(|o| Ok(sql::operand(self, o)?.0)).collect::<Result<_, ApiError>>()?;
            grouping = format!(" GROUP BY {}", by.join(", "));
            if let Some(condition) = &query.having {
                grouping += &format!(" HAVING {}", sql::condition(self, condition, &mut values)?);
            }
        }
        let mut order = Vec::new();
        for ordering in &query.order_by {
            let (expression, field) = sql::operand(self, &ordering.by)?;
            if let (Some(field), Operand::Path(name)) = (&field, &ordering.by)
                && !field.sortable
            {
                let text = format!("field '{}' can not be sorted in a query call", field.name);
                return Err(positioned("INVALID_FIELD", self.soql, name.at, &text));
            }
            let direction = if ordering.descending { "DESC" } else { "ASC" };
            let nulls = if ordering.nulls_last { "LAST" } else { "FIRST" };
            order.push(format!("{expression} {direction} NULLS {nulls}"));
        }
        if query.offset.is_some_and(|o| o > 2000) {
            return Err(ApiError::bad("NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"));
        }
        Ok(Plan {
            object: self.object.name.clone(),
            shape,
            columns,
            outputs,
            joins: self.joins.iter().map(|j| j.sql.as_str()).collect(),
            filter: if filters.is_empty() { String::new() } else { format!(" WHERE {}", filters.join(" AND ")) },
            grouping,
            order: if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) },
            values,
            limit: query.limit,
            offset: query.offset.unwrap_or(0),
        })
    }

    fn select(
        &mut self,
        query: &Query,
        shape: Shape,
        deleted_too: bool,
        columns: &mut Vec<String>,
        outputs: &mut Vec<Output>,
    ) -> Result<(), ApiError> {
        let mut unnamed = 0;
        for selection in &query.selections {
            match selection {
                Selection::Children(children) => outputs.push(self.children(children, deleted_too)?),
                Selection::Operand { operand: Operand::Call { function, arguments }, .. }
                    if function.text.eq_ignore_ascii_case("fields") =>
                {
                    self.all_fields(query, arguments, columns, outputs)?;
                }
                Selection::Operand { operand: Operand::Path(name), alias } if shape == Shape::Rows => {
                    if let Some(alias) = alias {
                        return Err(positioned(
                            "MALFORMED_QUERY",
                            self.soql,
                            alias.at,
                            "only aggregate expressions use field aliasing",
                        ));
                    }
                    self.select_path(name, columns, outputs)?;
                }
                Selection::Operand { operand, alias } => {
                    let (expression, field) = sql::operand(self, operand)?;
                    if let (Operand::Path(name), Shape::Aggregate) = (operand, shape) {
                        let grouped = query
                            .group_by
                            .iter()
                            .any(|g| matches!(g, Operand::Path(p) if p.text.eq_ignore_ascii_case(&name.text)));
                        if !grouped {
                            let text = format!("Field must be grouped or aggregated: {}", name.text);
                            return Err(positioned("MALFORMED_QUERY", self.soql, name.at, &text));
                        }
                    }
                    let key = match (alias, operand) {
                        (Some(alias), _) => alias.text.clone(),
                        (None, Operand::Path(_)) => field.as_ref().map(|f| f.name.clone()).unwrap_or_default(),
                        (None, Operand::Call { .. }) => {
                            unnamed += 1;
                            format!("expr{}", unnamed - 1)
                        }
                    };
                    outputs.push(Output::Field {
                        key,
                        column: columns.len(),
                        render: sql::render(operand, field.as_ref()),
                    });
                    columns.push(expression);
                }
            }
        }
        Ok(())
    }

    fn select_path(
        &mut self,
        name: &Name,
        columns: &mut Vec<String>,
        outputs: &mut Vec<Output>,
    ) -> Result<(), ApiError> {
        let names = self.steps(name);
        let resolved = self.resolve(name)?;
        let render = render_of(&resolved.field.kind);
        let mut level = outputs;
        let mut path = String::new();
        for step in &names[..names.len() - 1] {
            path = format!("{path}.{}", step.to_ascii_lowercase());
            let join = self.joins.iter().find(|j| j.path == path).expect("resolving the path made this join");
            let at =
                level.iter().position(|o| matches!(o, Output::Parent { key, .. } if key.eq_ignore_ascii_case(step)));
            let at = at.unwrap_or_else(|| {
                let key = self.relationship_name(&path, step);
                level.push(Output::Parent { key, object: join.object.clone(), id: columns.len(), fields: Vec::new() });
                columns.push(format!("{}.\"Id\"", join.table));
                level.len() - 1
            });
            level = match &mut level[at] {
                Output::Parent { fields, .. } => fields,
                _ => unreachable!("the position was that of a parent"),
            };
        }
        let key = resolved.field.name.clone();
        if level.iter().any(|o| matches!(o, Output::Field { key: k, .. } if *k == key)) {
            return Err(positioned("INVALID_FIELD", self.soql, name.at, &format!("duplicate field selected: {key}")));
        }
        level.push(Output::Field { key, column: columns.len(), render });
        columns.push(resolved.sql);
        Ok(())
    }

    /// The relationship's name as the schema spells it.
    fn relationship_name(&self, path: &str, written: &str) -> String {
        let parent = path.rfind('.').map_or("", |i| &path[..i]);
        let object = match parent {
            "" => Some(self.object),
            p => self.joins.iter().find(|j| j.path == p).and_then(|j| self.schema.object(&j.object)),
        };
        object
            .and_then(|o| o.relationship(written))
            .and_then(|(field, _)| match &field.kind {
                FieldKind::Reference { relationship, .. } => relationship.clone(),
                _ => None,
            })
            .unwrap_or_else(|| written.to_owned())
    }

    fn all_fields(
        &mut self,
        query: &Query,
        arguments: &[Operand],
        columns: &mut Vec<String>,
        outputs: &mut Vec<Output>,
    ) -> Result<(), ApiError> {
        let which = match arguments {
            [Operand::Path(name)] => name.text.to_ascii_uppercase(),
            _ => String::new(),
        };
        if which != "STANDARD" && query.limit.is_none_or(|l| l > 200) {
            return Err(ApiError::bad("MALFORMED_QUERY", "The SOQL FIELDS function must have a LIMIT of at most 200"));
        }
        let object = self.object;
        for field in &object.fields {
            let custom = field.name.ends_with("__c");
            if (which == "STANDARD" && custom) || (which == "CUSTOM" && !custom) {
                continue;
            }
            outputs.push(Output::Field {
                key: field.name.clone(),
                column: columns.len(),
                render: render_of(&field.kind),
            });
            columns.push(field_sql(&self.table, object, field));
        }
        Ok(())
    }

    fn children(&mut self, query: &Query, deleted_too: bool) -> Result<Output, ApiError> {
        let wanted = &query.object.text;
        let found =
            self.schema.children(self.object).find(|(_, _, name)| name.is_some_and(|n| n.eq_ignore_ascii_case(wanted)));
        let Some((object, link, Some(key))) = found else {
            return Err(positioned(
                "INVALID_TYPE",
                self.soql,
                query.object.at,
                &format!(
                    "Didn't understand relationship '{wanted}' in FROM part of query call. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the appropriate names."
                ),
            ));
        };
        let mut planner = Planner::new(self.soql, self.schema, self.now, object, query.alias.clone(), "t0");
        let plan = Box::new(planner.plan(query, deleted_too)?);
        Ok(Output::Children { key: key.to_owned(), link: link.name.clone(), id: 0, plan })
    }

    /// The steps of a path, without the object's alias or name in front.
    fn steps(&self, name: &Name) -> Vec<String> {
        let mut steps: Vec<String> = name.text.split('.').map(str::to_owned).collect();
        let own = |s: &str| {
            self.alias.as_deref().is_some_and(|a| a.eq_ignore_ascii_case(s)) || self.object.name.eq_ignore_ascii_case(s)
        };
        if steps.len() > 1 && own(&steps[0]) && self.object.relationship(&steps[0]).is_none() {
            steps.remove(0);
        }
        steps
    }

    /// Finds a field by its path and adds the joins it needs.
    pub(super) fn resolve(&mut self, name: &Name) -> Result<Resolved, ApiError> {
        let steps = self.steps(name);
        let (last, parents) = steps.split_last().expect("a path has at least one step");
        let schema = self.schema;
        let (mut object, mut table, mut path) = (self.object, self.table.clone(), String::new());
        for step in parents {
            let Some((field, target)) = object.relationship(step).and_then(|(f, t)| Some((f, schema.object(t)?)))
            else {
                return Err(positioned(
                    "INVALID_FIELD",
                    self.soql,
                    name.at,
                    &format!(
                        "Didn't understand relationship '{step}' in field path. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the appropriate names."
                    ),
                ));
            };
            path = format!("{path}.{}", step.to_ascii_lowercase());
            let known = self.joins.iter().find(|j| j.path == path).map(|j| j.table.clone());
            let next = known.unwrap_or_else(|| {
                let next = format!("{}p{}", self.table, self.joins.len());
                let sql =
                    format!(" LEFT JOIN \"{}\" {next} ON {next}.\"Id\" = {table}.\"{}\"", target.name, field.name);
                self.joins.push(Join { path: path.clone(), table: next.clone(), object: target.name.clone(), sql });
                next
            });
            (object, table) = (target, next);
        }
        let Some(field) = object.field(last) else {
            return Err(positioned(
                "INVALID_FIELD",
                self.soql,
                name.at,
                &format!(
                    "No such column '{last}' on entity '{}'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names.",
                    object.name
                ),
            ));
        };
        Ok(Resolved { sql: field_sql(&table, object, field), field: field.clone() })
    }

    pub(super) fn joins_sql(&self) -> String {
        self.joins.iter().map(|j| j.sql.as_str()).collect()
    }
}

fn is_aggregate(operand: &Operand) -> bool {
    matches!(operand, Operand::Call { function, .. }
        if matches!(function.text.to_ascii_lowercase().as_str(), "count" | "count_distinct" | "sum" | "avg" | "min" | "max"))
}

/// The SQL that reads a field; compound addresses are put together as JSON.
pub(crate) fn field_sql(table: &str, object: &SObject, field: &Field) -> String {
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
            let part = f.name.strip_prefix(prefix).unwrap_or(&f.name);
            let key = part[..1].to_ascii_lowercase() + &part[1..];
            format!("'{key}', {table}.\"{}\"", f.name)
        })
        .collect();
    let any: Vec<String> = parts.iter().map(|f| format!("{table}.\"{}\"", f.name)).collect();
    let any = if any.len() > 1 { format!("coalesce({})", any.join(", ")) } else { any.join("") };
    format!("CASE WHEN {any} IS NULL THEN NULL ELSE json_object({}) END", pairs.join(", "))
}
