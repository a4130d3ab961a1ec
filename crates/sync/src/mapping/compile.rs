//! From a definition to a plan, with everything that is wrong told at once.

use std::sync::Arc;

use tieline_client::rest::describe::Describe;
use tieline_store::mappings::{CONTACTS, is_reserved};
use tieline_store::object_tables::{Column, ColumnKind, ObjectTable};

use super::cell::Fixed;
use super::chain::Chain;
use super::column::{ColumnDefinition, Source};
use super::definition::{Definition, matches};
use super::describes::Describes;
use super::error::{Flaw, MappingError};
use super::plan::{Making, Plan, Planned};
use super::resolve::{Resolved, is_compound, is_stamp, kind_of, resolve, stamp_of};
use super::{naming, template};

/// A column on its way: its place in the definition, and what it is made of.
struct Draft {
    at: String,
    definition: ColumnDefinition,
    making: Making,
    fields: Vec<Resolved>,
    chain: Chain,
}

impl Plan {
    /// Holds a definition against the describes of the object and of its parents.
    ///
    /// # Errors
    /// [`MappingError`] with everything that is wrong, and the names that may have been meant.
    pub fn new(definition: &Definition, describes: &Describes) -> Result<Self, MappingError> {
        let mut compiler = Compiler { definition, describes, flaws: Vec::new(), warnings: Vec::new() };
        let plan = compiler.plan();
        let Compiler { flaws, warnings, .. } = compiler;
        match plan {
            Some(plan) if flaws.is_empty() => Ok(Plan { warnings, ..plan }),
            _ => Err(MappingError { mapping: definition.name.clone(), flaws }),
        }
    }

    /// The same of a definition that did fit: fields that the org shows no more, or not to this user, are left out.
    ///
    /// # Errors
    /// [`MappingError`] with what else is wrong.
    pub fn of_shown(definition: &Definition, describes: &Describes) -> Result<Self, MappingError> {
        let mut definition = definition.clone();
        // As it was meant: with its last column it would mean all fields.
        definition.all_fields = Some(definition.takes_all_fields());
        loop {
            match Plan::new(&definition, describes) {
                Err(error) if drop_flawed(&mut definition, &error) => {}
                plan => return plan,
            }
        }
    }
}

/// Takes out what the org no longer shows: columns, and fields that are to be refreshed. False if there is nothing to take
/// out.
fn drop_flawed(definition: &mut Definition, error: &MappingError) -> bool {
    let flawed: Vec<usize> = error.flaws.iter().filter_map(Flaw::column).collect();
    let unrefreshed: Vec<usize> = error.flaws.iter().filter_map(Flaw::refresh).collect();
    let before = definition.columns.len() + definition.refresh.len();
    let mut n = 0;
    definition.columns.retain(|_| {
        n += 1;
        !flawed.contains(&(n - 1))
    });
    let mut n = 0;
    definition.refresh.retain(|_| {
        n += 1;
        !unrefreshed.contains(&(n - 1))
    });
    definition.columns.len() + definition.refresh.len() < before
}

struct Compiler<'d> {
    definition: &'d Definition,
    describes: &'d Describes,
    flaws: Vec<Flaw>,
    warnings: Vec<String>,
}

impl Compiler<'_> {
    /// None if the object is not known, of which nothing more can be said then.
    fn plan(&mut self) -> Option<Plan> {
        let definition = self.definition;
        self.settings();
        let Some(describe) = self.describes.get(&definition.object) else {
            let reason = format!("the org has no object `{}`", definition.object);
            let flaw = Flaw::new("object", reason).near(&definition.object, self.describes.names());
            let unseen = "or the user may not see it: see its object permissions";
            self.flaws.push(if flaw.hint.is_some() { flaw } else { flaw.hint(unseen) });
            return None;
        };
        if !describe.queryable {
            self.flaws.push(Flaw::new("object", format!("{} cannot be queried", describe.name)));
        }
        let has = |name: &str| describe.field(name).is_some();
        let cursor = self.cursor(describe);
        let drafts = self.drafts(describe);
        let planned = self.columns(drafts);
        let mut plan = Plan {
            name: definition.name.clone(),
            object: describe.name.clone(),
            table: definition.table().to_owned(),
            select: Vec::new(),
            columns: Vec::new(),
            cursor_may_be_empty: cursor.as_ref().is_some_and(|(_, nillable)| *nillable),
            cursor: cursor.map(|(name, _)| name),
            parents: Vec::new(),
            calculated: Vec::new(),
            rest_only: Vec::new(),
            can_be_deleted: has("IsDeleted"),
            merges: has("MasterRecordId"),
            archives: has("IsArchived"),
            warnings: Vec::new(),
            planned,
        };
        plan.lay_out();
        if !definition.built_in
            && let Err(error) = ObjectTable::new(&plan.table, plan.columns.clone())
        {
            self.flaws.push(Flaw::new("table", error.to_string()));
        }
        self.about(&plan);
        Some(plan)
    }

    fn settings(&mut self) {
        let Definition { name, mass_delete_percent, .. } = self.definition;
        if !self.definition.built_in {
            let table = self.definition.table();
            for (at, name, reserved) in
                [("name", name.as_str(), is_reserved(name)), ("table", table, table == CONTACTS)]
            {
                if reserved {
                    let flaw = Flaw::new(at, format!("`{name}` is the mapping of contacts, which is built in"));
                    self.flaws.push(flaw.hint("choose another one; `tieline sync run` reads contacts without any"));
                }
            }
        }
        if name.trim().is_empty() {
            self.flaws.push(Flaw::new("name", "a mapping has a name"));
        }
        if !(1..=100).contains(mass_delete_percent) {
            let reason = format!("{mass_delete_percent} is no percentage from 1 to 100");
            self.flaws.push(Flaw::new("mass_delete_percent", reason));
        }
    }

    fn cursor(&mut self, describe: &Describe) -> Option<(String, bool)> {
        let Some(wanted) = &self.definition.cursor else {
            return stamp_of(describe).map(|field| (field.name.clone(), field.nillable));
        };
        let stamps = describe.fields.iter().filter(|field| is_stamp(field));
        let flaw =
            |reason: String| Flaw::new("cursor", reason).near(wanted, stamps.clone().map(|field| field.name.as_str()));
        match describe.field(wanted) {
            Some(field) if is_stamp(field) => return Some((field.name.clone(), field.nillable)),
            Some(field) => self.flaws.push(flaw(format!(
                "changes cannot be found by `{}`: it must be a datetime that can be filtered and sorted by",
                field.name
            ))),
            None => self.flaws.push(flaw(format!("the object {} has no field `{wanted}`", describe.name))),
        }
        None
    }

    fn drafts(&mut self, describe: &Describe) -> Vec<Draft> {
        let definition = self.definition;
        let mut drafts = Vec::new();
        for (n, column) in definition.columns.iter().enumerate() {
            match self.draft(describe, column, format!("columns[{n}]")) {
                Ok(draft) => drafts.push(draft),
                Err(flaws) => self.flaws.extend(flaws),
            }
        }
        for (n, pattern) in definition.ignore.iter().enumerate() {
            if !describe.fields.iter().any(|field| matches(pattern, &field.name)) {
                let flaw = Flaw::new(format!("ignore[{n}]"), format!("no field of {} is `{pattern}`", describe.name));
                self.warnings.push(flaw.near(pattern, describe.fields.iter().map(|f| f.name.as_str())).to_string());
            }
        }
        if definition.takes_all_fields() {
            for field in &describe.fields {
                let named = drafts.iter().any(|draft| {
                    matches!(draft.making, Making::Field) && draft.fields.iter().any(|named| named.path == field.name)
                });
                // The id is there anyway, and the parts of a compound field are fields of their own.
                let left_out = named || field.name == "Id" || is_compound(field) || kind_of(field).is_none();
                if left_out || definition.ignores(&field.name) {
                    continue;
                }
                match self.draft(describe, &ColumnDefinition::of(&field.name), field.name.clone()) {
                    Ok(draft) => drafts.push(draft),
                    Err(flaws) => self.flaws.extend(flaws),
                }
            }
        }
        drafts
    }

    fn draft(&self, describe: &Describe, column: &ColumnDefinition, at: String) -> Result<Draft, Vec<Flaw>> {
        let follow = |path: &str, at: &str| resolve(self.describes, describe, path, at);
        let (making, fields, from) = match &column.source {
            Source::Field(path) => {
                let field = follow(path, &format!("{at}.field")).map_err(|flaw| vec![flaw])?;
                let kind = field.kind;
                (Making::Field, vec![field], kind)
            }
            Source::Template(text) => {
                let at = format!("{at}.template");
                let pieces = template::read(text).map_err(|reason| vec![Flaw::new(&at, reason)])?;
                let (mut fields, mut flaws) = (Vec::new(), Vec::new());
                for path in template::paths(&pieces) {
                    match follow(&path, &at) {
                        Ok(field) => fields.push(field),
                        Err(flaw) => flaws.push(flaw),
                    }
                }
                if !flaws.is_empty() {
                    return Err(flaws);
                }
                (Making::Template(pieces), fields, ColumnKind::Text)
            }
            Source::Constant(value) => {
                let kind = column.kind.unwrap_or_else(|| kind_of_constant(value));
                let fixed = Fixed::read(kind, value)
                    .map_err(|reason| vec![Flaw::new(format!("{at}.constant"), format!("`{value}`: {reason}"))])?;
                if !column.transforms.is_empty() {
                    let flaw = Flaw::new(format!("{at}.transforms"), "a constant is written as it is to be");
                    return Err(vec![flaw]);
                }
                (Making::Constant(fixed), Vec::new(), kind)
            }
        };
        let chain = Chain::new(&column.transforms, from, column.kind).map_err(|(step, reason)| {
            let at = step.map_or_else(|| format!("{at}.kind"), |step| format!("{at}.transforms[{step}]"));
            vec![Flaw::new(at, reason)]
        })?;
        Ok(Draft { at, definition: column.clone(), making, fields, chain })
    }

    fn columns(&mut self, drafts: Vec<Draft>) -> Vec<Arc<Planned>> {
        let given: Vec<&str> = drafts.iter().filter_map(|draft| draft.definition.column.as_deref()).collect();
        let unnamed = drafts.iter().filter(|draft| draft.definition.column.is_none());
        let paths: Vec<&str> = unnamed.filter_map(only_path).collect();
        let names = naming::names(&paths, &given);
        let mut planned = Vec::with_capacity(drafts.len());
        let mut named = Vec::with_capacity(drafts.len());
        for draft in &drafts {
            let name = match (&draft.definition.column, only_path(draft)) {
                (Some(name), _) => Some(name.clone()),
                // A key of JSON, as the org has it.
                (None, Some(path)) if self.definition.built_in => Some(path.to_owned()),
                (None, Some(path)) => names.get(path).cloned(),
                (None, None) => None,
            };
            if name.is_none() {
                let flaw = Flaw::new(format!("{}.column", draft.at), "a constant or a template has no name by itself");
                self.flaws.push(flaw.hint("name the column: `column = \"…\"`"));
            }
            if name.as_deref() == Some("id") && only_path(draft) == Some("Id") {
                let flaw = Flaw::new(&draft.at, "the record's id is in the table's column `id` anyway");
                self.flaws.push(flaw.hint("leave the column out, or name it otherwise"));
            }
            named.push(name.unwrap_or_default());
        }
        let refreshed = self.refreshed(&drafts);
        for (n, (draft, name)) in drafts.into_iter().zip(named).enumerate() {
            if named_twice(&name, &planned) {
                let flaw = Flaw::new(&draft.at, format!("there are two columns `{name}`"));
                self.flaws.push(flaw.hint("name one of them otherwise: `column = \"…\"`"));
                continue;
            }
            // Told above.
            if name.is_empty() || (name == "id" && only_path(&draft) == Some("Id")) {
                continue;
            }
            let kind = draft.chain.kind();
            let column = Column { name, kind };
            if !self.definition.built_in
                && let Err(error) = column.check()
            {
                self.flaws.push(Flaw::new(format!("{}.column", draft.at), error.to_string()));
                continue;
            }
            let default = draft.definition.default.as_ref().map(|value| Fixed::read(kind, value)).transpose();
            let default = default.unwrap_or_else(|reason| {
                let value = draft.definition.default.clone().unwrap_or_default();
                self.flaws.push(Flaw::new(format!("{}.default", draft.at), format!("`{value}`: {reason}")));
                None
            });
            let calculated = refreshed[n] || draft.fields.iter().any(|field| field.calculated);
            planned.push(Arc::new(Planned {
                column,
                making: draft.making,
                fields: draft.fields,
                chain: draft.chain,
                default,
                calculated,
                written: serde_json::to_value(&draft.definition).unwrap_or_default(),
            }));
        }
        planned
    }

    /// Which columns the definition says are like formulas.
    fn refreshed(&mut self, drafts: &[Draft]) -> Vec<bool> {
        let mut refreshed = vec![false; drafts.len()];
        for (n, path) in self.definition.refresh.iter().enumerate() {
            let mut found = false;
            for (draft, is) in drafts.iter().zip(&mut refreshed) {
                if draft.fields.iter().any(|field| field.path.eq_ignore_ascii_case(path)) {
                    (*is, found) = (true, true);
                }
            }
            if !found {
                let paths = drafts.iter().flat_map(|draft| draft.fields.iter().map(|field| field.path.as_str()));
                let flaw = Flaw::new(format!("refresh[{n}]"), format!("no column is made of `{path}`"));
                self.flaws.push(flaw.near(path, paths));
            }
        }
        refreshed
    }

    fn about(&mut self, plan: &Plan) {
        let object = &plan.object;
        match plan.cursor.as_deref() {
            // A wrong cursor was told already.
            None if self.definition.cursor.is_some() => {}
            None => self.warnings.push(format!(
                "{object} has no field by which changes are found: it is read anew as a whole each time"
            )),
            Some("SystemModstamp") => {}
            Some(cursor) => self
                .warnings
                .push(format!("changes of {object} are found by {cursor}: what changes without moving it is not seen")),
        }
        if !plan.can_be_deleted {
            self.warnings.push(format!("{object} has no IsDeleted: what is gone is found by comparing ids"));
        }
        for parent in plan.parents.iter().filter(|parent| parent.stamp_path.is_none()) {
            self.warnings.push(format!(
                "whether the record behind {} has changed cannot be asked: its columns follow when the record itself changes",
                parent.relationship
            ));
        }
        if !plan.rest_only.is_empty() {
            let names: Vec<&str> = plan.rest_only.iter().map(|n| plan.columns[*n].name.as_str()).collect();
            self.warnings
                .push(format!("the Bulk API does not answer addresses and places as a whole: {}", names.join(", ")));
        }
    }
}

fn named_twice(name: &str, planned: &[Arc<Planned>]) -> bool {
    !name.is_empty() && planned.iter().any(|planned| planned.column.name == name)
}

/// The path of a column that is one field's.
fn only_path(draft: &Draft) -> Option<&str> {
    match (&draft.making, draft.fields.as_slice()) {
        (Making::Field, [field]) => Some(&field.path),
        _ => None,
    }
}

fn kind_of_constant(value: &serde_json::Value) -> ColumnKind {
    match value {
        serde_json::Value::String(_) | serde_json::Value::Null => ColumnKind::Text,
        serde_json::Value::Bool(_) => ColumnKind::Bool,
        serde_json::Value::Number(number) if number.is_i64() => ColumnKind::Integer,
        serde_json::Value::Number(_) => ColumnKind::Number,
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => ColumnKind::Json,
    }
}
