//! The Tooling API: views over the org's schema.

use serde_json::{Value, json};

use crate::Org;
use crate::soql::{known_org, plain};

const TOOLING: &str = "/services/data/v67.0/tooling";

impl Org {
    async fn tooling(&self, soql: &str) -> (u16, Value) {
        self.ask(&format!("{TOOLING}/query"), &[("q", soql)]).await
    }
}

#[tokio::test]
async fn objects_and_fields_are_rows() {
    let org = known_org().await;
    let soql = "SELECT QualifiedApiName, KeyPrefix, IsQueryable, PluralLabel FROM EntityDefinition WHERE QualifiedApiName = 'account'";
    let expected =
        json!([{"QualifiedApiName": "Account", "KeyPrefix": "001", "IsQueryable": true, "PluralLabel": "Accounts"}]);
    let (_, body) = org.tooling(soql).await;
    assert_eq!(plain(&body["records"]), expected);
    let attributes =
        json!({"type": "EntityDefinition", "url": "/services/data/v67.0/tooling/sobjects/EntityDefinition/Account"});
    assert_eq!(body["records"][0]["attributes"], attributes);
    assert_eq!(plain(&org.soql(soql).await.1["records"]), expected, "the data API has it too");
    for filter in ["EntityDefinition.QualifiedApiName = 'Account'", "EntityDefinitionId IN ('Account')"] {
        let soql = format!(
            "SELECT QualifiedApiName, DataType, Length, EntityDefinition.Label, ReferenceTo FROM FieldDefinition WHERE {filter} AND QualifiedApiName IN ('Name', 'ParentId', 'Colour__c') ORDER BY QualifiedApiName"
        );
        let (_, body) = org.soql(&soql).await;
        let of = |name: &str, kind: &str, length: u32, to: Value| {
            json!({"QualifiedApiName": name, "DataType": kind, "Length": length, "EntityDefinition": {"Label": "Account"},
                "ReferenceTo": {"referenceTo": to}})
        };
        let expected = json!([
            of("Colour__c", "Long Text Area(32000)", 32_000, json!(null)),
            of("Name", "Text(255)", 255, json!(null)),
            of("ParentId", "Lookup(Account)", 18, json!(["Account"]))
        ]);
        assert_eq!(plain(&body["records"]), expected, "{filter}");
    }
    let (status, body) = org.tooling("SELECT QualifiedApiName FROM FieldDefinition").await;
    assert_eq!((status, &body[0]["errorCode"]), (400, &json!("MALFORMED_QUERY")));
    let (_, body) = org
        .tooling("SELECT Id, DeveloperName, TableEnumOrId FROM CustomField WHERE EntityDefinitionId = 'Account'")
        .await;
    assert_eq!(body["totalSize"], 1);
    let field = &body["records"][0];
    assert_eq!((&field["DeveloperName"], &field["TableEnumOrId"]), (&json!("Colour"), &json!("Account")));
    let (_, again) = org.tooling("SELECT Id FROM CustomField WHERE DeveloperName = 'colour'").await;
    assert_eq!(again["records"][0]["Id"], field["Id"], "an id stays");
    // A custom object goes by the id of its CustomObject.
    let (_, body) = org.tooling("SELECT Id, DeveloperName FROM CustomObject").await;
    let id = body["records"][0]["Id"].as_str().unwrap();
    assert!(id.starts_with("01I"), "{body}");
    let soql = format!("SELECT QualifiedApiName, PublisherId FROM EntityDefinition WHERE DurableId = '{id}'");
    assert_eq!(
        plain(&org.tooling(&soql).await.1["records"]),
        json!([{"QualifiedApiName": "Invoice__c", "PublisherId": "<local>"}])
    );
    let soql = format!("SELECT DeveloperName FROM CustomField WHERE TableEnumOrId = '{id}'");
    assert_eq!(plain(&org.tooling(&soql).await.1["records"]), json!([{"DeveloperName": "Account"}]));
}

#[tokio::test]
async fn what_the_command_line_asks_for_is_there() {
    let org = known_org().await;
    let soql = "SELECT Id,Status,SandboxName,SandboxInfoId,LicenseType,CreatedDate,CopyProgress,SandboxOrganization,SourceId,Description,EndDate,Features FROM SandboxProcess WHERE SandboxOrganization='00D000000000001' ORDER BY CreatedDate DESC";
    assert_eq!(org.tooling(soql).await, (200, json!({"totalSize": 0, "done": true, "records": []})));
    for object in ["ApexClass", "ApexTrigger", "ApexLog"] {
        let (status, body) =
            org.ask(&format!("{TOOLING}/queryAll"), &[("q", &format!("SELECT Id FROM {object}"))]).await;
        assert_eq!((status, &body["totalSize"]), (200, &json!(0)), "{object}");
    }
    assert_eq!(org.soql("SELECT Id, Name, Body FROM ApexClass").await.0, 200);
    assert_eq!(org.soql("SELECT Id FROM SandboxProcess").await.1[0]["errorCode"], "INVALID_TYPE");
    assert_eq!(org.tooling("SELECT Id FROM ScratchOrgInfo").await.1[0]["errorCode"], "INVALID_TYPE");
    assert_eq!(org.tooling("SELECT Id FROM Contact").await.1[0]["errorCode"], "INVALID_TYPE");
    let (_, body) = org.ask(&format!("{TOOLING}/query"), &[("q", "SELECT Id FROM ApexLog"), ("columns", "true")]).await;
    assert_eq!(body["columnMetadata"][0]["columnName"], "Id");
    assert_eq!(
        org.get(&format!("{TOOLING}/query/01gEm0000000001AAA-2000")).await.1[0]["errorCode"],
        "INVALID_QUERY_LOCATOR"
    );
}

#[tokio::test]
async fn the_views_are_described() {
    let org = known_org().await;
    let (_, list) = org.get(&format!("{TOOLING}/sobjects")).await;
    let names: Vec<&str> = list["sobjects"].as_array().unwrap().iter().map(|o| o["name"].as_str().unwrap()).collect();
    for name in [
        "ApexClass",
        "ApexTrigger",
        "ApexLog",
        "CustomObject",
        "CustomField",
        "EntityDefinition",
        "FieldDefinition",
        "SandboxProcess",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    let (_, describe) = org.get(&format!("{TOOLING}/sobjects/ApexClass/describe")).await;
    assert_eq!(describe["urls"]["sobject"], "/services/data/v67.0/tooling/sobjects/ApexClass");
    assert!(describe["fields"].as_array().unwrap().iter().any(|f| f["name"] == "Body"));
    let missing = (404, json!([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]));
    assert_eq!(org.get(&format!("{TOOLING}/sobjects/SourceMember/describe")).await, missing);
}

#[tokio::test]
async fn anonymous_apex_only_debugs() {
    let org = known_org().await;
    let run = async |body: &str| org.ask(&format!("{TOOLING}/executeAnonymous"), &[("anonymousBody", body)]).await;
    let done = json!({"line": -1, "column": -1, "compiled": true, "success": true, "compileProblem": null,
        "exceptionStackTrace": null, "exceptionMessage": null});
    for body in ["", "System.Debug('awesome');"] {
        let (status, answer) = run(body).await;
        assert_eq!((status, answer.to_string()), (200, done.to_string()), "{body}");
    }
    let (status, body) = run("delete [SELECT Id FROM Contact];").await;
    assert_eq!((status, &body["compiled"], &body["line"]), (200, &json!(false), &json!(1)));
}
