//! Random lives of an org and a mapping, under random faults: at every moment the table holds what it promises, and in the
//! end what the org does. CONTRIBUTING.md says how a life is lived once more.
//!
//! Reading order: `cast` (which objects), `life` (what may happen), `stage` (where), `acts` (the org's part), `runs` (the
//! engine's), `promises` (what must hold), `lived` (all of it in order), `shorter` (the least that still fails).

mod acts;
mod cast;
mod life;
mod lived;
mod promises;
mod runs;
mod shorter;
mod stage;

use std::num::NonZero;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use crate::database::{Db, Place, Raw};
use life::Life;

/// Lives that are lived every day. `TIELINE_SIMULATION_SEEDS` says another number, `TIELINE_SIMULATION_FROM` where they
/// begin.
const SEEDS: u64 = 1_000;
/// Lives of the long tests.
const LONG: u64 = 20_000;
/// Of so many lives one has PostgreSQL.
const POSTGRES: u64 = 16;
/// A life takes half a second of work.
const LONGEST: Duration = Duration::from_secs(60);
/// Failures after which no other life begins.
const ENOUGH: usize = 3;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, and not {text}")))
}

/// A life that broke a promise.
struct Failure {
    life: Life,
    broken: String,
    log: Vec<String>,
}

/// The lives yet to be lived, and those that failed.
struct Lives {
    next: AtomicU64,
    end: u64,
    postgres: bool,
    failed: Mutex<Vec<Failure>>,
    stopped: AtomicBool,
}

#[test]
fn whatever_happens_the_database_equals_the_org() {
    if let Some(seed) = number("TIELINE_SEED") {
        let postgres = seed.is_multiple_of(POSTGRES);
        let failure = alone(|| async move {
            let mut db = None;
            once(&mut db, postgres, &Life::of(seed), true).await.err()
        });
        if let Some(Failure { broken, .. }) = failure {
            panic!("seed {seed}: {broken}");
        }
        return;
    }
    let usual = if std::env::var_os("TIELINE_TEST_LONG").is_some() { LONG } else { SEEDS };
    let (from, count) = (number("TIELINE_SIMULATION_FROM").unwrap_or(0), number("TIELINE_SIMULATION_SEEDS"));
    let end = from + count.unwrap_or(usual);
    // Lives wait more than they work: for the disk, and for the org.
    let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
    let begun = std::time::Instant::now();
    let lives = |postgres| Lives {
        next: AtomicU64::new(from),
        end,
        postgres,
        failed: Mutex::default(),
        stopped: AtomicBool::new(false),
    };
    let (few, many) = (lives(true), lives(false));
    std::thread::scope(|scope| {
        scope.spawn(|| work(&few));
        for _ in 0..cores * 2 {
            scope.spawn(|| work(&many));
        }
    });
    eprintln!("simulation: {} lives in {:.1?}", end - from, begun.elapsed());
    let failed = [few, many].map(|lives| lives.failed.into_inner().unwrap_or_else(PoisonError::into_inner));
    let failed: Vec<Failure> = failed.into_iter().flatten().collect();
    for failure in &failed {
        tell(failure);
    }
    let seeds: Vec<u64> = failed.iter().map(|failure| failure.life.seed).collect();
    assert!(failed.is_empty(), "{} of the lives {from} to {end} failed: {seeds:?}", failed.len());
}

/// Lives one life after the other, in one database.
fn work(lives: &Lives) {
    alone(|| async {
        let mut db = None;
        loop {
            let seed = lives.next.fetch_add(1, Ordering::Relaxed);
            if seed >= lives.end || lives.stopped.load(Ordering::Relaxed) {
                return;
            }
            if seed.is_multiple_of(POSTGRES) != lives.postgres {
                continue;
            }
            if let Err(failure) = once(&mut db, lives.postgres, &Life::of(seed), false).await {
                eprintln!("simulation: seed {seed}: {}", failure.broken);
                let mut failed = lives.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push(failure);
                lives.stopped.store(failed.len() >= ENOUGH, Ordering::Relaxed);
            }
        }
    });
}

/// A runtime of one thread: what waits for what is then nearly the same each time.
fn alone<F: Future>(work: impl FnOnce() -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work())
}

/// A file where there is no disk to wait for, if the system has such a place.
async fn sqlite() -> Db {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let place = Place::File(folder);
    let store = place.open().await;
    let raw = SqlitePoolOptions::new().max_connections(1);
    let raw = raw.connect_with(SqliteConnectOptions::new().filename(store.path().unwrap())).await.unwrap();
    Db { store, raw: Raw::Sqlite(raw), place }
}

/// Lives a life; a panic counts as a broken promise.
async fn once(db: &mut Option<Db>, postgres: bool, life: &Life, aloud: bool) -> Result<(), Failure> {
    let ready = match db.take() {
        Some(db) => db,
        None if postgres => match Db::postgres().await {
            Some(db) => db,
            None => sqlite().await,
        },
        None => sqlite().await,
    };
    let failure = |broken: String, log| Failure { life: life.clone(), broken, log };
    let lived = tokio::time::timeout(LONGEST, lived::live(ready, life, aloud));
    let lived =
        AssertUnwindSafe(lived.map(|lived| lived.unwrap_or_else(|_| Err(("it does not end".to_owned(), Vec::new())))));
    match lived.catch_unwind().await {
        Ok(Ok(used)) => {
            *db = Some(used);
            Ok(())
        }
        Ok(Err((broken, log))) => Err(failure(broken, log)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(failure(format!("panicked: {}", text.unwrap_or_default()), Vec::new()))
        }
    }
}

/// Prints what happened in a life, the least that still fails, and how to live it again.
fn tell(failure: &Failure) {
    let Failure { life, broken, log } = failure;
    eprintln!("\nseed {}: {broken}\n{}", life.seed, log.join("\n"));
    let least = alone(|| shorter::least(life));
    if least.acts.len() < life.acts.len() {
        eprintln!("\nseed {}: {} of its {} acts are enough:", life.seed, least.acts.len(), life.acts.len());
        least.acts.iter().for_each(|act| eprintln!("    {act:?}"));
    }
    let seed = life.seed;
    eprintln!(
        "\nto live it again: TIELINE_SEED={seed} cargo test -p tieline-sync --test it simulation -- --nocapture\n"
    );
}
