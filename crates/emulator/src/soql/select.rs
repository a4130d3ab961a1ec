//! What is selected: columns for SQLite, and the keys of a record.

use super::ast::{Condition, Name, Operand, Query, Selection, Set, TypeOf};
use super::expression::{self, expression, inner_name};
use super::path::{field_sql, path_of};
use super::plan::{Output, Planner, Shape, render_of};
use crate::api_error::ApiError;
use crate::schema::SObject;

/// Child subqueries of a query; how deep they nest; rows and ids that FIELDS() is content with.
const MAX_CHILDREN: usize = 20;
const MAX_DEPTH: usize = 4;
const MAX_FIELDS_ROWS: u64 = 200;
/// Since this version subqueries may hold subqueries.
const NESTING_SINCE: u32 = 58;

impl Planner<'_> {
    pub(super) fn shape(&self, query: &Query) -> Result<Shape, ApiError> {
        let operands = || {
            query.selections.iter().filter_map(|s| match s {
                Selection::Operand { operand, .. } => Some(operand),
                _ => None,
            })
        };
        if let [Selection::Operand { operand: Operand::Call { arguments, .. }, .. }] = query.selections.as_slice()
            && arguments.is_empty()
        {
            return Ok(Shape::Count);
        }
        // A date function stands for a group, so it needs GROUP BY like an aggregate's neighbours.
        let grouped =
            !query.group_by.is_empty() || operands().any(|o| expression::is_aggregate(o) || is_date_function(o));
        if !grouped {
            return Ok(Shape::Rows);
        }
        for selection in &query.selections {
            match selection {
                Selection::Children(children) => {
                    // From memory of real orgs.
                    let text = "Grouped query cannot use child relationships in the SELECT list";
                    return Err(self.malformed(children.object.at, text));
                }
                Selection::TypeOf(type_of) => {
                    let text = format!("Field must be grouped or aggregated: {}", type_of.field.text);
                    return Err(self.malformed(type_of.field.at, &text));
                }
                Selection::Operand { .. } => {}
            }
        }
        Ok(Shape::Aggregate)
    }

    pub(super) fn select(
        &mut self,
        query: &Query,
        shape: Shape,
        columns: &mut Vec<String>,
        outputs: &mut Vec<Output>,
    ) -> Result<(), ApiError> {
        let mut unnamed = 0;
        let mut children = 0;
        for selection in &query.selections {
            let before = outputs.len();
            let at = match selection {
                Selection::Children(inner) => {
                    children += 1;
                    if children > MAX_CHILDREN {
                        // The bound is documented; the words are unverified.
                        let text = format!("a query has at most {MAX_CHILDREN} subqueries");
                        return Err(self.malformed(inner.object.at, &text));
                    }
                    outputs.push(self.children(inner, query)?);
                    inner.object.at
                }
                Selection::TypeOf(type_of) => {
                    outputs.push(self.type_of(type_of, columns)?);
                    type_of.field.at
                }
                Selection::Operand { operand, alias } => {
                    self.operand(query, shape, operand, alias.as_ref(), &mut unnamed, columns, outputs)?;
                    alias.as_ref().unwrap_or(inner_name(operand)).at
                }
            };
            let (old, new) = outputs.split_at(before);
            if let Some(twice) = new.iter().find(|o| old.iter().any(|b| b.key().eq_ignore_ascii_case(o.key()))) {
                return Err(if shape == Shape::Aggregate {
                    // From memory of real orgs.
                    self.malformed(at, &format!("duplicate alias: {}", twice.key()))
                } else {
                    self.error("INVALID_FIELD", at, &format!("duplicate field selected: {}", twice.key()))
                });
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one step of a loop over what is selected")]
    fn operand(
        &mut self,
        query: &Query,
        shape: Shape,
        operand: &Operand,
        alias: Option<&Name>,
        unnamed: &mut usize,
        columns: &mut Vec<String>,
        outputs: &mut Vec<Output>,
    ) -> Result<(), ApiError> {
        if let Operand::Call { function, arguments } = operand
            && function.text.eq_ignore_ascii_case("fields")
        {
            return self.all_fields(query, operand, arguments, columns, outputs);
        }
        if shape == Shape::Rows {
            match (operand, alias) {
                (Operand::Path(_), Some(alias)) => {
                    return Err(self.malformed(alias.at, "only aggregate expressions use field aliasing"));
                }
                // toLabel and the like are answered under the name of their field.
                (Operand::Path(name), None) => return self.select_path(name, columns, outputs),
                (Operand::Call { function, .. }, None) if !function.text.eq_ignore_ascii_case("distance") => {
                    expression(self, operand)?;
                    return self.select_path(inner_name(operand), columns, outputs);
                }
                _ => {}
            }
        }
        let found = expression(self, operand)?;
        if shape == Shape::Aggregate && !self.is_grouped(&found) {
            let name = inner_name(operand);
            let text = format!("Field must be grouped or aggregated: {}", name.text);
            return Err(self.malformed(name.at, &text));
        }
        let key = match (alias, operand, &found.field) {
            (Some(alias), ..) => alias.text.clone(),
            (None, Operand::Path(_), Some(field)) => field.name.clone(),
            _ => {
                *unnamed += 1;
                format!("expr{}", *unnamed - 1)
            }
        };
        outputs.push(Output::Field { key, column: columns.len(), render: found.render() });
        columns.push(self.in_subtotal(found.sql));
        Ok(())
    }

    fn select_path(
        &mut self,
        name: &Name,
        columns: &mut Vec<String>,
        outputs: &mut Vec<Output>,
    ) -> Result<(), ApiError> {
        let steps = self.steps(name);
        let resolved = self.resolve(name)?;
        let render = render_of(&resolved.field.kind);
        let parents = &steps[..steps.len() - 1];
        let mut level = outputs;
        for n in 1..=parents.len() {
            let join = self.join(&path_of(&parents[..n])).expect("resolving the path made this join");
            let at = level.iter().position(|o| o.key() == join.key);
            let at = at.unwrap_or_else(|| {
                let ids: Vec<(String, usize)> = join
                    .targets
                    .iter()
                    .map(|(object, table)| {
                        columns.push(format!("{table}.\"{}\"", id_field(self.context.schema.object(object))));
                        (object.clone(), columns.len() - 1)
                    })
                    .collect();
                let (key, fields) = (join.key.clone(), Vec::new());
                level.push(match ids.as_slice() {
                    [(object, id)] if !join.polymorphic => {
                        Output::Parent { key, object: object.clone(), id: *id, fields }
                    }
                    _ => Output::Name { key, targets: ids, fields },
                });
                level.len() - 1
            });
            level = match &mut level[at] {
                Output::Parent { fields, .. } | Output::Name { fields, .. } => fields,
                // TYPEOF or a subquery has the name already.
                taken => {
                    let text = format!("duplicate field selected: {}", taken.key());
                    return Err(self.error("INVALID_FIELD", name.at, &text));
                }
            };
        }
        let key = resolved.field.name.clone();
        if level.iter().any(|o| o.key() == key) {
            return Err(self.error("INVALID_FIELD", name.at, &format!("duplicate field selected: {key}")));
        }
        level.push(Output::Field { key, column: columns.len(), render });
        columns.push(resolved.sql);
        Ok(())
    }

    fn all_fields(
        &mut self,
        query: &Query,
        call: &Operand,
        arguments: &[Operand],
        columns: &mut Vec<String>,
        outputs: &mut Vec<Output>,
    ) -> Result<(), ApiError> {
        let which = inner_name(call).text.to_ascii_uppercase();
        if arguments.len() != 1 || !matches!(which.as_str(), "ALL" | "CUSTOM" | "STANDARD") {
            let name = inner_name(call);
            return Err(self.malformed(name.at, &format!("unexpected token: '{}'", name.text)));
        }
        if self.aggregated {
            let name = inner_name(call);
            return Err(self.malformed(name.at, &format!("Field must be grouped or aggregated: {}", name.text)));
        }
        let few = query.limit.is_some_and(|l| l <= MAX_FIELDS_ROWS) || query.filter.as_ref().is_some_and(by_few_ids);
        if which != "STANDARD" && !few {
            return Err(ApiError::bad("MALFORMED_QUERY", "The SOQL FIELDS function must have a LIMIT of at most 200"));
        }
        let object = self.object;
        let before = outputs.len();
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
        if outputs.len() == before {
            let text = "'FIELDS(...)' expansion function must result in at least one field being selected.";
            return Err(ApiError::bad("MALFORMED_QUERY", text));
        }
        Ok(())
    }

    fn children(&mut self, query: &Query, parent: &Query) -> Result<Output, ApiError> {
        if self.depth >= MAX_DEPTH || self.depth > 0 && self.context.version < NESTING_SINCE {
            let text = "SOQL statements cannot query aggregate relationships more than 1 level away from the root entity object.";
            return Err(self.malformed(query.object.at, text));
        }
        let steps = super::plan::own_steps(&query.object.text, self.object, &self.aliases);
        let wanted = steps.join(".");
        let found = self
            .context
            .schema
            .children(self.object)
            .find(|(_, _, name)| name.is_some_and(|n| n.eq_ignore_ascii_case(&wanted)));
        let Some((object, link, Some(key))) = found else {
            let text = format!(
                "Didn't understand relationship '{wanted}' in FROM part of query call. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the appropriate names."
            );
            return Err(self.error("INVALID_TYPE", query.object.at, &text));
        };
        if query.offset.is_some() && parent.limit != Some(1) {
            // The rule is documented; the words are unverified.
            let text = "OFFSET in a subquery needs LIMIT 1 in its parent";
            return Err(self.malformed(query.object.at, text));
        }
        let mut planner = Planner::new(self.context, object, query, "t0");
        planner.depth = self.depth + 1;
        let plan = planner.plan(query)?;
        if plan.shape != Shape::Rows {
            // The rule is documented; the words are unverified.
            let text = "aggregates are not allowed in a child subquery";
            return Err(self.malformed(query.object.at, text));
        }
        Ok(Output::Children { key: key.to_owned(), link: link.name.clone(), id: 0, plan: Box::new(plan) })
    }

    fn type_of(&mut self, type_of: &TypeOf, columns: &mut Vec<String>) -> Result<Output, ApiError> {
        let steps = self.steps(&type_of.field);
        let at = type_of.field.at;
        let places = self.follow(&steps, at)?;
        let join = self.join(&path_of(&steps)).expect("following the path made this join");
        let key = join.key.clone();
        if !join.polymorphic {
            let text = format!("Cannot use TYPEOF with a relationship to one object: '{key}'");
            return Err(self.malformed(at, &text));
        }
        let mut branches = Vec::new();
        let mut unknown = type_of.branches.iter().filter(|(of, _)| self.context.schema.object(&of.text).is_none());
        if let Some((of, _)) = unknown.next() {
            return Err(super::path::unknown_object(self.context.soql, of));
        }
        for (object, table) in places {
            let wanted = type_of.branches.iter().find(|(of, _)| of.text.eq_ignore_ascii_case(&object.name));
            let (names, strict) = wanted.map_or((&type_of.otherwise, false), |(_, names)| (names, true));
            if names.is_empty() {
                continue;
            }
            columns.push(format!("{table}.\"{}\"", object.id_field()));
            let id = columns.len() - 1;
            let mut fields = Vec::new();
            for name in names {
                let Some(field) = object.field(&name.text) else {
                    // ELSE names fields of Name, of which an object may lack some.
                    if strict {
                        return Err(self.no_column(&name.text, &object.name, name.at));
                    }
                    continue;
                };
                fields.push(Output::Field {
                    key: field.name.clone(),
                    column: columns.len(),
                    render: render_of(&field.kind),
                });
                columns.push(field_sql(&table, object, field));
            }
            branches.push((object.name.clone(), id, fields));
        }
        Ok(Output::TypeOf { key, branches })
    }
}

fn id_field(object: Option<&SObject>) -> &str {
    object.map_or("Id", SObject::id_field)
}

fn is_date_function(operand: &Operand) -> bool {
    matches!(operand, Operand::Call { function, .. } if !matches!(
        function.text.to_ascii_lowercase().as_str(),
        "tolabel" | "format" | "convertcurrency" | "distance" | "fields"
    ))
}

/// Whether a condition names the records, so few that FIELDS(ALL) is allowed without a LIMIT.
fn by_few_ids(condition: &Condition) -> bool {
    let is_id = |left: &Operand| inner_name(left).text.eq_ignore_ascii_case("id");
    match condition {
        Condition::All(parts) => parts.iter().any(by_few_ids),
        Condition::Compare { left, operator, .. } => operator == "=" && is_id(left),
        Condition::In { left, negated: false, set: Set::Values(values) } => {
            is_id(left) && values.len() as u64 <= MAX_FIELDS_ROWS
        }
        _ => false,
    }
}
