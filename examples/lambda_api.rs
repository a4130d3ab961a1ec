//! A Lambda function behind an HTTP API: finds contacts, and creates them.
//!
//! `GET /contacts?name=Smith`, `POST /contacts` with `{"LastName": "Smith"}`. An org that does not let the function in is
//! 503 to the caller, who can do nothing about it.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use lambda_runtime::LambdaEvent;
use serde::Deserialize;
use serde_json::{Value, json};
use tieline_client::{ClientError, Connection, Record, soql};
use tieline_lambda::handler::{self, Invocation, Salesforce};

/// Of the event (payload format 2.0), what this function reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpRequest {
    request_context: Context,
    #[serde(default)]
    query_string_parameters: HashMap<String, String>,
    #[serde(default)]
    body: String,
}

#[derive(Deserialize)]
struct Context {
    http: Http,
}

#[derive(Deserialize)]
struct Http {
    method: String,
}

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    tieline_lambda::logging::start();
    handler::run(Salesforce::from_env()?, contacts).await
}

async fn contacts(event: LambdaEvent<HttpRequest>, invocation: Invocation) -> Result<Value, lambda_runtime::Error> {
    let org = match invocation.connection("default").await {
        Ok(org) => org,
        Err(error) => {
            tracing::error!(code = error.code(), hint = error.hint(), "{error}");
            return Ok(answer(503, &json!({ "message": "Salesforce is not available", "code": error.code() })));
        }
    };
    let request = event.payload;
    match request.request_context.http.method.as_str() {
        "POST" => create(&org, &request.body).await,
        _ => find(&org, request.query_string_parameters.get("name")).await,
    }
}

async fn find(org: &Connection, name: Option<&String>) -> Result<Value, lambda_runtime::Error> {
    let Some(name) = name else {
        return Ok(answer(400, &json!({ "message": "name whom you look for: ?name=Smith" })));
    };
    let found = format!("SELECT Id, Name, Email FROM Contact WHERE LastName = {} LIMIT 50", soql::text(name));
    let people: Vec<Record> = org.query(&found).try_collect().await?;
    Ok(answer(200, &json!(people)))
}

async fn create(org: &Connection, body: &str) -> Result<Value, lambda_runtime::Error> {
    let Ok(Value::Object(fields)) = serde_json::from_str(body) else {
        return Ok(answer(400, &json!({ "message": "the body is no JSON object" })));
    };
    // A POST whose answer got lost is not sent again: who asks must look whether the contact is there.
    match org.create("Contact", &fields).await {
        Ok(id) => Ok(answer(201, &json!({ "id": id }))),
        Err(ClientError::Refused(refusal)) => Ok(answer(422, &json!({ "message": refusal.message }))),
        Err(error) => Err(error.into()),
    }
}

fn answer(status: u16, body: &Value) -> Value {
    json!({ "statusCode": status, "headers": { "content-type": "application/json" }, "body": body.to_string() })
}
