//! T12: deleted records are hidden from `query`, and may come back.

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn t12_delete_undelete_and_delete_again() {
    let world = World::new().await;
    let id = world.create("Phoenix").await;
    world.create("Stays").await;
    world.at(100).await;
    world.sync().await.unwrap();
    assert!(world.rows().await[&id].row.deleted.is_none());

    for (second, deleted) in [(200, true), (300, false), (400, true)] {
        world.at(second).await;
        if deleted {
            world.connection.delete("Contact", &id).await.unwrap();
        } else {
            world.control(reqwest::Method::POST, "records/undelete", json!({"id": id})).await;
        }
        world.at(second + 50).await;
        let report = world.sync().await.unwrap();
        let row = &world.rows().await[&id].row;
        assert_eq!(row.deleted.is_some(), deleted, "at {second}");
        assert_eq!(row.last_name.as_deref(), Some("Phoenix"), "a tombstone keeps what is known");
        assert_eq!((report.run.updated, report.run.deleted), (1, i64::from(deleted)));
        assert!(world.compare().await.is_equal());
    }
    assert_eq!(world.syncer.store.count_contacts().await.unwrap(), 1);
}
