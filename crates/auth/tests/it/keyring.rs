//! Data keys under real key services: moved from one to the other, refused to whom they do not belong, and at hand while
//! the service is away. Scenarios 32 and 34.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tieline_auth::ManualClock;
use tieline_auth::keyring::{CacheRules, DataKeys, Keyring, KeyringError, Place};

#[cfg(feature = "aws")]
use crate::key_services::Moto;
use crate::key_services::OpenBao;
use crate::world::watch_logs;

const ID: [u8; 16] = *b"an id of a key..";
const PLACE: Place<'static> = Place { tenant: "acme", table: "integrations", row: "1", column: "secret" };

fn vault(address: &str, token: &str) -> impl Fn(&str) -> Option<String> + Send + Sync + 'static {
    let (address, token) = (address.to_owned(), token.to_owned());
    move |name| match name {
        "VAULT_ADDR" => Some(address.clone()),
        "VAULT_TOKEN" => Some(token.clone()),
        _ => None,
    }
}

fn seen(error: &KeyringError) -> String {
    format!("{error} {error:?} {}", error.hint())
}

#[tokio::test]
async fn a_transit_key_wraps_for_one_owner_and_is_never_made_by_mistake() {
    watch_logs();
    let Some(server) = OpenBao::start().await else { return };
    let ring = |place: &str, token: &str| {
        Keyring::from_spec(&format!("transit:{place}"), vault(&server.address, token)).unwrap()
    };
    // The owner's token could make the key by using it.
    let error = ring("transit/data", server.root()).wrap_new(ID, "acme").await.unwrap_err();
    assert!(!error.passing() && error.to_string().contains("there is no such key"), "{error}");
    assert!(error.hint().contains("bao write -f transit/keys/data type=aes256-gcm96"), "{}", error.hint());
    assert_eq!(server.ask("GET", "transit/keys/data", serde_json::Value::Null).await.0, 404, "it was not made");
    server.key("signing", "rsa-2048").await;
    let error = ring("transit/signing", server.root()).wrap_new(ID, "acme").await.unwrap_err();
    assert!(error.to_string().contains("of type rsa-2048") && error.hint().contains("aes256-gcm96"), "{error}");

    server.key("data", "aes256-gcm96").await;
    // A token that may encrypt and decrypt with the key and nothing else is enough.
    let right = |name: &str| format!("path \"transit/{name}/data\" {{ capabilities = [\"update\"] }}\n");
    let token = server.token("both", &(right("encrypt") + &right("decrypt"))).await;
    let (owner, narrow) = (ring("transit/data", server.root()), ring("transit/data", &token));
    for ring in [&owner, &narrow] {
        let (key, wrapped) = ring.wrap_new(ID, "acme").await.unwrap();
        assert_eq!(wrapped.service, "transit:transit/data");
        assert!(wrapped.bytes.starts_with(b"vault:v"));
        let sealed = key.seal(b"secret", &PLACE).unwrap();
        // Its key may be rotated there.
        assert_eq!(server.ask("POST", "transit/keys/data/rotate", json!({})).await.0, 200);
        let again = ring.unwrap(&wrapped.service, &wrapped.bytes, ID, "acme").await.unwrap();
        assert_eq!(&**again.open(&sealed, &PLACE).unwrap(), b"secret");
        for (id, context) in [(ID, "other"), ([0; 16], "acme")] {
            let error = ring.unwrap(&wrapped.service, &wrapped.bytes, id, context).await.unwrap_err();
            assert!(!error.passing() && error.to_string().contains("authentication failed"), "{error}");
            assert!(error.hint().contains("its own integration alone"), "{}", error.hint());
        }
        let error = ring.unwrap(&wrapped.service, b"no key at all", ID, "acme").await.unwrap_err();
        assert!(!error.passing(), "{error}");
        // The service's token is not in what can be printed.
        let all = format!("{ring:?} {} {key:?}", seen(&error));
        assert!(!all.contains(server.root()) && !all.contains(&token), "{all}");
    }
    let (_, wrapped) = owner.wrap_new(ID, "acme").await.unwrap();
    let weak = ring("transit/data", &server.token("one", &right("encrypt")).await);
    weak.wrap_new(ID, "acme").await.unwrap();
    let error = weak.unwrap(&wrapped.service, &wrapped.bytes, ID, "acme").await.unwrap_err();
    assert!(!error.passing() && error.to_string().contains("403"), "{error}");
    assert!(error.hint().contains("`update` on transit/encrypt/data and transit/decrypt/data"), "{}", error.hint());
}

#[tokio::test]
async fn s32_data_keys_at_hand_serve_while_the_key_service_is_killed_and_sealed() {
    watch_logs();
    let Some(mut server) = OpenBao::start().await else { return };
    server.key("data", "aes256-gcm96").await;
    let ring = Keyring::from_spec("transit:transit/data", vault(&server.address, server.root())).unwrap();
    let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap()));
    let keys = DataKeys::new(Arc::new(ring), clock.clone(), CacheRules::default());
    let (key, wrapped) = keys.ring().wrap_new(ID, "acme").await.unwrap();
    let (_, other) = keys.ring().wrap_new([0; 16], "acme").await.unwrap();
    let sealed = key.seal(b"secret", &PLACE).unwrap();
    keys.get(ID, &wrapped, "acme").await.unwrap();

    server.kill();
    clock.advance(Duration::from_secs(10 * 60));
    let at_hand = keys.get(ID, &wrapped, "acme").await.unwrap();
    assert_eq!(&**at_hand.open(&sealed, &PLACE).unwrap(), b"secret");
    let error = keys.get([0; 16], &other, "acme").await.unwrap_err();
    assert!(error.passing() && error.hint().contains(&server.address), "{error} {}", error.hint());
    let error = keys.ring().wrap_new([1; 16], "acme").await.unwrap_err();
    assert!(error.passing(), "what is new is refused, and not stored unsealed: {error}");

    // It is back, and nobody has unsealed it yet.
    server.restart().await;
    clock.advance(Duration::from_secs(60));
    keys.get(ID, &wrapped, "acme").await.unwrap();
    let error = keys.get([0; 16], &other, "acme").await.unwrap_err();
    assert!(error.passing() && error.to_string().contains("503") && error.hint().contains("unsealed"), "{error}");
    clock.advance(Duration::from_secs(60 * 60));
    assert!(keys.get(ID, &wrapped, "acme").await.unwrap_err().passing(), "an hour is the end of it");
    server.unseal().await;
    let again = keys.get(ID, &wrapped, "acme").await.unwrap();
    assert_eq!(&**again.open(&sealed, &PLACE).unwrap(), b"secret");

    // A right that was taken away ends with the key's freshness.
    assert_eq!(server.ask("POST", "auth/token/revoke-self", json!({})).await.0, 204);
    keys.get(ID, &wrapped, "acme").await.unwrap();
    clock.advance(Duration::from_secs(5 * 60));
    let error = keys.get(ID, &wrapped, "acme").await.unwrap_err();
    assert!(!error.passing() && error.to_string().contains("403"), "{error}");
    server.kill();
    assert!(keys.get(ID, &wrapped, "acme").await.unwrap_err().passing(), "nothing is at hand any more");
}

#[cfg(feature = "aws")]
#[tokio::test]
async fn a_data_key_goes_from_a_local_key_to_kms_and_on_to_transit() {
    watch_logs();
    let Some(moto) = Moto::start().await else { return };
    let Some(server) = OpenBao::start().await else { return };
    server.key("data", "aes256-gcm96").await;
    let (id, local) = (moto.key(json!({})).await, "ab".repeat(32));
    let ring = |spec: &str| {
        let (aws, vault) = (moto.variables(), vault(&server.address, server.root()));
        Keyring::from_spec(spec, move |name| aws(name).or_else(|| vault(name))).unwrap()
    };
    let (key, wrapped) = ring(&local).wrap_new(ID, "acme").await.unwrap();
    let sealed = key.seal(b"secret", &PLACE).unwrap();

    let in_kms = ring(&format!("kms:{id},{local}"));
    let wrapped = in_kms.rewrap(&wrapped, ID, "acme").await.unwrap().unwrap();
    assert_eq!(wrapped.service, format!("kms:{id}"));
    assert_eq!(in_kms.rewrap(&wrapped, ID, "acme").await.unwrap(), None);
    let alone = ring(&format!("kms:{id}"));
    let again = alone.unwrap(&wrapped.service, &wrapped.bytes, ID, "acme").await.unwrap();
    assert_eq!(&**again.open(&sealed, &PLACE).unwrap(), b"secret");
    for (id, context) in [(ID, "other"), ([0; 16], "acme")] {
        let error = alone.unwrap(&wrapped.service, &wrapped.bytes, id, context).await.unwrap_err();
        assert!(!error.passing() && error.to_string().contains("InvalidCiphertextException"), "{error}");
        assert!(error.hint().contains("its own integration alone") && !seen(&error).contains("planted"), "{error}");
    }

    let in_transit = ring(&format!("transit:transit/data,kms:{id}"));
    let moved = in_transit.rewrap(&wrapped, ID, "acme").await.unwrap().unwrap();
    let alone = ring("transit:transit/data");
    let last = alone.unwrap(&moved.service, &moved.bytes, ID, "acme").await.unwrap();
    assert_eq!(&**last.open(&sealed, &PLACE).unwrap(), b"secret");
    let error = alone.unwrap(&wrapped.service, &wrapped.bytes, ID, "acme").await.unwrap_err();
    assert!(matches!(&error, KeyringError::Missing { .. }) && error.hint().contains(&id), "{error}");
}

#[cfg(feature = "aws")]
#[tokio::test]
async fn a_key_in_kms_that_is_not_there_is_told_from_one_out_of_reach() {
    watch_logs();
    let Some(moto) = Moto::start().await else { return };
    let (id, next) = (moto.key(json!({})).await, moto.key(json!({})).await);
    moto.admin("CreateAlias", json!({ "AliasName": "alias/tieline", "TargetKeyId": id })).await;
    let ring = |spec: &str| Keyring::from_spec(spec, moto.variables()).unwrap();
    let aliased = ring("kms:alias/tieline");
    let (_, wrapped) = aliased.wrap_new(ID, "acme").await.unwrap();
    // An alias is pointed at another key: what the earlier one wrapped unwraps still.
    moto.admin("UpdateAlias", json!({ "AliasName": "alias/tieline", "TargetKeyId": next })).await;
    aliased.unwrap(&wrapped.service, &wrapped.bytes, ID, "acme").await.unwrap();

    let absent = ring("kms:alias/absent").wrap_new(ID, "acme").await.unwrap_err();
    assert!(!absent.passing() && absent.hint().contains("aws kms create-key"), "{absent} {}", absent.hint());
    let direct = ring(&format!("kms:{id}"));
    direct.wrap_new(ID, "acme").await.unwrap();
    drop(moto);
    let away = direct.wrap_new(ID, "acme").await.unwrap_err();
    assert!(away.passing() && !seen(&away).contains("planted"), "{away}");
    let error = Keyring::from_spec("kms:not a key", |_| Some("eu-central-1".to_owned())).unwrap_err();
    assert!(error.to_string().contains("is no key of KMS"), "{error}");
    let error = Keyring::from_spec(&format!("kms:{id}"), |_| None).unwrap_err();
    assert!(error.hint().contains("AWS_REGION"), "{error}");
}
