//! What real orgs have said of their objects, and records of theirs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tieline_client::rest::describe::Describe;
use tieline_store::object_tables::ColumnKind;
use tieline_sync::mapping::{Definition, Describes, Plan};

use crate::decoding::decode;

/// The folder of recordings: beside the repository, or where the test command found it.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn samples() -> Option<PathBuf> {
    let given = std::env::var_os("TIELINE_TEST_FIXTURES").map(PathBuf::from);
    let path = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures"));
    if !path.is_dir() {
        eprintln!("SKIPPED: the folder of recorded answers ({}) is not here", path.display());
        return None;
    }
    Some(path)
}

fn json_files(folder: &Path, found: &mut Vec<(PathBuf, Value)>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            json_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "json")
            && let Ok(json) = serde_json::from_str(&std::fs::read_to_string(&path).unwrap())
        {
            found.push((path, json));
        }
    }
}

/// All records within an answer, by their objects; answers within answers too.
fn records(json: &Value, found: &mut Records) {
    match json {
        Value::Object(object) => {
            if let Some(kind) = object.get("attributes").and_then(|of| of["type"].as_str()) {
                found.entry(kind.to_owned()).or_default().push(object.clone());
            }
            object.values().for_each(|value| records(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| records(value, found)),
        Value::String(text) if text.starts_with(['{', '[']) => {
            if let Ok(within) = serde_json::from_str(text) {
                records(&within, found);
            }
        }
        _ => {}
    }
}

/// Records by their objects.
type Records = BTreeMap<String, Vec<Map<String, Value>>>;

fn recorded() -> Option<(Vec<(PathBuf, Describe)>, Records)> {
    let mut files = Vec::new();
    json_files(&samples()?, &mut files);
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    let (mut describes, mut found) = (Vec::new(), Records::new());
    for (path, json) in files {
        records(&json, &mut found);
        if json["fields"].is_array() && json["queryable"].is_boolean() {
            describes.push((path, serde_json::from_value(json).unwrap()));
        }
    }
    Some((describes, found))
}

/// What a field's value becomes, worked out in another way than the decoder's.
fn expected(kind: ColumnKind, value: &Value) -> Value {
    // Records that are to be sent may have their numbers as texts.
    let number = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).filter(Value::is_number);
    if let (ColumnKind::Integer | ColumnKind::Number, Some(number)) = (kind, number) {
        return expected(kind, &number);
    }
    match kind {
        // Of those that are to be sent, some have a moment where the field is a date. No answer has.
        ColumnKind::Date if value.as_str().is_some_and(|text| text.len() > 10) => Value::Null,
        ColumnKind::DateTime => value
            .as_str()
            .map_or(Value::Null, |text| json!(format!("{:.3}", tieline_client::parse_datetime(text).unwrap()))),
        ColumnKind::Number => value.as_f64().map_or(Value::Null, |number| match number {
            whole if whole.fract() == 0.0 && !value.to_string().contains('.') => json!(whole as i64),
            number => json!(number),
        }),
        _ => value.clone(),
    }
}

#[test]
fn every_describe_becomes_a_plan_and_every_record_of_its_object_a_row() {
    let Some((describes, found)) = recorded() else { return };
    assert!(describes.len() >= 9, "{} describes", describes.len());
    let mut rows = 0;
    for (path, describe) in &describes {
        let definition = Definition::all_of("all", &describe.name);
        let describes: Describes = [describe.clone()].into_iter().collect();
        let plan = Plan::new(&definition, &describes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(plan.columns.len() + 8 > describe.fields.len(), "{}", path.display());
        assert!(plan.cursor.is_some() && plan.can_be_deleted == describe.field("IsDeleted").is_some());
        for record in found.get(&describe.name).into_iter().flatten() {
            let mut record = record.clone();
            // Records that are to be sent, and parts of ones, lack what every answer to the plan's query has.
            for (name, value) in [
                ("Id", json!("001000000000001AAA")),
                (plan.cursor.as_deref().unwrap(), json!("2024-01-02T03:04:05.000+0000")),
                ("IsDeleted", json!(false)),
            ] {
                record.entry(name).or_insert(value);
            }
            let text = Value::Object(record.clone()).to_string();
            let decoded = decode(&plan, &[&text]).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(decoded.rows.len(), 1);
            let mut misfits = 0;
            for (n, column) in plan.columns.iter().enumerate() {
                let [name] = plan.sources(n)[..] else { panic!("one field") };
                let given = record.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
                let expected = expected(column.kind, given.unwrap_or(&Value::Null));
                misfits += u64::from(expected.is_null() && given.is_some_and(|given| !given.is_null()));
                assert_eq!(decoded.rows.json(0, n, column.kind), expected, "{name} of {text}");
            }
            assert_eq!(decoded.failed, misfits, "{:?} of {text}", decoded.errors);
            rows += 1;
        }
    }
    assert!(rows > 200, "{rows} records");
}
