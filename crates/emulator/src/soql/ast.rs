//! A parsed query. Every name keeps the byte offset at which it stood, for error positions.

#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) selections: Vec<Selection>,
    pub(crate) object: Name,
    /// `FROM Contact c`: paths may begin with it.
    pub(crate) alias: Option<String>,
    pub(crate) filter: Option<Condition>,
    pub(crate) group_by: Vec<Operand>,
    pub(crate) having: Option<Condition>,
    pub(crate) order_by: Vec<Ordering>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: Option<u64>,
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
    pub(crate) at: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Text(String),
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
