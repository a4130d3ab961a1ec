//! Files of many rows into the org and out of it, in memory that does not grow with them.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::Stdio;

use crate::crashes::peak_of;
use crate::org::{Org, tieline};

/// Contacts as other programs write them: quotes, commas, letters of two bytes.
fn contacts(file: &Path, rows: usize) {
    let mut out = BufWriter::new(File::create(file).unwrap());
    writeln!(out, "LastName,FirstName,Email,Phone").unwrap();
    for n in 0..rows {
        writeln!(out, "\"Ö'Neil, {n}\",First{n},user{n}@example.com,+1 555 {n}").unwrap();
    }
    out.flush().unwrap();
}

/// Peaks of an ingest of so many rows from a file, and of a query of them to a file, in MB.
fn peaks(rows: usize) -> (f64, f64) {
    let org = Org::start(&["--contacts", "0"]);
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.csv"), folder.path().join("out.csv"));
    contacts(&input, rows);
    let state = folder.path().join("state.json");
    let mut ingest = tieline(&org.login(), &["bulk", "ingest", "Contact", "--operation", "insert", "--json"]);
    ingest.arg("--file").arg(&input).arg("--state").arg(&state).stdout(Stdio::null());
    let sent = peak_of(&mut ingest);
    let mut query = tieline(&org.login(), &["bulk", "query", "SELECT Id, LastName, Email FROM Contact"]);
    query.arg("--output").arg(&output).stdout(Stdio::null());
    let read = peak_of(&mut query);
    let mut lines = BufReader::new(File::open(&output).unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap().replace('"', ""), "Id,LastName,Email");
    assert_eq!(lines.map(Result::unwrap).filter(|line| line.contains("Ö'Neil")).count(), rows);
    (sent, read)
}

#[test]
fn files_of_ten_times_the_rows_take_no_more_memory() {
    let long = std::env::var_os("TIELINE_TEST_LONG").is_some();
    let (few, many) = if long { (100_000, 1_000_000) } else { (10_000, 100_000) };
    let (less, more) = (peaks(few), peaks(many));
    eprintln!(
        "peak memory: ingest {:.1} MB for {few} rows, {:.1} MB for {many}; query {:.1} and {:.1} MB",
        less.0, more.0, less.1, more.1
    );
    assert!(more.0 < 40.0 && more.1 < 40.0, "{more:?}");
    assert!(more.0 < less.0 + 8.0 && more.1 < less.1 + 8.0, "it grows: {less:?} {more:?}");
}
