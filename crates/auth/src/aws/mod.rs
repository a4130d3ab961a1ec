//! AWS's services, over our own HTTP client: signed JSON requests, the five operations that Tieline needs of each.
//!
//! Credentials and region come from where AWS's own tools look: environment, profile, web identity, container (which is
//! also how Lambda gives them after SnapStart), instance metadata. Signing and that chain are the crate
//! `reqsign-aws-v4`; an SDK crate for each service would make the extension three times as large
//! (docs/decisions/0008).
//!
//! Protocols: AWS JSON 1.0 (DynamoDB, SQS) and 1.1 (the others), as the services' API references describe them.

pub mod kms;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, RequestSigner};
use reqsign_core::{Context, Env, HttpSend, Signer};
use serde_json::Value;
use url::Url;

use crate::error::ConfigError;
use crate::host::is_loopback;
use crate::http::{innermost, service_client, without_url};

/// One request of the credential chain: instance metadata answers in milliseconds or does not exist.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
/// AWS answers these within tens of milliseconds; a connection that hangs is not worth the wait of a whole login.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts of what may be asked again, and the longest pause in between.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(400);

/// A service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Tables.
    DynamoDb,
    /// Keys.
    Kms,
    /// Secrets.
    SecretsManager,
    /// Queues.
    Sqs,
    /// Parameters.
    Ssm,
}

impl Service {
    /// Host prefix and signing name; prefix of the operation's name; version of the JSON protocol; suffix of the
    /// endpoint variable.
    fn wire(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Service::DynamoDb => ("dynamodb", "DynamoDB_20120810", "1.0", "DYNAMODB"),
            Service::Kms => ("kms", "TrentService", "1.1", "KMS"),
            Service::SecretsManager => ("secretsmanager", "secretsmanager", "1.1", "SECRETS_MANAGER"),
            Service::Sqs => ("sqs", "AmazonSQS", "1.0", "SQS"),
            Service::Ssm => ("ssm", "AmazonSSM", "1.1", "SSM"),
        }
    }
}

/// A call to AWS failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("AWS {service} {operation} failed: {code}{}{message}", if message.is_empty() { "" } else { ": " })]
pub struct AwsError {
    /// `kms`, `dynamodb`, …
    pub service: &'static str,
    /// `Sign`, `GetItem`, …
    pub operation: String,
    /// AWS's word for it, such as `AccessDeniedException`; ours where it did not answer.
    pub code: String,
    /// What AWS said.
    pub message: String,
    /// It may work later, as it is.
    pub passing: bool,
}

impl AwsError {
    /// The next act.
    pub fn hint(&self) -> String {
        let Self { service, operation, code, .. } = self;
        match code.as_str() {
            "AccessDeniedException" => {
                format!("allow {service}:{operation} on it in the policy of this program's role")
            }
            "ResourceNotFoundException" | "ParameterNotFound" | "NotFoundException" | "QueueDoesNotExist" => {
                "check the name, the account and the region (AWS_REGION)".to_owned()
            }
            "NoCredentials" if !self.passing => {
                "give this program a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE)"
                    .to_owned()
            }
            "ExpiredTokenException" | "UnrecognizedClientException" | "InvalidSignatureException" => {
                "renew this program's AWS credentials, and check this machine's clock".to_owned()
            }
            "InvalidCiphertextException" | "IncorrectKeyException" => {
                "encrypt it again: it was damaged, or encrypted with another key or for another function".to_owned()
            }
            "BadEndpoint" => "set AWS_ENDPOINT_URL to an https:// address, or not at all".to_owned(),
            _ if self.passing => "try again; in a private subnet, see that there is a VPC endpoint for it".to_owned(),
            _ => format!("see what AWS says about {code}"),
        }
    }
}

/// AWS, as this process may use it. Cheap to clone; clones share credentials and connections.
#[derive(Debug, Clone)]
pub struct Aws {
    signer: Arc<ArcSwap<Signer<Credential>>>,
    http: reqwest::Client,
    region: String,
    variables: Variables,
}

/// With nothing of credentials looked up yet.
fn signer(http: &reqwest::Client, variables: &Variables, region: &str) -> Signer<Credential> {
    let context = Context::new().with_env(variables.clone()).with_file_read(Files).with_http_send(Http(http.clone()));
    Signer::new(context, DefaultCredentialProvider::new(), RequestSigner::new("", region))
}

/// Where variables come from.
pub type Variable = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

#[derive(Clone)]
struct Variables(Variable);

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[variables]")
    }
}

impl Variables {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }
}

/// The variables that the credential chain asks for all at once.
const CHAIN: [&str; 12] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_EXTERNAL_ID",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
];

impl Env for Variables {
    fn var(&self, key: &str) -> Option<String> {
        self.get(key)
    }

    fn vars(&self) -> HashMap<String, String> {
        CHAIN.into_iter().filter_map(|name| Some((name.to_owned(), self.get(name)?))).collect()
    }

    fn home_dir(&self) -> Option<PathBuf> {
        self.get("HOME").or_else(|| self.get("USERPROFILE")).map(PathBuf::from)
    }
}

impl Aws {
    /// As this process's environment says.
    ///
    /// # Errors
    /// No region is set, or HTTPS cannot be prepared on this machine.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(Arc::new(|name| std::env::var(name).ok()))
    }

    /// The same from any source of variables: `AWS_REGION` (or `AWS_DEFAULT_REGION`) now, the others when they are
    /// needed.
    ///
    /// # Errors
    /// As [`Aws::from_env`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tieline_auth::aws::Aws;
    /// let aws = Aws::from_variables(Arc::new(|name| (name == "AWS_REGION").then(|| "eu-central-1".to_owned()))).unwrap();
    /// assert_eq!(aws.region(), "eu-central-1");
    /// assert!(Aws::from_variables(Arc::new(|_| None)).unwrap_err().hint().contains("AWS_REGION"));
    /// ```
    pub fn from_variables(variable: Variable) -> Result<Self, ConfigError> {
        let variables = Variables(variable);
        let region = variables.get("AWS_REGION").or_else(|| variables.get("AWS_DEFAULT_REGION")).ok_or_else(|| {
            ConfigError::new("AWS is to be used, and AWS_REGION is not set", "set AWS_REGION, such as eu-central-1")
        })?;
        let http = service_client().map_err(|e| {
            ConfigError::new(
                format!("could not prepare HTTPS: {}", innermost(&e)),
                "install the system's CA certificates (Debian: apt-get install ca-certificates)",
            )
        })?;
        let signer = Arc::new(ArcSwap::from_pointee(signer(&http, &variables, &region)));
        Ok(Self { signer, http, region, variables })
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Calls an operation once; once more where the credentials at hand have ended. `resource`: its ARN, if it has one,
    /// says which region.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn call(
        &self,
        service: Service,
        operation: &str,
        resource: &str,
        body: &Value,
    ) -> Result<Answer, AwsError> {
        match self.send(service, operation, resource, body).await {
            // Those of a profile do not say when they end; somebody may have renewed them meanwhile.
            Err(error) if ["ExpiredTokenException", "ExpiredToken"].contains(&error.code.as_str()) => {
                self.signer.store(Arc::new(signer(&self.http, &self.variables, &self.region)));
                self.send(service, operation, resource, body).await
            }
            outcome => outcome,
        }
    }

    async fn send(&self, service: Service, operation: &str, resource: &str, body: &Value) -> Result<Answer, AwsError> {
        let (name, target, json, suffix) = service.wire();
        let failed = |code: &str, message: String, passing| AwsError {
            service: name,
            operation: operation.to_owned(),
            code: code.to_owned(),
            message,
            passing,
        };
        let region = region_of(resource).unwrap_or(&self.region);
        let url =
            endpoint(&self.variables, name, suffix, region).map_err(|reason| failed("BadEndpoint", reason, false))?;
        let body = Bytes::from(body.to_string());
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let request = http::Request::post(url.as_str())
            .header("content-type", format!("application/x-amz-json-{json}"))
            .header("x-amz-target", format!("{target}.{operation}"))
            .header("x-amz-content-sha256", digest)
            .body(())
            .map_err(|e| failed("BadRequest", e.to_string(), false))?;
        let mut head = request.into_parts().0;
        let signer = Signer::clone(&self.signer.load()).with_request_signer(RequestSigner::new(name, region));
        // Signed when it is sent: a signature that was made before a freeze would have run out after it.
        signer.sign(&mut head, None).await.map_err(|e| failed("NoCredentials", e.to_string(), e.is_retryable()))?;
        let sent = self.http.request(head.method, url).headers(head.headers).timeout(CALL_TIMEOUT).body(body);
        let lost = |e: reqwest::Error| failed("NoAnswer", innermost(&without_url(e)), true);
        let response = sent.send().await.map_err(lost)?;
        let (status, date) = (response.status(), response.headers().get("date").cloned());
        let date = date.and_then(|date| date.to_str().ok().map(str::to_owned));
        let text = response.bytes().await.map_err(lost)?;
        let value: Value = serde_json::from_slice(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(Answer { value, date });
        }
        // `com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException`
        let code = value["__type"].as_str().and_then(|text| text.rsplit('#').next()).unwrap_or_default();
        let code = if code.is_empty() { format!("HTTP {}", status.as_u16()) } else { code.to_owned() };
        let message = value["message"].as_str().or_else(|| value["Message"].as_str()).unwrap_or_default();
        let passing = status.is_server_error()
            || status.as_u16() == 429
            || ["Throttl", "TooManyRequests", "LimitExceeded", "ProvisionedThroughput", "RequestLimit"]
                .iter()
                .any(|word| code.contains(word));
        Err(failed(&code, message.to_owned(), passing))
    }

    /// Calls an operation that may be asked again: up to three times, while the failure may pass.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn ask(
        &self,
        service: Service,
        operation: &str,
        resource: &str,
        body: &Value,
    ) -> Result<Value, AwsError> {
        let mut attempt = 1;
        loop {
            match self.call(service, operation, resource, body).await {
                Ok(answer) => return Ok(answer.value),
                Err(error) if error.passing && attempt < ATTEMPTS => {
                    tracing::info!(%error, "asking AWS once more");
                    tokio::time::sleep(PAUSE.mul_f64(fastrand::f64())).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What AWS answered.
#[derive(Debug)]
pub struct Answer {
    /// The body.
    pub value: Value,
    /// The `Date` header: AWS's clock, to the second.
    pub date: Option<String>,
}

/// `arn:aws:kms:eu-central-1:…`
fn region_of(resource: &str) -> Option<&str> {
    let mut parts = resource.split(':');
    let region = (parts.next() == Some("arn")).then(|| parts.nth(2)).flatten()?;
    // It becomes part of a host name.
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (!region.is_empty() && region.bytes().all(fits)).then_some(region)
}

/// `AWS_ENDPOINT_URL_KMS`, `AWS_ENDPOINT_URL`, or the service's own address in the region.
fn endpoint(variables: &Variables, service: &str, suffix: &str, region: &str) -> Result<Url, String> {
    let variable = |name: &str| variables.get(name);
    let heeded = variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_none_or(|value| value != "true");
    let configured = variable(&format!("AWS_ENDPOINT_URL_{suffix}")).or_else(|| variable("AWS_ENDPOINT_URL"));
    let text = configured.filter(|_| heeded).unwrap_or_else(|| {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://{service}.{region}.{domain}/")
    });
    let url = Url::parse(&text).map_err(|e| format!("`{text}` is not a URL ({e})"))?;
    // A VPC endpoint may have any name, but never plain HTTP: requests and answers hold secrets.
    match url.scheme() == "https" || is_loopback(&url) {
        true => Ok(url),
        false => Err(format!("{text} is not https")),
    }
}

/// What the credential chain reads: profiles, and the token files of web identities and containers.
#[derive(Debug)]
struct Files;

impl reqsign_core::FileRead for Files {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        tokio::fs::read(path)
            .await
            .map_err(|e| reqsign_core::Error::unexpected(format!("could not read {path}")).with_source(e))
    }
}

/// What the credential chain asks: STS, container and instance metadata.
#[derive(Debug)]
struct Http(reqwest::Client);

impl HttpSend for Http {
    async fn http_send(&self, request: http::Request<Bytes>) -> reqsign_core::Result<http::Response<Bytes>> {
        let failed = |e: reqwest::Error| reqsign_core::Error::unexpected("no answer").with_source(without_url(e));
        let (head, body) = request.into_parts();
        let request = self.0.request(head.method, head.uri.to_string()).headers(head.headers);
        let mut response = request.timeout(METADATA_TIMEOUT).body(body).send().await.map_err(failed)?;
        let mut answer = http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            std::mem::swap(headers, response.headers_mut());
        }
        let body = response.bytes().await.map_err(failed)?;
        answer.body(body).map_err(|e| reqsign_core::Error::unexpected("no answer").with_source(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_says_its_region() {
        assert_eq!(region_of("arn:aws:kms:us-west-2:111122223333:key/1"), Some("us-west-2"));
        assert_eq!(region_of("alias/tieline"), None);
        assert_eq!(region_of("arn:aws:kms::1:key/1"), None);
        assert_eq!(region_of("arn:aws:ssm:evil.example/x:1:parameter/x"), None);
    }
}
