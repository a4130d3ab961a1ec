//! SOQL against wire.md, section 10: queries with their records here, those that are refused in `errors`.

mod errors;

use serde_json::{Value, json};
use tieline_emulator::{Emulator, Options};

use crate::{Org, answer};

/// A small org whose every record is known. Its clock stands still on a Tuesday.
pub(crate) const NOW: &str = "2024-05-21T12:00:00Z";

pub(crate) async fn known_org() -> Org {
    let folder = tempfile::tempdir().unwrap();
    let of = |kind: &str, name: &str, mut record: Value| {
        record["attributes"] = json!({"type": kind, "referenceId": name});
        record
    };
    let records = json!([
        of(
            "Account",
            "A1",
            json!({"Name": "Acme", "Industry": "Banking", "AnnualRevenue": 5_000_000, "NumberOfEmployees": 120,
            "BillingCity": "Berlin", "BillingLatitude": 52.52, "BillingLongitude": 13.405, "Rating": "Hot",
            "Colour__c": "red", "CreatedDate": "2024-01-15T10:30:00Z", "Description": "The first"})
        ),
        of(
            "Account",
            "A2",
            json!({"Name": "Globex", "Industry": "Banking", "AnnualRevenue": 250.5, "NumberOfEmployees": 7,
            "ParentId": "@A1", "Rating": "Cold", "CreatedDate": "2024-05-20T23:00:00Z"})
        ),
        of("Account", "A3", json!({"Name": "Initech 100%", "ParentId": "@A2", "CreatedDate": "2023-12-31T23:59:59Z"})),
        of(
            "Contact",
            "C1",
            json!({"FirstName": "Ada", "LastName": "Lovelace", "AccountId": "@A1", "Email": "ada@acme.example.com",
            "Birthdate": "1990-12-10", "LeadSource": "Web", "Phone": "+1 (415) 555-0100", "CreatedDate": "2024-05-21T08:00:00Z"})
        ),
        of(
            "Contact",
            "C2",
            json!({"FirstName": "Grace", "LastName": "Hopper", "AccountId": "@A1", "ReportsToId": "@C1",
            "LeadSource": "Web", "CreatedDate": "2024-05-19T08:00:00Z"})
        ),
        of(
            "Contact",
            "C3",
            json!({"LastName": "O'Brien \"Q\" \\ x_y", "LeadSource": "Other", "CreatedDate": "2024-04-30T08:00:00Z"})
        ),
        of(
            "Contact",
            "C4",
            json!({"LastName": "Smith\nJones", "AccountId": "@A2", "CreatedDate": "2022-06-01T08:00:00Z"})
        ),
        of("Lead", "L1", json!({"LastName": "Prospect", "Company": "Umbrella"})),
        of(
            "Opportunity",
            "O1",
            json!({"Name": "Big", "AccountId": "@A1", "StageName": "Prospecting", "CloseDate": "2024-06-01", "Amount": 100})
        ),
        of(
            "Opportunity",
            "O2",
            json!({"Name": "Small", "AccountId": "@A1", "StageName": "Closed Won", "CloseDate": "2024-03-01", "Amount": 50})
        ),
        of(
            "Opportunity",
            "O3",
            json!({"Name": "None", "AccountId": "@A2", "StageName": "Prospecting", "CloseDate": "2023-03-01"})
        ),
        of("Task", "T1", json!({"Subject": "One", "WhoId": "@C1", "WhatId": "@A1"})),
        of("Task", "T2", json!({"Subject": "Two", "WhoId": "@L1", "WhatId": "@O1"})),
        of("Invoice__c", "I1", json!({"Name": "I-1", "Account__c": "none"})),
        of("Task", "T3", json!({"Subject": "Three"})),
    ]);
    std::fs::write(folder.path().join("all.json"), json!({"records": records}).to_string()).unwrap();
    let options = Options { contacts: 0, data: Some(folder.path().to_owned()), ..Options::default() };
    let org =
        Org { emulator: Emulator::start(options).await.unwrap(), http: reqwest::Client::builder().build().unwrap() };
    let clock = format!("{}/clock", org.emulator.info().control_url);
    org.http.put(clock).json(&json!({"now": NOW, "frozen": true})).send().await.unwrap();
    org
}

impl Org {
    pub(crate) async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> (u16, Value) {
        let url = reqwest::Url::parse_with_params(&self.url(path), parameters).unwrap();
        answer(self.http.get(url).bearer_auth(&self.emulator.info().access_token).send().await.unwrap()).await
    }

    pub(crate) async fn soql(&self, soql: &str) -> (u16, Value) {
        self.ask("/services/data/v67.0/query", &[("q", soql)]).await
    }
}

/// Records without their attributes, which are asserted once.
pub(crate) fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().filter(|(k, _)| *k != "attributes").map(|(k, v)| (k.clone(), plain(v))).collect()
        }
        Value::Array(values) => values.iter().map(plain).collect(),
        other => other.clone(),
    }
}

/// Query, and the records as JSON; for one field of each record, only its values.
const QUERIES: &[(&str, &str)] = &[
    // Names in any case come back as the schema spells them.
    ("select name, INDUSTRY from ACCOUNT where NAME = 'aCME'", r#"[{"Name":"Acme","Industry":"Banking"}]"#),
    // Parents, to five levels; a missing one is null.
    ("SELECT Account.Parent.Name FROM Contact WHERE FirstName = 'Ada'", r#"[{"Account":{"Parent":null}}]"#),
    (
        "SELECT Parent.Parent.Name, Parent.Name FROM Account WHERE Name LIKE 'Ini%'",
        r#"[{"Parent":{"Parent":{"Name":"Acme"},"Name":"Globex"}}]"#,
    ),
    (
        "SELECT ReportsTo.Account.Owner.Profile.Name FROM Contact WHERE LastName = 'Hopper'",
        r#"[{"ReportsTo":{"Account":{"Owner":{"Profile":{"Name":"System Administrator"}}}}}]"#,
    ),
    (
        "SELECT Account.Parent.Parent.Parent.Parent.Name FROM Contact WHERE LastName = 'Hopper'",
        r#"[{"Account":{"Parent":null}}]"#,
    ),
    ("SELECT Name FROM Contact WHERE Account.Parent.Name = 'Acme'", r#"["Smith\nJones"]"#),
    // Aliases.
    (
        "SELECT c.FirstName, a.Name FROM Contact c, c.Account a WHERE a.Industry = 'Banking' AND c.FirstName = 'Ada'",
        r#"[{"FirstName":"Ada","Account":{"Name":"Acme"}}]"#,
    ),
    (
        "SELECT Contact.LastName, p.Name FROM Contact AS c, c.Account a, a.Parent p WHERE p.Name != null",
        r#"[{"LastName":"Smith\nJones","Account":{"Parent":{"Name":"Acme"}}}]"#,
    ),
    // Child subqueries.
    (
        "SELECT Name, (SELECT LastName FROM Contacts ORDER BY LastName LIMIT 1) FROM Account ORDER BY Name",
        r#"[{"Name":"Acme","Contacts":{"totalSize":1,"done":true,"records":[{"LastName":"Hopper"}]}},
            {"Name":"Globex","Contacts":{"totalSize":1,"done":true,"records":[{"LastName":"Smith\nJones"}]}},
            {"Name":"Initech 100%","Contacts":null}]"#,
    ),
    (
        "SELECT (SELECT Account.Name FROM Contacts WHERE FirstName = 'Ada') FROM Account WHERE Name = 'Acme'",
        r#"[{"Contacts":{"totalSize":1,"done":true,"records":[{"Account":{"Name":"Acme"}}]}}]"#,
    ),
    (
        "SELECT (SELECT Name, (SELECT Name FROM ChildAccounts) FROM ChildAccounts) FROM Account WHERE Name = 'Acme'",
        r#"[{"ChildAccounts":{"totalSize":1,"done":true,"records":[{"Name":"Globex","ChildAccounts":{"totalSize":1,"done":true,
            "records":[{"Name":"Initech 100%"}]}}]}}]"#,
    ),
    (
        "SELECT Name, (SELECT FirstName FROM a.Contacts WHERE FirstName = 'Ada') FROM Account a LIMIT 1",
        r#"[{"Name":"Acme","Contacts":{"totalSize":1,"done":true,"records":[{"FirstName":"Ada"}]}}]"#,
    ),
    (
        "SELECT (SELECT LastName FROM Contacts ORDER BY LastName OFFSET 1) FROM Account LIMIT 1",
        r#"[{"Contacts":{"totalSize":1,"done":true,"records":[{"LastName":"Lovelace"}]}}]"#,
    ),
    // Aggregates.
    ("SELECT COUNT(Id) FROM Contact", r#"[4]"#),
    (
        "SELECT COUNT(AccountId), COUNT_DISTINCT(AccountId) d, COUNT(Id) FROM Contact",
        r#"[{"expr0":3,"d":2,"expr1":4}]"#,
    ),
    (
        "SELECT SUM(Amount) s, AVG(Amount), MIN(CloseDate), MAX(Name) FROM Opportunity",
        r#"[{"s":150.0,"expr0":75.0,"expr1":"2023-03-01","expr2":"Small"}]"#,
    ),
    ("SELECT SUM(Amount) FROM Opportunity WHERE Name = 'None'", "[null]"),
    (
        "SELECT Industry, COUNT(Id) n FROM Account GROUP BY Industry ORDER BY COUNT(Id) DESC",
        r#"[{"Industry":"Banking","n":2},{"Industry":null,"n":1}]"#,
    ),
    ("SELECT Industry i FROM Account GROUP BY Industry HAVING COUNT(Id) > 1", r#"["Banking"]"#),
    (
        "SELECT LeadSource, COUNT(Id) FROM Contact GROUP BY LeadSource HAVING LeadSource != null AND COUNT(Id) < 2",
        r#"[{"LeadSource":"Other","expr0":1}]"#,
    ),
    (
        "SELECT Account.Name, COUNT(Id) n FROM Contact WHERE AccountId != null GROUP BY Account.Name ORDER BY Account.Name",
        r#"[{"Name":"Acme","n":2},{"Name":"Globex","n":1}]"#,
    ),
    (
        "SELECT CALENDAR_YEAR(CreatedDate) y, COUNT(Id) n FROM Contact GROUP BY CALENDAR_YEAR(CreatedDate) ORDER BY CALENDAR_YEAR(CreatedDate)",
        r#"[{"y":2022,"n":1},{"y":2024,"n":3}]"#,
    ),
    (
        "SELECT CALENDAR_MONTH(CloseDate), CALENDAR_QUARTER(CloseDate) FROM Opportunity WHERE Name = 'Big' GROUP BY CALENDAR_MONTH(CloseDate), CALENDAR_QUARTER(CloseDate)",
        r#"[{"expr0":6,"expr1":2}]"#,
    ),
    (
        "SELECT DAY_ONLY(CreatedDate) d, HOUR_IN_DAY(CreatedDate) h, DAY_IN_WEEK(CreatedDate) w, DAY_IN_MONTH(CreatedDate) m, DAY_IN_YEAR(CreatedDate) y, WEEK_IN_MONTH(CreatedDate) wm, WEEK_IN_YEAR(CreatedDate) wy FROM Account WHERE Name = 'Globex' GROUP BY DAY_ONLY(CreatedDate), HOUR_IN_DAY(CreatedDate), DAY_IN_WEEK(CreatedDate), DAY_IN_MONTH(CreatedDate), DAY_IN_YEAR(CreatedDate), WEEK_IN_MONTH(CreatedDate), WEEK_IN_YEAR(CreatedDate)",
        r#"[{"d":"2024-05-20","h":23,"w":2,"m":20,"y":141,"wm":3,"wy":21}]"#,
    ),
    (
        "SELECT HOUR_IN_DAY(convertTimezone(CreatedDate)) FROM Account WHERE Name = 'Acme' GROUP BY HOUR_IN_DAY(convertTimezone(CreatedDate))",
        "[10]",
    ),
    ("SELECT Name FROM Account WHERE CALENDAR_YEAR(CreatedDate) = 2023", r#"["Initech 100%"]"#),
    ("SELECT Name FROM Account WHERE DAY_ONLY(CreatedDate) = YESTERDAY", r#"["Globex"]"#),
    (
        "SELECT StageName s, SUM(Amount) a, GROUPING(StageName) g FROM Opportunity GROUP BY ROLLUP(StageName)",
        r#"[{"s":"Closed Won","a":50.0,"g":0},{"s":"Prospecting","a":100.0,"g":0},{"s":null,"a":150.0,"g":1}]"#,
    ),
    (
        "SELECT StageName s, Account.Name n, COUNT(Id) c FROM Opportunity GROUP BY CUBE(StageName, Account.Name)",
        r#"[{"s":"Closed Won","n":"Acme","c":1},{"s":"Closed Won","n":null,"c":1},{"s":"Prospecting","n":"Acme","c":1},
            {"s":"Prospecting","n":"Globex","c":1},{"s":"Prospecting","n":null,"c":2},{"s":null,"n":"Acme","c":2},
            {"s":null,"n":"Globex","c":1},{"s":null,"n":null,"c":3}]"#,
    ),
    // Semi- and anti-joins.
    ("SELECT Name FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE LeadSource = 'Web')", r#"["Acme"]"#),
    ("SELECT Name FROM Account WHERE Id NOT IN (SELECT AccountId FROM Contact) AND Name != 'x'", r#"["Initech 100%"]"#),
    (
        "SELECT FirstName FROM Contact WHERE AccountId IN (SELECT AccountId FROM Opportunity WHERE Amount > 60) ORDER BY FirstName",
        r#"["Ada","Grace"]"#,
    ),
    ("SELECT Subject FROM Task WHERE WhoId IN (SELECT Id FROM Lead)", r#"["Two"]"#),
    // Dates.
    ("SELECT FirstName FROM Contact WHERE CreatedDate = TODAY", r#"["Ada"]"#),
    ("SELECT FirstName FROM Contact WHERE CreatedDate = THIS_WEEK ORDER BY CreatedDate", r#"["Grace","Ada"]"#),
    ("SELECT LastName FROM Contact WHERE CreatedDate < THIS_MONTH ORDER BY CreatedDate LIMIT 1", r#"["Smith\nJones"]"#),
    ("SELECT FirstName FROM Contact WHERE CreatedDate > LAST_MONTH ORDER BY FirstName", r#"["Ada","Grace"]"#),
    (
        "SELECT FirstName FROM Contact WHERE CreatedDate <= N_DAYS_AGO:2 AND CreatedDate >= LAST_N_DAYS:2",
        r#"["Grace"]"#,
    ),
    ("SELECT Name FROM Opportunity WHERE CloseDate = NEXT_MONTH", r#"["Big"]"#),
    ("SELECT Name FROM Opportunity WHERE CloseDate != THIS_YEAR", r#"["None"]"#),
    ("SELECT Name FROM Opportunity WHERE CloseDate = N_YEARS_AGO:1", r#"["None"]"#),
    ("SELECT Name FROM Opportunity WHERE CloseDate = last_n_months:3", r#"["Small"]"#),
    ("SELECT Name FROM Opportunity WHERE CloseDate = 2024-06-01", r#"["Big"]"#),
    ("SELECT Name FROM Account WHERE CreatedDate = 2024-05-21T01:00:00+02:00", r#"["Globex"]"#),
    (
        "SELECT Name FROM Account WHERE CreatedDate >= 2024-01-15T10:30:00.000Z AND CreatedDate < 2024-05-20T23:00:00.000+0000",
        r#"["Acme"]"#,
    ),
    ("SELECT FirstName FROM Contact WHERE Birthdate < 2000-01-01", r#"["Ada"]"#),
    // LIKE and strings.
    ("SELECT Name FROM Account WHERE Name LIKE '%EX' OR Name LIKE '_cme'", r#"["Acme","Globex"]"#),
    (r"SELECT Name FROM Account WHERE Name LIKE '%100\%'", r#"["Initech 100%"]"#),
    (r"SELECT Name FROM Account WHERE Name = 'Initech 100\%'", r#"["Initech 100%"]"#),
    (r"SELECT LeadSource FROM Contact WHERE LastName LIKE '%x\_y'", r#"["Other"]"#),
    (r"SELECT LeadSource FROM Contact WHERE LastName LIKE '%\\ x%'", r#"["Other"]"#),
    (r#"SELECT LeadSource FROM Contact WHERE LastName = 'O\'Brien \"Q\" \\ x\_y'"#, r#"["Other"]"#),
    (r"SELECT Account.Name FROM Contact WHERE LastName = 'Smith\nJones'", r#"[{"Account":{"Name":"Globex"}}]"#),
    (r"SELECT Name FROM Account WHERE Name = '\u0041cme'", r#"["Acme"]"#),
    // Nulls and the empty string.
    ("SELECT Name FROM Account WHERE Industry = null", r#"["Initech 100%"]"#),
    ("SELECT Name FROM Account WHERE Industry = ''", r#"["Initech 100%"]"#),
    ("SELECT Name FROM Account WHERE Industry != ''", r#"["Acme","Globex"]"#),
    ("SELECT Name FROM Account WHERE Rating != 'Hot' ORDER BY Name", r#"["Globex","Initech 100%"]"#),
    ("SELECT Name FROM Account WHERE Rating NOT IN ('Hot') ORDER BY Name", r#"["Globex","Initech 100%"]"#),
    ("SELECT Name FROM Account WHERE Rating IN (null, 'Hot') ORDER BY Name", r#"["Acme","Initech 100%"]"#),
    ("SELECT Name FROM Account WHERE Rating NOT IN (null, 'Hot')", r#"["Globex"]"#),
    ("SELECT Name FROM Account WHERE NOT Rating = 'Hot' ORDER BY Name", r#"["Globex","Initech 100%"]"#),
    // Numbers, booleans, currency.
    ("SELECT Name FROM Account WHERE AnnualRevenue >= USD5000", r#"["Acme"]"#),
    ("SELECT Name FROM Account WHERE NumberOfEmployees > -1 AND AnnualRevenue < 2.505e2", "[]"),
    (
        "SELECT AnnualRevenue, NumberOfEmployees FROM Account WHERE AnnualRevenue = 250.5",
        r#"[{"AnnualRevenue":250.5,"NumberOfEmployees":7}]"#,
    ),
    ("SELECT Name FROM Account WHERE IsDeleted = false AND Name > 'B' AND Name < 'h'", r#"["Globex"]"#),
    ("SELECT Name FROM Account WHERE (Name = 'Acme' OR Name = 'Globex') AND Rating = 'Cold'", r#"["Globex"]"#),
    // Functions that change the look only; keys are those of their fields.
    (
        "SELECT toLabel(Rating), FORMAT(NumberOfEmployees) n, convertCurrency(AnnualRevenue) FROM Account WHERE Name = 'Globex'",
        r#"[{"Rating":"Cold","n":7,"AnnualRevenue":250.5}]"#,
    ),
    ("SELECT toLabel(Account.Rating) FROM Contact WHERE FirstName = 'Ada'", r#"[{"Account":{"Rating":"Hot"}}]"#),
    ("SELECT Name FROM Account WHERE toLabel(Rating) = 'Hot'", r#"["Acme"]"#),
    ("SELECT Name FROM Account WHERE DISTANCE(BillingAddress, GEOLOCATION(52.4, 13.1), 'km') < 50", r#"["Acme"]"#),
    // FIELDS().
    ("SELECT FIELDS(CUSTOM) FROM Account WHERE Name = 'Acme' LIMIT 200", r#"["red"]"#),
    ("SELECT Name, FIELDS(CUSTOM) FROM Account WHERE Name = 'Acme' LIMIT 1", r#"[{"Name":"Acme","Colour__c":"red"}]"#),
    // Polymorphic parents.
    (
        "SELECT Who.Name, Who.Type, What.Name, Owner.Name FROM Task ORDER BY Subject",
        r#"[{"Who":{"Name":"Ada Lovelace","Type":"Contact"},"What":{"Name":"Acme"},"Owner":{"Name":"Ada Local"}},
            {"Who":null,"What":null,"Owner":{"Name":"Ada Local"}},
            {"Who":{"Name":"Prospect","Type":"Lead"},"What":{"Name":"Big"},"Owner":{"Name":"Ada Local"}}]"#,
    ),
    ("SELECT Subject FROM Task WHERE What.Type IN ('Account', 'Opportunity') AND Who.FirstName = null", r#"["Two"]"#),
    (
        "SELECT TYPEOF Who WHEN Contact THEN LastName, Email WHEN Lead THEN Company END, TYPEOF What WHEN Account THEN Industry ELSE Id, Name END, Subject FROM Task WHERE WhoId != null AND What.Type = 'Account'",
        r#"[{"Who":{"LastName":"Lovelace","Email":"ada@acme.example.com"},"What":{"Industry":"Banking"},"Subject":"One"}]"#,
    ),
    (
        "SELECT TYPEOF Who WHEN Contact THEN LastName END, TYPEOF What WHEN Account THEN Name ELSE Name END FROM Task WHERE Subject = 'Two'",
        r#"[{"Who":null,"What":{"Name":"Big"}}]"#,
    ),
    ("SELECT Subject FROM Task WHERE Who.Name = 'ADA lovelace' AND What.Type = 'account'", r#"["One"]"#),
    ("SELECT Owner.Profile.Name FROM Lead", r#"[{"Owner":{"Profile":{"Name":"System Administrator"}}}]"#),
    // Order, windows, clauses that change nothing.
    ("SELECT Name FROM Account ORDER BY Industry, Name", r#"["Initech 100%","Acme","Globex"]"#),
    ("SELECT Name FROM Account ORDER BY Industry ASC NULLS LAST, Name DESC", r#"["Globex","Acme","Initech 100%"]"#),
    (
        "SELECT Name FROM Account ORDER BY Industry DESC NULLS LAST, Parent.Name DESC NULLS FIRST",
        r#"["Acme","Globex","Initech 100%"]"#,
    ),
    ("SELECT Name FROM Account ORDER BY Name LIMIT 1 OFFSET 1", r#"["Globex"]"#),
    ("SELECT Name FROM Account LIMIT 0", "[]"),
    (
        "SELECT Name FROM Account USING SCOPE everything WHERE Name = 'Acme' WITH SECURITY_ENFORCED ORDER BY Name LIMIT 1 FOR VIEW",
        r#"["Acme"]"#,
    ),
    ("SELECT Name FROM Account USING SCOPE mine WHERE Name = 'Acme' FOR UPDATE", r#"["Acme"]"#),
    ("SELECT Name FROM Account WHERE Name = 'Acme' FOR REFERENCE UPDATE TRACKING, VIEWSTAT", r#"["Acme"]"#),
];

#[tokio::test]
async fn queries_find_what_they_should() {
    let org = known_org().await;
    assert!(QUERIES.len() >= 80, "{}", QUERIES.len());
    let mut wrong = Vec::new();
    for (soql, expected) in QUERIES {
        let (status, body) = org.soql(soql).await;
        let expected: Value = serde_json::from_str(expected).unwrap();
        let mut found = plain(&body["records"]);
        let values_only = expected.as_array().unwrap().iter().all(|v| !v.is_object());
        if let Some(records) = found.as_array_mut().filter(|_| values_only) {
            for record in records {
                assert_eq!(record.as_object().unwrap().len(), 1, "{soql}");
                *record = record.as_object().unwrap().values().next().unwrap().clone();
            }
        }
        // As text, so that the order of the keys counts.
        let (found_text, expected_text) = (found.to_string(), expected.to_string());
        if status != 200 || found_text != expected_text {
            wrong.push(format!(
                "{soql}\n  found    {}\n  expected {expected}",
                if status == 200 { found } else { body }
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn ids_of_fifteen_and_eighteen_characters_are_the_same() {
    let org = known_org().await;
    let (_, body) = org.soql("SELECT Id FROM Account WHERE Name = 'Acme'").await;
    let id = body["records"][0]["Id"].as_str().unwrap().to_owned();
    for soql in [
        format!("SELECT Name FROM Account WHERE Id = '{id}'"),
        format!("SELECT Name FROM Account WHERE Id = '{}'", &id[..15]),
        format!("SELECT Name FROM Account WHERE Id IN ('{}', '001000000000000AAA')", &id[..15]),
        format!("SELECT Name FROM Account WHERE Id = '{id}' AND ParentId = ''"),
    ] {
        assert_eq!(plain(&org.soql(&soql).await.1["records"]), json!([{"Name": "Acme"}]), "{soql}");
    }
    // Known ids stand in for the LIMIT of FIELDS(ALL).
    let (_, body) = org.soql(&format!("SELECT FIELDS(ALL) FROM Account WHERE Id = '{id}'")).await;
    let record = &body["records"][0];
    assert_eq!((&record["Colour__c"], &record["BillingAddress"]["city"]), (&json!("red"), &json!("Berlin")));
}

#[tokio::test]
async fn attributes_name_the_type_and_the_resource() {
    let org = known_org().await;
    let soql = "SELECT Id, WhoId, Who.Name, Owner.Name, TYPEOF What WHEN Account THEN Name, Owner.Name END FROM Task WHERE Subject = 'One'";
    let (status, _) = org.soql(soql).await;
    assert_eq!(status, 400, "TYPEOF takes fields of the object itself");
    let soql = "SELECT Id, WhoId, WhatId, Who.Name, OwnerId, Owner.Name, CreatedBy.Name, TYPEOF What WHEN Account THEN Name END FROM Task WHERE Subject = 'One'";
    let (_, body) = org.soql(soql).await;
    let record = &body["records"][0];
    let attributes = |kind: &str, object: &str, id: &Value| json!({"type": kind, "url": format!("/services/data/v67.0/sobjects/{object}/{}", id.as_str().unwrap())});
    assert_eq!(record["attributes"], attributes("Task", "Task", &record["Id"]));
    assert_eq!(record["Who"]["attributes"], attributes("Name", "Contact", &record["WhoId"]));
    assert_eq!(record["Owner"]["attributes"], attributes("Name", "User", &record["OwnerId"]));
    assert_eq!(record["CreatedBy"]["attributes"], attributes("User", "User", &record["OwnerId"]));
    assert_eq!(record["What"]["attributes"], attributes("Account", "Account", &record["WhatId"]));
    assert_eq!(record.as_object().unwrap().keys().next().unwrap(), "attributes");
    let (_, body) = org.soql("SELECT COUNT(Id) n FROM Task").await;
    assert_eq!(body["records"], json!([{"attributes": {"type": "AggregateResult"}, "n": 3}]));
    let (_, body) = org.soql("SELECT COUNT() FROM Task WHERE Subject LIKE 'T%'").await;
    assert_eq!(body, json!({"totalSize": 2, "done": true, "records": []}));
}

#[tokio::test]
async fn deleted_rows_are_in_query_all_only() {
    let org = known_org().await;
    let (_, body) = org.soql("SELECT Id FROM Contact WHERE FirstName = 'Ada'").await;
    let path = body["records"][0]["attributes"]["url"].as_str().unwrap().to_owned();
    let token = &org.emulator.info().access_token;
    org.http.delete(org.url(&path)).bearer_auth(token).send().await.unwrap();
    let soql = "SELECT Name, (SELECT IsDeleted FROM Contacts ORDER BY LastName) FROM Account WHERE Name = 'Acme'";
    let (_, body) = org.soql(soql).await;
    assert_eq!(body["records"][0]["Contacts"]["totalSize"], 1);
    let (_, body) = org.ask("/services/data/v67.0/queryAll", &[("q", soql)]).await;
    let contacts = plain(&body["records"][0]["Contacts"]["records"]);
    assert_eq!(contacts, json!([{"IsDeleted": false}, {"IsDeleted": true}]));
}
