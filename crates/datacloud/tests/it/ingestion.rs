//! What is sent arrives, and what cannot be taken is told.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use serde_json::{Value, json};
use tieline_datacloud::DataCloud;
use tieline_datacloud::ingest::{BulkOptions, JobState, Operation};
use tieline_datacloud::metadata::ObjectKind;

use crate::world::World;

async fn count(cloud: &DataCloud) -> i64 {
    let mut rows = cloud.query(r#"SELECT COUNT(*) FROM "page_view_tieline_events__dll""#).run().await.unwrap();
    rows.next().await.unwrap().unwrap().column(0).as_primitive::<Int64Type>().value(0)
}

fn view(n: usize) -> Value {
    json!({"id": format!("v-{n}"), "at": "2026-11-28T12:00:00Z", "page": format!("/p/{n}, \"x\""), "seconds": n as f64})
}

#[tokio::test]
async fn rows_are_sent_checked_and_deleted_at_once() {
    let Some(world) = World::with_engine(5).await else { return };
    let cloud = world.cloud(&world.provider(world.jwt(), world.settings()));
    let target = cloud.ingest("tieline_events", "page_view");
    // More than one request.
    let rows: Vec<Value> = (0..5_000).map(view).collect();
    assert_eq!(target.send(&rows).await.unwrap(), 5_000);
    assert_eq!(target.send(&rows[..10]).await.unwrap(), 10, "the same keys again");
    assert_eq!(count(&cloud).await, 5_000);
    let ids: Vec<String> = (0..450).map(|n| format!("v-{n}")).collect();
    assert_eq!(target.delete(&ids).await.unwrap(), 450);
    assert_eq!(count(&cloud).await, 4_550);
    target.check(&[view(1)]).await.unwrap();
    let error = target.check(&[json!({"id": "v-1", "seconds": "many"})]).await.unwrap_err();
    assert!(error.to_string().contains("400"), "{error}");
    let error = cloud.ingest("tieline_events", "no_such").send(&[view(1)]).await.unwrap_err();
    assert!(error.to_string().contains("sending rows of tieline_events/no_such failed"), "{error}");
}

#[tokio::test]
async fn a_csv_is_sent_by_jobs_of_files() {
    let Some(world) = World::with_engine(5).await else { return };
    let cloud = world.cloud(&world.provider(world.jwt(), world.settings()));
    let target = cloud.ingest("tieline_events", "page_view");
    let mut csv = "id,at,page,seconds\r\n".to_owned();
    for n in 0..1_000 {
        csv.push_str(&format!("v-{n},2026-11-28T12:00:00Z,\"/p/{n},\n\"\"x\"\"\",{n}.5\r\n"));
    }
    let options = BulkOptions { file_bytes: 4_000, files: 8 };
    let mut told = Vec::new();
    // A connection that breaks in the middle.
    world.post("faults", json!({"path": "/api/v1/ingest/jobs/", "method": "PUT", "cut": 0, "nth": 3})).await;
    let patient = DataCloud::new(cloud.provider().clone()).unwrap();
    let target_patient = patient.ingest("tieline_events", "page_view");
    let jobs = target_patient.send_csv(Operation::Upsert, csv.as_bytes(), options, |_, n| told.push(n)).await.unwrap();
    assert!(jobs.len() > 1 && told.last() == Some(&1_000), "{} jobs", jobs.len());
    for job in &jobs {
        let job = wait(&world, &cloud, &job.id).await;
        assert_eq!(job, JobState::JobComplete);
    }
    assert_eq!(count(&cloud).await, 1_000);
    let mut rows = cloud.query(r#"SELECT "page__c" FROM "page_view_tieline_events__dll" WHERE "id__c" = ?"#);
    rows = rows.bind("v-7");
    let batch = rows.run().await.unwrap().next().await.unwrap().unwrap();
    assert_eq!(batch.column(0).as_string::<i32>().value(0), "/p/7,\n\"x\"");
    let ids = "v-1\nv-2\n";
    let jobs = target.send_csv(Operation::Delete, ids.as_bytes(), BulkOptions::default(), |_, _| ()).await.unwrap();
    assert_eq!(wait(&world, &cloud, &jobs[0].id).await, JobState::JobComplete);
    assert_eq!(count(&cloud).await, 998);
    // What does not fit the schema fails as a whole, later.
    let bad = "id,at,page,seconds\nv-9,yesterday,/,many\n";
    let jobs = target.send_csv(Operation::Upsert, bad.as_bytes(), BulkOptions::default(), |_, _| ()).await.unwrap();
    assert_eq!(wait(&world, &cloud, &jobs[0].id).await, JobState::Failed);
    // What cannot be cut leaves nothing behind.
    let cut_off = "id,at\nv-1,x\nv-2,\"never ends";
    let error =
        target.send_csv(Operation::Upsert, cut_off.as_bytes(), BulkOptions::default(), |_, _| ()).await.unwrap_err();
    assert!(error.to_string().contains("within a quoted field"), "{error}");
}

async fn wait(world: &World, cloud: &DataCloud, id: &str) -> JobState {
    for _ in 0..1_000 {
        let job = cloud.ingest_job(id).await.unwrap();
        if job.state.is_final() {
            return job.state;
        }
        world.put("clock", json!({"advance_seconds": 1})).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("job {id} never ends");
}

#[tokio::test]
async fn objects_are_listed_with_their_fields() {
    let Some(world) = World::with_engine(5).await else { return };
    let cloud = world.cloud(&world.provider(world.jwt(), world.settings()));
    let models = cloud.objects(Some(ObjectKind::DataModel), None).await.unwrap();
    let person = models.iter().find(|object| object.name == "ssot__Individual__dlm").unwrap();
    assert!(person.fields.iter().any(|field| field.name == "ssot__FirstName__c" && field.kind == "STRING"));
    assert!(models.iter().all(|object| object.name.ends_with("__dlm")));
    let lakes = cloud.objects(Some(ObjectKind::DataLake), None).await.unwrap();
    assert!(lakes.iter().any(|object| object.name == "WebEngagement__dll"));
    let one = cloud.objects(None, Some("ssot__Account__dlm")).await.unwrap();
    assert_eq!(one.len(), 1);
    assert!(cloud.objects(Some(ObjectKind::CalculatedInsight), None).await.unwrap().is_empty());
}
