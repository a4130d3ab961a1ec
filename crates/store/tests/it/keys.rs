//! What is sealed opens in its place alone.

use tieline_store::{Credentials, StoreError};

use crate::database::{Db, Place, now};

on_both!(s34_t43_sealed_text_opens_in_its_row_alone, nothing_secret_is_in_the_database);

async fn s34_t43_sealed_text_opens_in_its_row_alone(db: Db) {
    let tenant = db.store.own();
    let first = db.integration().await;
    let opened = tenant.open_credentials(first).await.unwrap().unwrap();
    assert_eq!(opened.expose(), b"hidden-refresh-token");
    let second = tenant.save_integration("other", &Credentials::new(b"x".to_vec()), now()).await.unwrap();
    db.raw
        .run(&format!(
            "UPDATE integrations SET credentials = (SELECT credentials FROM integrations WHERE id = '{first}') WHERE id = '{second}'"
        ))
        .await;
    let refused = tenant.open_credentials(second).await;
    assert!(matches!(refused, Err(StoreError::Sealed { .. })), "moved to another row");

    // To another tenant's row, with its data key brought along.
    let user = tieline_store::NewUser { email: "o@example.com", name: "O", password_hash: None };
    let user = db.store.set_up(&user, "own", "", now()).await.unwrap().unwrap();
    let business = db.store.create_business("b", user.id, "", now()).await.unwrap();
    let other = db.store.as_member(&db.store.membership(user.id, business).await.unwrap().unwrap());
    let theirs = other.save_integration("acme", &Credentials::new(b"y".to_vec()), now()).await.unwrap();
    db.raw
        .run(&format!(
            "DELETE FROM data_keys WHERE owner_id = '{theirs}';
             UPDATE data_keys SET business_id = '{business}', owner_id = '{theirs}' WHERE owner_id = '{first}';
             UPDATE integrations SET credentials = (SELECT credentials FROM integrations WHERE id = '{first}') WHERE id = '{theirs}'"
        ))
        .await;
    let error = other.open_credentials(theirs).await.unwrap_err();
    assert!(matches!(error, StoreError::Keyring(_) | StoreError::Sealed { .. }), "{error}");
    assert!(!error.to_string().contains("hidden"), "{error}");
}

async fn nothing_secret_is_in_the_database(db: Db) {
    let integration = db.integration().await;
    let shared = db.store.own();
    let shared = shared.token_store(&shared.integration(integration).await.unwrap().unwrap()).await.unwrap();
    let sealed = shared.key.seal(b"hidden-access-token", "x").unwrap();
    let fence =
        shared.store.lease("x", "me", std::time::Duration::from_secs(9), tieline_auth::token_store::Take::IfFree).await;
    let tieline_auth::token_store::Lease::Held { fence } = fence.unwrap() else { panic!() };
    shared.store.compare_and_swap("x", 0, fence, &sealed).await.unwrap();
    db.store.close().await;
    let holds = |bytes: &[u8]| bytes.windows(7).any(|w| w == b"hidden-");
    match &db.place {
        Place::File(folder) => {
            for entry in std::fs::read_dir(folder.path()).unwrap() {
                assert!(!holds(&std::fs::read(entry.unwrap().path()).unwrap()));
            }
        }
        Place::Server(url, _) => {
            let program = std::path::Path::new(&std::env::var("TIELINE_TEST_POSTGRES").unwrap()).join("pg_dump");
            let dump = std::process::Command::new(program).args(["--inserts", url]).output().unwrap();
            assert!(dump.status.success() && dump.stdout.len() > 10_000);
            assert!(!holds(&dump.stdout));
        }
    }
}
