//! A secret in Secrets Manager as the home of a refresh token that the org replaces.
//!
//! Secrets Manager writes whatever it is given; what makes a write conditional is the label `AWSCURRENT`, which can be
//! moved only away from the version that one says it is on (API Reference, `UpdateSecretVersionStage`). So a new
//! version is put there under a label of ours, and then made the current one, if nobody was faster.
//!
//! Beside the token stands where it is in its chain: `SF_REFRESH_TOKEN_GENERATION`, a text as all values of such a secret
//! are, with `{"since", "turn", "first", "of"}` in it. `of` is the token's digest: where it is that of another token, a
//! person has put that one there, and the record says nothing about it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tieline_auth::Secret;
use tieline_auth::aws::{Aws, AwsError, Service};
use tieline_auth::refresh_token_home::{AtHome, Generation, Home, RefreshTokenHome, Replaced, Successor};
use tieline_auth::token_store::random_seed;

use crate::digest::Digest;

/// The label of the version that counts.
const CURRENT: &str = "AWSCURRENT";
/// The label of a version that is about to become the current one.
const NEXT: &str = "TIELINE_NEXT";
/// Others may write to the secret meanwhile; not so often in a row.
const ATTEMPTS: u32 = 3;

/// A secret as it is now.
pub(crate) struct Current {
    pub(crate) text: String,
    arn: String,
    version: String,
    created: Timestamp,
}

/// Reads a secret by name or ARN. `None`: it is not text.
pub(crate) async fn read(aws: &Aws, id: &str) -> Result<Option<Current>, AwsError> {
    let body = json!({ "SecretId": id, "VersionStage": CURRENT });
    let mut answer = aws.ask(Service::SecretsManager, "GetSecretValue", id, &body).await?;
    let Value::String(text) = answer["SecretString"].take() else { return Ok(None) };
    let member = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    // Seconds with fractions; without it a token is of no known age, and older than all that are.
    let milliseconds = answer["CreatedDate"].as_f64().map_or(0, |seconds| (seconds * 1_000.0) as i64);
    let created = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Some(Current { text, arn: member("ARN"), version: member("VersionId"), created }))
}

/// What stands beside a token.
#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    generation: Generation,
    first: String,
    of: String,
}

fn record_name(field: &str) -> String {
    format!("{field}_GENERATION")
}

impl Current {
    fn object(&self) -> Option<Map<String, Value>> {
        serde_json::from_str(&self.text).ok()
    }

    /// The home of the refresh token in this field, if there is one.
    pub(crate) fn home(&self, aws: &Aws, field: &str) -> Option<Home> {
        let AtHome { generation, .. } = self.token(&self.object()?, field)?;
        let place = Arc::new(SecretHome { aws: aws.clone(), arn: self.arn.clone(), field: field.to_owned() });
        Some(Home { generation, place })
    }

    fn token(&self, object: &Map<String, Value>, field: &str) -> Option<AtHome> {
        let token = object.get(field)?.as_str()?;
        let record = object.get(&record_name(field)).and_then(Value::as_str);
        let record = record.and_then(|text| serde_json::from_str::<Record>(text).ok());
        let own = record.filter(|record| record.of == Digest::of(token.as_bytes()).hex());
        let (generation, first) = match own {
            Some(record) => (record.generation, Some(record.first)),
            None => (Generation { since: self.created, turn: 0 }, None),
        };
        Some(AtHome { token: Secret::new(token), generation, first })
    }
}

/// One field of one secret.
#[derive(Debug)]
struct SecretHome {
    aws: Aws,
    arn: String,
    field: String,
}

impl SecretHome {
    /// The secret, its content, and the token in it.
    async fn look(&self) -> Result<(Current, Map<String, Value>, AtHome), String> {
        let current = read(&self.aws, &self.arn).await.map_err(|error| told(&error))?;
        let gone = || format!("there is no text {} in it any more (hint: put it back)", self.field);
        let current = current.ok_or_else(gone)?;
        let object = current.object().ok_or_else(gone)?;
        let token = current.token(&object, &self.field).ok_or_else(gone)?;
        Ok((current, object, token))
    }

    /// `None`: somebody else has written meanwhile.
    async fn replace_once(&self, successor: &Successor) -> Result<Option<Replaced>, String> {
        let (current, mut object, there) = self.look().await?;
        let Successor { token, generation, first, .. } = successor;
        if there.token.expose() == token.expose() {
            return Ok(Some(Replaced::Done));
        }
        if !successor.may_replace(&there) {
            return Ok(Some(Replaced::Kept));
        }
        let of = Digest::of(token.expose().as_bytes()).hex();
        let record = json!(Record { generation: *generation, first: first.clone(), of });
        object.insert(self.field.clone(), token.expose().into());
        object.insert(record_name(&self.field), record.to_string().into());
        let body = json!({
            "SecretId": self.arn,
            "SecretString": Value::Object(object).to_string(),
            "VersionStages": [NEXT],
            "ClientRequestToken": format!("{:016x}{:016x}", random_seed(), random_seed()),
        });
        let written = self.ask("PutSecretValue", &body).await.map_err(|error| told(&error))?;
        let body = json!({
            "SecretId": self.arn,
            "VersionStage": CURRENT,
            "RemoveFromVersionId": current.version,
            "MoveToVersionId": written["VersionId"],
        });
        match self.ask("UpdateSecretVersionStage", &body).await {
            Ok(_) => Ok(Some(Replaced::Done)),
            Err(error) if error.code == "InvalidParameterException" => Ok(None),
            Err(error) => Err(told(&error)),
        }
    }

    async fn ask(&self, operation: &str, body: &Value) -> Result<Value, AwsError> {
        self.aws.ask(Service::SecretsManager, operation, &self.arn, body).await
    }
}

fn told(error: &AwsError) -> String {
    format!("{error} (hint: {})", error.hint())
}

impl RefreshTokenHome for SecretHome {
    fn describe(&self) -> String {
        format!("the field {} of the secret {}", self.field, self.arn)
    }

    fn name(&self) -> String {
        format!("secretsmanager:{}#{}", self.arn, self.field)
    }

    fn read(&self) -> BoxFuture<'_, Result<AtHome, String>> {
        Box::pin(async { Ok(self.look().await?.2) })
    }

    fn replace<'a>(&'a self, successor: &'a Successor) -> BoxFuture<'a, Result<Replaced, String>> {
        Box::pin(async move {
            for _ in 0..ATTEMPTS {
                if let Some(outcome) = self.replace_once(successor).await? {
                    return Ok(outcome);
                }
            }
            Err("others write to it at the same time (hint: see who does)".to_owned())
        })
    }
}
