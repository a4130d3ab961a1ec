//! A definition from TOML or JSON, with a word about what is written wrong.

use serde_json::{Map, Value};
use toml_edit::{Document, Item};

use super::definition::{self, Definition};
use super::error::{Flaw, MappingError};
use super::{column, transform};

impl Definition {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`MappingError`]: the file is no TOML, or no definition.
    pub fn from_toml(text: &str) -> Result<Self, MappingError> {
        Self::from_json(json_of_toml(text)?)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// [`MappingError`]: keys that nobody knows, all at once, or a value that cannot be.
    pub fn from_json(json: Value) -> Result<Self, MappingError> {
        let name = json.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let flaws = unknown_keys(&json);
        if !flaws.is_empty() {
            return Err(MappingError { mapping: name, flaws });
        }
        // Column by column first, so that the place of what is wrong can be said.
        let columns = json.get("columns").and_then(Value::as_array).into_iter().flatten();
        let flaws: Vec<Flaw> = columns
            .enumerate()
            .filter_map(|(n, column)| {
                let error = serde_json::from_value::<column::ColumnDefinition>(column.clone()).err()?;
                Some(Flaw::new(format!("columns[{n}]"), error.to_string()))
            })
            .collect();
        if !flaws.is_empty() {
            return Err(MappingError { mapping: name, flaws });
        }
        serde_json::from_value(json)
            .map_err(|error| MappingError::one(&name, Flaw::new("definition", error.to_string())))
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// A TOML file as the JSON that says the same, whether it is a definition or not.
///
/// # Errors
/// [`MappingError`]: the file is no TOML.
pub fn json_of_toml(text: &str) -> Result<Value, MappingError> {
    let document: Document<&str> = Document::parse(text)
        .map_err(|error| MappingError::one("", Flaw::new("file", error.to_string().trim().replace('\n', " "))))?;
    Ok(json_of_table(document.as_table()))
}

/// Keys that nobody knows, wherever they are.
fn unknown_keys(json: &Value) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut check = |at: &str, what: &str, value: &Value, known: &[&str]| {
        for key in value.as_object().into_iter().flat_map(Map::keys).filter(|key| !known.contains(&key.as_str())) {
            let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            let flaw = Flaw::new(at, format!("{what} has no key `{key}`"));
            let near = flaw.clone().near(key, known.iter().copied());
            let named = || flaw.hint(format!("the keys are {}", known.join(", ")));
            flaws.push(if near.hint.is_some() { near } else { named() });
        }
    };
    check("", "a mapping", json, &definition::KEYS);
    for (n, column) in json.get("columns").and_then(Value::as_array).into_iter().flatten().enumerate() {
        check(&format!("columns[{n}]"), "a column", column, &column::KEYS);
        for (t, step) in column.get("transforms").and_then(Value::as_array).into_iter().flatten().enumerate() {
            check(&format!("columns[{n}].transforms[{t}]"), "a transform", step, &transform::KEYS);
        }
    }
    flaws
}

fn json_of_table(table: &dyn toml_edit::TableLike) -> Value {
    Value::Object(table.iter().map(|(key, item)| (key.to_owned(), json_of_item(item))).collect())
}

fn json_of_item(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => json_of(value),
        Item::Table(table) => json_of_table(table),
        Item::ArrayOfTables(tables) => tables.iter().map(|table| json_of_table(table)).collect(),
    }
}

fn json_of(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(text) => Value::from(text.value().as_str()),
        Toml::Integer(number) => Value::from(*number.value()),
        Toml::Float(number) => Value::from(*number.value()),
        Toml::Boolean(truth) => Value::from(*truth.value()),
        Toml::Datetime(at) => Value::from(at.value().to_string()),
        Toml::Array(values) => values.iter().map(json_of).collect(),
        Toml::InlineTable(table) => json_of_table(table),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_nobody_knows_are_told_all_at_once_with_what_was_meant() {
        let json = json!({
            "name": "a", "object": "Account", "colums": [], "mode": 1,
            "columns": [{"field": "Name", "transform": ["trim"]}, {"field": "Phone", "transforms": [{"fone": "DE"}]}],
        });
        let error = Definition::from_json(json).unwrap_err();
        let told: Vec<String> = error.flaws.iter().map(Flaw::to_string).collect();
        assert_eq!(told[0], "colums: a mapping has no key `colums` (did you mean `columns`?)");
        assert!(told[1].starts_with("mode: a mapping has no key `mode` (the keys are name, object, "), "{}", told[1]);
        let meant = "columns[0].transform: a column has no key `transform` (did you mean `transforms`?)";
        assert_eq!(told[2], meant);
        assert!(told[3].starts_with("columns[1].transforms[0].fone: a transform has no key `fone`"), "{}", told[3]);
        assert_eq!(told.len(), 4);
    }

    #[test]
    fn toml_and_json_are_one_form() {
        let toml = r#"
            name = "people"
            object = "Contact"
            since = 2020-01-01
            columns = ["Email", { field = "Account.Name", transforms = ["trim", { truncate = 80 }], default = "-" }]
            every = "15m"
            mass_delete_percent = 20
        "#;
        let definition = Definition::from_toml(toml).unwrap();
        assert_eq!(definition.since.unwrap().to_string(), "2020-01-01T00:00:00Z");
        assert!(!definition.takes_all_fields() && definition.table() == "people");
        assert_eq!(Definition::from_json(definition.to_json()).unwrap(), definition);
        let all = Definition::all_of("accounts", "Account");
        assert_eq!(all.to_json(), json!({"name": "accounts", "object": "Account"}));
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        let told = |toml: &str| Definition::from_toml(toml).unwrap_err().to_string();
        let head = "name = \"a\"\nobject = \"B\"\n";
        assert!(told("name = ").starts_with("the mapping cannot be read: file: TOML parse error at line 1"));
        assert!(told("name = \"a\"").contains("missing field `object`"));
        assert!(told(&format!("{head}every = \"soon\"")).contains("neither a time such as `15m`"));
        assert!(told(&format!("{head}lag = \"5\"")).contains("no length of time"));
        let columns =
            told(&format!("{head}columns = [\"X\", {{ column = \"y\" }}, {{ field = \"F\", constant = 1 }}]"));
        assert!(columns.contains("columns[1]: a column needs one of"), "{columns}");
        assert!(columns.contains("columns[2]: a column has only one of"), "{columns}");
        let step = told(&format!("{head}columns = [{{ field = \"X\", transforms = [\"trimm\"] }}]"));
        assert!(step.contains("`trimm`") || step.contains("\"trimm\""), "{step}");
    }
}
