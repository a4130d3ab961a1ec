//! The description of the API.

use serde_json::Value;

use crate::database::Db;
use crate::world::World;

#[tokio::test]
async fn the_api_describes_itself_as_3_1_and_on_a_page() {
    let world = World::new(Db::sqlite().await).await;
    let mut browser = world.browser();
    let (status, document) = browser.get("/openapi.json").await;
    assert_eq!(status, 200);
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 20, "{}", paths.len());
    let mut ids = Vec::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            let tag = &operation["tags"][0];
            assert!(document["tags"].as_array().unwrap().iter().any(|t| t["name"] == *tag), "{method} {path}: {tag}");
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an operationId stands twice");
    let (status, page) = browser.get("/docs").await;
    let page = page.as_str().map(str::to_owned).unwrap_or_default();
    assert_eq!(status, 200);
    for id in ids {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id} is not on the page");
    }
    assert_eq!(serde_json::from_str::<Value>(&tieline_server::router::openapi_json()).unwrap(), document);
    let (status, problem) = browser.get("/api/nothing").await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (404, Some("not_found")));
}
