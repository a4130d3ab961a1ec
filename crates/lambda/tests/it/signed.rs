//! Requests to AWS: signed as AWS's own library would sign them, with what AWS says when it refuses.

use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use tieline_auth::aws::{Aws, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::parts::part;

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "a session token/with+signs=";

/// A server that answers once, and tells what it was sent.
async fn once(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let request = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).await.unwrap();
            text.extend_from_slice(&chunk[..read]);
            let seen = String::from_utf8_lossy(&text).into_owned();
            if let Some((head, body)) = seen.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
                if body.len() >= length.unwrap().parse().unwrap() {
                    break;
                }
            }
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(text).unwrap()
    });
    (url, request)
}

fn aws(url: &str) -> Aws {
    let url = url.to_owned();
    Aws::from_variables(Arc::new(move |name| match name {
        "AWS_ENDPOINT_URL" => Some(url.clone()),
        "AWS_REGION" => Some("eu-central-1".to_owned()),
        "AWS_ACCESS_KEY_ID" => Some(KEY.to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some(SECRET.to_owned()),
        "AWS_SESSION_TOKEN" => Some(TOKEN.to_owned()),
        _ => None,
    }))
    .unwrap()
}

#[tokio::test]
async fn aws_own_library_finds_the_signatures_right() {
    let Some(moto) = part("moto", "TIELINE_TEST_MOTO") else { return };
    let python = moto.parent().unwrap().join("python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/aws/verify_signature.py");
    for (service, operation, resource, told) in [
        (Service::SecretsManager, "GetSecretValue", "tieline/prod", "valid secretsmanager eu-central-1"),
        (Service::Kms, "Sign", "arn:aws:kms:us-west-2:111122223333:key/1", "valid kms us-west-2"),
        (Service::DynamoDb, "GetItem", "", "valid dynamodb eu-central-1"),
        (Service::Ssm, "GetParameter", "", "valid ssm eu-central-1"),
    ] {
        let (url, request) = once("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await;
        let body = json!({ "Text": "ü 🙂 \"quoted\"", "Number": 7 });
        aws(&url).call(service, operation, resource, &body).await.unwrap();
        let request = request.await.unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let headers: Vec<(&str, &str)> = head.lines().skip(1).filter_map(|line| line.split_once(": ")).collect();
        let asked = json!({ "url": format!("{url}/"), "headers": headers, "body": body, "key": KEY, "secret": SECRET, "token": TOKEN });
        let mut verify = Command::new(&python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        serde_json::to_writer(verify.stdin.take().unwrap(), &asked).unwrap();
        let output = verify.wait_with_output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(out.trim(), told, "{err}");
        assert!(!head.contains(SECRET));
    }
}

#[tokio::test]
async fn what_aws_refuses_is_told_with_the_next_act() {
    for (status, body, code, passing, hint) in [
        (
            "400 Bad Request",
            r#"{"__type":"com.amazonaws.kms#AccessDeniedException","Message":"User is not authorized"}"#,
            "AccessDeniedException",
            false,
            "allow kms:Sign",
        ),
        (
            "400 Bad Request",
            r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#,
            "ThrottlingException",
            true,
            "try again",
        ),
        (
            "400 Bad Request",
            r#"{"__type":"UnrecognizedClientException","message":"x"}"#,
            "UnrecognizedClientException",
            false,
            "renew",
        ),
        ("503 Slow Down", "<html>", "HTTP 503", true, "try again"),
        ("403 Forbidden", "", "HTTP 403", false, "HTTP 403"),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        let (url, request) = once(answer.leak()).await;
        let error = aws(&url).call(Service::Kms, "Sign", "", &Value::Null).await.unwrap_err();
        request.await.unwrap();
        assert_eq!((error.code.as_str(), error.passing), (code, passing), "{error}");
        assert!(error.hint().contains(hint), "{}", error.hint());
    }
    let gone = aws("http://127.0.0.1:9").call(Service::Kms, "Sign", "", &Value::Null).await.unwrap_err();
    assert!(gone.passing && gone.code == "NoAnswer", "{gone}");
    // Requests and answers hold secrets.
    let plain = aws("http://kms.example").call(Service::Kms, "Sign", "", &Value::Null).await.unwrap_err();
    assert!(plain.code == "BadEndpoint" && !plain.passing, "{plain}");
}
