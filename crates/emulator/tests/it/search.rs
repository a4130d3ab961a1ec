//! `search` and `parameterizedSearch`.

use serde_json::{Value, json};

use crate::soql::{known_org, plain};
use crate::{Org, answer};

impl Org {
    async fn sosl(&self, sosl: &str) -> (u16, Value) {
        self.ask("/services/data/v67.0/search", &[("q", sosl)]).await
    }
}

/// Statement, and the records found.
const SEARCHES: &[(&str, &str)] = &[
    ("FIND {Acme} IN NAME FIELDS RETURNING Account(Name)", r#"[{"Name":"Acme"}]"#),
    ("FIND {acm} IN ALL FIELDS RETURNING Account(Name)", "[]"),
    ("FIND {acm*} RETURNING Account(Name)", r#"[{"Name":"Acme"}]"#),
    ("find {ac?e OR glob*} returning Account(Name ORDER BY Name DESC)", r#"[{"Name":"Globex"},{"Name":"Acme"}]"#),
    ("FIND {acme AND NOT first} RETURNING Account(Name)", "[]"),
    ("FIND {acme} IN NAME FIELDS RETURNING Account(Name), Contact(LastName)", r#"[{"Name":"Acme"}]"#),
    ("FIND {acme} RETURNING Contact(LastName), Account(Name)", r#"[{"LastName":"Lovelace"},{"Name":"Acme"}]"#),
    ("FIND {ada@acme.example.com} IN EMAIL FIELDS RETURNING Contact(FirstName)", r#"[{"FirstName":"Ada"}]"#),
    (r"FIND {\(415\) 555\-0100} IN PHONE FIELDS RETURNING Contact(FirstName)", r#"[{"FirstName":"Ada"}]"#),
    ("FIND {415} IN NAME FIELDS RETURNING Contact(FirstName)", "[]"),
    ("FIND {\"ada lovelace\"} RETURNING Contact(FirstName)", r#"[{"FirstName":"Ada"}]"#),
    ("FIND {\"lovelace ada\"} RETURNING Contact(FirstName)", "[]"),
    (
        "FIND {ada OR grace} RETURNING Contact(FirstName, Account.Name WHERE LeadSource = 'Web' ORDER BY FirstName LIMIT 1 OFFSET 1)",
        r#"[{"FirstName":"Grace","Account":{"Name":"Acme"}}]"#,
    ),
    (
        "FIND {ada OR grace OR acme} RETURNING Contact(FirstName ORDER BY FirstName), Account(Name) LIMIT 2",
        r#"[{"FirstName":"Ada"},{"FirstName":"Grace"}]"#,
    ),
];

#[tokio::test]
async fn searches_find_whole_words() {
    let org = known_org().await;
    for (sosl, expected) in SEARCHES {
        let (status, body) = org.sosl(sosl).await;
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!((status, plain(&body["searchRecords"]).to_string()), (200, expected.to_string()), "{sosl} {body}");
    }
}

#[tokio::test]
async fn without_returning_ids_of_all_objects_come_back() {
    let org = known_org().await;
    let (_, body) = org.sosl("FIND {acme}").await;
    let records = body["searchRecords"].as_array().unwrap();
    let types: Vec<&str> = records.iter().map(|r| r["attributes"]["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["Account", "Contact"], "the contact has it in her e-mail address");
    for record in records {
        assert_eq!(record.as_object().unwrap().keys().collect::<Vec<_>>(), ["attributes", "Id"]);
        assert!(record["attributes"]["url"].as_str().unwrap().ends_with(record["Id"].as_str().unwrap()));
    }
    // An array before version 37.
    let (_, older) = org.ask("/services/data/v36.0/search", &[("q", "FIND {acme} RETURNING Account(Id, Name)")]).await;
    assert_eq!(plain(&older), json!([{"Id": records[0]["Id"], "Name": "Acme"}]));
    // What is deleted is not found.
    let path = records[0]["attributes"]["url"].as_str().unwrap().to_owned();
    org.http.delete(org.url(&path)).bearer_auth(&org.emulator.info().access_token).send().await.unwrap();
    let (_, body) = org.sosl("FIND {acme} RETURNING Account").await;
    assert_eq!(body, json!({"searchRecords": []}));
}

#[tokio::test]
async fn malformed_searches_are_refused() {
    let org = known_org().await;
    for (sosl, code, message) in [
        ("Acme", "MALFORMED_SEARCH", "No search term found. The search term must be enclosed in braces."),
        ("", "MALFORMED_SEARCH", "No search term found. The search term must be enclosed in braces."),
        ("FIND {a}", "MALFORMED_SEARCH", "search term must be longer than one character: a"),
        ("FIND {acme} IN ANY FIELDS", "MALFORMED_SEARCH", "unexpected token: 'ANY'"),
        ("FIND {(acme}", "MALFORMED_SEARCH", "unexpected token: '<EOF>'"),
        (
            "FIND {acme} RETURNING Profile(Id)",
            "INVALID_TYPE_FOR_OPERATION",
            "entity type Profile does not support search",
        ),
        ("FIND {acme} RETURNING Account(Nothing)", "INVALID_FIELD", "No such column 'Nothing' on entity 'Account'"),
        ("FIND {acme} RETURNING Nothing(Id)", "INVALID_TYPE", "sObject type 'Nothing' is not supported"),
        ("FIND {acme} RETURNING Account(Id WHERE)", "MALFORMED_SEARCH", "unexpected token: '<EOF>'"),
    ] {
        let (status, body) = org.sosl(sosl).await;
        assert_eq!((status, &body[0]["errorCode"]), (400, &json!(code)), "{sosl}: {body}");
        assert!(body[0]["message"].as_str().unwrap().contains(message), "{sosl}: {body}");
    }
}

#[tokio::test]
async fn parameters_come_in_the_url_or_in_a_body() {
    let org = known_org().await;
    let path = "/services/data/v67.0/parameterizedSearch";
    let (_, body) = org
        .ask(path, &[("q", "acme"), ("sobject", "Account"), ("Account.fields", "Name,Rating"), ("in", "NAME")])
        .await;
    assert_eq!(plain(&body), json!({"searchRecords": [{"Name": "Acme", "Rating": "Hot"}]}));
    let (_, body) = org
        .ask(path, &[("q", "ada OR grace"), ("sobject", "Contact"), ("fields", "FirstName"), ("Contact.limit", "1")])
        .await;
    assert_eq!(plain(&body), json!({"searchRecords": [{"FirstName": "Ada"}]}));
    let post = async |body: Value| {
        let request = org.http.post(org.url(path)).bearer_auth(&org.emulator.info().access_token).json(&body);
        answer(request.send().await.unwrap()).await
    };
    let (_, body) = post(json!({"q": "ada OR grace", "fields": ["FirstName"], "in": "ALL", "overallLimit": 1,
        "sobjects": [{"name": "Contact", "where": "LeadSource = 'Web'", "orderBy": "FirstName DESC", "limit": 5}]}))
    .await;
    assert_eq!(plain(&body), json!({"searchRecords": [{"FirstName": "Grace"}]}));
    assert_eq!(post(json!({"sobjects": []})).await.1[0]["errorCode"], "MALFORMED_SEARCH");
}
