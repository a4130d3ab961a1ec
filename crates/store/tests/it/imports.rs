//! Imports: asked for once, worked on by one, each contact one lead.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tieline_store::{
    Batch, BatchOutcome, Claim, ContactRow, Creation, Credentials, Cursor, Fetched, Import, ImportState, Lead,
    LeadFilter, NewImport, NewUser, RowOutcome, SourceType, Tenant, Uuid,
};

use crate::database::{Db, now};

on_both!(
    a_key_is_one_request,
    a_key_asked_for_at_once_is_one_import,
    outcomes_are_told_exactly,
    a_version_that_is_older_changes_nothing,
    a_worker_whose_lease_has_ended_writes_nothing,
    a_worker_that_lives_keeps_its_import_and_one_that_is_stopped_gives_it_back,
    many_workers_share_imports_and_none_is_worked_on_twice,
    overlapping_imports_at_once_make_each_lead_once,
    whichever_statement_fails_at_whichever_row_the_import_resumes_exactly,
    a_cancelled_import_stops_and_a_failed_one_goes_on,
    what_cannot_be_kept_is_a_failed_row,
    imports_and_rows_come_in_pages,
    a_business_does_not_see_anothers_imports,
    a_business_with_an_import_under_way_lets_others_pass,
);

const LEASE: Duration = Duration::from_secs(60);

fn at(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

pub(crate) fn contact(id: &str, last_name: &str) -> ContactRow {
    ContactRow {
        source_id: id.to_owned(),
        first_name: Some("Ada".to_owned()),
        last_name: Some(last_name.to_owned()),
        name: Some(format!("Ada {last_name}")),
        email: Some(format!("{id}@example.com")),
        phone: Some("+49 30 1".to_owned()),
        company: Some("Analytical Engines".to_owned()),
        title: Some("Countess".to_owned()),
        source_metadata: serde_json::json!({"Department": "R&D", "OwnerId": "005000000000001AAA"}),
        source_stamp: now(),
        custom_fields: serde_json::json!({}),
        deleted: None,
    }
}

pub(crate) fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{n:06}")).collect()
}

pub(crate) fn asked(integration: Uuid, source_ids: &[String]) -> NewImport<'_> {
    NewImport { integration, idempotency_key: None, campaign: None, tags: &[], source_ids, created_by: None }
}

pub(crate) async fn create(tenant: &Tenant, new: &NewImport<'_>, now: Timestamp) -> Import {
    match tenant.create_import(new, now).await.unwrap() {
        Creation::Created(import) => import,
        other => panic!("{other:?}"),
    }
}

async fn claim(db: &Db, now: Timestamp) -> Claim {
    db.store.claim_import(now, LEASE).await.unwrap().expect("there is an import")
}

/// What the source would say of an import's next rows.
async fn fetched(claim: &Claim, limit: u32, last_name: &str) -> Vec<Fetched> {
    let rows = claim.pending_rows(-1, limit).await.unwrap();
    rows.into_iter().map(|r| Fetched { position: r.position, contact: Ok(contact(&r.source_id, last_name)) }).collect()
}

async fn work(claim: &Claim, batch: u32, last_name: &str, now: Timestamp) {
    loop {
        let rows = fetched(claim, batch, last_name).await;
        if rows.is_empty() {
            break;
        }
        assert!(matches!(claim.commit_batch(&rows, now).await.unwrap(), Batch::Written(_)));
    }
    assert!(claim.finish_import(None, now).await.unwrap());
}

async fn leads(tenant: &Tenant) -> Vec<Lead> {
    tenant.leads(&LeadFilter::default(), None, 100_000).await.unwrap().items
}

fn counts(import: &Import) -> [i64; 6] {
    [import.total, import.pending, import.created, import.updated, import.unchanged, import.failed]
}

async fn a_key_is_one_request(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let given: Vec<String> = ["b", "a", "b", "c", "a"].map(str::to_owned).to_vec();
    let tags = ["x".to_owned(), "x".to_owned()];
    let new = NewImport {
        idempotency_key: Some("k"),
        campaign: Some("spring"),
        tags: &tags,
        created_by: Some("user:1"),
        ..asked(integration, &given)
    };
    let made = create(&tenant, &new, now()).await;
    assert_eq!((counts(&made), made.state), ([3, 3, 0, 0, 0, 0], ImportState::Waiting));
    let rows = tenant.import_rows(made.id, None, None, 10).await.unwrap().items;
    let rows: Vec<(i64, &str)> = rows.iter().map(|row| (row.position, row.source_id.as_str())).collect();
    assert_eq!(rows, [(0, "b"), (1, "a"), (2, "c")]);
    // The same, by somebody else and in other words for the same list.
    let once = ["b", "a", "c"].map(str::to_owned).to_vec();
    let again = NewImport { source_ids: &once, created_by: Some("user:2"), ..new };
    assert_eq!(tenant.create_import(&again, at(5)).await.unwrap(), Creation::Existing(made.clone()));
    let order = ["a", "b", "c"].map(str::to_owned).to_vec();
    for other in
        [NewImport { campaign: None, ..new }, NewImport { tags: &[], ..new }, NewImport { source_ids: &order, ..new }]
    {
        assert_eq!(tenant.create_import(&other, at(5)).await.unwrap(), Creation::KeyReused, "{other:?}");
    }
    // Without a key every request is another one.
    let free = NewImport { idempotency_key: None, ..new };
    assert_ne!(create(&tenant, &free, now()).await.id, create(&tenant, &free, now()).await.id);
    assert_eq!(tenant.imports(None, 10).await.unwrap().items.len(), 3);
    let nowhere = NewImport { integration: Uuid::now_v7(), ..new };
    assert_eq!(tenant.create_import(&nowhere, now()).await.unwrap(), Creation::NoIntegration);
}

async fn a_key_asked_for_at_once_is_one_import(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let given = ids(0..2_500);
    let new = NewImport { idempotency_key: Some("k"), ..asked(integration, &given) };
    let made = futures_util::future::join_all((0..8).map(|_| tenant.create_import(&new, now()))).await;
    let made: Vec<Creation> = made.into_iter().map(Result::unwrap).collect();
    assert_eq!(made.iter().filter(|m| matches!(m, Creation::Created(_))).count(), 1, "{made:?}");
    assert_eq!(made.iter().filter(|m| matches!(m, Creation::Existing(_))).count(), 7);
    let imports = tenant.imports(None, 10).await.unwrap().items;
    assert_eq!((imports.len(), imports[0].total), (1, 2_500));
    let last = tenant.import_rows(imports[0].id, None, Some(2_498), 10).await.unwrap();
    assert_eq!((last.items.len(), last.items[0].source_id.as_str(), last.next), (1, "002499", None));
}

async fn outcomes_are_told_exactly(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let first = create(&tenant, &asked(integration, &ids(0..5)), now()).await;
    work(&claim(&db, now()).await, 2, "before", at(1)).await;
    let done = tenant.import(first.id).await.unwrap().unwrap();
    assert_eq!((counts(&done), done.state), ([5, 0, 5, 0, 0, 0], ImportState::Success));
    assert_eq!(done.finished_at, Some(at(1)));
    let before = leads(&tenant).await;
    assert_eq!(before.len(), 5);

    // Two are equal, one has another name, one is new, one is gone, one comes twice under another spelling.
    let given = ["000000", "000001", "000002", "000009", "gone", "000001-again"].map(str::to_owned).to_vec();
    let second = create(&tenant, &asked(integration, &given), at(2)).await;
    let held = claim(&db, at(2)).await;
    let row = |position: i64, contact: Result<ContactRow, String>| Fetched { position, contact };
    let rows = [
        row(0, Ok(contact("000000", "before"))),
        row(1, Ok(contact("000001", "after"))),
        row(2, Ok(contact("000002", "before"))),
        row(3, Ok(contact("000009", "new"))),
        row(4, Err("the org has no such contact".to_owned())),
        row(5, Ok(contact("000001", "after"))),
    ];
    let written = BatchOutcome { created: 1, updated: 1, unchanged: 3, failed: 1, skipped_erased: 0 };
    assert_eq!(held.commit_batch(&rows, at(3)).await.unwrap(), Batch::Written(written));
    // Its answer was lost, and the worker sends it again: nothing is counted twice.
    assert_eq!(held.commit_batch(&rows, at(4)).await.unwrap(), Batch::Written(BatchOutcome::default()));
    let import = tenant.import(second.id).await.unwrap().unwrap();
    assert_eq!(counts(&import), [6, 0, 1, 1, 3, 1]);
    let told = tenant.import_rows(second.id, None, None, 10).await.unwrap().items;
    let outcomes: Vec<RowOutcome> = told.iter().map(|row| row.outcome).collect();
    use RowOutcome::{Created, Failed, Unchanged, Updated};
    assert_eq!(outcomes, [Unchanged, Updated, Unchanged, Created, Failed, Unchanged]);
    assert_eq!(told[4].error.as_deref(), Some("the org has no such contact"));
    assert_eq!((told[5].lead_id, told[4].lead_id), (told[1].lead_id, None));
    for old in &before {
        let lead = tenant.lead(old.id).await.unwrap().unwrap();
        if old.source_id == "000001" {
            assert_eq!((lead.last_name.as_deref(), lead.created_at, lead.updated_at), (Some("after"), at(1), at(3)));
            assert_eq!(Some(lead.id), told[1].lead_id);
        } else {
            assert_eq!(&lead, old, "a row that was so already is not touched");
        }
    }
    let found = tenant.lead_of_source(SourceType::Salesforce, "000009").await.unwrap().unwrap();
    assert_eq!((Some(found.id), found.integration_id), (told[3].lead_id, Some(integration)));

    // Campaign and tags alone change a lead too, and stay when another import names none.
    let tags = ["b".to_owned(), "a".to_owned()];
    let given = ids(0..2);
    let new = NewImport { campaign: Some("spring"), tags: &tags, ..asked(integration, &given) };
    for (more, expected) in [(new, [2, 0, 0, 2, 0, 0]), (asked(integration, &given), [2, 0, 0, 0, 2, 0])] {
        assert!(held.finish_import(None, at(5)).await.is_ok());
        let third = create(&tenant, &more, at(6)).await;
        let held = claim(&db, at(6)).await;
        let rows = [row(0, Ok(contact("000000", "before"))), row(1, Ok(contact("000001", "after")))];
        held.commit_batch(&rows, at(6)).await.unwrap();
        held.finish_import(None, at(6)).await.unwrap();
        assert_eq!(counts(&tenant.import(third.id).await.unwrap().unwrap()), expected);
        let lead = tenant.lead_of_source(SourceType::Salesforce, "000000").await.unwrap().unwrap();
        assert_eq!((lead.campaign.as_deref(), lead.tags.join("")), (Some("spring"), "ba".to_owned()));
    }
}

async fn a_version_that_is_older_changes_nothing(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    for (name, stamp, expected) in [("newer", 20, "newer"), ("older", 10, "newer"), ("newest", 21, "newest")] {
        create(&tenant, &asked(integration, &ids(0..1)), now()).await;
        let held = claim(&db, now()).await;
        let row = ContactRow { source_stamp: at(stamp), ..contact("000000", name) };
        held.commit_batch(&[Fetched { position: 0, contact: Ok(row) }], now()).await.unwrap();
        held.finish_import(None, now()).await.unwrap();
        assert_eq!(leads(&tenant).await[0].last_name.as_deref(), Some(expected));
    }
}

async fn a_worker_that_lives_keeps_its_import_and_one_that_is_stopped_gives_it_back(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let import = create(&tenant, &asked(integration, &ids(0..4)), now()).await;
    let first = claim(&db, now()).await;
    assert!(first.prolong(at(50)).await.unwrap());
    assert!(db.store.claim_import(at(109), LEASE).await.unwrap().is_none(), "it lives");
    assert!(first.give_back().await.unwrap());
    let left = tenant.import(import.id).await.unwrap().unwrap();
    assert_eq!((left.state, left.error), (ImportState::Waiting, None));
    assert_eq!(first.commit_batch(&fetched(&first, 2, "late").await, at(51)).await.unwrap(), Batch::Fenced);
    let second = claim(&db, at(51)).await;
    assert_eq!(second.fence, first.fence + 1);
    // Who had it before neither prolongs nor gives back what is another's now.
    assert!(!first.prolong(at(52)).await.unwrap() && !first.give_back().await.unwrap());
    assert!(db.store.claim_import(at(110), LEASE).await.unwrap().is_none());
    assert!(tenant.cancel_import(import.id, at(111)).await.unwrap());
    assert!(!second.prolong(at(112)).await.unwrap() && !second.give_back().await.unwrap(), "it is cancelled");
    assert_eq!(tenant.import(import.id).await.unwrap().unwrap().state, ImportState::Cancelled);
}

async fn a_worker_whose_lease_has_ended_writes_nothing(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let import = create(&tenant, &asked(integration, &ids(0..4)), now()).await;
    let slow = claim(&db, now()).await;
    let rows = fetched(&slow, 2, "slow").await;
    assert!(db.store.claim_import(at(59), LEASE).await.unwrap().is_none(), "it is being worked on");
    let other = claim(&db, at(60)).await;
    assert_eq!((other.import.id, other.fence), (import.id, slow.fence + 1));
    assert_eq!(slow.commit_batch(&rows, at(61)).await.unwrap(), Batch::Fenced);
    assert!(!slow.finish_import(Some("slow"), at(61)).await.unwrap());
    assert!(!slow.release_import("slow", at(61)).await.unwrap());
    assert_eq!(counts(&tenant.import(import.id).await.unwrap().unwrap()), [4, 4, 0, 0, 0, 0]);
    assert!(leads(&tenant).await.is_empty());
    // Every batch makes the lease longer.
    let rows = fetched(&other, 2, "other").await;
    other.commit_batch(&rows, at(100)).await.unwrap();
    assert!(db.store.claim_import(at(159), LEASE).await.unwrap().is_none());
    assert!(other.release_import("the org is away", at(300)).await.unwrap());
    assert_eq!(tenant.import(import.id).await.unwrap().unwrap().error.as_deref(), Some("the org is away"));
    assert!(db.store.claim_import(at(299), LEASE).await.unwrap().is_none());
    let third = claim(&db, at(300)).await;
    work(&third, 10, "third", at(301)).await;
    let done = tenant.import(import.id).await.unwrap().unwrap();
    assert_eq!((counts(&done), done.error), ([4, 0, 4, 0, 0, 0], None));
    assert_eq!(other.commit_batch(&rows, at(302)).await.unwrap(), Batch::Fenced, "it has ended");
}

async fn many_workers_share_imports_and_none_is_worked_on_twice(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    for n in 0..6 {
        create(&tenant, &asked(integration, &ids(n * 100..n * 100 + 150)), now()).await;
    }
    let claims = futures_util::future::join_all((0..9).map(|_| db.store.claim_import(now(), LEASE))).await;
    let claims: Vec<Claim> = claims.into_iter().filter_map(Result::unwrap).collect();
    let mut claimed: Vec<Uuid> = claims.iter().map(|claim| claim.import.id).collect();
    claimed.sort();
    claimed.dedup();
    assert_eq!((claims.len(), claimed.len()), (6, 6));
    futures_util::future::join_all(claims.iter().map(|claim| work(claim, 40, "x", now()))).await;
    assert_eq!(leads(&tenant).await.len(), 650);
}

async fn overlapping_imports_at_once_make_each_lead_once(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    // The same contacts in other orders, so that each batch meets the others' rows from another side.
    let mut all = 0;
    for round in 0..5 {
        let mut given = ids(0..100 + round * 40);
        for turn in 0..4 {
            create(&tenant, &asked(integration, &given), now()).await;
            all += given.len();
            match turn % 2 {
                0 => given.reverse(),
                _ => given.rotate_left(37),
            }
        }
        let claims = futures_util::future::join_all((0..4).map(|_| claim(&db, now()))).await;
        let name = format!("round {round}");
        tokio::time::timeout(
            Duration::from_secs(60),
            futures_util::future::join_all(claims.iter().map(|claim| work(claim, 30, &name, now()))),
        )
        .await
        .expect("they wait for each other");
    }
    let (mut sums, imports) = ([0; 6], tenant.imports(None, 100).await.unwrap().items);
    for import in &imports {
        counts(import).iter().zip(&mut sums).for_each(|(n, sum)| *sum += n);
    }
    // Each lead is made once, changed once in each later round, and found as it is in every other import.
    let (made, changed) = (260, (100 + 140 + 180 + 220) as i64);
    assert_eq!(sums, [all as i64, 0, made, changed, all as i64 - made - changed, 0]);
    assert_eq!(leads(&tenant).await.len(), 260);
}

async fn whichever_statement_fails_at_whichever_row_the_import_resumes_exactly(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    const N: usize = 9;
    let (mut clock, mut from) = (0, 0);
    let mut points: Vec<(&str, &str, String)> = Vec::new();
    for k in 0..N {
        points.push(("leads", "BEFORE INSERT ON leads", format!("new.email = 'K{k}'")));
        points.push(("import_rows", "BEFORE UPDATE ON import_rows", format!("new.position = {k}")));
    }
    points.push(("imports", "BEFORE UPDATE OF created ON imports", String::new()));
    points.push(("imports", "BEFORE UPDATE OF finished_at ON imports", "new.finished_at IS NOT NULL".to_owned()));
    for (table, event, when) in points {
        let given = ids(from..from + N);
        let import = create(&tenant, &asked(integration, &given), at(clock)).await;
        from += N;
        let fetched = |rows: Vec<tieline_store::ImportRow>| -> Vec<Fetched> {
            let contact = |row: &tieline_store::ImportRow| ContactRow {
                email: Some(format!("K{}", row.position)),
                ..contact(&row.source_id, "x")
            };
            rows.iter().map(|row| Fetched { position: row.position, contact: Ok(contact(row)) }).collect()
        };
        db.raw.failpoint(event, &when).await;
        // Batches of four, until one dies of it.
        let held = claim(&db, at(clock)).await;
        let died = loop {
            let rows = fetched(held.pending_rows(-1, 4).await.unwrap());
            let written = match rows.is_empty() {
                true => held.finish_import(None, at(clock)).await.map(|_| true),
                false => held.commit_batch(&rows, at(clock)).await.map(|_| false),
            };
            match written {
                Ok(false) => {}
                other => break other,
            }
        };
        let error = died.expect_err(event);
        assert!(error.to_string().contains("failpoint"), "{error}");
        db.raw.mend(table).await;

        let so_far = tenant.import(import.id).await.unwrap().unwrap();
        let there = tenant.count_leads().await.unwrap() - (from - N) as i64;
        let told = tenant.import_rows(import.id, Some(RowOutcome::Created), None, 100).await.unwrap().items;
        assert_eq!([so_far.created, there, told.len() as i64], [so_far.created; 3], "{event} {when}");
        assert!(so_far.created % 4 == 0 || so_far.created == N as i64, "{event} {when}: half a batch");
        clock += 100;
        work_with(&claim(&db, at(clock)).await, &fetched, at(clock)).await;
        let done = tenant.import(import.id).await.unwrap().unwrap();
        assert_eq!((counts(&done), done.state), ([9, 0, 9, 0, 0, 0], ImportState::Success), "{event} {when}");
        assert_eq!(tenant.count_leads().await.unwrap(), from as i64, "{event} {when}");
        let told = tenant.import_rows(import.id, None, None, 100).await.unwrap().items;
        let mut made: Vec<Uuid> = told.iter().filter_map(|row| row.lead_id).collect();
        made.sort();
        made.dedup();
        assert_eq!((told.len(), made.len()), (N, N), "{event} {when}: the report has a gap");
    }
}

async fn work_with(claim: &Claim, fetched: &impl Fn(Vec<tieline_store::ImportRow>) -> Vec<Fetched>, now: Timestamp) {
    loop {
        let rows = fetched(claim.pending_rows(-1, 4).await.unwrap());
        if rows.is_empty() {
            break;
        }
        claim.commit_batch(&rows, now).await.unwrap();
    }
    assert!(claim.finish_import(None, now).await.unwrap());
}

async fn a_cancelled_import_stops_and_a_failed_one_goes_on(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let import = create(&tenant, &asked(integration, &ids(0..4)), now()).await;
    let held = claim(&db, now()).await;
    let rows = fetched(&held, 2, "x").await;
    held.commit_batch(&rows, now()).await.unwrap();
    let rows = fetched(&held, 2, "x").await;
    assert!(held.finish_import(Some("log in again"), at(1)).await.unwrap());
    let failed = tenant.import(import.id).await.unwrap().unwrap();
    assert_eq!((failed.state, failed.error.as_deref()), (ImportState::Failed, Some("log in again")));
    assert!(db.store.claim_import(at(1_000), LEASE).await.unwrap().is_none(), "until somebody says so");
    assert!(!tenant.cancel_import(import.id, at(1)).await.unwrap(), "it has ended");
    assert!(tenant.retry_import(import.id, now()).await.unwrap());
    assert!(!tenant.retry_import(import.id, now()).await.unwrap());
    assert_eq!(held.commit_batch(&rows, at(1)).await.unwrap(), Batch::Fenced);
    let again = claim(&db, at(2)).await;
    let left = again.pending_rows(-1, 9).await.unwrap();
    assert_eq!(left.iter().map(|row| row.position).collect::<Vec<_>>(), [2, 3]);
    let gone = |row: &tieline_store::ImportRow| Fetched { position: row.position, contact: Err("gone".to_owned()) };
    let gone: Vec<Fetched> = left.iter().map(gone).collect();
    again.commit_batch(&gone, at(2)).await.unwrap();
    again.finish_import(None, at(2)).await.unwrap();
    // Rows that failed are tried again, and only those.
    assert!(tenant.retry_import(import.id, now()).await.unwrap());
    assert_eq!(counts(&tenant.import(import.id).await.unwrap().unwrap()), [4, 2, 2, 0, 0, 0]);
    let third = claim(&db, at(3)).await;
    assert!(tenant.cancel_import(import.id, at(4)).await.unwrap());
    let rows = fetched(&third, 9, "x").await;
    assert_eq!(rows.len(), 2);
    assert_eq!(third.commit_batch(&rows, at(5)).await.unwrap(), Batch::Cancelled);
    assert!(!third.finish_import(None, at(5)).await.unwrap());
    assert!(
        !tenant.retry_import(import.id, now()).await.unwrap() && !tenant.cancel_import(import.id, at(5)).await.unwrap()
    );
    let cancelled = tenant.import(import.id).await.unwrap().unwrap();
    assert_eq!((cancelled.state, cancelled.finished_at), (ImportState::Cancelled, Some(at(4))));
    assert_eq!(leads(&tenant).await.len(), 2);
}

async fn what_cannot_be_kept_is_a_failed_row(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let given = ["a\0".to_owned(), "b".to_owned(), "c".to_owned()];
    let new = NewImport { campaign: Some("c\0"), ..asked(integration, &given) };
    let import = create(&tenant, &new, now()).await;
    let held = claim(&db, now()).await;
    let bad = ContactRow { source_metadata: serde_json::json!({"a": ["\0"]}), ..contact("b", "x") };
    let rows = [
        Fetched { position: 0, contact: Err("`a\0` is no id".to_owned()) },
        Fetched { position: 1, contact: Ok(bad) },
        Fetched { position: 2, contact: Ok(contact("c", "\u{1} O'Brien \\ 🦀")) },
        // There is no such row.
        Fetched { position: 77, contact: Err("x".to_owned()) },
    ];
    let written = BatchOutcome { created: 1, failed: 2, ..BatchOutcome::default() };
    assert_eq!(held.commit_batch(&rows, now()).await.unwrap(), Batch::Written(written));
    assert_eq!(counts(&tenant.import(import.id).await.unwrap().unwrap()), [3, 0, 1, 0, 0, 2]);
    let kept = leads(&tenant).await;
    assert_eq!((kept.len(), kept[0].last_name.as_deref()), (1, Some("\u{1} O'Brien \\ 🦀")));
    assert_eq!(kept[0].campaign.as_deref(), Some("c\u{fffd}"));
    let text = Some("x\0y");
    assert!(tenant.leads(&LeadFilter { text, ..Default::default() }, None, 9).await.unwrap().items.is_empty());
}

async fn imports_and_rows_come_in_pages(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mut made = Vec::new();
    for n in 0..5 {
        // Some at the same moment.
        made.push(create(&tenant, &asked(integration, &ids(0..3)), at(n / 2)).await.id);
    }
    made.reverse();
    let (mut seen, mut cursor) = (Vec::new(), None::<Cursor>);
    loop {
        let page = tenant.imports(cursor, 2).await.unwrap();
        seen.extend(page.items.iter().map(|import| import.id));
        // As the API's caller has it.
        cursor = page.next.map(|next| next.to_string().parse().unwrap());
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, made);
    let page = tenant.import_rows(made[0], Some(RowOutcome::Pending), None, 2).await.unwrap();
    assert_eq!((page.items.len(), page.next), (2, Some(1)));
    let page = tenant.import_rows(made[0], Some(RowOutcome::Pending), page.next, 2).await.unwrap();
    assert_eq!((page.items.len(), page.next), (1, None));
    assert!(tenant.import_rows(made[0], Some(RowOutcome::Created), None, 2).await.unwrap().items.is_empty());
}

async fn business(db: &Db, name: &str) -> (Tenant, Uuid) {
    let owner = match db.store.account("owner@example.com").await.unwrap() {
        Some(account) => account.user,
        None => {
            let new = NewUser { email: "owner@example.com", name: "O", password_hash: None };
            db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap()
        }
    };
    let business = db.store.create_business(name, owner.id, "", now()).await.unwrap();
    let membership = db.store.membership(owner.id, business).await.unwrap().unwrap();
    let tenant = db.store.as_member(&membership);
    let integration = tenant.save_integration("org", &Credentials::new(b"{}".to_vec()), now()).await.unwrap();
    (tenant, integration)
}

async fn a_business_does_not_see_anothers_imports(db: Db) {
    let ((a, org_of_a), (b, org_of_b)) = (business(&db, "a").await, business(&db, "b").await);
    let given = ids(0..3);
    let new = |integration| NewImport { idempotency_key: Some("k"), ..asked(integration, &given) };
    assert_eq!(b.create_import(&new(org_of_a), now()).await.unwrap(), Creation::NoIntegration);
    let of_a = create(&a, &new(org_of_a), now()).await;
    let of_b = create(&b, &new(org_of_b), at(1)).await;
    let first = claim(&db, at(2)).await;
    let second = claim(&db, at(2)).await;
    assert_eq!((first.import.id, first.tenant.business()), (of_a.id, a.business()));
    assert_eq!((second.import.id, second.tenant.business()), (of_b.id, b.business()));
    work(&first, 10, "a", at(2)).await;
    work(&second, 10, "b", at(2)).await;
    for (tenant, name, other, own) in [(&a, "a", &of_b, &of_a), (&b, "b", &of_a, &of_b)] {
        let kept = leads(tenant).await;
        assert!(kept.len() == 3 && kept.iter().all(|lead| lead.last_name.as_deref() == Some(name)));
        assert!(tenant.import(other.id).await.unwrap().is_none());
        assert!(tenant.import_rows(other.id, None, None, 9).await.unwrap().items.is_empty());
        assert!(!tenant.cancel_import(other.id, at(3)).await.unwrap());
        assert!(!tenant.retry_import(other.id, now()).await.unwrap());
        let listed: Vec<Uuid> = tenant.imports(None, 9).await.unwrap().items.iter().map(|i| i.id).collect();
        assert_eq!(listed, [own.id]);
    }
    let lead = leads(&b).await[0].clone();
    assert!(a.lead(lead.id).await.unwrap().is_none());
    let found = a.lead_of_source(SourceType::Salesforce, &lead.source_id).await.unwrap().unwrap();
    assert_ne!(found.id, lead.id);
    let found = a.leads_of_sources(SourceType::Salesforce, ids(0..9)).await.unwrap();
    assert!(found.len() == 3 && !found.values().any(|id| *id == lead.id));
    // Nor when the business that a claim names is not the import's.
    let again = create(&a, &asked(org_of_a, &given), at(4)).await;
    let mut stolen = claim(&db, at(4)).await;
    assert_eq!(stolen.import.id, again.id);
    stolen.tenant = b.clone();
    let rows = [Fetched { position: 0, contact: Ok(contact("000000", "stolen")) }];
    assert_eq!(stolen.commit_batch(&rows, at(4)).await.unwrap(), Batch::Fenced);
    assert!(stolen.pending_rows(-1, 9).await.unwrap().is_empty());
}

async fn a_business_with_an_import_under_way_lets_others_pass(db: Db) {
    let ((a, org_of_a), (b, org_of_b)) = (business(&db, "a").await, business(&db, "b").await);
    for n in 0..3 {
        create(&a, &asked(org_of_a, &ids(0..3)), at(n)).await;
    }
    create(&b, &asked(org_of_b, &ids(0..3)), at(9)).await;
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(claim(&db, at(10)).await.tenant.business());
    }
    assert_eq!(order, [a.business(), b.business(), a.business(), a.business()]);
}
