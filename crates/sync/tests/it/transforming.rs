//! What becomes of values on their way into a column.

use serde_json::{Value, json};
use tieline_sync::mapping::{Definition, MappingError, Plan};

use crate::decoding::{columns, decode, org, record, row};

/// The value of a column of these settings, for a field's value as the org writes it.
fn made(settings: Value, field: &str, value: &str) -> (Value, u64) {
    let mut settings = settings;
    settings["field"] = json!(field);
    settings["column"] = json!("made");
    let plan = columns(json!([settings]));
    let decoded = decode(&plan, &[&record(&format!(r#","{field}":{value}"#))]).unwrap();
    (row(&plan, &decoded, 0)["made"].clone(), decoded.failed)
}

#[test]
fn each_transform_does_what_it_says() {
    for (transforms, field, value, expected) in [
        (json!(["trim"]), "LastName", r#"" a b ""#, json!("a b")),
        (json!(["lower"]), "LastName", r#""ÄBc""#, json!("äbc")),
        (json!(["upper"]), "LastName", r#""straße""#, json!("STRASSE")),
        (json!(["title"]), "LastName", r#""ANNA-lena von  ÖTZ""#, json!("Anna-Lena Von  Ötz")),
        (json!(["collapse"]), "LastName", "\" a\\n\\t b \"", json!("a b")),
        (json!(["digits"]), "Phone", r#""+49 (30) 9""#, json!("49309")),
        (json!([{"phone": "DE"}]), "Phone", r#""030 901820""#, json!("+4930901820")),
        (json!([{"date": "%d.%m.%Y"}]), "LastName", r#""23.11.2024""#, json!("2024-11-23")),
        (json!([{"format": "%d.%m.%Y"}]), "Birthdate", r#""1815-12-10""#, json!("10.12.1815")),
        (json!([{"format": "%H:%M"}]), "CreatedDate", r#""2024-01-02T03:04:05.000+0000""#, json!("03:04")),
        (json!([{"format": "%H.%M"}]), "Calls_At__c", r#""09:30:00.000Z""#, json!("09.30")),
        (json!([{"map": {"Hot": "A"}}]), "LastName", r#""Hot""#, json!("A")),
        (json!([{"map": {"Hot": "A"}}]), "LastName", r#""Cold""#, json!("Cold")),
        (json!([{"map": {"Hot": "A"}, "otherwise": "null"}]), "LastName", r#""Cold""#, json!(null)),
        (json!([{"map": {"Hot": "A"}, "otherwise": {"value": "C"}}]), "LastName", r#""Cold""#, json!("C")),
        (json!([{"map": {"true": "yes", "false": "no"}}]), "Active__c", "true", json!("yes")),
        (json!([{"replace": ["a", "ä"]}]), "LastName", r#""banana""#, json!("bänänä")),
        (json!([{"truncate": 3}]), "LastName", r#""äöüß""#, json!("äöü")),
        (json!(["split"]), "Topics__c", r#""a; b;\"c\"""#, json!(["a", "b", "\"c\""])),
        (json!([{"number": "de"}]), "LastName", r#""1.234,50""#, json!(1234.5)),
        (json!([{"number": "en"}]), "LastName", r#""1,234.50""#, json!(1234.5)),
        // In their order, over kinds.
        (json!(["trim", "lower", {"truncate": 2}]), "LastName", r#"" ABC ""#, json!("ab")),
        (json!([{"date": "%d.%m.%Y"}, {"format": "%Y"}]), "LastName", r#""23.11.2024""#, json!("2024")),
        (json!([{"number": "de"}, {"truncate": 3}]), "LastName", r#""1.234,50""#, json!("123")),
        (json!([{"truncate": 4}]), "Birthdate", r#""1815-12-10""#, json!("1815")),
        (json!(["digits"]), "Visits__c", "-17", json!("17")),
        // What is left empty is nothing.
        (json!(["digits"]), "Phone", r#""none""#, json!(null)),
        (json!(["trim"]), "LastName", r#""  ""#, json!(null)),
        (json!([{"phone": "DE"}]), "Phone", r#"" ""#, json!(null)),
        (json!(["lower"]), "LastName", "null", json!(null)),
    ] {
        let told = format!("{transforms} of {value}");
        assert_eq!(made(json!({"transforms": transforms}), field, value), (expected, 0), "{told}");
    }
}

#[test]
fn a_kind_may_be_another_than_the_orgs() {
    for (kind, field, value, expected) in [
        ("text", "Worth__c", "1234567890123456.78", json!("1234567890123456.78")),
        ("text", "Visits__c", "7", json!("7")),
        ("text", "Active__c", "false", json!("false")),
        ("text", "CreatedDate", r#""2024-01-02T03:04:05.000+0000""#, json!("2024-01-02T03:04:05.000Z")),
        ("integer", "LastName", r#""42""#, json!(42)),
        ("integer", "Worth__c", "42.00", json!(42)),
        ("integer", "Active__c", "true", json!(1)),
        ("number", "LastName", r#""0.5""#, json!(0.5)),
        ("number", "Visits__c", "7", json!(7)),
        ("bool", "LastName", r#""true""#, json!(true)),
        ("date", "CreatedDate", r#""1969-12-31T23:59:59.000+0000""#, json!("1969-12-31")),
        ("date_time", "Birthdate", r#""1815-12-10""#, json!("1815-12-10T00:00:00.000Z")),
        ("json", "LastName", r#""a\"b""#, json!("a\"b")),
        ("json", "Worth__c", "1.5", json!(1.5)),
        ("json", "Active__c", "true", json!(true)),
        ("json", "Birthdate", r#""1815-12-10""#, json!("1815-12-10")),
        ("text", "MailingAddress", r#"{"city":"Köln"}"#, json!(r#"{"city":"Köln"}"#)),
    ] {
        assert_eq!(made(json!({"kind": kind}), field, value), (expected, 0), "{kind} of {value}");
    }
}

#[test]
fn what_fails_is_told_and_leaves_the_default() {
    for (settings, field, value) in [
        (json!({"transforms": [{"phone": "DE"}]}), "Phone", r#""none""#),
        (json!({"transforms": [{"date": "%d.%m.%Y"}], "kind": "text"}), "LastName", r#""31.02.2024""#),
        (json!({"transforms": [{"number": "de"}], "kind": "text"}), "LastName", r#""1,2,3""#),
        (json!({"kind": "integer"}), "Worth__c", "1.5"),
        (json!({"kind": "integer"}), "LastName", r#""x""#),
    ] {
        assert_eq!(made(settings.clone(), field, value), (Value::Null, 1), "{settings}");
        let mut with = settings.clone();
        with["default"] = json!("7");
        let default = if settings["kind"] == "integer" { json!(7) } else { json!("7") };
        assert_eq!(made(with, field, value), (default, 1), "{settings}");
    }
    let with_default = json!({"transforms": ["digits"], "default": "none"});
    assert_eq!(made(with_default.clone(), "Phone", "null"), (json!("none"), 0));
    assert_eq!(made(with_default, "Phone", r#""-""#), (json!("none"), 0));
}

#[test]
fn templates_and_constants_make_columns_of_their_own() {
    let plan = columns(json!([
        {"template": "{FirstName} {LastName}", "column": "name", "transforms": ["collapse"]},
        {"template": "{{{Account.Name}}} {Birthdate} {Worth__c}", "column": "told", "default": "nothing"},
        {"constant": "de", "column": "country"},
        {"constant": 3, "column": "three"},
        {"constant": "2024-01-02", "kind": "date", "column": "day"},
        {"constant": [1], "column": "list"},
        "Birthdate"
    ]));
    let decoded = decode(
        &plan,
        &[
            &record(r#","FirstName":null,"LastName":" Curie ","Account":{"Name":"Acme"},"Birthdate":"1867-11-07","Worth__c":1.50"#),
            &record(r#","FirstName":null,"LastName":null,"Account":null,"Birthdate":null,"Worth__c":null"#),
        ],
    )
    .unwrap();
    let fixed = |mut row: Value, name: Value, told: Value, day: Value| {
        row["name"] = name;
        row["told"] = told;
        row["birthdate"] = day;
        row
    };
    let constants = json!({"name": null, "told": null, "country": "de", "three": 3, "day": "2024-01-02", "list": [1]});
    let first = fixed(constants.clone(), json!("Curie"), json!("{Acme} 1867-11-07 1.50"), json!("1867-11-07"));
    assert_eq!(row(&plan, &decoded, 0), first);
    assert_eq!(row(&plan, &decoded, 1), fixed(constants, json!(null), json!("nothing"), json!(null)));
}

#[test]
fn chains_that_cannot_be_are_told_before_anything_is_read() {
    let wrong = |column: Value| -> MappingError {
        let definition = json!({"name": "people", "object": "Contact", "columns": [column]});
        Plan::new(&Definition::from_json(definition).unwrap(), &org()).unwrap_err()
    };
    for (column, told) in [
        (
            json!({"field": "LastName", "transforms": [{"format": "%Y"}]}),
            "`format` writes dates and times, and this is a text",
        ),
        (json!({"field": "Birthdate", "transforms": [{"format": "%H"}]}), "`%H` is no form of a date"),
        (json!({"field": "LastName", "transforms": [{"date": "%d.%m."}]}), "`%d.%m.` is no form of a date"),
        (json!({"field": "LastName", "transforms": ["trim", {"date": "%Q"}]}), "columns[0].transforms[1]"),
        (json!({"field": "Phone", "transforms": [{"phone": "Germany"}]}), "`Germany` is no region"),
        (json!({"field": "LastName", "transforms": [{"truncate": 0}]}), "at least one character"),
        (json!({"field": "LastName", "transforms": [{"replace": ["", "x"]}]}), "needs something to replace"),
        (json!({"field": "Active__c", "kind": "date"}), "true or false does not become a date"),
        (json!({"field": "Birthdate", "kind": "integer"}), "a date does not become a whole number"),
        (json!({"field": "Visits__c", "default": "many"}), "columns[0].default: `\"many\"`: it is no whole number"),
        (json!({"constant": "x", "kind": "integer", "column": "c"}), "columns[0].constant"),
        (json!({"constant": 1, "column": "c", "transforms": ["trim"]}), "columns[0].transforms"),
        (json!({"template": "{Last", "column": "c"}), "single `{`"),
    ] {
        let error = wrong(column.clone()).to_string();
        assert!(error.contains(told), "{column}: {error}");
    }
}
