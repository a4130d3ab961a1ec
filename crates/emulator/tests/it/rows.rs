//! Single records: external ids, conditional requests, relationships, files, refusals.

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::{Org, answer};

pub(crate) const V: &str = "/services/data/v67.0";

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Org {
    /// A call of the admin; `path` begins at the version's root unless it begins with `/services`.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.call_with(method, path, body, &[]).await
    }

    pub(crate) async fn call_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&'static str, &str)],
    ) -> Answer {
        let url = if path.starts_with("/services") { self.url(path) } else { self.url(&format!("{V}{path}")) };
        let mut request = self.http.request(method, url).bearer_auth(&self.emulator.info().access_token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let headers = response.headers().clone();
        let (status, body) = answer(response).await;
        Answer { status, headers, body }
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn make(&self, object: &str, body: Value) -> String {
        let made = self.post(&format!("/sobjects/{object}"), body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.body["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn add_field(&self, object: &str, name: &str, kind: &str, unique: bool) {
        let field = json!({"object": object, "name": name, "type": kind, "external_id": true, "unique": unique});
        assert_eq!(self.post_control("fields", field).await, (204, json!("")));
    }

    pub(crate) async fn count(&self, object: &str) -> Value {
        self.get(&format!("{V}/query?q=SELECT+COUNT()+FROM+{object}")).await.1["totalSize"].clone()
    }
}

fn not_found() -> Value {
    json!([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}])
}

#[tokio::test]
async fn an_upsert_makes_one_record_and_then_changes_it() {
    let org = Org::start().await;
    org.add_field("Account", "Ext__c", "string 80", true).await;
    let path = "/sobjects/Account/Ext__c/E%201/2";
    let made = org.patch(path, json!({"Name": "first"})).await;
    let id = made.body["id"].as_str().unwrap().to_owned();
    assert_eq!(made.status, 201);
    assert_eq!(made.body, json!({"id": id, "success": true, "errors": [], "created": true}));
    assert_eq!(made.headers["location"], format!("{V}/sobjects/Account/{id}"));
    let changed = org.patch(path, json!({"Name": "second"})).await;
    assert_eq!((changed.status, &changed.body["created"]), (200, &json!(false)));
    // A slash as jsforce writes it, and all of it as quote_plus of Python does.
    for written in [path, "/sobjects/Account/Ext__c/E+1%2F2", "/sobjects/account/ext__c/e%201%2f2/"] {
        let read = org.call(Method::GET, &format!("{written}?fields=Name,Ext__c"), None).await;
        assert_eq!((read.status, &read.body["Name"], &read.body["Ext__c"]), (200, &json!("second"), &json!("E 1/2")));
    }
    let old = org.patch("/services/data/v45.0/sobjects/Account/Ext__c/E+1%2F2", json!({"Name": "third"})).await;
    assert_eq!((old.status, old.body), (204, json!("")), "before v46.0 an update has no body");
    let none = org.patch("/sobjects/Account/Ext__c/other?updateOnly=true", json!({"Name": "x"})).await;
    assert_eq!((none.status, none.body), (404, not_found()));
    let named = org.patch(path, json!({"Name": "x", "Ext__c": "E 1/2"})).await;
    assert_eq!(named.status, 400);
    let message = "The Ext__c field should not be specified in the sobject data.";
    assert_eq!(named.body, json!([{"message": message, "errorCode": "INVALID_FIELD"}]));
    assert_eq!(org.call(Method::DELETE, path, None).await.status, 204);
    assert_eq!(org.call(Method::GET, path, None).await.status, 404);
}

#[tokio::test]
async fn only_external_ids_and_lookup_fields_stand_for_a_record() {
    let org = Org::start().await;
    let (a, b) = (
        org.make("Contact", json!({"LastName": "A", "Email": "x@y.example"})).await,
        org.make("Contact", json!({"LastName": "B", "Email": "X@y.example"})).await,
    );
    let several = org.patch("/sobjects/Contact/Email/x@y.example", json!({"LastName": "C"})).await;
    assert_eq!(several.status, 300);
    assert_eq!(several.body, json!([format!("{V}/sobjects/Contact/{a}"), format!("{V}/sobjects/Contact/{b}")]));
    assert_eq!(org.call(Method::GET, "/sobjects/Contact/Email/x@y.example", None).await.body, several.body);
    for path in ["/sobjects/Contact/LastName/A", "/sobjects/Contact/Nothing__c/A"] {
        let refused = org.patch(path, json!({"FirstName": "C"})).await;
        let field = path.split('/').nth(3).unwrap();
        let message = format!("Provided external ID field does not exist or is not accessible: {field}");
        assert_eq!((refused.status, refused.body), (404, json!([{"message": message, "errorCode": "NOT_FOUND"}])));
    }
    // By Id as a field.
    let changed = org.patch(&format!("/sobjects/Contact/Id/{a}"), json!({"FirstName": "by id"})).await;
    assert_eq!((changed.status, &changed.body["created"]), (200, &json!(false)));
    let made = org.post("/sobjects/Contact/Id", json!({"LastName": "made"})).await;
    assert_eq!(made.status, 201);
    // Recorded: what is no id is taken for a field.
    let garbage = org.call(Method::GET, "/sobjects/Contact/23foo", None).await;
    let message = "Provided external ID field does not exist or is not accessible: 23foo";
    assert_eq!((garbage.status, garbage.body), (404, json!([{"message": message, "errorCode": "NOT_FOUND"}])));
}

#[tokio::test]
async fn a_unique_value_belongs_to_one_record() {
    let org = Org::start().await;
    org.add_field("Account", "Ext__c", "string 80", true).await;
    let first = org.make("Account", json!({"Name": "a", "Ext__c": "One"})).await;
    let second = org.make("Account", json!({"Name": "b"})).await;
    let message = format!("duplicate value found: Ext__c duplicates value on record with id: {}", &first[..15]);
    let expected = json!([{"message": message, "errorCode": "DUPLICATE_VALUE", "fields": []}]);
    let again = org.post("/sobjects/Account", json!({"Name": "c", "Ext__c": "ONE"})).await;
    assert_eq!((again.status, &again.body), (400, &expected));
    let taken = org.patch(&format!("/sobjects/Account/{second}"), json!({"Ext__c": "one"})).await;
    assert_eq!((taken.status, &taken.body), (400, &expected));
    assert_eq!(org.patch(&format!("/sobjects/Account/{first}"), json!({"Ext__c": "one"})).await.status, 204);
    // A write that is not visible yet holds its value too.
    org.put("commit-delay", json!({"seconds": 60})).await;
    org.make("Account", json!({"Name": "d", "Ext__c": "two"})).await;
    assert_eq!(org.post("/sobjects/Account", json!({"Name": "e", "Ext__c": "TWO"})).await.status, 400);
}

#[tokio::test]
async fn a_parent_is_named_by_its_external_id() {
    let org = Org::start().await;
    org.add_field("Account", "Ext__c", "string 80", true).await;
    let account = org.make("Account", json!({"Name": "a", "Ext__c": "x"})).await;
    let contact = org.make("Contact", json!({"LastName": "c", "Account": {"Ext__c": "x"}})).await;
    let read = org.call(Method::GET, &format!("/sobjects/Contact/{contact}?fields=AccountId"), None).await;
    assert_eq!(read.body["AccountId"], json!(account));
    let body = json!({"LastName": "c", "Account": {"Ext__c": "0116"}});
    let nowhere = org.post("/sobjects/Contact", body).await;
    let message = "Foreign key external ID: 0116 not found for field Ext__c in entity Account";
    assert_eq!(nowhere.status, 400);
    assert_eq!(nowhere.body, json!([{"message": message, "errorCode": "INVALID_FIELD", "fields": []}]));
    let body = json!({"Subject": "t", "What": {"attributes": {"type": "Account"}, "Ext__c": "x"}});
    let task = org.make("Task", body).await;
    let read = org.call(Method::GET, &format!("/sobjects/Task/{task}"), None).await;
    assert_eq!(read.body["WhatId"], json!(account), "the body names the type of a polymorphic parent");
}

#[tokio::test]
async fn accounts_have_entity_tags_and_all_records_a_date() {
    let org = Org::start().await;
    org.at("2027-01-01T10:00:00Z").await;
    let id = org.make("Account", json!({"Name": "a"})).await;
    let path = format!("/sobjects/Account/{id}");
    let read = org.call(Method::GET, &path, None).await;
    let etag = read.headers["etag"].to_str().unwrap().to_owned();
    assert!(etag.ends_with("=\"") && etag.len() == 46, "{etag}: SHA-256 as base64, as recorded");
    let at = "Fri, 01 Jan 2027 10:00:00 GMT";
    assert_eq!(read.headers["last-modified"], at);
    for (header, value, status) in [
        ("if-none-match", etag.as_str(), 304),
        ("if-none-match", "\"other\"", 200),
        ("if-match", etag.as_str(), 200),
        ("if-match", "\"other\"", 412),
        ("if-modified-since", at, 304),
        ("if-unmodified-since", at, 200),
        ("if-unmodified-since", "Fri, 01 Jan 2027 09:59:59 GMT", 412),
    ] {
        let read = org.call_with(Method::GET, &path, None, &[(header, value)]).await;
        assert_eq!(read.status, status, "{header}: {value}");
        assert!(status != 304 || read.body == json!("") && read.headers["etag"] == etag.as_str(), "{:?}", read.body);
    }
    let body = || Some(json!({"Name": "b"}));
    for (header, value, status) in [
        ("if-match", "\"other\"", 412),
        ("if-none-match", etag.as_str(), 412),
        ("if-unmodified-since", "soon", 400),
        ("if-match", etag.as_str(), 204),
        ("if-match", etag.as_str(), 412), // the account has changed, within the same second
    ] {
        let change = org.call_with(Method::PATCH, &path, body(), &[(header, value)]).await;
        assert_eq!(change.status, status, "{header}: {value} {}", change.body);
    }
    let contact = org.make("Contact", json!({"LastName": "c"})).await;
    let read = org.call(Method::GET, &format!("/sobjects/Contact/{contact}"), None).await;
    assert!(!read.headers.contains_key("etag") && read.headers["last-modified"] == at);
}

#[tokio::test]
async fn relationships_lead_to_parents_and_children() {
    let org = Org::start().await;
    let account = org.make("Account", json!({"Name": "a"})).await;
    let contact = org.make("Contact", json!({"LastName": "c", "AccountId": account})).await;
    let parent = org.call(Method::GET, &format!("/sobjects/Contact/{contact}/Account?fields=Name"), None).await;
    let url = format!("{V}/sobjects/Account/{account}");
    assert_eq!(parent.body, json!({"attributes": {"type": "Account", "url": url}, "Name": "a"}));
    let owner =
        org.call(Method::GET, &format!("/sobjects/Contact/{contact}/Account/Owner?fields=Username"), None).await;
    assert_eq!(owner.body["Username"], json!(org.emulator.info().username));
    let before = org.ledger().await["api_calls"].as_u64().unwrap();
    let children = org.call(Method::GET, &format!("/sobjects/Account/{account}/Contacts?fields=Id"), None).await;
    let url = format!("{V}/sobjects/Contact/{contact}");
    let record = json!({"attributes": {"type": "Contact", "url": url}, "Id": contact});
    assert_eq!((children.status, children.body), (200, json!({"totalSize": 1, "done": true, "records": [record]})));
    assert_eq!(org.ledger().await["api_calls"], before + 1, "one call, whatever it takes");
    let whole = org.call(Method::GET, &format!("/sobjects/Account/{account}/Contacts"), None).await;
    assert_eq!(whole.body["records"][0]["LastName"], json!("c"), "{}", whole.body);
    let changed = org.patch(&format!("/sobjects/Contact/{contact}/Account"), json!({"Name": "b"})).await;
    assert_eq!(changed.status, 204);
    for nowhere in [format!("/sobjects/Account/{account}/Nothing"), format!("/sobjects/Account/{account}/Parent")] {
        assert_eq!(org.call(Method::GET, &nowhere, None).await.status, 404, "{nowhere}");
    }
}

#[tokio::test]
async fn a_file_goes_in_as_a_part_and_comes_out_as_bytes() {
    let org = Org::start().await;
    let account = org.make("Account", json!({"Name": "a"})).await;
    let bytes: Vec<u8> = (0..=255).collect();
    let record = json!({"Name": "all.bin", "ParentId": account}).to_string();
    let form = Form::new()
        .part("entity_document", Part::text(record).mime_str("application/json").unwrap())
        .part("Body", Part::bytes(bytes.clone()).file_name("all.bin").mime_str("application/octet-stream").unwrap());
    let token = &org.emulator.info().access_token;
    let url = org.url(&format!("{V}/sobjects/Attachment"));
    let (status, made) = answer(org.http.post(url).bearer_auth(token).multipart(form).send().await.unwrap()).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("{V}/sobjects/Attachment/{}", made["id"].as_str().unwrap());
    let (_, told) = org.get(&path).await;
    assert_eq!((&told["Body"], &told["BodyLength"]), (&json!(format!("{path}/Body")), &json!(256)));
    let file = org.http.get(org.url(&format!("{path}/Body"))).bearer_auth(token).send().await.unwrap();
    assert_eq!(file.bytes().await.unwrap(), bytes);
    let (_, children) = org.get(&format!("{V}/sobjects/Account/{account}/Attachments?fields=Name")).await;
    assert_eq!(children["records"][0]["Name"], "all.bin");
    let bad = org.post("/sobjects/Attachment", json!({"Name": "x", "ParentId": account, "Body": "%"})).await;
    assert_eq!((bad.status, &bad.body[0]["errorCode"]), (400, &json!("JSON_PARSER_ERROR")));
}

#[tokio::test]
async fn methods_types_and_bodies_that_do_not_fit_are_refused_as_recorded() {
    let org = Org::start().await;
    let refused = org.patch("/sobjects/Account/", json!({})).await;
    let message = "HTTP Method 'PATCH' not allowed. Allowed are GET,HEAD,POST";
    assert_eq!((refused.status, &refused.headers["allow"]), (405, &HeaderValue::from_static("GET,HEAD,POST")));
    assert_eq!(refused.body, json!([{"message": message, "errorCode": "METHOD_NOT_ALLOWED"}]));
    let id = org.make("Account", json!({"Name": "a"})).await;
    let refused = org.post(&format!("/sobjects/Account/{id}"), json!({})).await;
    assert_eq!((refused.status, &refused.headers["allow"]), (405, &HeaderValue::from_static("DELETE,GET,HEAD,PATCH")));
    let changed = org.post(&format!("/sobjects/Account/{id}?_HttpMethod=PATCH"), json!({"Name": "b"})).await;
    assert_eq!(changed.status, 204);
    let head = org.call(Method::HEAD, &format!("/sobjects/Account/{id}"), None).await;
    assert_eq!((head.status, &head.body), (200, &json!("")));
    let token = &org.emulator.info().access_token;
    let post = async |content_type: &str, body: &'static str| {
        let request = org.http.post(org.url(&format!("{V}/sobjects/Account"))).bearer_auth(token);
        answer(request.header("content-type", content_type).body(body).send().await.unwrap()).await
    };
    let message = "Content-Type header specified in HTTP request is not supported: text/plain";
    assert_eq!(
        post("text/plain", "Name=x").await,
        (415, json!([{"message": message, "errorCode": "UNSUPPORTED_MEDIA_TYPE"}]))
    );
    let message = "The HTTP entity body is required, but this request has no entity body.";
    assert_eq!(
        post("application/json", "").await,
        (400, json!([{"message": message, "errorCode": "JSON_PARSER_ERROR"}]))
    );
    let (status, body) = post("application/json; charset=utf-8", "[1]").await;
    assert_eq!((status, &body[0]["errorCode"]), (400, &json!("JSON_PARSER_ERROR")));
    let (status, body) = post("application/json", r#"{"Name" j: 1}"#).await;
    let message = "Unexpected character ('j' (code 106)): was expecting a colon to separate field name and value at [line:1, column:9]";
    assert_eq!((status, &body[0]["message"]), (400, &json!(message)));
    let with_id = org.post("/sobjects/Account", json!({"Name": "x", "Id": id})).await;
    assert_eq!(with_id.body[0]["errorCode"], json!("INVALID_FIELD_FOR_INSERT_UPDATE"));
    let with_id = org.patch(&format!("/sobjects/Account/{id}"), json!({"Id": id})).await;
    assert_eq!(with_id.body[0]["message"], json!("The Id field should not be specified in the sobject data."));
    let history = org.post("/sobjects/LoginHistory", json!({})).await;
    assert_eq!(history.body[0]["errorCode"], json!("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"));
    let accepted = [("sforce-auto-assign", "FALSE"), ("sforce-duplicate-rule-header", "allowSave=true")];
    let made = org.call_with(Method::POST, "/sobjects/Account", Some(json!({"Name": "x"})), &accepted).await;
    assert_eq!(made.status, 201);
}
