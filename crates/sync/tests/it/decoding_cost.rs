//! What decoding costs: figures, and the promise about them. Run with
//! `TIELINE_TEST_LONG=1 cargo test --release -p tieline-sync --test it -- --nocapture decoding_cost`.

use std::fmt::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tieline_client::RecordReader;
use tieline_sync::mapping::{Decoder, Plan};

use crate::decoding::columns;

const RECORDS: usize = 200_000;
const PAGE: usize = 2_000;

/// A page of records with twenty fields, as the org writes them.
fn page() -> String {
    let mut page = String::from("[");
    for n in 0..PAGE {
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(
            page,
            r#"{comma}{{"attributes":{{"type":"Contact","url":"/services/data/v67.0/sobjects/Contact/003000000{n:06}AAA"}},"Id":"003000000{n:06}AAA","SystemModstamp":"2024-01-02T03:04:05.000+0000","IsDeleted":false,"MasterRecordId":null,"IsArchived":false,"FirstName":"Ada{n}","LastName":"Lovelace-Byron","Email":"ada.lovelace{n}@example.com","Phone":"+49 30 90182{n}","Score__c":{n}.25,"Worth__c":123456789012345.67,"Visits__c":{n},"Active__c":true,"Birthdate":"1815-12-10","CreatedDate":"2020-05-06T07:08:09.000+0000","Calls_At__c":"09:30:00.000Z","Topics__c":"analysis;engines","Age__c":null,"AccountId":"001000000{n:06}AAA","Account":{{"attributes":{{"type":"Account","url":"/services/data/v67.0/sobjects/Account/001000000{n:06}AAA"}},"Name":"Analytical Engines {n}"}}}}"#
        );
    }
    page.push(']');
    page
}

fn plain() -> Plan {
    columns(json!([
        "FirstName",
        "LastName",
        "Email",
        "Phone",
        "Score__c",
        "Worth__c",
        "Visits__c",
        "Active__c",
        "Birthdate",
        "CreatedDate",
        "Calls_At__c",
        "Topics__c",
        "Age__c",
        "AccountId",
        "Account.Name",
    ]))
}

fn with(transforms: Value) -> Plan {
    let changed = |field: &str| json!({"field": field, "transforms": transforms});
    columns(json!([
        changed("FirstName"),
        changed("LastName"),
        changed("Email"),
        changed("Phone"),
        "Score__c",
        "Worth__c",
        "Visits__c",
        "Active__c",
        "Birthdate",
        "CreatedDate",
        "Calls_At__c",
        "Topics__c",
        "Age__c",
        "AccountId",
        "Account.Name",
    ]))
}

/// Each record of a page, by itself: what the client does within a page.
struct Records<'d> {
    decoder: &'d Decoder,
    batch: &'d mut tieline_sync::mapping::Decoded,
}

impl<'de> serde::de::DeserializeSeed<'de> for Records<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> serde::de::Visitor<'de> for Records<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("records")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(One { decoder: self.decoder, batch: self.batch })?.is_some() {}
        Ok(())
    }
}

struct One<'d> {
    decoder: &'d Decoder,
    batch: &'d mut tieline_sync::mapping::Decoded,
}

impl<'de> serde::de::DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.decoder.record(self.batch, deserializer)
    }
}

/// What this thread has had of a processor, which other work on the machine changes little. Where the system does not
/// say it (Linux does), the time that went by.
fn measured<T>(work: impl FnOnce() -> T) -> Duration {
    let on_cpu = || -> Option<u64> {
        std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
    };
    let (begun, before) = (Instant::now(), on_cpu());
    drop(work());
    match (before, on_cpu()) {
        (Some(before), Some(after)) => Duration::from_nanos(after - before),
        _ => begun.elapsed(),
    }
}

fn decode(plan: &Plan, page: &str) {
    let decoder = Decoder::new(plan);
    for _ in 0..RECORDS / PAGE {
        let mut batch = decoder.batch(PAGE, page.len());
        let mut json = serde_json::Deserializer::from_str(page);
        serde::de::DeserializeSeed::deserialize(Records { decoder: &decoder, batch: &mut batch }, &mut json).unwrap();
        assert_eq!((batch.rows.len(), batch.failed), (PAGE, 0), "{:?}", batch.errors);
        // As whoever writes them does.
        decoder.reuse(batch.rows);
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "figures are what it is for")]
fn decoding_cost() {
    if std::env::var_os("TIELINE_TEST_LONG").is_none() {
        return;
    }
    let page = page();
    let told = |what: &str, took: Duration| {
        let each = took.as_nanos() as f64 / RECORDS as f64;
        eprintln!("{what:<40} {RECORDS} records of 20 fields {:>7.3} s {each:>6.0} ns each", took.as_secs_f64());
    };
    // The quickest of several: other work on the machine is not what is measured.
    let best = |plan: &Plan| (0..5).map(|_| measured(|| decode(plan, &page))).min().unwrap();
    let as_they_are = best(&plain());
    told("as they are", as_they_are);
    told("four columns trimmed and in small letters", best(&with(json!(["trim", "lower"]))));
    told("four columns collapsed", best(&with(json!(["collapse"]))));
    let skip = |_| assert!(serde_json::from_str::<serde::de::IgnoredAny>(&page).is_ok());
    let skipped = || (0..RECORDS / PAGE).for_each(skip);
    told("(read over, and nothing kept)", measured(skipped));
    let trees = || (0..RECORDS / PAGE).for_each(|_| drop(serde_json::from_str::<Vec<Value>>(&page).unwrap()));
    told("(a tree of values of each)", measured(trees));
    if !cfg!(debug_assertions) {
        assert!(as_they_are < Duration::from_millis(300), "{as_they_are:?}: twice what is promised");
    }
}
