//! Merges, changes by the system, archived activities, the ends of deleted records.

use reqwest::Method;
use serde_json::{Value, json};

use super::column;
use crate::Org;
use crate::rows::V;

const LATER: &str = "2027-01-10T11:00:00.000+0000";

#[tokio::test]
async fn a_merge_leaves_one_record_with_the_children_of_all() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:00Z").await;
    let made = org
        .write(json!([
            {"op": "insert", "object": "Contact", "fields": {"LastName": "winner"}},
            {"op": "insert", "object": "Contact", "fields": {"LastName": "loser", "Email": "l@example.org"}},
            {"op": "insert", "object": "Contact", "fields": {"LastName": "other"}},
            {"op": "insert", "object": "Task", "fields": {"WhoId": "@{1}", "Subject": "call"}},
            {"op": "insert", "object": "Contact", "fields": {"LastName": "report", "ReportsToId": "@{2}"}},
            {"op": "update", "object": "Contact", "id": "@{0}", "fields": {"ReportsToId": "@{1}"}},
        ]))
        .await;
    org.at("2027-01-10T11:00:00Z").await;
    let merge = json!({"object": "Contact", "winner": made[0], "losers": [made[1], made[2]], "fields": {"Email": "l@example.org"}});
    org.told(Method::POST, "records/merge", merge.clone()).await;

    let soql = "SELECT Id, IsDeleted, MasterRecordId, Email, ReportsToId, SystemModstamp, LastModifiedDate FROM Contact WHERE LastName IN ('winner', 'loser', 'other', 'report') ORDER BY Id";
    let all = org.found("queryAll", soql).await;
    assert_eq!(column(&all, "IsDeleted"), [json!(false), json!(true), json!(true), json!(false)]);
    assert_eq!(column(&all, "MasterRecordId"), [Value::Null, json!(made[0]), json!(made[0]), Value::Null]);
    assert_eq!(all[0]["Email"], "l@example.org");
    assert_eq!(all[0]["ReportsToId"], Value::Null, "nobody reports to themselves");
    assert_eq!(all[3]["ReportsToId"], json!(made[0]));
    assert_eq!(column(&all, "SystemModstamp"), [LATER; 4]);
    assert_eq!(all[3]["LastModifiedDate"], "2027-01-10T10:00:00.000+0000", "the system moved it, no user did");
    let tasks = org.found("query", "SELECT WhoId, SystemModstamp FROM Task").await;
    assert_eq!((&tasks[0]["WhoId"], &tasks[0]["SystemModstamp"]), (&json!(made[0]), &json!(LATER)));
    assert_eq!(org.found("query", soql).await.len(), 2);
    let deleted = format!("{V}/sobjects/Contact/deleted?start=2027-01-10T10:30:00Z&end=2027-01-10T12:00:00Z");
    let (_, told) = org.get(&deleted).await;
    assert_eq!(column(told["deletedRecords"].as_array().unwrap(), "id"), [json!(made[1]), json!(made[2])]);

    // All or nothing: the first loser of the next one is gone already.
    let (status, body) = org.post_control("records/merge", merge).await;
    assert_eq!((status, &body[0]["errorCode"]), (404, &json!("ENTITY_IS_DELETED")));
    let other = json!({"object": "Task", "winner": made[3], "losers": [made[3]]});
    assert_eq!(org.post_control("records/merge", other).await.0, 400, "tasks have no master");
}

#[tokio::test]
async fn the_system_moves_what_no_user_modified() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:00Z").await;
    let id = org.make("Account", json!({"Name": "rolled up"})).await;
    org.at("2027-01-10T11:00:00Z").await;
    let stamps = async || {
        let found = org
            .found(
                "query",
                "SELECT SystemModstamp, LastModifiedDate, NumberOfEmployees FROM Account WHERE Name = 'rolled up'",
            )
            .await;
        ["SystemModstamp", "LastModifiedDate", "NumberOfEmployees"].map(|name| found[0][name].clone())
    };
    let touch = async |body: Value| org.told(Method::POST, "records/touch", body).await;
    touch(json!({"object": "Account", "ids": [id], "fields": {"NumberOfEmployees": 7}})).await;
    assert_eq!(stamps().await, [json!(LATER), json!("2027-01-10T10:00:00.000+0000"), json!(7)]);
    touch(json!({"object": "Account", "ids": [id], "system_modstamp": null, "fields": {"NumberOfEmployees": 8},
        "last_modified_date": "2015-05-05T05:05:05Z"}))
    .await;
    assert_eq!(stamps().await, [json!(LATER), json!("2015-05-05T05:05:05.000+0000"), json!(8)], "written back-dated");
    touch(json!({"object": "Account", "ids": [id], "system_modstamp": "2020-01-01T00:00:00Z"})).await;
    assert_eq!(stamps().await[0], "2020-01-01T00:00:00.000+0000");
    let unknown = json!({"object": "Account", "ids": ["001Em0000099999IAA"]});
    assert_eq!(org.post_control("records/touch", unknown).await.0, 404);
}

#[tokio::test]
async fn archived_activities_are_found_by_query_all_and_are_not_deleted() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:00Z").await;
    let made = org
        .write(json!([
            {"op": "insert", "object": "Task", "fields": {"Subject": "old", "ActivityDate": "2025-06-01"}},
            {"op": "insert", "object": "Task", "fields": {"Subject": "new", "ActivityDate": "2026-12-01"}},
            {"op": "insert", "object": "Event", "fields": {"Subject": "named", "DurationInMinutes": 5,
                "ActivityDateTime": "2027-01-01T00:00:00Z", "StartDateTime": "2027-01-01T00:00:00Z"}},
        ]))
        .await;
    let archive = async |body: Value| org.post_control("records/archive", body).await;
    assert_eq!(archive(json!({"older_than_days": 365})).await, (200, json!({"archived": 1})));
    assert_eq!(archive(json!({"object": "Event", "ids": [made[2]]})).await.0, 200);
    assert_eq!(column(&org.found("query", "SELECT Subject FROM Task").await, "Subject"), ["new"]);
    assert_eq!(org.found("query", "SELECT Id FROM Event").await.len(), 0);
    let all = org.found("queryAll", "SELECT Subject, IsArchived, IsDeleted FROM Task ORDER BY Subject").await;
    assert_eq!(column(&all, "IsArchived"), [false, true]);
    assert_eq!(column(&all, "IsDeleted"), [false, false]);
    assert_eq!(archive(json!({"object": "Event", "ids": [made[2]], "archived": false})).await.0, 200);
    assert_eq!(org.found("query", "SELECT Id FROM Event").await.len(), 1);
    // By the clock, if the org is asked to.
    assert_eq!(org.put("limits", json!({"archive_after_days": 365})).await, 204);
    org.at("2027-12-10T10:00:00Z").await;
    assert_eq!(org.found("query", "SELECT Id FROM Task").await.len(), 0);
    assert_eq!(archive(json!({"object": "Contact", "ids": []})).await.0, 400);
}

#[tokio::test]
async fn the_recycle_bin_ends_after_fifteen_days_and_some_records_never_see_it() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:00Z").await;
    let made = org
        .write(json!([
            {"op": "insert", "object": "Contact", "fields": {"LastName": "deleted"}},
            {"op": "insert", "object": "Contact", "fields": {"LastName": "erased"}},
            {"op": "insert", "object": "Campaign", "fields": {"Name": "c"}},
            {"op": "insert", "object": "CampaignMember", "fields": {"CampaignId": "@{2}", "ContactId": "@{0}"}},
            {"op": "delete", "object": "Contact", "id": "@{0}"},
            {"op": "hard_delete", "object": "Contact", "id": "@{1}"},
        ]))
        .await;
    let left =
        async || org.found("queryAll", "SELECT Id FROM Contact WHERE LastName IN ('deleted', 'erased')").await.len();
    assert_eq!(left().await, 1);
    assert_eq!(org.call(Method::DELETE, &format!("/sobjects/CampaignMember/{}", made[3]), None).await.status, 204);
    assert_eq!(org.found("queryAll", "SELECT Id FROM CampaignMember").await.len(), 0, "gone at once");
    let deleted = async |object: &str| {
        let path = format!("{V}/sobjects/{object}/deleted?start=2027-01-10T09:30:00Z&end=2027-01-10T12:00:00Z");
        column(org.get(&path).await.1["deletedRecords"].as_array().unwrap(), "id")
    };
    assert_eq!(deleted("Contact").await, [json!(made[0]), json!(made[1])]);
    assert_eq!(deleted("CampaignMember").await, [json!(made[3])]);
    org.at("2027-01-25T09:00:00Z").await;
    assert_eq!(left().await, 1, "not quite fifteen days");
    org.at("2027-01-25T10:00:01Z").await;
    assert_eq!(left().await, 0);
    let undelete = org.post_control("records/undelete", json!({"id": made[0]})).await;
    assert_eq!((undelete.0, &undelete.1[0]["errorCode"]), (400, &json!("UNDELETE_FAILED")));
    let kept = org.write(json!([{"op": "insert", "object": "Contact", "fields": {"LastName": "erased"}}])).await;
    org.write(json!([{"op": "delete", "object": "Contact", "id": kept[0]}])).await;
    assert_eq!(org.post_control("recycle-bin/empty", json!({})).await, (200, json!({"removed": 1})));
    assert_eq!(left().await, 0);
}

#[tokio::test]
async fn the_log_of_deletes_may_be_cut_short_or_too_long() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:00Z").await;
    let made = org
        .write(json!([
            {"op": "insert", "object": "Contact", "fields": {"LastName": "a"}},
            {"op": "insert", "object": "Contact", "fields": {"LastName": "b"}},
            {"op": "delete", "object": "Contact", "id": "@{0}"},
        ]))
        .await;
    org.at("2027-01-10T11:00:00Z").await;
    org.write(json!([{"op": "hard_delete", "object": "Contact", "id": made[1]}])).await;
    let path = format!("{V}/sobjects/Contact/deleted?start=2027-01-10T09:00:00Z&end=2027-01-10T12:00:00Z");
    assert_eq!(org.put("limits", json!({"replication_ids": 1})).await, 204);
    let (status, body) = org.get(&path).await;
    assert_eq!((status, &body[0]["errorCode"]), (400, &json!("EXCEEDED_ID_LIMIT")));
    assert_eq!(org.put("limits", json!({"replication_ids": 2})).await, 204);
    assert_eq!(org.get(&path).await.1["deletedRecords"].as_array().unwrap().len(), 2);

    let cut = json!({"object": "Contact", "before": "2027-01-10T10:30:00Z"});
    org.told(Method::POST, "delete-log/purge", cut.clone()).await;
    let (status, told) = org.get(&path).await;
    assert_eq!(status, 200, "nothing says that entries are missing but one date");
    assert_eq!(column(told["deletedRecords"].as_array().unwrap(), "id"), [json!(made[1])]);
    assert_eq!(told["earliestDateAvailable"], "2027-01-10T10:30:00.000+0000");
    let mut refuse = cut;
    refuse["refuse"] = json!(true);
    org.told(Method::POST, "delete-log/purge", refuse).await;
    let (status, body) = org.get(&path).await;
    assert_eq!((status, &body[0]["errorCode"]), (400, &json!("INVALID_REPLICATION_DATE")));
}

#[tokio::test]
async fn a_snapshot_tells_all_that_queries_hide() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:00Z").await;
    let made = org
        .write(json!([
            {"op": "insert", "object": "Account", "fields": {"Name": "A \"quoted\"\nname", "AnnualRevenue": 1}},
            {"op": "insert", "object": "Account", "fields": {"Name": "loser"}},
            {"op": "insert", "object": "Account", "fields": {"Name": "gone", "CreatedDate": "2016-01-01T00:00:00Z"}},
            {"op": "merge", "object": "Account", "winner": "@{0}", "losers": ["@{1}"]},
        ]))
        .await;
    let field = json!({"object": "Account", "name": "Loud__c", "type": "string 80", "formula": "UPPER(Name)"});
    org.told(Method::POST, "fields", field).await;
    let old = org.found("query", "SELECT CreatedDate FROM Account WHERE Name = 'gone'").await;
    assert_eq!(old[0]["CreatedDate"], "2016-01-01T00:00:00.000+0000");
    org.write(json!([{"op": "hard_delete", "object": "Account", "id": made[2]}])).await;
    org.told(Method::PUT, "permissions", json!({"object": "Account", "visible": false})).await;
    let lines = org.snapshot("Account").await;
    let of = |id: &str| lines.iter().find(|line| line["Id"] == id).cloned().unwrap();
    let winner = of(&made[0]);
    assert_eq!(winner["attributes"], json!({"type": "Account"}));
    assert_eq!((&winner["Name"], &winner["AnnualRevenue"]), (&json!("A \"quoted\"\nname"), &json!(1.0)));
    assert_eq!(winner["Loud__c"], "A \"QUOTED\"\nNAME");
    assert_eq!((&of(&made[1])["IsDeleted"], &of(&made[1])["MasterRecordId"]), (&json!(true), &json!(made[0])));
    assert_eq!(of(&made[2])["attributes"], json!({"type": "Account", "purged": true}));
    // A step that fails undoes those before it.
    let before = org.snapshot("Account").await.len();
    let (status, _) = org
        .post_control("records/write", json!({"writes": [
            {"op": "insert", "object": "Account", "fields": {"Name": "x"}}, {"op": "delete", "object": "Account", "id": made[2]}]}))
        .await;
    assert_eq!((status, org.snapshot("Account").await.len()), (404, before));
    assert_eq!(org.post_control("records/write", json!({"writes": [{"op": "explode"}]})).await.0, 422);
}

#[tokio::test]
async fn an_open_query_never_shows_a_row_that_came_later() {
    let org = Org::start().await;
    let writes: Vec<Value> = (0..201)
        .map(|n| json!({"op": "insert", "object": "Lead", "fields": {"LastName": format!("{n:03}"), "Company": "c"}}))
        .collect();
    let made = org.write(json!(writes)).await;
    let batch = [("sforce-query-options", "batchSize=200")];
    let page = org.call_with(Method::GET, "/query?q=SELECT+LastName+FROM+Lead+ORDER+BY+LastName", None, &batch).await;
    let next = page.body["nextRecordsUrl"].as_str().unwrap().to_owned();
    // The last row is erased, and the next one is made in its place.
    org.write(json!([{"op": "hard_delete", "object": "Lead", "id": made[200]},
        {"op": "insert", "object": "Lead", "fields": {"LastName": "intruder", "Company": "c"}}]))
        .await;
    let second = org.call(Method::GET, &next, None).await;
    assert_eq!((second.status, &second.body["records"]), (200, &json!([])));
}

#[tokio::test]
async fn ten_thousand_records_of_one_second_are_written_by_one_call() {
    let org = Org::start().await;
    org.at("2027-01-10T10:00:00Z").await;
    let of = |n| json!({"op": "insert", "object": "Contact", "fields": {"LastName": "x", "Description": format!("{n:0200}")}});
    let made = org.write(json!((0..10_001).map(of).collect::<Vec<_>>())).await;
    assert_eq!(made.len(), 10_001, "of more than two megabytes");
    let soql = "SELECT COUNT() FROM Contact WHERE SystemModstamp = 2027-01-10T10:00:00Z AND LastName = 'x'";
    assert_eq!(org.get(&format!("{V}/query?q={}", soql.replace(' ', "+"))).await.1["totalSize"], 10_001);
}
