//! What a mapping's runs are as metrics.

use std::time::Duration;

use serde_json::json;
use tieline_server::telemetry::Metrics;

use super::{made, one};
use crate::connect::connect;
use crate::database::Db;
use crate::exposition::Exposition;
use crate::world::World;

#[tokio::test]
async fn figures_are_counted_by_object_and_lag_is_read_from_the_database() {
    let (metrics, recorder) = Metrics::new(None).unwrap();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let world = World::with_settings(Db::sqlite().await, 1, |settings| settings.metrics = Some(metrics)).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await["id"].as_str().unwrap().to_owned();
    let columns = json!(["LastName", {"field": "Phone", "transforms": [{"date": "%d.%m.%Y"}], "column": "day"}]);
    let definition = json!({"name": "people", "object": "Contact", "columns": columns});
    let id = made(&mut owner, &integration, definition).await;
    let read = async || {
        let answer = reqwest::get(format!("{}/metrics", world.nodes[0].url)).await.unwrap();
        Exposition::read(&answer.text().await.unwrap())
    };
    assert_eq!(read().await.get("tieline_sync_mappings{state=\"initial\"}"), 2.0, "with the contacts");
    world.nodes[0].service.run_all().await;
    world.clock.advance(Duration::from_secs(5_000));
    let after = read().await;
    // The contacts are of the same object.
    let runs =
        [one(&mut owner, &id).await["last_run"].clone(), one(&mut owner, &integration).await["last_run"].clone()];
    let of = |name: &str, more: &str| after.get(&format!("{name}{{object=\"Contact\"{more}}}"));
    for (name, more, figure) in [
        ("tieline_sync_rows_total", ",kind=\"read\"", "rows_read"),
        ("tieline_sync_rows_total", ",kind=\"inserted\"", "inserted"),
        ("tieline_sync_bytes_total", "", "bytes"),
        ("tieline_sync_api_calls_total", "", "api_calls"),
        ("tieline_sync_failed_cells_total", "", "failed_cells"),
    ] {
        assert_eq!(of(name, more), runs.iter().map(|run| run[figure].as_f64().unwrap()).sum::<f64>(), "{name}{more}");
        assert!(of(name, more) > 0.0, "{name}{more}");
    }
    assert_eq!(of("tieline_sync_run_seconds_count", ",state=\"success\""), 2.0);
    let lag = of("tieline_sync_lag_seconds", "");
    assert!((5_000.0..5_400.0).contains(&lag), "{lag}");
    assert!(of("tieline_sync_unverified_seconds", "") >= 5_000.0);
    assert_eq!(after.get("tieline_sync_lag_seconds{object=\"custom\"}"), 0.0);
    assert_eq!(after.get("tieline_sync_mappings{state=\"synced\"}"), 2.0);
    let told = include_str!("../../../../../docs/metrics.md");
    for name in after.kinds.keys() {
        assert!(told.matches(name.as_str()).count() >= 2, "docs/metrics.md does not have {name} with an alert");
    }
}
