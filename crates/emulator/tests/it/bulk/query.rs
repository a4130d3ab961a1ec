//! Jobs that read.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Bulk, V, error};

impl Bulk {
    /// A finished query job.
    async fn export(&self, soql: &str) -> Value {
        let created = self.post("/jobs/query", json!({"operation": "query", "query": soql})).await;
        assert_eq!(created.status, 200, "{}", created.text);
        self.finished(&format!("/jobs/query/{}", created.json()["id"].as_str().unwrap())).await
    }

    async fn page(&self, job: &Value, parameters: &str) -> Answer {
        self.read(&format!("/jobs/query/{}/results{parameters}", job["id"].as_str().unwrap())).await
    }
}

#[tokio::test]
async fn a_query_job_is_told_as_documented_and_writes_every_kind_of_value() {
    let org = Bulk::start().await;
    let create = json!({"object": "Contact", "operation": "insert"});
    org.ingest(create, "LastName,Title,Description,DoNotCall,Birthdate\nZ,NA,\"a \"\"b\"\",\n👩‍🚀\",true,2001-02-03\n")
        .await;
    let soql = "SELECT LastName, Account.Name, Owner.Profile.Name, Title, Description, DoNotCall, HasOptedOutOfEmail, Birthdate, SystemModstamp, Phone FROM Contact WHERE LastName = 'Z'";
    let created =
        org.post("/jobs/query", json!({"operation": "query", "query": soql, "contentType": "CSV"})).await.json();
    let keys: Vec<&str> = created.as_object().unwrap().keys().map(String::as_str).collect();
    let common = [
        "id",
        "operation",
        "object",
        "createdById",
        "createdDate",
        "systemModstamp",
        "state",
        "concurrencyMode",
        "contentType",
        "apiVersion",
        "lineEnding",
        "columnDelimiter",
    ];
    assert_eq!(keys, common);
    assert_eq!([&created["state"], &created["object"]], ["UploadComplete", "Contact"]);
    let job = org.finished(&format!("/jobs/query/{}", created["id"].as_str().unwrap())).await;
    assert_eq!(
        [
            &job["state"],
            &job["jobType"],
            &job["numberRecordsProcessed"],
            &job["retries"],
            &job["isPkChunkingSupported"]
        ],
        [&json!("JobComplete"), &json!("V2Query"), &json!(1), &json!(0), &json!(true)]
    );
    let page = org.page(&job, "").await;
    assert_eq!((page.header("sforce-locator"), page.header("sforce-numberofrecords")), ("null", "1"));
    let stamp = org.soql("SELECT SystemModstamp FROM Contact WHERE LastName = 'Z'").await[0]["SystemModstamp"]
        .as_str()
        .unwrap()
        .replace("+0000", "Z");
    assert_eq!(
        page.text,
        format!(
            "\"LastName\",\"Account.Name\",\"Owner.Profile.Name\",\"Title\",\"Description\",\"DoNotCall\",\"HasOptedOutOfEmail\",\"Birthdate\",\"SystemModstamp\",\"Phone\"\n\
             \"Z\",\"\",\"System Administrator\",\"NA\",\"a \"\"b\"\",\n👩‍🚀\",\"true\",\"false\",\"2001-02-03\",\"{stamp}\",\"\"\n"
        )
    );
    let none = org.export("SELECT Id FROM Contact WHERE LastName = 'nobody'").await;
    let page = org.page(&none, "").await;
    assert_eq!(
        (page.text.as_str(), page.header("sforce-locator"), page.header("sforce-numberofrecords")),
        ("\"Id\"\n", "null", "0")
    );
}

#[tokio::test]
async fn pages_hold_each_row_once() {
    let org = Bulk::start().await;
    org.limits(json!({"bulk_slice_rows": 7})).await;
    let csv = format!("Name\n{}", (0..23).map(|n| format!("P{n:02}\n")).collect::<String>());
    org.ingest(json!({"object": "Account", "operation": "insert"}), &csv).await;
    let job = org.export("SELECT Name FROM Account WHERE Name LIKE 'P__' ORDER BY Name").await;
    assert_eq!(job["numberRecordsProcessed"], 23);
    let expected: Vec<String> = (0..23).map(|n| format!("\"P{n:02}\"")).collect();
    let whole = org.page(&job, "").await;
    assert_eq!((whole.header("sforce-locator"), whole.header("sforce-numberofrecords")), ("null", "23"), "one page");
    assert_eq!(whole.text.lines().skip(1).collect::<Vec<_>>(), expected);
    for (limit, first, more) in [(None, "?maxRecords=10", "&maxRecords=10"), (Some(10), "", "")] {
        org.limits(json!({"bulk_page_rows": limit})).await;
        let (mut rows, mut sizes, mut parameters) = (Vec::new(), Vec::new(), first.to_owned());
        loop {
            let page = org.page(&job, &parameters).await;
            let mut lines = page.text.lines();
            assert_eq!(lines.next(), Some("\"Name\""), "a header on every page");
            rows.extend(lines.map(str::to_owned));
            sizes.push(page.header("sforce-numberofrecords").to_owned());
            match page.header("sforce-locator") {
                "null" => break,
                locator => parameters = format!("?locator={locator}{more}"),
            }
        }
        assert_eq!((rows, sizes.join(" ").as_str()), (expected.clone(), "10 10 3"));
    }
    for bad in ["?locator=!", "?locator=OTk", "?maxRecords=0"] {
        assert_eq!(org.page(&job, bad).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn parallel_results_name_five_pages_at_a_time() {
    let org = Bulk::start().await;
    let csv = format!("Name\n{}", (0..12).map(|n| format!("R{n:02}\n")).collect::<String>());
    org.ingest(json!({"object": "Account", "operation": "insert"}), &csv).await;
    let job = org.export("SELECT Name FROM Account WHERE Name LIKE 'R__'").await;
    let id = job["id"].as_str().unwrap();
    let mut url = format!("/jobs/query/{id}/resultPages?maxRecords=2");
    let (mut rows, mut counts) = (Vec::new(), Vec::new());
    loop {
        let pages = org.read(&url).await.json();
        for page in pages["resultPages"].as_array().unwrap() {
            let part = org.read(page["resultUrl"].as_str().unwrap().strip_prefix(V).unwrap()).await;
            rows.extend(part.text.lines().skip(1).map(str::to_owned));
        }
        counts.push(pages["resultPages"].as_array().unwrap().len());
        match pages["done"].as_bool().unwrap() {
            true => break assert_eq!(pages["nextRecordsUrl"], Value::Null),
            false => url = pages["nextRecordsUrl"].as_str().unwrap().strip_prefix(V).unwrap().to_owned(),
        }
    }
    rows.sort();
    assert_eq!((rows.len(), counts), (12, vec![5, 1]));
    rows.dedup();
    assert_eq!(rows.len(), 12);
    let whole = org.read(&format!("/jobs/query/{id}/resultpages")).await.json();
    assert_eq!((whole["resultPages"].as_array().unwrap().len(), &whole["done"]), (1, &json!(true)));
    let old = org.url(&format!("/services/data/v57.0/jobs/query/{id}/resultPages"));
    assert_eq!(Answer::of(org.http.get(old).bearer_auth(&org.emulator.info().access_token)).await.status, 404);
}

#[tokio::test]
async fn results_are_zipped_for_those_who_ask() {
    let org = Bulk::start().await;
    let csv =
        format!("Name,Description\n{}", (0..300).map(|n| format!("G{n},{}\n", "x".repeat(1_000))).collect::<String>());
    org.ingest(json!({"object": "Account", "operation": "insert"}), &csv).await;
    let job = org.export("SELECT Name, Description FROM Account WHERE Name LIKE 'G%'").await;
    let path = format!("/jobs/query/{}/results", job["id"].as_str().unwrap());
    let plain = Answer::of(org.call(Method::GET, &path).header("accept-encoding", "identity")).await;
    assert_eq!(plain.header("content-encoding"), "");
    assert!(plain.text.len() > 300_000);
    // reqwest asks for gzip and unpacks it, checksum and all.
    assert_eq!(org.read(&path).await.text, plain.text);
    let plain = reqwest::Client::builder().no_gzip().build().unwrap();
    let request = plain.get(org.url(&format!("{V}{path}"))).bearer_auth(&org.emulator.info().access_token);
    let raw = request.header("accept-encoding", "gzip, deflate").send().await.unwrap();
    assert_eq!(raw.headers()["content-encoding"], "gzip");
    assert_eq!(raw.bytes().await.unwrap()[..3], [0x1f, 0x8b, 8]);
}

#[tokio::test]
async fn queries_that_the_bulk_api_does_not_run_are_refused() {
    let org = Bulk::start().await;
    for (soql, code, message) in [
        (
            "SELECT Id, (SELECT Id FROM Contacts) FROM Account",
            "API_ERROR",
            "Aggregate Relationships not supported in Bulk Query",
        ),
        ("SELECT MailingAddress FROM Contact", "API_ERROR", "Selecting compound data not supported in Bulk Query"),
        (
            "SELECT COUNT(Id) FROM Contact",
            "API_ERROR",
            "Aggregate functions and GROUP BY are not supported in Bulk Query",
        ),
        (
            "SELECT LastName FROM Contact GROUP BY LastName",
            "API_ERROR",
            "Aggregate functions and GROUP BY are not supported in Bulk Query",
        ),
        ("SELECT Id FROM Contact LIMIT 1 OFFSET 1", "API_ERROR", "OFFSET is not supported in Bulk Query"),
        ("", "MALFORMED_QUERY", "A query string has to be specified"),
    ] {
        let refused = org.post("/jobs/query", json!({"operation": "query", "query": soql})).await;
        assert_eq!(refused.error(), error(400, code, message), "{soql}");
    }
    for (body, code) in [
        (json!({"operation": "query", "query": "SELECT Nope FROM Contact"}), "INVALID_FIELD"),
        (json!({"operation": "query", "query": "SELECT Id FROM Nope"}), "INVALID_TYPE"),
        (json!({"operation": "query", "query": "SELECT FROM"}), "MALFORMED_QUERY"),
        (json!({"operation": "insert", "query": "SELECT Id FROM Contact"}), "API_ERROR"),
        (json!({"operation": "query", "query": "SELECT Id FROM Contact", "lineEnding": "CR"}), "API_ERROR"),
    ] {
        let refused = org.post("/jobs/query", body.clone()).await.error();
        assert_eq!((refused.0, refused.1.as_str()), (400, code), "{body}");
    }
    let old = org.http.post(org.url("/services/data/v46.0/jobs/query")).bearer_auth(&org.emulator.info().access_token);
    let body = json!({"operation": "query", "query": "SELECT Id FROM Contact"});
    assert_eq!(Answer::of(old.json(&body)).await.status, 409);
}

#[tokio::test]
async fn query_jobs_are_aborted_failed_and_deleted() {
    let org = Bulk::start().await;
    org.limits(json!({"bulk_hold": "InProgress"})).await;
    let body = json!({"operation": "queryAll", "query": "SELECT Id FROM Contact"});
    let id = org.post("/jobs/query", body).await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/jobs/query/{id}");
    let refused = error(400, "API_ERROR", "Error encountered when deleting the job because the job is not terminated");
    assert_eq!(Answer::of(org.call(Method::DELETE, &path)).await.error(), refused);
    assert_eq!(org.state(&path, "Aborted").await.json()["state"], "Aborted");
    let refused = error(400, "INVALIDJOBSTATE", "Aborting already Aborted Job not allowed");
    assert_eq!(org.state(&path, "Aborted").await.error(), refused);
    assert_eq!(Answer::of(org.call(Method::DELETE, &path)).await.status, 204);
    assert_eq!(org.read(&path).await.error(), error(404, "NOT_FOUND", "The requested resource does not exist"));
    org.limits(json!({"bulk_hold": null, "bulk_fail_after_rows": 1})).await;
    let job = org.export("SELECT Id FROM Contact").await;
    assert_eq!([&job["state"], &job["numberRecordsProcessed"]], [&json!("Failed"), &json!(1)]);
    let refused = error(400, "INVALIDJOBSTATE", "Aborting already Completed Job not allowed");
    let done = org.export("SELECT Id FROM Contact").await;
    assert_eq!(org.state(&format!("/jobs/query/{}", done["id"].as_str().unwrap()), "Aborted").await.error(), refused);
}
