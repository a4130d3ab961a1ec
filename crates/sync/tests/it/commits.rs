//! T1, T2, T6, T11: what is visible when, and whose clock counts.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tieline_auth::ManualClock;
use tieline_sync::Window;

use crate::world::{WINDOW, World, start};

/// A is stamped at 100 and committed at 400; B is stamped and committed at 200.
async fn late_commit(window: Window) -> Vec<String> {
    let world = World::with(None, window).await;
    world.at(100).await;
    world.commit_delay(300).await;
    world.create("A").await;
    world.at(200).await;
    world.commit_delay(0).await;
    world.create("B").await;
    world.at(250).await;
    world.sync().await.unwrap();
    assert_eq!(world.names().await, ["B"]);
    world.at(500).await;
    world.sync().await.unwrap();
    world.names().await
}

#[tokio::test]
async fn t1_a_row_that_becomes_visible_after_later_ones_arrives() {
    assert_eq!(late_commit(WINDOW).await, ["A", "B"]);
}

#[tokio::test]
async fn t1_without_lookback_and_lag_that_row_would_be_lost() {
    let none = Window { lookback: Duration::ZERO, lag: Duration::ZERO };
    assert_eq!(late_commit(none).await, ["B"]);
}

#[tokio::test]
async fn t1_random_commit_delays_within_the_window_lose_nothing() {
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let window = Window { lookback: Duration::from_secs(120), lag: Duration::from_secs(30) };
        let world = World::with(None, window).await;
        let (mut now, mut made) = (0, Vec::new());
        for step in 0..60 {
            now += random.i64(0..40);
            world.at(now).await;
            match random.u8(..3) {
                0 => {
                    world.sync().await.unwrap();
                }
                1 if !made.is_empty() && random.bool() => {
                    world.commit_delay(random.i64(0..=150)).await;
                    let index = random.usize(..made.len());
                    let (id, written): &mut (String, i64) = &mut made[index];
                    // Until its last writer has committed, a row is locked.
                    if now - *written > 150 {
                        let title = serde_json::json!({"Title": format!("step {step}")});
                        world.connection.update("Contact", id, &title).await.unwrap();
                        *written = now;
                    }
                }
                _ => {
                    world.commit_delay(random.i64(0..=150)).await;
                    made.push((world.create(&format!("{step}")).await, now));
                }
            }
        }
        world.at(now + 151).await;
        world.sync().await.unwrap();
        let compared = world.compare().await;
        assert!(compared.is_equal() && compared.org == made.len() as u64, "seed {seed}: {compared:?}");
    }
}

#[tokio::test]
async fn t2_an_empty_run_moves_the_checkpoint_to_the_orgs_time_less_the_lag_and_no_further() {
    let world = World::new().await;
    world.at(250).await;
    world.commit_delay(100).await;
    world.create("late").await;
    world.at(300).await;
    world.sync().await.unwrap();
    assert_eq!(world.names().await, [""; 0]);
    assert!((235..=240).contains(&world.through().await.unwrap()), "the time that the call takes comes off");
    world.at(400).await;
    world.sync().await.unwrap();
    assert_eq!(world.names().await, ["late"]);
}

#[tokio::test]
async fn t6_the_local_clock_does_not_matter() {
    for minutes in [-10, 0, 10] {
        let mut world = World::new().await;
        let wrong = start() + SignedDuration::from_mins(minutes) + SignedDuration::from_hours(50);
        world.syncer.clock = Arc::new(ManualClock::at(wrong));
        world.at(1_000).await;
        world.create("one").await;
        world.sync().await.unwrap();
        assert!((935..=940).contains(&world.through().await.unwrap()), "{minutes} minutes off");
        world.create("two").await;
        world.at(1_100).await;
        world.sync().await.unwrap();
        assert_eq!(world.names().await, ["one", "two"]);
        assert!((1_035..=1_040).contains(&world.through().await.unwrap()), "{minutes} minutes off");
    }
}

#[tokio::test]
async fn t11_history_is_read_from_its_beginning() {
    let csv = "LastName,SystemModstamp,CreatedDate\nOld,2016-05-01T00:00:00Z,2016-05-01T00:00:00Z\nNew,2026-05-01T00:00:00Z,2026-05-01T00:00:00Z\n";
    let world = World::with(Some(csv), WINDOW).await;
    world.sync().await.unwrap();
    assert_eq!(world.names().await, ["New", "Old"]);
}

#[tokio::test]
async fn an_unchanged_row_is_read_again_and_left_alone() {
    let world = World::new().await;
    world.create("same").await;
    world.at(10).await;
    let first = world.sync().await.unwrap();
    let again = world.sync().await.unwrap();
    assert_eq!((first.run.inserted, first.run.updated), (1, 0));
    assert_eq!((again.run.rows_read, again.run.inserted, again.run.updated), (1, 0, 0));
}
