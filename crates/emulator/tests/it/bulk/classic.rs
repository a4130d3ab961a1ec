//! The first Bulk API.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Bulk};

const NAMESPACE: &str = "http://www.force.com/2009/06/asyncapi/dataload";

impl Bulk {
    async fn classic(&self, method: Method, path: &str, kind: &str, body: String) -> Answer {
        let token = &self.emulator.info().access_token;
        let request = self.http.request(method, self.url(&format!("/services/async/67.0/job{path}")));
        Answer::of(request.header("X-SFDC-Session", token).header("content-type", kind).body(body)).await
    }

    async fn batch_done(&self, path: &str) -> Answer {
        for _ in 0..5_000 {
            let answer = self.classic(Method::GET, path, "text/plain", String::new()).await;
            if !["Queued", "InProgress"].iter().any(|state| answer.text.contains(state)) {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("the batch is never done");
    }
}

fn within<'a>(text: &'a str, tag: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("<{tag}>")).unwrap_or_else(|| panic!("no {tag} in {text}"));
    rest.split('<').next().unwrap()
}

fn job_info(rest: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><jobInfo xmlns=\"{NAMESPACE}\">{rest}</jobInfo>")
}

#[tokio::test]
async fn csv_batches_are_written_and_answered_row_by_row() {
    let org = Bulk::start().await;
    let body = job_info("<operation>insert</operation><object>Contact</object><contentType>CSV</contentType>");
    let created = org.classic(Method::POST, "", "application/xml; charset=utf-8", body).await;
    assert_eq!(created.status, 201);
    assert!(created.text.contains(&format!("<jobInfo xmlns=\"{NAMESPACE}\"><id>750")), "{}", created.text);
    let tags: Vec<&str> = created
        .text
        .split('<')
        .filter_map(|part| part.split_once('>').map(|(tag, _)| tag))
        .filter(|tag| !tag.starts_with(['/', '?', 'j']))
        .collect();
    assert_eq!(
        tags.join(" "),
        "id operation object createdById createdDate systemModstamp state concurrencyMode contentType numberBatchesQueued \
         numberBatchesInProgress numberBatchesCompleted numberBatchesFailed numberBatchesTotal numberRecordsProcessed \
         numberRetries apiVersion numberRecordsFailed totalProcessingTime apiActiveProcessingTime apexProcessingTime"
    );
    assert!(within(&created.text, "createdDate").ends_with(".000Z"));
    assert_eq!([within(&created.text, "apiVersion"), within(&created.text, "state")], ["67.0", "Open"]);
    let job = within(&created.text, "id").to_owned();
    let batch = org
        .classic(Method::POST, &format!("/{job}/batch"), "text/csv", "LastName,Phone\r\nOne,1\r\n,2\r\n".into())
        .await;
    assert_eq!((batch.status, within(&batch.text, "jobId")), (201, job.as_str()));
    let id = within(&batch.text, "id").to_owned();
    assert!(id.starts_with("751"));
    let done = org.batch_done(&format!("/{job}/batch/{id}")).await;
    assert_eq!(
        ["state", "numberRecordsProcessed", "numberRecordsFailed"].map(|tag| within(&done.text, tag)),
        ["Completed", "2", "1"]
    );
    let result = org.classic(Method::GET, &format!("/{job}/batch/{id}/result"), "text/csv", String::new()).await;
    let one = org.soql("SELECT Id FROM Contact WHERE LastName = 'One'").await[0]["Id"].as_str().unwrap().to_owned();
    assert_eq!(
        (result.header("content-type"), result.text.as_str()),
        (
            "text/csv",
            format!(
                "\"Id\",\"Success\",\"Created\",\"Error\"\n\"{one}\",\"true\",\"true\",\"\"\n\"\",\"false\",\"false\",\"REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --\"\n"
            )
            .as_str()
        )
    );
    let list = org.classic(Method::GET, &format!("/{job}/batch"), "text/csv", String::new()).await;
    assert!(
        list.text.contains(&format!("<batchInfoList xmlns=\"{NAMESPACE}\"><batchInfo><id>{id}</id>")),
        "{}",
        list.text
    );
    let closed =
        org.classic(Method::POST, &format!("/{job}"), "application/xml", job_info("<state>Closed</state>")).await;
    assert_eq!(
        ["state", "numberBatchesCompleted", "numberRecordsProcessed"].map(|tag| within(&closed.text, tag)),
        ["Closed", "1", "2"]
    );
    let late = org.classic(Method::POST, &format!("/{job}/batch"), "text/csv", "LastName\nX\n".into()).await;
    assert_eq!((late.status, within(&late.text, "exceptionCode")), (400, "InvalidJobState"));
}

#[tokio::test]
async fn json_jobs_answer_in_json() {
    let org = Bulk::start().await;
    let body = json!({"operation": "upsert", "object": "Contact", "concurrencyMode": 1, "contentType": "JSON", "externalIdFieldName": "Email"});
    let created = org.classic(Method::POST, "", "application/json", body.to_string()).await;
    assert_eq!(created.status, 201);
    let told = created.json();
    let keys: Vec<&String> = told.as_object().unwrap().keys().collect();
    assert!(keys.is_sorted() && keys.len() == 22, "{keys:?}");
    assert_eq!([&told["concurrencyMode"], &told["apiVersion"]], [&json!("Serial"), &json!(67.0)]);
    assert!(told["createdDate"].as_str().unwrap().ends_with("+0000"));
    let job = told["id"].as_str().unwrap();
    let rows = json!([
        {"LastName": "J", "Email": "j@b.cd", "Owner": {"Username": "standard@local.tieline.test"}, "Phone": null, "DoNotCall": true},
        {"LastName": "K", "Email": "k@b.cd", "Nope": 1},
    ]);
    let batch = org.classic(Method::POST, &format!("/{job}/batch"), "application/json", rows.to_string()).await;
    let id = batch.json()["id"].as_str().unwrap().to_owned();
    let done = org.batch_done(&format!("/{job}/batch/{id}")).await.json();
    assert_eq!(
        [&done["state"], &done["numberRecordsProcessed"], &done["numberRecordsFailed"]],
        [&json!("Completed"), &json!(2), &json!(1)]
    );
    let result =
        org.classic(Method::GET, &format!("/{job}/batch/{id}/result"), "application/json", String::new()).await.json();
    let row = &org.soql("SELECT Id, Owner.Username, DoNotCall FROM Contact WHERE Email = 'j@b.cd'").await[0];
    assert_eq!((&row["Owner"]["Username"], &row["DoNotCall"]), (&json!("standard@local.tieline.test"), &json!(true)));
    assert_eq!(
        result,
        json!([
            {"success": true, "created": true, "id": row["Id"], "errors": []},
            {"success": false, "created": false, "id": null, "errors": [{
                "message": "Unexpected JsonMappingException: No such column 'Nope' on sobject of type Contact",
                "fields": [], "statusCode": "INVALID_FIELD", "extendedErrorDetails": null}]},
        ])
    );
    let request =
        org.classic(Method::GET, &format!("/{job}/batch/{id}/request"), "application/json", String::new()).await;
    assert_eq!(request.json(), rows);
    let list = org.classic(Method::GET, &format!("/{job}/batch"), "application/json", String::new()).await.json();
    assert_eq!(list["batchInfo"][0]["id"], json!(id));
    let listed = org.read("/jobs/ingest?jobType=Classic").await.json();
    assert_eq!((&listed["records"][0]["id"], &listed["records"][0]["jobType"]), (&json!(job), &json!("Classic")));
}

#[tokio::test]
async fn queries_have_results_of_their_own() {
    let org = Bulk::start().await;
    let body = job_info("<operation>query</operation><object>Contact</object><contentType>CSV</contentType>");
    let created = org.classic(Method::POST, "", "application/xml", body).await;
    let job = within(&created.text, "id").to_owned();
    for (soql, state) in [
        ("SELECT Id, Account.Name FROM Contact ORDER BY Id", "Completed"),
        ("SELECT MailingAddress FROM Contact", "Failed"),
    ] {
        let batch = org.classic(Method::POST, &format!("/{job}/batch"), "text/csv", soql.into()).await;
        let path = format!("/{job}/batch/{}", within(&batch.text, "id"));
        let done = org.batch_done(&path).await;
        assert_eq!(within(&done.text, "state"), state);
        if state == "Failed" {
            let message = "InvalidBatch : Failed to process query: FUNCTIONALITY_NOT_ENABLED: Selecting compound data not supported in Bulk Query";
            assert_eq!(within(&done.text, "stateMessage"), message);
            continue;
        }
        let list = org.classic(Method::GET, &format!("{path}/result"), "text/csv", String::new()).await;
        let result = within(&list.text, "result");
        assert!(list.text.contains(&format!("<result-list xmlns=\"{NAMESPACE}\"><result>752")), "{}", list.text);
        let rows = org.classic(Method::GET, &format!("{path}/result/{result}"), "text/csv", String::new()).await.text;
        assert_eq!((rows.lines().next(), rows.lines().count()), (Some("\"Id\",\"Account.Name\""), 4));
    }
    let body = json!({"operation": "queryAll", "object": "Contact", "contentType": "JSON"}).to_string();
    let job = org.classic(Method::POST, "", "application/json", body).await.json()["id"].as_str().unwrap().to_owned();
    let soql = "SELECT Id, Account.Name FROM Contact LIMIT 1".to_owned();
    let batch = org.classic(Method::POST, &format!("/{job}/batch"), "application/json", soql).await.json();
    let path = format!("/{job}/batch/{}", batch["id"].as_str().unwrap());
    org.batch_done(&path).await;
    let list = org.classic(Method::GET, &format!("{path}/result"), "application/json", String::new()).await.json();
    let path = format!("{path}/result/{}", list[0].as_str().unwrap());
    let rows = org.classic(Method::GET, &path, "application/json", String::new()).await.json();
    assert_eq!(rows[0]["attributes"]["type"], "Contact");
    assert_eq!(rows.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn refusals_are_in_the_language_of_the_request() {
    let org = Bulk::start().await;
    let url = org.url("/services/async/67.0/job");
    let dead = org.http.post(&url).header("X-SFDC-Session", "dead");
    let answer = Answer::of(dead.header("content-type", "application/xml").body("")).await;
    assert_eq!(
        (answer.status, answer.header("content-type"), answer.text.as_str()),
        (
            400,
            "application/xml",
            format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><error xmlns=\"{NAMESPACE}\"><exceptionCode>InvalidSessionId</exceptionCode><exceptionMessage>Invalid session id</exceptionMessage></error>").as_str()
        )
    );
    let dead = org.http.post(&url).header("X-SFDC-Session", "dead").json(&json!({}));
    let expected = json!({"exceptionCode": "InvalidSessionId", "exceptionMessage": "Invalid session id"});
    assert_eq!(Answer::of(dead).await.json(), expected);
    let body = json!({"operation": "insert", "object": "Nope", "contentType": "JSON"}).to_string();
    let refused = org.classic(Method::POST, "", "application/json", body).await;
    assert_eq!(
        (refused.status, refused.json()),
        (400, json!({"exceptionCode": "InvalidJob", "exceptionMessage": "Unable to find object: Nope"}))
    );
}

#[tokio::test]
async fn an_aborted_job_leaves_its_waiting_batches_alone() {
    let org = Bulk::start().await;
    org.limits(json!({"bulk_hold": "UploadComplete"})).await;
    let body = json!({"operation": "insert", "object": "Account", "contentType": "JSON"}).to_string();
    let job = org.classic(Method::POST, "", "application/json", body).await.json()["id"].as_str().unwrap().to_owned();
    let rows = json!([{"Name": "Never"}]).to_string();
    let batch = org.classic(Method::POST, &format!("/{job}/batch"), "application/json", rows).await.json();
    assert_eq!(batch["state"], "Queued");
    let aborted = org
        .classic(Method::POST, &format!("/{job}"), "application/json", json!({"state": "Aborted"}).to_string())
        .await;
    assert_eq!(aborted.json()["state"], "Aborted");
    org.limits(json!({"bulk_hold": null})).await;
    let done: Value = org.batch_done(&format!("/{job}/batch/{}", batch["id"].as_str().unwrap())).await.json();
    assert_eq!([&done["state"], &done["numberRecordsProcessed"]], [&json!("NotProcessed"), &json!(0)]);
    assert!(org.soql("SELECT Id FROM Account WHERE Name = 'Never'").await.is_empty());
}
