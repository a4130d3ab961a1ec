//! Behind a pooler that gives every transaction another connection.

use std::sync::Arc;

use tieline_auth::token_store::{TokenStore, conformance};
use tieline_store::object_tables::Rows;
use tieline_store::token_table::TokenTable;
use tieline_store::{Credentials, NewUser, Store};

use crate::database::{KEY, now, ring};
use crate::object_tables::{NAMES, checkpoint, mapped, named, written};
use crate::servers::{PgBouncer, Postgres};

#[tokio::test]
async fn nodes_behind_a_transaction_pooler_keep_businesses_apart() {
    let Some(server) = Postgres::start() else { return };
    let Some(pooler) = PgBouncer::start(&server) else { return };
    let url = format!("{}?pooler=transaction", pooler.url);
    let nodes = futures_util::future::join_all((0..4).map(|_| Store::connect(&url, ring(KEY)))).await;
    let nodes: Vec<Store> = nodes.into_iter().map(Result::unwrap).collect();
    let user = NewUser { email: "o@example.com", name: "O", password_hash: None };
    let owner = nodes[0].set_up(&user, "own", "", now()).await.unwrap().unwrap();
    let work = nodes.iter().enumerate().map(|(n, node)| async move {
        let business = node.create_business(&format!("b{n}"), owner.id, "", now()).await.unwrap();
        let tenant = node.as_member(&node.membership(owner.id, business).await.unwrap().unwrap());
        for round in 0..20 {
            let name = format!("i{round}");
            tenant.save_integration(&name, &Credentials::new(name.clone().into()), now()).await.unwrap();
            let all = tenant.integrations().await.unwrap();
            assert_eq!(all.len(), round + 1, "node {n} sees another business's rows, or misses its own");
            let last = tenant.open_credentials(all[round].id).await.unwrap().unwrap();
            assert_eq!(last.expose(), name.as_bytes());
        }
        // Thousands of rows go through a temporary table, which is gone with its transaction.
        let integration = tenant.integrations().await.unwrap()[0].id;
        let mapping = mapped(&tenant, integration, &format!("accounts{n}"), &NAMES).await;
        let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
        for round in 0..5 {
            let mut rows = Rows::new(1);
            (0..2_500).for_each(|id| named(&mut rows, &format!("{id:05}"), Some(round), &format!("{n} {round}")));
            let done = written(&tenant, &run, &mapping, rows, checkpoint(1)).await.unwrap();
            assert_eq!(done.inserted + done.updated, 2_500, "node {n}, round {round}");
        }
    });
    futures_util::future::join_all(work).await;
    assert_eq!(nodes[0].memberships(owner.id).await.unwrap().len(), 5);

    let tables = futures_util::future::join_all((0..4).map(|_| TokenTable::connect(&url))).await;
    let tables: Vec<TokenTable> = tables.into_iter().map(Result::unwrap).collect();
    let store: Arc<dyn TokenStore> = Arc::new(tables[0].clone());
    conformance::check(store, |time| tokio::time::sleep(time)).await;
    for node in nodes {
        node.close().await;
    }
}
