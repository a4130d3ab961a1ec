//! Requests made of requests.

use serde_json::{Value, json};

use crate::Org;

const V: &str = "/services/data/v67.0";
const ROLLED_BACK: &str = "The transaction was rolled back since another operation in the same transaction failed.";

fn request(id: &str, method: &str, path: &str, body: Value) -> Value {
    let mut request = json!({"referenceId": id, "method": method, "url": format!("{V}{path}")});
    if !body.is_null() {
        request["body"] = body;
    }
    request
}

fn halted(id: &str, message: &str) -> Value {
    json!({
        "body": [{"message": message, "errorCode": "PROCESSING_HALTED"}], "httpHeaders": {}, "httpStatusCode": 400,
        "referenceId": id,
    })
}

impl Org {
    async fn composite(&self, all_or_none: bool, requests: Value) -> Vec<Value> {
        let body = json!({"allOrNone": all_or_none, "collateSubrequests": true, "compositeRequest": requests});
        let answer = self.post("/composite", body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["compositeResponse"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn later_requests_use_earlier_answers_and_all_count_as_one() {
    let org = Org::start().await;
    let before = org.ledger().await["api_calls"].as_u64().unwrap();
    let query = "/query?q=SELECT Id, Name FROM Contact WHERE AccountId = '@{refA.id}'";
    let parts = org
        .composite(
            true,
            json!([
                request("refA", "POST", "/sobjects/Account", json!({"Name": "a"})),
                request("refC", "POST", "/sobjects/Contact/", json!({"LastName": "c", "AccountId": "@{refA.id}"})),
                request("refQ", "GET", query, json!(null)),
                request(
                    "refU",
                    "PATCH",
                    "/sobjects/Contact/@{refQ.records[0].Id}",
                    json!({"Description": "of @{refA.id}, @{refQ.totalSize} in all"})
                ),
                request("refR", "GET", "/sobjects/Contact/@{refC.id}?fields=Description", json!(null)),
            ]),
        )
        .await;
    let account = parts[0]["body"]["id"].as_str().unwrap();
    assert_eq!(
        parts[0],
        json!({
            "body": {"id": account, "success": true, "errors": []},
            "httpHeaders": {"Location": format!("{V}/sobjects/Account/{account}")},
            "httpStatusCode": 201, "referenceId": "refA",
        })
    );
    assert_eq!((&parts[2]["httpHeaders"], &parts[2]["body"]["totalSize"]), (&json!({}), &json!(1)));
    assert_eq!(parts[3], json!({"body": null, "httpHeaders": {}, "httpStatusCode": 204, "referenceId": "refU"}));
    assert_eq!(parts[4]["body"]["Description"], json!(format!("of {account}, 1 in all")));
    assert!(parts[4]["httpHeaders"]["Last-Modified"].is_string());
    let ledger = org.ledger().await;
    assert_eq!(ledger["api_calls"], before + 1);
    let counted = &ledger["resources"];
    assert_eq!((&counted["POST composite"], &counted["GET query"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn one_failure_ends_all_or_none() {
    let org = Org::start().await;
    let before = (org.count("Account").await, org.ledger().await["records_written"].clone());
    let requests = json!([
        request("one", "POST", "/sobjects/Account", json!({"Name": "a"})),
        request("two", "POST", "/sobjects/Account", json!({"Bacon__c": 1})),
        request("three", "GET", "/sobjects/Account/@{one.id}", json!(null)),
    ]);
    let parts = org.composite(true, requests.clone()).await;
    assert_eq!((&parts[0], &parts[2]), (&halted("one", ROLLED_BACK), &halted("three", ROLLED_BACK)));
    let message = "No such column 'Bacon__c' on sobject of type Account";
    assert_eq!(
        parts[1],
        json!({
            "body": [{"message": message, "errorCode": "INVALID_FIELD"}], "httpHeaders": {}, "httpStatusCode": 400,
            "referenceId": "two",
        })
    );
    assert_eq!((org.count("Account").await, org.ledger().await["records_written"].clone()), before);
    let parts = org.composite(false, requests).await;
    let statuses: Vec<&Value> = parts.iter().map(|p| &p["httpStatusCode"]).collect();
    assert_eq!(statuses, [&json!(201), &json!(400), &json!(200)], "without it each stands alone");
}

#[tokio::test]
async fn a_rolled_back_transaction_never_was_under_a_commit_delay_either() {
    let org = Org::start().await;
    let before = org.count("Account").await.as_u64().unwrap();
    org.put("commit-delay", json!({"seconds": 60})).await;
    let good = request("one", "POST", "/sobjects/Account", json!({"Name": "a"}));
    let child = request("two", "POST", "/sobjects/Contact", json!({"LastName": "c", "AccountId": "@{one.id}"}));
    let bad = request("three", "POST", "/sobjects/Contact", json!({}));
    org.composite(true, json!([good, child, bad])).await;
    let parts = org.composite(true, json!([good, child])).await;
    assert_eq!(parts[1]["httpStatusCode"], json!(201), "the parent is seen inside: {}", parts[1]);
    assert_eq!(org.count("Account").await, before);
    org.put("clock", json!({"advance_seconds": 61})).await;
    assert_eq!(org.count("Account").await, before + 1);
}

#[tokio::test]
async fn a_reference_that_leads_nowhere_halts_its_request() {
    let org = Org::start().await;
    let parts = org
        .composite(
            false,
            json!([
                request("bad", "POST", "/sobjects/Account", json!({})),
                request("after", "POST", "/sobjects/Contact", json!({"LastName": "c", "AccountId": "@{bad.id}"})),
            ]),
        )
        .await;
    let message = "Invalid reference specified. No value for bad.id found in bad.";
    assert_eq!(parts[1], halted("after", message));
}

#[tokio::test]
async fn conditional_describes_are_told_as_recorded() {
    let org = Org::start().await;
    let mut describe = request("CCI__RefId__0__", "GET", "/sobjects", json!(null));
    describe["httpHeaders"] = json!({"If-Modified-Since": "Thu, 03 Sep 2099 21:35:07 GMT"});
    let parts = org.composite(false, json!([describe])).await;
    assert_eq!((&parts[0]["body"], &parts[0]["httpStatusCode"]), (&json!(null), &json!(304)));
    let headers: Vec<&String> = parts[0]["httpHeaders"].as_object().unwrap().keys().collect();
    assert_eq!(headers, ["ETag", "Last-Modified"]);
    // Recorded: an unknown object.
    let parts = org.composite(false, json!([request("x", "GET", "/sobjects/Foo", json!(null))])).await;
    let body = json!([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]);
    assert_eq!(parts[0], json!({"body": body, "httpHeaders": {}, "httpStatusCode": 404, "referenceId": "x"}));
}

#[tokio::test]
async fn what_a_composite_request_may_not_be() {
    let org = Org::start().await;
    let get = |id: &str| request(id, "GET", "/sobjects/Account", json!(null));
    let query = |id: &str| request(id, "GET", "/query?q=SELECT+COUNT()+FROM+Account", json!(null));
    let many =
        |n: usize, one: &dyn Fn(&str) -> Value| -> Vec<Value> { (0..n).map(|i| one(&format!("r{i}"))).collect() };
    let refused = async |requests: Vec<Value>| {
        let answer = org.post("/composite", json!({"compositeRequest": requests})).await;
        assert!(answer.body.is_array() || answer.status == 200, "{}", answer.body);
        answer.status
    };
    assert_eq!(refused(many(25, &get)).await, 200);
    assert_eq!(refused(many(26, &get)).await, 400);
    assert_eq!(refused(many(5, &query)).await, 200);
    assert_eq!(refused(many(6, &query)).await, 400);
    assert_eq!(refused(vec![]).await, 400);
    assert_eq!(refused(vec![get("same"), get("same")]).await, 400);
    assert_eq!(refused(vec![get("1digit")]).await, 400);
    assert_eq!(org.post("/composite", json!({})).await.status, 400);
    let parts = org.composite(false, json!([request("in", "POST", "/composite", json!({}))])).await;
    assert_eq!(parts[0]["httpStatusCode"], json!(400), "not inside of itself");
    let token = "00DEm0000000001!dead";
    let dead = org.http.post(org.url(&format!("{V}/composite"))).bearer_auth(token).json(&json!({})).send().await;
    assert_eq!(dead.unwrap().status(), 401);
}

#[tokio::test]
async fn collections_can_be_part_of_a_transaction() {
    let org = Org::start().await;
    let before = org.count("Account").await;
    let records = json!([{"attributes": {"type": "Account"}, "Name": "a"}]);
    let body = json!({"allOrNone": true, "records": records});
    let parts = org
        .composite(
            true,
            json!([
                request("many", "POST", "/composite/sobjects", body),
                request("one", "PATCH", "/sobjects/Account/@{many[0].id}", json!({"Name": ""})),
            ]),
        )
        .await;
    assert_eq!(parts[0], halted("many", ROLLED_BACK));
    assert_eq!(org.count("Account").await, before);
}

#[tokio::test]
async fn each_graph_is_a_transaction() {
    let org = Org::start().await;
    let before = org.count("Account").await.as_u64().unwrap();
    let account = |id: &str| request(id, "POST", "/sobjects/Account", json!({"Name": id}));
    // The child is named first: a graph is carried out in the order of its references.
    let contact = request("c", "POST", "/sobjects/Contact", json!({"LastName": "c", "AccountId": "@{a.id}"}));
    let bad = request("bad", "POST", "/sobjects/Contact", json!({}));
    let body = json!({"graphs": [
        {"graphId": "good", "compositeRequest": [contact, account("a")]},
        {"graphId": "bad", "compositeRequest": [account("b"), bad]},
    ]});
    let answer = org.post("/composite/graph", body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let graphs = &answer.body["graphs"];
    assert_eq!((&graphs[0]["graphId"], &graphs[0]["isSuccessful"]), (&json!("good"), &json!(true)));
    assert_eq!(graphs[0]["graphResponse"]["compositeResponse"][0]["referenceId"], json!("c"), "told in their order");
    assert_eq!(graphs[1]["isSuccessful"], json!(false));
    assert_eq!(graphs[1]["graphResponse"]["compositeResponse"][0], halted("b", ROLLED_BACK));
    assert_eq!(
        graphs[1]["graphResponse"]["compositeResponse"][1]["body"][0]["errorCode"],
        json!("REQUIRED_FIELD_MISSING")
    );
    assert_eq!(org.count("Account").await, before + 1);
    // Fourteen failures, and nothing more is tried.
    let failing = |i: usize| json!({"graphId": format!("g{i}"), "compositeRequest": [request("x", "POST", "/sobjects/Contact", json!({}))]});
    let mut graphs: Vec<Value> = (0..14).map(failing).collect();
    graphs.push(json!({"graphId": "last", "compositeRequest": [account("late")]}));
    let answer = org.post("/composite/graph", json!({"graphs": graphs})).await;
    assert_eq!(answer.body["graphs"][14]["isSuccessful"], json!(false));
    assert_eq!(org.count("Account").await, before + 1);
    let chain: Vec<Value> = (0..16)
        .map(|i| {
            let parent = if i == 0 { json!(null) } else { json!(format!("@{{r{}.id}}", i - 1)) };
            request(&format!("r{i}"), "POST", "/sobjects/Account", json!({"Name": "x", "ParentId": parent}))
        })
        .collect();
    let graph = |requests: &[Value]| json!({"graphs": [{"graphId": "g", "compositeRequest": requests}]});
    assert_eq!(org.post("/composite/graph", graph(&chain[..15])).await.body["graphs"][0]["isSuccessful"], json!(true));
    assert_eq!(org.post("/composite/graph", graph(&chain)).await.status, 400, "deeper than fifteen");
    let query = request("q", "GET", "/query?q=SELECT+Id+FROM+Account", json!(null));
    assert_eq!(org.post("/composite/graph", graph(&[query])).await.status, 400);
}

#[tokio::test]
async fn a_batch_goes_on_or_halts() {
    let org = Org::start().await;
    let id = org.make("Account", json!({"Name": "a"})).await;
    let requests = json!([
        {"method": "PATCH", "url": format!("v67.0/sobjects/Account/{id}"), "richInput": {"Name": "b"}},
        {"method": "GET", "url": "v67.0/sobjects/Account/001Em0000009999AAA"},
        {"method": "GET", "url": format!("/services/data/v66.0/sobjects/Account/{id}?fields=Name")},
    ]);
    let before = org.ledger().await["api_calls"].as_u64().unwrap();
    let answer = org.post("/composite/batch", json!({"batchRequests": requests})).await;
    assert_eq!(org.ledger().await["api_calls"], before + 3, "each of a batch counts");
    assert_eq!(answer.headers["sforce-limit-info"], format!("api-usage={}/1000000", before + 3));
    assert_eq!((answer.status, &answer.body["hasErrors"]), (200, &json!(true)));
    let results = &answer.body["results"];
    assert_eq!(results[0], json!({"statusCode": 204, "result": null}));
    let missing = json!([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]);
    assert_eq!(results[1], json!({"statusCode": 404, "result": missing}));
    let url = format!("/services/data/v66.0/sobjects/Account/{id}");
    let record = json!({"attributes": {"type": "Account", "url": url}, "Name": "b"});
    assert_eq!(results[2], json!({"statusCode": 200, "result": record}));
    let answer = org.post("/composite/batch", json!({"haltOnError": true, "batchRequests": requests})).await;
    let halted = json!([{"errorCode": "BATCH_PROCESSING_HALTED", "message": "Batch processing halted per request"}]);
    assert_eq!(answer.body["results"][2], json!({"statusCode": 412, "result": halted}));
    let many = vec![json!({"method": "GET", "url": "v67.0/limits"}); 26];
    assert_eq!(org.post("/composite/batch", json!({"batchRequests": many})).await.status, 400);
}

#[tokio::test]
async fn a_tree_is_planted_whole_or_not_at_all() {
    let org = Org::start().await;
    let before = org.count("Account").await.as_u64().unwrap();
    let node = |object: &str, id: &str, fields: Value| {
        let mut node = json!({"attributes": {"type": object, "referenceId": id}});
        node.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        node
    };
    let contact = |id: &str, fields: Value| node("Contact", id, fields);
    let body = json!({"records": [
        node("Account", "ref1", json!({"Name": "a", "Contacts": {"records": [
            contact("ref2", json!({"LastName": "Smith"})), contact("ref3", json!({"LastName": "Evans"}))]}})),
        node("Account", "ref4", json!({"Name": "b"})),
    ]});
    let answer = org.post("/composite/tree/Account", body).await;
    assert_eq!((answer.status, &answer.body["hasErrors"]), (201, &json!(false)), "{}", answer.body);
    let ids: Vec<&Value> = answer.body["results"].as_array().unwrap().iter().map(|r| &r["referenceId"]).collect();
    assert_eq!(ids, ["ref1", "ref4", "ref2", "ref3"], "level by level, as documented");
    let account = answer.body["results"][0]["id"].as_str().unwrap();
    let (_, children) = org.get(&format!("{V}/sobjects/Account/{account}/Contacts")).await;
    assert_eq!(children["totalSize"], 2);
    let body = json!({"records": [
        node("Account", "ref1", json!({"Name": "a", "Contacts": {"records": [
            contact("ref2", json!({"LastName": "Smith", "Email": "123"}))]}})),
    ]});
    let refused = org.post("/composite/tree/Account/", body).await;
    let error = json!({"statusCode": "INVALID_EMAIL_ADDRESS", "message": "Email: invalid email address: 123", "fields": ["Email"]});
    assert_eq!(refused.status, 400);
    assert_eq!(refused.body, json!({"hasErrors": true, "results": [{"referenceId": "ref2", "errors": [error]}]}));
    assert_eq!(org.count("Account").await, before + 2, "nothing of it is saved");
    let account = |id: &str| node("Account", id, json!({"Name": "x"}));
    for records in [
        vec![account("same"), account("same")],
        vec![node("Contact", "r", json!({"LastName": "x"}))],
        vec![json!({"attributes": {"type": "Account"}, "Name": "x"})],
        (0..201).map(|i| account(&format!("r{i}"))).collect(),
        vec![node("Account", "r", json!({"Name": "x", "Nothings": {"records": []}}))],
    ] {
        let refused = org.post("/composite/tree/Account", json!({"records": records})).await;
        assert_eq!((refused.status, &refused.body["hasErrors"]), (400, &json!(true)), "{}", refused.body);
    }
    assert_eq!(org.count("Account").await, before + 2);
}

#[tokio::test]
async fn others_never_see_half_of_a_transaction() {
    let org = Org::start().await;
    let before = org.count("Account").await.as_u64().unwrap();
    let requests: Vec<Value> =
        (0..20).map(|i| request(&format!("r{i}"), "POST", "/sobjects/Account", json!({"Name": "x"}))).collect();
    let writing = org.composite(true, json!(requests));
    let reading = async {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|n| *n == before) {
            seen.push(org.count("Account").await.as_u64().unwrap());
            assert!(seen.len() < 10_000, "it is never done");
        }
        seen
    };
    let (_, seen) = tokio::join!(writing, reading);
    assert_eq!(seen.last(), Some(&(before + 20)), "{seen:?}");
}
