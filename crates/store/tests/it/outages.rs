//! The key service goes away and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tieline_auth::ManualClock;
use tieline_auth::keyring::{CacheRules, DataKeyBytes, DataKeys, KeyService, KeyServiceError, Keyring, LocalKey};
use tieline_store::{Credentials, Store, StoreError};

use crate::database::{Db, Place, now};

on_both!(s32_without_the_key_service_keys_at_hand_serve_for_a_while_and_nothing_is_ever_plain);

/// A real key behind a connection that can be cut.
#[derive(Debug)]
struct Far {
    key: LocalKey,
    away: Arc<AtomicBool>,
}

impl Far {
    fn reached(&self, task: &'static str) -> Result<(), KeyServiceError> {
        match self.away.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(KeyServiceError {
                service: self.name().to_owned(),
                task,
                reason: "connection refused".to_owned(),
                passing: true,
                hint: "see that the key service can be reached".to_owned(),
            }),
        }
    }
}

impl KeyService for Far {
    fn name(&self) -> &str {
        "transit:far/away"
    }

    fn wrap<'a>(&'a self, key: &'a DataKeyBytes, context: &'a str) -> BoxFuture<'a, Result<Vec<u8>, KeyServiceError>> {
        Box::pin(async move {
            self.reached(KeyServiceError::WRAP)?;
            self.key.wrap(key, context).await
        })
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a [u8],
        context: &'a str,
    ) -> BoxFuture<'a, Result<DataKeyBytes, KeyServiceError>> {
        Box::pin(async move {
            self.reached(KeyServiceError::UNWRAP)?;
            self.key.unwrap(wrapped, context).await
        })
    }
}

async fn s32_without_the_key_service_keys_at_hand_serve_for_a_while_and_nothing_is_ever_plain(db: Db) {
    let away = Arc::new(AtomicBool::new(false));
    let clock = Arc::new(ManualClock::at(now()));
    let place = match &db.place {
        Place::File(folder) => folder.path().join("t.db").display().to_string(),
        Place::Server(url, _) => url.clone(),
    };
    let open = async || {
        let far: Arc<dyn KeyService> = Arc::new(Far { key: LocalKey::new(&[7; 32]).unwrap(), away: away.clone() });
        let ring = Arc::new(Keyring::new([far]).unwrap());
        Store::open_with_data_keys(&place, DataKeys::new(ring, clock.clone(), CacheRules::default())).await
    };
    let node = open().await.unwrap();
    let credentials = |text: &str| Credentials::new(text.as_bytes().to_vec());
    let known = node.own().save_integration("known", &credentials("hidden-1"), now()).await.unwrap();

    away.store(true, Ordering::SeqCst);
    for minutes in [0, 4, 10, 40] {
        clock.advance(Duration::from_secs(minutes * 60));
        let opened = node.own().open_credentials(known).await.unwrap().unwrap();
        assert_eq!(opened.expose(), b"hidden-1", "{minutes} minutes more");
    }
    // A key at hand seals too.
    node.own().save_integration("known", &credentials("hidden-2"), now()).await.unwrap();
    let error = node.own().save_integration("new", &credentials("hidden-3"), now()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Keyring(_)) && error.is_passing(), "{error}");
    assert!(error.to_string().contains("could not wrap a data key with the key transit:far/away"), "{error}");
    assert!(error.hint().contains("key service can be reached"), "{}", error.hint());
    assert!(node.own().integration_named("new").await.unwrap().is_none(), "nothing was kept");
    let error = node.rewrap_data_keys(None, 9).await;
    assert!(error.is_ok_and(|none| none.done == 0), "all is under it already");
    let error = node.renew_data_keys("2100-01-01T00:00:00Z".parse().unwrap(), now(), None, 9).await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    let error = open().await.unwrap_err();
    assert!(error.is_passing(), "a node that starts meanwhile says why it does not: {error}");

    // More than an hour after it was unwrapped.
    clock.advance(Duration::from_secs(10 * 60));
    let error = node.own().open_credentials(known).await.unwrap_err();
    assert!(error.is_passing() && !error.to_string().contains("hidden"), "{error}");

    away.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_secs(11));
    assert_eq!(node.own().open_credentials(known).await.unwrap().unwrap().expose(), b"hidden-2");
    node.own().save_integration("new", &credentials("hidden-3"), now()).await.unwrap();
    let sealed = "SELECT CAST(count(*) AS text) FROM integrations WHERE substr(credentials, 1, 1) =";
    let two = if db.is_sqlite() { "x'02'" } else { r"'\x02'" };
    assert_eq!(db.raw.texts(&format!("{sealed} {two}")).await, ["2"], "all are sealed with data keys");
}
