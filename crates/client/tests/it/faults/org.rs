//! The local org behind a wire that breaks: what it has done afterwards is what the client says.

use std::time::Duration;

use futures_util::TryStreamExt;
use serde_json::json;
use tieline_client::Record;

use crate::proxy::{Fault, Proxy};
use crate::server::{End, TOKEN};
use crate::world::World;

/// An org, a wire to it, and a client at its end that opens a new connection for each call.
async fn wired() -> (World, Proxy, tieline_client::Connection) {
    let world = World::new(0).await;
    let direct = world.connect(world.jwt());
    let token = direct.credentials().token().await.unwrap();
    let host = token.instance_url().as_str().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let proxy = Proxy::to(&host).await;
    let org = crate::server::connect_with(&proxy.url, token.access_token().expose());
    assert_ne!(token.access_token().expose(), TOKEN);
    (world, proxy, org)
}

async fn named(org: &tieline_client::Connection, name: &str) -> usize {
    let soql = format!("SELECT Id FROM Contact WHERE LastName = '{name}'");
    org.query::<Record>(&soql).try_collect::<Vec<_>>().await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn t30_a_create_whose_answer_is_cut_at_any_byte_was_carried_out_once() {
    let (_world, proxy, org) = wired().await;
    org.create("Contact", &json!({"LastName": "Whole"})).await.unwrap();
    let length = proxy.carried();
    assert!(length > 100);
    for end in [End::Close, End::Reset] {
        for at in (1..length).step_by(3) {
            let name = format!("{end:?}{at}");
            proxy.next(Fault::down(at, end));
            let error = org.create("Contact", &json!({"LastName": name})).await.unwrap_err();
            assert!(error.outcome_unknown(), "{at} {error}");
            assert_eq!(named(&org, &name).await, 1, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_is_cut_on_its_way_was_not_carried_out_twice() {
    let (_world, proxy, org) = wired().await;
    for end in [End::Close, End::Reset] {
        for at in (1..400).step_by(9) {
            let name = format!("Up{end:?}{at}");
            proxy.next(Fault::up(at, end));
            let outcome = org.create("Contact", &json!({"LastName": name})).await;
            let there = named(&org, &name).await;
            match outcome {
                Ok(_) => assert_eq!(there, 1, "{name}"),
                Err(error) => assert!(there == 0 || (there == 1 && error.outcome_unknown()), "{name} {there} {error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_writes_and_deletes_that_may_be_repeated_get_through_a_bad_wire() {
    let (_world, proxy, org) = wired().await;
    let id = org.create("Contact", &json!({"LastName": "Zero"})).await.unwrap();
    for (n, at) in (1..300).step_by(13).enumerate() {
        let name = format!("Bad{n}");
        proxy.next(Fault { latency: Duration::from_millis(1), ..Fault::down(at, End::Reset) });
        proxy.next(Fault::up(at, End::Reset));
        org.update("Contact", &id, &json!({"LastName": name})).await.unwrap();
        proxy.mend();
        proxy.next(Fault::down(at, End::Close));
        proxy.next(Fault::down(2 * at, End::Reset));
        assert_eq!(named(&org, &name).await, 1, "{name}");
        proxy.mend();
        let other = org.create("Contact", &json!({"LastName": "Gone"})).await.unwrap();
        proxy.next(Fault::down(at.min(60), End::Reset));
        org.delete("Contact", &other).await.unwrap();
        proxy.mend();
        assert_eq!(named(&org, "Gone").await, 0);
    }
}
