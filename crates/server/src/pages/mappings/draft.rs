//! A definition as the editor's form has it: texts, whatever somebody types, and a definition as soon as they fit.
//!
//! What a form cannot hold without loss is not shown in one: [`Draft::of`] tries the way back first.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tieline_sync::mapping::{ColumnDefinition, Definition, Source};

use super::steps;
use crate::mappings::check::FlawView;

/// Keys that are a text in the form and in the definition.
const TEXTS: [&str; 5] = ["every", "lookback", "lag", "since", "cursor"];

/// It.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) all_fields: bool,
    /// Patterns, with spaces or commas between them.
    pub(crate) ignore: String,
    pub(crate) every: String,
    pub(crate) method: String,
    pub(crate) lookback: String,
    pub(crate) lag: String,
    pub(crate) since: String,
    pub(crate) cursor: String,
    pub(crate) refresh: String,
    pub(crate) mass_delete_percent: String,
    pub(crate) columns: Vec<Row>,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// `field`, `template` or `constant`.
    pub(crate) source: String,
    /// The path, the template or the value.
    pub(crate) from: String,
    pub(crate) column: String,
    pub(crate) kind: String,
    pub(crate) steps: Vec<String>,
    pub(crate) default: String,
}

impl Row {
    pub(crate) fn of_a_field() -> Self {
        Self { source: "field".to_owned(), ..Self::default() }
    }

    fn is_blank(&self) -> bool {
        let Self { from, column, kind, steps, default, .. } = self;
        [from, column, kind, default].into_iter().chain(steps).all(|text| text.trim().is_empty())
    }

    fn of(column: &ColumnDefinition) -> Self {
        let (source, from) = match &column.source {
            Source::Field(path) => ("field", path.clone()),
            Source::Template(text) => ("template", text.clone()),
            Source::Constant(value) => ("constant", write_value(value)),
        };
        Self {
            source: source.to_owned(),
            from,
            column: column.column.clone().unwrap_or_default(),
            kind: column.kind.map(|kind| kind.name().to_owned()).unwrap_or_default(),
            steps: column.transforms.iter().map(steps::write).collect(),
            default: column.default.as_ref().map(write_value).unwrap_or_default(),
        }
    }

    /// The column as a definition has it; what is wrong goes to the flaws, and something that may stand there in its place.
    fn definition(&self, at: &str, flaws: &mut Vec<FlawView>) -> Value {
        let mut column = Map::new();
        let source = if matches!(self.source.as_str(), "template" | "constant") { &self.source } else { "field" };
        if self.from.trim().is_empty() {
            let (reason, hint) = match source {
                "field" => ("no field is named", "name one, such as Name or Account.Name"),
                "template" => ("the template is empty", "write a text with fields in it: {FirstName} {LastName}"),
                _ => ("the constant is empty", "write the value; \"\" for an empty text"),
            };
            flaws.push(flaw(format!("{at}.{source}"), reason, Some(hint)));
        }
        let from = match source {
            "field" => Value::from(self.from.trim()),
            "constant" => read_value(&self.from),
            _ => Value::from(self.from.as_str()),
        };
        column.insert(source.to_owned(), from);
        for (key, text) in [("column", &self.column), ("kind", &self.kind)] {
            if !text.trim().is_empty() {
                column.insert(key.to_owned(), Value::from(text.trim()));
            }
        }
        let mut written = Vec::new();
        for (n, step) in self.steps.iter().enumerate() {
            match steps::read(step) {
                Ok(step) => written.push(json!(step)),
                Err(reason) => {
                    flaws.push(flaw(format!("{at}.transforms[{n}]"), reason, None));
                    written.push(json!("trim"));
                }
            }
        }
        if !written.is_empty() {
            column.insert("transforms".to_owned(), written.into());
        }
        if !self.default.trim().is_empty() {
            column.insert("default".to_owned(), read_value(&self.default));
        }
        column.into()
    }
}

impl Draft {
    /// A definition as a form. None: the form cannot hold all of it.
    pub(super) fn of(definition: &Definition) -> Option<Self> {
        let json = definition.to_json();
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        let draft = Self {
            name: definition.name.clone(),
            table: definition.table.clone().unwrap_or_default(),
            all_fields: definition.takes_all_fields(),
            ignore: definition.ignore.join(" "),
            every: text("every"),
            method: text("method"),
            lookback: text("lookback"),
            lag: text("lag"),
            since: text("since").trim_end_matches("T00:00:00Z").to_owned(),
            cursor: text("cursor"),
            refresh: definition.refresh.join(" "),
            mass_delete_percent: json["mass_delete_percent"].as_u64().map(|n| n.to_string()).unwrap_or_default(),
            columns: definition.columns.iter().map(Row::of).collect(),
        };
        let (again, flaws) = draft.definition(&definition.object);
        let again = Definition::from_json(Value::Object(again)).ok().map(settled);
        // A field of one line takes line breaks out.
        let is_whole = flaws.is_empty() && !draft.texts().any(|text| text.contains(['\n', '\r']));
        (is_whole && again.as_ref() == Some(&settled(definition.clone()))).then_some(draft)
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        let rows =
            self.columns.iter().flat_map(|row| [&row.from, &row.column, &row.default].into_iter().chain(&row.steps));
        [&self.name, &self.table, &self.ignore, &self.cursor, &self.refresh].into_iter().chain(rows)
    }

    /// What the form sent: rows in the order of their numbers, steps in theirs.
    pub(super) fn sent(pairs: &[(String, String)]) -> Self {
        let mut draft = Self::default();
        let mut rows: BTreeMap<usize, Row> = BTreeMap::new();
        for (key, value) in pairs {
            let value = value.clone();
            if let Some((n, part)) = key.strip_prefix("columns.").and_then(|rest| rest.split_once('.')) {
                let Ok(n) = n.parse::<usize>() else { continue };
                let row = rows.entry(n).or_insert_with(Row::of_a_field);
                match part {
                    "source" => row.source = value,
                    "from" => row.from = value,
                    "column" => row.column = value,
                    "kind" => row.kind = value,
                    "default" => row.default = value,
                    "step" if !value.trim().is_empty() => row.steps.push(value),
                    _ => {}
                }
                continue;
            }
            match key.as_str() {
                "name" => draft.name = value,
                "table" => draft.table = value,
                "all_fields" => draft.all_fields = true,
                "ignore" => draft.ignore = value,
                "every" => draft.every = value,
                "method" => draft.method = value,
                "lookback" => draft.lookback = value,
                "lag" => draft.lag = value,
                "since" => draft.since = value,
                "cursor" => draft.cursor = value,
                "refresh" => draft.refresh = value,
                "mass_delete_percent" => draft.mass_delete_percent = value,
                _ => {}
            }
        }
        draft.columns = rows.into_values().collect();
        draft
    }

    /// Without the rows in which nothing stands.
    pub(super) fn drop_blank(&mut self) {
        self.columns.retain(|row| !row.is_blank());
    }

    fn text(&self, key: &str) -> &str {
        match key {
            "every" => &self.every,
            "lookback" => &self.lookback,
            "lag" => &self.lag,
            "since" => &self.since,
            _ => &self.cursor,
        }
        .trim()
    }

    /// The definition, and what of it can be seen to be wrong without the org. It can be read all the same.
    pub(super) fn definition(&self, object: &str) -> (Map<String, Value>, Vec<FlawView>) {
        let (mut all, mut flaws) = (Map::new(), Vec::new());
        all.insert("name".to_owned(), Value::from(self.name.as_str()));
        all.insert("object".to_owned(), Value::from(object));
        if !self.table.trim().is_empty() {
            all.insert("table".to_owned(), Value::from(self.table.trim()));
        }
        let mut take = |key: &str, value: Value| {
            let alone = json!({"name": "x", "object": "X", key: value.clone()});
            match Definition::from_json(alone) {
                Ok(_) => drop(all.insert(key.to_owned(), value)),
                Err(error) => {
                    flaws.extend(
                        error.flaws.into_iter().map(|wrong| flaw(key.to_owned(), wrong.reason, wrong.hint.as_deref())),
                    );
                }
            }
        };
        for key in TEXTS {
            if !self.text(key).is_empty() {
                take(key, Value::from(self.text(key)));
            }
        }
        if !matches!(self.method.as_str(), "" | "auto") {
            take("method", Value::from(self.method.as_str()));
        }
        let percent = self.mass_delete_percent.trim();
        match percent.parse::<u8>() {
            Ok(percent) => take("mass_delete_percent", Value::from(percent)),
            Err(_) if percent.is_empty() => {}
            Err(_) => flaws.push(flaw("mass_delete_percent".to_owned(), "this is no percentage from 1 to 100", None)),
        }
        for (key, text) in [("ignore", &self.ignore), ("refresh", &self.refresh)] {
            let names: Vec<&str> = text.split([' ', ',', '\t']).filter(|name| !name.is_empty()).collect();
            if !names.is_empty() {
                all.insert(key.to_owned(), json!(names));
            }
        }
        if self.all_fields != self.columns.is_empty() {
            all.insert("all_fields".to_owned(), Value::from(self.all_fields));
        }
        let row = |(n, row): (usize, &Row)| row.definition(&format!("columns[{n}]"), &mut flaws);
        let columns: Vec<Value> = self.columns.iter().enumerate().map(row).collect();
        if !columns.is_empty() {
            all.insert("columns".to_owned(), columns.into());
        }
        (all, flaws)
    }

    /// The method that is chosen.
    pub(crate) fn is_method(&self, name: &str) -> bool {
        let chosen = if self.method.is_empty() { "auto" } else { self.method.as_str() };
        chosen == name
    }

    /// Whether any of the settings that are folded is another than usual.
    pub(crate) fn has_more(&self) -> bool {
        let Self { lookback, lag, since, cursor, refresh, mass_delete_percent, .. } = self;
        !self.is_method("auto")
            || [lookback, lag, since, cursor, refresh, mass_delete_percent].iter().any(|text| !text.is_empty())
    }
}

fn flaw(at: String, reason: impl Into<String>, hint: Option<&str>) -> FlawView {
    FlawView { at, reason: reason.into(), hint: hint.map(str::to_owned) }
}

/// As it is meant: whether all fields are taken may follow from the columns.
fn settled(mut definition: Definition) -> Definition {
    definition.all_fields = Some(definition.takes_all_fields());
    definition
}

/// A value as a text: a text as it stands, unless it would be read as something else.
fn write_value(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) && read_value(text) == *value => text.clone(),
        other => other.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains(char::is_control)
}

/// `7`, `true`, `"7"` and `[1]` are what JSON says they are; anything else is a text.
fn read_value(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Null) | Err(_) => Value::from(text),
        Ok(value) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends the form as a browser would.
    fn sent(draft: &Draft) -> Draft {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let Draft { name, table, ignore, every, method, lookback, lag, since, cursor, refresh, .. } = draft;
        let texts = [
            ("name", name),
            ("table", table),
            ("ignore", ignore),
            ("every", every),
            ("method", method),
            ("lookback", lookback),
            ("lag", lag),
            ("since", since),
            ("cursor", cursor),
            ("refresh", refresh),
            ("mass_delete_percent", &draft.mass_delete_percent),
        ];
        let mut pairs: Vec<(String, String)> = texts.into_iter().map(|(key, value)| pair(key, value)).collect();
        if draft.all_fields {
            pairs.push(pair("all_fields", "on"));
        }
        for (n, row) in draft.columns.iter().enumerate() {
            for (key, value) in
                [("source", &row.source), ("from", &row.from), ("column", &row.column), ("kind", &row.kind)]
            {
                pairs.push(pair(&format!("columns.{n}.{key}"), value));
            }
            for step in row.steps.iter().chain([&String::new()]) {
                pairs.push(pair(&format!("columns.{n}.step"), step));
            }
            pairs.push(pair(&format!("columns.{n}.default"), &row.default));
        }
        Draft::sent(&pairs)
    }

    fn comes_back(definition: &Definition) {
        let draft = Draft::of(definition).unwrap();
        let (json, flaws) = sent(&draft).definition(&definition.object);
        assert!(flaws.is_empty());
        let again = Definition::from_json(Value::Object(json)).unwrap();
        assert_eq!(settled(again), settled(definition.clone()));
    }

    #[test]
    fn the_form_and_the_text_lose_nothing_of_the_example_with_every_setting() {
        let docs = include_str!("../../../../../docs/mappings.md");
        let example = docs.split("<!-- The tests read this example. -->").nth(1).unwrap();
        let example = example.split("```toml").nth(1).unwrap().split("```").next().unwrap();
        let definition = Definition::from_toml(example).unwrap();
        assert!(definition.columns.len() > 12);
        comes_back(&definition);
        let text = super::super::text::write(&definition.to_json());
        assert!(text.starts_with("name = \"people\""), "{text}");
        assert_eq!(Definition::from_toml(&text).unwrap(), definition);
    }

    #[test]
    fn values_that_look_like_others_come_back() {
        let values = [
            json!(7),
            json!("7"),
            json!(""),
            json!(" a "),
            json!("null"),
            json!("true"),
            json!(true),
            json!([1, "a"]),
            json!({"a": 1}),
            json!("\"a\""),
            json!("salesforce"),
            json!(1.5),
            json!("[1"),
            json!("a\nb"),
        ];
        for value in values {
            assert_eq!(read_value(&write_value(&value)), value, "{value}");
            let column = json!({"constant": value, "column": "c", "default": value});
            comes_back(&Definition::from_json(json!({"name": "a", "object": "B", "columns": [column]})).unwrap());
        }
        for columns in [json!([]), json!(["Name"])] {
            for all in [json!(true), json!(false), Value::Null] {
                let definition = json!({"name": "a", "object": "B", "all_fields": all, "columns": columns});
                comes_back(&Definition::from_json(definition).unwrap());
            }
        }
    }

    #[test]
    fn what_a_form_would_lose_is_not_shown_in_one() {
        for definition in [
            json!({"name": "a", "object": "B", "columns": [{"template": "{A}\n{B}", "column": "c"}]}),
            json!({"name": "a", "object": "B", "ignore": ["a b"]}),
            json!({"name": "a", "object": "B", "columns": [" Name "]}),
        ] {
            assert_eq!(Draft::of(&Definition::from_json(definition.clone()).unwrap()), None, "{definition}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_at_its_place_and_all_at_once() {
        let row = Row { steps: vec!["trim".into(), "lowr".into()], from: "Phone".into(), ..Row::of_a_field() };
        let constant = Row { source: "constant".into(), column: "c".into(), ..Row::of_a_field() };
        let draft = Draft {
            name: "a".into(),
            every: "soon".into(),
            lag: "5".into(),
            since: "never".into(),
            mass_delete_percent: "many".into(),
            columns: vec![row, Row { column: "x".into(), ..Row::of_a_field() }, constant],
            ..Draft::default()
        };
        let (json, flaws) = draft.definition("B");
        let places: Vec<&str> = flaws.iter().map(|flaw| flaw.at.as_str()).collect();
        assert_eq!(
            places,
            [
                "every",
                "lag",
                "since",
                "mass_delete_percent",
                "columns[0].transforms[1]",
                "columns[1].field",
                "columns[2].constant",
            ]
        );
        assert!(flaws[0].reason.starts_with("`soon` is neither"), "{}", flaws[0].reason);
        assert!(Definition::from_json(Value::Object(json)).is_ok(), "the org can be asked of the rest");
    }
}
