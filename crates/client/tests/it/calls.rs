//! Refusal, retry, pages and records.

use futures_util::TryStreamExt;
use serde_json::json;
use tieline_client::{ClientError, Record, Request};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn t28_fifty_calls_with_a_dead_token_make_one_refresh_and_are_replayed_once() {
    let world = World::new(1).await;
    let connection = world.connect(world.refresh());
    connection.limits().await.unwrap();
    world.revoke_all().await;
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.limits().await.map(drop) })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(world.token_requests().await, 2, "the first login and one refresh");
    assert!(connection.api_calls() <= 101, "{}", connection.api_calls());
}

#[tokio::test]
async fn a_refusal_that_no_token_cures_is_not_tried_again() {
    let world = World::new(0).await;
    let connection = world.connect(world.refresh());
    for (status, code, message, calls, logins) in [
        (401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API", 1, 1),
        (401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE", 1, 0),
        (403, "API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization", 1, 0),
        (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", 1, 0),
    ] {
        let (before_calls, before_logins) = (connection.api_calls(), world.token_requests().await);
        let body = json!([{"errorCode": code, "message": message}]);
        world.post("faults", json!({"path": "/services/data", "times": 1, "status": status, "body": body})).await;
        let error = connection.limits().await.unwrap_err();
        assert_eq!(error.salesforce_code(), Some(code), "{error}");
        assert_eq!(connection.api_calls() - before_calls, calls, "{code}");
        assert_eq!(world.token_requests().await - before_logins, logins, "{code}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_again_and_again_ends_after_one_replay() {
    let world = World::new(0).await;
    let connection = world.connect(world.refresh());
    let body = json!([{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]);
    world.post("faults", json!({"path": "/services/data", "times": 0, "status": 401, "body": body})).await;
    let error = connection.limits().await.unwrap_err();
    assert!(error.needs_person(), "{error}");
    assert_eq!((connection.api_calls(), world.token_requests().await), (2, 2));
}

#[tokio::test]
async fn what_may_have_happened_is_not_repeated_and_what_cannot_have_is() {
    let world = World::new(0).await;
    let connection = world.connect(world.refresh());
    // The org carries the create out, and the answer is lost.
    world.post("faults", json!({"path": "/services/data", "method": "POST", "cut": 3})).await;
    let error = connection.create("Contact", &json!({"LastName": "Once"})).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { outcome_unknown: true, .. }), "{error}");
    assert!(error.hint().contains("look before repeating"), "{}", error.hint());
    let found: Vec<Record> =
        connection.query("SELECT Id FROM Contact WHERE LastName = 'Once'").try_collect().await.unwrap();
    assert_eq!(found.len(), 1);
    // 503 may come after the work was done, so a create is not repeated; 429 is refused work.
    for (status, ok) in [(503, false), (429, true)] {
        world.post("faults", json!({"path": "/services/data", "method": "POST", "status": status})).await;
        assert_eq!(connection.create("Contact", &json!({"LastName": "Twice"})).await.is_ok(), ok, "{status}");
    }
    // Reads are repeated, up to the number of attempts.
    world.post("faults", json!({"path": "/services/data", "method": "GET", "times": 3, "status": 503})).await;
    connection.limits().await.unwrap();
    world.post("faults", json!({"path": "/services/data", "method": "GET", "times": 9, "status": 503})).await;
    assert!(connection.limits().await.unwrap_err().is_transient());
}

#[tokio::test]
async fn a_query_streams_all_its_pages_typed_and_untyped() {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Person {
        id: String,
        last_name: String,
        email: Option<String>,
    }
    let world = World::new(4_100).await;
    let connection = world.connect(world.jwt());
    let soql = "SELECT Id, LastName, Email FROM Contact ORDER BY Id";
    let typed: Vec<Person> = connection.query(soql).try_collect().await.unwrap();
    assert!(typed.iter().all(|p| !p.last_name.is_empty()) && typed.iter().any(|p| p.email.is_none()));
    let mut ids: Vec<String> = typed.into_iter().map(|p| p.id).collect();
    ids.dedup();
    assert_eq!((ids.len(), connection.api_calls()), (4_100, 3));
    let untyped: Vec<Record> = connection.query(soql).try_collect().await.unwrap();
    assert_eq!(untyped.len(), 4_100);
}

#[tokio::test]
async fn records_are_created_read_changed_and_deleted() {
    let world = World::new(0).await;
    let connection = world.connect(world.jwt());
    let id = connection.create("Contact", &json!({"FirstName": "Zoë 🦀", "LastName": "O'Brien"})).await.unwrap();
    connection.update("Contact", &id, &json!({"Title": "CTO", "FirstName": null})).await.unwrap();
    let read: Record = connection.read("Contact", &id).await.unwrap();
    assert_eq!((&read["Name"], &read["Title"], &read["FirstName"]), (&json!("O'Brien"), &json!("CTO"), &json!(null)));
    let quoted = tieline_client::soql::text("O'Brien");
    let soql = format!("SELECT Id FROM Contact WHERE LastName = {quoted}");
    let found: Vec<Record> = connection.query(&soql).try_collect().await.unwrap();
    assert_eq!(found[0]["Id"], json!(id));
    connection.delete("Contact", &id).await.unwrap();
    let gone = connection.read::<Record>("Contact", &id).await.unwrap_err();
    assert_eq!(gone.salesforce_code(), Some("NOT_FOUND"));
    let all: Vec<Record> = connection.query_all(&soql).try_collect().await.unwrap();
    assert_eq!(all.len(), 1, "queryAll still shows it");
    let refused = connection.create("Contact", &json!({"FirstName": "No family name"})).await.unwrap_err();
    let ClientError::Refused(refusal) = &refused else { panic!("{refused}") };
    assert_eq!(
        (refused.salesforce_code(), refusal.fields.as_slice()),
        (Some("REQUIRED_FIELD_MISSING"), ["LastName".to_owned()].as_slice())
    );
}

#[tokio::test]
async fn describes_limits_and_the_budget_are_read() {
    let world = World::new(1).await;
    let connection = world.connect(world.jwt());
    let contact = connection.describe("Contact").await.unwrap();
    let account = contact.fields.iter().find(|f| f.name == "AccountId").unwrap();
    assert_eq!(
        (account.relationship_name.as_deref(), &account.reference_to[..]),
        (Some("Account"), &["Account".to_owned()][..])
    );
    assert!(connection.describe_global().await.unwrap().iter().any(|o| o.name == "Lead" && !o.custom));
    let limits = connection.limits().await.unwrap();
    let usage = connection.api_usage().unwrap();
    assert_eq!((usage.used, usage.allowed as i64), (3, limits["DailyApiRequests"].max));
    world.put("limits", json!({"daily_api_requests": 3})).await;
    assert_eq!(connection.limits().await.unwrap_err().salesforce_code(), Some("REQUEST_LIMIT_EXCEEDED"));
}

#[tokio::test]
async fn a_path_cannot_lead_the_token_to_another_host() {
    let world = World::new(0).await;
    let connection = world.connect(world.jwt());
    for path in ["//evil.example/x", "https://evil.example/x", "http://127.0.0.1:1/"] {
        let error = connection.send(&Request::get(path)).await.unwrap_err();
        assert!(error.to_string().contains("not a path on the org's host"), "{error}");
    }
    assert_eq!(connection.api_calls(), 0);
}

#[tokio::test]
async fn soql_that_integrations_send_means_what_it_means_in_an_org() {
    let world = World::new(0).await;
    let c = world.connect(world.jwt());
    let acme = c.create("Account", &json!({"Name": "Acme"})).await.unwrap();
    for (first, last, account) in [("Ada", "Alpha", Some(&acme)), ("Bo", "beta", Some(&acme)), ("Cy", "Gamma", None)] {
        c.create("Contact", &json!({"FirstName": first, "LastName": last, "AccountId": account})).await.unwrap();
    }
    let lasts = async |condition: &str| -> Vec<String> {
        let soql = format!("SELECT LastName FROM Contact {condition}");
        let found: Vec<Record> = c.query(&soql).try_collect().await.unwrap_or_else(|e| panic!("{soql}: {e}"));
        found.iter().map(|r| r["LastName"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(lasts("WHERE LastName = 'BETA'").await, ["beta"], "strings compare without case");
    assert_eq!(lasts("WHERE Account.Name != 'Acme'").await, ["Gamma"], "!= lets null pass");
    assert_eq!(lasts("WHERE Account.Name LIKE 'a%' ORDER BY LastName DESC").await, ["beta", "Alpha"]);
    assert_eq!(
        lasts("WHERE AccountId IN (SELECT Id FROM Account WHERE Name = 'Acme') ORDER BY LastName").await,
        ["Alpha", "beta"]
    );
    assert_eq!(
        lasts("WHERE AccountId NOT IN ('001000000000000')  ORDER BY LastName LIMIT 1 OFFSET 2").await,
        ["Gamma"]
    );
    assert_eq!(lasts("WHERE CreatedDate = TODAY AND NOT (FirstName IN ('Ada', 'Bo'))").await, ["Gamma"]);
    assert_eq!(lasts("ORDER BY Account.Name NULLS LAST, LastName").await, ["Alpha", "beta", "Gamma"]);
    let rows: Vec<Record> = c
        .query("SELECT Name, (SELECT LastName FROM Contacts ORDER BY LastName) FROM Account")
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        (&rows[0]["Contacts"]["totalSize"], &rows[0]["Contacts"]["records"][1]["LastName"]),
        (&json!(2), &json!("beta"))
    );
    let groups: Vec<Record> = c
        .query("SELECT AccountId, COUNT(Id) n FROM Contact GROUP BY AccountId HAVING COUNT(Id) > 1")
        .try_collect()
        .await
        .unwrap();
    assert_eq!((&groups[0]["AccountId"], &groups[0]["n"]), (&json!(acme), &json!(2)));
    for (soql, code, said) in [
        ("SELECT Bacon__c FROM Account", "INVALID_FIELD", "No such column 'Bacon__c' on entity 'Account'."),
        ("SELECT Id FROM Bacon", "INVALID_TYPE", "sObject type 'Bacon' is not supported."),
        ("SELECT Id FROM Contact WHERE CreatedDate > '2024-01-01'", "INVALID_FIELD", "must be of type dateTime"),
        ("SELECT Id, Id FROM Contact", "INVALID_FIELD", "duplicate field selected: Id"),
        ("SELECT Foo.Name FROM Contact", "INVALID_FIELD", "Didn't understand relationship 'Foo'"),
    ] {
        let error = c.query_pages::<Record>(soql).next().await.unwrap_err();
        assert_eq!(error.salesforce_code(), Some(code), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn every_shape_of_an_expired_session_costs_one_login_and_one_replay() {
    const BULK: &str = "<error xmlns=\"http://www.force.com/2009/06/asyncapi/dataload\"><exceptionCode>InvalidSessionId</exceptionCode><exceptionMessage>Invalid session id</exceptionMessage></error>";
    const SOAP: &str = "<soapenv:Envelope><soapenv:Body><soapenv:Fault><faultcode>sf:INVALID_SESSION_ID</faultcode><faultstring>INVALID_SESSION_ID: Invalid Session ID</faultstring></soapenv:Fault></soapenv:Body></soapenv:Envelope>";
    let json = json!([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]);
    for (status, body) in [(401, json), (400, json!(BULK)), (500, json!(SOAP)), (403, json!("Bad_OAuth_Token"))] {
        let world = World::new(0).await;
        let connection = world.connect(world.refresh());
        connection.limits().await.unwrap();
        world.post("faults", json!({"path": "/services/data", "status": status, "body": body})).await;
        connection.limits().await.unwrap_or_else(|e| panic!("{status}: {e}"));
        let stats = connection.credentials().stats();
        assert_eq!((stats.token_requests, stats.refusals, connection.api_calls()), (2, 1, 3), "{status}");
    }
}

#[tokio::test]
async fn t29_a_replay_goes_to_the_instance_url_of_the_new_token() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new(0).await;
    let moved = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let instance = format!("http://{}", moved.local_addr().unwrap());
    let mut config = world.refresh();
    config.client_secret = None;
    world.put("app", json!({"secret_required_for_refresh": false})).await;
    let connection = world.connect(config);
    connection.limits().await.unwrap();
    world.revoke_all().await;
    let body = json!({"access_token": "00DmovedOrg!t", "instance_url": instance, "id": "x/00D/005"});
    world.post("faults", json!({"path": "/services/oauth2/token", "status": 200, "body": body})).await;
    let asked = tokio::spawn(async move {
        let (mut stream, _) = moved.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await.unwrap();
        String::from_utf8(request[..length].to_vec()).unwrap()
    });
    let request = tieline_client::Request::get("/services/data/v67.0/limits");
    assert_eq!(connection.send(&request).await.unwrap().status, 200);
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("GET /services/data/v67.0/limits") && asked.contains("Bearer 00DmovedOrg!t"), "{asked}");
}
