//! GROUP BY with its subtotals, HAVING and ORDER BY.

use rusqlite::types::Value as SqlValue;

use super::ast::{Operand, Query, Subtotals};
use super::condition::{self, Place};
use super::expression::{self, Expression};
use super::plan::Planner;
use crate::api_error::ApiError;

impl Planner<'_> {
    pub(super) fn grouping(&mut self, query: &Query, values: &mut Vec<SqlValue>) -> Result<String, ApiError> {
        if query.group_by.is_empty() {
            return Ok(String::new());
        }
        let mut groups = Vec::new();
        for operand in &query.group_by {
            let found = expression::expression(self, operand)?;
            if let (Some(field), Operand::Path(name)) = (&found.field, operand)
                && !(field.groupable && field.kind.has_column())
            {
                let text = format!("field '{}' can not be grouped in a query call", field.name);
                return Err(self.error("INVALID_FIELD", name.at, &text));
            }
            if let (true, Operand::Call { function, .. }) = (found.aggregate, operand) {
                return Err(self.malformed(function.at, "unexpected token: '('"));
            }
            groups.push(found.sql);
        }
        if query.subtotals != Subtotals::None && groups.len() > 3 {
            let text = "at most 3 fields are allowed in ROLLUP and CUBE";
            return Err(ApiError::bad("MALFORMED_QUERY", text));
        }
        self.groups = groups;
        self.subtotals = query.subtotals;
        let by: Vec<String> = self.groups.clone().into_iter().map(|g| self.in_subtotal(g)).collect();
        let mask = if self.subtotals == Subtotals::None { "" } else { "subtotals.mask, " };
        let mut grouping = format!(" GROUP BY {mask}{}", by.join(", "));
        if let Some(having) = &query.having {
            grouping += &format!(" HAVING {}", condition::condition(self, having, Place::Having, values)?);
        }
        Ok(grouping)
    }

    pub(super) fn order(&mut self, query: &Query) -> Result<String, ApiError> {
        let mut order = Vec::new();
        for ordering in &query.order_by {
            let found = expression::expression(self, &ordering.by)?;
            if let (Some(field), Operand::Path(name)) = (&found.field, &ordering.by)
                && !(field.sortable && field.kind.has_column())
            {
                let text = format!("field '{}' can not be sorted in a query call", field.name);
                return Err(self.error("INVALID_FIELD", name.at, &text));
            }
            if self.aggregated && !self.is_grouped(&found) {
                let name = expression::inner_name(&ordering.by);
                let text = format!("Ordered field must be grouped or aggregated: {}", name.text);
                return Err(self.malformed(name.at, &text));
            }
            if !self.aggregated && (found.aggregate || found.date_function) {
                return Err(self.malformed(expression::parenthesis(self, &ordering.by), "unexpected token: '('"));
            }
            let direction = if ordering.descending { "DESC" } else { "ASC" };
            let nulls = if ordering.nulls_last { "LAST" } else { "FIRST" };
            order.push(format!("{} {direction} NULLS {nulls}", self.in_subtotal(found.sql)));
        }
        if order.is_empty() && self.subtotals != Subtotals::None {
            // Each subtotal after what it sums up.
            order.extend(self.groups.iter().map(|g| format!("{} NULLS LAST", self.in_subtotal(g.clone()))));
        }
        Ok(if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) })
    }

    /// Whether a grouped query may show or compare this.
    pub(super) fn is_grouped(&self, expression: &Expression) -> bool {
        expression.aggregate || self.groups.contains(&expression.sql)
    }

    /// A grouped expression, null in the subtotals that leave it out.
    pub(super) fn in_subtotal(&self, sql: String) -> String {
        match self.groups.iter().position(|g| *g == sql) {
            Some(n) if self.subtotals != Subtotals::None => {
                format!("CASE WHEN subtotals.mask & {} THEN NULL ELSE {sql} END COLLATE SOQL", 1 << n)
            }
            _ => sql,
        }
    }

    pub(super) fn masks(&self) -> String {
        let all = (1usize << self.groups.len()) - 1;
        let masks: Vec<usize> = match self.subtotals {
            // (a, b, c), (a, b), (a), ()
            Subtotals::Rollup => (0..=self.groups.len()).map(|kept| all & !((1 << kept) - 1)).collect(),
            _ => (0..=all).collect(),
        };
        let rows: Vec<String> = masks.iter().map(|m| format!("SELECT {m} AS mask")).collect();
        rows.join(" UNION ALL ")
    }
}
