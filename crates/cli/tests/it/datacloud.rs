//! `tieline datacloud` against a local org with a real Hyper.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::org::{Org, run, tieline};
use crate::parts::part;

const SERIES: &str =
    "SELECT g AS id, CAST(g * 1.5 AS DOUBLE PRECISION) AS v, 'name ' || g AS n FROM generate_series(1, ROWS) g(g)";

/// `None` where Hyper was skipped on purpose.
fn org() -> Option<(Org, BTreeMap<String, String>)> {
    let hyperd = part("hyper", "TIELINE_TEST_HYPERD")?;
    let org = Org::start_with(&["--datacloud", "--contacts", "40"], &[("TIELINE_HYPERD", hyperd.as_os_str())]);
    let login = org.login();
    Some((org, login))
}

#[test]
fn a_result_comes_in_every_format() {
    let Some((_org, login)) = org() else { return };
    let folder = tempfile::tempdir().unwrap();
    let sql = r#"SELECT "id__c", "page__c", "day__c", "revenue__c", "converted__c" FROM "WebEngagement__dll" ORDER BY 1 LIMIT 3"#;
    let (code, table, stderr) = run(&mut tieline(&login, &["datacloud", "query", sql]));
    assert_eq!((code, stderr.trim()), (0, "3 rows"), "{stderr}");
    assert!(table.contains("page__c") && table.contains("2024-01-02"), "{table}");
    let (_, csv, _) = run(&mut tieline(&login, &["datacloud", "query", "--csv", sql]));
    assert!(
        csv.starts_with("id__c,page__c,day__c,revenue__c,converted__c\n1,/pages/1,2024-01-02,0.01,false\n"),
        "{csv}"
    );
    let (_, lines, _) = run(&mut tieline(&login, &["datacloud", "query", "--json", sql]));
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["id__c"], &first["day__c"]), (&json!(1), &json!("2024-01-02")), "{lines}");
    let (_, rest, _) = run(&mut tieline(&login, &["datacloud", "query", "--rest", "--json", sql]));
    let by_rest: Value = serde_json::from_str(rest.lines().next().unwrap()).unwrap();
    assert_eq!((&by_rest["page__c"], &by_rest["day__c"]), (&first["page__c"], &first["day__c"]), "{rest}");
    for (name, magic) in [
        ("x.parquet", &b"PAR1"[..]),
        ("x.arrows", b"\xff\xff\xff\xff"),
        ("x.arrow", b"ARROW1"),
        ("x.csv", b"id__c"),
        ("x.jsonl", b"{\"id__c\""),
    ] {
        let file = folder.path().join(name);
        let (code, stdout, stderr) =
            run(&mut tieline(&login, &["datacloud", "query", "--output", file.to_str().unwrap(), sql]));
        assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
        assert!(stderr.contains("3 rows written to") && std::fs::read(&file).unwrap().starts_with(magic), "{name}");
    }
    // What goes wrong leaves no half of a file.
    let file = folder.path().join("late.csv");
    let late = "SELECT 1 / (g - 900000) FROM generate_series(1, 1000000) g(g)";
    let (code, _, stderr) =
        run(&mut tieline(&login, &["datacloud", "query", "--async", "--output", file.to_str().unwrap(), late]));
    assert!(code == 1 && stderr.contains("division by zero"), "{stderr}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5);
    let (code, _, stderr) = run(&mut tieline(&login, &["datacloud", "query", "--output", "x.docx", sql]));
    assert!(code == 2 && stderr.contains(".parquet"), "{stderr}");
    let (code, ..) = run(&mut tieline(&login, &["datacloud", "query", "--csv", "--output", "x.parquet", sql]));
    assert_eq!(code, 2, "a name of another format");
    // What is there keeps its rights and its place.
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let (file, link) = (folder.path().join("x.csv"), folder.path().join("link.csv"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        let output = ["datacloud", "query", "--output", link.to_str().unwrap(), "SELECT 1 AS one"];
        assert_eq!(run(&mut tieline(&login, &output)).0, 0);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\n1\n");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}

#[test]
fn a_tenant_over_tls_is_trusted_by_the_same_authority_as_the_org() {
    let Some(hyperd) = part("hyper", "TIELINE_TEST_HYPERD") else { return };
    let org = Org::start_with(&["--tls", "--datacloud", "--contacts", "3"], &[("TIELINE_HYPERD", hyperd.as_os_str())]);
    let mut login = org.login();
    let query = ["datacloud", "query", "--csv", "SELECT 1 AS one"];
    let (code, _, stderr) = run(&mut tieline(&login, &query));
    assert!(code == 4 && stderr.contains("certificate"), "{stderr}");
    login.insert("SSL_CERT_FILE".to_owned(), org.get("ca_file").to_owned());
    for arguments in
        [&query[..], &["datacloud", "query", "--rest", "--csv", "SELECT 1 AS one"], &["datacloud", "objects"]]
    {
        let (code, stdout, stderr) = run(&mut tieline(&login, arguments));
        assert!(code == 0 && (stdout == "one\n1\n" || stdout.contains("__dlm")), "{arguments:?}: {stdout}{stderr}");
    }
}

#[test]
fn parameters_and_mistakes() {
    let Some((_org, login)) = org() else { return };
    let query = |arguments: &[&str]| run(&mut tieline(&login, &[&["datacloud", "query", "--csv"], arguments].concat()));
    let (code, csv, _) = query(&[
        "SELECT ? + 1, ? || '!', ? IS NULL, ?",
        "--param",
        "41",
        "--param",
        "a b",
        "--param",
        "null",
        "--param",
        "-1.50",
    ]);
    assert_eq!((code, csv.lines().nth(1).unwrap()), (0, "42,a b!,true,-1.50"));
    let (_, csv, _) = query(&["SELECT :x || :y", "--named", "y=2=2", "--named", "x=z"]);
    assert_eq!(csv.lines().nth(1).unwrap(), "z2=2");
    let (code, csv, stderr) = query(&["SELECT \"nope\"\nFROM \"ssot__Individual__dlm\""]);
    assert_eq!((code, csv.as_str()), (1, ""));
    assert!(stderr.contains("line 1, column 8") && stderr.contains("^^^^^^"), "{stderr}");
    let (code, _, stderr) = query(&["SELECT * FROM nosuch"]);
    assert!(code == 1 && stderr.contains("hint: names are case-sensitive"), "{stderr}");
    let mut from_stdin = tieline(&login, &["datacloud", "query", "--csv", "-"]);
    let mut child = from_stdin.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"SELECT 7\n").unwrap();
    assert!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().ends_with("\n7\n"));
    // A reader that has seen enough.
    let many = SERIES.replace("ROWS", "2000000");
    for format in ["--json", "--csv", "--format=parquet", "--format=arrow"] {
        let mut command = tieline(&login, &["datacloud", "query", format, &many]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{format}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // What cannot be written is told before a query is sent; a device is written to and not replaced.
    let (code, _, stderr) =
        run(&mut tieline(&login, &["datacloud", "query", "--output", "/no/such/folder/x.csv", &many]));
    assert!(code == 1 && stderr.contains("/no/such/folder/x.csv cannot be written"), "{stderr}");
    let null = ["datacloud", "query", "--csv", "--output", "/dev/null", "SELECT 1"];
    assert_eq!(run(&mut tieline(&login, &null)).0, 0);
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    // A table ends; the query's own count is told.
    let (_, table, stderr) = run(&mut tieline(&login, &["datacloud", "query", &many]));
    assert!(stderr.starts_with("the first 1000 of 2000000 rows") && table.lines().count() > 1_000, "{stderr}");
    // An app without the scope.
    let (org, login) = self::org().unwrap();
    org.control("PUT", "app", &json!({"scopes": ["api", "web", "refresh_token"]}));
    let (code, _, stderr) = run(&mut tieline(&login, &["datacloud", "objects"]));
    assert!(
        code == 3 && stderr.contains("could not get a Data Cloud token") && stderr.contains("cdp_query_api"),
        "{stderr}"
    );
}

#[test]
fn commands_of_one_login_share_both_tokens() {
    let Some((org, mut login)) = org() else { return };
    let folder = tempfile::tempdir().unwrap();
    login.insert("TIELINE_TOKEN_STORE".to_owned(), format!("file:{}", folder.path().join("tokens.json").display()));
    login.insert("TIELINE_MASTER_KEY_FILE".to_owned(), folder.path().join("key").display().to_string());
    let before = org.ledger();
    for _ in 0..3 {
        assert_eq!(run(&mut tieline(&login, &["datacloud", "query", "--csv", "SELECT 1"])).0, 0);
    }
    let after = org.ledger();
    let exchanges =
        |ledger: &Value| ledger["token_requests"]["urn:salesforce:grant-type:external:cdp"].as_u64().unwrap_or(0);
    assert_eq!(exchanges(&after) - exchanges(&before), 1);
    assert_eq!(after["logins"].as_u64().unwrap() - before["logins"].as_u64().unwrap(), 1);
    // Later, and with the session that the org has still: no login.
    org.control("PUT", "clock", &json!({"advance_seconds": 600}));
    org.control("POST", "tokens/revoke", &json!({"datacloud": true}));
    assert_eq!(run(&mut tieline(&login, &["datacloud", "query", "--csv", "SELECT 1"])).0, 0);
    assert_eq!(org.ledger()["logins"], after["logins"]);
}

#[test]
fn objects_are_listed_and_rows_sent() {
    let Some((_org, login)) = org() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (code, table, stderr) = run(&mut tieline(&login, &["datacloud", "objects"]));
    assert!(code == 0 && table.contains("ssot__Individual__dlm") && stderr.contains("objects"), "{table}{stderr}");
    let (_, lines, _) = run(&mut tieline(&login, &["datacloud", "objects", "--kind", "lake", "--json"]));
    assert!(lines.lines().count() > 1 && lines.lines().all(|line| line.contains("__dll")), "{lines}");
    let (_, fields, _) = run(&mut tieline(&login, &["datacloud", "objects", "ssot__Individual__dlm"]));
    assert!(fields.contains("ssot__FirstName__c"), "{fields}");
    let (code, _, stderr) = run(&mut tieline(&login, &["datacloud", "objects", "Nope__dlm"]));
    assert!(code == 1 && stderr.contains("`Nope__dlm`"), "{stderr}");

    let csv = folder.path().join("views.csv");
    std::fs::write(&csv, "id,at,page,seconds\nv-1,2026-11-28T12:00:00Z,/a,1.5\nv-2,2026-11-28T12:00:01Z,\"/b\n\",2\n")
        .unwrap();
    let ingest = ["datacloud", "ingest", "tieline_events", "page_view"];
    let (code, job, stderr) = run(&mut tieline(&login, &[&ingest[..], &[csv.to_str().unwrap()]].concat()));
    assert!(code == 0 && job.starts_with("job ") && job.ends_with(" is done\n"), "{job}{stderr}");
    assert!(stderr.contains(" has all of its rows"), "{stderr}");
    let id = job.split(' ').nth(1).unwrap();
    let (code, shown, _) = run(&mut tieline(&login, &["datacloud", "job", id, "--json"]));
    assert!(code == 0 && shown.contains("\"state\":\"JobComplete\""), "{shown}");
    let rows = folder.path().join("views.jsonl");
    std::fs::write(&rows, "{\"id\":\"v-3\",\"at\":\"2026-11-28T12:00:02Z\",\"page\":\"/c\",\"seconds\":3}\n\n")
        .unwrap();
    let (code, _, stderr) = run(&mut tieline(&login, &[&ingest[..], &["--rows", rows.to_str().unwrap()]].concat()));
    assert_eq!((code, stderr.trim()), (0, "1 row taken"));
    let count = r#"SELECT "id__c" FROM "page_view_tieline_events__dll" ORDER BY 1"#;
    let ids = || run(&mut tieline(&login, &["datacloud", "query", "--csv", count])).1.replace('\n', " ");
    assert_eq!(ids(), "id__c v-1 v-2 v-3 ");
    let gone = folder.path().join("ids.csv");
    std::fs::write(&gone, "v-2\n").unwrap();
    let (code, ..) = run(&mut tieline(&login, &[&ingest[..], &["--delete", gone.to_str().unwrap()]].concat()));
    assert_eq!((code, ids().as_str()), (0, "id__c v-1 v-3 "));
    std::fs::write(&csv, "id,at,page,seconds\nv-9,yesterday,/,many\n").unwrap();
    let (code, job, stderr) = run(&mut tieline(&login, &[&ingest[..], &[csv.to_str().unwrap()]].concat()));
    assert!(code == 1 && job.ends_with(" failed\n") && stderr.contains("hint: "), "{job}{stderr}");
    let (code, job, _) = run(&mut tieline(&login, &[&ingest[..], &["--no-wait", csv.to_str().unwrap()]].concat()));
    assert!(code == 0 && job.trim().len() == 36 && job.lines().count() == 1, "{job}");
    // Rows that do not fit are taken all the same; --check asks before.
    std::fs::write(&rows, "{\"id\":\"v-5\",\"seconds\":\"many\"}\n").unwrap();
    let checked = run(&mut tieline(&login, &[&ingest[..], &["--check", "--rows", rows.to_str().unwrap()]].concat()));
    assert!(checked.0 == 1 && checked.2.contains("checking rows of tieline_events/page_view failed"), "{checked:?}");
    std::fs::write(&rows, "[1]\n").unwrap();
    let (code, _, stderr) = run(&mut tieline(&login, &[&ingest[..], &["--rows", rows.to_str().unwrap()]].concat()));
    assert!(code == 1 && stderr.contains("it is no JSON object"), "{stderr}");
    std::fs::write(&rows, "{\"id\":\"v-4\"\n").unwrap();
    let (code, _, stderr) = run(&mut tieline(&login, &[&ingest[..], &["--rows", rows.to_str().unwrap()]].concat()));
    assert!(code == 1 && stderr.contains("line 1 of") && stderr.contains("0 rows before it were sent"), "{stderr}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_org_that_is_killed_takes_its_hyper_along() {
    let Some((org, _)) = org() else { return };
    let folder = std::path::Path::new(org.get("private_key_file")).parent().unwrap().display().to_string();
    let runs = || {
        let processes =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path().join("cmdline")));
        processes
            .filter_map(|line| std::fs::read(line).ok())
            .any(|line| String::from_utf8_lossy(&line).contains(&folder))
    };
    assert!(runs());
    // It is killed with SIGKILL: nothing in it can clean up.
    drop(org);
    for _ in 0..200 {
        if !runs() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("hyperd goes on");
}

/// A program that is killed in the middle leaves the old file, and at the tenant nothing that is half taken.
#[cfg(target_os = "linux")]
#[test]
fn a_command_that_is_killed_leaves_nothing_half_done() {
    let Some((org, login)) = org() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.csv");
    std::fs::write(&file, "what was there\n").unwrap();
    let many = SERIES.replace("ROWS", "20000000");
    let mut query =
        tieline(&login, &["datacloud", "query", "--output", file.to_str().unwrap(), &many]).spawn().unwrap();
    while org.ledger()["datacloud"]["calls"]["GetQueryResult"].as_u64().unwrap_or(0) == 0 {
        assert!(query.try_wait().unwrap().is_none(), "too fast to be killed");
    }
    query.kill().unwrap();
    query.wait().unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "what was there\n");
    // A job that is being filled from a pipe that never ends.
    let mut ingest = tieline(&login, &["datacloud", "ingest", "tieline_events", "page_view", "-"]);
    let mut ingest = ingest.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = ingest.stdin.take().unwrap();
    writeln!(stdin, "id,at,page,seconds\nk-1,2026-11-28T12:00:00Z,/,1").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    ingest.kill().unwrap();
    ingest.wait().unwrap();
    let count = r#"SELECT COUNT(*) FROM "page_view_tieline_events__dll""#;
    assert!(run(&mut tieline(&login, &["datacloud", "query", "--csv", count])).1.ends_with("\n0\n"));
}

/// Whoever reads somebody else's query and stops does not end it.
#[cfg(target_os = "linux")]
#[test]
fn a_reader_of_another_s_query_does_not_end_it() {
    let Some((org, login)) = org() else { return };
    let long =
        "SELECT COUNT(*) FROM generate_series(1, 3000000) a(a), generate_series(1, 30000) b(b) WHERE a % 7 = b % 5";
    let asked = |so_often: u64| {
        while org.ledger()["datacloud"]["calls"]["GetQueryInfo"].as_u64().unwrap_or(0) < so_often {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    let interrupt = |child: std::process::Child| {
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()
    };
    let start = |arguments: &[&str]| {
        tieline(&login, &[&["datacloud", "query"], arguments].concat()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut owner = start(&["--async", long]);
    asked(1);
    let mut told = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(owner.stderr.take().unwrap()), &mut told).unwrap();
    let id = told.split(' ').nth(1).unwrap().trim_end_matches(';').to_owned();
    let reader = start(&["--id", &id]);
    asked(3);
    assert!(interrupt(reader).contains(" goes on"));
    assert!(owner.try_wait().unwrap().is_none());
    assert_eq!(org.ledger()["datacloud"]["calls"]["CancelQuery"].as_u64().unwrap_or(0), 0);
    interrupt(owner);
    assert_eq!(org.ledger()["datacloud"]["calls"]["CancelQuery"], 1);
}

#[cfg(target_os = "linux")]
#[test]
fn rows_that_were_read_are_sent_before_the_program_ends() {
    let Some((_org, login)) = org() else { return };
    let mut command = tieline(&login, &["datacloud", "ingest", "tieline_events", "page_view", "--rows", "-"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for n in 0..3 {
        writeln!(stdin, "{{\"id\":\"w-{n}\",\"at\":\"2026-11-28T12:00:00Z\",\"page\":\"/\",\"seconds\":1}}").unwrap();
    }
    let count = || {
        let sql = r#"SELECT COUNT(*) FROM "page_view_tieline_events__dll" WHERE "id__c" LIKE 'w-%'"#;
        run(&mut tieline(&login, &["datacloud", "query", "--csv", sql])).1.lines().nth(1).unwrap().to_owned()
    };
    // Without an end, within a moment.
    while count() != "3" {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    writeln!(stdin, "{{\"id\":\"w-9\",\"at\":\"2026-11-28T12:00:00Z\",\"page\":\"/\",\"seconds\":1}}").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(130) && stderr.contains("4 rows taken"), "{stderr}");
    assert_eq!(count(), "4");
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_the_query_at_the_tenant() {
    let Some((org, login)) = org() else { return };
    let long =
        "SELECT COUNT(*) FROM generate_series(1, 3000000) a(a), generate_series(1, 30000) b(b) WHERE a % 7 = b % 5";
    let calls = || org.ledger()["datacloud"]["calls"].clone();
    let child = tieline(&login, &["datacloud", "query", "--async", long]).stderr(Stdio::piped()).spawn().unwrap();
    // By then the schema is here, and the program waits for rows.
    while calls()["GetQueryInfo"].as_u64().unwrap_or(0) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    let id = stderr
        .trim()
        .lines()
        .last()
        .unwrap()
        .strip_prefix("query ")
        .and_then(|rest| rest.strip_suffix(" is cancelled"));
    let id = id.unwrap_or_else(|| panic!("{stderr}"));
    let (code, _, stderr) = run(&mut tieline(&login, &["datacloud", "query", "--id", id]));
    assert!(code == 1 && stderr.contains("cancel"), "{stderr}");
}

/// Memory does not grow with the result: ten times the rows, the same peak but for what the machine adds.
#[cfg(target_os = "linux")]
#[test]
fn a_file_of_ten_times_the_rows_takes_no_more_memory() {
    let Some((_org, login)) = org() else { return };
    let folder = tempfile::tempdir().unwrap();
    let long = std::env::var_os("TIELINE_TEST_LONG").is_some();
    let (few, many) = if long { ("1000000", "10000000") } else { ("400000", "4000000") };
    let peak = |rows: &str| {
        let file = folder.path().join(format!("{rows}.parquet"));
        let sql = SERIES.replace("ROWS", rows);
        let arguments = ["datacloud", "query", "--output", file.to_str().unwrap(), &sql];
        let mut child = tieline(&login, &arguments).stderr(Stdio::piped()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0.0_f64;
        while child.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
            peak = peak.max(line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && stderr.starts_with(&format!("{rows} rows written")), "{stderr}");
        peak
    };
    let (small, large) = (peak(few), peak(many));
    eprintln!("peak memory: {small:.0} MB for {few} rows, {large:.0} MB for {many}");
    // A row group, a few parts and windows; the whole result is 280 MB, and 2.8 GB with --long.
    assert!(large < small + 150.0, "{small} MB, {large} MB");
}
