//! What stands for the org's own code: Apex REST and actions.

use reqwest::Method;
use serde_json::json;

use crate::Org;

#[tokio::test]
async fn apex_rest_answers_what_was_set() {
    let org = Org::start().await;
    let handlers = json!([
        {"method": "POST", "path": "/echo/*", "status": 201, "headers": {"X-Made-By": "test"}, "echo": true},
        {"method": "GET", "path": "/ns/plain", "body": "text"},
        {"method": "GET", "path": "/fails", "status": 500,
            "body": [{"errorCode": "APEX_ERROR", "message": "System.DmlException: no"}]},
    ]);
    assert_eq!(org.put("apexrest", handlers).await, 204);
    let before = org.ledger().await["api_calls"].as_u64().unwrap();
    let sent = org
        .call_with(Method::POST, "/services/apexrest/echo/a%20b?x=1", Some(json!({"y": 2})), &[("x-own", "z")])
        .await;
    assert_eq!((sent.status, sent.headers["x-made-by"].to_str().unwrap()), (201, "test"));
    assert!(sent.headers.contains_key("sforce-limit-info"));
    assert_eq!(
        (&sent.body["method"], &sent.body["path"], &sent.body["query"], &sent.body["body"]),
        (&json!("POST"), &json!("/echo/a%20b"), &json!({"x": "1"}), &json!({"y": 2}))
    );
    assert_eq!(sent.body["headers"]["x-own"], json!("z"));
    assert!(sent.body["headers"].get("authorization").is_none());
    assert_eq!(org.get("/services/apexrest/ns/plain").await, (200, json!("text")));
    assert_eq!(org.get("/services/apexrest/fails").await.0, 500);
    let missing = json!([{"errorCode": "NOT_FOUND", "message": "Could not find a match for URL"}]);
    assert_eq!(org.get("/services/apexrest/nothing").await, (404, missing));
    let refused = org.call(Method::DELETE, "/services/apexrest/fails", None).await;
    assert_eq!((refused.status, refused.headers["allow"].to_str().unwrap()), (405, "GET"));
    assert_eq!(org.ledger().await["api_calls"], before + 5);
    let dead = org.http.get(org.url("/services/apexrest/ns/plain")).bearer_auth("dead").send().await.unwrap();
    assert_eq!(dead.status(), 401);
}

#[tokio::test]
async fn a_mail_is_written_into_the_ledger() {
    let org = Org::start().await;
    let path = "/actions/standard/emailSimple";
    let list = org.call(Method::GET, "/actions/standard", None).await;
    assert_eq!(list.body["actions"][0]["url"], json!(format!("/services/data/v67.0{path}")));
    let described = org.call(Method::GET, path, None).await;
    assert_eq!((&described.body["name"], &described.body["standard"]), (&json!("emailSimple"), &json!(true)));
    let mail = json!({"emailAddresses": "a@x.example", "emailSubject": "s", "emailBody": "b"});
    let sent = org.post(path, json!({"inputs": [mail]})).await;
    assert_eq!(sent.status, 200, "{}", sent.body);
    assert_eq!((&sent.body[0]["isSuccess"], &sent.body[0]["errors"]), (&json!(true), &json!(null)));
    let ledger = org.ledger().await;
    assert_eq!(ledger["emails"][0]["emailSubject"], json!("s"));
    let refused =
        org.post(path, json!({"inputs": [mail, {"emailSubject": "s", "emailAddresses": "a@x.example"}]})).await;
    assert_eq!(refused.status, 400);
    assert_eq!((&refused.body[0]["isSuccess"], &refused.body[1]["isSuccess"]), (&json!(true), &json!(false)));
    let error = &refused.body[1]["errors"][0];
    assert_eq!(error["message"], json!("Missing required input parameter: emailBody"));
    assert_eq!(org.call(Method::GET, "/actions/standard/chatterPost", None).await.status, 404);
}

#[tokio::test]
async fn custom_actions_answer_what_was_set() {
    let org = Org::start().await;
    let actions = json!([
        {"kind": "apex", "name": "Greet", "required": ["name"], "outputs": {"greeting": "hello"}, "echo": true},
        {"kind": "flow", "name": "Fails", "error": {"code": "FLOW_EXCEPTION", "message": "no"}},
    ]);
    assert_eq!(org.put("actions", actions).await, 204);
    let answer = org.post("/actions/custom/apex/Greet", json!({"inputs": [{"name": "x"}, {}]})).await;
    assert_eq!(answer.body[0]["outputValues"], json!({"greeting": "hello", "name": "x"}));
    assert_eq!(answer.body[1]["errors"][0]["statusCode"], json!("INVALID_API_INPUT"));
    let failed = org.post("/actions/custom/flow/Fails", json!({"inputs": [{}]})).await;
    let error = json!({"statusCode": "FLOW_EXCEPTION", "message": "no", "fields": []});
    assert_eq!((failed.status, &failed.body[0]["errors"]), (400, &json!([error])));
    let list = org.call(Method::GET, "/actions/custom/flow", None).await;
    assert_eq!(list.body["actions"][0]["name"], json!("Fails"));
    assert_eq!(org.post("/actions/custom/flow/Greet", json!({"inputs": []})).await.status, 404);
}
