//! A record as people and files see it.

use serde_json::Value;
use tieline_client::Record;

/// The value at a dotted path, names in any case; null is empty, child records are JSON.
pub(crate) fn cell(record: &Record, path: &str) -> String {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    let value = record.iter().find(|(key, _)| key.eq_ignore_ascii_case(head)).map(|(_, value)| value);
    match (value, rest) {
        (Some(Value::Object(parent)), Some(rest)) => cell(parent, rest),
        (None | Some(Value::Null), _) => String::new(),
        (Some(Value::String(text)), _) => text.clone(),
        (Some(Value::Object(children)), None) if children.get("records").is_some_and(Value::is_array) => {
            children["records"].to_string()
        }
        (Some(other), _) => other.to_string(),
    }
}

/// A record without what the org says of itself, in its parents and children too.
pub(crate) fn without_attributes(record: Record) -> Record {
    fn inner(value: Value) -> Value {
        match value {
            Value::Object(map) => Value::Object(without_attributes(map)),
            Value::Array(list) => Value::Array(list.into_iter().map(inner).collect()),
            other => other,
        }
    }
    record.into_iter().filter(|(key, _)| key != "attributes").map(|(key, value)| (key, inner(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_reached_by_paths_and_children_are_json() {
        let record = r#"{"attributes":{"type":"Account"},"Id":"1","Account":null,"Owner":{"Name":"Ada"},
            "Contacts":{"totalSize":1,"done":true,"records":[{"attributes":{"type":"Contact"},"Id":"2"}]}}"#;
        let record = without_attributes(serde_json::from_str(record).unwrap());
        let cells = ["id", "Account.Name", "Owner.Name", "Contacts"].map(|column| cell(&record, column));
        assert_eq!(cells, ["1", "", "Ada", r#"[{"Id":"2"}]"#]);
    }
}
