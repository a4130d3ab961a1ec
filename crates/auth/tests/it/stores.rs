//! The rules of a token store, on the stores of this crate; and what lies in a file at rest.

use std::sync::Arc;

use tieline_auth::sealing::MasterKey;
use tieline_auth::token_store::file::FileStore;
use tieline_auth::token_store::memory::MemoryStore;
use tieline_auth::token_store::{TokenStore, conformance};
use tieline_auth::{Settings, SharedStore};

use crate::world::{World, open, quick, text};

#[tokio::test]
async fn memory_and_file_keep_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let stores: [Arc<dyn TokenStore>; 2] =
        [Arc::new(MemoryStore::default()), Arc::new(FileStore::new(folder.path().join("tokens.json")))];
    for store in stores {
        conformance::check(store, tokio::time::sleep).await;
    }
}

#[tokio::test]
async fn a_file_at_rest_tells_nothing_and_is_its_owners_alone() {
    let world = World::rotating().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    let key = MasterKey::load_or_create(&folder.path().join("key")).unwrap();
    let with = |key: MasterKey| {
        let store: Arc<dyn TokenStore> = Arc::new(FileStore::new(&path));
        Settings { store: Some(SharedStore { store, key }), ..quick() }
    };
    let credentials = open(world.refresh(), with(key.clone()));
    let token = text(&credentials).await;
    let written = std::fs::read_to_string(&path).unwrap();
    for secret in [&token, &world.info().refresh_token, &world.info().client_secret, &world.info().client_id] {
        assert!(!written.contains(secret.as_str()), "{written}");
    }
    assert!(!written.contains("127.0.0.1"), "nor which org it is");
    #[cfg(unix)]
    for file in ["tokens.json", "tokens.json.lock", "key"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(text(&open(world.refresh(), with(key))).await, token, "the next process opens it");
    let other = MasterKey::load_or_create(&folder.path().join("other")).unwrap();
    let error = open(world.refresh(), with(other)).token().await.unwrap_err();
    assert!(error.to_string().contains("another master key") && error.hint().contains("TIELINE_MASTER_KEY_FILE"));
}

#[tokio::test]
async fn a_damaged_file_is_named_and_left_alone() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    std::fs::write(&path, "{\"format\":1,\"tok").unwrap();
    let key = MasterKey::load_or_create(&folder.path().join("key")).unwrap();
    let store: Arc<dyn TokenStore> = Arc::new(FileStore::new(&path));
    let settings = Settings { store: Some(SharedStore { store, key }), ..quick() };
    let error = open(world.refresh(), settings).token().await.unwrap_err();
    assert!(error.to_string().contains("tokens.json"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"format\":1,\"tok");
}
