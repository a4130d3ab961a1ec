//! Jobs that write: creation, upload, rows, results.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Bulk, error};

#[tokio::test]
async fn an_insert_tells_what_became_of_each_row() {
    let org = Bulk::start().await;
    let created = org.post("/jobs/ingest", json!({"object": "contact", "operation": "insert"})).await;
    assert_eq!(created.status, 200);
    let mut told = created.json();
    let id = told["id"].as_str().unwrap().to_owned();
    let admin = told["createdById"].as_str().unwrap().to_owned();
    assert!(id.starts_with("750") && admin.starts_with("005"));
    for key in ["createdDate", "systemModstamp"] {
        assert!(told[key].as_str().unwrap().ends_with(".000+0000"));
        told[key] = json!("now");
    }
    assert_eq!(
        told.to_string(),
        format!(
            r#"{{"id":"{id}","operation":"insert","object":"Contact","createdById":"{admin}","createdDate":"now","systemModstamp":"now","state":"Open","concurrencyMode":"Parallel","contentType":"CSV","apiVersion":67.0,"contentUrl":"services/data/v67.0/jobs/ingest/{id}/batches","lineEnding":"LF","columnDelimiter":"COMMA"}}"#
        )
    );
    let csv = "FirstName,LASTNAME,Email,Birthdate\nA,\" one \",a@b.cd,2000-01-02\n,,a@b.cd,\nB,\"say \"\"hi\"\"\nthere\",,\nC,three,nobody,\nD,four,,1/2/2000\n";
    assert_eq!(org.put(&id, csv).await.status, 201);
    org.state(&format!("/jobs/ingest/{id}"), "UploadComplete").await;
    let job = org.finished(&format!("/jobs/ingest/{id}")).await;
    assert_eq!(
        [&job["state"], &job["numberRecordsProcessed"], &job["numberRecordsFailed"], &job["jobType"], &job["retries"]],
        [&json!("JobComplete"), &json!(5), &json!(3), &json!("V2Ingest"), &json!(0)]
    );
    for key in ["totalProcessingTime", "apiActiveProcessingTime", "apexProcessingTime"] {
        assert!(job[key].is_u64(), "{key}");
    }
    let good = org.soql("SELECT Id, LastName FROM Contact WHERE FirstName IN ('A', 'B') ORDER BY FirstName").await;
    assert_eq!([&good[0]["LastName"], &good[1]["LastName"]], [" one ", "say \"hi\"\nthere"]);
    assert_eq!(
        org.results(&job, "successfulResults/").await,
        format!(
            "\"sf__Id\",\"sf__Created\",FirstName,LASTNAME,Email,Birthdate\n\"{}\",\"true\",\"A\",\" one \",\"a@b.cd\",\"2000-01-02\"\n\"{}\",\"true\",\"B\",\"say \"\"hi\"\"\nthere\",\"\",\"\"\n",
            good[0]["Id"].as_str().unwrap(),
            good[1]["Id"].as_str().unwrap()
        )
    );
    assert_eq!(
        org.results(&job, "failedResults").await,
        "\"sf__Id\",\"sf__Error\",FirstName,LASTNAME,Email,Birthdate\n\
         \"\",\"REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --\",\"\",\"\",\"a@b.cd\",\"\"\n\
         \"\",\"INVALID_EMAIL_ADDRESS:Email: invalid email address: nobody:Email --\",\"C\",\"three\",\"nobody\",\"\"\n\
         \"\",\"INVALID_FIELD:Failed to deserialize field at col 3. Due to, '1/2/2000' is not a valid value for the type xsd:date:Birthdate --\",\"D\",\"four\",\"\",\"1/2/2000\"\n"
    );
    for path in ["unprocessedrecords", "unprocessedRecords", "UNPROCESSEDRECORDS/"] {
        assert_eq!(org.results(&job, path).await, "FirstName,LASTNAME,Email,Birthdate\n", "{path}");
    }
}

#[tokio::test]
async fn updates_leave_empty_values_alone_and_empty_fields_that_say_so() {
    let org = Bulk::start().await;
    let rows = org.soql("SELECT Id FROM Contact ORDER BY Id LIMIT 2").await;
    let (one, two) = (rows[0]["Id"].as_str().unwrap(), rows[1]["Id"].as_str().unwrap());
    let csv = format!(
        "Id|Phone|Title|DoNotCall\r\n{one}|123|old|yes\r\n{}||#N/A|\r\n003000000000000AAA|1||\r\nx|1||\r\n001Em0000000001AAA|1||\r\n|1||\r\n",
        &two[..15]
    );
    let create = json!({"object": "Contact", "operation": "update", "columnDelimiter": "PIPE", "lineEnding": "CRLF"});
    let job = org.ingest(create.clone(), &csv).await;
    assert_eq!([&job["numberRecordsProcessed"], &job["numberRecordsFailed"]], [6, 4], "{job}");
    assert_eq!([&job["columnDelimiter"], &job["lineEnding"]], ["PIPE", "CRLF"]);
    let failed = org.results(&job, "failedResults").await;
    assert_eq!(
        failed,
        "\"sf__Id\"|\"sf__Error\"|Id|Phone|Title|DoNotCall\r\n\
         \"\"|\"INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--\"|\"003000000000000AAA\"|\"1\"|\"\"|\"\"\r\n\
         \"\"|\"MALFORMED_ID:Record ID: id value of incorrect type: x:Id --\"|\"x\"|\"1\"|\"\"|\"\"\r\n\
         \"\"|\"MALFORMED_ID:Record ID: id value of incorrect type: 001Em0000000001AAA:Id --\"|\"001Em0000000001AAA\"|\"1\"|\"\"|\"\"\r\n\
         \"\"|\"MISSING_ARGUMENT:Id not specified in an update call:Id --\"|\"\"|\"1\"|\"\"|\"\"\r\n"
    );
    let again = format!("Id|Phone|Title|DoNotCall\r\n{one}||#N/A|\r\n");
    org.ingest(create, &again).await;
    let row = &org.soql(&format!("SELECT Phone, Title, DoNotCall FROM Contact WHERE Id = '{one}'")).await[0];
    assert_eq!((&row["Phone"], &row["Title"], &row["DoNotCall"]), (&json!("123"), &Value::Null, &json!(true)));
}

#[tokio::test]
async fn upserts_make_what_is_missing_and_refuse_what_is_not_clear() {
    let org = Bulk::start().await;
    let create = json!({"object": "Contact", "operation": "upsert", "externalIdFieldName": "email"});
    let job = org.ingest(create.clone(), "Email,LastName\nu1@b.cd,One\nu2@b.cd,Two\n,None\n").await;
    assert_eq!(job["externalIdFieldName"], "Email");
    assert!(
        org.results(&job, "failedResults")
            .await
            .ends_with("\"MISSING_ARGUMENT:Email not specified:Email --\",\"\",\"None\"\n")
    );
    let job =
        org.ingest(create.clone(), "Email,LastName\nU1@b.cd,Changed\nu3@b.cd,Three\nu4@b.cd,a\nU4@B.cd,b\n").await;
    let successful = org.results(&job, "successfulResults").await;
    let created: Vec<&str> = successful.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(created, ["\"false\"", "\"true\""]);
    let failed = org.results(&job, "failedResults").await;
    assert_eq!(failed.matches("DUPLICATE_VALUE:Duplicate external id specified: u4@b.cd:Email --").count(), 2);
    let names = org.soql("SELECT LastName FROM Contact WHERE Email LIKE 'u_@b.cd' ORDER BY Email").await;
    assert_eq!(
        names.iter().map(|row| row["LastName"].as_str().unwrap()).collect::<Vec<_>>(),
        ["Changed", "Two", "Three"]
    );
    org.ingest(json!({"object": "Contact", "operation": "insert"}), "Email,LastName\nu1@b.cd,Twin\n").await;
    let job = org.ingest(create, "Email,LastName\nu1@b.cd,X\n").await;
    assert!(
        org.results(&job, "failedResults")
            .await
            .contains("\"DUPLICATE_EXTERNAL_ID:Email: more than one record found for external id field: [003")
    );
}

#[tokio::test]
async fn other_records_are_found_by_fields_of_theirs() {
    let org = Bulk::start().await;
    org.ingest(json!({"object": "Lead", "operation": "insert"}), "LastName,Company,Email\nL,C,lead@b.cd\n").await;
    let job = org
        .ingest(
            json!({"object": "Task", "operation": "insert"}),
            "Subject,Owner.Username,Lead:Who.Email\nfound,standard@local.tieline.test,lead@b.cd\nlost,nobody@x.yz,\n",
        )
        .await;
    assert_eq!([&job["numberRecordsProcessed"], &job["numberRecordsFailed"]], [2, 1], "{job}");
    assert!(org.results(&job, "failedResults").await.contains(
        "\"INVALID_FIELD:Foreign key external ID: nobody@x.yz not found for field Username in entity User:--\""
    ));
    let task = &org.soql("SELECT Owner.Username, WhoId FROM Task WHERE Subject = 'found'").await[0];
    assert_eq!(task["Owner"]["Username"], "standard@local.tieline.test");
    assert!(task["WhoId"].as_str().unwrap().starts_with("00Q"));
}

#[tokio::test]
async fn deletes_go_to_the_bin_and_hard_deletes_past_it() {
    let org = Bulk::start().await;
    let rows = org.soql("SELECT Id FROM Contact ORDER BY Id").await;
    let ids: Vec<&str> = rows.iter().map(|row| row["Id"].as_str().unwrap()).collect();
    let job = org.ingest(json!({"object": "Contact", "operation": "delete"}), &format!("Id\n{}\n", ids[0])).await;
    assert_eq!(
        org.results(&job, "successfulResults").await,
        format!("\"sf__Id\",\"sf__Created\",Id\n\"{0}\",\"false\",\"{0}\"\n", ids[0])
    );
    let again = format!("id\n{}\n{}\n{}\n", ids[0], ids[1], ids[1]);
    let job = org.ingest(json!({"object": "Contact", "operation": "delete"}), &again).await;
    let failed = org.results(&job, "failedResults").await;
    assert!(failed.contains("\"ENTITY_IS_DELETED:entity is deleted:--\""), "{failed}");
    assert_eq!(failed.matches(&format!("DUPLICATE_VALUE:Duplicate id specified: {}:--", ids[1])).count(), 2);
    let hard = json!({"object": "Contact", "operation": "hardDelete"});
    org.ingest(hard.clone(), &format!("Id\n{}\n", ids[1])).await;
    let left = Answer::of(org.call(Method::GET, "/queryAll").query(&[("q", "SELECT Id FROM Contact")])).await.json();
    assert_eq!(left["totalSize"], 2, "one in the bin, one alive, one gone");
    org.limits(json!({"bulk_hard_delete": false})).await;
    assert_eq!(
        org.post("/jobs/ingest", hard).await.error(),
        error(
            400,
            "FEATURENOTENABLED",
            "FeatureNotEnabled : hardDelete operation requires special user profile permission, please contact your system administrator"
        )
    );
}

#[tokio::test]
async fn jobs_that_make_no_sense_are_refused_as_recorded() {
    let org = Bulk::start().await;
    for (body, code, message) in [
        (json!({"object": "", "operation": "insert"}), "INVALIDJOB", "InvalidJob : Unable to find object: "),
        (
            json!({"object": "Account", "operation": ""}),
            "API_ERROR",
            "Invalid value: '' supplied for property: 'operation'",
        ),
        (
            json!({"object": "Account", "operation": "query"}),
            "API_ERROR",
            "Invalid value: 'query' supplied for property: 'operation'",
        ),
        (
            json!({"object": "Account", "operation": "insert", "contentType": "JSON"}),
            "API_ERROR",
            "Invalid value: 'JSON' supplied for property: 'contentType'",
        ),
        (
            json!({"object": "Account", "operation": "insert", "columnDelimiter": ","}),
            "API_ERROR",
            "Invalid value: ',' supplied for property: 'columnDelimiter'",
        ),
        (
            json!({"object": "Account", "operation": "upsert"}),
            "INVALIDJOB",
            "InvalidJob : External ID was blank for Account. An External ID must be specified for upsert.",
        ),
        (
            json!({"object": "Account", "operation": "upsert", "externalIdFieldName": "Phone"}),
            "INVALIDJOB",
            "InvalidJob : Field name provided, Phone does not match an External ID, Salesforce Id, or indexed field for Account",
        ),
        (
            json!({"object": "LoginHistory", "operation": "insert"}),
            "INVALIDENTITY",
            "InvalidEntity : Entity 'LoginHistory' is not supported by the Bulk API.",
        ),
    ] {
        assert_eq!(org.post("/jobs/ingest", body).await.error(), error(400, code, message));
    }
    let not_found = error(404, "NOT_FOUND", "The requested resource does not exist");
    for path in ["/jobs/ingest/750000000000000AAA", "/jobs/ingest/x", "/jobs/query/750000000000000AAA"] {
        assert_eq!(org.read(path).await.error(), not_found, "{path}");
    }
    let dead = org.http.get(org.url("/services/data/v67.0/jobs/ingest")).bearer_auth("dead");
    assert_eq!(Answer::of(dead).await.error(), error(401, "INVALID_SESSION_ID", "Session expired or invalid"));
}

#[tokio::test]
async fn an_upload_comes_once_and_only_to_an_open_job() {
    let org = Bulk::start().await;
    let create = json!({"object": "Account", "operation": "insert"});
    let id = org.post("/jobs/ingest", create.clone()).await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/jobs/ingest/{id}");
    assert_eq!(org.state(&path, "UploadComplete").await.error().1, "INVALIDJOBSTATE", "no data yet");
    let plain =
        org.call(Method::PUT, &format!("{path}/batches")).body("Name\nA\n").header("content-type", "text/plain");
    let message = "Content-Type header specified in HTTP request is not supported: text/plain";
    assert_eq!(Answer::of(plain).await.error(), error(415, "UNSUPPORTED_MEDIA_TYPE", message));
    org.limits(json!({"bulk_upload_bytes": 20})).await;
    assert_eq!(org.put(&id, "Name\n0123456789012345\n").await.status, 413);
    // In pieces of unknown number, as clients send files.
    let pieces = ["Name\n", "A\n", "B\n"].map(|piece| Ok::<_, std::io::Error>(piece.to_owned()));
    let streamed = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    assert_eq!(org.put(&id, streamed).await.status, 201, "the refused one does not count");
    assert_eq!(
        org.put(&id, "Name\nC\n").await.error(),
        error(
            400,
            "BULK_API_ERROR",
            &format!(
                "Found multiple contents for job: <{}>, please 'Close' / 'Abort' / 'Delete' the current Job then create a new Job and make sure you only do 'PUT' once on a given Job.",
                &id[..15]
            )
        )
    );
    let refused = error(400, "API_ERROR", "Error encountered when deleting the job because the job is not terminated");
    assert_eq!(Answer::of(org.call(Method::DELETE, &path)).await.error(), refused);
    org.state(&path, "UploadComplete").await;
    let job = org.finished(&path).await;
    assert_eq!([&job["numberRecordsProcessed"], &job["numberRecordsFailed"]], [2, 0], "{job}");
    assert_eq!(org.put(&id, "Name\nC\n").await.error().1, "INVALIDJOBSTATE");
    let refused = error(400, "INVALIDJOBSTATE", "Aborting already Completed Job not allowed");
    assert_eq!(org.state(&path, "Aborted").await.error(), refused);
    assert_eq!(Answer::of(org.call(Method::DELETE, &path)).await.status, 204);
    assert_eq!(org.read(&path).await.status, 404);
}

#[tokio::test]
async fn a_multipart_request_is_a_whole_job() {
    let org = Bulk::start().await;
    let json = reqwest::multipart::Part::text(r#"{"object":"Account","operation":"insert"}"#)
        .mime_str("application/json")
        .unwrap();
    let csv = reqwest::multipart::Part::text("Name\nBy parts\n").file_name("content").mime_str("text/csv").unwrap();
    let form = reqwest::multipart::Form::new().part("job", json).part("content", csv);
    let created = Answer::of(org.call(Method::POST, "/jobs/ingest").multipart(form)).await;
    assert_eq!((created.status, &created.json()["state"]), (200, &json!("UploadComplete")));
    let job = org.finished(&format!("/jobs/ingest/{}", created.json()["id"].as_str().unwrap())).await;
    assert_eq!(job["numberRecordsProcessed"], 1);
    assert_eq!(org.soql("SELECT Id FROM Account WHERE Name = 'By parts'").await.len(), 1);
}
