//! `tieline bulk`: jobs of queries and ingests, and what survives of them when the program dies.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::org::{Org, json as parsed, run, run_with, tieline};

/// An org, a login, and a home in which the state of ingests is kept.
pub(crate) fn org() -> (Org, BTreeMap<String, String>, tempfile::TempDir) {
    let org = Org::start(&["--contacts", "0"]);
    let home = tempfile::tempdir().unwrap();
    let mut login = org.login();
    login.insert("HOME".to_owned(), home.path().display().to_string());
    (org, login, home)
}

pub(crate) fn csv(from: usize, to: usize) -> String {
    let rows = (from..to).map(|n| format!("First {n},\"Last, {n}\"\n"));
    std::iter::once("FirstName,LastName\n".to_owned()).chain(rows).collect()
}

pub(crate) fn count(login: &BTreeMap<String, String>) -> u64 {
    let (_, out, err) = run(&mut tieline(login, &["query", "--csv", "SELECT COUNT() FROM Contact"]));
    out.lines().nth(1).unwrap_or_else(|| panic!("{err}")).parse().unwrap()
}

pub(crate) fn states(home: &Path) -> Vec<std::path::PathBuf> {
    let folder = home.join(".local/state/tieline/bulk");
    let files = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    // Not what is being written beside them.
    files.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect()
}

/// The state of the one ingest, once it is as wanted.
pub(crate) fn noted(home: &Path, wanted: impl Fn(&Value) -> bool) -> (String, Value) {
    let began = Instant::now();
    loop {
        for path in states(home) {
            let id = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if let Ok(state) = serde_json::from_slice::<Value>(&std::fs::read(&path).unwrap_or_default())
                && wanted(&state["handle"])
            {
                return (id, state);
            }
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", states(home));
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn interrupted(child: Child) -> String {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{err}");
    err
}

#[test]
fn an_ingest_tells_what_became_of_each_row() {
    let (_org, login, home) = org();
    let file = home.path().join("people.csv");
    std::fs::write(&file, csv(0, 300) + "Nobody,\n").unwrap();
    let file = file.to_str().unwrap();
    let outcome = home.path().join("outcome");
    let ingest = ["bulk", "ingest", "Contact", "--operation", "insert", "--file", file];
    let with = |more: &[&str]| run(&mut tieline(&login, &[&ingest[..], more].concat()));
    let (code, out, err) = with(&["--results", outcome.to_str().unwrap(), "--job-size", "4000"]);
    assert_eq!((code, out.trim()), (5, "301 rows sent: 300 succeeded, 1 failed, 0 unprocessed"), "{err}");
    let read = |name: &str| std::fs::read_to_string(outcome.join(name)).unwrap();
    assert_eq!(read("success.csv").lines().count(), 301, "several jobs, one header");
    assert!(read("success.csv").starts_with("sf__Id,sf__Created,FirstName,LastName\n003"));
    assert!(read("failed.csv").contains("REQUIRED_FIELD_MISSING") && read("failed.csv").lines().count() == 2);
    assert_eq!(read("unprocessed.csv"), "FirstName,LastName\n");
    assert_eq!(count(&login), 300);
    // Under the first job's id the whole ingest is found.
    let (id, state) = noted(home.path(), |handle| handle["complete"] == true);
    assert!(state["handle"]["jobs"].as_array().unwrap().len() > 1, "{state}");
    let (code, out, _) = run(&mut tieline(&login, &["bulk", "results", &id, "--csv"]));
    assert!(code == 0 && out.lines().count() == 2 && out.contains("Nobody"), "{out}");
    let (_, out, _) = run(&mut tieline(&login, &["bulk", "results", &id, "--rows", "successful", "--json"]));
    assert_eq!((out.lines().count(), &parsed(out.lines().next().unwrap())["LastName"]), (300, &json!("Last, 0")));
    let (_, out, _) = run(&mut tieline(&login, &["bulk", "status", &id, "--json"]));
    assert_eq!(out.lines().count(), state["handle"]["jobs"].as_array().unwrap().len());
    let (code, out, _) = run(&mut tieline(&login, &["bulk", "resume", &id, "--json"]));
    assert_eq!((code, &parsed(&out)["succeeded"], &parsed(&out)["id"]), (5, &json!(300), &json!(id)));
    let again = home.path().join("again");
    assert_eq!(run(&mut tieline(&login, &["bulk", "results", &id, "--results", again.to_str().unwrap()])).0, 0);
    assert_eq!(std::fs::read_to_string(again.join("success.csv")).unwrap(), read("success.csv"));
    // Without a note of it, a job is found by itself.
    let mut bare = login.clone();
    bare.remove("HOME");
    let (code, out, err) = run(&mut tieline(&bare, &["bulk", "resume", &id]));
    assert!(code == 0 && out.contains("0 failed, 0 unprocessed"), "{out}{err}");

    let (code, out, err) = run_with(
        &mut tieline(
            &login,
            &[
                "bulk",
                "ingest",
                "Contact",
                "--operation",
                "insert",
                "--file",
                "-",
                "--delimiter",
                "semicolon",
                "--json",
            ],
        ),
        "FirstName;LastName\r\n\"a;b\";c\r\n",
    );
    assert_eq!((code, &parsed(&out)["succeeded"]), (0, &json!(1)), "{err}");
    let (code, out, _) = run_with(
        &mut tieline(&login, &["bulk", "ingest", "Contact", "--operation", "insert", "--file", "-"]),
        "FirstName\nx\n",
    );
    assert!(code == 1 && out.contains("0 succeeded, 1 failed"), "nothing succeeded: {out}");
    // A job that fails as a whole.
    let (code, out, err) = run_with(
        &mut tieline(&login, &["bulk", "ingest", "Contact", "--operation", "insert", "--file", "-"]),
        "LastName,Bacon\nx,y\n",
    );
    assert!(code == 1 && out.contains("1 unprocessed") && err.contains("ended as Failed"), "{out}{err}");
    for (input, code, said) in [
        ("LastName\n", 0, "the input holds no rows; nothing was sent"),
        ("", 1, "a header line is needed"),
        ("A,B\nx\n", 1, "record 1 has 1 values and the header 2"),
    ] {
        let command = ["bulk", "ingest", "Contact", "--operation", "insert", "--file", "-"];
        let (found, out, err) = run_with(&mut tieline(&login, &command), input);
        assert!(found == code && out.is_empty() && err.contains(said), "{input:?}: {found} {out}{err}");
    }
    for arguments in [
        &["bulk", "ingest", "Contact", "--operation", "upsert", "--file", file][..],
        &["bulk", "ingest", "Contact", "--operation", "insert", "--file", "/nowhere.csv"],
        &["bulk", "resume"],
    ] {
        assert_eq!(run(&mut tieline(&login, arguments)).0, 2, "{arguments:?}");
    }
    let (code, _, err) = run(&mut tieline(&login, &["bulk", "status", "750000000000000AAA"]));
    assert!(code == 1 && err.contains("NOT_FOUND"), "{err}");
}

#[test]
fn upserts_updates_and_deletes_by_jobs() {
    let (org, login, _home) = org();
    let key = json!({"object": "Contact", "name": "Key__c", "type": "string 80", "external_id": true, "unique": true});
    org.control("POST", "fields", &key);
    let ingest = |operation: &str, more: &[&str], rows: &str| {
        let arguments =
            [&["bulk", "ingest", "Contact", "--json", "--file", "-", "--operation", operation][..], more].concat();
        let (code, out, err) = run_with(&mut tieline(&login, &arguments), rows);
        assert_eq!(code, 0, "{operation}: {out}{err}");
    };
    ingest("upsert", &["--external-id", "Key__c"], "Key__c,LastName\nA,One\nB,Two\n");
    ingest("upsert", &["--external-id", "Key__c"], "Key__c,LastName\nB,Zwei\nC,Drei\n");
    assert_eq!(count(&login), 3);
    let (_, ids, _) = run(&mut tieline(&login, &["query", "--csv", "SELECT Id FROM Contact WHERE Key__c = 'A'"]));
    ingest("delete", &[], &ids);
    let (_, ids, _) = run(&mut tieline(&login, &["query", "--csv", "SELECT Id FROM Contact"]));
    ingest("hardDelete", &[], &ids);
    assert_eq!(count(&login), 0);
}

#[test]
fn an_ingest_goes_on_after_kill_9_and_sends_nothing_twice() {
    let (org, login, home) = org();
    let whole = csv(0, 20_000);
    let mut command =
        tieline(&login, &["bulk", "ingest", "Contact", "--operation", "insert", "--file", "-", "--job-size", "100000"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&whole.as_bytes()[..350_000]).unwrap();
    stdin.flush().unwrap();
    let (id, state) = noted(home.path(), |handle| {
        handle["jobs"].as_array().is_some_and(|jobs| jobs.len() >= 3) && handle["open_job"].is_string()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(state["handle"]["complete"], false);
    let (code, _, err) = run(&mut tieline(&login, &["bulk", "resume", &id]));
    assert!(code == 2 && err.contains("was not read to its end") && err.contains("--file"), "{err}");
    // In another org it is not gone on with.
    let other = Org::start(&["--contacts", "0"]);
    let mut elsewhere = other.login();
    elsewhere.insert("HOME".to_owned(), home.path().display().to_string());
    let (code, _, err) = run(&mut tieline(&elsewhere, &["bulk", "resume", &id]));
    assert!(code == 2 && err.contains("this ingest was begun in"), "{err}");

    let file = home.path().join("whole.csv");
    std::fs::write(&file, &whole).unwrap();
    let (code, out, err) = run(&mut tieline(&login, &["bulk", "resume", &id, "--file", file.to_str().unwrap()]));
    assert_eq!((code, out.trim()), (0, "20000 rows sent: 20000 succeeded, 0 failed, 0 unprocessed"), "{err}");
    assert_eq!(count(&login), 20_000);

    // A job that was handed over in the moment before the program could note it is not sent again.
    let (_, mut state) = noted(home.path(), |handle| handle["complete"] == true);
    let jobs = state["handle"]["jobs"].as_array_mut().unwrap();
    let last = jobs.pop().unwrap();
    state["handle"]["handed"] = last;
    state["handle"]["complete"] = json!(false);
    let own = home.path().join("own.json");
    std::fs::write(&own, state.to_string()).unwrap();
    let resume = ["bulk", "resume", "--state", own.to_str().unwrap(), "--file", file.to_str().unwrap()];
    let (code, out, err) = run(&mut tieline(&login, &resume));
    assert_eq!((code, out.trim()), (0, "20000 rows sent: 20000 succeeded, 0 failed, 0 unprocessed"), "{err}");
    assert_eq!((count(&login), org.ledger()["records_written"].as_u64()), (20_000, Some(20_000)));
}

#[test]
fn a_line_that_breaks_in_the_middle_is_gone_on_from_there() {
    let (org, login, home) = org();
    let file = home.path().join("whole.csv");
    std::fs::write(&file, csv(0, 9_000)).unwrap();
    org.control(
        "POST",
        "faults",
        &json!({"path": "/services/data/v67.0/jobs/ingest", "method": "POST", "nth": 3, "times": 5}),
    );
    let ingest = ["bulk", "ingest", "Contact", "--operation", "insert", "--job-size", "60000", "--file"];
    let (code, out, err) = run(&mut tieline(&login, &[&ingest[..], &[file.to_str().unwrap()]].concat()));
    assert!(code == 6 && out.is_empty(), "not 4, for a repetition would send rows twice: {code} {out}{err}");
    let resume = err
        .lines()
        .find_map(|line| line.strip_prefix("to send the others: tieline "))
        .unwrap_or_else(|| panic!("{err}"));
    let (code, out, err) = run(&mut tieline(&login, &resume.split(' ').collect::<Vec<_>>()));
    assert!(code == 0 && out.starts_with("9000 rows sent: 9000 succeeded"), "{out}{err}");
    assert_eq!(count(&login), 9_000);
}

#[test]
fn ctrl_c_gives_up_what_was_being_filled_and_says_how_to_go_on() {
    let (_org, login, home) = org();
    let whole = csv(0, 9_000);
    let start = |more: &[&str]| {
        let arguments = [&["bulk", "ingest", "Contact", "--operation", "insert", "--file", "-"][..], more].concat();
        let mut command = tieline(&login, &arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut child = start(&["--job-size", "50000"]);
    // Held, for its end would be the end of the input.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&whole.as_bytes()[..160_000]).unwrap();
    let (id, _) = noted(home.path(), |handle| {
        handle["jobs"].as_array().is_some_and(|jobs| jobs.len() == 3) && handle["open_job"].is_string()
    });
    let err = interrupted(child);
    assert!(err.contains("the job that was being filled is given up"), "{err}");
    assert!(err.contains(&format!("tieline bulk resume {id} --file")), "{err}");
    let (_, state) = noted(home.path(), |handle| handle["open_job"].is_null());
    assert!(!state["handle"]["jobs"].as_array().unwrap().is_empty());
    let file = home.path().join("whole.csv");
    std::fs::write(&file, &whole).unwrap();
    let (code, _, err) = run(&mut tieline(&login, &["bulk", "resume", &id, "--file", file.to_str().unwrap()]));
    assert_eq!((code, count(&login)), (0, 9_000), "{err}");
    let (_, jobs, _) = run(&mut tieline(&login, &["bulk", "jobs", "--json"]));
    assert!(jobs.lines().map(parsed).any(|job| job["state"] == "Aborted"), "{jobs}");
}

#[test]
fn a_job_that_is_waited_for_in_vain_goes_on() {
    let (org, login, home) = org();
    run_with(&mut tieline(&login, &["bulk", "ingest", "Contact", "--operation", "insert", "--file", "-"]), &csv(0, 50));
    let done = states(home.path());
    org.control("PUT", "limits", &json!({"bulk_hold": "UploadComplete"}));
    let insert = ["bulk", "ingest", "Contact", "--operation", "insert", "--file", "-"];
    let (code, out, err) = run_with(&mut tieline(&login, &[&insert[..], &["--timeout", "1"]].concat()), &csv(50, 60));
    assert!(
        code == 6 && out.is_empty() && err.contains("it goes on") && err.contains("tieline bulk resume 750"),
        "{err}"
    );
    let id = states(home.path()).into_iter().find(|path| !done.contains(path)).unwrap();
    let id = id.file_stem().unwrap().to_str().unwrap().to_owned();
    let (code, _, err) = run(&mut tieline(&login, &["bulk", "resume", &id, "--timeout", "0"]));
    assert_eq!(code, 6, "{err}");
    // The same for a query.
    let query = ["bulk", "query", "--csv", "SELECT LastName FROM Contact"];
    let (code, _, err) = run(&mut tieline(&login, &[&query[..], &["--timeout", "0"]].concat()));
    assert!(code == 6 && err.contains("hint: wait for it again: tieline bulk resume 750"), "{code} {err}");
    let mut command = tieline(&login, &query);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut told).unwrap();
    let job = told.split([' ', ';']).nth(1).unwrap().to_owned();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(rest.contains(&format!("`tieline bulk resume {job}` waits for it")), "{rest}");
    // A wait that is stopped changes nothing.
    let mut command = tieline(&login, &["bulk", "resume", &id]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut told).unwrap();
    // It has said what it waits for, and begins to.
    std::thread::sleep(Duration::from_millis(500));
    interrupted(child);
    rest.clear();
    std::io::Read::read_to_string(&mut stderr, &mut rest).unwrap();
    assert!(rest.contains(&format!("the org goes on: tieline bulk resume {id}")), "{rest}");
    let (code, id_alone, _) = run(&mut tieline(&login, &["bulk", "query", "--no-wait", "SELECT Id FROM Contact"]));
    assert_eq!(code, 0);
    let (code, out, err) = run(&mut tieline(&login, &["bulk", "abort", id_alone.trim(), "--json"]));
    assert!(code == 0 && parsed(&out)["state"] == "Aborted", "{out}{err}");
    let (code, _, err) = run(&mut tieline(&login, &["bulk", "results", id_alone.trim()]));
    assert!(code == 1 && err.contains("ended as Aborted"), "{err}");

    org.control("PUT", "limits", &json!({"bulk_hold": null}));
    let (code, out, err) = run(&mut tieline(&login, &["bulk", "resume", &id]));
    assert!(code == 0 && out.contains("10 rows sent: 10 succeeded"), "{out}{err}");
    let (code, out, err) = run(&mut tieline(&login, &["bulk", "results", &job, "--csv"]));
    assert!(code == 0 && out.starts_with("LastName\n\"Last, "), "{out}{err}");
    let (_, out, _) = run(&mut tieline(&login, &["bulk", "resume", &job, "--json"]));
    assert!(parsed(out.lines().next().unwrap())["LastName"].is_string(), "{out}");
    let (_, out, _) = run(&mut tieline(&login, &["bulk", "jobs", "--kind", "query", "--limit", "1", "--json"]));
    assert_eq!(parsed(&out)["id"], id_alone.trim(), "the newest first");
    // Sent and left alone.
    let (code, out, _) = run_with(&mut tieline(&login, &[&insert[..], &["--no-wait"]].concat()), &csv(60, 70));
    let (waited, told, _) = run(&mut tieline(&login, &["bulk", "resume", out.trim()]));
    assert!(code == 0 && waited == 0 && told.contains("10 succeeded"), "{out}{told}");
    assert_eq!(count(&login), 70);
}
