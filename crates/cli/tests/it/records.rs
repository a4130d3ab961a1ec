//! `tieline get`, `create`, `update`, `upsert`, `delete`.

use serde_json::{Value, json};

use crate::org::{Org, json as parsed, run, run_with, tieline};
use crate::setup_terminal::Terminal;

fn org() -> Org {
    let org = Org::start(&["--contacts", "0"]);
    let key = json!({"object": "Account", "name": "Key__c", "type": "string 80", "external_id": true, "unique": true});
    org.control("POST", "fields", &key);
    org
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(parsed).collect()
}

#[test]
fn one_record_is_created_read_changed_and_deleted() {
    let org = org();
    let login = org.login();
    let ok = |arguments: &[&str]| {
        let (code, out, err) = run(&mut tieline(&login, arguments));
        assert_eq!(code, 0, "{arguments:?}: {err}");
        (out, err)
    };
    let (out, err) = ok(&["upsert", "Account", "Key__c", "A 17/ü", "Name=Acme"]);
    let account = out.trim().to_owned();
    assert!(account.starts_with("001") && err.trim() == "1 record created", "{out}{err}");
    let (out, _) = ok(&["upsert", "Account", "Key__c", "A 17/ü", "Name=Acme AG", "--json"]);
    assert_eq!(parsed(&out), json!({"id": account, "success": true, "errors": [], "created": false}));

    let (out, err) = ok(&[
        "create",
        "Contact",
        "LastName=Hopper",
        "FirstName=Grace",
        "HasOptedOutOfEmail:=true",
        "Account.Key__c=A 17/ü",
    ]);
    let id = out.trim();
    assert!(id.starts_with("003") && id.len() == 18 && err.trim() == "1 record created", "{out}{err}");
    let (out, _) = ok(&["get", "Contact", id, "--json"]);
    let record = parsed(&out);
    assert_eq!(
        (&record["LastName"], &record["HasOptedOutOfEmail"], &record["AccountId"], &record["attributes"]),
        (&json!("Hopper"), &json!(true), &json!(account), &Value::Null)
    );
    ok(&["update", "Contact", id, "Title=Admiral", "FirstName="]);
    let (out, _) = ok(&["get", "Contact", id, "--fields", "Title,FirstName,Account.Name", "--csv"]);
    assert_eq!(out, "Title,FirstName,Account.Name\nAdmiral,,Acme AG\n");
    let (out, _) = ok(&["get", "Account", "A 17/ü", "--by", "Key__c", "--fields", "Name,Key__c"]);
    assert!(out.contains("Name     Acme AG") && out.contains("Key__c   A 17/ü"), "{out}");

    let (out, err) = ok(&["delete", "Contact", id]);
    assert!(out.trim() == id && err.trim() == "1 record deleted", "{out}{err}");
    for command in [&["get", "Contact", id][..], &["delete", "Contact", id], &["update", "Contact", id, "Title=x"]] {
        let (code, out, err) = run(&mut tieline(&login, command));
        assert!(
            code == 1 && out.is_empty() && err.contains("error: ") && err.contains("\nhint: "),
            "{command:?}: {err}"
        );
    }
    // What the org refuses names the field.
    let (code, _, err) = run(&mut tieline(&login, &["create", "Contact", "FirstName=Ada"]));
    assert!(code == 1 && err.contains("REQUIRED_FIELD_MISSING") && err.contains("LastName"), "{err}");
}

#[test]
fn what_is_no_record_is_refused_before_anything_is_sent() {
    let org = org();
    let login = org.login();
    for (arguments, input, said) in [
        (&["create", "Contact", "LastName"][..], "", "is no field with a value"),
        (&["create", "Contact", "A:=b"], "", "holds no JSON"),
        (&["create", "Contact", "--file", "/nowhere.json"], "", "/nowhere.json cannot be read"),
        (&["create", "Contact", "--file", "-"], "LastName\nHopper\n", "after 0 records"),
        (&["create", "Contact", "--file", "-"], "{\"LastName\":\"A\"}\n{\"LastName\":", "after 1 records"),
        (&["create", "Contact", "--file", "-"], "", "there is no record"),
        (&["update", "Contact", "Title=x", "A=b"], "", "is no id"),
        (&["update", "Contact", "003000000000001AAA", "--file", "-"], "[{},{}]", "cannot have one id"),
        (&["upsert", "Account", "Key__c", "A", "--file", "-"], "[{}]", "cannot have one external id"),
        (&["delete", "Contact", "Hopper"], "", "`Hopper` is no id"),
        (&["delete", "Contact", "--file", "-", "--yes"], "Id\n", "there is no id"),
        (&["create", "Contact"], "", "required"),
    ] {
        let (code, out, err) = run_with(&mut tieline(&login, arguments), input);
        assert!(code == 2 && out.is_empty() && err.contains(said), "{arguments:?}: {code} {out}{err}");
    }
    let (_, count, _) = run(&mut tieline(&login, &["query", "--csv", "SELECT COUNT() FROM Account"]));
    assert_eq!(count, "count\n0\n");
}

#[test]
fn many_records_are_told_one_by_one_and_the_exit_code_tells_of_failures() {
    let org = org();
    let login = org.login();
    let people = "{\"LastName\":\"One\"}\n{\"FirstName\":\"Nobody\"}\n{\"LastName\":\"Three\"}\n";
    let (code, out, err) = run_with(&mut tieline(&login, &["create", "Contact", "--file", "-", "--json"]), people);
    let told = lines(&out);
    assert_eq!((code, told.len(), err.trim()), (5, 3, "2 created, 1 failed"), "{err}");
    let success = |n: usize| told[n]["success"].as_bool().unwrap();
    assert!(success(0) && !success(1) && success(2), "{out}");
    assert_eq!(told[1]["errors"][0]["errorCode"], "REQUIRED_FIELD_MISSING");
    let ids = [told[0]["id"].as_str().unwrap(), told[2]["id"].as_str().unwrap()];

    let (code, out, err) =
        run_with(&mut tieline(&login, &["create", "Contact", "--file", "-", "--all-or-none", "--csv"]), people);
    assert_eq!((code, out.lines().count(), err.trim()), (1, 4, "0 created, 3 failed"), "{out}");
    assert!(out.starts_with("row,id,result,error\n1,,failed,"), "{out}");
    let (_, count, _) = run(&mut tieline(&login, &["query", "--csv", "SELECT COUNT() FROM Contact"]));
    assert_eq!(count, "count\n2\n", "all or none");

    let changes = format!("[{{\"Id\":\"{}\",\"Title\":\"A\"}},{{\"Id\":\"{}\",\"Title\":\"B\"}}]", ids[0], ids[1]);
    let (code, out, err) = run_with(&mut tieline(&login, &["update", "Contact", "--file", "-"]), &changes);
    assert_eq!((code, err.trim()), (0, "2 updated, 0 failed"), "{out}");
    assert!(out.contains(ids[0]) && out.contains("updated"), "{out}");

    // More than one call has room for, in order.
    let accounts: String = (0..450).map(|n| format!("{{\"Key__c\":\"K{n}\",\"Name\":\"N{n}\"}}\n")).collect();
    let before = org.ledger()["api_calls"].as_u64().unwrap();
    let upsert = ["upsert", "Account", "Key__c", "--file", "-", "--json"];
    let (code, out, _) = run_with(&mut tieline(&login, &upsert), &accounts);
    let told = lines(&out);
    assert_eq!((code, told.len()), (0, 450));
    assert!(told.iter().all(|one| one["created"] == true));
    assert_eq!(org.ledger()["api_calls"].as_u64().unwrap() - before, 3);
    let (_, out, _) = run_with(&mut tieline(&login, &upsert), &accounts);
    assert!(
        lines(&out).iter().zip(&told).all(|(again, first)| again["created"] == false && again["id"] == first["id"])
    );

    // Whoever reads the results may leave; the records are written all the same.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("more.jsonl");
    let more: String = (0..3_000).map(|n| format!("{{\"LastName\":\"M{n}\"}}\n")).collect();
    std::fs::write(&file, more).unwrap();
    let mut command = tieline(&login, &["create", "Contact", "--json", "--file", file.to_str().unwrap()]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let (_, count, _) = run(&mut tieline(&login, &["query", "--csv", "SELECT COUNT() FROM Contact"]));
    assert_eq!(count, "count\n3002\n");
}

#[test]
fn a_break_in_the_middle_says_what_is_known() {
    let org = org();
    let login = org.login();
    let people: String = (0..500).map(|n| format!("{{\"LastName\":\"M{n}\"}}\n")).collect();
    org.control("POST", "faults", &json!({"path": "/services/data/v67.0/composite", "nth": 2, "times": 0, "cut": 0}));
    let (code, out, err) = run_with(&mut tieline(&login, &["create", "Contact", "--json", "--file", "-"]), &people);
    assert_eq!((code, out.lines().count()), (5, 200), "not 4, for a repetition would create them twice: {err}");
    assert!(err.contains("200 created, 0 failed; of the 200 after them nobody knows"), "{err}");
    assert!(err.contains("hint: the request may have been carried out: look before repeating it"), "{err}");
}

#[test]
fn what_may_have_been_done_does_not_exit_as_what_may_be_repeated() {
    let org = org();
    let login = org.login();
    let lost = |path: &str| {
        org.control("DELETE", "faults", &Value::Null);
        org.control("POST", "faults", &json!({"path": path, "times": 0, "cut": 0}));
    };
    org.control("PUT", "apexrest", &json!([{"method": "POST", "path": "/x", "body": "done"}]));
    lost("/services/data/v67.0/");
    for arguments in [
        &["create", "Contact", "LastName=Lost"][..],
        &["request", "POST", "sobjects/Contact", "--json-body", r#"{"LastName":"Lost"}"#],
        &["create", "Contact", "--file", "-"],
        &["upsert", "Contact", "Id", "--file", "-"],
    ] {
        let (code, _, err) = run_with(&mut tieline(&login, arguments), "[{\"LastName\":\"Lost\"}]");
        let hint = "hint: the request may have been carried out: look before repeating it";
        assert!(code == 6 && err.contains(hint), "{arguments:?}: {code} {err}");
    }
    lost("/services/apexrest/");
    assert_eq!(run(&mut tieline(&login, &["apex", "POST", "x"])).0, 6);
    // Passed on by a gateway, or not.
    org.control("DELETE", "faults", &Value::Null);
    org.control("POST", "faults", &json!({"path": "/services/data/v67.0/sobjects", "status": 503}));
    assert_eq!(run(&mut tieline(&login, &["create", "Contact", "LastName=Lost"])).0, 6);
    // The 200 first answers are broken off in the middle: their status has come, and the org has done it.
    org.control("POST", "faults", &json!({"path": "/services/data/v67.0/sobjects", "cut": 3}));
    let create = ["request", "POST", "sobjects/Contact", "--json-body", r#"{"LastName":"Lost"}"#];
    let (code, _, err) = run(&mut tieline(&login, &create));
    assert!(code == 6 && err.contains("do not repeat it"), "{code} {err}");
    // What may be repeated is, and may be again.
    let at_once = json!({"path": "/services/data/v67.0/", "method": "PATCH", "status": 503, "times": 0,
        "headers": {"retry-after": "0"}});
    org.control("POST", "faults", &at_once);
    for arguments in [
        &["update", "Contact", "003Em0000000001IAA", "Title=x"][..],
        &["update", "Contact", "--file", "-"],
        &["upsert", "Account", "Key__c", "A", "Name=x"],
        &["request", "PATCH", "sobjects/Contact/003Em0000000001IAA", "--json-body", "{}"],
    ] {
        let (code, _, err) = run_with(&mut tieline(&login, arguments), r#"[{"Id":"003Em0000000001IAA","Title":"x"}]"#);
        assert!(code == 4 && err.contains("hint: run the same command again"), "{arguments:?}: {code} {err}");
    }
}

#[test]
fn deleting_many_needs_a_yes_and_ids_of_that_object() {
    let org = org();
    let login = org.login();
    let people: String = (0..3).map(|n| format!("{{\"LastName\":\"M{n}\"}}\n")).collect();
    run_with(&mut tieline(&login, &["create", "Contact", "--file", "-"]), &people);
    let count = || run(&mut tieline(&login, &["query", "--csv", "SELECT COUNT() FROM Contact"])).1;
    let (_, ids, _) = run(&mut tieline(&login, &["query", "--csv", "SELECT Id FROM Contact"]));
    let (code, _, err) = run_with(&mut tieline(&login, &["delete", "Contact", "--file", "-"]), &ids);
    assert!(code == 2 && err.contains("3 records would be deleted") && err.contains("--yes"), "{err}");
    let (code, _, err) = run_with(&mut tieline(&login, &["delete", "Account", "--file", "-", "--yes"]), &ids);
    assert!(code == 2 && err.contains("whose ids begin with 001; nothing was deleted"), "{err}");
    assert_eq!(count(), "count\n3\n");

    let mut list: Vec<&str> = ids.lines().skip(1).collect();
    let command = format!("'{}' delete Contact {} {}", crate::org::PROGRAM, list[0], list[1]);
    for (answer, code, left) in [("n", 1, 3), ("y", 0, 1)] {
        let mut terminal = Terminal::open(&command, &login);
        terminal.sees("Delete 2 records of Contact?");
        terminal.types(answer);
        terminal.types("\r");
        let (found, screen) = terminal.ends();
        assert_eq!(found, code, "{screen}");
        assert_eq!(count(), format!("count\n{left}\n"), "{screen}");
    }
    // What is gone already fails, and the other is deleted.
    list.remove(0);
    let file = format!("Id\n{}\n{}\n", list[0], list[1]);
    let (code, out, err) =
        run_with(&mut tieline(&login, &["delete", "Contact", "--yes", "--json", "--file", "-"]), &file);
    assert_eq!((code, err.trim()), (5, "1 deleted, 1 failed"), "{out}");
    assert_eq!(lines(&out)[0]["errors"][0]["errorCode"], "ENTITY_IS_DELETED");
    assert_eq!(count(), "count\n0\n");
}

#[cfg(target_os = "linux")]
#[test]
fn what_was_done_is_told_even_where_its_id_cannot_be_printed() {
    let org = Org::start(&["--contacts", "0"]);
    let login = org.login();
    for arguments in [&["create", "Contact", "LastName=x"][..], &["create", "Contact", "LastName=x", "--json"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = tieline(&login, arguments).stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("1 record was created (003") && err.contains("do not repeat the command"), "{err}");
    }
    for arguments in [&["get", "Contact", ""][..], &["get", "Contact", "describe"]] {
        let (code, _, err) = run(&mut tieline(&login, arguments));
        assert!(code == 2 && err.contains("is no id"), "{err}");
    }
}
