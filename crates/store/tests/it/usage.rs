//! Figures by day.

use jiff::{SignedDuration, Timestamp};
use tieline_store::integration_logs::{Event, Level};
use tieline_store::{Checkpoint, ContactRow, Credentials, DayUsage, NewUser, RunState, Tenant, Uuid};

use crate::contact_steps::{ContactSteps, DELETED, Step};
use crate::database::{Db, Raw, now};
use crate::imports::{asked, contact, create};

on_both!(
    a_day_has_what_began_in_it_and_ends_at_midnight_of_utc,
    imports_and_sign_ins_are_counted_by_connection,
    another_business_counts_for_nothing,
    an_index_leads_to_the_days,
);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A run with these contacts, begun at a time.
async fn run(tenant: &Tenant, integration: Uuid, contacts: &[ContactRow], state: RunState, at: Timestamp) {
    let run = tenant.start_run(integration, at).await.unwrap();
    let step = Step { contacts, checkpoint: &Checkpoint::default(), api_calls: 3 };
    tenant.commit_step(&run, &step, at).await.unwrap();
    tenant.finish_run(&run, state, None, at).await.unwrap();
}

fn version(id: &str, second: i64) -> ContactRow {
    ContactRow { source_stamp: Timestamp::from_second(second).unwrap(), ..contact(id, "x") }
}

async fn a_day_has_what_began_in_it_and_ends_at_midnight_of_utc(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let rows: Vec<ContactRow> = (0..5).map(|n| version(&n.to_string(), 10)).collect();
    run(&tenant, integration, &rows, RunState::Success, at("2026-05-30T23:59:59.999Z")).await;
    let later = [version("0", 20), ContactRow { deleted: DELETED, ..version("1", 20) }];
    run(&tenant, integration, &later, RunState::Success, at("2026-05-31T00:00:00Z")).await;
    run(&tenant, integration, &[], RunState::Failed, at("2026-05-31T23:59:59Z")).await;
    // A tombstone that came as one.
    let gone = [ContactRow { deleted: DELETED, ..version("9", 10) }];
    run(&tenant, integration, &gone, RunState::Success, at("2026-06-01T00:00:00Z")).await;
    let usage = tenant.usage(None, 4, at("2026-06-01T23:59:59Z")).await.unwrap();
    let days: Vec<String> = usage.iter().map(|day| day.day.to_string()).collect();
    let expected = ["2026-05-29T00:00:00Z", "2026-05-30T00:00:00Z", "2026-05-31T00:00:00Z", "2026-06-01T00:00:00Z"];
    assert_eq!(days, expected, "oldest first, today among them");
    let rows = |day: &DayUsage| (day.new, day.changed, day.deleted);
    let figures: Vec<_> = usage.iter().map(rows).collect();
    assert_eq!(figures, [(0, 0, 0), (5, 0, 0), (0, 1, 1), (0, 0, 1)]);
    let runs: Vec<_> = usage.iter().map(|day| (day.succeeded, day.failed, day.api_calls)).collect();
    assert_eq!(runs, [(0, 0, 0), (1, 0, 3), (1, 1, 6), (1, 0, 3)]);
    // A day earlier the last run is yet to come.
    let before = tenant.usage(Some(integration), 2, at("2026-05-31T00:00:00Z")).await.unwrap();
    assert_eq!(before, usage[1..3]);
    assert_eq!(tenant.usage(None, 0, now()).await.unwrap().len(), 1);
    assert_eq!(tenant.usage(None, u32::MAX, now()).await.unwrap().len(), 366);
}

async fn imports_and_sign_ins_are_counted_by_connection(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let other = tenant.save_integration("other", &Credentials::new(b"{}".to_vec()), now()).await.unwrap();
    let ids: Vec<String> = ["1", "2", "3"].map(str::to_owned).into();
    create(&tenant, &asked(integration, &ids), now()).await;
    let claim = db.store.claim_import(now(), std::time::Duration::from_secs(60)).await.unwrap().unwrap();
    let fetched = |position: i64| tieline_store::Fetched {
        position,
        contact: if position == 0 {
            Err("no such contact".to_owned())
        } else {
            Ok(contact(&ids[position as usize], "x"))
        },
    };
    claim.commit_batch(&[fetched(0), fetched(1), fetched(2)], now()).await.unwrap();
    claim.finish_import(None, now()).await.unwrap();
    for (event, of) in [
        (Event::AuthSuccess, Some(integration)),
        (Event::TokenRefreshed, Some(integration)),
        (Event::AuthFailure, Some(integration)),
        (Event::TokenRefused, Some(other)),
        (Event::RateLimited, Some(other)),
        (Event::AuthFailure, None),
    ] {
        tenant.log(of, event, Level::Info, "x", serde_json::json!({}), now()).await.unwrap();
    }
    let counted = async |of| {
        let today = tenant.usage(of, 1, now()).await.unwrap()[0];
        (today.leads, today.failed_imports, today.sign_ins, today.failed_sign_ins)
    };
    assert_eq!(counted(None).await, (2, 1, 2, 3));
    assert_eq!(counted(Some(integration)).await, (2, 1, 2, 1));
    assert_eq!(counted(Some(other)).await, (0, 0, 0, 1));
    let tomorrow = tenant.usage(None, 1, now() + SignedDuration::from_hours(24)).await.unwrap()[0];
    assert_eq!((tomorrow.leads, tomorrow.sign_ins), (0, 0));
}

async fn another_business_counts_for_nothing(db: Db) {
    let ours = db.integration().await;
    let owner = NewUser { email: "owner@example.com", name: "O", password_hash: None };
    let owner = db.store.set_up(&owner, "first", "", now()).await.unwrap().unwrap();
    let business = db.store.create_business("b", owner.id, "", now()).await.unwrap();
    let theirs = db.store.as_member(&db.store.membership(owner.id, business).await.unwrap().unwrap());
    run(&db.store.own(), ours, &[version("1", 10)], RunState::Success, now()).await;
    for of in [None, Some(ours)] {
        let usage = theirs.usage(of, 7, now()).await.unwrap();
        assert!(usage.iter().all(|day| (day.rows(), day.api_calls, day.succeeded) == (0, 0, 0)), "{usage:?}");
    }
    assert_eq!(db.store.own().usage(Some(ours), 1, now()).await.unwrap()[0].rows(), 1);
}

/// Of a year of runs of two integrations, a week is asked for.
async fn an_index_leads_to_the_days(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let other = tenant.save_integration("other", &Credentials::new(b"{}".to_vec()), now()).await.unwrap();
    let business = tenant.business();
    for id in [integration, other] {
        let (run, day, far) = match &db.raw {
            Raw::Sqlite(_) => (
                format!(
                    "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
                     INSERT INTO runs (id, business_id, integration_id, object, fence, state, started_at, inserted, api_calls)
                     SELECT '{id}' || n, '{business}', '{id}', 'Contact', n, 'success', {} - n * 1500000, 1, 1 FROM n",
                    now().as_millisecond()
                ),
                format!("started_at >= {}", now().as_millisecond() - 6 * 86_400_000),
                String::new(),
            ),
            Raw::Postgres(_) => (
                format!(
                    "INSERT INTO runs (id, business_id, integration_id, object, fence, state, started_at, inserted, api_calls)
                     SELECT gen_random_uuid(), '{business}', '{id}', 'Contact', n, 'success', '{}'::timestamptz - n * interval '1500 s', 1, 1
                     FROM generate_series(1, 20000) AS n",
                    now()
                ),
                format!("started_at >= '{}'::timestamptz - interval '6 days'", now()),
                "ANALYZE runs".to_owned(),
            ),
        };
        db.raw.run(&run).await;
        if !far.is_empty() {
            db.raw.run(&far).await;
        }
        let (explain, any) = match &db.raw {
            Raw::Sqlite(_) => ("EXPLAIN QUERY PLAN", format!("IN (SELECT value FROM json_each('[\"{id}\"]'))")),
            Raw::Postgres(_) => ("EXPLAIN", format!("= ANY('{{{id}}}'::uuid[])")),
        };
        let sql = format!(
            "{explain} SELECT count(*) FROM runs WHERE business_id = '{business}' AND integration_id {any} AND {day}"
        );
        let plan = match &db.raw {
            Raw::Sqlite(pool) => {
                let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| sqlx::Row::get::<String, _>(row, "detail")).collect::<Vec<_>>().join("; ")
            }
            Raw::Postgres(_) => db.raw.texts(&sql).await.join("; "),
        };
        assert!(plan.contains("runs_recent"), "{plan}");
    }
    let begun = std::time::Instant::now();
    let usage = tenant.usage(None, 7, now()).await.unwrap();
    eprintln!("a week of two integrations with a run in 25 minutes: {:?}", begun.elapsed());
    let runs: i64 = usage.iter().map(|day| day.succeeded).sum();
    assert_eq!(runs, usage.iter().map(DayUsage::rows).sum::<i64>());
    assert!((2 * 6 * 57..=2 * 7 * 58).contains(&runs), "{runs}");
}
