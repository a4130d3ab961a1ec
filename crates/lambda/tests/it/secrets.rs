//! Settings in AWS: secrets, parameters, encrypted variables, keys that sign there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tieline_auth::aws::{Service, Variable};
use tieline_lambda::broker::Broker;
use tieline_lambda::sources::Sources;

use crate::moto::Moto;
use crate::world::{Running, SECRET, World, run, system};

async fn broker(variable: Variable) -> Running {
    let orgs = Sources::new(variable, system(), "67.0").orgs().unwrap();
    run(Broker::new(SECRET, orgs, system())).await
}

/// The settings of a login by client credentials, as a secret holds them.
fn client_credentials(world: &World) -> Value {
    let info = world.info();
    json!({ "SF_LOGIN_URL": info.login_url, "SF_CLIENT_ID": info.client_id, "SF_CLIENT_SECRET": info.client_secret, "owner": "crm team" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_come_from_every_place_that_aws_has_for_them() {
    let Some(moto) = Moto::start().await else { return };
    let world = World::new().await;
    let info = world.info();
    moto.secret("tieline/prod", &client_credentials(&world).to_string()).await;
    // As Secrets Manager keeps and rotates it itself.
    let managed = json!({ "consumerKey": info.client_id, "consumerSecret": info.client_secret, "baseUri": info.login_url, "appId": "0x1", "consumerId": "1" });
    moto.secret("managed", &managed.to_string()).await;
    let parameter =
        json!({ "Name": "/tieline/crm", "Type": "SecureString", "Value": client_credentials(&world).to_string() });
    moto.admin(Service::Ssm, "PutParameter", parameter).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sf.json");
    std::fs::write(&file, client_credentials(&world).to_string()).unwrap();
    let places = format!(
        "default=secretsmanager:tieline/prod, managed=secretsmanager:managed, crm=ssm:/tieline/crm, file=file:{}, own=env",
        file.display()
    );
    // One variable is encrypted, as Lambda's console does it; the key is bound to the function.
    let key = moto.admin(Service::Kms, "CreateKey", json!({})).await["KeyMetadata"]["KeyId"].take();
    let encrypted = moto.admin(
        Service::Kms,
        "Encrypt",
        json!({
            "KeyId": key,
            "Plaintext": STANDARD.encode(&info.client_secret),
            "EncryptionContext": { "LambdaFunctionName": "orders" },
        }),
    );
    let encrypted = format!("kms:{}", encrypted.await["CiphertextBlob"].as_str().unwrap());
    let more = [
        ("TIELINE_CONNECTIONS", places.as_str()),
        ("SF_LOGIN_URL", &info.login_url),
        ("SF_CLIENT_ID", "secretsmanager:tieline/prod#SF_CLIENT_ID"),
        ("SF_CLIENT_SECRET", &encrypted),
    ];
    let named = |function: &str| {
        let variable = moto.variable_with(more);
        let function = function.to_owned();
        let with: Variable = std::sync::Arc::new(move |name| match name {
            "AWS_LAMBDA_FUNCTION_NAME" => Some(function.clone()),
            name => variable(name),
        });
        with
    };
    // Another one is bound to nothing, as `aws kms encrypt` makes it; that works in a function too.
    let plain = json!({ "KeyId": key, "Plaintext": STANDARD.encode(&info.client_secret) });
    let plain = moto.admin(Service::Kms, "Encrypt", plain).await["CiphertextBlob"].take();
    let mut unbound = client_credentials(&world);
    unbound["SF_CLIENT_SECRET"] = format!("kms:{}", plain.as_str().unwrap()).into();
    std::fs::write(&file, unbound.to_string()).unwrap();
    let running = broker(named("orders")).await;
    assert_eq!(running.broker.orgs().names().collect::<Vec<_>>(), ["crm", "default", "file", "managed", "own"]);
    for connection in ["default", "managed", "crm", "file", "own"] {
        let token = running.token(&world.http, &format!("?connection={connection}")).await;
        assert_eq!(world.call(&token).await, 200, "{connection}");
    }
    // Another function cannot use what was encrypted for this one.
    let other = broker(named("another")).await;
    let (status, _, body) = other.ask(&world.http, "?connection=own").await;
    assert_eq!((status, &body["code"]), (500, &json!("configuration")), "{body}");
    assert!(!body.to_string().contains("InvalidCiphertext"), "AWS's words are in the log: {body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kms_signs_and_keeps_the_key() {
    let Some(moto) = Moto::start().await else { return };
    let created =
        moto.admin(Service::Kms, "CreateKey", json!({ "KeyUsage": "SIGN_VERIFY", "KeySpec": "RSA_2048" })).await;
    let id = created["KeyMetadata"]["KeyId"].as_str().unwrap();
    let key = tieline_auth::aws::kms::KmsKey::key(moto.aws(), id).await.unwrap();
    let message = b"header.claims";
    let signature = key.sign(message).await.unwrap();
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
        key.public_key().unwrap().to_vec(),
    );
    public.verify(message, &signature).unwrap();
    for (bad, said) in [("", "no key of KMS"), ("a b", "no key of KMS"), ("absent", "NotFoundException")] {
        let error = tieline_auth::aws::kms::KmsKey::key(moto.aws(), bad).await.unwrap_err();
        assert!(error.to_string().contains(said) && !error.hint().is_empty(), "{bad}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_in_aws_is_said_in_the_log_and_by_kind_to_the_caller() {
    let Some(moto) = Moto::start().await else { return };
    let world = World::new().await;
    moto.secret("empty", "{}").await;
    moto.secret("text", "not json").await;
    let places = "default=secretsmanager:absent,empty=secretsmanager:empty,text=secretsmanager:text,ssm=ssm:/absent";
    let running = broker(moto.variable_with([("TIELINE_CONNECTIONS", places)])).await;
    for connection in ["default", "empty", "text", "ssm"] {
        let (status, _, body) = running.ask(&world.http, &format!("?connection={connection}")).await;
        assert_eq!(
            (status, &body["code"], &body["retryable"]),
            (500, &json!("configuration"), &json!(false)),
            "{body}"
        );
    }
    // AWS itself cannot be reached: that passes.
    let variable = moto.variable_with([("TIELINE_CONNECTIONS", places), ("AWS_ENDPOINT_URL", "http://127.0.0.1:9")]);
    let (status, after, body) = broker(variable).await.ask(&world.http, "").await;
    assert_eq!((status, &body["code"], &body["retryable"]), (503, &json!("secret_unavailable"), &json!(true)));
    assert!(after.is_some());
    for (store, said) in [("dynamodb:x", "no name of a table"), ("redis://x", "no token store here")] {
        let sources =
            Sources::new(moto.variable_with([("TIELINE_MASTER_KEY", &STANDARD.encode([7; 32]))]), system(), "67.0");
        let error = sources.token_store(store, None).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let sources = Sources::new(moto.variable(), system(), "67.0");
    let error = sources.token_store("dynamodb:table", None).await.unwrap_err();
    assert!(error.hint().contains("TIELINE_MASTER_KEY=secretsmanager:"), "{error}");
}
