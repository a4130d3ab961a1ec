//! A setup that is killed at each of its requests, and one that loses each of its answers.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::desk::{Desk, apps, assert_untouched, secrets_are_on};
use crate::org::{Org, run};

/// The step that a run is killed at is held up by the org, so that it is met for certain.
pub(crate) fn kill_at(org: &Org, command: &mut Command, nth: u64) -> bool {
    org.control("DELETE", "faults", &Value::Null);
    org.control("POST", "faults", &json!({"nth": nth, "delay_ms": 20_000}));
    let before = org.ledger()["faults_injected"].as_u64().unwrap();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    loop {
        if org.ledger()["faults_injected"].as_u64().unwrap() > before {
            child.kill().unwrap();
            child.wait().unwrap();
            org.control("DELETE", "faults", &Value::Null);
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            org.control("DELETE", "faults", &Value::Null);
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn killed_at_every_step_and_run_again() {
    let mut steps = 0;
    for nth in 1.. {
        // A new org each time: what it held up may yet be carried out, long after its sender is dead.
        let org = Org::start(&["--contacts", "0"]);
        let desk = Desk::new();
        if !kill_at(&org, &mut desk.setup(&org, &[]), nth) {
            break;
        }
        steps = nth;
        let told = desk.done(&org, &[]);
        assert_eq!(told["verified"]["exchange"], true, "killed at request {nth}");
        assert_eq!(
            apps(&org),
            ["JWT_Lambda_Integration", "Salesforce CLI", "tieline local app"],
            "killed at request {nth}"
        );
        assert!(!secrets_are_on(&org), "killed at request {nth}: the switch is off");
        desk.done(&org, &["--undo"]);
        assert_untouched(&org);
        assert!(desk.files().is_empty(), "killed at request {nth}: {:?}", desk.files());
    }
    assert!(steps >= 25, "a setup makes some requests: {steps}");
    // Whoever changes his mind then has nothing left of it.
    for nth in (1..=steps).step_by(2) {
        let org = Org::start(&["--contacts", "0"]);
        let desk = Desk::new();
        assert!(kill_at(&org, &mut desk.setup(&org, &[]), nth));
        if desk.files().is_empty() {
            continue;
        }
        desk.done(&org, &["--undo"]);
        assert_untouched(&org);
        assert!(desk.files().is_empty(), "killed at request {nth}: {:?}", desk.files());
    }
    // And the undoing itself.
    for nth in 1.. {
        let org = Org::start(&["--contacts", "0"]);
        let desk = Desk::new();
        desk.done(&org, &[]);
        let killed = kill_at(&org, &mut desk.setup(&org, &["--undo"]), nth);
        if killed {
            desk.done(&org, &["--undo"]);
        }
        assert_untouched(&org);
        assert!(desk.files().is_empty(), "killed at request {nth}: {:?}", desk.files());
        if !killed {
            break;
        }
    }
}

#[test]
fn an_answer_lost_at_any_step_costs_nothing_but_another_run() {
    let org = Org::start(&["--contacts", "0"]);
    for nth in 1..60 {
        let desk = Desk::new();
        org.control("POST", "faults", &json!({"nth": nth, "cut": 0}));
        let (code, out, err) = run(&mut desk.setup(&org, &[]));
        let met = org.ledger()["faults_injected"].as_u64().unwrap() >= nth;
        org.control("DELETE", "faults", &Value::Null);
        if code != 0 {
            assert!(err.contains("hint: "), "request {nth}: {out}{err}");
            desk.done(&org, &[]);
        }
        assert!(!secrets_are_on(&org), "answer {nth} lost");
        desk.done(&org, &["--undo"]);
        assert_untouched(&org);
        if !met {
            assert!(nth > 25, "a setup makes some requests: {nth}");
            return;
        }
    }
}

#[test]
fn ctrl_c_in_the_middle_leaves_no_secret_open() {
    let mut stopped = 0;
    for nth in 8..30 {
        let org = Org::start(&["--contacts", "0"]);
        let desk = Desk::new();
        org.control("POST", "faults", &json!({"nth": nth, "delay_ms": 1_500}));
        let mut child = desk.setup(&org, &[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while org.ledger()["faults_injected"] == 0 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!secrets_are_on(&org), "stopped at request {nth}: {err}");
        // Where nothing had begun it just ends; later it says how to go on.
        stopped += usize::from(output.status.code() == Some(4) && err.contains("it goes on from here"));
        desk.done(&org, &[]);
    }
    assert!(stopped >= 10, "{stopped}");
}
