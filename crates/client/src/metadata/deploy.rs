//! `metadata/deployRequest`: deploy, look how it goes, cancel.

use bytes::Bytes;
use reqwest::Method;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::package::Package;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::request::{Body, Request};
use crate::wait::Wait;

/// How to deploy. A deploy that fails changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeployOptions {
    /// Only check whether it would succeed.
    pub check_only: bool,
    /// Warnings are no failure.
    pub ignore_warnings: bool,
    /// What the package deletes does not go to the recycle bin.
    pub purge_on_delete: bool,
    /// Which Apex tests run; without one the org decides.
    pub tests: Option<TestLevel>,
}

/// Which Apex tests run with a deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TestLevel {
    /// None; not for production.
    NoTestRun,
    /// These classes.
    RunSpecifiedTests(Vec<String>),
    /// All of the org's own.
    RunLocalTests,
    /// All, those of packages too.
    RunAllTestsInOrg,
}

impl DeployOptions {
    fn written(&self) -> Value {
        let mut options = json!({
            "checkOnly": self.check_only, "rollbackOnError": true, "singlePackage": true,
            "ignoreWarnings": self.ignore_warnings, "purgeOnDelete": self.purge_on_delete, "allowMissingFiles": false,
            "autoUpdatePackage": false, "performRetrieve": false,
        });
        if let Some(tests) = &self.tests {
            options["testLevel"] = json!(match tests {
                TestLevel::NoTestRun => "NoTestRun",
                TestLevel::RunSpecifiedTests(_) => "RunSpecifiedTests",
                TestLevel::RunLocalTests => "RunLocalTests",
                TestLevel::RunAllTestsInOrg => "RunAllTestsInOrg",
            });
        }
        if let Some(TestLevel::RunSpecifiedTests(classes)) = &self.tests {
            options["runTests"] = json!(classes);
        }
        options
    }
}

/// How a deploy stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeployResult {
    /// Its id (`0Af…`).
    pub id: String,
    /// It has ended, one way or the other.
    #[serde(deserialize_with = "flag")]
    pub done: bool,
    /// It has ended well.
    #[serde(deserialize_with = "flag")]
    pub success: bool,
    /// `Pending`, `InProgress`, `FinalizingDeploy`, `Succeeded`, `SucceededPartial`, `Failed`, `Canceling`, `Canceled`, …
    pub status: String,
    /// Why it could not even begin.
    #[serde(default)]
    pub error_message: Option<String>,
    /// Components that have passed so far.
    #[serde(default, deserialize_with = "number")]
    pub number_components_deployed: u64,
    /// Components in all; zero while that is not known.
    #[serde(default, deserialize_with = "number")]
    pub number_components_total: u64,
    #[serde(default)]
    details: Option<Details>,
    /// What else the org says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    #[serde(deserialize_with = "one_or_many")]
    component_failures: Vec<ComponentMessage>,
    #[serde(deserialize_with = "one_or_many")]
    component_successes: Vec<ComponentMessage>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// What became of a component.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ComponentMessage {
    /// Metadata type; empty for `package.xml`.
    #[serde(deserialize_with = "nullable")]
    pub component_type: String,
    /// The component's name.
    pub full_name: String,
    /// Its file in the package.
    pub file_name: String,
    /// It was not there before.
    #[serde(deserialize_with = "flag")]
    pub created: bool,
    /// It is not there any more.
    #[serde(deserialize_with = "flag")]
    pub deleted: bool,
    /// What is wrong with it; empty if nothing is.
    #[serde(deserialize_with = "nullable")]
    pub problem: String,
    /// Line of the problem; zero where the org names none.
    #[serde(deserialize_with = "number")]
    pub line_number: u64,
    /// What else the org says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

fn nullable<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

/// Orgs write booleans and numbers as they are, and as text: the developer guide's own sample does.
fn flag<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    Ok(match Value::deserialize(value)? {
        Value::Bool(flag) => flag,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    })
}

fn number<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    Ok(match Value::deserialize(value)? {
        Value::Number(number) => number.as_u64().unwrap_or(0),
        Value::String(text) => text.parse().unwrap_or(0),
        _ => 0,
    })
}

/// JSON made of XML has one object where a list has one member.
fn one_or_many<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<ComponentMessage>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Shape {
        Many(Vec<ComponentMessage>),
        One(Box<ComponentMessage>),
        None(()),
    }
    Ok(match Shape::deserialize(value)? {
        Shape::Many(all) => all,
        Shape::One(one) => vec![*one],
        Shape::None(()) => Vec::new(),
    })
}

impl DeployResult {
    /// Components that failed.
    pub fn failures(&self) -> &[ComponentMessage] {
        self.details.as_ref().map_or(&[], |details| &details.component_failures)
    }

    /// Components that passed, `package.xml` among them.
    pub fn successes(&self) -> &[ComponentMessage] {
        self.details.as_ref().map_or(&[], |details| &details.component_successes)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    deploy_result: DeployResult,
}

impl Connection {
    /// Hands a package in and answers the deploy's id; [`Connection::deploy_status`] tells how it goes.
    ///
    /// # Errors
    /// As [`Connection::send`]. `INSUFFICIENT_ACCESS`: the user may not change metadata.
    pub async fn deploy(&self, package: &Package, options: DeployOptions) -> Result<String, ClientError> {
        let zip = package.zip().map_err(|e| ClientError::Unsendable {
            org: self.org().to_owned(),
            what: "deploy".to_owned(),
            reason: format!("the package cannot be written: {e}"),
        })?;
        self.deploy_zip(&zip, &options).await
    }

    /// The same with a package that is a zip file already, with `package.xml` at its top.
    ///
    /// # Errors
    /// As [`Connection::deploy`].
    pub async fn deploy_zip(&self, zip: &[u8], options: &DeployOptions) -> Result<String, ClientError> {
        let told = json!({"deployOptions": options.written()});
        let boundary = format!("tieline-{:032x}", fastrand::u128(..));
        let mut body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"json\"\r\nContent-Type: application/json\r\n\r\n{told}\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"deploy.zip\"\r\n\
             Content-Type: application/zip\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(zip);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let request = Request::new(Method::POST, self.data_path("metadata/deployRequest"))
            .with_body(Body::Raw { content_type, bytes: Bytes::from(body) })
            // The same package twice leaves the org as once.
            .repeatable(true);
        Ok(self.send_json::<Answer>(&request).await?.deploy_result.id)
    }

    /// Deploys for good what a deploy with [`DeployOptions::check_only`] has checked with its tests within the last ten
    /// days, and answers the new deploy's id.
    ///
    /// # Errors
    /// As [`Connection::send`]; `NOT_FOUND` for a check that cannot be deployed so.
    pub async fn quick_deploy(&self, checked: &str) -> Result<String, ClientError> {
        let body = json!({"validatedDeployRequestId": checked});
        let request = self.json(Method::POST, "metadata/deployRequest", &body)?;
        Ok(self.send_json::<Answer>(&request).await?.deploy_result.id)
    }

    /// Waits until a deploy has ended, well or not, and shows `seen` how it stands at each look.
    ///
    /// # Errors
    /// [`ClientError::StillRunning`] when the time is over: the deploy goes on. As [`Connection::send`] otherwise.
    pub async fn wait_for_deploy(
        &self,
        id: &str,
        wait: &Wait,
        mut seen: impl FnMut(&DeployResult),
    ) -> Result<DeployResult, ClientError> {
        let mut waiting = wait.begin();
        loop {
            let status = self.deploy_status(id).await?;
            seen(&status);
            if status.done {
                return Ok(status);
            }
            waiting.pause(self.org(), id, &status.status).await?;
        }
    }

    /// How a deploy stands, with what became of each component.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn deploy_status(&self, id: &str) -> Result<DeployResult, ClientError> {
        let path = self.data_path(&format!("metadata/deployRequest/{id}?includeDetails=true"));
        Ok(self.send_json::<Answer>(&Request::get(path)).await?.deploy_result)
    }

    /// Asks the org to stop a deploy; it may take a while, and [`Connection::deploy_status`] tells when it has.
    ///
    /// # Errors
    /// As [`Connection::send`]; `INVALID_ID_FIELD` when it has ended already.
    pub async fn cancel_deploy(&self, id: &str) -> Result<(), ClientError> {
        let path = self.data_path(&format!("metadata/deployRequest/{id}"));
        let body = Bytes::from_static(br#"{"deployResult":{"status":"Canceling"}}"#);
        let request = Request::new(Method::PATCH, path).with_body(Body::Json(body));
        self.send(&request).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_in_every_form_that_orgs_were_seen_to_write() {
        // One member instead of a list, and text instead of booleans and numbers, as recorded from an org.
        let told = json!({
            "id": "0Af1h00000fCQgsCAG", "done": "true", "success": false, "status": "Failed",
            "numberComponentsTotal": "32", "numberComponentsDeployed": 31,
            "details": {
                "componentSuccesses": {"componentType": "", "fullName": "package.xml", "created": "false", "success": "true"},
                "componentFailures": {"componentType": "ApexClass", "fullName": "A", "problem": "bad", "lineNumber": "22"},
            },
        });
        let result: DeployResult = serde_json::from_value(told).unwrap();
        assert!(result.done && !result.success);
        assert_eq!((result.number_components_total, result.number_components_deployed), (32, 31));
        assert_eq!((result.failures()[0].problem.as_str(), result.failures()[0].line_number), ("bad", 22));
        assert_eq!(result.successes().len(), 1);
        let pending = json!({"id": "0Af", "done": false, "success": false, "status": "Pending", "details": {"componentFailures": null}});
        assert!(serde_json::from_value::<DeployResult>(pending).unwrap().failures().is_empty());
    }
}
