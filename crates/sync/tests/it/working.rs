//! Workers of sync runs: who does what, what becomes of it, and how they stop.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tieline_auth::ManualClock;
use tieline_store::sync_work::{Claiming, Work, WorkItem};
use tieline_store::{Credentials, Store, Tenant, Uuid};
use tieline_sync::worker::{Ended, Job, Outcome, RunWork, Steps, Worker, WorkerSettings};
use tokio::sync::{Notify, watch};

use crate::world::start;

type Run = dyn Fn(Job, Arc<Steps>) -> BoxFuture<'static, Outcome> + Send + Sync;

/// Work as a test wants it.
struct Runner {
    run: Box<Run>,
    ended: Arc<Mutex<Vec<(Work, Ended)>>>,
}

impl RunWork for Runner {
    fn runs_mappings(&self) -> bool {
        true
    }

    async fn run(&self, job: &Job, steps: &Steps) -> Outcome {
        let told = Arc::new(Steps::default());
        let mut work = (self.run)(job.clone(), told.clone());
        // The test's steps are the worker's.
        let mut seen = 0;
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                () = tokio::time::sleep(Duration::from_millis(5)) => {
                    for _ in seen..told.count() {
                        steps.done();
                    }
                    seen = told.count();
                }
            }
        }
    }

    async fn ended(&self, job: &Job, ended: &Ended) {
        self.ended.lock().unwrap().push((job.work, ended.clone()));
    }
}

struct Bench {
    store: Store,
    tenant: Tenant,
    clock: Arc<ManualClock>,
    ended: Arc<Mutex<Vec<(Work, Ended)>>>,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// So many integrations, each with contacts that are due.
    async fn with(integrations: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("t.db")).await.unwrap();
        let tenant = store.own();
        for n in 0..integrations {
            tenant.save_integration(&format!("org {n}"), &Credentials::new(b"x".to_vec()), start()).await.unwrap();
        }
        let clock = Arc::new(ManualClock::at(start()));
        let bench = Self { store, tenant, clock, ended: Arc::default(), _folder: folder };
        bench.store.follow_integrations(Duration::from_secs(900), start()).await.unwrap();
        bench
    }

    fn worker(
        &self,
        change: impl FnOnce(&mut WorkerSettings),
        run: impl Fn(Job, Arc<Steps>) -> BoxFuture<'static, Outcome> + Send + Sync + 'static,
    ) -> Worker<Runner> {
        let mut settings = WorkerSettings { per_business: 99, ..WorkerSettings::new("tester") };
        change(&mut settings);
        let runner = Runner { run: Box::new(run), ended: self.ended.clone() };
        Worker::with_random(self.store.clone(), runner, self.clock.clone(), settings, || 1.0)
    }

    async fn work(&self) -> Vec<WorkItem> {
        self.tenant.sync_work().await.unwrap()
    }

    fn told(&self) -> Vec<Ended> {
        self.ended.lock().unwrap().iter().map(|(_, ended)| ended.clone()).collect()
    }
}

fn at(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

fn done() -> BoxFuture<'static, Outcome> {
    std::future::ready(Outcome::Done { next: None }).boxed()
}

/// A worker at work, and how it is stopped.
struct AtWork {
    stop: watch::Sender<bool>,
    nudge: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl AtWork {
    fn begin(worker: Worker<Runner>) -> Self {
        let (stop, stopping) = watch::channel(false);
        let nudge = Arc::new(Notify::new());
        let nudged = nudge.clone();
        let task = tokio::spawn(async move { worker.work(&nudged, stopping).await });
        Self { stop, nudge, task }
    }

    async fn stop(self) -> Duration {
        let asked = Instant::now();
        self.stop.send_replace(true);
        self.task.await.unwrap();
        asked.elapsed()
    }
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain: {what}");
}

#[tokio::test]
async fn what_a_run_says_is_what_becomes_of_the_work() {
    let bench = Bench::with(1).await;
    let outcomes = Arc::new(Mutex::new(Vec::<Outcome>::new()));
    let next = outcomes.clone();
    let worker = bench.worker(
        |_| {},
        move |_, _| {
            let outcome = next.lock().unwrap().remove(0);
            std::future::ready(outcome).boxed()
        },
    );
    let failed = |retry_at| Outcome::Failed { reason: "the org is away".to_owned(), retry_at };
    let mut now = 0;
    for (outcome, ready, failures) in [
        (Outcome::Done { next: None }, 900, 0),
        // Pauses: 60 seconds, then 120; then as the run said.
        (failed(None), 900 + 60, 1),
        (failed(None), 960 + 120, 2),
        (failed(Some(at(5_000))), 5_000, 3),
        (Outcome::PausedQuota { until: at(7_000) }, 7_000, 3),
        (Outcome::Done { next: Some(at(7_010)) }, 7_010, 0),
        (Outcome::Fenced, 7_200, 0),
    ] {
        bench.clock.advance(Duration::from_secs(
            (bench.work().await[0].ready_at.unwrap().as_second() - at(now).as_second()) as u64,
        ));
        now = bench.work().await[0].ready_at.unwrap().as_second() - start().as_second();
        outcomes.lock().unwrap().push(outcome.clone());
        worker.drain().await.unwrap();
        let work = &bench.work().await[0];
        assert!(work.owner.is_none() && work.leased_until.is_none());
        let is_at = work.ready_at.unwrap().as_second() - start().as_second();
        if outcome == Outcome::Fenced {
            assert!(is_at > now && work.outcome.as_deref() == Some("done"), "{work:?}");
        } else {
            assert_eq!((is_at, work.failures), (ready, failures), "{outcome:?}");
        }
        assert_eq!(bench.told().last(), Some(&Ended::Ran(outcome)));
    }
    bench.clock.advance(Duration::from_secs(9_000));
    outcomes.lock().unwrap().push(Outcome::Gone);
    worker.drain().await.unwrap();
    assert!(bench.work().await.is_empty(), "what is gone is no work");
}

#[tokio::test]
async fn a_run_that_panics_fails_and_the_others_go_on() {
    let bench = Bench::with(3).await;
    let first = bench.work().await[0].work;
    let worker = bench.worker(
        |_| {},
        move |job, _| {
            async move {
                assert!(job.work != first, "a bug in a run");
                Outcome::Done { next: None }
            }
            .boxed()
        },
    );
    worker.drain().await.unwrap();
    let work = bench.work().await;
    let outcomes: Vec<_> = work.iter().map(|item| (item.work == first, item.outcome.clone().unwrap())).collect();
    assert_eq!(
        outcomes.iter().filter(|(is_first, outcome)| *is_first == (outcome == "failed")).count(),
        3,
        "{outcomes:?}"
    );
    let failed = work.iter().find(|item| item.work == first).unwrap();
    assert_eq!(
        (failed.ready_at, failed.error.as_deref().unwrap().starts_with("the run panicked")),
        (Some(at(60)), true)
    );
}

#[tokio::test]
async fn a_node_has_no_more_runs_than_it_may() {
    let bench = Bench::with(9).await;
    let (active, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, peak) = (active.clone(), most.clone());
    let worker = bench.worker(
        |settings| settings.at_once = 3,
        move |_, _| {
            let (running, peak) = (running.clone(), peak.clone());
            async move {
                peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(30)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Outcome::Done { next: None }
            }
            .boxed()
        },
    );
    worker.drain().await.unwrap();
    assert_eq!((most.load(Ordering::SeqCst), bench.told().len()), (3, 9));
}

#[tokio::test]
async fn t38_a_worker_that_lost_its_lease_ends_its_run_and_notes_nothing() {
    let bench = Bench::with(1).await;
    let begun = Arc::new(AtomicUsize::new(0));
    let runs = begun.clone();
    let worker = bench.worker(
        |settings| settings.lease = Duration::from_secs(1),
        move |_, _| {
            runs.fetch_add(1, Ordering::SeqCst);
            std::future::pending().boxed()
        },
    );
    let at_work = AtWork::begin(worker);
    until("the run begins", async || begun.load(Ordering::SeqCst) == 1).await;
    // As long as it lives, the lease is prolonged: by its own clock.
    bench.clock.advance(Duration::from_millis(900));
    until("the lease is longer", async || {
        bench.work().await[0].leased_until == Some(at(1) + Duration::from_millis(900))
    })
    .await;
    let claiming = Claiming {
        owner: "another".to_owned(),
        mappings: true,
        per_business: 9,
        every: Duration::from_secs(900),
        lease: Duration::from_secs(60),
    };
    let taken = bench.store.claim_work(&claiming, at(2)).await.unwrap().expect("for the other the lease has ended");
    until("the run is told", async || bench.told() == [Ended::TakenOver]).await;
    let work = &bench.work().await[0];
    assert_eq!((work.owner.as_deref(), work.outcome.as_deref()), (Some("another"), None));
    assert!(taken.prolong(at(3)).await.unwrap());
    assert!(at_work.stop().await < Duration::from_secs(1));
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_worker_that_is_stopped_ends_the_step_and_gives_the_rest_back() {
    let bench = Bench::with(2).await;
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let hangs = bench.work().await[1].work;
    let worker = bench.worker(
        |_| {},
        move |job, steps| {
            let count = count.clone();
            async move {
                if job.work == hangs {
                    std::future::pending::<()>().await;
                }
                loop {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                    count.fetch_add(1, Ordering::SeqCst);
                    steps.done();
                }
            }
            .boxed()
        },
    );
    let at_work = AtWork::begin(worker);
    until("a step is done", async || written.load(Ordering::SeqCst) == 1).await;
    let asked = bench.tenant.request_sync(None, at(0)).await.unwrap();
    let took = at_work.stop().await;
    assert!(
        took > Duration::from_secs(2) && took < Duration::from_secs(5),
        "the step that hangs has its time: {took:?}"
    );
    assert_eq!(written.load(Ordering::SeqCst), 2, "the step under way, and no other");
    assert_eq!(bench.told(), [Ended::GivenBack, Ended::GivenBack]);
    let work = bench.work().await;
    assert!(
        work.iter().all(|item| item.owner.is_none() && item.ready_at == Some(at(0)) && item.failures == 0),
        "{work:?}"
    );
    assert_eq!(bench.store.unserved(&asked).await.unwrap().len(), 2);
    // The next one has it at once.
    bench.worker(|_| {}, |_, _| done()).drain().await.unwrap();
    assert!(bench.store.unserved(&asked).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_worker_finds_what_is_new_and_hears_of_requests() {
    let bench = Bench::with(0).await;
    let runs = Arc::new(Mutex::new(Vec::<Uuid>::new()));
    let seen = runs.clone();
    let worker = bench.worker(
        |_| {},
        move |job, _| {
            seen.lock().unwrap().push(job.work.id());
            done()
        },
    );
    let id = bench.tenant.save_integration("org", &Credentials::new(b"x".to_vec()), start()).await.unwrap();
    let at_work = AtWork::begin(worker);
    until("the new integration is synced", async || *runs.lock().unwrap() == [id]).await;
    bench.tenant.request_sync(Some(Work::Contacts { integration: id }), at(0)).await.unwrap();
    at_work.nudge.notify_one();
    until("the request is served", async || runs.lock().unwrap().len() == 2).await;
    bench.clock.advance(Duration::from_secs(900));
    until("the tick is taken, without a word from anybody", async || runs.lock().unwrap().len() == 3).await;
    at_work.stop().await;
}

/// Waiting for the org's Bulk job takes as long as the job, and each look at it is a step.
#[tokio::test]
async fn a_run_that_shows_signs_of_life_is_kept_and_one_that_hangs_is_given_up() {
    let bench = Bench::with(2).await;
    let hangs = bench.work().await[1].work;
    let worker = bench.worker(
        |settings| (settings.lease, settings.hangs) = (Duration::from_secs(1), Duration::from_secs(2)),
        move |job, steps| {
            async move {
                if job.work == hangs {
                    std::future::pending::<()>().await;
                }
                // Longer than a run that hangs has, by far.
                for _ in 0..10 {
                    tokio::time::sleep(Duration::from_millis(600)).await;
                    steps.done();
                }
                Outcome::Done { next: None }
            }
            .boxed()
        },
    );
    worker.drain().await.unwrap();
    let work = bench.work().await;
    let one = |is_hanging: bool| work.iter().find(|item| (item.work == hangs) == is_hanging).unwrap();
    assert_eq!(one(false).outcome.as_deref(), Some("done"));
    let error = one(true).error.as_deref().unwrap();
    assert!(error.starts_with("it has not moved for 2"), "{error}");
}
