//! Tokens in the rows of their integration.

use std::time::Duration;

use tieline_auth::token_store::{Lease, Swap, Take, conformance};

use crate::database::Db;

on_both!(integration_tokens_keep_the_rules_of_a_token_store, s38_nothing_is_kept_once_access_is_revoked,);

async fn integration_tokens_keep_the_rules_of_a_token_store(db: Db) {
    let integration = db.integration().await;
    let tenant = db.store.own();
    let integration = tenant.integration(integration).await.unwrap().unwrap();
    let shared = tenant.token_store(&integration).await.unwrap();
    assert!(shared.store.is_durable());
    assert!(shared.store.describe().contains(&integration.id.to_string()));
    conformance::check(shared.store, |time| tokio::time::sleep(time)).await;
}

async fn s38_nothing_is_kept_once_access_is_revoked(db: Db) {
    let id = db.integration().await;
    let tenant = db.store.own();
    let before = tenant.token_store(&tenant.integration(id).await.unwrap().unwrap()).await.unwrap().store;
    let lease = before.lease("x", "me", Duration::from_secs(30), Take::IfFree).await.unwrap();
    let Lease::Held { fence } = lease else { panic!("{lease:?}") };
    db.raw.run(&format!("UPDATE integrations SET generation = generation + 1 WHERE id = '{id}'")).await;
    assert_eq!(before.compare_and_swap("x", 0, fence, b"late").await.unwrap(), Swap::Refused);
    assert_eq!(before.load("x").await.unwrap(), None);
    db.raw.run("DELETE FROM integration_tokens").await;
    let error = before.lease("x", "me", Duration::from_secs(30), Take::ByForce).await.unwrap_err();
    assert!(error.reason.contains("revoked"), "{error}");
    // Who connects anew begins anew, with the same numbers: the old one's still lead nowhere.
    let after = tenant.token_store(&tenant.integration(id).await.unwrap().unwrap()).await.unwrap().store;
    let Lease::Held { fence: again } = after.lease("x", "you", Duration::from_secs(30), Take::IfFree).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(again, fence);
    assert_eq!(before.compare_and_swap("x", 0, fence, b"late").await.unwrap(), Swap::Refused);
    assert_eq!(after.compare_and_swap("x", 0, again, b"new").await.unwrap(), Swap::Done(1));
}
