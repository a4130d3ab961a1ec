//! Keys that are not in a file: in a real keychain, and in a real key service that they never leave.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tieline_auth::aws::Service;

use crate::desk::{Desk, apps};
use crate::moto::Moto;
use crate::org::{Org, PROGRAM, json as parse, run, tieline};
use crate::parts::part;

#[test]
fn the_private_key_is_in_the_keychain_and_in_no_file() {
    if part("keychain", "TIELINE_TEST_KEYCHAIN").is_none() {
        return;
    }
    let org = Org::start(&["--contacts", "2"]);
    let desk = Desk::new();
    let out = desk.out();
    let setup =
        format!("'{PROGRAM}' setup jwt --non-interactive --json --key keychain --output '{out}' --poll-seconds 1");
    let script = format!(
        "{setup} && {setup} && unset SF_ACCESS_TOKEN SF_INSTANCE_URL && set -a && . '{out}/.env.jwt' && set +a \
         && '{PROGRAM}' whoami --json && '{PROGRAM}' doctor --json --certificate '{out}/public.crt'"
    );
    let environment = [("SF_ACCESS_TOKEN", org.get("access_token")), ("SF_INSTANCE_URL", org.get("instance_url"))];
    let (fine, told, err) = crate::keychain::in_session(desk.folder.path(), &script, &environment);
    assert!(fine, "{told}{err}");
    let told: Vec<_> = told.lines().map(parse).collect();
    assert_eq!(
        (&told[0]["changed"], &told[1]["changed"], &told[2]["username"]),
        (&json!(true), &json!(false), &json!(org.get("username")))
    );
    assert_eq!(
        told[0]["key"],
        json!({"variable": "TIELINE_SIGNING_KEY", "value": "keychain:JWT_Lambda_Integration@127.0.0.1", "bits": 2048})
    );
    assert_eq!(told[3]["result"], "pass", "{}", told[3]);
    assert_eq!(desk.files(), [".env.jwt", ".tieline-setup.json", "jwt-config.json", "public.crt"], "no private key");
    assert!(!desk.files().iter().any(|name| desk.read(name).contains("PRIVATE KEY")));
    // Without the keychain there is no login, and the message says what is missing.
    let (code, _, err) = run(&mut tieline(&desk.login(), &["token"]));
    assert!(
        code == 2
            && err.contains("the private key `JWT_Lambda_Integration@127.0.0.1` is not to be had")
            && err.contains("hint:"),
        "{err}"
    );
}

/// OpenBao's server in its development mode: in memory, on a free port.
struct OpenBao {
    process: Child,
    address: String,
    _home: tempfile::TempDir,
}

const ROOT_TOKEN: &str = "planted-root-token";

impl OpenBao {
    fn start() -> Option<Self> {
        let program = part("openbao", "TIELINE_TEST_OPENBAO")?;
        let home = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(&program)
            .args(["server", "-dev", "-dev-no-store-token", &format!("-dev-root-token-id={ROOT_TOKEN}")])
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("HOME", home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let service = OpenBao { process, address: format!("http://127.0.0.1:{port}"), _home: home };
        for _ in 0..200 {
            if service.ask("POST", "sys/mounts/transit", json!({"type": "transit"})).0 == 204 {
                return Some(service);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("OpenBao did not come up on {}", service.address);
    }

    fn ask(&self, method: &str, path: &str, body: serde_json::Value) -> (u16, serde_json::Value) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let request = reqwest::Client::builder()
                .build()
                .unwrap()
                .request(method.parse().unwrap(), format!("{}/v1/{path}", self.address));
            match request.header("X-Vault-Token", ROOT_TOKEN).json(&body).send().await {
                Ok(answer) => (answer.status().as_u16(), answer.json().await.unwrap_or_default()),
                Err(_) => (0, serde_json::Value::Null),
            }
        })
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_private_key_never_leaves_the_key_service() {
    let Some(service) = OpenBao::start() else { return };
    let org = Org::start(&["--contacts", "2"]);
    let desk = Desk::new();
    let with = |command: &mut Command, token: &str| {
        let (code, out, err) = run(command.env("VAULT_ADDR", &service.address).env("VAULT_TOKEN", token));
        assert!(!err.contains(ROOT_TOKEN) && !out.contains(ROOT_TOKEN), "the service's token is nowhere: {err}");
        (code, out, err)
    };
    let setup = ["--key", "transit:transit/salesforce"];
    let (code, _, err) = run(&mut desk.setup(&org, &setup));
    assert!(code == 2 && err.contains("VAULT_ADDR is not set"), "{err}");
    let (code, _, err) = with(&mut desk.setup(&org, &setup), "wrong");
    assert!(code == 2 && err.contains("it answered 403") && err.contains("VAULT_TOKEN"), "{err}");
    let (code, out, err) = with(&mut desk.setup(&org, &setup), ROOT_TOKEN);
    assert_eq!(code, 0, "{out}{err}");
    let told = parse(&out);
    assert_eq!(told["key"]["value"], "transit:transit/salesforce@1");
    assert_eq!(desk.files(), [".env.jwt", ".tieline-setup.json", "jwt-config.json", "public.crt"]);
    let (_, kept) = service.ask("GET", "transit/keys/salesforce", json!({}));
    assert_eq!(
        (&kept["data"]["exportable"], &kept["data"]["type"]),
        (&json!(false), &json!("rsa-2048")),
        "it cannot leave"
    );

    // The login signs there, also after somebody has rotated the key there: the certificate is the first version's.
    assert_eq!(with(&mut tieline(&desk.login(), &["token"]), ROOT_TOKEN).0, 0);
    assert_eq!(service.ask("POST", "transit/keys/salesforce/rotate", json!({})).0, 200);
    assert_eq!(with(&mut tieline(&desk.login(), &["token"]), ROOT_TOKEN).0, 0);
    // A token that may sign and nothing else is enough, as an integration should have it.
    let policy = r#"path "transit/sign/salesforce/*" { capabilities = ["update"] }"#;
    service.ask("PUT", "sys/policies/acl/sign", json!({"policy": policy}));
    let (_, made) = service.ask("POST", "auth/token/create", json!({"policies": ["sign"]}));
    let signer = made["auth"]["client_token"].as_str().unwrap();
    assert_eq!(with(&mut tieline(&desk.login(), &["token"]), signer).0, 0);
    let (code, _, err) = with(&mut tieline(&desk.login(), &["token"]), "ended");
    assert!(
        code == 3 && err.contains("the key transit/salesforce (version 1)") && err.contains("did not sign"),
        "{err}"
    );
    let (code, out, _) = with(tieline(&desk.login(), &["doctor", "--json"]).current_dir(desk.out()), ROOT_TOKEN);
    assert_eq!((code, &parse(&out)["result"]), (0, &json!("pass")), "{out}");

    // A rotation takes a newer version (there is one), and a second app with its certificate.
    let (code, out, err) = with(&mut desk.setup(&org, &["rotate-certificate"]), ROOT_TOKEN);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        desk.read(".env.jwt").contains("TIELINE_SIGNING_KEY=transit:transit/salesforce@2"),
        "{}",
        desk.read(".env.jwt")
    );
    assert_eq!(with(&mut tieline(&desk.login(), &["token"]), signer).0, 0);
    assert_eq!(with(&mut desk.setup(&org, &["rotate-certificate", "--retire"]), ROOT_TOKEN).0, 0);
    assert_eq!(with(&mut desk.setup(&org, &["--undo"]), ROOT_TOKEN).0, 0);
    assert_eq!(apps(&org), ["Salesforce CLI", "tieline local app"]);
    assert!(desk.files().is_empty());
}

#[test]
fn the_private_key_never_leaves_kms() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(moto) = runtime.block_on(Moto::start()) else { return };
    let make = |spec: &str| {
        let body = json!({ "KeyUsage": "SIGN_VERIFY", "KeySpec": spec });
        let made = runtime.block_on(moto.admin(Service::Kms, "CreateKey", body));
        made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    };
    let alias = json!({ "AliasName": "alias/salesforce", "TargetKeyId": make("RSA_2048") });
    runtime.block_on(moto.admin(Service::Kms, "CreateAlias", alias));
    let org = Org::start(&["--contacts", "2"]);
    let desk = Desk::new();
    let (code, _, err) = run(&mut desk.setup(&org, &["--key", "kms:alias/salesforce"]));
    assert!(code == 2 && err.contains("AWS_REGION is not set"), "{err}");
    let with = |command: &mut Command| run(command.envs(&moto.variables));
    let (code, _, err) = with(&mut desk.setup(&org, &["--key", "kms:alias/absent"]));
    assert!(code == 2 && err.contains("NotFoundException") && err.contains("hint: check the name"), "{err}");
    let (code, _, err) = with(&mut desk.setup(&org, &["--key", &format!("kms:{}", make("ECC_NIST_P256"))]));
    assert!(code == 2 && err.contains("is not RSA"), "{err}");
    let (code, out, err) = with(&mut desk.setup(&org, &["--key", "kms:alias/salesforce"]));
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(parse(&out)["key"]["value"], "kms:alias/salesforce");
    assert_eq!(desk.files(), [".env.jwt", ".tieline-setup.json", "jwt-config.json", "public.crt"], "no private key");

    // The org takes what KMS has signed, and the program says what it needs where it does not have it.
    assert_eq!(with(&mut tieline(&desk.login(), &["token"])).0, 0);
    let (code, out, _) = with(tieline(&desk.login(), &["doctor", "--json"]).current_dir(desk.out()));
    assert_eq!((code, &parse(&out)["result"]), (0, &json!("pass")), "{out}");
    let mut away = tieline(&desk.login(), &["token"]);
    let (code, _, err) = run(away.envs(&moto.variables).env("AWS_ENDPOINT_URL", "http://127.0.0.1:9"));
    assert!(code == 4 && err.contains("the key alias/salesforce in KMS did not sign"), "{err}");

    let (code, _, err) = with(&mut desk.setup(&org, &["rotate-certificate"]));
    assert!(code == 2 && err.contains("hint: make another one, and name it: --key kms:KEY"), "{err}");
    let (code, _, err) = with(&mut desk.setup(&org, &["rotate-certificate", "--key", "kms:alias/salesforce"]));
    assert!(code == 1 && err.contains("is the one in use"), "{err}");
    let other = format!("kms:{}", make("RSA_3072"));
    let (code, out, err) = with(&mut desk.setup(&org, &["rotate-certificate", "--key", &other]));
    assert_eq!(code, 0, "{out}{err}");
    assert!(desk.read(".env.jwt").contains(&format!("TIELINE_SIGNING_KEY={other}")));
    assert_eq!(with(&mut tieline(&desk.login(), &["token"])).0, 0);
    assert_eq!(with(&mut desk.setup(&org, &["rotate-certificate", "--retire"])).0, 0);
    assert_eq!(with(&mut desk.setup(&org, &["--undo"])).0, 0);
    assert!(desk.files().is_empty());
}
