//! The tenant host: who comes in, and what the query service answers.

use serde_json::{Value, json};

use super::grpc::{self, bytes, find, frame, number, query};
use crate::Org;

#[tokio::test]
async fn only_a_live_data_cloud_token_of_this_org_comes_in() {
    let (org, other) = (Org::with_tenant().await, Org::with_tenant().await);
    let good = org.datacloud_token().await;
    // The claims of one token under the signature of another.
    let later = org.datacloud_token().await;
    let forged = format!("{}.{}", later.rsplit_once('.').unwrap().0, good.rsplit_once('.').unwrap().1);
    let foreign = other.datacloud_token().await;
    let core = org.emulator.info().access_token.clone();
    // Signed with the same key, but for another purpose.
    let (_, body) = org.token(&org.of_app(&[("grant_type", "client_credentials")])).await;
    let id_token = body["id_token"].as_str().unwrap();
    for token in [forged.as_str(), &foreign, &core, id_token, "", "a.b.c"] {
        let answer = org.execute(token, "select 1").await;
        assert_eq!((answer.http, answer.status, answer.in_headers), (200, Some(16), true), "{token}: {answer:?}");
        assert!(!answer.message.is_empty());
        let refused = org.http.post(format!("{}/api/v2/query", org.tenant())).bearer_auth(token);
        let (status, body) = crate::answer(refused.json(&json!({"sql": "select 1"})).send().await.unwrap()).await;
        assert_eq!(status, 401, "{token}");
        let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["timestamp", "error", "message", "internalErrorCode", "details"]);
    }
    let answer = grpc::call(org.tenant(), "ExecuteQuery", &[], frame(&query("select 1"))).await;
    assert_eq!(answer.status, Some(16), "no header at all");
    let ledger = org.ledger().await;
    assert_eq!(ledger["datacloud"], json!({"calls": {}, "refused": 13}));
}

#[tokio::test]
async fn a_token_opens_what_its_scopes_name() {
    let org = Org::with_tenant().await;
    let token = async |scope: &str| {
        org.put("app", json!({"scopes": ["api", scope]})).await;
        let (_, body) = org.token(&org.of_app(&[("grant_type", "client_credentials")])).await;
        let (_, body) = org.exchanged(body["access_token"].as_str().unwrap()).await;
        body["access_token"].as_str().unwrap().to_owned()
    };
    let (query, ingest) = (token("cdp_query_api").await, token("cdp_ingest_api").await);
    assert_eq!(org.execute(&query, "select 1").await.status, Some(14), "past the door");
    assert_eq!(org.execute(&ingest, "select 1").await.status, Some(7));
    let jobs = |token: &str| org.http.get(format!("{}/api/v1/ingest/jobs", org.tenant())).bearer_auth(token).send();
    assert_eq!(jobs(&query).await.unwrap().status(), 403);
    assert_ne!(jobs(&ingest).await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_query_goes_through_to_hyper_and_finds_the_orgs_records() {
    let Some(org) = Org::with_hyper(1_000).await else { return };
    let token = org.datacloud_token().await;
    let (_, contacts) = org.get("/services/data/v67.0/query?q=SELECT+Id,+LastName+FROM+Contact+ORDER+BY+Id").await;
    let answer = org
        .execute(&token, "select \"ssot__Id__c\", \"ssot__LastName__c\" from \"ssot__Individual__dlm\" order by 1")
        .await;
    assert_eq!(answer.status, Some(0), "{}", answer.message);
    let text = answer.text();
    let rows: Value = serde_json::from_str(text.split_once("}]}").unwrap().1).unwrap();
    let expected: Vec<Value> =
        contacts["records"].as_array().unwrap().iter().map(|r| json!([r["Id"], r["LastName"]])).collect();
    assert_eq!((expected.len(), &rows), (30, &Value::from(expected)));

    let answer =
        org.execute(&token, "select count(*), count(\"amount__c\"), max(\"id__c\") from \"WebEngagement__dll\"").await;
    assert!(answer.text().ends_with("[[1000,942,1000]]"), "{}", answer.text());

    let broken = org.execute(&token, "select nonsense").await;
    assert_eq!(broken.status, Some(3), "Hyper's own words: {}", broken.message);
    assert_eq!(org.ledger().await["datacloud"], json!({"calls": {"ExecuteQuery": 3}, "refused": 0}));
}

#[tokio::test]
async fn a_result_is_fetched_by_the_id_of_its_query() {
    let Some(org) = Org::with_hyper(10).await else { return };
    let token = org.datacloud_token().await;
    let asynchronous =
        [bytes(1, b"select \"id__c\" from \"WebEngagement__dll\" order by 1"), number(3, 6), number(5, 1)];
    let answer = org.call_grpc("ExecuteQuery", &token, &asynchronous.concat()).await;
    assert_eq!(answer.status, Some(0), "{}", answer.message);
    let id = answer.messages.iter().find_map(|m| find(m, &[6, 1, 1])).unwrap();
    let id = std::str::from_utf8(id).unwrap();
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("x-hyperdb-query-id", id)];
    let info = [bytes(1, id.as_bytes()), number(2, 1)].concat();
    let info = grpc::call(org.tenant(), "GetQueryInfo", &headers, frame(&info)).await;
    assert_eq!(info.status, Some(0), "{}", info.message);
    assert!(!info.messages.is_empty());
    let chunk = [bytes(1, id.as_bytes()), number(2, 6), number(3, 0), number(4, 1)].concat();
    let rows = grpc::call(org.tenant(), "GetQueryResult", &headers, frame(&chunk)).await;
    let text = rows.messages.iter().filter_map(|m| find(m, &[2, 127])).next().unwrap();
    assert_eq!(text, b"[[1],[2],[3],[4],[5],[6],[7],[8],[9],[10]]");
    let without = org.call_grpc("GetQueryResult", &token, &chunk).await;
    assert_eq!(without.status, Some(3), "Hyper insists on the header: {}", without.message);
    let cancelled = grpc::call(org.tenant(), "CancelQuery", &headers, frame(&bytes(1, id.as_bytes()))).await;
    assert_eq!(cancelled.status, Some(0), "{}", cancelled.message);
    assert_eq!(org.call_grpc("Nothing", &token, b"").await.status, Some(12));
}

#[tokio::test]
async fn a_client_neither_writes_nor_opens_files() {
    let Some(org) = Org::with_hyper(10).await else { return };
    let token = org.datacloud_token().await;
    for sql in [
        "insert into \"WebEngagement__dll\"(\"id__c\") values (99)",
        "with a as (select 1) delete from \"WebEngagement__dll\"",
        "explain (analyze) insert into \"WebEngagement__dll\"(\"id__c\") values (98)",
        "create table t (a int)",
        "drop table \"WebEngagement__dll\"",
        "copy (select 1) to '/tmp/tieline-must-not-be'",
        "select 1; drop table \"WebEngagement__dll\"",
    ] {
        assert_eq!(org.execute(&token, sql).await.status, Some(3), "{sql}");
    }
    let read = "select * from external('/etc/passwd', format => 'csv', columns => descriptor(a text))";
    assert_eq!(org.execute(&token, read).await.status, Some(7));
    let attached = [query("select 1"), bytes(2, &[bytes(1, b"/tmp/a.hyper"), bytes(2, b"a")].concat())].concat();
    assert_eq!(org.call_grpc("ExecuteQuery", &token, &attached).await.status, Some(7));
    let bearer = format!("Bearer {token}");
    let mut compressed = frame(&query("select 1")).to_vec();
    compressed[0] = 1;
    let answer = grpc::call(org.tenant(), "ExecuteQuery", &[("authorization", &bearer)], compressed.into()).await;
    assert_eq!(answer.status, Some(12));
    for body in [&b""[..], b"\0\0\0\0\x09x", b"\0\0\0\0\x01\x0f"] {
        let body = bytes::Bytes::from_static(body);
        let answer = grpc::call(org.tenant(), "ExecuteQuery", &[("authorization", &bearer)], body).await;
        assert_eq!(answer.status, Some(3));
    }
    assert!(org.execute(&token, "select count(*) from \"WebEngagement__dll\"").await.text().ends_with("[[10]]"));
}

#[tokio::test]
async fn faults_reach_the_query_service() {
    let Some(org) = Org::with_hyper(100_000).await else { return };
    let token = org.datacloud_token().await;
    let path = format!("{}ExecuteQuery", grpc::SERVICE);
    let all = "select * from \"WebEngagement__dll\"";
    let whole = org.execute(&token, all).await;
    assert_eq!(whole.status, Some(0));
    org.fault(
        json!({"path": path, "status": 200, "headers": {"content-type": "application/grpc", "grpc-status": "14"}}),
    )
    .await;
    let refused = org.execute(&token, all).await;
    assert_eq!((refused.status, refused.in_headers, refused.messages.len()), (Some(14), true, 0));
    org.fault(json!({"path": path, "cut": 500_000})).await;
    let cut = org.execute(&token, all).await;
    assert_eq!((cut.http, cut.status), (200, None), "no trailers");
    let received: usize = cut.messages.iter().map(bytes::Bytes::len).sum();
    assert!(received <= 500_000 && !cut.messages.is_empty(), "{received}");
    let bearer = format!("Bearer {token}");
    for cut in [0, 1_000] {
        org.fault(json!({"path": path, "cut": cut})).await;
        let mut line = grpc::Line::open(org.tenant()).await;
        let answer = line.call("ExecuteQuery", &[("authorization", &bearer)], frame(&query(all))).await;
        assert_eq!((answer.http, answer.status), (if cut == 0 { 0 } else { 200 }, None));
        assert!(line.is_broken().await, "not only this stream of it");
    }
    let again = org.execute(&token, all).await;
    assert_eq!((again.status, again.text().len()), (Some(0), whole.text().len()));
    assert_eq!(org.ledger().await["faults_injected"], 4);
}

#[tokio::test]
async fn a_forgotten_connection_breaks_for_the_tenant_too() {
    let org = Org::with_tenant().await;
    let bearer = format!("Bearer {}", org.datacloud_token().await);
    let mut kept = grpc::Line::open(org.tenant()).await;
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(kept.call("ExecuteQuery", &headers, frame(&query("select 1"))).await.status, Some(14));
    let control = format!("{}/connections", org.emulator.info().control_url);
    assert_eq!(org.http.delete(control).send().await.unwrap().status(), 204);
    assert_eq!(kept.call("ExecuteQuery", &headers, frame(&query("select 1"))).await.http, 0);
    assert!(kept.is_broken().await, "not only this stream of it");
    let another = grpc::call(org.tenant(), "ExecuteQuery", &headers, frame(&query("select 1"))).await;
    assert_eq!(another.status, Some(14), "others come through");
}

#[tokio::test]
async fn the_tenant_speaks_http2_under_the_orgs_certificate() {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, ServerName};
    use tieline_emulator::{DataCloud, Emulator, Options};

    let datacloud = Some(DataCloud { hyperd: None, rows: 0 });
    let emulator = Emulator::start(Options { contacts: 1, tls: true, datacloud, ..Options::default() }).await.unwrap();
    let info = emulator.info();
    let ca = std::fs::read(info.ca_file.as_ref().unwrap()).unwrap();
    let http =
        reqwest::Client::builder().tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()]).build().unwrap();
    let form = [
        ("grant_type", super::GRANT),
        ("subject_token", &info.access_token),
        ("subject_token_type", super::ACCESS_TOKEN),
    ];
    let url = format!("{}/services/a360/token", info.instance_url);
    let (_, body) = crate::answer(http.post(url).form(&form).send().await.unwrap()).await;
    let (host, token) = (body["instance_url"].as_str().unwrap(), body["access_token"].as_str().unwrap());
    assert_eq!(info.datacloud_url, Some(format!("https://{host}")));
    let refused = http.get(format!("https://{host}/api/v1/metadata")).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.version()), (401, reqwest::Version::HTTP_11));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&ca).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let bearer = format!("Bearer {token}");
    let mut line = grpc::Line::over(stream, &format!("https://{host}")).await;
    let answer = line.call("ExecuteQuery", &[("authorization", &bearer)], frame(&query("select 1"))).await;
    assert_eq!(answer.status, Some(14), "past the door");
}
