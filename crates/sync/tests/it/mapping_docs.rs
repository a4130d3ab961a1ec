//! The page about mappings says what is so.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tieline_client::rest::describe::Describe;
use tieline_sync::mapping::{Definition, Describes, Plan};

use crate::decoding::org;

const PAGE: &str = include_str!("../../../../docs/mappings.md");

/// The examples in TOML.
fn examples() -> Vec<&'static str> {
    PAGE.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The test's org with the fields that the example has beyond it.
fn extended() -> Describes {
    let org = org();
    let extended = |name: &str| {
        let mut describe: Describe = (**org.get(name).unwrap()).clone();
        if name == "Contact" {
            for field in ["Rating__c", "Joined__c", "Income__c", "Jigsaw"] {
                describe.fields.push(serde_json::from_value(json!({"name": field, "type": "string"})).unwrap());
            }
            let stamp = json!({"name": "LastModifiedDate", "type": "datetime", "filterable": true, "sortable": true});
            describe.fields.push(serde_json::from_value(stamp).unwrap());
        }
        describe
    };
    ["Contact", "Account", "User"].map(extended).into_iter().collect()
}

#[test]
fn the_example_has_every_setting_and_becomes_a_plan() {
    let [short, whole, list] = examples()[..] else { panic!("three examples") };
    assert!(Definition::from_toml(short).unwrap().takes_all_fields());
    assert_eq!(Plan::new(&Definition::from_toml(list).unwrap(), &org()).unwrap().columns.len(), 4);
    let definition = Definition::from_toml(whole).unwrap_or_else(|error| panic!("{error}"));
    let written = definition.to_json();
    let keys: BTreeSet<&str> = written.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys.len(), 14, "{keys:?}");
    let columns = written["columns"].as_array().unwrap();
    let of_columns: BTreeSet<&str> =
        columns.iter().flat_map(|c| c.as_object().unwrap().keys().map(String::as_str)).collect();
    let expected = ["column", "constant", "default", "field", "kind", "template", "transforms"];
    assert_eq!(of_columns.into_iter().collect::<Vec<_>>(), expected);
    let steps = columns.iter().flat_map(|column| column["transforms"].as_array().into_iter().flatten());
    let names = steps.flat_map(|step| match step {
        Value::String(name) => vec![name.clone()],
        step => step.as_object().unwrap().keys().cloned().collect(),
    });
    let expected = [
        "collapse",
        "date",
        "digits",
        "format",
        "lower",
        "map",
        "number",
        "otherwise",
        "phone",
        "replace",
        "split",
        "title",
        "trim",
        "truncate",
        "upper",
    ];
    assert_eq!(names.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), expected);
    let plan = Plan::new(&definition, &extended()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(plan.cursor.as_deref(), Some("LastModifiedDate"));
    assert_eq!(Definition::from_json(written).unwrap(), definition);
}

#[test]
fn the_tables_name_every_transform() {
    let table = PAGE.split("## Transforms").nth(1).unwrap();
    for name in ["trim", "collapse", "lower", "upper", "title", "digits", "split"] {
        assert!(table.contains(&format!("`\"{name}\"`")), "{name}");
    }
    for name in ["phone", "date", "format", "number", "map", "replace", "truncate"] {
        assert!(table.contains(&format!("`{{ {name} = ")), "{name}");
    }
}
