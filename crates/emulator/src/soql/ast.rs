//! A parsed query. Every name keeps the byte offset at which it stood, for error positions.

#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) selections: Vec<Selection>,
    pub(crate) object: Name,
    /// `FROM Contact c`: paths may begin with it.
    pub(crate) alias: Option<String>,
    /// `FROM Contact c, c.Account a`: a path and the alias it goes by.
    pub(crate) parents: Vec<(Name, String)>,
    /// `USING SCOPE mine`.
    pub(crate) scope: Option<Name>,
    pub(crate) filter: Option<Condition>,
    pub(crate) group_by: Vec<Operand>,
    pub(crate) subtotals: Subtotals,
    pub(crate) having: Option<Condition>,
    pub(crate) order_by: Vec<Ordering>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: Option<u64>,
    /// The first of GROUP BY, ORDER BY, LIMIT and OFFSET, which a semi-join may not have.
    pub(crate) first_clause: Option<Name>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Subtotals {
    None,
    Rollup,
    Cube,
}

#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) at: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Selection {
    Operand { operand: Operand, alias: Option<Name> },
    Children(Box<Query>),
    TypeOf(TypeOf),
}

/// `TYPEOF Who WHEN Contact THEN Email ELSE Name END`.
#[derive(Debug, Clone)]
pub(crate) struct TypeOf {
    pub(crate) field: Name,
    pub(crate) branches: Vec<(Name, Vec<Name>)>,
    pub(crate) otherwise: Vec<Name>,
}

#[derive(Debug, Clone)]
pub(crate) enum Operand {
    /// `Account.Owner.Name`, dotted.
    Path(Name),
    /// `COUNT()`, `MAX(CreatedDate)`, `FIELDS(ALL)`, …
    Call { function: Name, arguments: Vec<Operand> },
}

#[derive(Debug, Clone)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Compare {
        left: Operand,
        operator: String,
        value: Value,
    },
    In {
        left: Operand,
        negated: bool,
        set: Set,
    },
    /// Multi-select picklists: `INCLUDES ('A;B', 'C')`.
    Includes {
        left: Operand,
        negated: bool,
        values: Vec<Value>,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Set {
    Values(Vec<Value>),
    Query(Box<Query>),
}

#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) literal: Literal,
    /// A string as LIKE takes it: escaped wildcards and backslashes keep their backslash.
    pub(crate) pattern: String,
    pub(crate) at: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Text(String),
    /// `USD5000`: the code is not looked at, the org has one currency.
    Currency(f64),
    /// As written, normalised to the stored form.
    DateTime(String),
    Date(String),
    Number(f64),
    Boolean(bool),
    Null,
    /// `TODAY`, `LAST_N_DAYS:30`: the name in upper case and its count.
    Relative(String, Option<i64>),
}

#[derive(Debug, Clone)]
pub(crate) struct Ordering {
    pub(crate) by: Operand,
    pub(crate) descending: bool,
    pub(crate) nulls_last: bool,
}
