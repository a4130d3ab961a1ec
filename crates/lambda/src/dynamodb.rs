//! A token store in a DynamoDB table: what functions share that have no server of their own.
//!
//! One item a key. Every rule is a condition of one `UpdateItem`, so that DynamoDB itself decides who was first:
//!
//! | attribute | type | |
//! | --- | --- | --- |
//! | `key` | S | partition key, the only one |
//! | `version`, `sealed` | N, B | the value; absent before the first one |
//! | `fence` | N | highest fencing number granted |
//! | `owner`, `until` | S, N | who holds the lease, to which millisecond |
//! | `expires` | N | second after which DynamoDB may remove the item: its TTL attribute |
//!
//! DynamoDB has no clock that a condition could use. Leases are counted by the clock of its answers (`Date`), so that
//! machines whose clocks differ agree; what is left is a second, and a lease lasts fifteen.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tieline_auth::aws::{Aws, AwsError, Service};
use tieline_auth::token_store::{Answer, Entry, Lease, Swap, Take, TokenStore, TokenStoreError};
use tieline_auth::{Clock, ConfigError};

/// An item that nobody has written to for so long is of no use to anybody: no refresh token is left unused for a year
/// and works.
const KEPT_FOR: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// `Date` has no fractions of a second.
const SECOND: i64 = 1_000;
/// A lease that ends so much later than a fresh one would was granted by a clock that has been set back since.
const NO_LEASE_LASTS_LONGER: i64 = 10 * 60 * 1_000;
const CHECK_FAILED: &str = "ConditionalCheckFailedException";

/// Tokens in a DynamoDB table.
#[derive(Debug)]
pub struct DynamoDbStore {
    aws: Aws,
    table: String,
    clock: Arc<dyn Clock>,
    /// DynamoDB's clock less ours, in milliseconds.
    offset: AtomicI64,
}

impl DynamoDbStore {
    /// A table by its name or ARN. Nothing is asked yet.
    ///
    /// # Errors
    /// The text is no name of a table.
    pub fn new(aws: Aws, table: &str, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:/".contains(&byte);
        if table.len() < 3 || table.len() > 1024 || !table.bytes().all(fits) {
            return Err(ConfigError::new(
                format!("TIELINE_TOKEN_STORE names the DynamoDB table `{table}`, which is no name of a table"),
                "write it like dynamodb:tieline-tokens, or dynamodb:arn:aws:dynamodb:REGION:ACCOUNT:table/NAME",
            ));
        }
        Ok(Self { aws, table: table.to_owned(), clock, offset: AtomicI64::new(0) })
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond() + self.offset.load(Ordering::Relaxed)
    }

    /// One request. The condition that did not hold is an answer, not a failure.
    async fn ask(&self, operation: &str, mut body: Value) -> Result<Option<Value>, TokenStoreError> {
        body["TableName"] = self.table.as_str().into();
        let sent = self.clock.now().as_millisecond();
        match self.aws.call(Service::DynamoDb, operation, &self.table, &body).await {
            Ok(answer) => {
                if let Some(theirs) = answer.date.and_then(|date| jiff::fmt::rfc2822::parse(&date).ok()) {
                    let received = self.clock.now().as_millisecond();
                    self.offset.store(offset(theirs.timestamp().as_millisecond(), sent, received), Ordering::Relaxed);
                }
                Ok(Some(answer.value))
            }
            Err(error) if error.code == CHECK_FAILED => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &AwsError) -> TokenStoreError {
        TokenStoreError { store: self.describe(), reason: format!("{error} (hint: {})", error.hint()) }
    }

    async fn item(&self, key: &str) -> Result<Value, TokenStoreError> {
        let body = json!({ "Key": { "key": { "S": key } }, "ConsistentRead": true });
        let answer = self.ask("GetItem", body).await?;
        Ok(answer.map(|mut answer| answer["Item"].take()).unwrap_or_default())
    }

    /// `None`: the condition does not hold.
    async fn update(
        &self,
        key: &str,
        update: &str,
        condition: &str,
        mut values: Value,
    ) -> Result<Option<Value>, TokenStoreError> {
        let expires = self.now() / 1_000 + i64::try_from(KEPT_FOR.as_secs()).unwrap_or(i64::MAX / 2_000);
        values[":expires"] = number(expires);
        // Some of the names are words of DynamoDB's language.
        let used = |name: &&str| update.contains(&format!("#{name}")) || condition.contains(&format!("#{name}"));
        let names = ["version", "sealed", "fence", "owner", "until"].into_iter().filter(used);
        let mut names: serde_json::Map<String, Value> = names.map(|name| (format!("#{name}"), name.into())).collect();
        names.insert("#expires".to_owned(), "expires".into());
        let body = json!({
            "Key": { "key": { "S": key } },
            "UpdateExpression": update.replacen("SET ", "SET #expires = :expires, ", 1),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "ReturnValues": "ALL_NEW",
        });
        let answer = self.ask("UpdateItem", body).await?;
        Ok(answer.map(|mut answer| answer["Attributes"].take()))
    }
}

/// How far a clock is behind one that said `date` (rounded down to the second) at some moment between `sent` and
/// `received`; as little as that can mean. A process that was frozen in between learns nothing wrong.
fn offset(date: i64, sent: i64, received: i64) -> i64 {
    let (least, most) = (date - received, date + SECOND - sent);
    if least > 0 { least } else { most.min(0) }
}

fn number(value: impl std::fmt::Display) -> Value {
    json!({ "N": value.to_string() })
}

fn read<T: std::str::FromStr>(item: &Value, name: &str) -> Option<T> {
    item[name]["N"].as_str()?.parse().ok()
}

impl TokenStore for DynamoDbStore {
    fn describe(&self) -> String {
        format!("DynamoDB table {} in {}", self.table, self.aws.region())
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn load<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            let item = self.item(key).await?;
            let Some(version) = read(&item, "version") else { return Ok(None) };
            let sealed = item["sealed"]["B"].as_str().and_then(|text| STANDARD.decode(text).ok());
            let sealed = sealed.ok_or_else(|| TokenStoreError {
                store: self.describe(),
                reason: format!("the item {key} holds no value"),
            })?;
            Ok(Some(Entry { version, sealed }))
        })
    }

    fn lease<'a>(&'a self, key: &'a str, owner: &'a str, time: Duration, take: Take) -> Answer<'a, Lease> {
        Box::pin(async move {
            let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4);
            loop {
                let now = self.now();
                let until = now.saturating_add(time);
                let own = json!({ ":owner": { "S": owner }, ":until": number(until) });
                let mut values = own.clone();
                values[":one"] = number(1);
                values[":none"] = number(0);
                let mut free = "attribute_not_exists(#owner)".to_owned();
                match take {
                    Take::ByForce => free.push_str(" OR #owner <> :owner"),
                    Take::IfFree => {
                        values[":now"] = number(now);
                        values[":too_late"] = number(until.saturating_add(NO_LEASE_LASTS_LONGER));
                        free.push_str(" OR (#owner <> :owner AND (#until <= :now OR #until > :too_late))");
                    }
                }
                let taken = "SET #owner = :owner, #until = :until, #fence = if_not_exists(#fence, :none) + :one";
                for (update, condition, values) in
                    [(taken, free.as_str(), values), ("SET #until = :until", "#owner = :owner", own)]
                {
                    let item = self.update(key, update, condition, values).await?;
                    if let Some(fence) = item.and_then(|item| read(&item, "fence")) {
                        return Ok(Lease::Held { fence });
                    }
                }
                let holder = self.item(key).await?;
                let until: Option<i64> = read(&holder, "until");
                if let Some(left) = until.map(|until| until - self.now()).filter(|left| *left > 0) {
                    return Ok(Lease::Busy { remaining: Duration::from_millis(left.unsigned_abs()) });
                }
                // It has ended meanwhile.
            }
        })
    }

    fn compare_and_swap<'a>(&'a self, key: &'a str, expected: u64, fence: u64, sealed: &'a [u8]) -> Answer<'a, Swap> {
        Box::pin(async move {
            let mut values = json!({
                ":next": number(expected + 1),
                ":fence": number(fence),
                ":sealed": { "B": STANDARD.encode(sealed) },
            });
            let unchanged = match expected {
                0 => "attribute_not_exists(#version)",
                _ => {
                    values[":expected"] = number(expected);
                    "#version = :expected"
                }
            };
            let condition = format!("{unchanged} AND #fence = :fence");
            let update = "SET #version = :next, #sealed = :sealed";
            let written = self.update(key, update, &condition, values).await?;
            Ok(if written.is_some() { Swap::Done(expected + 1) } else { Swap::Refused })
        })
    }

    fn release<'a>(&'a self, key: &'a str, owner: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let body = json!({
                "Key": { "key": { "S": key } },
                "UpdateExpression": "REMOVE #owner, #until",
                "ConditionExpression": "#owner = :owner",
                "ExpressionAttributeNames": { "#owner": "owner", "#until": "until" },
                "ExpressionAttributeValues": { ":owner": { "S": owner } },
            });
            self.ask("UpdateItem", body).await.map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::offset;

    #[test]
    fn a_clock_is_corrected_by_what_is_certain() {
        // They agree, however the second was rounded, and however long the answer took.
        assert_eq!(offset(10_000, 10_400, 10_450), 0);
        assert_eq!(offset(10_000, 10_990, 11_050), 0);
        assert_eq!(offset(10_000, 10_400, 60_000), 0, "frozen before the answer was read");
        // Ours is an hour behind, or ahead.
        assert_eq!(offset(3_610_000, 10_000, 10_100), 3_599_900);
        assert_eq!(offset(10_000, 3_610_500, 3_610_600), -3_599_500);
    }
}
