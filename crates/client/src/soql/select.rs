//! A query put together from parts.

use super::value::identifier;
use super::{SoqlError, Value};

/// Begins a query: its fields.
///
/// ```
/// use tieline_client::soql::{field, select};
///
/// let query = select(["Id", "Account.Name"])
///     .from("Contact")
///     .filter(field("LastName").eq("Lovelace").and(field("Email").ne(None::<&str>).or(field("DoNotCall").eq(false))))
///     .order_by("Id")
///     .limit(10)
///     .build()?;
/// assert_eq!(
///     query,
///     "SELECT Id, Account.Name FROM Contact WHERE LastName = 'Lovelace' AND (Email != null OR DoNotCall = false) \
///      ORDER BY Id LIMIT 10"
/// );
/// # Ok::<(), tieline_client::soql::SoqlError>(())
/// ```
pub fn select<S: Into<String>>(fields: impl IntoIterator<Item = S>) -> Select {
    Select { fields: fields.into_iter().map(Into::into).collect(), ..Select::default() }
}

/// A query that is being put together.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Select {
    fields: Vec<String>,
    children: Vec<Select>,
    from: String,
    filter: Option<Condition>,
    order: Vec<(String, &'static str)>,
    limit: Option<u64>,
    offset: Option<u64>,
}

impl Select {
    /// The object, or in a query of children the name of their relationship.
    pub fn from(self, object: impl Into<String>) -> Self {
        Self { from: object.into(), ..self }
    }

    /// Children of each record too: `select(["Id"]).from("Contacts")`.
    pub fn children(mut self, children: Select) -> Self {
        self.children.push(children);
        self
    }

    /// Only records that fit; a second one must be fitted too.
    pub fn filter(self, condition: Condition) -> Self {
        let filter = match self.filter {
            Some(before) => before.and(condition),
            None => condition,
        };
        Self { filter: Some(filter), ..self }
    }

    /// In this order; a second field decides where the first is equal.
    pub fn order_by(mut self, field: impl Into<String>) -> Self {
        self.order.push((field.into(), ""));
        self
    }

    /// In this order, the greatest first and empty ones last.
    pub fn order_by_desc(mut self, field: impl Into<String>) -> Self {
        self.order.push((field.into(), " DESC NULLS LAST"));
        self
    }

    /// So many at most.
    pub fn limit(self, records: u64) -> Self {
        Self { limit: Some(records), ..self }
    }

    /// Without the first so many; Salesforce takes 2,000 at most.
    pub fn offset(self, records: u64) -> Self {
        Self { offset: Some(records), ..self }
    }

    /// The query's text.
    ///
    /// # Errors
    /// [`SoqlError`] for a name that is none, and for a query without fields or object.
    pub fn build(&self) -> Result<String, SoqlError> {
        if self.fields.is_empty() && self.children.is_empty() {
            return Err(SoqlError::Incomplete("no field"));
        }
        if self.from.is_empty() {
            return Err(SoqlError::Incomplete("from no object"));
        }
        let mut selected: Vec<String> = Vec::new();
        for name in &self.fields {
            selected.push(identifier(name)?.to_owned());
        }
        for children in &self.children {
            selected.push(format!("({})", children.build()?));
        }
        let mut out = format!("SELECT {} FROM {}", selected.join(", "), identifier(&self.from)?);
        if let Some(filter) = &self.filter {
            out.push_str(" WHERE ");
            out.push_str(&filter.written()?);
        }
        for (n, (name, how)) in self.order.iter().enumerate() {
            out.push_str(if n == 0 { " ORDER BY " } else { ", " });
            out.push_str(identifier(name)?);
            out.push_str(how);
        }
        if let Some(limit) = self.limit {
            out.push_str(&format!(" LIMIT {limit}"));
        }
        if let Some(offset) = self.offset {
            out.push_str(&format!(" OFFSET {offset}"));
        }
        Ok(out)
    }
}

/// A field to compare, or a path such as `Account.Name`.
pub fn field(name: impl Into<String>) -> Field {
    Field(name.into())
}

/// See [`field`].
#[derive(Debug, Clone)]
#[must_use]
pub struct Field(String);

/// What records must fit.
#[derive(Debug, Clone)]
#[must_use]
pub enum Condition {
    #[doc(hidden)]
    Compare(String, &'static str, Value),
    #[doc(hidden)]
    All(Vec<Condition>),
    #[doc(hidden)]
    Any(Vec<Condition>),
    #[doc(hidden)]
    Not(Box<Condition>),
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident $operator:literal),* $(,)?) => {
        impl Field {
            $($(#[$doc])* pub fn $name(self, value: impl Into<Value>) -> Condition {
                Condition::Compare(self.0, $operator, value.into())
            })*
        }
    };
}

comparisons! {
    /// Equal; text without regard to case, and `null` to what is empty.
    eq "=",
    /// Not equal.
    ne "!=",
    /// Less.
    lt "<",
    /// Less or equal.
    le "<=",
    /// Greater.
    gt ">",
    /// Greater or equal.
    ge ">=",
    /// Of this pattern; see [`Like`](super::Like).
    like "LIKE",
    /// One of a list.
    is_in "IN",
    /// None of a list.
    not_in "NOT IN",
    /// A multi-select picklist with one of these; `A;B` means both.
    includes "INCLUDES",
    /// A multi-select picklist with none of these.
    excludes "EXCLUDES",
}

impl Condition {
    /// Both.
    pub fn and(self, other: Condition) -> Condition {
        match self {
            Condition::All(mut all) => {
                all.push(other);
                Condition::All(all)
            }
            one => Condition::All(vec![one, other]),
        }
    }

    /// One or both.
    pub fn or(self, other: Condition) -> Condition {
        match self {
            Condition::Any(mut any) => {
                any.push(other);
                Condition::Any(any)
            }
            one => Condition::Any(vec![one, other]),
        }
    }

    /// The opposite.
    #[expect(clippy::should_implement_trait, reason = "it reads as SOQL does")]
    pub fn not(self) -> Condition {
        Condition::Not(Box::new(self))
    }

    fn written(&self) -> Result<String, SoqlError> {
        // SOQL refuses AND beside OR without parentheses, so every group within another has them.
        let group = |parts: &[Condition], word: &str| {
            let written: Result<Vec<String>, SoqlError> = parts
                .iter()
                .map(|part| match part {
                    Condition::Compare(..) => part.written(),
                    _ => Ok(format!("({})", part.written()?)),
                })
                .collect();
            Ok(written?.join(word))
        };
        match self {
            Condition::Compare(name, operator, value) => {
                Ok(format!("{} {operator} {}", identifier(name)?, value.literal()?))
            }
            Condition::All(parts) => group(parts, " AND "),
            Condition::Any(parts) => group(parts, " OR "),
            Condition::Not(inner) => Ok(format!("NOT ({})", inner.written()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_within_groups_have_parentheses() {
        let (a, b, c) = (field("A").eq(1), field("B").gt(2.5), field("C").is_in(vec!["x", "y'"]));
        let query = select(["Id"]).from("T").filter(a.clone().or(b.clone()).and(c.clone().not()));
        assert_eq!(query.build().unwrap(), r"SELECT Id FROM T WHERE (A = 1 OR B > 2.5) AND (NOT (C IN ('x', 'y\'')))");
        let query = select(["Id"]).from("T").filter(a).filter(b).filter(c).order_by_desc("A").order_by("Id").offset(5);
        let expected =
            r"SELECT Id FROM T WHERE A = 1 AND B > 2.5 AND C IN ('x', 'y\'') ORDER BY A DESC NULLS LAST, Id OFFSET 5";
        assert_eq!(query.build().unwrap(), expected);
        let children = select(["Name"]).children(select(["Id"]).from("Contacts").limit(2)).from("Account");
        assert_eq!(children.build().unwrap(), "SELECT Name, (SELECT Id FROM Contacts LIMIT 2) FROM Account");
    }

    #[test]
    fn a_name_that_is_none_is_refused_wherever_it_stands() {
        let bad = "Id FROM User--";
        let of = |query: Select| query.build().unwrap_err();
        let name = SoqlError::Name(bad.to_owned());
        assert_eq!(of(select([bad]).from("T")), name);
        assert_eq!(of(select(["Id"]).from(bad)), name);
        assert_eq!(of(select(["Id"]).from("T").filter(field(bad).eq(1))), name);
        assert_eq!(of(select(["Id"]).from("T").order_by(bad)), name);
        assert_eq!(of(select(["Id"]).children(select(["Id"]).from(bad)).from("T")), name);
        assert_eq!(of(select(["Id"]).from("T").filter(field("A").eq(f64::NAN))), SoqlError::Number("NaN".to_owned()));
        assert_eq!(of(select(Vec::<String>::new()).from("T")), SoqlError::Incomplete("no field"));
        assert_eq!(of(select(["Id"])), SoqlError::Incomplete("from no object"));
    }
}
