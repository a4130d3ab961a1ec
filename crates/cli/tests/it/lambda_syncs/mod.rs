//! Sync runs in AWS Lambda: a schedule that tells of work, messages that wake a function, and what becomes of a run whose
//! invocation is over, killed, doubled, or without a database.

mod world;

use std::time::Duration;

use serde_json::json;

use self::world::{World, event, tick};

/// Nobody runs out of it.
const PLENTY: Duration = Duration::from_secs(60);
/// Six seconds before its end no step is begun: five are left, for as many pages.
const SHORT: Duration = Duration::from_secs(11);
const CONTACTS: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schedule_tells_of_what_is_due_and_messages_do_it() {
    let Some(world) = World::new(50, 0).await else { return };
    let mut tables = Vec::new();
    for tenant in world.businesses(3).await {
        tables.push(world.map(&tenant).await);
    }
    let mut function = world.environment(PLENTY).await;
    // A mapping and the contacts of each.
    assert_eq!(function.invoke(tick()).await.unwrap(), json!({"sent": 6}), "{}", function.log());
    // What is done tells of the business's next, whose message may be there already: then one of the two does nothing.
    assert!(world.pump(&mut function).await >= 6);
    for table in &tables {
        assert_eq!(world.count(table), 50);
    }
    assert_eq!(world.count("sync_work WHERE outcome = 'done' AND owner IS NULL"), 6);
    assert_eq!(world.count("runs WHERE state = 'success'"), 6);
    // While it is frozen it holds no connection of the server's: these are the test's own.
    let ours = world.store.pools()[0].open as usize;
    assert_eq!(world.count("pg_stat_activity WHERE application_name = 'tieline'"), ours);

    // Nothing is due any more: neither a tick nor a message that is late, doubled or not ours does anything.
    assert_eq!(function.invoke(tick()).await.unwrap(), json!({"sent": 0}));
    let nonsense = json!({"Records": [
        {"messageId": "a", "body": "no JSON"},
        {"messageId": "b", "body": "{\"business\": \"018f0000-0000-7000-8000-000000000000\", \"work\": \"018f0000-0000-7000-8000-000000000000\"}"},
    ]});
    assert_eq!(function.invoke(nonsense).await.unwrap(), json!({"batchItemFailures": []}));
    assert_eq!(world.count("runs"), 6);

    // A request is a tick's as well.
    let asked = world.store.request_all(tieline_auth::Clock::now(&tieline_auth::SystemClock::default())).await.unwrap();
    assert_eq!(asked.len(), 6);
    assert_eq!(function.invoke(tick()).await.unwrap(), json!({"sent": 6}));
    world.pump(&mut function).await;
    assert_eq!(world.count("runs WHERE state = 'success'"), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_business_with_more_work_than_places_is_done_message_by_message() {
    let Some(world) = World::new(5, 0).await else { return };
    let tenant = world.businesses(1).await.remove(0);
    world.map(&tenant).await;
    for number in 0..4 {
        world.postgres.sql(&format!(
            "INSERT INTO integrations (id, business_id, name, type, status, credentials, created_at, updated_at)
             SELECT gen_random_uuid(), business_id, 'broken {number}', type, 'active', credentials, created_at, updated_at
             FROM integrations WHERE business_id = '{}' AND name = 'default'",
            tenant.business()
        ));
    }
    for table in ["mappings (business_id, integration_id, name, object, target, definition, columns, created_at, updated_at, id, table_name)
         SELECT m.business_id, i.id, m.name, m.object, m.target, m.definition, m.columns, m.created_at, m.updated_at, i.id, 'contacts ' || i.id",
         "mapping_checkpoints (business_id, mapping_id) SELECT i.business_id, i.id"] {
        world.postgres.sql(&format!(
            "INSERT INTO {table} FROM integrations AS i JOIN mappings AS m ON m.business_id = i.business_id AND m.target = 'contacts'
             WHERE i.name LIKE 'broken%' AND m.integration_id NOT IN (SELECT id FROM integrations WHERE name LIKE 'broken%')"
        ));
    }
    let mut function = world.environment(PLENTY).await;
    // Two at a time: no more are told of, and each that ends tells of the next.
    assert_eq!(function.invoke(tick()).await.unwrap(), json!({"sent": 2}), "{}", function.log());
    assert!(world.pump(&mut function).await >= 6);
    assert_eq!(world.count("sync_work WHERE ended_at IS NOT NULL"), 6);
    // Credentials that are sealed for another row do not open: that is in the history, and the schedule tries again.
    assert_eq!(world.count("sync_work WHERE outcome = 'failed' AND retry_at > now()"), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_longer_than_an_invocation_goes_on_in_others() {
    let Some(world) = World::new(CONTACTS, 700).await else { return };
    let table = world.map(&world.store.own()).await;
    let mut function = world.environment(SHORT).await;
    assert_eq!(function.invoke(tick()).await.unwrap(), json!({"sent": 2}), "{}", function.log());
    // Nobody but the function itself says that there is more.
    let invocations = world.pump(&mut function).await;
    assert_eq!((world.count(&table), world.count("contacts")), (CONTACTS, CONTACTS), "{}", function.log());
    assert_eq!(world.count("sync_work WHERE outcome = 'done' AND owner IS NULL"), 2);
    assert!(invocations >= 4, "{invocations}: the test proves too little");
    // Nothing was read twice but a page or two at each end.
    let read: usize =
        world.postgres.sql("SELECT sum(rows_read) FROM runs WHERE mapping_id IS NOT NULL").parse().unwrap();
    let runs = world.count("runs WHERE mapping_id IS NOT NULL");
    assert!(runs >= 2 && read < CONTACTS + runs * 4_000, "{read} rows in {runs} runs");
    assert_eq!(world.count("runs WHERE state = 'running'"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_invocation_is_killed_is_taken_up_by_another() {
    let Some(world) = World::new(8_000, 400).await else { return };
    let table = world.map(&world.store.own()).await;
    let mut killed = world.environment(PLENTY).await;
    assert_eq!(killed.invoke(tick()).await.unwrap(), json!({"sent": 2}));
    let message = world.receive().await.remove(0);
    killed.begin(event(&[&message])).await;
    world.until("SELECT count(*) FROM runs WHERE state = 'running' AND rows_read > 0", |count| count == "1");
    killed.kill();
    // Its message comes again, and finds the lease of the dead or its end; if it came too early, the schedule does.
    let mut function = world.environment(PLENTY).await;
    world.pump(&mut function).await;
    world.until("SELECT count(*) FROM sync_work WHERE leased_until > now()", |count| count == "0");
    function.invoke(tick()).await.unwrap();
    world.pump(&mut function).await;
    assert_eq!((world.count(&table), world.count("contacts")), (8_000, 8_000), "{}", function.log());
    assert_eq!(world.count("sync_work WHERE outcome = 'done' AND owner IS NULL"), 2);
    assert_eq!(world.count("runs WHERE state = 'failed' AND error LIKE 'interrupted%'"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_twice_at_once_is_one_run() {
    let Some(world) = World::new(4_000, 300).await else { return };
    let table = world.map(&world.store.own()).await;
    let (mut one, mut other) = (world.environment(PLENTY).await, world.environment(PLENTY).await);
    assert_eq!(one.invoke(tick()).await.unwrap(), json!({"sent": 2}));
    for message in world.receive().await {
        let doubled = event(&[&message, &message]);
        let (first, second) = tokio::join!(one.invoke(doubled.clone()), other.invoke(doubled));
        assert_eq!(
            (first.unwrap(), second.unwrap()),
            (json!({"batchItemFailures": []}), json!({"batchItemFailures": []}))
        );
        world.delete(&message).await;
    }
    assert_eq!((world.count(&table), world.count("runs"), world.count("runs WHERE state = 'success'")), (4_000, 2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_database_messages_come_again() {
    let Some(world) = World::new(20, 0).await else { return };
    let table = world.map(&world.store.own()).await;
    let mut function = world.environment(PLENTY).await;
    assert_eq!(function.invoke(tick()).await.unwrap(), json!({"sent": 2}));
    let messages = world.receive().await;
    world.postgres.stop("immediate");
    let both = event(&messages.iter().collect::<Vec<_>>());
    let answer = function.invoke(both.clone()).await.unwrap();
    assert_eq!(answer["batchItemFailures"].as_array().map(Vec::len), Some(2), "{answer}");
    let error = function.invoke(tick()).await.unwrap_err();
    assert!(error.contains("database") && error.contains("hint"), "{error}");
    world.postgres.begin();
    assert_eq!(function.invoke(both).await.unwrap(), json!({"batchItemFailures": []}), "{}", function.log());
    assert_eq!((world.count(&table), world.count("runs WHERE state = 'success'")), (20, 2));
}
