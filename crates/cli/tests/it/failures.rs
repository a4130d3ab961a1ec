//! Bad input and bad luck: one message, a hint, an exit code, and no secret.

use std::collections::BTreeMap;
use std::process::Command;

use crate::org::{Org, PROGRAM, json, run, tieline};
use crate::setup_terminal::Terminal;

type Environment = BTreeMap<String, String>;

fn with(mut environment: Environment, name: &str, value: &str) -> Environment {
    environment.insert(name.to_owned(), value.to_owned());
    environment
}

/// Fails with that code; message and hint hold the given texts, on a line each.
fn fails(command: &mut Command, code: i32, said: &str, hinted: &str) {
    let (found, out, err) = run(command);
    assert_eq!(found, code, "{out}{err}");
    let lines: Vec<&str> = err.lines().collect();
    let [error, hint] = lines.as_slice() else { panic!("an error line and a hint line, not: {err}") };
    assert!(error.starts_with("error: ") && error.contains(said), "{err}");
    assert!(hint.starts_with("hint: ") && hint.contains(hinted), "{err}");
    assert_eq!(out, "", "nothing on stdout");
}

#[test]
fn a_login_that_cannot_work_is_refused_with_a_hint() {
    let org = Org::start(&["--contacts", "0"]);
    let other = Org::start(&["--contacts", "0"]);
    let token = |environment: &Environment| tieline(environment, &["token"]);
    let login = org.login();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let public = std::fs::read_to_string(org.get("certificate_file")).unwrap();
    for (environment, code, said, hinted) in [
        (
            with(login.clone(), "SF_PRIVATE_KEY_FILE", other.get("private_key_file")),
            3,
            "invalid assertion",
            "does not belong to the certificate",
        ),
        (with(login.clone(), "SF_AUDIENCE", "https://example.org"), 3, "audience is invalid", "SF_AUDIENCE"),
        (
            with(login.clone(), "SF_USERNAME", "unapproved@local.tieline.test"),
            3,
            "user hasn't approved this consumer",
            "pre-authorise",
        ),
        (with(login.clone(), "SF_CLIENT_ID", "3MVG9nobody"), 3, "client identifier invalid", "SF_CLIENT_ID"),
        (with(login.clone(), "SF_LOGIN_URL", &format!("http://{closed}")), 4, "cannot be reached", "check the network"),
        (
            with(login.clone(), "SF_LOGIN_URL", "https://evilcrmforce.mil"),
            2,
            "not one of Salesforce's domains",
            "my.salesforce.com",
        ),
        (with(login.clone(), "SF_PRIVATE_KEY", &public), 2, "this is the certificate", "private key belongs here"),
        (with(login.clone(), "SF_PRIVATE_KEY_FILE", "/nowhere/key.pem"), 2, "/nowhere/key.pem", "SF_PRIVATE_KEY_FILE"),
        (Environment::new(), 2, "SF_REFRESH_TOKEN", "tieline emulate"),
    ] {
        fails(&mut token(&environment), code, said, hinted);
    }
}

#[test]
fn s11_a_machine_whose_clock_is_an_hour_behind_logs_in_and_is_told() {
    let org = Org::start(&["--contacts", "0"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let url = format!("{}/clock", org.get("control_url"));
        let body = serde_json::json!({"advance_seconds": 3_600});
        reqwest::Client::builder().build().unwrap().put(url).json(&body).send().await.unwrap();
    });
    let (code, out, err) = run(&mut tieline(&org.login(), &["token"]));
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("00D") && err.contains("behind the org's"), "{err}");
    let wrong = with(org.login(), "SF_AUDIENCE", "https://example.org");
    let (code, _, err) = run(&mut tieline(&wrong, &["token"]));
    assert!(code == 3 && err.contains("this machine's clock is") && err.contains("audience is invalid"), "{err}");
}

#[test]
fn a_bad_query_shows_where() {
    let org = Org::start(&["--contacts", "0"]);
    let (code, _, err) = run(&mut tieline(&org.login(), &["query", "SELECT Bacon FROM Contact"]));
    assert_eq!(code, 1);
    assert!(
        err.contains("No such column 'Bacon'")
            && err.contains("\nSELECT Bacon FROM Contact\n       ^\nERROR at Row:1:Column:8")
            && err.contains("hint: "),
        "{err}"
    );
}

/// A name that writes the clipboard, and a refusal that quotes one.
#[test]
fn nothing_that_an_org_says_acts_on_a_terminal() {
    let org = Org::start(&["--contacts", "0"]);
    let login = org.login();
    let name = "\u{1b}]52;c;aGk=\u{7}\u{9b}2J";
    let shown = r"\u{1b}]52;c;aGk=\u{7}\u{9b}2J";
    let (code, id, err) = run(&mut tieline(&login, &["create", "Contact", &format!("LastName={name}")]));
    assert_eq!(code, 0, "{err}");
    let soql = "SELECT LastName FROM Contact";
    for arguments in [&["query", soql][..], &["query", "--bulk", soql], &["get", "Contact", id.trim()]] {
        let (_, out, err) = run(&mut tieline(&login, arguments));
        assert!(out.contains(shown) && !out.contains(['\u{1b}', '\u{9b}', '\u{7}']), "{arguments:?}: {out:?}{err}");
    }
    let (_, out, _) = run(&mut tieline(&login, &["query", "--csv", soql]));
    assert_eq!(out, format!("LastName\n{name}\n"), "a program has it as it is");
    let refused = format!("SELECT Id FROM Contact WHERE LastName = '{name}' AND Bacon = 1");
    let (_, _, err) = run(&mut tieline(&login, &["query", &refused]));
    assert!(err.contains(shown) && !err.contains('\u{1b}'), "{err:?}");
    // What is printed as it came, to a terminal and to a program.
    org.control("PUT", "apexrest", &serde_json::json!([{"method": "GET", "path": "/text", "body": name}]));
    assert_eq!(run(&mut tieline(&login, &["apex", "GET", "text"])).1, name);
    for arguments in ["apex GET text".to_owned(), format!("query --csv '{soql}'")] {
        let mut terminal = Terminal::open(&format!("'{PROGRAM}' {arguments}"), &login);
        let (code, screen) = terminal.ends();
        assert!(code == 0 && screen.contains(shown) && !screen.contains("\u{1b}]52"), "{screen:?}");
    }
}

#[test]
fn a_stderr_that_nobody_reads_ends_nothing() {
    let org = Org::start(&["--contacts", "3"]);
    for (arguments, code) in
        [(&["query", "SELECT Id FROM Contact"][..], 0), (&["query", "SELECT Bacon FROM Contact"], 1)]
    {
        let mut command = tieline(&org.login(), arguments);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = command.stdout(std::process::Stdio::null()).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn a_port_in_use_and_an_open_address_are_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    fails(&mut tieline([], &["emulate", "--port", &port]), 1, "could not listen", "choose another port");
    fails(
        &mut tieline([], &["demo", "--listen", &format!("127.0.0.1:{port}")]),
        1,
        "could not listen",
        "choose another port",
    );
    let folder = tempfile::tempdir().unwrap();
    let org = Org::start(&["--contacts", "0"]);
    let database = folder.path().join("t.db");
    let database = database.to_str().unwrap();
    let listen = format!("127.0.0.1:{port}");
    fails(
        &mut tieline(&org.login(), &["serve", "--listen", &listen, "--database-url", database]),
        1,
        "could not listen",
        "choose another port",
    );
    fails(
        &mut tieline(&org.login(), &["serve", "--no-sign-in", "--listen", "0.0.0.0:0", "--database-url", database]),
        2,
        "without sign-in",
        "127.0.0.1",
    );
    let serve = ["serve", "--listen", "0.0.0.0:0", "--database-url", database];
    fails(&mut tieline(&org.login(), &serve), 2, "where people reach it", "APP_URL=https://");
    let mut plain = tieline(&org.login(), &serve);
    fails(plain.env("APP_URL", "http://crm.example.com"), 2, "is not https", "APP_URL=https://");
}

#[test]
fn a_database_that_cannot_be_used_is_refused_and_left_alone() {
    let org = Org::start(&["--contacts", "5"]);
    let folder = tempfile::tempdir().unwrap();
    let sync = |file: &str| tieline(&org.login(), &["sync", "run", "--once", "--database-url", file]);
    let text = folder.path().join("text.db");
    std::fs::write(&text, "this is a letter, not a database, and it is long enough to be looked at as one".repeat(20))
        .unwrap();
    let before = std::fs::read(&text).unwrap();
    fails(&mut sync(text.to_str().unwrap()), 1, "could not open the database", "SQLite database");
    assert_eq!(std::fs::read(&text).unwrap(), before);
    let newer = folder.path().join("newer.db");
    assert_eq!(run(&mut sync(newer.to_str().unwrap())).0, 0);
    rusqlite::Connection::open(&newer).unwrap().execute("UPDATE schema_support SET oldest_program = 999", []).unwrap();
    let before = std::fs::read(&newer).unwrap();
    fails(&mut sync(newer.to_str().unwrap()), 1, "needs a tieline that knows schema 999", "was not touched");
    assert_eq!(std::fs::read(&newer).unwrap(), before);
    let key = folder.path().join("newer.db.key");
    std::fs::rename(&key, folder.path().join("elsewhere")).unwrap();
    rusqlite::Connection::open(&newer).unwrap().execute("UPDATE schema_support SET oldest_program = 1", []).unwrap();
    fails(&mut sync(newer.to_str().unwrap()), 1, "could not use the master key", "TIELINE_MASTER_KEY_FILE");
    assert!(!key.exists(), "no new key hides the loss of the old one");
    fails(&mut sync("/nowhere/t.db"), 1, "could not open the database /nowhere/t.db", "folder exists");
    fails(&mut sync("postgres://localhost/x"), 2, "needs a master key", "tieline keys init");
}

/// A real full disk: a file system of 16 MB, a few steps, in a mount namespace of its own.
#[test]
fn a_full_disk_is_named_and_the_next_run_loses_nothing() {
    let script = r#"
        mount -t tmpfs -o size=16m none "$1" || exit 77
        "$3" sync run --once --database-url "$1/t.db"; code=$?
        cp "$1"/t.db* "$2" && exit $code"#;
    let org = Org::start(&["--contacts", "40000"]);
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (folder.path().join("small"), folder.path().join("large"));
    std::fs::create_dir(&small).unwrap();
    std::fs::create_dir(&large).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", script, "sh"]).args([&small, &large]).arg(PROGRAM);
    command.envs(org.login());
    let (code, _, err) = run(&mut command);
    if code == 77 || err.contains("unshare") {
        eprintln!("SKIPPED: this machine lets nobody mount a file system: {err}");
        return;
    }
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("the disk is full") && err.contains("hint: make room"), "{err}");

    let database = large.join("t.db");
    let arguments = ["sync", "run", "--once", "--json", "--database-url", database.to_str().unwrap()];
    let (code, out, err) = run(&mut tieline(&org.login(), &arguments));
    assert_eq!(code, 0, "{err}");
    let rest = json(&out)["rows"]["inserted"].as_u64().unwrap();
    assert!(rest > 0 && rest < 40_000, "it went on where it stopped: {rest}");
    crate::crashes::assert_equal(&org, &database);
}
