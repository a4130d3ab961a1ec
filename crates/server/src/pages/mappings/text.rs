//! A definition as text: TOML, as docs/mappings.md has it, or JSON.

use serde_json::{Map, Value};
use tieline_sync::mapping::{Flaw, json_of_toml};

/// The text of a definition: TOML, unless something in it has no form there.
pub(super) fn write(definition: &Value) -> String {
    let toml = toml(definition).filter(|text| json_of_toml(text).is_ok_and(|read| lean(&read) == lean(definition)));
    toml.unwrap_or_else(|| serde_json::to_string_pretty(definition).unwrap_or_default())
}

/// The definition of a text, whether it fits or not.
///
/// # Errors
/// What is wrong, where: the text is neither.
pub(super) fn read(text: &str) -> Result<Map<String, Value>, Flaw> {
    let flaw = |reason: String, hint: &str| Flaw { at: "text".to_owned(), reason, hint: Some(hint.to_owned()) };
    if text.trim_start().starts_with('{') {
        let read = serde_json::from_str::<Map<String, Value>>(text);
        return read.map_err(|error| flaw(format!("this is no JSON: {error}"), "TOML is taken, too"));
    }
    match json_of_toml(text) {
        Ok(Value::Object(definition)) => Ok(definition),
        Ok(_) => Err(flaw("this is no definition".to_owned(), "begin with `name = \"…\"`")),
        Err(error) => {
            let reason = error.flaws.into_iter().next().map(|flaw| flaw.reason).unwrap_or_default();
            Err(flaw(format!("this is no TOML: {reason}"), "JSON is taken, too: it begins with `{`"))
        }
    }
}

/// A column that is nothing but a field, by its path alone.
fn lean(definition: &Value) -> Value {
    let mut definition = definition.clone();
    for column in definition.get_mut("columns").and_then(Value::as_array_mut).into_iter().flatten() {
        let path = match column.as_object() {
            Some(object) if object.len() == 1 => object.get("field").filter(|path| path.is_string()).cloned(),
            _ => None,
        };
        if let Some(path) = path {
            *column = path;
        }
    }
    definition
}

fn toml(definition: &Value) -> Option<String> {
    let definition = lean(definition);
    let (mut head, mut tables) = (String::new(), String::new());
    for (key, value) in definition.as_object()? {
        let rows = value.as_array().filter(|rows| key == "columns" && rows.iter().any(Value::is_object));
        match rows {
            // One after the other, in their order.
            Some(rows) => {
                for row in rows {
                    tables.push_str("\n[[columns]]\n");
                    match row {
                        Value::Object(row) => {
                            for (key, value) in row {
                                tables.push_str(&format!("{} = {}\n", name(key), inline(value)?));
                            }
                        }
                        path => tables.push_str(&format!("field = {}\n", inline(path)?)),
                    }
                }
            }
            None => head.push_str(&format!("{} = {}\n", name(key), inline(value)?)),
        }
    }
    Some(head + &tables)
}

/// None for null, which TOML does not have.
fn inline(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Array(values) => format!("[{}]", values.iter().map(inline).collect::<Option<Vec<_>>>()?.join(", ")),
        Value::Object(object) => {
            let pair = |(key, value): (&String, &Value)| Some(format!("{} = {}", name(key), inline(value)?));
            format!("{{ {} }}", object.iter().map(pair).collect::<Option<Vec<_>>>()?.join(", "))
        }
        // A text of JSON is one of TOML, but for DEL.
        other => other.to_string().replace('\u{7f}', "\\u007f"),
    })
}

fn name(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if bare { key.to_owned() } else { inline(&Value::from(key)).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tieline_sync::mapping::Definition;

    use super::*;

    #[test]
    fn a_text_says_what_the_definition_says() {
        let some = json!({"name": "a", "object": "B", "mass_delete_percent": 20, "columns": [
            {"field": "Name"}, {"field": "X", "transforms": ["trim", {"map": {"a b": "\"\u{7f}\n", "c": ""}, "otherwise": {"value": "d"}}]},
            {"constant": [1, 2.5, true, {"a": []}], "column": "c"},
        ]});
        let text = write(&some);
        assert!(
            text.starts_with(
                "name = \"a\"\nobject = \"B\"\nmass_delete_percent = 20\n\n[[columns]]\nfield = \"Name\"\n"
            ),
            "{text}"
        );
        let again = Definition::from_json(Value::Object(read(&text).unwrap())).unwrap();
        assert_eq!(again, Definition::from_json(some).unwrap());
        let list = json!({"name": "a", "object": "B", "columns": [{"field": "Name"}, {"field": "Phone"}]});
        assert_eq!(write(&list), "name = \"a\"\nobject = \"B\"\ncolumns = [\"Name\", \"Phone\"]\n");
    }

    #[test]
    fn what_toml_does_not_have_is_json() {
        let some = json!({"name": "a", "object": "B", "columns": [{"constant": [null], "column": "c"}]});
        let text = write(&some);
        assert!(text.starts_with('{'), "{text}");
        assert_eq!(Value::Object(read(&text).unwrap()), some);
        for wrong in ["{", "{\"a\": }", "name = ", "nonsense"] {
            assert_eq!(read(wrong).unwrap_err().at, "text", "{wrong}");
        }
    }
}
