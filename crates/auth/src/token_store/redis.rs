//! A store in Redis (or Valkey), for a fleet of machines.
//!
//! Each operation is one Lua script, so that nobody sees a step of it, and leases end by the server's clock. How
//! durable a value is depends on the server: with rotation of refresh tokens it should run with
//! `appendonly yes` and `appendfsync always`, for a rotated token that is lost cannot be had again.

use std::time::Duration;

use redis::Script;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

use super::{Answer, Entry, Lease, Swap, Take, TokenStore, TokenStoreError};

/// KEYS: value, lease. ARGV: owner, milliseconds, force. Answers fence and remaining milliseconds; fence 0 is busy.
const LEASE: &str = r"
local holder = redis.call('GET', KEYS[2])
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
  return {tonumber(redis.call('HGET', KEYS[1], 'fence')), 0}
end
if holder and ARGV[3] == '0' then return {0, redis.call('PTTL', KEYS[2])} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {redis.call('HINCRBY', KEYS[1], 'fence', 1), 0}";

/// KEYS: value. ARGV: expected version, fence, sealed. Answers the new version; 0 is refused.
const SWAP: &str = r"
local now = redis.call('HMGET', KEYS[1], 'version', 'fence')
if (now[1] or '0') ~= ARGV[1] or (now[2] or '0') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'sealed', ARGV[3])
return redis.call('HINCRBY', KEYS[1], 'version', 1)";

/// KEYS: lease. ARGV: owner.
const RELEASE: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0";

/// Silence after which a call to Redis has failed.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Tokens in Redis, as hashes named `tieline:{key}`.
#[derive(Clone)]
pub struct RedisStore {
    connection: ConnectionManager,
    address: String,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").field("address", &self.address).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Connects to `redis://[user:password@]host[:port][/database]`; `rediss://` is TLS.
    ///
    /// # Errors
    /// The URL is not one, or the server cannot be reached. The password is not in the message.
    pub async fn connect(url: &str) -> Result<Self, TokenStoreError> {
        let address = match url::Url::parse(url) {
            Ok(url) => format!("redis {}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(6379)),
            Err(_) => "redis".to_owned(),
        };
        let failed = |error: redis::RedisError| TokenStoreError { store: address.clone(), reason: error.to_string() };
        let client = redis::Client::open(url).map_err(failed)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT))
            .set_number_of_retries(2);
        let connection = client.get_connection_manager_with_config(config).await.map_err(failed)?;
        Ok(Self { connection, address })
    }

    fn failed(&self, error: &redis::RedisError) -> TokenStoreError {
        TokenStoreError { store: self.address.clone(), reason: error.to_string() }
    }
}

/// The braces keep both keys on one node of a cluster.
fn keys(key: &str) -> (String, String) {
    (format!("tieline:{{{key}}}"), format!("tieline:{{{key}}}:lease"))
}

impl TokenStore for RedisStore {
    fn describe(&self) -> String {
        self.address.clone()
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn load<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            let mut connection = self.connection.clone();
            let (version, sealed): (Option<u64>, Option<Vec<u8>>) = redis::cmd("HMGET")
                .arg(keys(key).0)
                .arg(&["version", "sealed"])
                .query_async(&mut connection)
                .await
                .map_err(|e| self.failed(&e))?;
            Ok(version.zip(sealed).map(|(version, sealed)| Entry { version, sealed }))
        })
    }

    fn lease<'a>(&'a self, key: &'a str, owner: &'a str, time: Duration, take: Take) -> Answer<'a, Lease> {
        Box::pin(async move {
            let mut connection = self.connection.clone();
            let (value, lease) = keys(key);
            let (fence, remaining): (u64, i64) = Script::new(LEASE)
                .key(value)
                .key(lease)
                .arg(owner)
                .arg(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
                .arg(u8::from(take == Take::ByForce))
                .invoke_async(&mut connection)
                .await
                .map_err(|e| self.failed(&e))?;
            Ok(match fence {
                0 => Lease::Busy { remaining: Duration::from_millis(u64::try_from(remaining).unwrap_or(0)) },
                fence => Lease::Held { fence },
            })
        })
    }

    fn compare_and_swap<'a>(&'a self, key: &'a str, expected: u64, fence: u64, sealed: &'a [u8]) -> Answer<'a, Swap> {
        Box::pin(async move {
            let mut connection = self.connection.clone();
            let version: u64 = Script::new(SWAP)
                .key(keys(key).0)
                .arg(expected)
                .arg(fence)
                .arg(sealed)
                .invoke_async(&mut connection)
                .await
                .map_err(|e| self.failed(&e))?;
            Ok(if version == 0 { Swap::Refused } else { Swap::Done(version) })
        })
    }

    fn release<'a>(&'a self, key: &'a str, owner: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut connection = self.connection.clone();
            Script::new(RELEASE)
                .key(keys(key).1)
                .arg(owner)
                .invoke_async::<i64>(&mut connection)
                .await
                .map_err(|e| self.failed(&e))?;
            Ok(())
        })
    }
}
