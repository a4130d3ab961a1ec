//! What the editor shows: the form or the text, each flaw at its place, and records as they would be written.

use askama::Template;
use tieline_store::object_tables::ColumnKind;
use tieline_store::{Integration, Uuid};

use super::draft::Draft;
use super::fields::Fields;
use super::steps::OFFERED;
use super::tried::Tried;
use crate::mappings::check::FlawView;
use crate::pages::frame::Frame;
use crate::problem::Problem;

/// Kinds of columns, with their words.
const KINDS: [(ColumnKind, &str); 8] = [
    (ColumnKind::Text, "text"),
    (ColumnKind::Integer, "whole number"),
    (ColumnKind::Number, "number"),
    (ColumnKind::Bool, "true or false"),
    (ColumnKind::Date, "date"),
    (ColumnKind::DateTime, "date and time"),
    (ColumnKind::Time, "time of day"),
    (ColumnKind::Json, "JSON"),
];

/// A definition that is written: by the form or as text.
pub(super) enum Sheet {
    Form(Box<Draft>),
    Text(String),
}

#[derive(Template)]
#[template(path = "editor.html")]
pub(super) struct Page {
    pub(super) frame: Frame,
    pub(super) connection: Integration,
    pub(super) object: String,
    /// The mapping that is changed; none: a new one.
    pub(super) mapping: Option<(Uuid, String)>,
    pub(super) sheet: Sheet,
    pub(super) fields: Option<Fields>,
    pub(super) flaws: Vec<FlawView>,
    pub(super) warnings: Vec<String>,
    pub(super) tried: Option<Tried>,
    pub(super) problem: Option<Problem>,
    /// Why it is not shown as it was asked for.
    pub(super) note: &'static str,
}

impl Page {
    fn draft(&self) -> Option<&Draft> {
        match &self.sheet {
            Sheet::Form(draft) => Some(draft),
            Sheet::Text(_) => None,
        }
    }

    fn text(&self) -> &str {
        match &self.sheet {
            Sheet::Form(_) => "",
            Sheet::Text(text) => text,
        }
    }

    fn action(&self) -> String {
        self.mapping.as_ref().map_or_else(|| "/mappings/new".to_owned(), |(id, _)| format!("/mappings/{id}/edit"))
    }

    fn back(&self) -> String {
        self.mapping.as_ref().map_or_else(|| "/mappings".to_owned(), |(id, _)| format!("/mappings/{id}"))
    }

    /// What is wrong at a place.
    fn flaw(&self, at: &str) -> Option<&FlawView> {
        self.flaws
            .iter()
            .find(|flaw| flaw.at == at || flaw.at.strip_prefix(at).is_some_and(|rest| rest.starts_with('[')))
    }

    /// What is wrong with a column.
    fn flaws_of(&self, n: &usize) -> Vec<&FlawView> {
        self.flaws.iter().filter(|flaw| column(&flaw.at) == Some(*n)).collect()
    }

    /// Whether it is wrong in one of these.
    fn is_wrong(&self, n: &usize, part: &str) -> bool {
        let at = format!("columns[{n}]");
        let rest = |flaw: &FlawView| flaw.at.strip_prefix(&at).map(str::to_owned);
        self.flaws.iter().filter_map(rest).any(|rest| match part {
            "from" => matches!(rest.as_str(), "" | ".field" | ".template" | ".constant"),
            part => rest.strip_prefix('.') == Some(part),
        })
    }

    fn is_wrong_step(&self, n: &usize, step: &usize) -> bool {
        self.is_wrong(n, &format!("transforms[{step}]"))
    }

    /// Where on the page it is to be put right.
    fn anchor(&self, flaw: &FlawView) -> String {
        if self.draft().is_none() {
            return "text".to_owned();
        }
        match column(&flaw.at) {
            Some(n) => format!("column-{n}"),
            None => {
                let at = flaw.at.split(['[', '.']).next().unwrap_or_default();
                let known = [
                    "name",
                    "table",
                    "every",
                    "method",
                    "lookback",
                    "lag",
                    "since",
                    "cursor",
                    "refresh",
                    "ignore",
                    "mass_delete_percent",
                ];
                if known.contains(&at) { format!("f-{at}") } else { "main".to_owned() }
            }
        }
    }

    /// Its place in words.
    fn place(&self, flaw: &FlawView) -> String {
        let setting = |at: &str| match at {
            "every" => "Schedule".to_owned(),
            "ignore" => "Fields left out".to_owned(),
            "refresh" => "Like formulas".to_owned(),
            "mass_delete_percent" => "May vanish at once".to_owned(),
            "since" => "From".to_owned(),
            "definition" | "text" => "Text".to_owned(),
            at => {
                let mut letters = at.chars();
                letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
            }
        };
        match column(&flaw.at) {
            None => setting(flaw.at.split('[').next().unwrap_or_default()),
            Some(n) => {
                let part = flaw.at.split_once("].").map(|(_, part)| part.split('[').next().unwrap_or_default());
                let part = part.map(|part| if part == "transforms" { "transform" } else { part });
                format!("Column {}{}", n + 1, part.map(|part| format!(", {part}")).unwrap_or_default())
            }
        }
    }

    fn kinds(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        KINDS.into_iter().map(|(kind, words)| (kind.name(), words))
    }

    fn steps(&self) -> [(&'static str, &'static str); 14] {
        OFFERED
    }
}

fn column(at: &str) -> Option<usize> {
    at.strip_prefix("columns[")?.split_once(']')?.0.parse().ok()
}
