//! The `query` resource around the language: pages and locators, columns, plans, long URIs, limits.

use serde_json::{Value, json};
use tieline_emulator::{Emulator, Options};

use crate::soql::known_org;
use crate::{Org, answer};

const QUERY: &str = "/services/data/v67.0/query";

async fn large_org() -> Org {
    let options = Options { contacts: 2_500, ..Options::default() };
    Org { emulator: Emulator::start(options).await.unwrap(), http: reqwest::Client::builder().build().unwrap() }
}

impl Org {
    async fn control(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.emulator.info().control_url);
        answer(self.http.request(method, url).json(&body).send().await.unwrap()).await.1
    }

    async fn open(&self) -> String {
        let (_, page) = self.soql("SELECT Id FROM Contact").await;
        page["nextRecordsUrl"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_locator_lives_two_days_and_ten_are_open() {
    let org = large_org().await;
    let gone = (400, json!([{"message": "invalid query locator", "errorCode": "INVALID_QUERY_LOCATOR"}]));
    let first = org.open().await;
    assert!(first.starts_with("/services/data/v67.0/query/01g") && first.ends_with("-2000"), "{first}");
    let (status, page) = org.get(&first).await;
    assert_eq!((status, page["records"].as_array().unwrap().len(), &page["done"]), (200, 500, &json!(true)));
    for _ in 0..9 {
        org.open().await;
    }
    assert_eq!(org.get(&first).await.0, 200, "ten are open");
    let last = org.open().await;
    assert_eq!(org.get(&first).await, gone, "the eleventh ended the oldest");
    for wrong in ["-2500", "-x", ""] {
        assert_eq!(org.get(&last.replace("-2000", wrong)).await, gone, "{wrong}");
    }
    // Two days later, with a session that has been kept alive by the clock standing at its last use.
    let limits = json!({"session_timeout_seconds": 1_000_000});
    org.control(reqwest::Method::PUT, "/limits", limits).await;
    org.control(reqwest::Method::PUT, "/clock", json!({"advance_seconds": 47 * 3_600})).await;
    assert_eq!(org.get(&last).await.0, 200);
    org.control(reqwest::Method::PUT, "/clock", json!({"advance_seconds": 2 * 3_600})).await;
    assert_eq!(org.get(&last).await, gone);
    let fresh = org.open().await;
    let answer = org.control(reqwest::Method::POST, "/query-locators/expire", json!({})).await;
    assert_eq!(answer, json!({"expired": 1}));
    assert_eq!(org.get(&fresh).await, gone);
}

#[tokio::test]
async fn pages_are_as_long_as_asked_and_query_all_goes_on_under_query() {
    let org = large_org().await;
    let token = &org.emulator.info().access_token;
    for (asked, expected) in [("batchSize=200", 200), ("batchsize=10", 200), ("batchSize=5000", 2_000), ("x", 2_000)] {
        let request = org.http.get(org.url(&format!("{QUERY}All?q=SELECT+Id+FROM+Contact"))).bearer_auth(token);
        let (_, page) = answer(request.header("Sforce-Query-Options", asked).send().await.unwrap()).await;
        assert_eq!(page["records"].as_array().unwrap().len(), expected, "{asked}");
        let next = page["nextRecordsUrl"].as_str().unwrap();
        assert!(
            next.starts_with("/services/data/v67.0/query/01g") && next.ends_with(&format!("-{expected}")),
            "{next}"
        );
    }
    let (status, body) = org.soql("SELECT Id, COUNT(Id) FROM Contact GROUP BY Id").await;
    assert_eq!(status, 400);
    assert_eq!(
        body,
        json!([{"message": "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a single batch",
            "errorCode": "EXCEEDED_ID_LIMIT"}])
    );
}

#[tokio::test]
async fn only_get_queries() {
    let org = known_org().await;
    let token = &org.emulator.info().access_token;
    let request = org.http.post(org.url(QUERY)).bearer_auth(token).json(&json!({"q": "SELECT Id FROM Account"}));
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    let message = "HTTP Method 'POST' not allowed. Allowed are GET,HEAD";
    assert_eq!(answer(response).await, (405, json!([{"message": message, "errorCode": "METHOD_NOT_ALLOWED"}])));
}

#[tokio::test]
async fn a_long_uri_is_refused_before_anything_else() {
    let org = known_org().await;
    let used =
        async || org.get("/services/data/v67.0/limits").await.1["DailyApiRequests"]["Remaining"].as_u64().unwrap();
    let before = used().await;
    for path in ["query?q=", "search?q=", "tooling/query?q=", "sobjects/Account/describe?x=", "nothing?x="] {
        let whole = format!("/services/data/v67.0/{path}");
        let fits = format!("{whole}{}", "x".repeat(16_384 - whole.len()));
        assert_ne!(org.get(&fits).await.0, 414, "{path}");
        let response = org.http.get(org.url(&(fits + "x"))).send().await.unwrap();
        assert_eq!(response.status(), 414, "{path}");
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    }
    // Five that fit (the unknown path is no call), and the call that reads the counter.
    assert_eq!(before - used().await, 5);
}

#[tokio::test]
async fn columns_tell_what_is_selected() {
    let org = known_org().await;
    let columns = async |soql: &str| org.ask(QUERY, &[("q", soql), ("columns", "true")]).await;
    let (status, body) = columns("SELECT Id, Name FROM Account").await;
    let id = json!({"aggregate": false, "apexType": "Id", "booleanType": false, "columnName": "Id", "custom": false,
        "displayName": "Id", "foreignKeyName": null, "insertable": false, "joinColumns": [], "numberType": false,
        "textType": false, "updatable": false});
    let name = json!({"aggregate": false, "apexType": "String", "booleanType": false, "columnName": "Name", "custom": false,
        "displayName": "Name", "foreignKeyName": null, "insertable": true, "joinColumns": [], "numberType": false,
        "textType": true, "updatable": true});
    let whole = json!({"columnMetadata": [id, name], "entityName": "Account", "groupBy": false, "idSelected": true, "keyPrefix": "001"});
    assert_eq!((status, body), (200, whole));
    let (_, body) = columns("SELECT Account.Name, Account.Owner.Alias, LastName, Account.Phone FROM Contact").await;
    let names = |columns: &Value| {
        columns.as_array().unwrap().iter().map(|c| c["columnName"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&body["columnMetadata"]), ["Account", "LastName"]);
    let account = &body["columnMetadata"][0];
    assert_eq!(names(&account["joinColumns"]), ["Name", "Owner", "Phone"]);
    assert_eq!(names(&account["joinColumns"][1]["joinColumns"]), ["Alias"]);
    assert_eq!(account["aggregate"], false);
    let (_, body) = columns("SELECT Name, (SELECT LastName, Email FROM Contacts) FROM Account").await;
    let contacts = &body["columnMetadata"][1];
    assert_eq!((&contacts["columnName"], &contacts["aggregate"]), (&json!("Contacts"), &json!(true)));
    assert_eq!(names(&contacts["joinColumns"]), ["LastName", "Email"]);
    let (_, body) = columns("SELECT Industry, COUNT(Id), MAX(Name) top FROM Account GROUP BY Industry").await;
    assert_eq!(names(&body["columnMetadata"]), ["Industry", "expr0", "top"]);
    assert_eq!(body["columnMetadata"][1]["displayName"], "COUNT(Id)");
    assert_eq!((&body["groupBy"], &body["idSelected"]), (&json!(true), &json!(false)));
    assert_eq!(columns("SELECT Nothing FROM Account").await.1[0]["errorCode"], "INVALID_FIELD");
}

#[tokio::test]
async fn a_plan_is_explained() {
    let org = known_org().await;
    let (status, body) = org.ask(QUERY, &[("explain", "SELECT Id FROM Account WHERE Rating = 'Hot'")]).await;
    let note = |field: &str| json!({"description": "Not considering filter for optimization because unindexed", "fields": [field], "tableEnumOrId": "Account"});
    assert_eq!(
        (status, body),
        (
            200,
            json!({
                "plans": [{"cardinality": 1, "fields": [], "leadingOperationType": "TableScan", "notes": [note("Rating"), note("IsDeleted")],
                    "relativeCost": 1.3, "sobjectCardinality": 3, "sobjectType": "Account"}],
                "sourceQuery": "SELECT Id FROM Account WHERE Rating = 'Hot'",
            })
        )
    );
    let soql = "SELECT Id FROM Account WHERE Name = 'nobody' AND Rating = 'Hot'";
    let (_, body) = org.ask(QUERY, &[("explain", soql)]).await;
    assert_eq!(body["plans"][0]["leadingOperationType"], "Index");
    assert_eq!(body["plans"][0]["fields"], json!(["Name"]));
    assert_eq!(org.ask(QUERY, &[("explain", "SELECT")]).await.0, 400);
}

#[tokio::test]
async fn limits_and_counts() {
    let org = known_org().await;
    let (_, before) = org.get("/services/data/v67.0/limits").await;
    let (_, after) = org.get("/services/data/v67.0/limits").await;
    let left = |body: &Value| body["DailyApiRequests"]["Remaining"].as_u64().unwrap();
    assert_eq!(left(&before) - left(&after), 1);
    for key in [
        "DailyBulkApiBatches",
        "DailyBulkV2QueryJobs",
        "DailyBulkV2QueryFileStorageMB",
        "DataStorageMB",
        "FileStorageMB",
        "DailyAsyncApexExecutions",
        "HourlyPublishedPlatformEvents",
        "DailyStreamingApiEvents",
        "SingleEmail",
        "MassEmail",
        "ActiveScratchOrgs",
        "Package2VersionCreates",
    ] {
        assert!(after[key]["Max"].as_u64().unwrap() >= after[key]["Remaining"].as_u64().unwrap(), "{key}");
    }
    let (_, counts) = org.get("/services/data/v67.0/limits/recordCount?sObjects=Account,contact,Nothing").await;
    assert_eq!(counts, json!({"sObjects": [{"count": 3, "name": "Account"}, {"count": 4, "name": "Contact"}]}));
}
