//! `@{refA.records[0].Id}`: what a later request takes out of an earlier one's answer.

use std::collections::HashMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Answers so far, by reference id. `None`: the request failed.
pub(super) type Answers = HashMap<String, Option<Value>>;

/// The references in a text: where each begins and ends, and what it says.
fn find(text: &str) -> impl Iterator<Item = (usize, usize, &str)> {
    text.match_indices("@{").filter_map(move |(start, _)| {
        let inside = &text[start + 2..];
        let length = inside.find('}')?;
        Some((start, start + 2 + length + 1, &inside[..length]))
    })
}

/// The reference ids that a text names.
pub(super) fn named(text: &str) -> Vec<String> {
    find(text).map(|(_, _, path)| path.split(['.', '[']).next().unwrap_or("").to_owned()).collect()
}

/// The same for a whole body.
pub(super) fn named_in(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => named(text),
        Value::Array(items) => items.iter().flat_map(named_in).collect(),
        Value::Object(map) => map.values().flat_map(named_in).collect(),
        _ => Vec::new(),
    }
}

/// Wording as remembered, unverified.
fn unresolved(path: &str) -> String {
    let id = path.split(['.', '[']).next().unwrap_or("");
    format!("Invalid reference specified. No value for {path} found in {id}.")
}

fn resolve(path: &str, answers: &Answers) -> Result<Value, String> {
    let mut steps = path.split(['.', '[']).map(|step| step.trim_end_matches(']'));
    let first = steps.next().unwrap_or("");
    let mut value = answers.get(first).and_then(Option::as_ref).ok_or_else(|| unresolved(path))?;
    for step in steps {
        let next = match value {
            Value::Array(items) => step.parse::<usize>().ok().and_then(|i| items.get(i)),
            _ => value.get(step),
        };
        value = next.ok_or_else(|| unresolved(path))?;
    }
    match value {
        Value::Array(_) | Value::Object(_) | Value::Null => Err(unresolved(path)),
        plain => Ok(plain.clone()),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn replaced(text: &str, answers: &Answers, write: impl Fn(&str) -> String) -> Result<String, String> {
    let (mut out, mut done) = (String::new(), 0);
    for (start, end, path) in find(text) {
        out.push_str(&text[done..start]);
        out.push_str(&write(&plain(&resolve(path, answers)?)));
        done = end;
    }
    out.push_str(&text[done..]);
    Ok(out)
}

pub(super) fn in_url(url: &str, answers: &Answers) -> Result<String, String> {
    replaced(url, answers, |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string())
}

/// A text that is nothing but a reference becomes the value itself, with its type.
pub(super) fn in_body(value: &Value, answers: &Answers) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => match find(text).next() {
            Some((0, end, path)) if end == text.len() => resolve(path, answers)?,
            Some(_) => Value::String(replaced(text, answers, str::to_owned)?),
            None => value.clone(),
        },
        Value::Array(items) => Value::Array(items.iter().map(|v| in_body(v, answers)).collect::<Result<_, _>>()?),
        Value::Object(map) => Value::Object(
            map.iter().map(|(k, v)| Ok((k.clone(), in_body(v, answers)?))).collect::<Result<_, String>>()?,
        ),
        _ => value.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_into_answers() {
        let answers: Answers = [
            ("a".to_owned(), Some(json!({"id": "001", "records": [{"Id": "x/y", "N": 3}]}))),
            ("failed".to_owned(), None),
        ]
        .into();
        let body = json!({"AccountId": "@{a.id}", "N": "@{a.records[0].N}", "Text": "<@{a.id}|@{a.records[0].Id}>"});
        assert_eq!(in_body(&body, &answers).unwrap(), json!({"AccountId": "001", "N": 3, "Text": "<001|x/y>"}));
        assert_eq!(in_url("/x/@{a.records[0].Id}?q", &answers).unwrap(), "/x/x%2Fy?q");
        for nowhere in ["@{a.Id}", "@{a.records[1].Id}", "@{failed.id}", "@{b.id}", "@{a.records}"] {
            assert!(in_url(nowhere, &answers).unwrap_err().starts_with("Invalid reference specified."), "{nowhere}");
        }
        assert_eq!(named_in(&json!([{"a": "@{one.id} @{two.x[0]}"}, "no @{ end"])), ["one", "two"]);
    }
}
