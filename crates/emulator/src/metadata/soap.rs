//! `/services/Soap/m/…`: the Metadata API by SOAP, as every client speaks it.
//!
//! The response's envelope has a prefix and its payload has none: jsforce looks for exactly that.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::deploy::{self, Deploy, Message, Options, Status};
use super::retrieve::Retrieve;
use super::types::{CUSTOM_FIELD, CUSTOM_OBJECT, TYPES, Type};
use super::xml::{Node, element, element_raw};
use super::{NOT_ALLOWED, type_named};
use crate::Shared;
use crate::clock::datetime;
use crate::org::Org;

/// 39 MB of zip file in base64, and some room (Metadata API limits).
pub(crate) const BODY: usize = 60 * 1024 * 1024;

pub(crate) const NAMESPACE: &str = "http://soap.sforce.com/2006/04/metadata";

pub(crate) fn router() -> Router<Shared> {
    // What stands behind the version (an org's id, or whatever a client puts there) does not matter.
    Router::new()
        .route("/services/Soap/m/{version}", post(call))
        .route("/services/Soap/m/{version}/{*rest}", post(call))
        .layer(DefaultBodyLimit::max(BODY))
}

/// Code and text of a SOAP fault.
pub(crate) struct Fault(pub(crate) String, pub(crate) String);

impl Fault {
    pub(crate) fn new(code: &str, text: impl Into<String>) -> Self {
        Fault(code.to_owned(), text.into())
    }

    pub(crate) fn respond(&self, namespace: &str, detail: &str) -> Response {
        let body = element_raw(
            "soapenv:Fault",
            &(element("faultcode", format!("sf:{}", self.0))
                + &element("faultstring", format!("{}: {}", self.0, self.1))
                + detail),
        );
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:sf=\"{namespace}\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
        );
        (StatusCode::INTERNAL_SERVER_ERROR, [("content-type", "text/xml; charset=utf-8")], xml).into_response()
    }
}

pub(crate) fn envelope(namespace: &str, operation: &str, body: &str) -> Response {
    let payload = if body.is_empty() {
        format!("<{operation}Response/>")
    } else {
        element_raw(&format!("{operation}Response"), body)
    };
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns=\"{namespace}\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>{payload}</soapenv:Body></soapenv:Envelope>"
    );
    (StatusCode::OK, [("content-type", "text/xml; charset=utf-8")], xml).into_response()
}

/// The session in the header, and the operation in the body.
pub(crate) fn read(body: &[u8]) -> Result<(String, Node), Fault> {
    let malformed = |e: String| Fault::new("MALFORMED_REQUEST", e);
    let root = Node::parse(body).map_err(malformed)?;
    let session =
        root.child("Header").and_then(|h| h.child("SessionHeader")).map_or("", |h| h.get("sessionId")).to_owned();
    let mut operations = root.child("Body").cloned().unwrap_or_default().children;
    match operations.pop() {
        Some(operation) if operations.is_empty() => Ok((session, operation)),
        _ => Err(malformed("the Body must hold one operation".to_owned())),
    }
}

async fn call(State(shared): State<Shared>, body: Bytes) -> Response {
    let (session, operation) = match read(&body) {
        Ok(read) => read,
        Err(fault) => return fault.respond(NAMESPACE, ""),
    };
    let answer = shared
        .with_org(move |org| {
            let user = org.session(&session).map(|s| s.user_id.clone());
            let user = user.ok_or_else(|| {
                Fault::new("INVALID_SESSION_ID", "Invalid Session ID found in SessionHeader: Illegal Session")
            })?;
            org.count_calls(1);
            if !org.may_change_metadata(&user) {
                return Err(Fault::new(NOT_ALLOWED.0, NOT_ALLOWED.1));
            }
            Ok((answer(org, &operation, &user)?, operation.name))
        })
        .await;
    match answer {
        Ok((body, operation)) => envelope(NAMESPACE, &operation, &body),
        Err(fault) => fault.respond(NAMESPACE, ""),
    }
}

fn result(inner: &str) -> String {
    element_raw("result", inner)
}

fn answer(org: &mut Org, operation: &Node, user: &str) -> Result<String, Fault> {
    let unknown_id = |what: &str| Fault::new("INVALID_ID_FIELD", format!("Invalid {what} ID"));
    let id = operation.get("asyncProcessId");
    match operation.name.as_str() {
        "deploy" => {
            let zip = STANDARD.decode(operation.get("ZipFile").split_whitespace().collect::<String>());
            let zip = zip.map_err(|_| Fault::new("INVALID_FIELD", "ZipFile is not base64"))?;
            let options = operation.child("DeployOptions").map(Options::read).unwrap_or_default();
            let id = org.start_deploy(zip, options, user);
            Ok(result(&(element("done", false) + &element("id", id) + &element("state", "Queued"))))
        }
        "checkDeployStatus" => {
            let deploy = org.deploy(id).ok_or_else(|| unknown_id("deploy"))?;
            Ok(result(&deploy_result(org, deploy, operation.flag("includeDetails"))))
        }
        "cancelDeploy" => {
            let id =
                [operation.get("String"), operation.get("id")].into_iter().find(|t| !t.is_empty()).unwrap_or_default();
            org.cancel_deploy(id).map_err(|text| Fault::new("INVALID_ID_FIELD", text))?;
            Ok(result(&(element("done", true) + &element("id", id))))
        }
        "retrieve" => {
            let request = operation.child("request").or_else(|| operation.child("retrieveRequest"));
            let request = request.ok_or_else(|| Fault::new("MALFORMED_REQUEST", "retrieveRequest is missing"))?;
            let id = org.start_retrieve(request).map_err(|e| Fault::new("UNKNOWN_EXCEPTION", e))?;
            Ok(result(&(element("done", false) + &element("id", id) + &element("state", "Queued"))))
        }
        "checkRetrieveStatus" => {
            let retrieve = org.retrieve(id).ok_or_else(|| unknown_id("retrieve"))?;
            // jsforce asks for the file by not saying anything of it.
            Ok(result(&retrieve_result(org, id, retrieve, operation.flag_or("includeZip", true))))
        }
        "listMetadata" => Ok(list(org, operation)),
        "describeMetadata" => Ok(result(&describe())),
        "readMetadata" => {
            let of = known(operation.get("type"))?;
            let mut out = String::new();
            for name in operation.all("fullNames").map(|n| n.text.trim()) {
                out.push_str(&record(org, of, operation.get("type"), name)?);
            }
            Ok(result(&out))
        }
        "createMetadata" | "updateMetadata" | "upsertMetadata" => write(org, operation, user),
        "deleteMetadata" => {
            let of = known(operation.get("type"))?;
            let names: Vec<String> = operation.all("fullNames").map(|n| n.text.trim().to_owned()).collect();
            let parts = names.iter().map(|name| (name.clone(), None)).collect();
            let answers = deploy::directly(org, of, parts, user);
            Ok(names.iter().zip(answers).map(|(name, problem)| save_result(name, problem, None)).collect())
        }
        other => Err(Fault::new("INVALID_OPERATION", format!("No operation available for request {other}"))),
    }
}

fn known(type_name: &str) -> Result<&'static Type, Fault> {
    type_named(type_name).ok_or_else(|| Fault::new("INVALID_TYPE", format!("Unknown type: {type_name}")))
}

fn write(org: &mut Org, operation: &Node, user: &str) -> Result<String, Fault> {
    let mut out = String::new();
    for node in operation.all("metadata") {
        let kind = node.kind.clone().unwrap_or_default();
        let of = known(&kind)?;
        let name = node.get("fullName").to_owned();
        let there = org.component(of, &name).is_some();
        let problem = match (operation.name.as_str(), there) {
            ("createMetadata", true) => Some(format!("The {kind} named {name} already exists")),
            ("updateMetadata", false) => Some(format!("no {kind} named {name} found")),
            _ => deploy::directly(org, of, vec![(name.clone(), Some(node.clone()))], user).pop().flatten(),
        };
        let created = (operation.name == "upsertMetadata").then_some(!there);
        out.push_str(&save_result(&name, problem, created));
    }
    Ok(out)
}

fn save_result(name: &str, problem: Option<String>, created: Option<bool>) -> String {
    let errors = problem.as_ref().map_or_else(String::new, |problem| {
        element_raw("errors", &(element("message", problem) + &element("statusCode", "INVALID_FIELD")))
    });
    let created = created.map_or_else(String::new, |created| element("created", created));
    result(&(created + &errors + &element("fullName", name) + &element("success", problem.is_none())))
}

fn record(org: &Org, of: &'static Type, asked: &str, name: &str) -> Result<String, Fault> {
    match org.component(of, name) {
        Some(Ok(component)) => Ok(format!(
            "<records xsi:type=\"{asked}\">{}{}</records>",
            element("fullName", name),
            component.body.inner()
        )),
        Some(Err(problem)) => Err(Fault::new("INSUFFICIENT_ACCESS", problem)),
        // An unknown one is there, and empty.
        None => Ok("<records xsi:nil=\"true\"/>".to_owned()),
    }
}

fn properties(org: &Org, of: &Type, name: &str) -> String {
    let Some(Ok(component)) = org.component(of, name) else { return String::new() };
    let by = org.user_by_id(&component.by).ok().flatten().map_or_else(String::new, |user| user.username);
    let (created, modified) = (datetime(component.created), datetime(component.modified));
    [
        ("createdById", component.by.as_str()),
        ("createdByName", &by),
        ("createdDate", &created.replace("+0000", "Z")),
        ("fileName", &format!("unpackaged/{}", of.path(name))),
        ("fullName", name),
        ("id", &component.id),
        ("lastModifiedById", &component.by),
        ("lastModifiedByName", &by),
        ("lastModifiedDate", &modified.replace("+0000", "Z")),
        ("manageableState", "unmanaged"),
        ("type", of.name),
    ]
    .map(|(name, value)| element(name, value))
    .concat()
}

fn list(org: &Org, operation: &Node) -> String {
    let types = operation.all("queries").filter_map(|query| type_named(query.get("type")));
    types
        .flat_map(|of| org.component_names(of).into_iter().map(move |name| (of, name)))
        .map(|(of, name)| result(&properties(org, of, &name)))
        .collect()
}

fn describe() -> String {
    let types: String = TYPES
        .iter()
        .filter(|of| of.name != CUSTOM_FIELD)
        .map(|of| {
            let children =
                if of.name == CUSTOM_OBJECT { element("childXmlNames", CUSTOM_FIELD) } else { String::new() };
            let inner = children
                + &element("directoryName", of.folder)
                + &element("inFolder", false)
                + &element("metaFile", of.meta_file)
                + &element("suffix", of.suffix)
                + &element("xmlName", of.name);
            element_raw("metadataObjects", &inner)
        })
        .collect();
    types
        + &element("organizationNamespace", "")
        + &element("partialSaveAllowed", true)
        + &element("testRequired", false)
}

/// A deploy's result, in the WSDL's order.
fn deploy_result(org: &Org, deploy: &Deploy, details: bool) -> String {
    let by = org.user_by_id(&deploy.by).ok().flatten().map_or_else(String::new, |user| user.username);
    let (started, ended) = deploy.times();
    let mut out = element("checkOnly", deploy.options.check_only);
    if let Some(ended) = &ended {
        out += &element("completedDate", ended);
    }
    out += &(element("createdBy", &deploy.by) + &element("createdByName", by) + &element("createdDate", &started));
    if details {
        out += &element_raw("details", &details_of(deploy));
    }
    out += &element("done", deploy.done());
    for (name, value) in [
        ("id", deploy.id.clone()),
        ("ignoreWarnings", deploy.options.ignore_warnings.to_string()),
        ("numberComponentErrors", deploy.count(true).to_string()),
        ("numberComponentsDeployed", deploy.count(false).to_string()),
        ("numberComponentsTotal", (deploy.count(true) + deploy.count(false)).to_string()),
        ("numberTestErrors", "0".to_owned()),
        ("numberTestsCompleted", "0".to_owned()),
        ("numberTestsTotal", "0".to_owned()),
        ("rollbackOnError", deploy.options.rollback_on_error.to_string()),
        ("runTestsEnabled", "false".to_owned()),
        ("startDate", started),
        ("status", status(deploy).to_owned()),
        ("success", matches!(deploy.status, Status::Succeeded | Status::SucceededPartial).to_string()),
    ] {
        out += &element(name, value);
    }
    out
}

pub(crate) fn status(deploy: &Deploy) -> &'static str {
    match deploy.status {
        Status::Pending => "Pending",
        Status::InProgress => "InProgress",
        Status::Succeeded => "Succeeded",
        Status::SucceededPartial => "SucceededPartial",
        Status::Failed => "Failed",
        Status::Canceled => "Canceled",
    }
}

fn details_of(deploy: &Deploy) -> String {
    let (time, ended) = deploy.times();
    let line = |message: &Message| {
        let mut inner = element("changed", message.problem.is_none() && !message.type_name.is_empty())
            + &element("componentType", &message.type_name)
            + &element("created", message.created)
            + &element("createdDate", ended.as_ref().unwrap_or(&time))
            + &element("deleted", message.deleted)
            + &element("fileName", &message.file)
            + &element("fullName", &message.full_name);
        if let Some(id) = &message.id {
            inner += &element("id", id);
        }
        if let Some(problem) = &message.problem {
            inner += &(element("problem", problem) + &element("problemType", "Error"));
        }
        inner + &element("success", message.problem.is_none())
    };
    let part = |name: &str, failed: bool| -> String {
        let those = deploy.messages.iter().filter(|message| message.problem.is_some() == failed);
        those.map(|message| element_raw(name, &line(message))).collect()
    };
    let tests = element("numFailures", 0) + &element("numTestsRun", 0) + &element("totalTime", "0.0");
    part("componentFailures", true) + &part("componentSuccesses", false) + &element_raw("runTestResult", &tests)
}

fn retrieve_result(org: &Org, id: &str, retrieve: &Retrieve, zip: bool) -> String {
    let mut out = element("done", true);
    for (of, name) in &retrieve.files {
        out += &element_raw("fileProperties", &properties(org, of, name));
    }
    out += &element("id", id);
    for problem in &retrieve.problems {
        out +=
            &element_raw("messages", &(element("fileName", "unpackaged/package.xml") + &element("problem", problem)));
    }
    out += &(element("status", "Succeeded") + &element("success", true));
    if zip {
        out += &element("zipFile", STANDARD.encode(&retrieve.zip));
    }
    out
}
