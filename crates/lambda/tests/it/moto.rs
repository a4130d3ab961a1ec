//! moto's server, which stands for AWS.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tieline_auth::aws::{Aws, Service, Variable};

use crate::parts::part;

pub(crate) struct Moto {
    process: Child,
    pub(crate) variables: BTreeMap<String, String>,
}

impl Moto {
    pub(crate) async fn start() -> Option<Self> {
        let server = part("moto", "TIELINE_TEST_MOTO")?;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../lambda/tests/aws/moto_one_by_one.py");
        let process = Command::new(server.parent().unwrap().join("python"))
            .args([script, &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pairs = [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "example".to_owned()),
            ("AWS_SESSION_TOKEN", "example session".to_owned()),
        ];
        let variables = pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let moto = Moto { process, variables };
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "moto did not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(moto)
    }

    pub(crate) fn variable(&self) -> Variable {
        self.variable_with([])
    }

    /// The variables of a process that uses this AWS, and some more.
    pub(crate) fn variable_with<const N: usize>(&self, more: [(&str, &str); N]) -> Variable {
        let mut variables = self.variables.clone();
        variables.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Arc::new(move |name| variables.get(name).cloned())
    }

    pub(crate) fn aws(&self) -> Aws {
        Aws::from_variables(self.variable()).unwrap()
    }

    /// Does something that only an administrator does.
    pub(crate) async fn admin(&self, service: Service, operation: &str, body: Value) -> Value {
        self.aws().call(service, operation, "", &body).await.unwrap().value
    }

    pub(crate) async fn secret(&self, name: &str, text: &str) {
        self.admin(Service::SecretsManager, "CreateSecret", json!({ "Name": name, "SecretString": text })).await;
    }

    pub(crate) async fn table(&self, name: &str) {
        let body = json!({
            "TableName": name,
            "KeySchema": [{ "AttributeName": "key", "KeyType": "HASH" }],
            "AttributeDefinitions": [{ "AttributeName": "key", "AttributeType": "S" }],
            "BillingMode": "PAY_PER_REQUEST",
        });
        self.admin(Service::DynamoDb, "CreateTable", body).await;
        let ttl = json!({ "Enabled": true, "AttributeName": "expires" });
        let body = json!({ "TableName": name, "TimeToLiveSpecification": ttl });
        self.admin(Service::DynamoDb, "UpdateTimeToLive", body).await;
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
