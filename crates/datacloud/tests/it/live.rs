//! The examples, as a stranger runs them; and what we expect of Data Cloud, on request of a real one.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use tieline_auth::{OrgConfig, Settings};
use tieline_datacloud::{DataCloud, DataCloudError, DataCloudTokenProvider, Transfer};

use crate::world::World;

fn example(name: &str, variables: &BTreeMap<&str, String>, arguments: &[&str]) -> (bool, String, String) {
    let folder = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples");
    let mut command = Command::new(folder.join(name));
    let Output { status, stdout, stderr } = command.args(arguments).env_clear().envs(variables).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

fn login(world: &World) -> BTreeMap<&'static str, String> {
    let info = world.info();
    BTreeMap::from([
        ("SF_LOGIN_URL", info.login_url.clone()),
        ("SF_CLIENT_ID", info.client_id.clone()),
        ("SF_USERNAME", info.username.clone()),
        ("SF_PRIVATE_KEY_PATH", info.private_key_file.display().to_string()),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_other_crate_runs_with_its_variables() {
    let Some(world) = World::with_engine(10).await else { return };
    // By the machine's clock, as a stranger's program goes.
    world.post("reset", serde_json::json!({})).await;
    let mut variables = login(&world);
    variables.insert("SF_DATASPACE", "default".to_owned());
    let (done, stdout, stderr) = example("salesforce_auth_example", &variables, &[]);
    assert!(done, "{stderr}");
    assert!(stdout.contains("lakehouse   lakehouse:a360/prod/") && stdout.contains(";default\n"), "{stdout}");
    assert!(stdout.contains("exchanges   1\n") && stdout.contains("object      ssot__Individual__dlm ("), "{stdout}");
    variables.remove("SF_PRIVATE_KEY_PATH");
    variables.insert("SF_REFRESH_TOKEN", world.info().refresh_token.clone());
    variables.insert("SF_CLIENT_SECRET", world.info().client_secret.clone());
    let (done, _, stderr) = example("salesforce_auth_example", &variables, &[]);
    assert!(done, "{stderr}");
    variables.remove("SF_REFRESH_TOKEN");
    let (done, _, stderr) = example("salesforce_auth_example", &variables, &[]);
    assert!(!done && stderr.contains("hint: export SF_PRIVATE_KEY_PATH"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_a_query_prints_rows() {
    let Some(world) = World::with_engine(10).await else { return };
    world.post("reset", serde_json::json!({})).await;
    let mut variables = login(&world);
    variables.insert("SF_PRIVATE_KEY_FILE", variables["SF_PRIVATE_KEY_PATH"].clone());
    let sql = r#"SELECT "id__c", "page__c" FROM "WebEngagement__dll" WHERE "page__c" = ?"#;
    let (done, stdout, stderr) = example("datacloud_query", &variables, &[sql, "/pages/3"]);
    assert!(done, "{stderr}");
    assert!(stdout.starts_with("id__c | page__c\n3 | /pages/3\n") && stdout.contains("1 rows of query "), "{stdout}");
}

/// With `TIELINE_LIVE_DATACLOUD=1` and the `SF_*` variables of an org that has Data Cloud: whether our picture is right.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "a report for a person")]
async fn a_real_data_cloud_is_as_we_expect() {
    if std::env::var("TIELINE_LIVE_DATACLOUD").is_err() {
        eprintln!("not asked for: set TIELINE_LIVE_DATACLOUD=1 and the SF_* variables of an org with Data Cloud");
        return;
    }
    let dataspace = std::env::var("SF_DATASPACE").ok();
    let config = OrgConfig::from_env().unwrap();
    let provider = DataCloudTokenProvider::for_org(config, dataspace.as_deref(), Settings::default()).unwrap();
    let cloud = DataCloud::new(provider.clone()).unwrap();
    let said = |error: DataCloudError| format!("{error}\n          {}", error.hint());
    let mut failed = 0;
    let mut report = |expectation: &str, outcome: Result<String, String>| match outcome {
        Ok(told) => eprintln!("held      {expectation}: {told}"),
        Err(error) => {
            failed += 1;
            eprintln!("NOT HELD  {expectation}: {error}");
        }
    };
    report(
        "both stages give a token",
        provider.get_token().await.map(|t| t.tenant_url().to_string()).map_err(|e| e.to_string()),
    );
    let logins = provider.credentials().stats().token_requests;
    let again = provider.refresh_token().await.map_err(|e| e.to_string());
    report(
        "the login's token serves again",
        again.and_then(|_| match provider.credentials().stats().token_requests - logins {
            0 => Ok("no login".to_owned()),
            more => Err(format!("{more} more logins")),
        }),
    );
    for transfer in [Transfer::Adaptive, Transfer::Async] {
        let outcome = async {
            let mut rows = cloud.query("SELECT 1 AS one").transfer(transfer).run().await?;
            let mut sum = 0;
            while let Some(batch) = rows.next().await? {
                sum += batch.column(0).as_primitive::<Int32Type>().values().iter().sum::<i32>();
            }
            Ok(format!("SELECT 1 is {sum}"))
        };
        report(&format!("{transfer:?} over gRPC"), outcome.await.map_err(said));
    }
    let bound = async {
        let mut rows = cloud.query("SELECT ? || '!'").bind("ä").run().await?;
        let batch = rows.next().await?;
        Ok(batch.map_or_else(String::new, |batch| batch.column(0).as_string::<i32>().value(0).to_owned()))
    };
    report("a parameter", bound.await.map_err(said));
    report(
        "a wrong statement is told with its place",
        match cloud.query("SELECT nosuch").run().await {
            Err(DataCloudError::Query(refused)) => Ok(refused.to_string()),
            Err(error) => Err(said(error)),
            Ok(_) => Err("it was taken".to_owned()),
        },
    );
    report(
        "the REST API",
        cloud.query_by_rest("SELECT 1 AS one").await.map(|rows| rows.schema().to_string()).map_err(said),
    );
    report("objects", cloud.objects(None, None).await.map(|objects| objects.len().to_string()).map_err(said));
    assert_eq!(failed, 0, "expectations that do not hold");
}
