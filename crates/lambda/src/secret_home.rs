//! A secret in Secrets Manager as the home of a refresh token that the org replaces.
//!
//! Secrets Manager writes whatever it is given; what makes a write conditional is the label `AWSCURRENT`, which can be
//! moved only away from the version that one says it is on (API Reference, `UpdateSecretVersionStage`). So a new
//! version is put there under a label of ours, and then made the current one, if nobody was faster.
//!
//! Beside the token stands of which generation it is: `SF_REFRESH_TOKEN_GENERATION`, `{"since", "turn", "of"}`. `of` is
//! the token's digest: where it is that of another token, a person has put that one there, and a new chain begins with
//! it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tieline_auth::Secret;
use tieline_auth::aws::{Aws, AwsError, Service};
use tieline_auth::refresh_token_home::{Generation, Home, RefreshTokenHome};
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
    of: String,
}

fn record_name(field: &str) -> String {
    format!("{field}_GENERATION")
}

impl Current {
    /// The home of the refresh token in this field, if there is one.
    pub(crate) fn home(&self, aws: &Aws, field: &str) -> Option<Home> {
        let object: Map<String, Value> = serde_json::from_str(&self.text).ok()?;
        let generation = self.generation(&object, field)?;
        let place = Arc::new(SecretHome { aws: aws.clone(), arn: self.arn.clone(), field: field.to_owned() });
        Some(Home { generation, place })
    }

    fn generation(&self, object: &Map<String, Value>, field: &str) -> Option<Generation> {
        let token = object.get(field)?.as_str()?;
        let record = object.get(&record_name(field)).and_then(|record| Record::deserialize(record).ok());
        let own = record.filter(|record| record.of == Digest::of(token.as_bytes()).hex());
        Some(own.map_or(Generation { since: self.created, turn: 0 }, |record| record.generation))
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
    /// False: somebody else has written meanwhile.
    async fn replace_once(&self, generation: Generation, token: &Secret) -> Result<bool, AwsError> {
        let current = read(&self.aws, &self.arn).await?;
        let object = current.as_ref().and_then(|current| serde_json::from_str(&current.text).ok());
        let (Some(current), Some(mut object)) = (current, object) else { return Ok(true) };
        // A person has taken the token out, or put a newer one in; or this one is there already.
        if current.generation(&object, &self.field).is_none_or(|there| there >= generation) {
            return Ok(true);
        }
        let of = Digest::of(token.expose().as_bytes()).hex();
        object.insert(self.field.clone(), token.expose().into());
        object.insert(record_name(&self.field), json!(Record { generation, of }));
        let body = json!({
            "SecretId": self.arn,
            "SecretString": Value::Object(object).to_string(),
            "VersionStages": [NEXT],
            "ClientRequestToken": format!("{:016x}{:016x}", random_seed(), random_seed()),
        });
        let written = self.ask("PutSecretValue", &body).await?;
        let body = json!({
            "SecretId": self.arn,
            "VersionStage": CURRENT,
            "RemoveFromVersionId": current.version,
            "MoveToVersionId": written["VersionId"],
        });
        match self.ask("UpdateSecretVersionStage", &body).await {
            Ok(_) => Ok(true),
            Err(error) if error.code == "InvalidParameterException" => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, operation: &str, body: &Value) -> Result<Value, AwsError> {
        self.aws.ask(Service::SecretsManager, operation, &self.arn, body).await
    }
}

impl RefreshTokenHome for SecretHome {
    fn describe(&self) -> String {
        format!("secretsmanager:{}#{}", self.arn, self.field)
    }

    fn replace<'a>(&'a self, generation: Generation, token: &'a Secret) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            for _ in 0..ATTEMPTS {
                match self.replace_once(generation, token).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(error) => return Err(format!("{error} (hint: {})", error.hint())),
                }
            }
            Err("others write to it at the same time (hint: see who does)".to_owned())
        })
    }
}
