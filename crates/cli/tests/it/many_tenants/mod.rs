//! Three workers on one PostgreSQL, of which one is killed or falls asleep every few seconds, and many businesses in whose orgs
//! something changes all the time: nothing is lost, nothing is done twice, and everybody has turns.

mod business;
mod history;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tieline_auth::keyring::Keyring;
use tieline_auth::{Clock, SystemClock};
use tieline_store::{NewUser, Store};
use tokio::sync::watch;

use self::business::Business;
use self::history::History;
use crate::nodes::{MASTER_KEY, Node, Plan};
use crate::servers::Postgres;
use crate::workers::signal;

const NODES: usize = 3;
/// Seconds: the shortest lease that a worker may be told.
const LEASE: u64 = 3;
/// The longest that something that is ready may wait. Behind it are what is due of all businesses at once, a third of the
/// nodes away, and a node that fell asleep while it held a business's turn.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(20);

/// Businesses, seconds between runs of people and of firms, and for how long nodes are killed.
fn size() -> (usize, u32, u32, Duration) {
    match std::env::var_os("TIELINE_TEST_LONG") {
        Some(_) => (20, 5, 4, Duration::from_secs(120)),
        None => (6, 3, 2, Duration::from_secs(12)),
    }
}

fn plan(database: &str, every: u32) -> Plan {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let variables = [("TIELINE_LOG", "error"), ("TIELINE_MASTER_KEY", MASTER_KEY)];
    let (lease, every) = (LEASE.to_string(), every.to_string());
    let arguments = ["worker", "--listen", &address, "--allow-loopback", "--every", &every, "--sync-lease", &lease];
    let arguments = arguments.into_iter().chain(["--database-url", database]).map(str::to_owned).collect();
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Plan { address, variables, arguments, within: Vec::new() }
}

/// Kills one node after the other, or has it sleep for longer than its lease, until it is over. How many of each.
fn harass(
    database: &Postgres,
    nodes: &mut [Node],
    plans: &[Plan],
    random: &mut fastrand::Rng,
    length: Duration,
) -> (usize, usize) {
    let (begun, mut kills, mut naps) = (Instant::now(), 0, 0);
    while begun.elapsed() < length {
        std::thread::sleep(Duration::from_millis(random.u64(1_200..2_500)));
        // One that is at work, if there is one: runs are short, and who is killed between them leaves nothing behind.
        let owner = database.sql("SELECT owner FROM sync_work WHERE owner IS NOT NULL LIMIT 1");
        let id = owner.split('-').next().unwrap_or_default();
        let at_work = nodes.iter().position(|node| node.id().to_string() == id);
        let of = at_work.unwrap_or_else(|| random.usize(0..nodes.len()));
        // The first is killed and the second sleeps, so that the shortest test has both.
        let sleeps = if kills + naps < 2 { kills == 1 } else { random.u8(0..10) < 4 };
        if sleeps {
            signal(&nodes[of], "STOP");
            std::thread::sleep(Duration::from_millis(LEASE * 1_000 + random.u64(500..2_000)));
            // It wakes in the middle of what others do meanwhile.
            signal(&nodes[of], "CONT");
            naps += 1;
        } else {
            nodes[of].kill();
            nodes[of] = plans[of].start();
            kills += 1;
        }
    }
    (kills, naps)
}

/// Asks for a run of everything until all have ended well; `now` is after the last change.
async fn caught_up(store: &Store, database: &Postgres) {
    let begun = Instant::now();
    loop {
        let mut tickets = store.request_all(SystemClock::default().now()).await.unwrap();
        while !tickets.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(90), "runs that nobody does: {tickets:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            tickets = store.unserved(&tickets).await.unwrap();
        }
        // One of them may have been in the hands of a node that was killed just then.
        let failed = database.sql("SELECT kind || ' ' || error FROM sync_work WHERE outcome <> 'done'");
        if failed.is_empty() {
            return;
        }
        eprintln!("once more, for {failed}");
    }
}

/// No tick comes any more, and what is under way ends: a run of a node that is stopped would say `running` until the next one.
fn quiet(database: &Postgres) {
    let begun = Instant::now();
    database.sql("UPDATE sync_work SET due_at = NULL, ready_at = CASE WHEN leased_until IS NOT NULL THEN ready_at END");
    while database.sql("SELECT count(*) FROM sync_work WHERE owner IS NOT NULL") != "0" {
        assert!(begun.elapsed() < Duration::from_secs(60), "a run does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn nodes_that_are_killed_lose_nothing_and_do_nothing_twice_for_any_tenant() {
    let Some(postgres) = Postgres::start() else { return };
    let seed = std::env::var("TIELINE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    let (count, every, firms_every, length) = size();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (store, businesses) = runtime.block_on(async {
        let ring = Keyring::from_spec(MASTER_KEY, |_| None).unwrap();
        let store = Store::connect(&postgres.url, ring).await.unwrap();
        let now = SystemClock::default().now();
        let owner = NewUser { email: "owner@example.com", name: "Ada", password_hash: None };
        let owner = store.set_up(&owner, "Own", "127.0.0.1", now).await.unwrap().unwrap().id;
        let making = (1..=count).map(|number| Business::new(&store, number, owner, firms_every, now));
        let businesses = futures_util::future::join_all(making).await;
        (store, businesses)
    });
    History::begin(&postgres);
    let plans = [(); NODES].map(|()| plan(&postgres.url, every));
    let mut nodes: Vec<Node> = plans.iter().map(Plan::start).collect();

    let (stop, stopped) = watch::channel(false);
    let mut changing = fastrand::Rng::with_seed(random.u64(..));
    let changed = runtime.spawn(async move {
        let (mut businesses, mut changes) = (businesses, 0_usize);
        while !*stopped.borrow() {
            let of = changing.usize(0..businesses.len());
            businesses[of].change(&mut changing).await;
            changes += 1;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        (businesses, changes)
    });
    let (kills, naps) = harass(&postgres, &mut nodes, &plans, &mut random, length);
    stop.send(true).unwrap();
    let (businesses, changes) = runtime.block_on(changed).unwrap();
    runtime.block_on(caught_up(&store, &postgres));
    let history = History::read(&postgres);
    quiet(&postgres);
    for node in nodes {
        let (status, _, _, stderr) = node.stop();
        assert!(status.success(), "{status}: {stderr}, TIELINE_TEST_SEED={seed}");
    }

    for business in &businesses {
        let differences = runtime.block_on(business.differences(&postgres));
        assert!(differences.is_empty(), "{}\nTIELINE_TEST_SEED={seed}", differences.join("\n"));
    }
    assert_eq!(postgres.sql("SELECT count(*) FROM runs WHERE state = 'running'"), "0", "TIELINE_TEST_SEED={seed}");
    assert_eq!(postgres.sql("SELECT count(*) FROM sync_work WHERE owner IS NOT NULL"), "0", "TIELINE_TEST_SEED={seed}");
    let (figures, wrong) = history.check(every.into());
    let longest = figures.turns.values().map(|(_, longest)| *longest).max().unwrap_or_default();
    let runs = figures.turns.values().map(|(runs, _)| *runs);
    let (fewest, most) = (runs.clone().min().unwrap_or(0), runs.max().unwrap_or(0));
    eprintln!(
        "{kills} kills, {naps} naps, {changes} changes; {} ticks, {} taken over, {} asked for, {} tried again, {} steps; \
         of a business {fewest} to {most} runs, the longest wait {:.1} s",
        figures.ticks,
        figures.taken_over,
        figures.requests,
        figures.retries,
        figures.steps,
        longest.as_secs_f64()
    );
    assert!(wrong.is_empty(), "{}\nTIELINE_TEST_SEED={seed}", wrong.join("\n"));
    assert!(businesses.iter().all(|business| figures.turns.contains_key(&business.id.to_string())));
    assert!(longest < LONGEST_WAIT && fewest * 3 > most, "TIELINE_TEST_SEED={seed}");
    assert!(kills > 0 && naps > 0, "TIELINE_TEST_SEED={seed}");
    // Of a few, none may have met a run: it ends within the time that killing takes.
    assert!(kills < 10 || figures.taken_over > 0, "no kill met a run: TIELINE_TEST_SEED={seed}");
    runtime.block_on(store.close());
}
