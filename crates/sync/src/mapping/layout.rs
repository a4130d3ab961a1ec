//! A plan as it is needed value by value: where each selected field goes.

use std::sync::Arc;

use tieline_store::object_tables::ColumnKind;

use super::cell::Fixed;
use super::plan::{Making, Plan, Planned};

/// A plan as it is needed value by value.
#[derive(Debug)]
pub(super) struct Layout {
    /// The selected paths, in their order.
    pub(super) leaves: Vec<Leaf>,
    pub(super) nodes: Vec<Node>,
    pub(super) columns: Vec<Arc<Planned>>,
    /// What stands in a column until the record says otherwise.
    pub(super) prefilled: Vec<(usize, Fixed)>,
    /// Columns of several fields, with the number of the leaf for each of them.
    pub(super) templates: Vec<(usize, Vec<usize>)>,
    pub(super) stamped: bool,
    pub(super) stamp_may_be_empty: bool,
    pub(super) deletable: bool,
}

/// A selected field.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) path: String,
    pub(super) kind: ColumnKind,
    pub(super) control: Option<Control>,
    /// Columns that it is the value of.
    pub(super) columns: Vec<usize>,
    /// Kept until the record's end, for columns of several fields.
    pub(super) kept: bool,
}

/// What a field says of the record itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    Id,
    Stamp,
    Deleted,
    Master,
    Archived,
}

/// A record or a parent within it: its keys in the order in which the org is expected to write them.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) children: Vec<(String, Child)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Child {
    Leaf(usize),
    Node(usize),
}

impl Layout {
    pub(super) fn new(plan: &Plan) -> Self {
        let controls = [
            (Some("Id"), Control::Id, ColumnKind::Text),
            (plan.cursor.as_deref(), Control::Stamp, ColumnKind::DateTime),
            (plan.can_be_deleted.then_some("IsDeleted"), Control::Deleted, ColumnKind::Bool),
            (plan.merges.then_some("MasterRecordId"), Control::Master, ColumnKind::Text),
            (plan.archives.then_some("IsArchived"), Control::Archived, ColumnKind::Bool),
        ];
        let mut leaves: Vec<Leaf> = Vec::with_capacity(plan.select.len());
        for path in &plan.select {
            let control = controls.iter().find(|(name, ..)| *name == Some(path.as_str()));
            let fields = plan.planned.iter().flat_map(|planned| &planned.fields);
            let field = fields.into_iter().find(|field| field.path == *path);
            let kind = field.map(|field| field.kind).or(control.map(|(_, _, kind)| *kind));
            leaves.push(Leaf {
                path: path.clone(),
                kind: kind.unwrap_or(ColumnKind::Text),
                control: control.map(|(_, control, _)| *control),
                columns: Vec::new(),
                kept: false,
            });
        }
        let leaf_of = |path: &str| plan.select.iter().position(|selected| selected == path).unwrap_or_default();
        let (mut prefilled, mut templates) = (Vec::new(), Vec::new());
        for (n, planned) in plan.planned.iter().enumerate() {
            let of: Vec<usize> = planned.fields.iter().map(|field| leaf_of(&field.path)).collect();
            match &planned.making {
                Making::Field => of.iter().for_each(|leaf| leaves[*leaf].columns.push(n)),
                Making::Constant(value) => prefilled.push((n, value.clone())),
                Making::Template(_) => {
                    of.iter().for_each(|leaf| leaves[*leaf].kept = true);
                    templates.push((n, of));
                }
            }
            if let Some(default) = &planned.default {
                prefilled.push((n, default.clone()));
            }
        }
        Self {
            nodes: tree(&plan.select),
            leaves,
            columns: plan.planned.clone(),
            prefilled,
            templates,
            stamped: plan.cursor.is_some(),
            stamp_may_be_empty: plan.cursor_may_be_empty,
            deletable: plan.can_be_deleted,
        }
    }
}

/// The paths as records and parents within them; the first node is the record.
fn tree(paths: &[String]) -> Vec<Node> {
    let mut nodes = vec![Node::default()];
    for (leaf, path) in paths.iter().enumerate() {
        let mut names: Vec<&str> = path.split('.').collect();
        let last = names.pop().unwrap_or_default();
        let mut node = 0;
        for name in names {
            let found = nodes[node].children.iter().find_map(|(known, child)| match child {
                Child::Node(n) if known == name => Some(*n),
                _ => None,
            });
            node = found.unwrap_or_else(|| {
                let new = nodes.len();
                nodes.push(Node::default());
                nodes[node].children.push((name.to_owned(), Child::Node(new)));
                new
            });
        }
        nodes[node].children.push((last.to_owned(), Child::Leaf(leaf)));
    }
    nodes
}
