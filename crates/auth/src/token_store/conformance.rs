//! The rules of a token store as a suite: run it on every store, and on one that you write.

use std::sync::Arc;
use std::time::Duration;

use super::{Entry, Lease, Swap, Take, TokenStore};

const LONG: Duration = Duration::from_secs(30);

/// Checks the rules. `wait` lets time pass for the store's clock.
///
/// # Panics
/// When a rule is broken; the message names it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::sync::Arc;
/// use tieline_auth::token_store::{conformance, memory::MemoryStore};
/// conformance::check(Arc::new(MemoryStore::default()), |time| tokio::time::sleep(time)).await;
/// # }
/// ```
pub async fn check<W: Future<Output = ()>>(store: Arc<dyn TokenStore>, wait: impl Fn(Duration) -> W) {
    let store = &*store;
    values_have_versions(store).await;
    leases_have_one_owner(store).await;
    a_lease_ends(store, &wait).await;
    a_late_writer_is_refused(store, &wait).await;
    force_takes_a_lease(store).await;
}

async fn held(store: &dyn TokenStore, key: &str, owner: &str, time: Duration) -> u64 {
    match store.lease(key, owner, time, Take::IfFree).await.expect("lease") {
        Lease::Held { fence } => fence,
        busy => panic!("{owner} should get the lease on {key}, not {busy:?}"),
    }
}

async fn values_have_versions(store: &dyn TokenStore) {
    assert_eq!(store.load("values").await.expect("load"), None, "an unknown key has no value");
    let fence = held(store, "values", "a", LONG).await;
    assert_eq!(store.load("values").await.expect("load"), None, "a lease is no value");
    let swap = async |expected, sealed: &[u8]| {
        store.compare_and_swap("values", expected, fence, sealed).await.expect("compare and swap")
    };
    assert_eq!(swap(1, b"x").await, Swap::Refused, "nothing is there, so version 1 is not");
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(swap(0, &bytes).await, Swap::Done(1));
    assert_eq!(swap(0, b"x").await, Swap::Refused, "something is there");
    let entry = store.load("values").await.expect("load");
    assert_eq!(entry, Some(Entry { version: 1, sealed: bytes }), "bytes come back as they went");
    assert_eq!(swap(1, b"").await, Swap::Done(2));
    assert_eq!(store.load("values").await.expect("load"), Some(Entry { version: 2, sealed: Vec::new() }));
    assert_eq!(store.load("value").await.expect("load"), None, "keys do not run into each other");
}

async fn leases_have_one_owner(store: &dyn TokenStore) {
    let first = held(store, "owner", "a", LONG).await;
    assert_eq!(held(store, "owner", "a", LONG).await, first, "the owner gets more time under the same number");
    let Lease::Busy { remaining } = store.lease("owner", "b", LONG, Take::IfFree).await.expect("lease") else {
        panic!("a lease has one owner");
    };
    assert!(remaining <= LONG && remaining > LONG / 2, "{remaining:?}");
    store.release("owner", "b").await.expect("release");
    let again = store.lease("owner", "b", LONG, Take::IfFree).await.expect("lease");
    assert!(matches!(again, Lease::Busy { .. }), "only the owner can release");
    store.release("owner", "a").await.expect("release");
    assert!(held(store, "owner", "b", LONG).await > first, "numbers grow");
    held(store, "another", "a", LONG).await;
}

async fn a_lease_ends<W: Future<Output = ()>>(store: &dyn TokenStore, wait: &impl Fn(Duration) -> W) {
    let short = Duration::from_millis(60);
    let first = held(store, "ends", "a", short).await;
    wait(short * 2).await;
    assert!(held(store, "ends", "b", LONG).await > first);
}

async fn a_late_writer_is_refused<W: Future<Output = ()>>(store: &dyn TokenStore, wait: &impl Fn(Duration) -> W) {
    let short = Duration::from_millis(60);
    let late = held(store, "late", "a", short).await;
    wait(short * 2).await;
    // The lease is over, but nobody else has taken it: nothing can have been overtaken.
    assert_eq!(store.compare_and_swap("late", 0, late, b"a").await.expect("swap"), Swap::Done(1));
    let fence = held(store, "late", "b", LONG).await;
    let swap = store.compare_and_swap("late", 1, late, b"late").await.expect("swap");
    assert_eq!(swap, Swap::Refused, "a later lease was granted, even if it has written nothing yet");
    assert_eq!(store.compare_and_swap("late", 1, fence, b"b").await.expect("swap"), Swap::Done(2));
    store.release("late", "a").await.expect("release");
    assert_eq!(held(store, "late", "b", LONG).await, fence, "a late release takes nothing away");
}

async fn force_takes_a_lease(store: &dyn TokenStore) {
    let first = held(store, "force", "a", LONG).await;
    let Lease::Held { fence } = store.lease("force", "b", LONG, Take::ByForce).await.expect("lease") else {
        panic!("force gets it");
    };
    assert!(fence > first);
    assert_eq!(store.compare_and_swap("force", 0, first, b"a").await.expect("swap"), Swap::Refused);
    assert_eq!(store.compare_and_swap("force", 0, fence, b"b").await.expect("swap"), Swap::Done(1));
}
