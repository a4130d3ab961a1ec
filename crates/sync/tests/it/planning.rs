//! Definitions, held against what the org says of its objects.

use serde_json::{Value, json};
use tieline_store::object_tables::ColumnKind;
use tieline_sync::mapping::{Definition, Describes, Flaw, Parent, Plan};

use crate::decoding::{columns, org, plan};

fn flaws(definition: Value, describes: &Describes) -> Vec<String> {
    let definition = Definition::from_json(definition).unwrap();
    let error = Plan::new(&definition, describes).unwrap_err();
    error.flaws.iter().map(Flaw::to_string).collect()
}

#[test]
fn the_selection_has_what_every_record_says_of_itself_and_then_what_the_columns_need_each_once() {
    let plan = columns(json!([
        "account.name", "LastName", {"template": "{FirstName} {LastName}", "column": "name"}, "Account.Owner.Name",
        {"field": "IsDeleted", "column": "gone"}
    ]));
    let list = "Id, SystemModstamp, IsDeleted, MasterRecordId, IsArchived, Account.Name, LastName, FirstName, Account.Owner.Name";
    assert_eq!((plan.object.as_str(), plan.select_list().as_str()), ("Contact", list));
    assert_eq!(plan.cursor.as_deref(), Some("SystemModstamp"));
    assert!(plan.can_be_deleted && plan.merges && plan.archives);
    let columns: Vec<_> = plan.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
    let text = |name| (name, ColumnKind::Text);
    let expected =
        [text("account_name"), text("last_name"), text("name"), text("account_owner_name"), ("gone", ColumnKind::Bool)];
    assert_eq!(columns, expected);
    let of = |reference: &str, relationship: &str, object: &str, columns: &[usize], stamp: Option<&str>| Parent {
        reference: reference.into(),
        relationship: relationship.into(),
        object: object.into(),
        targets: vec![object.into()],
        columns: columns.to_vec(),
        stamp_path: stamp.map(str::to_owned),
    };
    assert_eq!(
        plan.parents,
        [
            of("AccountId", "Account", "Account", &[0, 3], Some("Account.SystemModstamp")),
            of("Account.OwnerId", "Account.Owner", "User", &[3], Some("Account.Owner.SystemModstamp")),
        ]
    );
}

#[test]
fn a_reference_to_several_objects_is_followed_as_far_as_they_are_alike() {
    let plan = columns(json!(["Owner.Name", "Owner.Type", "Owner.IsActive"]));
    let owner = &plan.parents[0];
    assert_eq!((owner.object.as_str(), &owner.stamp_path), ("Name", &None));
    assert_eq!(
        (owner.targets.as_slice(), owner.columns.as_slice()),
        (&["Group".into(), "User".into()][..], &[0, 1, 2][..])
    );
    assert_eq!(plan.columns[2].kind, ColumnKind::Bool);
    assert!(plan.warnings.iter().any(|warning| warning.contains("behind Owner")), "{:?}", plan.warnings);
    let told =
        flaws(json!({"name": "p", "object": "Contact", "columns": ["Owner.Nmae", "Owner.Profile.Name"]}), &org());
    assert!(told[0].contains("share no field `Nmae` (did you mean `Name`?)"), "{told:?}");
    assert!(told[1].contains("goes on behind Owner, which may be of several objects"), "{told:?}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_what_was_meant() {
    let told = flaws(
        json!({
            "name": "p", "object": "Contact", "table": "Bad Name", "cursor": "Birthdate", "mass_delete_percent": 0,
            "refresh": ["Emial"],
            "columns": [
                "Emial", "AccountId.Name", "Acount.Name", "Account", "Photo__c", "Id", "Email",
                {"field": "Phone", "column": "email"}, {"constant": 1}, {"field": "LastName", "column": "_x"},
                "Account.Parent.Parent.Parent.Parent.Parent.Name", {"template": "{Nobody} {LastNam}", "column": "t"},
            ]
        }),
        &org(),
    );
    let expected = [
        "mass_delete_percent: 0 is no percentage from 1 to 100",
        "cursor: changes cannot be found by `Birthdate`: it must be a datetime that can be filtered and sorted by",
        "columns[0].field: the object Contact has no field `Emial` (did you mean `Email`?)",
        "columns[1].field: `AccountId.Name`: the object Contact has no relationship `AccountId` (the field `AccountId` is gone through as `Account`)",
        "columns[2].field: `Acount.Name`: the object Contact has no relationship `Acount` (did you mean `Account`?)",
        "columns[3].field: the object Contact has no field `Account` (`Account` is a parent: name a field of it, such as `Account.Name`)",
        "columns[4].field: `Photo__c` is a file's content, which a query does not answer (leave the column out; the content is downloaded from the address of its record)",
        "columns[10].field: `Account.Parent.Parent.Parent.Parent.Parent.Name` goes through 6 relationships, and SOQL goes through five",
        "columns[11].template: the object Contact has no field `Nobody` (or the user may not read it: see its field-level security)",
        "columns[11].template: the object Contact has no field `LastNam` (did you mean `LastName`?)",
        "columns[5]: the record's id is in the table's column `id` anyway (leave the column out, or name it otherwise)",
        "columns[8].column: a constant or a template has no name by itself (name the column: `column = \"…\"`)",
        "refresh[0]: no column is made of `Emial` (did you mean `Email`?)",
        "columns[7]: there are two columns `email` (name one of them otherwise: `column = \"…\"`)",
        "columns[9].column: the column `_x` is one of tieline's own",
        "table: `Bad Name` cannot name a table or column: a name has up to 63 of a-z, 0-9 and _, and begins with a letter",
    ];
    assert_eq!(told, expected);
    let told = flaws(json!({"name": "p", "object": "Contct"}), &org());
    assert_eq!(told, ["object: the org has no object `Contct` (did you mean `Contact`?)"]);
    let told =
        flaws(json!({"name": "p", "object": "Contact", "columns": [{"field": "Email", "column": "_x"}]}), &org());
    assert_eq!(told, ["columns[0].column: the column `_x` is one of tieline's own"]);
}

#[test]
fn all_fields_leave_out_what_is_named_ignored_or_no_column() {
    let plan = plan(json!({
        "name": "people", "object": "Contact", "all_fields": true, "ignore": ["*__c", "owner*", "Nothing"],
        "columns": [{"field": "LastName", "column": "family"}, "Account.Name"],
    }));
    let names: Vec<&str> = plan.columns.iter().map(|column| column.name.as_str()).collect();
    let expected = [
        "family",
        "account_name",
        "system_modstamp",
        "is_deleted",
        "master_record_id",
        "is_archived",
        "first_name",
        "email",
        "phone",
        "birthdate",
        "created_date",
        "account_id",
    ];
    assert_eq!(names, expected);
    assert!(plan.warnings.iter().any(|warning| warning.contains("`Nothing`")), "{:?}", plan.warnings);
}

#[test]
fn calculated_columns_are_formulas_and_what_is_said_to_be_like_one() {
    let plan = plan(json!({
        "name": "p", "object": "Contact", "refresh": ["score__c", "Account.AnnualRevenue"],
        "columns": ["Age__c", "LastName", "Score__c", {"template": "{Age__c}", "column": "age_told"}, "Account.AnnualRevenue",
            "MailingAddress"],
    }));
    assert_eq!((plan.calculated.as_slice(), plan.rest_only.as_slice()), (&[0, 2, 3, 4][..], &[5][..]));
}

#[test]
fn a_part_has_its_columns_and_what_every_record_says_of_itself() {
    let whole = columns(json!(["Account.Name", "LastName", "Age__c"]));
    let part = whole.part(&[2, 0]);
    let list = "Id, SystemModstamp, IsDeleted, MasterRecordId, IsArchived, Age__c, Account.Name";
    assert_eq!((part.select_list().as_str(), part.calculated.as_slice()), (list, &[0][..]));
    assert_eq!((part.columns[1].name.as_str(), part.parents[0].columns.as_slice()), ("account_name", &[1][..]));
    assert!(whole.part(&[1]).parents.is_empty());
    assert_eq!(whole.part(&[0, 1, 2]).fingerprint(), whole.fingerprint());
    assert_eq!(part.part(&[]).select_list(), "Id, SystemModstamp, IsDeleted, MasterRecordId, IsArchived");
}

#[test]
fn a_fingerprint_stays_until_something_changes() {
    let of = |columns_: Value| columns(columns_).fingerprint();
    let first = of(json!(["Email", "LastName"]));
    assert_eq!(first, "aae1dee156c5e689db12ad96670d071a", "kept by those that wrote it before");
    let others = [
        of(json!(["LastName", "Email"])),
        of(json!(["Email", {"field": "LastName", "kind": "json"}])),
        of(json!(["Email", {"field": "LastName", "transforms": ["trim"]}])),
        of(json!(["Email", {"field": "LastName", "default": "x"}])),
        of(json!(["Email", {"field": "LastName", "column": "family"}])),
        of(json!(["Email"])),
    ];
    for other in &others {
        assert!(*other != first && others.iter().filter(|another| *another == other).count() == 1);
    }
}

#[test]
fn the_cursor_is_the_best_that_the_object_has() {
    let of = |fields: Value, cursor: Option<&str>| {
        let describe = json!({"name": "Thing__c", "queryable": true, "fields": fields});
        let describes: Describes =
            [serde_json::from_value::<tieline_client::rest::describe::Describe>(describe).unwrap()]
                .into_iter()
                .collect();
        let mut definition = Definition::all_of("things", "Thing__c");
        definition.cursor = cursor.map(str::to_owned);
        Plan::new(&definition, &describes).map(|plan| (plan.cursor, plan.warnings.len(), plan.can_be_deleted))
    };
    let field = |name: &str, sortable: bool| json!({"name": name, "type": "datetime", "filterable": true, "sortable": sortable});
    let id = json!({"name": "Id", "type": "id"});
    let name = |name: &str| Some(name.to_owned());
    let fields =
        json!([id, field("CreatedDate", true), field("LastModifiedDate", true), field("SystemModstamp", false)]);
    assert_eq!(of(fields.clone(), None), Ok((name("LastModifiedDate"), 2, false)), "what cannot be sorted by is none");
    assert_eq!(of(fields.clone(), Some("createddate")), Ok((name("CreatedDate"), 2, false)));
    assert!(of(fields, Some("SystemModstamp")).is_err());
    assert_eq!(of(json!([id, field("LoginTime", true)]), None), Ok((name("LoginTime"), 2, false)));
    assert_eq!(of(json!([id]), None), Ok((None, 2, false)), "read anew as a whole");
}
