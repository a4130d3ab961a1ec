//! Keys change while everything runs, and nothing is lost when the change is killed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tieline_auth::SharedStore;
use tieline_auth::keyring::Keyring;
use tieline_auth::token_store::{Lease, Swap, Take};
use tieline_store::alerts::{ChannelKind, NewChannel};
use tieline_store::{Canary, Credentials, KeyUse, NewUser, Progress, Store, StoreError, Uuid};

use crate::database::{Db, KEY, Place, now, ring};

on_both!(
    s33_t43_master_keys_are_rotated_under_load_and_a_killed_rotation_goes_on,
    s33_t43_data_keys_are_renewed_under_load_and_a_killed_renewal_goes_on,
    a_key_goes_once_nothing_needs_it,
    several_nodes_rotate_at_once,
    a_login_that_waits_and_a_token_outlive_a_renewal,
    a_value_that_does_not_open_keeps_its_key,
    a_business_sees_what_its_data_keys_seal_and_no_others,
);

/// A key that no database was made with.
fn new_key() -> String {
    "cd".repeat(32)
}

/// The key that the database was made with.
fn old_key(place: &Place) -> String {
    match place {
        Place::File(folder) => std::fs::read_to_string(folder.path().join("t.db.key")).unwrap().trim().to_owned(),
        Place::Server(..) => KEY.to_owned(),
    }
}

async fn open(place: &Place, ring: Keyring) -> Result<Store, StoreError> {
    match place {
        Place::File(folder) => Store::open_with_ring(&folder.path().join("t.db"), ring).await,
        Place::Server(url, _) => Store::connect(url, ring).await,
    }
}

fn both(place: &Place) -> Keyring {
    ring(&format!("{},{}", new_key(), old_key(place)))
}

async fn fill(store: &Store, integrations: usize) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for n in 0..integrations {
        let credentials = Credentials::new(format!("{n}:0").into_bytes());
        ids.push(store.own().save_integration(&format!("org {n}"), &credentials, now()).await.unwrap());
    }
    ids
}

/// Readers and writers on two nodes. Each value is `number:version`, and a version that was written is never missed.
struct Load {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
    workers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(nodes: &[Store], ids: &[Uuid]) -> Self {
        let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut workers = Vec::new();
        for (n, &id) in ids.iter().enumerate() {
            let (writer, reader) = (nodes[n % nodes.len()].clone(), nodes[(n + 1) % nodes.len()].clone());
            let (stop, reads) = (stop.clone(), reads.clone());
            workers.push(tokio::spawn(async move {
                let integration = reader.own().integration(id).await.unwrap().unwrap();
                let tokens = [
                    writer.own().token_store(&integration).await.unwrap(),
                    reader.own().token_store(&integration).await.unwrap(),
                ];
                let mut version = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    version += 1;
                    let text = format!("{n}:{version}");
                    // Each node writes in turn, and the other reads. New credentials would end what holds the tokens.
                    if n % 2 == 0 {
                        token(&tokens[version as usize % 2], &tokens[(version as usize + 1) % 2], version, &text).await;
                        reader.own().open_credentials(id).await.unwrap().unwrap();
                    } else {
                        let credentials = Credentials::new(text.clone().into_bytes());
                        writer.own().save_integration(&format!("org {n}"), &credentials, now()).await.unwrap();
                        let opened = reader.own().open_credentials(id).await.unwrap().unwrap();
                        assert_eq!(opened.expose(), text.as_bytes(), "the credentials of {n}");
                    }
                    reads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }));
        }
        Self { stop, reads, workers }
    }

    async fn progress(&self) {
        let seen = self.reads.load(Ordering::Relaxed);
        while self.reads.load(Ordering::Relaxed) < seen + 3 && !self.workers.iter().any(|w| w.is_finished()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.await.unwrap();
        }
        assert!(self.reads.load(Ordering::Relaxed) > 20, "there was no load");
    }
}

/// Keeps a token through one node and reads it through the other.
async fn token(one: &SharedStore, other: &SharedStore, version: u64, text: &str) {
    let Lease::Held { fence } = one.store.lease("t", "w", Duration::from_secs(60), Take::ByForce).await.unwrap() else {
        panic!()
    };
    let sealed = one.key.seal(text.as_bytes(), "t").unwrap();
    assert_eq!(one.store.compare_and_swap("t", version - 1, fence, &sealed).await.unwrap(), Swap::Done(version));
    let entry = other.store.load("t").await.unwrap().unwrap();
    assert_eq!(entry.version, version);
    assert_eq!(&**other.key.open(&entry.sealed, "t").unwrap(), text.as_bytes());
}

/// What all calls have done together.
fn add(all: &mut Progress, step: Progress) -> bool {
    all.done += step.done;
    all.resealed += step.resealed;
    all.failed.extend(step.failed);
    (all.left, all.next) = (step.left, step.next);
    all.next.is_none()
}

async fn rewrap_all(store: &Store) -> Result<Progress, StoreError> {
    let mut all = Progress::default();
    loop {
        let step = store.rewrap_data_keys(all.next, 3).await?;
        if add(&mut all, step) {
            return Ok(all);
        }
    }
}

async fn renew_all(store: &Store, older_than: jiff::Timestamp) -> Result<Progress, StoreError> {
    let mut all = Progress::default();
    loop {
        let step = store.renew_data_keys(older_than, now(), all.next, 3).await?;
        if add(&mut all, step) {
            return Ok(all);
        }
    }
}

/// A moment after every data key that there is, and before every one to come.
async fn later() -> jiff::Timestamp {
    tokio::time::sleep(Duration::from_millis(3)).await;
    let (seconds, nanos) = Uuid::now_v7().get_timestamp().unwrap().to_unix();
    let now = jiff::Timestamp::new(i64::try_from(seconds).unwrap(), i32::try_from(nanos).unwrap()).unwrap();
    tokio::time::sleep(Duration::from_millis(3)).await;
    now
}

async fn usage(store: &Store) -> HashMap<String, KeyUse> {
    let keys = store.key_usage().await.unwrap();
    keys.into_iter().map(|key| (key.service.clone(), key)).collect()
}

async fn s33_t43_master_keys_are_rotated_under_load_and_a_killed_rotation_goes_on(db: Db) {
    let ids = fill(&db.store, 12).await;
    let (old, new) = (ring(&old_key(&db.place)), ring(&new_key()));
    let (old, new) = (old.primary().name(), new.primary().name());
    let nodes = [open(&db.place, both(&db.place)).await.unwrap(), open(&db.place, both(&db.place)).await.unwrap()];
    let load = Load::start(&nodes, &ids);
    load.progress().await;

    // Killed by the database in the middle of a batch.
    db.raw.failpoint("BEFORE UPDATE ON data_keys", &format!("NEW.owner_id = '{}'", ids[7])).await;
    let error = rewrap_all(&nodes[0]).await.unwrap_err();
    assert!(error.to_string().contains("failpoint"), "{error}");
    load.progress().await;
    db.raw.mend("data_keys").await;
    let counted = usage(&nodes[0]).await;
    assert!(counted[old].data_keys > 0 && counted[new].data_keys > 0, "half of it is done: {counted:?}");
    // Killed with its process, wherever it is.
    for micros in [50, 300, 900] {
        let _ = tokio::time::timeout(Duration::from_micros(micros), rewrap_all(&nodes[0])).await;
        load.progress().await;
    }
    let before = usage(&nodes[0]).await[old].data_keys;
    let rest = rewrap_all(&nodes[0]).await.unwrap();
    assert_eq!((rest.done, rest.left, rest.failed.len()), (before, 0, 0));
    load.progress().await;
    load.end().await;

    let counted = usage(&nodes[1]).await;
    assert_eq!((counted[old].data_keys, counted[new].data_keys), (0, ids.len() as u64));
    assert!(counted[new].primary && !counted[old].is_needed(), "{counted:?}");
    nodes[0].forget_key(old).await.unwrap();
    let alone = open(&db.place, ring(&new_key())).await.unwrap();
    for id in ids {
        alone.own().open_credentials(id).await.unwrap().unwrap();
    }
}

async fn s33_t43_data_keys_are_renewed_under_load_and_a_killed_renewal_goes_on(db: Db) {
    let ids = fill(&db.store, 8).await;
    let nodes = [open(&db.place, both(&db.place)).await.unwrap(), open(&db.place, both(&db.place)).await.unwrap()];
    let list = "SELECT CAST(id AS text) FROM data_keys ORDER BY id";
    let before = db.raw.texts(list).await;
    let load = Load::start(&nodes, &ids);
    load.progress().await;

    for failing in ["UPDATE OF credentials ON integrations", "INSERT ON data_keys", "DELETE ON data_keys"] {
        let table = failing.rsplit(' ').next().unwrap();
        let event = format!("BEFORE {failing}");
        // The credentials of an even one are written by nobody else.
        let when = match failing {
            "DELETE ON data_keys" => format!("OLD.owner_id = '{}'", ids[2]),
            "INSERT ON data_keys" => format!("NEW.owner_id = '{}'", ids[3]),
            _ => format!("NEW.id = '{}'", ids[4]),
        };
        db.raw.failpoint(&event, &when).await;
        let outcome = renew_all(&nodes[0], later().await).await;
        assert!(outcome.unwrap_err().to_string().contains("failpoint"), "{failing}");
        load.progress().await;
        db.raw.mend(table).await;
    }
    for micros in [200, 1000, 3000, 6000] {
        let since = later().await;
        let _ = tokio::time::timeout(Duration::from_micros(micros), renew_all(&nodes[0], since)).await;
        load.progress().await;
    }
    let since = jiff::Timestamp::UNIX_EPOCH;
    let half = db.raw.texts("SELECT CAST(id AS text) FROM data_keys WHERE retired_at IS NOT NULL").await;
    // Only what was begun is ended.
    let rest = renew_all(&nodes[1], since).await.unwrap();
    assert_eq!((rest.done, rest.left, rest.failed.len()), (half.len() as u64, 0, 0), "{half:?}");
    let last = renew_all(&nodes[0], later().await).await.unwrap();
    assert_eq!((last.done, last.failed.len()), (ids.len() as u64, 0));
    load.progress().await;
    load.end().await;

    let after = db.raw.texts(list).await;
    assert_eq!(after.len(), ids.len(), "one for each");
    assert!(before.iter().all(|id| !after.contains(id)), "the old ones are gone");
    let alone = open(&db.place, both(&db.place)).await.unwrap();
    for id in ids {
        alone.own().open_credentials(id).await.unwrap().unwrap();
    }
}

async fn a_key_goes_once_nothing_needs_it(db: Db) {
    let id = db.integration().await;
    let (old, new) = (ring(&old_key(&db.place)), ring(&new_key()));
    let (old, new) = (old.primary().name(), new.primary().name());
    let counted = usage(&db.store).await;
    assert_eq!((counted.len(), counted[old].data_keys, counted[old].canary.clone()), (1, 1, Canary::Opens));

    let node = open(&db.place, both(&db.place)).await.unwrap();
    let keys = node.key_usage().await.unwrap();
    assert_eq!(keys.iter().map(|key| key.service.as_str()).collect::<Vec<_>>(), [new, old]);
    assert!(keys[0].primary && keys[0].canary == Canary::Opens && keys[0].data_keys == 0, "{keys:?}");
    assert!(!keys[1].primary && keys[1].in_ring && keys[1].is_needed(), "{keys:?}");
    let error = node.forget_key(old).await.unwrap_err();
    assert!(error.to_string().contains("1 data keys are wrapped") && error.hint().contains("keys rotate"), "{error}");
    let error = node.forget_key(new).await.unwrap_err();
    assert!(error.to_string().contains("wraps new data keys"), "{error}");

    // A ring without the old key reaches nothing, says so, and breaks nothing.
    let poor = open(&db.place, ring(&new_key())).await.unwrap();
    let stuck = poor.rewrap_data_keys(None, 9).await.unwrap();
    assert_eq!((stuck.done, stuck.left, stuck.failed.len()), (0, 1, 1));
    assert!(stuck.failed[0].1.hint().contains(old), "{stuck:?}");
    let counted = usage(&poor).await;
    assert!(!counted[old].in_ring && counted[old].canary == Canary::Unchecked, "{counted:?}");

    assert_eq!(rewrap_all(&node).await.unwrap().done, 1);
    assert_eq!(rewrap_all(&node).await.unwrap().done, 0, "twice does no harm");
    // Who had the key at hand has the same one still.
    assert!(db.store.own().open_credentials(id).await.is_ok());
    node.forget_key(old).await.unwrap();
    assert_eq!(node.key_usage().await.unwrap()[1].canary, Canary::None);
    assert_eq!(poor.own().open_credentials(id).await.unwrap().unwrap().expose(), b"hidden-refresh-token");
}

async fn several_nodes_rotate_at_once(db: Db) {
    let ids = fill(&db.store, 10).await;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(open(&db.place, both(&db.place)).await.unwrap());
    }
    let all = futures_util::future::join_all(nodes.iter().map(rewrap_all)).await;
    let done: u64 = all.into_iter().map(|outcome| outcome.unwrap().done).sum();
    assert_eq!(done, 10, "each was changed once");
    let since = later().await;
    let renewed = futures_util::future::join_all(nodes.iter().map(|node| renew_all(node, since))).await;
    assert!(renewed.iter().all(|outcome| outcome.as_ref().is_ok_and(|all| all.failed.is_empty())), "{renewed:?}");
    renew_all(&nodes[0], jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    for (n, id) in ids.into_iter().enumerate() {
        let opened = nodes[n % 3].own().open_credentials(id).await.unwrap().unwrap();
        assert_eq!(opened.expose(), format!("{n}:0").as_bytes());
    }
    let keys = db.raw.texts("SELECT CAST(count(*) AS text) FROM data_keys").await;
    assert_eq!(keys, ["10"]);
}

async fn a_login_that_waits_and_a_token_outlive_a_renewal(db: Db) {
    let user = tieline_store::NewUser { email: "o@example.com", name: "O", password_hash: None };
    let user = db.store.set_up(&user, "own", "", now()).await.unwrap().unwrap();
    let member = db.store.membership(user.id, db.store.own().business()).await.unwrap().unwrap();
    let tenant = db.store.as_member(&member);
    let id = db.integration().await;
    let integration = tenant.integration(id).await.unwrap().unwrap();
    let (state, browser) = (tieline_store::Digest::of(b"state"), tieline_store::Digest::of(b"browser"));
    let login = tieline_store::NewLogin {
        integration: &integration,
        state,
        browser,
        secrets: b"hidden-verifier",
        login_url: "https://login.example.com",
        redirect_uri: "https://app.example.com/callback",
        return_to: "/",
        expires_at: "2100-01-01T00:00:00Z".parse().unwrap(),
    };
    tenant.begin_login(&login, now()).await.unwrap();
    let tokens = tenant.token_store(&integration).await.unwrap();
    let keep = async |version: u64, text: &[u8]| {
        let Lease::Held { fence } = tokens.store.lease("x", "me", Duration::from_secs(9), Take::IfFree).await.unwrap()
        else {
            panic!()
        };
        let sealed = tokens.key.seal(text, "x").unwrap();
        assert_eq!(tokens.store.compare_and_swap("x", version, fence, &sealed).await.unwrap(), Swap::Done(version + 1));
    };
    keep(0, b"first").await;
    let renewed = renew_all(&db.store, later().await).await.unwrap();
    assert_eq!((renewed.done, renewed.resealed), (1, 3), "credentials, token and login");
    // Through what was opened before.
    let entry = tokens.store.load("x").await.unwrap().unwrap();
    assert_eq!((entry.version, &**tokens.key.open(&entry.sealed, "x").unwrap()), (1, &b"first"[..]));
    keep(1, b"second").await;
    let again = tenant.integration(id).await.unwrap().unwrap();
    assert_eq!((again.generation, again.updated_at), (integration.generation, integration.updated_at));
    let taken = db.store.take_login(state, browser, user.id, now()).await.unwrap().unwrap();
    assert_eq!(&**taken.secrets, b"hidden-verifier");
}

async fn a_value_that_does_not_open_keeps_its_key(db: Db) {
    let ids = fill(&db.store, 3).await;
    // Another row's: bound to that one.
    let broken = format!(
        "UPDATE integrations SET credentials = (SELECT substr(credentials, 1, 40) FROM integrations WHERE id = '{0}') WHERE id = '{0}'",
        ids[1]
    );
    let kept = db.store.own().open_credentials(ids[1]).await.unwrap().unwrap();
    assert_eq!(kept.expose(), b"1:0");
    db.raw.run(&broken).await;
    let outcome = renew_all(&db.store, later().await).await.unwrap();
    assert_eq!((outcome.done, outcome.left > 0, outcome.failed.len()), (2, true, 1));
    assert!(matches!(&outcome.failed[0].1, StoreError::Sealed { .. }), "{outcome:?}");
    let retired = db.raw.texts("SELECT CAST(owner_id AS text) FROM data_keys WHERE retired_at IS NOT NULL").await;
    assert_eq!(retired, [ids[1].to_string()], "its key stays");
    for id in [ids[0], ids[2]] {
        db.store.own().open_credentials(id).await.unwrap().unwrap();
    }
    // Connected again, nothing needs it any more.
    db.store.own().save_integration("org 1", &Credentials::new(b"new".to_vec()), now()).await.unwrap();
    let outcome = renew_all(&db.store, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!((outcome.done, outcome.left), (1, 0));
}

async fn a_business_sees_what_its_data_keys_seal_and_no_others(db: Db) {
    let store = &db.store;
    let ids = fill(store, 2).await;
    let owner = NewUser { email: "a@example.com", name: "A", password_hash: None };
    let owner = store.set_up(&owner, "Acme", "192.0.2.7", now()).await.unwrap().unwrap();
    let other = store.create_business("Other", owner.id, "192.0.2.7", now()).await.unwrap();
    let other = store.as_member(&store.membership(owner.id, other).await.unwrap().unwrap());
    other.save_integration("theirs", &Credentials::new(b"x".to_vec()), now()).await.unwrap();
    let channel = NewChannel { name: "ops", kind: ChannelKind::Webhook, shown: "h", setting: b"{}" };
    store.own().create_alert_channel(&channel, 9, now()).await.unwrap().unwrap();

    let keys = store.own().data_keys().await.unwrap();
    let of = |owner: Uuid| keys.iter().filter(|key| key.owner == owner).map(|key| key.values).collect::<Vec<_>>();
    assert_eq!(keys.len(), 3, "{keys:?}");
    for id in &ids {
        assert_eq!(of(*id), [1], "{keys:?}");
    }
    assert_eq!(of(store.own().business()), [1], "the channel's setting is the business's own: {keys:?}");
    assert!(keys.iter().all(|key| key.service == store.primary_key() && !key.retired), "{keys:?}");
    assert_eq!(other.data_keys().await.unwrap().len(), 1);

    // After a renewal the new keys seal what the old ones did.
    let far = "2100-01-01T00:00:00Z".parse().unwrap();
    store.renew_data_keys(far, now(), None, 100).await.unwrap();
    let renewed = store.own().data_keys().await.unwrap();
    assert_eq!(renewed.iter().map(|key| key.values).sum::<u64>(), 3, "{renewed:?}");
    assert!(renewed.iter().all(|key| !keys.iter().any(|old| old.id == key.id)), "{renewed:?}");
}
