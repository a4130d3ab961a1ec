//! Describes, resources and versions.

use reqwest::Method;
use serde_json::{Value, json};

use crate::Org;

#[tokio::test]
async fn a_describe_is_sent_again_only_when_the_schema_has_changed() {
    let org = Org::start().await;
    for path in ["/sobjects", "/sobjects/Contact", "/sobjects/Contact/describe"] {
        let first = org.call(Method::GET, path, None).await;
        let etag = first.headers["etag"].to_str().unwrap();
        assert_eq!(etag.len(), 10, "{etag}: eight digits in quotes, as recorded");
        let modified = first.headers["last-modified"].to_str().unwrap();
        for header in [("if-modified-since", modified), ("if-none-match", etag)] {
            let again = org.call_with(Method::GET, path, None, &[header]).await;
            assert_eq!((again.status, &again.body), (304, &json!("")), "{path} {header:?}");
            assert_eq!(again.headers["etag"], etag);
        }
        let old =
            org.call_with(Method::GET, path, None, &[("if-modified-since", "Thu, 03 Sep 2020 21:35:07 GMT")]).await;
        assert_eq!(old.status, 200);
    }
    let before = org.call(Method::GET, "/sobjects/Contact/describe", None).await;
    org.put("clock", json!({"advance_seconds": 5})).await;
    org.add_field("Contact", "Ext__c", "string 80", true).await;
    for (header, told) in [("if-modified-since", "last-modified"), ("if-none-match", "etag")] {
        let value = before.headers[told].to_str().unwrap();
        let after = org.call_with(Method::GET, "/sobjects/Contact/describe", None, &[(header, value)]).await;
        assert_eq!(after.status, 200, "{header}");
        let fields = after.body["fields"].as_array().unwrap();
        let field = fields.iter().find(|f| f["name"] == "Ext__c").unwrap();
        assert_eq!(
            (&field["externalId"], &field["unique"], &field["idLookup"], &field["length"]),
            (&json!(true), &json!(true), &json!(true), &json!(80))
        );
    }
}

#[tokio::test]
async fn what_a_describe_says_about_relations_is_so() {
    let org = Org::start().await;
    let describe = org.call(Method::GET, "/sobjects/Account/describe", None).await.body;
    let children = describe["childRelationships"].as_array().unwrap();
    let contacts = children.iter().find(|c| c["childSObject"] == "Contact" && c["field"] == "AccountId").unwrap();
    assert_eq!(contacts["relationshipName"], "Contacts");
    for (name, url) in describe["urls"].as_object().unwrap() {
        let url = url.as_str().unwrap();
        if name == "rowTemplate" {
            assert_eq!(url, "/services/data/v67.0/sobjects/Account/{ID}");
        } else {
            assert_eq!(org.get(url).await.0, 200, "{name}: {url}");
        }
    }
    let info = &describe["recordTypeInfos"][0];
    assert_eq!((&info["recordTypeId"], &info["master"]), (&json!("012000000000000AAA"), &json!(true)));
}

#[tokio::test]
async fn resources_and_versions() {
    let org = Org::start().await;
    let (_, resources) = org.get("/services/data/v60.0").await;
    assert_eq!(resources["composite"], "/services/data/v60.0/composite");
    assert!(resources["identity"].as_str().unwrap().starts_with("http"));
    assert_eq!(org.get("/services/data/v60.0/recent").await, (200, json!([])));
    let (_, composite) = org.get("/services/data/v60.0/composite").await;
    assert_eq!(composite["tree"], "/services/data/v60.0/composite/tree");
    let gone = org.get("/services/data/v30.0/sobjects").await;
    let message = "API version 30.0 is no longer supported";
    assert_eq!(gone, (410, json!([{"message": message, "errorCode": "GONE"}])));
    for unknown in ["/services/data/v99.0/sobjects", "/services/data/67/sobjects", "/services/data/v67.0/nothing"] {
        let (status, body): (u16, Value) = org.get(unknown).await;
        assert_eq!((status, &body[0]["errorCode"]), (404, &json!("NOT_FOUND")), "{unknown}");
    }
}
