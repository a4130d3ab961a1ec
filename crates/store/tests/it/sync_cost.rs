//! What keeping contacts in step costs, and what looking for duplicates among them does: figures, not a judgement. Run with
//! `TIELINE_TEST_LONG=1 cargo test --release -p tieline-store --test it -- --nocapture sync_cost`;
//! `TIELINE_SYNC_ROWS` sets how many contacts (200,000 unless told otherwise).

use std::time::Instant;

use jiff::SignedDuration;
use tieline_store::{Checkpoint, ContactRow};

use crate::contact_steps::{ContactSteps, Step};
use crate::database::{Db, now};
use crate::import_cost::told;
use crate::imports::{contact, ids};

on_both!(contacts_per_second);

/// Contacts of one page, as an org sends them.
const PAGE: usize = 2_000;

fn people(rows: usize, last_name: &str, second: i64) -> Vec<ContactRow> {
    let person = |(n, id): (usize, String)| ContactRow {
        phone: Some(format!("+49 30 {n:07}")),
        source_stamp: now() + SignedDuration::from_secs(second),
        ..contact(&id, &format!("{last_name}{n}"))
    };
    ids(0..rows).into_iter().enumerate().map(person).collect()
}

async fn contacts_per_second(db: Db) {
    if std::env::var_os("TIELINE_TEST_LONG").is_none() {
        return;
    }
    let rows = std::env::var("TIELINE_SYNC_ROWS").ok().and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let kind = if db.is_sqlite() { "sqlite" } else { "postgres" };
    for (n, (what, name)) in [("new", "a"), ("unchanged", "a"), ("updated", "b")].into_iter().enumerate() {
        let people = people(rows, name, if what == "updated" { n as i64 } else { 0 });
        let run = tenant.start_run(integration, now()).await.unwrap();
        let begun = Instant::now();
        for contacts in people.chunks(PAGE) {
            let step = Step { contacts, checkpoint: &Checkpoint::default(), api_calls: 1 };
            tenant.commit_step(&run, &step, now()).await.unwrap();
        }
        told(&format!("{kind}: commit_step of {PAGE}, {what}"), rows, begun.elapsed());
        let begun = Instant::now();
        let scan = tenant.find_duplicates(u32::MAX, now()).await.unwrap();
        told(&format!("{kind}: find_duplicates behind it"), scan.looked_at as usize, begun.elapsed());
    }
}
