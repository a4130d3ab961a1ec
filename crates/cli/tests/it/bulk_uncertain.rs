//! Jobs of which not all is known: handed over without an answer, not noted here, not ended, or begun by another program.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bulk::{count, csv, interrupted, noted, org};
use crate::org::{Org, json as parsed, run, run_with, tieline};

const JOBS: &str = "/services/data/v67.0/jobs/ingest/";
const INSERT: [&str; 7] = ["bulk", "ingest", "Contact", "--operation", "insert", "--file", "-"];

/// Where nothing is noted.
fn without_home(login: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    login.iter().filter(|(name, _)| *name != "HOME").map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn fault(org: &Org, fault: &Value) {
    org.control("POST", "faults", fault);
}

/// Waits until so many requests have met a fault.
fn met(org: &Org, so_many: u64) {
    let began = Instant::now();
    while org.ledger()["faults_injected"].as_u64().unwrap_or(0) < so_many {
        assert!(began.elapsed() < Duration::from_secs(60), "no request meets the fault");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ingest(login: &BTreeMap<String, String>, more: &[&str], input: &str) -> (Child, std::process::ChildStdin) {
    let mut command = tieline(login, &[&INSERT[..], more].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    (child, stdin)
}

#[test]
fn a_job_that_was_handed_over_without_an_answer_is_told_of() {
    let (org, login, home) = org();
    let file = home.path().join("people.csv");
    std::fs::write(&file, csv(0, 5)).unwrap();
    // The org begins, and nobody hears of it.
    fault(&org, &json!({"path": JOBS, "method": "PATCH", "cut": 0, "times": 0}));
    fault(&org, &json!({"path": JOBS, "method": "GET", "status": 503, "headers": {"retry-after": "0"}, "times": 0}));
    let (code, out, err) = run_with(&mut tieline(&login, &INSERT), &csv(0, 5));
    let (id, _) = noted(home.path(), |handle| handle["handed"].is_object());
    assert!(code == 6 && out.is_empty(), "not 4, for a repetition may send the rows twice: {code} {err}");
    assert!(err.contains(&format!("5 rows may be in the org's hands: job {id} ")), "{err}");
    assert!(err.contains(&format!("hint: go on with: tieline bulk resume {id} --file FILE")), "{err}");
    org.control("DELETE", "faults", &Value::Null);
    let (code, out, err) = run(&mut tieline(&login, &["bulk", "status", &id]));
    assert!(code == 0 && out.contains(&id) && err.contains("1 job"), "{out}{err}");
    let (code, out, err) = run(&mut tieline(&login, &["bulk", "resume", &id, "--file", file.to_str().unwrap()]));
    assert_eq!((code, out.trim()), (0, "5 rows sent: 5 succeeded, 0 failed, 0 unprocessed"), "{err}");
    assert_eq!(count(&login), 5);
}

#[test]
fn ctrl_c_while_a_job_is_handed_over_tells_of_it() {
    let (org, login, home) = org();
    fault(&org, &json!({"path": JOBS, "method": "PATCH", "delay_ms": 60_000}));
    let (child, stdin) = ingest(&login, &[], &csv(0, 5));
    drop(stdin);
    met(&org, 1);
    let (id, _) = noted(home.path(), |handle| handle["handed"].is_object());
    let err = interrupted(child);
    assert!(err.contains(&format!("5 rows may be in the org's hands: job {id} ")), "{err}");
    assert!(!err.contains("given up") && !err.contains("no rows"), "{err}");
}

#[test]
fn ctrl_c_is_heard_while_something_is_ended_well_and_while_results_are_read() {
    let (org, login, home) = org();
    // The job that is being filled is given up, which takes too long.
    fault(&org, &json!({"path": JOBS, "method": "PATCH", "delay_ms": 60_000}));
    let (child, _stdin) = ingest(&login, &[], &csv(0, 20_000));
    noted(home.path(), |handle| handle["open_job"].is_string());
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    met(&org, 1);
    let began = Instant::now();
    interrupted(child);
    assert!(began.elapsed() < Duration::from_secs(30), "it waited for the job to be given up");
    // Results that do not come.
    org.control("DELETE", "faults", &Value::Null);
    let (code, id, err) = run_with(&mut tieline(&login, &[&INSERT[..], &["--no-wait"]].concat()), &csv(0, 5));
    assert_eq!(code, 0, "{err}");
    let id = id.trim();
    let (code, _, err) = run(&mut tieline(&login, &["bulk", "resume", id]));
    assert_eq!(code, 0, "{err}");
    let folder = home.path().join("outcome");
    let folder = folder.to_str().unwrap();
    let results = format!("{JOBS}{id}/successfulResults");
    for (n, arguments) in
        [["bulk", "resume", id, "--results", folder], ["bulk", "results", id, "--results", folder]].iter().enumerate()
    {
        fault(&org, &json!({"path": results, "delay_ms": 60_000}));
        let child = tieline(&login, arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        met(&org, 2 + n as u64);
        interrupted(child);
    }
}

#[test]
fn results_of_a_job_that_is_not_noted_hold_all_rows_that_were_not_processed() {
    let (org, login, home) = org();
    org.control("PUT", "limits", &json!({"bulk_fail_after_rows": 3, "bulk_slice_rows": 3}));
    let (code, _, err) = run_with(&mut tieline(&login, &INSERT), &csv(0, 10));
    assert!(code != 0 && err.contains("ended as Failed"), "{err}");
    let (id, _) = noted(home.path(), |handle| handle["complete"] == true);
    let bare = without_home(&login);
    let (code, out, err) = run(&mut tieline(&bare, &["bulk", "results", &id, "--rows", "unprocessed", "--csv"]));
    assert_eq!((code, out), (0, format!("FirstName,LastName\n{}", csv(3, 10).split_once('\n').unwrap().1)), "{err}");
    for (command, expected) in [("results", 0), ("resume", 5)] {
        let folder = home.path().join(command);
        let arguments = ["bulk", command, &id, "--results", folder.to_str().unwrap()];
        let (code, out, err) = run(&mut tieline(&bare, &arguments));
        assert!(
            code == expected && (out.is_empty() || out.contains("10 rows sent: 3 succeeded, 0 failed, 7 unp")),
            "{out}{err}"
        );
        let rows = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap().lines().count();
        assert_eq!((rows("success.csv"), rows("unprocessed.csv")), (4, 8), "{command}");
    }
}

#[test]
fn results_are_of_jobs_that_have_ended() {
    let (org, login, home) = org();
    org.control("PUT", "limits", &json!({"bulk_hold": "UploadComplete"}));
    let (_, id, _) = run_with(&mut tieline(&login, &[&INSERT[..], &["--no-wait"]].concat()), &csv(0, 5));
    let (id, folder) = (id.trim(), home.path().join("outcome"));
    for login in [&login, &without_home(&login)] {
        for more in [&[][..], &["--results", folder.to_str().unwrap()]] {
            let (code, out, err) = run(&mut tieline(login, &[&["bulk", "results", id][..], more].concat()));
            assert!(
                code == 6 && out.is_empty() && err.contains("has not ended (it is UploadComplete)"),
                "{code} {err}"
            );
            assert!(err.contains(&format!("hint: wait for it: tieline bulk resume {id}")), "{err}");
        }
    }
    assert!(!folder.exists());
    org.control("PUT", "limits", &json!({"bulk_hold": null}));
    assert_eq!(run(&mut tieline(&login, &["bulk", "resume", id])).0, 0);
    let (code, out, _) = run(&mut tieline(&login, &["bulk", "results", id, "--rows", "successful", "--json"]));
    assert_eq!((code, out.lines().count()), (0, 5));
}

#[test]
fn a_query_job_of_another_program_is_read_with_its_own_delimiter() {
    let (_org, login, _home) = org();
    assert_eq!(run(&mut tieline(&login, &["create", "Contact", "FirstName=Ada", "LastName=Love, lace"])).0, 0);
    let query = r#"{"operation":"query","query":"SELECT FirstName, LastName FROM Contact","columnDelimiter":"TAB"}"#;
    let (_, job, err) = run(&mut tieline(&login, &["request", "POST", "jobs/query", "--json-body", query]));
    let id = parsed(&job)["id"].as_str().unwrap_or_else(|| panic!("{job}{err}")).to_owned();
    let (_, out, err) = run(&mut tieline(&login, &["bulk", "resume", &id, "--json"]));
    assert_eq!(parsed(&out), json!({"FirstName": "Ada", "LastName": "Love, lace"}), "{err}");
    let (_, out, err) = run(&mut tieline(&login, &["bulk", "results", &id, "--csv"]));
    assert_eq!(out, "FirstName,LastName\nAda,\"Love, lace\"\n", "{err}");
}

/// `tieline … 2>&1 | head -1`
#[test]
fn an_ingest_whose_stderr_nobody_reads_goes_on() {
    let (_org, login, _home) = org();
    let (mut child, stdin) = ingest(&login, &[], &csv(0, 5));
    drop(child.stderr.take());
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(count(&login), 5);
}
