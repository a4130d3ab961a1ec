//! What the commands print when all is well.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::org::{Org, json, run, tieline};

#[test]
fn demo_once_compares_both_sides_and_tells_it_as_one_object() {
    let (code, out, err) = run(&mut tieline([], &["demo", "--once", "--json"]));
    assert_eq!(code, 0, "{err}");
    let told = json(&out);
    assert_eq!(told["org"]["contacts"], 2_000);
    for (key, expected) in [("contacts", 2_000), ("missing", 0), ("extra", 0), ("different", 0)] {
        assert_eq!(told["database"][key], expected, "{key}");
    }
    assert_eq!(told["token_requests"], 1);
    assert!(told["api_calls"].as_u64().unwrap() >= 2 && told["seconds"].as_f64().unwrap() > 0.0, "{told}");
}

#[test]
fn query_prints_a_table_json_lines_and_csv() {
    let org = Org::start(&["--contacts", "3"]);
    let soql = "SELECT Id, Name, Account.Name FROM Contact ORDER BY Id";
    let (code, out, err) = run(&mut tieline(&org.login(), &["query", soql]));
    assert_eq!((code, out.lines().count() >= 5), (0, true), "{out}{err}");
    assert!(err.contains("3 records"), "{err}");
    let (_, out, _) = run(&mut tieline(&org.login(), &["query", "--json", soql]));
    let lines: Vec<_> = out.lines().map(json).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0]["Id"].as_str().unwrap().starts_with("003") && lines[0].get("attributes").is_none());
    let (_, out, _) = run(&mut tieline(&org.login(), &["query", "--csv", soql]));
    assert_eq!((out.lines().next(), out.lines().count()), (Some("Id,Name,Account.Name"), 4));

    let mut piped =
        tieline(&org.login(), &["query", "--json", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    piped.stdin.take().unwrap().write_all(b"SELECT COUNT(Id) n FROM Contact\n").unwrap();
    let output = piped.wait_with_output().unwrap();
    assert_eq!(json(&String::from_utf8(output.stdout).unwrap())["n"], 3);
}

#[test]
fn token_is_accepted_by_the_org_and_told_with_its_times() {
    let org = Org::start(&["--contacts", "0"]);
    let (code, out, _) = run(&mut tieline(&org.login(), &["token", "--json"]));
    let told = json(&out);
    assert_eq!((code, &told["from_cache"], &told["instance_url"]), (0, &false.into(), &org.get("instance_url").into()));
    assert!(told["issued_at"].is_string() && told["expires_at"].is_string(), "{told}");
    // The plain form goes into another tool: as a token that cannot be renewed, into our own.
    let (_, token, _) = run(&mut tieline(&org.login(), &["token"]));
    let given = [("SF_ACCESS_TOKEN", token.trim()), ("SF_INSTANCE_URL", org.get("instance_url"))];
    let given: Vec<(String, String)> = given.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let (code, _, err) = run(&mut tieline(given.iter().map(|(k, v)| (k, v)), &["query", "SELECT Id FROM User"]));
    assert_eq!(code, 0, "{err}");
}

#[test]
fn sync_run_tells_what_it_did_and_the_second_run_has_nothing_to_do() {
    let org = Org::start(&["--contacts", "2500"]);
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("t.db");
    let sync = || {
        let arguments =
            ["sync", "run", "--mapping", "contact", "--once", "--json", "--database-url", database.to_str().unwrap()];
        let (code, out, err) = run(&mut tieline(&org.login(), &arguments));
        assert_eq!(code, 0, "{err}");
        json(&out)
    };
    let first = sync();
    // Two describes, up to when changes are visible, how many there are, two pages, changed accounts.
    assert_eq!((&first["rows"]["inserted"], &first["api_calls"]), (&2_500.into(), &7.into()), "{first}");
    assert!(first["verified_through"].is_string() && first["run"].is_string());
    assert_eq!(
        (&first["mapping"], &first["object"], &first["table"]),
        (&"contacts".into(), &"Contact".into(), &"contacts".into())
    );
    let second = sync();
    assert_eq!((&second["rows"]["inserted"], &second["api_calls"]), (&0.into(), &1.into()), "{second}");
}

#[test]
fn serve_says_where_it_is_and_keeps_the_sealed_login() {
    let org = Org::start(&["--contacts", "10"]);
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("t.db");
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--no-sign-in",
        "--allow-loopback",
        "--database-url",
        database.to_str().unwrap(),
    ];
    // With the login in the environment, then without it.
    for environment in [org.login(), Default::default()] {
        let mut service = tieline(&environment, &arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(service.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("tieline is ready at ").unwrap_or_else(|| panic!("{line}")).to_owned();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let page = runtime.block_on(async {
            let get = async |path: &str| reqwest::get(format!("{address}{path}")).await.unwrap().text().await.unwrap();
            assert_eq!(get("/health/ready").await, r#"{"status":"ready"}"#);
            for _ in 0..100 {
                if get("/").await.matches("data-contact=").count() == 10 {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            get("/").await
        });
        service.kill().unwrap();
        service.wait().unwrap();
        assert_eq!(page.matches("data-contact=").count(), 10, "{page}");
        assert!(page.contains("data-connection-state>active"), "{page}");
    }
}
