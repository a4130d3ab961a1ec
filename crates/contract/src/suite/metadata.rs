//! The org's setup.

use std::time::Duration;

use tieline_client::metadata::{DeployOptions, DeployResult, Package};
use tieline_client::{Body, ClientError, Method, Request};

use super::{documented, memory, recorded, source};
use crate::answer::Answer;
use crate::case::{Case, unanswered};
use crate::expectation::{Area, Check, Expectation, Need, Unmet, not_applicable, same, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Metadata, name, source, check)
}

async fn soap(case: &Case<'_>, operation: &str) -> Result<Answer, Unmet> {
    let path = format!("/services/Soap/m/{}", case.connection().api_version());
    let request = Request::new(Method::POST, path).with_body(Body::MetadataSoap(operation.to_owned()));
    case.send(request).await
}

/// Has the org check a package, and tells how it ended. Nothing is changed.
async fn checked(case: &Case<'_>, package: &Package) -> Result<DeployResult, Unmet> {
    let options = DeployOptions { check_only: true, ..DeployOptions::default() };
    let failed = |error: ClientError| match error.salesforce_code() {
        Some("INSUFFICIENT_ACCESS") => Unmet::NotApplicable("the user may not change metadata".to_owned()),
        _ => unanswered(&error),
    };
    let id = case.connection().deploy(package, options).await.map_err(failed)?;
    let look = async || {
        let status = case.connection().deploy_status(&id).await.map_err(|error| unanswered(&error))?;
        Ok(status.done.then_some(status))
    };
    case.wait_for("the deploy", Duration::from_secs(300), look).await
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("the envelope of an answer has a prefix, and what is in it has none", source("5.1"), |case| {
            Box::pin(async move {
                let answer = soap(case, "<describeMetadata><asOfVersion>60.0</asOfVersion></describeMetadata>").await?;
                let text = answer.is(200)?.text();
                that(text.contains("<soapenv:Envelope") && text.contains("<soapenv:Body>"), "soapenv:", "another form")?;
                that(text.contains("<describeMetadataResponse><result>"), "an answer without a prefix", "another form")?;
                Ok("soapenv:".to_owned())
            })
        }),
        on("the types are told with folder, suffix and name", documented("5.2"), |case| {
            Box::pin(async move {
                let found = case.connection().describe_metadata().await.map_err(|error| unanswered(&error))?;
                let one = found.iter().find(|one| one.name == "PermissionSet");
                let Some(one) = one else { return not_applicable("the org does not tell of permission sets") };
                same("suffix", one.suffix.as_str(), "permissionset")?;
                same("folder", one.directory.as_str(), "permissionsets")?;
                Ok(format!("{} types", found.len()))
            })
        }),
        on("a session that has ended is a fault with status 500 and INVALID_SESSION_ID", source("5.1"), |case| {
            Box::pin(async move {
                let envelope = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope \
                    xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Header \
                    xmlns=\"http://soap.sforce.com/2006/04/metadata\"><SessionHeader><sessionId>00D000000000000!invalid\
                    </sessionId></SessionHeader></soapenv:Header><soapenv:Body \
                    xmlns=\"http://soap.sforce.com/2006/04/metadata\"><describeMetadata><asOfVersion>60.0</asOfVersion>\
                    </describeMetadata></soapenv:Body></soapenv:Envelope>";
                let answer = case.soap_raw("/services/Soap/m/60.0", envelope).await?.is(500)?;
                let good = answer.text().contains("<faultcode>sf:INVALID_SESSION_ID</faultcode>");
                that(good, "<faultcode>sf:INVALID_SESSION_ID</faultcode>", answer.shown())?;
                Ok("500".to_owned())
            })
        }),
        on("a list of what there is not is an answer without results", recorded("5.1"), |case| {
            Box::pin(async move {
                let operation = "<listMetadata><queries><type>Certificate</type></queries><asOfVersion>60.0</asOfVersion>\
                                 </listMetadata>";
                let text = soap(case, operation).await?.is(200)?.text();
                if text.contains("<result>") {
                    return not_applicable("this org has certificates");
                }
                that(text.contains("<listMetadataResponse/>"), "<listMetadataResponse/>", &text)?;
                Ok("<listMetadataResponse/>".to_owned())
            })
        }),
        on("a package without its manifest fails, and the problem says so", recorded("5.2"), |case| {
            Box::pin(async move {
                let mut zip = EMPTY_ZIP.to_vec();
                let boundary = "tielinecontract";
                let mut body = format!(
                    "--{boundary}\r\nContent-Disposition: form-data; name=\"json\"\r\nContent-Type: application/json\r\n\r\n\
                     {{\"deployOptions\":{{\"checkOnly\":true,\"singlePackage\":true,\"rollbackOnError\":true}}}}\r\n\
                     --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"deploy.zip\"\r\n\
                     Content-Type: application/zip\r\n\r\n"
                )
                .into_bytes();
                body.append(&mut zip);
                body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
                let content_type = format!("multipart/form-data; boundary={boundary}");
                let request = Request::new(Method::POST, case.path("metadata/deployRequest"));
                let request = request.with_body(Body::Raw { content_type, bytes: body.into() });
                let begun = case.send(request).await?.is(201)?.json()?;
                same("done", &begun["deployResult"]["done"], &serde_json::json!(false))?;
                let id = begun["id"].as_str().unwrap_or_default().to_owned();
                that(id.starts_with("0Af"), "an id 0Af…", &id)?;
                let look = async || {
                    let status = case.connection().deploy_status(&id).await.map_err(|error| unanswered(&error))?;
                    Ok(status.done.then_some(status))
                };
                let ended = case.wait_for("the deploy", Duration::from_secs(300), look).await?;
                same("status", ended.status.as_str(), "Failed")?;
                let problem = ended.failures().first().map(|failure| failure.problem.clone()).unwrap_or_default();
                that(problem.contains("No package.xml found"), "No package.xml found", &problem)?;
                Ok(problem)
            })
        })
        .needs(Need::Deploy),
        on("what the manifest names and the package lacks is a problem", memory("5.2"), |case| {
            Box::pin(async move {
                let mut package = Package::new(case.connection().api_version());
                package.add("PermissionSet", "TielineContract", "permissionsets/Other.permissionset", PERMISSION_SET);
                let ended = checked(case, &package).await?;
                same("status", ended.status.as_str(), "Failed")?;
                let problems: Vec<&str> = ended.failures().iter().map(|failure| failure.problem.as_str()).collect();
                let words = "was named in package.xml, but was not found in zipped directory";
                that(problems.iter().any(|problem| problem.contains(words)), words, problems.join("; "))?;
                Ok("Failed".to_owned())
            })
        })
        .needs(Need::Deploy),
        on("a good package is Succeeded when it is only checked, and changes nothing", documented("5.3"), |case| {
            Box::pin(async move {
                let mut package = Package::new(case.connection().api_version());
                let (name, file) = ("TielineContract", "permissionsets/TielineContract.permissionset");
                package.add("PermissionSet", name, file, PERMISSION_SET);
                let ended = checked(case, &package).await?;
                same("status", ended.status.as_str(), "Succeeded")?;
                let page = case.found("SELECT Id FROM PermissionSet WHERE Name = 'TielineContract'").await?;
                same("permission sets", &page["totalSize"], &serde_json::json!(0))?;
                Ok("Succeeded".to_owned())
            })
        })
        .needs(Need::Deploy),
    ]
}

const PERMISSION_SET: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
    <PermissionSet xmlns=\"http://soap.sforce.com/2006/04/metadata\"><label>Tieline Contract</label></PermissionSet>";

/// The end of an archive, and nothing before it (APPNOTE 4.3.16).
const EMPTY_ZIP: [u8; 22] = [b'P', b'K', 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
