//! The org by plain HTTP, as a client in any language sees it. Bodies are compared with recorded ones, not with
//! types of ours.

mod bulk;
mod changes;
mod code;
mod collections;
mod composite;
mod datacloud;
mod describes;
mod metadata;
mod oauth;
mod query_resource;
mod rows;
mod search;
mod soql;
mod tooling;
mod traps;

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, Response};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tieline_emulator::{Emulator, Options};

struct Org {
    emulator: Emulator,
    http: Client,
}

impl Org {
    async fn start() -> Self {
        let emulator = Emulator::start(Options { contacts: 3, ..Options::default() }).await.unwrap();
        Org { emulator, http: Client::builder().build().unwrap() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.emulator.info().instance_url)
    }

    async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        answer(self.http.post(self.url("/services/oauth2/token")).form(form).send().await.unwrap()).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let token = &self.emulator.info().access_token;
        answer(self.http.get(self.url(path)).bearer_auth(token).send().await.unwrap()).await
    }

    /// An assertion signed with the org's own key.
    fn assertion(&self, claims: &Value) -> String {
        sign(&self.emulator.info().private_key_file, claims)
    }
}

fn sign(key: &Path, claims: &Value) -> String {
    let pem = std::fs::read(key).unwrap();
    let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).unwrap();
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(br#"{"alg":"RS256"}"#), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

const JWT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

#[tokio::test]
async fn a_connection_that_was_forgotten_breaks_at_its_next_request() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let org = Org::start().await;
    let mut kept = tokio::net::TcpStream::connect(&org.emulator.info().instance_url["http://".len()..]).await.unwrap();
    let mut ask = async || {
        let _ = kept.write_all(b"GET /services/data HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut answer = [0; 12];
        kept.read(&mut answer).await.unwrap_or(0)
    };
    assert_eq!(ask().await, 12);
    let control = format!("{}/connections", org.emulator.info().control_url);
    assert_eq!(org.http.delete(control).send().await.unwrap().status(), 204);
    // What was left of the first answer, and then the end.
    let mut left = 0;
    while ask().await > 0 {
        left += 1;
        assert!(left < 1_000, "it is still answered");
    }
    let another = Client::builder().build().unwrap();
    let answer = another.get(org.url("/services/data")).send().await.unwrap();
    assert_eq!(answer.status(), 200, "others come through");
}

#[tokio::test]
async fn assertions_pass_in_every_form_that_real_clients_send() {
    let org = Org::start().await;
    let info = org.emulator.info();
    let with = |aud: &str, exp: Value| json!({"iss": info.client_id, "sub": info.username, "aud": aud, "exp": exp});
    let own = info.login_url.as_str();
    let soon = 4_000_000_000i64; // far ahead: the org sets no upper bound
    for claims in [
        with(own, json!(soon)),
        with(&format!("{own}/"), json!(soon)), // sf adds a slash
        with("https://login.salesforce.com", json!(soon * 1_000)), // sf counts in milliseconds
        with("https://test.salesforce.com", json!(soon.to_string())), // simple-salesforce writes text
        json!({"iss": info.client_id, "prn": info.username, "aud": own, "exp": soon}),
    ] {
        let (status, body) = org.token(&[("grant_type", JWT), ("assertion", &org.assertion(&claims))]).await;
        assert_eq!(status, 200, "{claims}: {body}");
        let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert!(!keys.contains(&&"refresh_token".to_owned()) && !keys.contains(&&"expires_in".to_owned()), "{keys:?}");
        assert!(body["issued_at"].as_str().unwrap().parse::<i64>().is_ok(), "milliseconds as text");
    }
}

#[tokio::test]
async fn a_forged_assertion_is_refused() {
    let org = Org::start().await;
    let info = org.emulator.info();
    let claims = json!({"iss": info.client_id, "sub": info.username, "aud": info.login_url, "exp": 4_000_000_000i64});
    let good = org.assertion(&claims);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let none =
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(br#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let other = json!({"iss": info.client_id, "sub": "someone@else", "aud": info.login_url, "exp": 4_000_000_000i64});
    let swapped =
        format!("{}.{}.{signature}", head.split('.').next().unwrap(), URL_SAFE_NO_PAD.encode(other.to_string()));
    for forged in [none, swapped, format!("{head}."), "x.y.z".to_owned(), String::new()] {
        let (status, body) = org.token(&[("grant_type", JWT), ("assertion", &forged)]).await;
        assert_eq!(
            (status, body),
            (400, json!({"error": "invalid_grant", "error_description": "invalid assertion"})),
            "{forged}"
        );
    }
    let (_, body) = org.token(&[("grant_type", "mind-reading")]).await;
    assert_eq!(body["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn an_ended_session_shows_itself_in_the_recorded_shapes() {
    let org = Org::start().await;
    let dead = |path: &str| org.http.get(org.url(path)).bearer_auth("00DEm0000000001!dead").send();
    let (status, body) = answer(dead("/services/data/v67.0/limits").await.unwrap()).await;
    assert_eq!(
        (status, body),
        (401, json!([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]))
    );
    let (status, body) = answer(dead("/services/oauth2/userinfo").await.unwrap()).await;
    assert_eq!((status, body), (403, json!("Bad_OAuth_Token")));
    let revoked =
        org.http.post(org.url("/services/oauth2/revoke")).form(&[("token", "nobody's")]).send().await.unwrap();
    assert_eq!(revoked.status(), 400);
    assert_eq!(revoked.text().await.unwrap(), "error=invalid_token&error_description=invalid%20token");
}

#[tokio::test]
async fn a_session_ends_two_hours_after_its_last_call() {
    let org = Org::start().await;
    let advance = async |seconds: i64| {
        let url = format!("{}/clock", org.emulator.info().control_url);
        org.http.put(url).json(&json!({"advance_seconds": seconds})).send().await.unwrap();
    };
    for _ in 0..2 {
        advance(7_000).await;
        assert_eq!(org.get("/services/data/v67.0/limits").await.0, 200, "each call moves the end");
    }
    advance(7_300).await;
    assert_eq!(org.get("/services/data/v67.0/limits").await.0, 401);
}

#[tokio::test]
async fn versions_slashes_and_errors_are_those_of_an_org() {
    let org = Org::start().await;
    let (_, versions) = answer(org.http.get(org.url("/services/data/")).send().await.unwrap()).await;
    assert_eq!(
        versions.as_array().unwrap().last().unwrap(),
        &json!({"label": "Summer '26", "url": "/services/data/v67.0", "version": "67.0"})
    );
    assert_eq!(org.get("/services/data/v20.0/limits").await.0, 410);
    assert_eq!(org.get("/services/data/v99.0/limits").await.0, 404);
    let (_, page) = org.get("/services/data/v67.0/query/?q=SELECT+Id+FROM%20Contact").await;
    let keys: Vec<&str> = page.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((keys, &page["totalSize"]), (vec!["totalSize", "done", "records"], &json!(3)));
    let id = page["records"][0]["Id"].as_str().unwrap();
    assert_eq!(page["records"][0]["attributes"]["url"], json!(format!("/services/data/v67.0/sobjects/Contact/{id}")));
    let (status, body) = org.get("/services/data/v67.0/query?q=").await;
    assert_eq!((status, &body[0]["message"]), (400, &json!("A query string has to be specified")));
    let (_, short) = org.get(&format!("/services/data/v67.0/sobjects/Contact/{}?fields=LastName", &id[..15])).await;
    assert_eq!(
        short.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["attributes", "LastName"],
        "15 characters will do"
    );
    assert_eq!(
        org.get("/services/data/v67.0/sobjects/Nothing/describe").await,
        (404, json!([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]))
    );
}

#[tokio::test]
async fn a_record_passes_the_checks_of_its_describe() {
    let org = Org::start().await;
    let token = &org.emulator.info().access_token;
    let create = async |object: &str, body: Value| {
        let url = org.url(&format!("/services/data/v67.0/sobjects/{object}"));
        answer(org.http.post(url).bearer_auth(token).json(&body).send().await.unwrap()).await
    };
    for (object, body, code, message, fields) in [
        (
            "Contact",
            json!({}),
            "REQUIRED_FIELD_MISSING",
            "Required fields are missing: [LastName]",
            json!(["LastName"]),
        ),
        (
            "Contact",
            json!({"LastName": "x", "Email": "123"}),
            "INVALID_EMAIL_ADDRESS",
            "Email: invalid email address: 123",
            json!(["Email"]),
        ),
        (
            "Account",
            json!({"Name": "x".repeat(256)}),
            "STRING_TOO_LONG",
            "Account Name: data value too large: ",
            json!(["Name"]),
        ),
        (
            "Account",
            json!({"Name": "x", "Bacon__c": 1}),
            "INVALID_FIELD",
            "No such column 'Bacon__c' on sobject of type Account",
            json!(null),
        ),
        (
            "Contact",
            json!({"LastName": "x", "AccountId": "xyz"}),
            "MALFORMED_ID",
            "Account ID: id value of incorrect type: xyz",
            json!(["AccountId"]),
        ),
        (
            "Contact",
            json!({"LastName": "x", "SystemModstamp": "2020-01-01T00:00:00Z"}),
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            "Unable to create/update fields: SystemModstamp.",
            json!(["SystemModstamp"]),
        ),
    ] {
        let (status, answer) = create(object, body).await;
        assert_eq!((status, &answer[0]["errorCode"]), (400, &json!(code)), "{answer}");
        assert!(answer[0]["message"].as_str().unwrap().starts_with(message), "{answer}");
        assert_eq!(answer[0].get("fields").cloned().unwrap_or_default(), fields, "{answer}");
    }
    let (status, made) = create("Contact", json!({"FirstName": "👩‍🚀", "LastName": "שלום"})).await;
    assert_eq!((status, &made["success"], &made["errors"]), (201, &json!(true), &json!([])));
    let ledger =
        answer(org.http.get(format!("{}/ledger", org.emulator.info().control_url)).send().await.unwrap()).await.1;
    assert_eq!(ledger["records_written"], 1);
}

#[tokio::test]
async fn a_fault_meets_the_request_it_was_meant_for() {
    let org = Org::start().await;
    let fault = async |body: Value| {
        let url = format!("{}/faults", org.emulator.info().control_url);
        org.http.post(url).json(&body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(fault(json!({"path": "/services/data", "nth": 2, "status": 503})).await, 204);
    let limits = "/services/data/v67.0/limits";
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(org.get(limits).await.0);
    }
    assert_eq!(statuses, [200, 503, 200]);
    fault(json!({"path": "/services/data", "truncate": 10})).await;
    assert_eq!(org.get(limits).await.1.as_str().map(str::len), Some(10), "cut short, and told as complete");
    fault(json!({"path": "/services/data", "cut": 10})).await;
    let mut broken = org.http.get(org.url(limits)).bearer_auth(&org.emulator.info().access_token).send().await.unwrap();
    assert_eq!(broken.chunk().await.unwrap().unwrap().len(), 10);
    assert!(broken.chunk().await.is_err(), "the connection broke in the middle of the body");
    fault(json!({"query": "FROM Lead"})).await;
    let query =
        async |object: &str| org.get(&format!("/services/data/v67.0/query?q=SELECT+Id+FROM%20{object}")).await.0;
    assert_eq!([query("Contact").await, query("Lead").await, query("Lead").await], [200, 503, 200]);
    assert_eq!(fault(json!({"status": 1000})).await, 422);
    assert_eq!(fault(json!({"colour": "red"})).await, 422);
}

#[tokio::test]
async fn orgs_that_live_at_the_same_time_have_keys_of_their_own() {
    let (one, other) = (Org::start().await, Org::start().await);
    let key = |org: &Org| std::fs::read(&org.emulator.info().private_key_file).unwrap();
    assert_ne!(key(&one), key(&other));
    let info = one.emulator.info();
    let claims = json!({"iss": info.client_id, "sub": info.username, "aud": info.login_url, "exp": 4_000_000_000i64});
    let assertion = sign(&other.emulator.info().private_key_file, &claims);
    assert_eq!(one.token(&[("grant_type", JWT), ("assertion", &assertion)]).await.1["error"], "invalid_grant");
}
