//! The Metadata API against the org: packages in and out, single components, faults on the way.

use std::time::Duration;

use serde_json::json;
use tieline_auth::{Grant, OrgConfig, Secret};
use tieline_client::Connection;
use tieline_client::metadata::{DeployOptions, DeployResult, Package};

use crate::world::World;

const SET: &str =
    "<PermissionSet xmlns=\"http://soap.sforce.com/2006/04/metadata\"><label>A &amp; B</label></PermissionSet>";

fn package(name: &str) -> Package {
    let mut package = Package::new("66.0");
    package.add("PermissionSet", name, &format!("permissionsets/{name}.permissionset"), SET);
    package
}

async fn outcome(org: &Connection, package: &Package, check_only: bool) -> DeployResult {
    let id = org.deploy(package, DeployOptions { check_only, ..DeployOptions::default() }).await.unwrap();
    loop {
        let status = org.deploy_status(&id).await.unwrap();
        if status.done {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_package_is_checked_deployed_read_retrieved_and_deleted() {
    let world = World::new(0).await;
    let org = world.connect(world.jwt());
    let names = async || -> Vec<String> {
        org.list_metadata("PermissionSet").await.unwrap().into_iter().map(|one| one.full_name).collect()
    };
    assert!(outcome(&org, &package("A"), true).await.success);
    assert!(names().await.is_empty(), "a check changes nothing");
    let deployed = outcome(&org, &package("A"), false).await;
    assert!(deployed.success && deployed.successes().iter().any(|one| one.full_name == "A" && one.created));
    assert_eq!(names().await, ["A"]);
    let read = org.read_metadata("PermissionSet", &["A", "Nobody"]).await.unwrap();
    assert_eq!((read.len(), read[0].at("label")), (1, Some("A & B")));
    let retrieved = org.retrieve(&[("PermissionSet", &["*"]), ("ConnectedApp", &["Nobody"])]).await.unwrap();
    let file = std::str::from_utf8(&retrieved.files["permissionsets/A.permissionset"]).unwrap();
    assert!(file.contains("<label>A &amp; B</label>") && retrieved.files.contains_key("package.xml"), "{file}");
    assert_eq!(retrieved.problems, ["Entity of type 'ConnectedApp' named 'Nobody' cannot be found"]);
    let types = org.describe_metadata().await.unwrap();
    assert!(types.iter().any(|of| of.name == "ExternalClientApplication" && of.suffix == "eca"));
    let mut removal = Package::new("66.0");
    removal.delete("PermissionSet", "A");
    removal.delete("PermissionSet", "Nobody");
    assert!(outcome(&org, &removal, false).await.success, "what is not there is no error");
    assert!(names().await.is_empty());
}

#[tokio::test]
async fn what_is_refused_says_which_component_and_why_and_changes_nothing() {
    let world = World::new(0).await;
    let org = world.connect(world.jwt());
    let mut package = package("Good");
    package.add("PermissionSet", "Bad", "permissionsets/Bad.permissionset", "<PermissionSet><bacon/></PermissionSet>");
    let result = outcome(&org, &package, false).await;
    assert!(!result.success && result.status == "Failed");
    assert!(result.failures()[0].full_name == "Bad" && result.failures()[0].problem.contains("bacon"), "{result:?}");
    assert!(org.list_metadata("PermissionSet").await.unwrap().is_empty(), "all or nothing");
    // A user without the right to it is told so, by REST and by SOAP.
    let info = world.info();
    let grant =
        Grant::Password { username: "standard@local.tieline.test".to_owned(), password: Secret::new(&info.password) };
    let mut config = OrgConfig::new(&info.login_url, &info.client_id, grant).unwrap();
    config.client_secret = Some(Secret::new(&info.client_secret));
    let weak = world.connect(config);
    for error in [
        weak.deploy(&package, DeployOptions::default()).await.unwrap_err(),
        weak.list_metadata("PermissionSet").await.unwrap_err(),
    ] {
        assert_eq!(error.salesforce_code(), Some("INSUFFICIENT_ACCESS"));
        assert!(error.needs_person() && error.to_string().contains("ModifyMetadata"), "{error}");
    }
}

#[tokio::test]
async fn a_session_that_ends_is_renewed_by_soap_too_and_a_broken_line_is_tried_again() {
    let world = World::new(0).await;
    let org = world.connect(world.jwt());
    assert!(org.list_metadata("PermissionSet").await.unwrap().is_empty());
    world.revoke_all().await;
    assert!(org.list_metadata("PermissionSet").await.unwrap().is_empty(), "the envelope holds the new token");
    assert_eq!(world.token_requests().await, 2);
    for fault in [json!({"status": 503}), json!({"cut": 0}), json!({"cut": 40})] {
        world.post("faults", fault.clone()).await;
        assert!(outcome(&org, &package("A"), true).await.success, "{fault}");
        world.post("faults", fault.clone()).await;
        assert!(!org.retrieve(&[("PermissionSet", &["*"])]).await.unwrap().files.is_empty(), "{fault}");
    }
}

#[tokio::test]
async fn a_deploy_that_is_running_is_cancelled() {
    let world = World::new(0).await;
    let org = world.connect(world.jwt());
    world.put("setup", json!({"deploy_seconds": 60})).await;
    let id = org.deploy(&package("A"), DeployOptions::default()).await.unwrap();
    assert!(!org.deploy_status(&id).await.unwrap().done);
    org.cancel_deploy(&id).await.unwrap();
    world.put("clock", json!({"advance_seconds": 120})).await;
    let status = org.deploy_status(&id).await.unwrap();
    assert!(status.done && !status.success && status.status == "Canceled", "{status:?}");
    let error = org.cancel_deploy(&id).await.unwrap_err();
    assert!(error.to_string().contains("Deployment already completed"), "{error}");
}
