//! `tieline doctor`: each thing that a login depends on, broken in turn. Everything stays on this machine.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::org::{Org, json as parse, run, tieline};

type Environment = BTreeMap<String, String>;

fn with(environment: &Environment, pairs: &[(&str, &str)]) -> Environment {
    let mut environment = environment.clone();
    environment.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    environment
}

fn doctor(environment: &Environment, more: &[&str]) -> (i32, Value, String) {
    let arguments = [&["doctor", "--json"], more].concat();
    let (code, out, err) = run(&mut tieline(environment, &arguments));
    (code, parse(&out), err)
}

/// State and hint of a check.
fn check<'a>(report: &'a Value, name: &str) -> (&'a str, String) {
    let found = report["checks"].as_array().unwrap().iter().rev().find(|check| check["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no check `{name}` in {report}"));
    (
        found["state"].as_str().unwrap(),
        format!("{} → {}", found["detail"].as_str().unwrap(), found["hint"].as_str().unwrap()),
    )
}

#[test]
fn a_login_in_order_passes_every_check() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    desk.done(&org, &[]);
    let (code, report, _) = doctor(&desk.login(), &["--strict"]);
    assert_eq!((code, &report["result"]), (0, &json!("pass")), "{report}");
    let names: Vec<_> = report["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    let wanted = [
        "configuration",
        "private key",
        "certificate",
        "proxy",
        "DNS",
        "TLS",
        "clock",
        "My Domain",
        "login",
        "app",
        "user",
        "scopes",
        "API access",
        "login rate",
        "API calls",
    ];
    assert_eq!(names, wanted);
    // For people: a line each, and no colours where there is no terminal.
    let (code, out, err) = run(&mut tieline(&desk.login(), &["doctor"]));
    assert_eq!((code, out.lines().count()), (0, wanted.len()), "{out}");
    assert!(
        out.lines().all(|line| line.starts_with("pass  ")) && !out.contains('\x1b') && err.contains("0 failed"),
        "{out}{err}"
    );
    // Over HTTPS, with a certificate authority of the org's own.
    let org = Org::start(&["--contacts", "0", "--tls"]);
    let (code, report, _) = doctor(
        &with(&org.login(), &[("SSL_CERT_FILE", org.get("ca_file"))]),
        &["--certificate", org.get("certificate_file")],
    );
    assert_eq!((code, check(&report, "TLS").0), (0, "pass"), "{report}");
    let (code, report, _) = doctor(&org.login(), &[]);
    let (state, told) = check(&report, "TLS");
    assert_eq!((code, state), (4, "fail"), "{report}");
    assert!(told.contains("SSL_CERT_FILE"), "{told}");
}

#[test]
fn each_thing_that_is_wrong_is_named_with_the_next_act() {
    let org = Org::start(&["--contacts", "0"]);
    let other = Org::start(&["--contacts", "0"]);
    let certificate = org.get("certificate_file").to_owned();
    let fine = org.login();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage.crt");
    std::fs::write(&garbage, "hello").unwrap();
    let garbage = garbage.to_str().unwrap();
    for (environment, certificate, name, state, code, told) in [
        (Environment::new(), &certificate[..], "configuration", "fail", 2, "SF_CLIENT_ID"),
        (
            with(&fine, &[("SF_REFRESH_TOKEN", "5Aep")]),
            &certificate,
            "configuration",
            "warn",
            0,
            "jwt is taken, and refresh_token could be used too",
        ),
        (
            with(&fine, &[("SF_PRIVATE_KEY_FILE", other.get("private_key_file"))]),
            &certificate,
            "certificate",
            "fail",
            1,
            "was not made for this private key",
        ),
        (fine.clone(), garbage, "certificate", "fail", 1, "not PEM"),
        (
            with(&fine, &[("SF_LOGIN_URL", &format!("http://{closed}"))]),
            &certificate,
            "TLS",
            "fail",
            4,
            "cannot be reached",
        ),
        (
            with(&fine, &[("HTTP_PROXY", &format!("http://user:planted@{closed}"))]),
            &certificate,
            "proxy",
            "pass",
            4,
            &format!("requests go through {closed}"),
        ),
        (with(&fine, &[("SF_CLIENT_ID", "3MVG9nobody")]), &certificate, "app", "fail", 3, "SF_CLIENT_ID"),
        (
            with(&fine, &[("SF_USERNAME", "unapproved@local.tieline.test")]),
            &certificate,
            "approval",
            "fail",
            3,
            "pre-authorise",
        ),
        (with(&fine, &[("SF_USERNAME", "inactive@local.tieline.test")]), &certificate, "user", "fail", 3, "reactivate"),
        (with(&fine, &[("SF_AUDIENCE", "https://example.org")]), &certificate, "login", "fail", 3, "SF_AUDIENCE"),
    ] {
        let (found, report, err) = doctor(&environment, &["--certificate", certificate]);
        let (is, said) = check(&report, name);
        assert_eq!((is, found), (state, code), "{name}: {report}{err}");
        assert!(said.contains(told), "{name}: `{said}` should say `{told}`");
        assert!(!report.to_string().contains("planted"), "{report}");
    }
    // The signature, with a certificate that nobody has looked at.
    let wrong = with(&fine, &[("SF_PRIVATE_KEY_FILE", other.get("private_key_file"))]);
    let (code, report, _) = doctor(&wrong, &["--certificate", other.get("certificate_file")]);
    assert_eq!((code, check(&report, "signature").0, check(&report, "app").0), (3, "fail", "pass"), "{report}");
    // What the org has: limits, logins, scopes, its switches.
    let look = |change: (&str, Value)| {
        org.control("PUT", change.0, &change.1);
        let report = doctor(&fine, &["--certificate", &certificate]);
        org.control("POST", "reset", &Value::Null);
        report
    };
    let (code, report, _) = look(("limits", json!({"daily_api_requests": 60})));
    assert!(code == 0 && ["warn", "pass"].contains(&check(&report, "API calls").0), "{report}");
    let (code, report, _) = look(("limits", json!({"daily_api_requests": 1})));
    assert_eq!((code, check(&report, "API calls").0), (1, "fail"), "{report}");
    let (code, report, _) = look(("app", json!({"scopes": ["id", "openid"]})));
    assert_eq!((code, check(&report, "scopes").0), (1, "fail"), "{report}");
    let (code, report, _) =
        look(("setup", json!({"settings": {"ConnectedApp": {"enableAdminApprovedAppsOnly": true}}})));
    assert_eq!((code, check(&report, "API access").0), (3, "fail"), "{report}");
    let (code, report, _) = look(("clock", json!({"advance_seconds": 60})));
    assert_eq!((code, check(&report, "clock").0), (0, "warn"), "{report}");
    let (code, report, _) = look(("clock", json!({"advance_seconds": -600})));
    let (state, said) = check(&report, "clock");
    assert!(
        code == 1 && state == "fail" && said.contains("ahead of the org's") && said.contains("set-ntp"),
        "{report}"
    );
    // Warnings count only where that is asked for.
    let (code, report, _) = doctor(&fine, &["--certificate", "/nowhere.crt"]);
    assert_eq!((code, check(&report, "certificate").0), (1, "fail"));
    let moved = folder.path().join("key.pem");
    std::fs::copy(org.get("private_key_file"), &moved).unwrap();
    let moved = with(&fine, &[("SF_PRIVATE_KEY_FILE", moved.to_str().unwrap())]);
    let (code, report, _) = doctor(&moved, &[]);
    assert_eq!((code, &report["result"], check(&report, "certificate").0), (0, &json!("warn"), "warn"), "{report}");
    assert_eq!(doctor(&moved, &["--strict"]).0, 1);
}

#[test]
fn a_certificate_that_is_about_to_end_is_warned_of_and_one_that_has_ended_fails() {
    let org = Org::start(&["--contacts", "0"]);
    for (days, state, said) in [
        ("90", "pass", "ends in 90 days"),
        ("29", "warn", "ends in 29 days"),
        ("6", "warn", "rotate-certificate"),
        ("1", "warn", "ends"),
    ] {
        let desk = Desk::new();
        desk.done(&org, &["--days", days, "--name", &format!("Days_{days}")]);
        let (code, report, _) = doctor(&desk.login(), &[]);
        let (is, told) = check(&report, "certificate");
        assert!(code == 0 && is == state && told.contains(said), "{days}: {report}");
        if days == "1" {
            // Rotation is due, and then is not.
            let due = ["rotate-certificate", "--if-due"];
            assert_eq!(desk.done(&org, &due)["rotated"], true);
            assert_eq!(check(&doctor(&desk.login(), &[]).1, "certificate").0, "pass");
            assert_eq!(desk.done(&org, &due)["changed"], false);
        }
    }
    // One that has ended, over the same key.
    let desk = Desk::new();
    desk.done(&org, &["--name", "Past"]);
    let key = rcgen::KeyPair::from_pem(&desk.read("private_key.pem")).unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2026, 1, 1);
    let made = parameters.self_signed(&key).unwrap().pem();
    let past = desk.folder.path().join("past.crt");
    std::fs::write(&past, made).unwrap();
    let (code, report, _) = doctor(&desk.login(), &["--certificate", past.to_str().unwrap()]);
    let (state, told) = check(&report, "certificate");
    assert!(code == 1 && state == "fail" && told.contains("ended"), "{report}");
}

#[test]
fn a_token_that_still_lives_hides_no_app_that_is_gone() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    let home: Environment = [("HOME".to_owned(), desk.folder.path().display().to_string())].into();
    desk.done(&org, &["--alias", "kept"]);
    let (code, report, _) = doctor(&home, &["--org", "kept"]);
    assert_eq!((code, &report["result"]), (0, &json!("pass")), "{report}");
    // Undone from another copy of the folder, which knows nothing of the saved login.
    let copy = Desk::new();
    std::fs::create_dir(copy.out()).unwrap();
    std::fs::write(format!("{}/.tieline-setup.json", copy.out()), desk.read(".tieline-setup.json")).unwrap();
    copy.done(&org, &["--undo"]);
    let (code, report, _) = doctor(&home, &["--org", "kept"]);
    assert_eq!((code, check(&report, "app").0), (3, "fail"), "{report}");
}
