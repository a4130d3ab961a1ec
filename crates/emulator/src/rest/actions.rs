//! Invocable actions: the standard action `emailSimple`, and stand-ins for Apex and flows.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::Payload;
use super::{Call, json_response};
use crate::Shared;
use crate::api_error::ApiError;
use crate::clock::datetime;
use crate::stand_ins::{Action, Kind};

const EMAIL: &str = "emailSimple";

/// Inputs of `emailSimple`: name, type, whether it must be there.
const EMAIL_INPUTS: [(&str, &str, bool); 6] = [
    ("emailBody", "TEXTAREA", true),
    ("emailSubject", "STRING", true),
    ("emailAddresses", "STRING", false),
    ("emailAddressesArray", "STRING", false),
    ("senderType", "STRING", false),
    ("senderAddress", "STRING", false),
];

pub(super) fn router() -> Router<Shared> {
    let actions = "/services/data/{version}/actions";
    Router::new()
        .route(actions, get(list))
        .route(&format!("{actions}/standard"), get(list_standard))
        .route(&format!("{actions}/standard/{{name}}"), get(describe_standard).post(invoke_standard))
        .route(&format!("{actions}/custom"), get(list_custom))
        .route(&format!("{actions}/custom/{{kind}}"), get(list_kind))
        .route(&format!("{actions}/custom/{{kind}}/{{name}}"), get(describe_custom).post(invoke_custom))
}

fn ok(body: &Value) -> Result<Response, ApiError> {
    Ok(json_response(200, body.to_string().into_bytes()))
}

async fn list(State(shared): State<Shared>, Path(version): Path<String>, headers: HeaderMap) -> Response {
    shared
        .answer(version, headers, |call| {
            let base = format!("/services/data/v{}/actions", call.version);
            ok(&json!({"standard": format!("{base}/standard"), "custom": format!("{base}/custom")}))
        })
        .await
}

async fn list_standard(State(shared): State<Shared>, Path(version): Path<String>, headers: HeaderMap) -> Response {
    shared
        .answer(version, headers, |call| {
            let url = format!("/services/data/v{}/actions/standard/{EMAIL}", call.version);
            ok(&json!({"actions": [{"label": "Send Email", "name": EMAIL, "type": "EMAILSIMPLE", "url": url}]}))
        })
        .await
}

async fn list_custom(State(shared): State<Shared>, Path(version): Path<String>, headers: HeaderMap) -> Response {
    shared
        .answer(version, headers, |call| {
            let base = format!("/services/data/v{}/actions/custom", call.version);
            ok(&json!({"apex": format!("{base}/apex"), "flow": format!("{base}/flow")}))
        })
        .await
}

fn kind(name: &str) -> Result<Kind, ApiError> {
    [Kind::Apex, Kind::Flow].into_iter().find(|kind| kind.name() == name).ok_or_else(ApiError::not_found)
}

async fn list_kind(
    State(shared): State<Shared>,
    Path((version, of)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let kind = kind(&of)?;
            let base = format!("/services/data/v{}/actions/custom/{of}", call.version);
            let told = |action: &Action| {
                let url = format!("{base}/{}", action.name);
                json!({"label": action.name, "name": action.name, "type": of.to_ascii_uppercase(), "url": url})
            };
            let actions: Vec<Value> =
                call.org.stand_ins.actions.iter().filter(|action| action.kind == kind).map(told).collect();
            ok(&json!({"actions": actions}))
        })
        .await
}

fn described(name: &str, type_name: &str, standard: bool, inputs: &[Value], outputs: &[Value]) -> Value {
    json!({
        "allowsTransactionControl": false, "category": null, "description": null, "inputs": inputs, "label": name,
        "name": name, "outputs": outputs, "standard": standard, "targetEntityName": null, "type": type_name,
    })
}

fn parameter(name: &str, type_name: &str, required: bool) -> Value {
    json!({
        "apexClass": null, "byteLength": 0, "description": null, "label": name, "maxOccurs": 1, "name": name,
        "picklistValues": null, "required": required, "sobjectType": null, "type": type_name,
    })
}

async fn describe_standard(
    State(shared): State<Shared>,
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |_| {
            require_email(&name)?;
            let inputs = EMAIL_INPUTS.map(|(name, type_name, required)| parameter(name, type_name, required));
            ok(&described(EMAIL, "EMAILSIMPLE", true, &inputs, &[]))
        })
        .await
}

fn require_email(name: &str) -> Result<(), ApiError> {
    if name == EMAIL { Ok(()) } else { Err(ApiError::not_found()) }
}

fn custom(call: &Call<'_>, of: &str, name: &str) -> Result<Action, ApiError> {
    let kind = kind(of)?;
    let mut actions = call.org.stand_ins.actions.iter();
    actions.find(|action| action.kind == kind && action.name == name).cloned().ok_or_else(ApiError::not_found)
}

async fn describe_custom(
    State(shared): State<Shared>,
    Path((version, of, name)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let action = custom(call, &of, &name)?;
            let inputs: Vec<Value> = action.required.iter().map(|name| parameter(name, "STRING", true)).collect();
            let outputs: Vec<Value> = action.outputs.keys().map(|name| parameter(name, "STRING", false)).collect();
            ok(&described(&action.name, &of.to_ascii_uppercase(), false, &inputs, &outputs))
        })
        .await
}

#[derive(Deserialize)]
struct Invocation {
    inputs: Vec<Map<String, Value>>,
}

/// Outputs, or the error as the answer lists it.
type Outcome = Result<Option<Map<String, Value>>, Value>;

/// Keys as in recent versions; older ones lack `invocationId`, `sortOrder` and `version`. Whether a failed input gives
/// 400 for the whole call is unverified.
fn told(name: &str, outcomes: Vec<Outcome>) -> Response {
    let status = if outcomes.iter().all(Result::is_ok) { 200 } else { 400 };
    let told = outcomes.into_iter().map(|outcome| {
        let (errors, outputs, good) = match outcome {
            Ok(outputs) => (Value::Null, outputs.map_or(Value::Null, Value::Object), true),
            Err(error) => (json!([error]), Value::Null, false),
        };
        json!({
            "actionName": name, "errors": errors, "invocationId": null, "isSuccess": good, "outputValues": outputs,
            "sortOrder": -1, "version": 1,
        })
    });
    let told: Vec<Value> = told.collect();
    json_response(status, Value::Array(told).to_string().into_bytes())
}

/// As remembered, unverified.
fn invalid_input(message: String) -> Value {
    json!({"statusCode": "INVALID_API_INPUT", "message": message, "fields": []})
}

fn require(input: &Map<String, Value>, name: &str) -> Result<(), Value> {
    match input.get(name) {
        Some(value) if !value.is_null() && value.as_str() != Some("") => Ok(()),
        _ => Err(invalid_input(format!("Missing required input parameter: {name}"))),
    }
}

async fn invoke_standard(
    State(shared): State<Shared>,
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            require_email(&name)?;
            let Invocation { inputs } = payload.typed("invocable action request")?;
            let outcomes = inputs.into_iter().map(|input| mail(call, input)).collect();
            Ok(told(EMAIL, outcomes))
        })
        .await
}

/// Nothing is sent: the mail is written into the ledger.
fn mail(call: &mut Call<'_>, mut input: Map<String, Value>) -> Outcome {
    for (name, _, required) in EMAIL_INPUTS {
        if required {
            require(&input, name)?;
        }
    }
    if require(&input, "emailAddressesArray").is_err() {
        require(&input, "emailAddresses")?;
    }
    if let Some(unknown) = input.keys().find(|key| !EMAIL_INPUTS.iter().any(|(name, ..)| name == key)) {
        return Err(invalid_input(format!("Invalid input parameter: {unknown}")));
    }
    input.insert("sentDate".to_owned(), json!(datetime(call.org.now())));
    input.insert("sentById".to_owned(), json!(call.user_id));
    call.org.ledger.emails.push(Value::Object(input));
    Ok(None)
}

async fn invoke_custom(
    State(shared): State<Shared>,
    Path((version, of, name)): Path<(String, String, String)>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let action = custom(call, &of, &name)?;
            let Invocation { inputs } = payload.typed("invocable action request")?;
            let one = |input: Map<String, Value>| -> Outcome {
                for name in &action.required {
                    require(&input, name)?;
                }
                if let Some(error) = &action.error {
                    return Err(json!({"statusCode": error.code, "message": error.message, "fields": []}));
                }
                let mut outputs = action.outputs.clone();
                if action.echo {
                    outputs.extend(input);
                }
                Ok(Some(outputs))
            };
            Ok(told(&action.name, inputs.into_iter().map(one).collect()))
        })
        .await
}
