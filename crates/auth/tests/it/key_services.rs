//! Real key services of a test's own, on free ports: OpenBao, which can be killed and come back, and moto, which stands
//! for AWS. Each is gone with the value.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::parts::part;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// OpenBao's server with its data in a folder: after a restart it is sealed, as in earnest.
pub(crate) struct OpenBao {
    process: Child,
    program: PathBuf,
    pub(crate) address: String,
    /// Its owner's token and the key that unseals it.
    root: String,
    unseal: String,
    folder: tempfile::TempDir,
}

impl OpenBao {
    pub(crate) async fn start() -> Option<Self> {
        let program = part("openbao", "TIELINE_TEST_OPENBAO")?;
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let config = format!(
            "storage \"raft\" {{ path = \"{}\" node_id = \"one\" }}\n\
             listener \"tcp\" {{ address = \"{address}\" cluster_address = \"127.0.0.1:{cluster}\" tls_disable = true }}\n\
             api_addr = \"http://{address}\"\ncluster_addr = \"http://127.0.0.1:{cluster}\"\n",
            data.display(),
            cluster = free_port(),
        );
        std::fs::write(folder.path().join("bao.hcl"), config).unwrap();
        let process = Self::run(&program, &folder);
        let address = format!("http://{address}");
        let mut server = Self { process, program, address, root: String::new(), unseal: String::new(), folder };
        server.wait().await;
        let (_, made) = server.ask("PUT", "sys/init", json!({"secret_shares": 1, "secret_threshold": 1})).await;
        server.root = made["root_token"].as_str().unwrap().to_owned();
        server.unseal = made["keys_base64"][0].as_str().unwrap().to_owned();
        server.unseal().await;
        assert_eq!(server.ask("POST", "sys/mounts/transit", json!({"type": "transit"})).await.0, 204);
        Some(server)
    }

    fn run(program: &PathBuf, folder: &tempfile::TempDir) -> Child {
        Command::new(program)
            .args(["server", "-config"])
            .arg(folder.path().join("bao.hcl"))
            .env("HOME", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    async fn wait(&self) {
        for _ in 0..400 {
            if self.ask("GET", "sys/seal-status", Value::Null).await.0 == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("OpenBao did not come up on {}", self.address);
    }

    pub(crate) async fn unseal(&self) {
        let (_, told) = self.ask("PUT", "sys/unseal", json!({"key": self.unseal})).await;
        assert_eq!(told["sealed"], false, "{told}");
        // It is unsealed a moment before it serves.
        for _ in 0..400 {
            if self.ask("GET", "sys/health", Value::Null).await.0 == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("OpenBao stays out of service after it was unsealed");
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Up again, and sealed.
    pub(crate) async fn restart(&mut self) {
        self.process = Self::run(&self.program, &self.folder);
        self.wait().await;
    }

    /// Makes a key of this type.
    pub(crate) async fn key(&self, name: &str, kind: &str) {
        let (status, told) = self.ask("POST", &format!("transit/keys/{name}"), json!({"type": kind})).await;
        assert_eq!(status, 200, "{told}");
    }

    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// A token with this policy alone, which gets this name.
    pub(crate) async fn token(&self, name: &str, policy: &str) -> String {
        assert_eq!(self.ask("PUT", &format!("sys/policies/acl/{name}"), json!({"policy": policy})).await.0, 204);
        let (_, made) = self.ask("POST", "auth/token/create", json!({"policies": [name]})).await;
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// What an administrator asks: status (0 without an answer) and answer.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let request = http.request(method.parse().unwrap(), format!("{}/v1/{path}", self.address));
        match request.header("X-Vault-Token", &self.root).json(&body).send().await {
            Ok(answer) => (answer.status().as_u16(), answer.json().await.unwrap_or_default()),
            Err(_) => (0, Value::Null),
        }
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// moto's server, in the region eu-central-1.
#[cfg(feature = "aws")]
pub(crate) struct Moto {
    process: Child,
    pub(crate) address: String,
}

#[cfg(feature = "aws")]
impl Moto {
    pub(crate) async fn start() -> Option<Self> {
        let server = part("moto", "TIELINE_TEST_MOTO")?;
        let port = free_port();
        let process = Command::new(server)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Self { process, address: format!("http://127.0.0.1:{port}") };
        for _ in 0..600 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Some(moto);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("moto did not come up on {}", moto.address);
    }

    /// The variables of a process that uses this AWS.
    pub(crate) fn variables(&self) -> impl Fn(&str) -> Option<String> + Send + Sync + 'static {
        let address = self.address.clone();
        move |name| match name {
            "AWS_ENDPOINT_URL" => Some(address.clone()),
            "AWS_REGION" => Some("eu-central-1".to_owned()),
            "AWS_ACCESS_KEY_ID" => Some("AKIAEXAMPLE".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("planted-aws-secret".to_owned()),
            _ => None,
        }
    }

    /// Does something in KMS that only an administrator does.
    pub(crate) async fn admin(&self, operation: &str, body: Value) -> Value {
        let aws = tieline_auth::aws::Aws::from_variables(std::sync::Arc::new(self.variables())).unwrap();
        aws.call(tieline_auth::aws::Service::Kms, operation, "", &body).await.unwrap().value
    }

    pub(crate) async fn key(&self, body: Value) -> String {
        self.admin("CreateKey", body).await["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    }
}

#[cfg(feature = "aws")]
impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
