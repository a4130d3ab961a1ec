//! An object of a million rows, loaded by a Bulk job that is killed on the way, into either database: all of it arrives, in memory
//! that does not grow with it.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::crashes::peak_of;
use crate::nodes::MASTER_KEY;
use crate::org::{Org, run, run_with, tieline};
use crate::servers::Postgres;

/// Highest memory of a run, in MB: a step's rows (4 MB, `EngineCare`) are there as they come, as they are read, as they are
/// written, and in the driver.
const MOST_MEMORY: f64 = 64.0;

fn contacts() -> usize {
    if std::env::var_os("TIELINE_TEST_LONG").is_some() { 1_000_000 } else { 60_000 }
}

/// Loads all contacts, with a kill on the way, and holds them against a query of the org. `count`: how many rows the table has by
/// now, none if it is not there; `rows`: id, name and address of each, in the order of ids.
fn loads(database: &str, count: impl Fn() -> usize, rows: impl FnOnce(&Path) -> Vec<[String; 3]>) {
    let (contacts, begun) = (contacts(), Instant::now());
    let org = Org::start(&["--contacts", &contacts.to_string()]);
    let made = begun.elapsed();
    let mut variables = org.login();
    variables.insert("TIELINE_MASTER_KEY".to_owned(), MASTER_KEY.to_owned());
    variables.insert("TIELINE_DATABASE_URL".to_owned(), database.to_owned());
    let people = r#"{"name": "people", "object": "Contact", "method": "bulk",
        "columns": ["LastName", "FirstName", "Email", "Phone", "Title", "AccountId", "CreatedDate"]}"#;
    let (code, _, err) = run_with(&mut tieline(&variables, &["sync", "mappings", "add", "-"]), people);
    assert_eq!(code, 0, "{err}");
    let arguments = ["sync", "run", "--mapping", "people", "--once", "--json"];
    let mut first = tieline(&variables, &arguments).stdout(Stdio::null()).spawn().unwrap();
    while count() < contacts / 4 {
        assert!(first.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(20));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let kept = count();
    assert!(kept < contacts, "it had ended before it was killed");
    let peak = peak_of(tieline(&variables, &arguments).stdout(Stdio::null()));
    let took = begun.elapsed() - made;

    let folder = tempfile::tempdir().unwrap();
    let truth = folder.path().join("truth.csv");
    let soql = "SELECT Id, LastName, Email FROM Contact";
    let (code, _, err) =
        run(tieline(&variables, &["bulk", "query", soql]).arg("--output").arg(&truth).stdout(Stdio::null()));
    assert_eq!(code, 0, "{err}");
    let mut expected: Vec<[String; 3]> = csv(&truth);
    expected.sort_unstable();
    let found = rows(folder.path());
    assert_eq!((found.len(), expected.len()), (contacts, contacts));
    let differs = found.iter().zip(&expected).find(|(ours, theirs)| ours != theirs);
    assert!(differs.is_none(), "{differs:?}");
    eprintln!(
        "{contacts} rows: the org was ready after {:.0} s, killed at {kept} rows, all there after {:.0} s, checked after {:.0} s; \
         {peak:.1} MB at the peak",
        made.as_secs_f64(),
        took.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    assert!(peak < MOST_MEMORY, "{peak:.1} MB");
}

fn csv(file: &Path) -> Vec<[String; 3]> {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let row = |row: csv::StringRecord| [row[0].to_owned(), row[1].to_owned(), row[2].to_owned()];
    reader.records().map(|found| row(found.unwrap())).collect()
}

#[test]
fn a_million_rows_arrive_in_postgres_though_the_run_is_killed() {
    let Some(postgres) = Postgres::start() else { return };
    let count = || postgres.sql("SELECT count(*) FROM people").parse().unwrap();
    loads(&postgres.url, count, |folder| {
        let file = folder.join("found.csv");
        let rows = "SELECT id, coalesce(last_name, '') AS name, coalesce(email, '') AS email FROM people ORDER BY id COLLATE \"C\"";
        std::fs::write(&file, postgres.csv(rows)).unwrap();
        csv(&file)
    });
}

#[test]
fn a_million_rows_arrive_in_sqlite_though_the_run_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.db");
    let open = || {
        let file = rusqlite::Connection::open(&file).unwrap();
        file.busy_timeout(Duration::from_secs(10)).unwrap();
        file
    };
    let count = || open().query_row("SELECT count(*) FROM people", [], |row| row.get::<_, i64>(0)).unwrap() as usize;
    loads(file.to_str().unwrap(), count, |_| {
        let file = open();
        let sql = "SELECT id, coalesce(last_name, ''), coalesce(email, '') FROM people ORDER BY id";
        let mut rows = file.prepare(sql).unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
        rows.query_map([], row).unwrap().map(Result::unwrap).collect()
    });
}
