//! `tieline query` with its options, `describe`, `limits`, `search`, `apex`, `request`, and the reserve.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::org::{Org, json as parsed, run, run_with, tieline};

#[test]
fn a_query_goes_to_a_file_or_through_a_job_and_brings_the_same() {
    let org = Org::start(&["--contacts", "2500"]);
    let login = org.login();
    let folder = tempfile::tempdir().unwrap();
    let soql = "SELECT Id, Name, Account.Name, Email FROM Contact ORDER BY Id";
    let (code, rest, _) = run(&mut tieline(&login, &["query", "--csv", soql]));
    assert_eq!((code, rest.lines().count() > 2_500), (0, true));
    let (code, bulk, err) = run(&mut tieline(&login, &["query", "--bulk", "--csv", soql]));
    assert!(code == 0 && err.starts_with("job 750"), "{err}");
    assert_eq!(bulk, rest);
    for (name, by_job) in [("a.csv", false), ("b.csv", true), ("c.jsonl", false), ("d.jsonl", true)] {
        let file = folder.path().join(name);
        let mut arguments = vec!["query", "--output", file.to_str().unwrap(), soql];
        arguments.extend(by_job.then_some("--bulk"));
        let (code, out, err) = run(&mut tieline(&login, &arguments));
        assert!(code == 0 && out.is_empty() && err.contains("2500 records written to "), "{err}");
        let text = std::fs::read_to_string(&file).unwrap();
        match name.ends_with("csv") {
            true => assert_eq!(text, rest),
            false => {
                let first = parsed(text.lines().next().unwrap());
                assert!(first["Id"].is_string() && text.lines().count() == 2_500, "{first}");
            }
        }
    }
    // A table ends, and says so.
    for arguments in [&["query", soql][..], &["query", "--bulk", soql]] {
        let (code, _, err) = run(&mut tieline(&login, arguments));
        assert!(code == 0 && err.contains("the first 1000 of 2500 records; --csv and --json give all"), "{err}");
    }
    // What fails leaves no half of a file, and none is begun for a query that cannot be written.
    org.control("POST", "faults", &json!({"path": "/services/data/v67.0/query/", "status": 400}));
    let file = folder.path().join("e.csv");
    let (code, ..) = run(&mut tieline(&login, &["query", "--output", file.to_str().unwrap(), soql]));
    assert!(code == 1 && !file.exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    for (name, code) in [("/no/such/folder/x.csv", 1), ("x.docx", 2)] {
        assert_eq!(run(&mut tieline(&login, &["query", "--output", name, soql])).0, code, "{name}");
    }
    // Into what the process writes to anyway: beside what others have written there.
    let shared = folder.path().join("shared.txt");
    std::fs::write(&shared, "before\n").unwrap();
    let into = std::fs::OpenOptions::new().append(true).open(&shared).unwrap();
    let one = "SELECT COUNT() FROM Contact";
    let status = tieline(&login, &["query", "--csv", "--output", "/dev/stdout", one]).stdout(into).status().unwrap();
    assert!(status.success());
    assert_eq!(std::fs::read_to_string(&shared).unwrap(), "before\ncount\n2500\n");
    // A reader that has seen enough.
    for arguments in [&["query", "--csv", soql][..], &["query", "--json", soql], &["query", "--bulk", "--csv", soql]] {
        let mut child = tieline(&login, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(run(&mut tieline(&login, &["query", "--csv", "SELECT COUNT() FROM Contact"])).1, "count\n2500\n");
    let (code, out, _) =
        run(&mut tieline(&login, &["query", "--bulk", "--csv", "SELECT Id FROM Contact WHERE Name = 'x'"]));
    assert_eq!((code, out.as_str()), (0, "Id\n"));
    assert_eq!(run_with(&mut tieline(&login, &["query", "-"]), " \n").0, 2);
}

#[test]
fn ctrl_c_ends_a_query_and_leaves_no_file() {
    let org = Org::start(&["--contacts", "10"]);
    let folder = tempfile::tempdir().unwrap();
    org.control("POST", "faults", &json!({"path": "/services/data", "delay_ms": 60_000}));
    let file = folder.path().join("a.csv");
    let arguments = ["query", "--output", file.to_str().unwrap(), "SELECT Id FROM Contact"];
    let child = tieline(&org.login(), &arguments).stderr(Stdio::piped()).spawn().unwrap();
    while std::fs::read_dir(folder.path()).unwrap().count() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(130), &b""[..]));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn children_plans_and_the_tooling_api() {
    let org = Org::start(&["--contacts", "600"]);
    let login = org.login();
    let soql = "SELECT Id, (SELECT LastName FROM Contacts) FROM Account ORDER BY Id LIMIT 3";
    let (code, out, err) = run(&mut tieline(&login, &["query", "--json", soql]));
    assert_eq!(code, 0, "{err}");
    let first = parsed(out.lines().next().unwrap());
    let children = first["Contacts"]["records"].as_array().unwrap();
    assert_eq!(first["Contacts"]["totalSize"], children.len());
    assert!(children[0]["LastName"].is_string() && !out.contains("attributes"), "{out}");
    let (_, out, _) = run(&mut tieline(&login, &["query", "--csv", soql]));
    let row = csv::Reader::from_reader(out.as_bytes()).records().next().unwrap().unwrap();
    assert_eq!(parsed(&row[1]).as_array().unwrap().len(), children.len());

    let (code, out, err) =
        run(&mut tieline(&login, &["query", "--explain", "SELECT Id FROM Contact WHERE LastName = 'x'"]));
    assert!(
        code == 0 && out.contains("relativeCost") && out.contains("TableScan") && err.contains("plan"),
        "{out}{err}"
    );
    assert!(!out.contains('{'), "a table is for people: {out}");
    let (_, out, _) = run(&mut tieline(&login, &["query", "--explain", "--json", "SELECT Id FROM Contact"]));
    assert!(parsed(out.lines().next().unwrap())["relativeCost"].is_number(), "{out}");
    let (code, _, err) = run(&mut tieline(&login, &["query", "--tooling", "SELECT Id, Name FROM ApexClass"]));
    assert_eq!(code, 0, "{err}");
    let (code, _, _) = run(&mut tieline(&login, &["query", "SELECT Id, Name FROM ApexClass WHERE Nope = 1"]));
    assert_eq!(code, 1);
}

#[test]
fn describes_limits_and_searches() {
    let org = Org::start(&["--contacts", "20"]);
    let login = org.login();
    let ok = |arguments: &[&str]| {
        let (code, out, err) = run(&mut tieline(&login, arguments));
        assert_eq!(code, 0, "{arguments:?}: {err}");
        (out, err)
    };
    let (out, err) = ok(&["describe", "contact"]);
    let line = |name: &str| out.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap().to_owned();
    assert!(line("LastName").contains("string(80)") && line("LastName").contains("required"), "{out}");
    assert!(line("AccountId").contains("reference → Account") && err.contains("Contact, ids 003…"), "{out}{err}");
    let (out, _) = ok(&["describe", "Contact", "--json"]);
    assert_eq!((&parsed(&out)["name"], &parsed(&out)["keyPrefix"]), (&json!("Contact"), &json!("003")));
    let (out, err) = ok(&["describe"]);
    assert!(out.contains("Account") && err.contains(" objects"), "{out}");
    let (out, _) = ok(&["describe", "--json"]);
    assert!(out.lines().map(parsed).any(|object| object["name"] == "Contact"));
    let (code, _, err) = run(&mut tieline(&login, &["describe", "Nope"]));
    assert!(code == 1 && err.contains("NOT_FOUND"), "{err}");

    let (out, _) = ok(&["limits"]);
    let shares: Vec<f64> = out.lines().filter_map(|line| line.split_whitespace().nth(4)?.parse().ok()).collect();
    assert!(shares.len() > 3 && shares.is_sorted_by(|a, b| a >= b), "the scarcest first: {out}");
    assert!(parsed(&ok(&["limits", "--json"]).0)["DailyApiRequests"]["Max"].is_number());

    ok(&["create", "Contact", "LastName=C&A (Berlin)", "Email=ca@example.com"]);
    ok(&["create", "Account", "Name=C&A (Berlin)"]);
    let (out, err) = ok(&[
        "search",
        "C&A (Berlin)",
        "--in",
        "name",
        "--returning",
        "Contact(Id, Name)",
        "--returning",
        "Account(Name)",
        "--json",
    ]);
    let found: Vec<Value> = out.lines().map(parsed).collect();
    assert_eq!(found.len(), 2, "{out}{err}");
    assert!(found.iter().any(|hit| hit["object"] == "Account" && hit["Name"] == "C&A (Berlin)"), "{out}");
    let (out, err) = ok(&["search", "--sosl", "FIND {Berl*} IN NAME FIELDS RETURNING Contact(Name)", "--csv"]);
    assert!(out.starts_with("object,") && out.contains("Contact") && err.is_empty(), "{out}{err}");
    assert_eq!(run(&mut tieline(&login, &["search", "a"])).0, 2);
    let (code, _, err) = run(&mut tieline(&login, &["search", "--sosl", "FIND Berlin"]));
    assert!(code == 1 && err.contains("MALFORMED_SEARCH"), "{err}");
}

#[test]
fn apex_and_any_request() {
    let org = Org::start(&["--contacts", "1"]);
    let login = org.login();
    let call = |arguments: &[&str]| run(&mut tieline(&login, arguments));
    let handlers = json!([
        {"method": "POST", "path": "/echo/*", "echo": true},
        {"method": "GET", "path": "/text", "body": "plain, not JSON"},
        {"method": "GET", "path": "/fails", "status": 500, "body": [{"errorCode": "APEX_ERROR", "message": "no"}]},
    ]);
    org.control("PUT", "apexrest", &handlers);
    let (code, out, _) = call(&["apex", "POST", "echo/x?y=1", "a=b", "n:=3", "z="]);
    assert_eq!((code, &parsed(&out)["body"]), (0, &json!({"a": "b", "n": 3, "z": null})), "{out}");
    let (_, out, _) = run_with(&mut tieline(&login, &["apex", "post", "/echo/x", "--file", "-"]), "[1]");
    assert_eq!(parsed(&out)["body"], json!([1]));
    assert_eq!(call(&["apex", "GET", "text"]).1, "plain, not JSON");
    let (code, out, err) = call(&["apex", "GET", "fails"]);
    assert!(
        code == 1 && out.contains("APEX_ERROR") && err.contains("error: GET /services/apexrest/fails"),
        "{code} {out}{err}"
    );
    assert_eq!(call(&["apex", "GET", "text", "a=b"]).0, 2);
    assert_eq!(call(&["apex", "FETCH", "text"]).0, 2);
    assert_eq!(call(&["apex"]).0, 2);
    let anonymous = |code: &str| run_with(&mut tieline(&login, &["apex", "run", "-"]), code);
    assert_eq!(anonymous("System.debug(1);").0, 0);
    let (code, _, err) = anonymous("System.debug(1)");
    assert!(code == 1 && err.contains("it does not compile: line ") && err.contains("hint: nothing was run"), "{err}");
    let (code, out, _) = run_with(&mut tieline(&login, &["apex", "run", "--json", "-"]), "System.debug(1)");
    assert!(code == 1 && parsed(&out)["compiled"] == false, "{out}");

    let (code, out, err) = call(&["request", "GET", "limits", "-i"]);
    assert!(code == 0 && parsed(&out)["DailyApiRequests"].is_object(), "{out}");
    assert!(err.starts_with("HTTP 200\n") && err.contains("sforce-limit-info: "), "{err}");
    assert!(call(&["request", "GET", "/services/data"]).1.contains("\"67.0\""));
    let create = ["request", "POST", "sobjects/Contact", "--json-body", r#"{"LastName":"Raw"}"#];
    assert_eq!(parsed(&call(&create).1)["success"], true);
    // A refusal's body is printed, and the exit code is that of its kind.
    let (code, out, err) = call(&["request", "GET", "sobjects/Nope", "-i"]);
    assert!(code == 1 && parsed(&out)[0]["errorCode"] == "NOT_FOUND" && err.contains("HTTP 404"), "{out}{err}");
    org.control(
        "POST",
        "faults",
        &json!({"path": "/services/data", "status": 403, "body": [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "x"}]}),
    );
    let (code, out, _) = call(&["request", "GET", "limits"]);
    assert!(code == 4 && out.contains("REQUEST_LIMIT_EXCEEDED"), "{code} {out}");
    for (arguments, code) in [
        (&["request", "GET", "//example.org/x"][..], 2),
        (&["request", "GET", "x", "--header", "nonsense"], 2),
        (&["request", "POST", "x", "--json-body", "{"], 2),
        (&["request", "FETCH", "x"], 2),
    ] {
        let (found, out, err) = call(arguments);
        assert!(found == code && out.is_empty() && err.contains("hint: "), "{arguments:?}: {found} {err}");
    }
    // The content type is the caller's.
    let echo = [
        "request",
        "POST",
        "/services/apexrest/echo/x",
        "--file",
        "-",
        "--header",
        "Content-Type: text/csv",
        "--header",
        "X-A: b",
    ];
    let (code, out, err) = run_with(&mut tieline(&login, &echo), "a,b\n");
    assert_eq!(code, 0, "{err}");
    let headers = &parsed(&out)["headers"];
    assert_eq!((&headers["content-type"], &headers["x-a"]), (&json!("text/csv"), &json!("b")), "{out}");
}

#[test]
fn a_reserve_is_kept_even_by_a_single_call() {
    let org = Org::start(&["--contacts", "1"]);
    let mut login = org.login();
    org.control("PUT", "limits", &json!({"daily_api_requests": 100}));
    let soql = "SELECT Id FROM Contact";
    assert_eq!(run(&mut tieline(&login, &["query", "--reserve", "20%", soql])).0, 0);
    let (code, out, err) = run(&mut tieline(&login, &["query", "--reserve", "99", soql]));
    assert!(code == 4 && out.is_empty() && err.contains("are kept in reserve"), "{code} {err}");
    login.insert("TIELINE_API_RESERVE".to_owned(), "100%".to_owned());
    for arguments in
        [&["query", "--bulk", soql][..], &["create", "Contact", "LastName=x"], &["request", "GET", "sobjects"]]
    {
        let (code, _, err) = run(&mut tieline(&login, arguments));
        assert!(code == 4 && err.contains("hint: ") && err.contains("tieline limits"), "{arguments:?}: {code} {err}");
    }
    // What is left may be looked at.
    assert_eq!(run(&mut tieline(&login, &["limits", "--json"])).0, 0);
    login.insert("TIELINE_API_RESERVE".to_owned(), "much".to_owned());
    assert_eq!(run(&mut tieline(&login, &["query", soql])).0, 2);
}
