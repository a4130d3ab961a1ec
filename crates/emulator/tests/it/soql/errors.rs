//! Queries that are refused: code, row, column and words.

use serde_json::json;

use super::known_org;

const USE_THE_SUFFIX: &str = "Please reference your WSDL or the describe call for the appropriate names.";

/// Query, code, column (0: no position), words; where they end in `…`, their beginning.
const REFUSED: &[(&str, &str, usize, &str)] = &[
    ("SELEKT Id FROM Account", "MALFORMED_QUERY", 0, "unexpected token: SELEKT"),
    ("SELECT Id Name, FROM Account", "MALFORMED_QUERY", 17, "unexpected token: 'FROM'"),
    ("SELECT Id FROM", "MALFORMED_QUERY", 15, "unexpected token: '<EOF>'"),
    ("SELECT Id FROM Account WHERE Name = @x", "MALFORMED_QUERY", 37, "unexpected token: '@'"),
    ("SELECT Id FROM Account WHERE Name = \"x\"", "MALFORMED_QUERY", 37, "unexpected token: '\"'"),
    (
        "SELECT Id FROM Account WHERE Name = 'a' AND Name = 'b' OR Name = 'c'",
        "MALFORMED_QUERY",
        56,
        "unexpected token: 'OR'",
    ),
    ("SELECT Id FROM Account WHERE Name = x", "MALFORMED_QUERY", 37, "unexpected token: 'x'"),
    ("SELECT Id FROM Account HAVING Id = null", "MALFORMED_QUERY", 24, "unexpected token: 'HAVING'"),
    ("SELECT Id FROM Account LIMIT -1", "MALFORMED_QUERY", 30, "unexpected token: '-'"),
    ("SELECT Id FROM Account LIMIT 2147483648", "MALFORMED_QUERY", 30, "unexpected token: '2147483648'"),
    ("SELECT COUNT(), Id FROM Account", "MALFORMED_QUERY", 15, "unexpected token: ','"),
    ("SELECT foo(Id) FROM Account", "MALFORMED_QUERY", 11, "unexpected token: '('"),
    ("SELECT Id FROM Account WHERE COUNT(Id) > 1", "MALFORMED_QUERY", 35, "unexpected token: '('"),
    ("SELECT Id FROM Account WITH USER_MODE", "MALFORMED_QUERY", 29, "unexpected token: 'USER_MODE'"),
    (
        r"SELECT Id FROM Account WHERE Name = 'a\q'",
        "MALFORMED_QUERY",
        39,
        r"Illegal character sequence '\q' in string literal",
    ),
    (
        r"SELECT Id FROM Account WHERE Name = 'a\u00'",
        "MALFORMED_QUERY",
        39,
        r"Illegal character sequence '\u' in string literal",
    ),
    ("SELECT Id FROM Account WHERE Name = :name", "MALFORMED_QUERY", 37, "Bind variables only allowed in Apex code"),
    ("SELECT Id FROM Account WHERE Id IN :ids", "MALFORMED_QUERY", 36, "Bind variables only allowed in Apex code"),
    ("SELECT Id FROM Account ALL ROWS", "MALFORMED_QUERY", 24, "ALL ROWS not allowed in this context"),
    ("SELECT Id FROM Account USING SCOPE team", "MALFORMED_QUERY", 36, "scope 'team' is not supported for 'Account'"),
    ("SELECT Id Name FROM Account", "MALFORMED_QUERY", 11, "only aggregate expressions use field aliasing"),
    ("SELECT DISTINCT Name FROM Account", "MALFORMED_QUERY", 17, "only aggregate expressions use field aliasing"),
    // Names.
    (
        "SELECT Bacon__c FROM Account",
        "INVALID_FIELD",
        8,
        "No such column 'Bacon__c' on entity 'Account'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names.",
    ),
    (
        "SELECT Id FROM Contact WHERE Account.Bacon = 1",
        "INVALID_FIELD",
        30,
        "No such column 'Bacon' on entity 'Account'…",
    ),
    ("SELECT Who.Department FROM Task", "INVALID_FIELD", 8, "No such column 'Department' on entity 'Name'…"),
    (
        "SELECT count() FROM XYZZY",
        "INVALID_TYPE",
        21,
        "sObject type 'XYZZY' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names.",
    ),
    ("SELECT Id FROM ScratchOrgInfo limit 1", "INVALID_TYPE", 16, "sObject type 'ScratchOrgInfo' is not supported…"),
    (
        "SELECT Foo.Name FROM Account",
        "INVALID_FIELD",
        8,
        "Didn't understand relationship 'Foo' in field path. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the appropriate names.",
    ),
    (
        "SELECT Id, (SELECT Id FROM Foos) FROM Account",
        "INVALID_TYPE",
        28,
        "Didn't understand relationship 'Foos' in FROM part of query call…",
    ),
    (
        "SELECT Parent.Parent.Parent.Parent.Parent.Parent.Name FROM Account",
        "MALFORMED_QUERY",
        8,
        "a field path follows at most 5 relationships",
    ),
    ("SELECT Id, Name, id FROM Account", "INVALID_FIELD", 18, "duplicate field selected: Id"),
    ("SELECT Account.Name, Account.Name FROM Contact", "INVALID_FIELD", 22, "duplicate field selected: Name"),
    ("SELECT FIELDS(ALL), Id FROM Account LIMIT 1", "INVALID_FIELD", 21, "duplicate field selected: Id"),
    // FIELDS().
    (
        "SELECT FIELDS(ALL) FROM Account",
        "MALFORMED_QUERY",
        0,
        "The SOQL FIELDS function must have a LIMIT of at most 200",
    ),
    (
        "SELECT FIELDS(CUSTOM) FROM Account LIMIT 201",
        "MALFORMED_QUERY",
        0,
        "The SOQL FIELDS function must have a LIMIT of at most 200",
    ),
    (
        "SELECT FIELDS(CUSTOM) FROM Contact LIMIT 1",
        "MALFORMED_QUERY",
        0,
        "'FIELDS(...)' expansion function must result in at least one field being selected.",
    ),
    ("SELECT FIELDS(SOME) FROM Account LIMIT 1", "MALFORMED_QUERY", 15, "unexpected token: 'SOME'"),
    // Groups.
    ("SELECT Name, COUNT(Id) FROM Account", "MALFORMED_QUERY", 8, "Field must be grouped or aggregated: Name"),
    (
        "SELECT Name, Industry FROM Account GROUP BY Industry",
        "MALFORMED_QUERY",
        8,
        "Field must be grouped or aggregated: Name",
    ),
    (
        "SELECT CALENDAR_YEAR(CreatedDate) FROM Account",
        "MALFORMED_QUERY",
        22,
        "Field must be grouped or aggregated: CreatedDate",
    ),
    (
        "SELECT Industry FROM Account GROUP BY Industry ORDER BY Name",
        "MALFORMED_QUERY",
        57,
        "Ordered field must be grouped or aggregated: Name",
    ),
    (
        "SELECT Industry FROM Account GROUP BY Industry HAVING Name = 'x'",
        "MALFORMED_QUERY",
        55,
        "Field must be grouped or aggregated: Name",
    ),
    ("SELECT COUNT(Id) n, MAX(Name) n FROM Account", "MALFORMED_QUERY", 31, "duplicate alias: n"),
    ("SELECT SUM(Name) FROM Account", "INVALID_FIELD", 12, "field Name does not support aggregate operator SUM"),
    (
        "SELECT COUNT(Id), (SELECT Id FROM Contacts) FROM Account",
        "MALFORMED_QUERY",
        35,
        "Grouped query cannot use child relationships in the SELECT list",
    ),
    (
        "SELECT (SELECT COUNT(Id) FROM Contacts) FROM Account",
        "MALFORMED_QUERY",
        31,
        "aggregates are not allowed in a child subquery",
    ),
    (
        "SELECT CreatedDate FROM Account GROUP BY CreatedDate",
        "INVALID_FIELD",
        42,
        "field 'CreatedDate' can not be grouped in a query call",
    ),
    (
        "SELECT Id FROM Account ORDER BY Description",
        "INVALID_FIELD",
        33,
        "field 'Description' can not be sorted in a query call",
    ),
    (
        "SELECT Id FROM Account WHERE Description = 'x'",
        "INVALID_FIELD",
        30,
        "field 'Description' can not be filtered in a query call",
    ),
    (
        "SELECT Id FROM Account WHERE BillingAddress = 'x'",
        "INVALID_FIELD",
        30,
        "field 'BillingAddress' can not be filtered in a query call",
    ),
    // Values.
    (
        "SELECT Id FROM Account WHERE CreatedDate > '2024-01-01'",
        "INVALID_FIELD",
        44,
        "value of filter criterion for field 'CreatedDate' must be of type dateTime and should not be enclosed in quotes",
    ),
    (
        "SELECT Id FROM Account WHERE CreatedDate > 2024-01-01",
        "INVALID_FIELD",
        44,
        "value of filter criterion for field 'CreatedDate' must be of type dateTime and should not be enclosed in quotes",
    ),
    (
        "SELECT Id FROM Opportunity WHERE CloseDate = 2024-01-01T00:00:00Z",
        "INVALID_FIELD",
        46,
        "value of filter criterion for field 'CloseDate' must be of type date and should not be enclosed in quotes",
    ),
    (
        "SELECT Id FROM Account WHERE Name = 5",
        "INVALID_FIELD",
        37,
        "value of filter criterion for field 'Name' must be of type string and should be enclosed in quotes",
    ),
    (
        "SELECT Id FROM Account WHERE Name = TODAY",
        "INVALID_FIELD",
        37,
        "value of filter criterion for field 'Name' must be of type string and should be enclosed in quotes",
    ),
    (
        "SELECT Id FROM Account WHERE IsDeleted = 'true'",
        "INVALID_FIELD",
        42,
        "value of filter criterion for field 'IsDeleted' must be of type boolean and should not be enclosed in quotes",
    ),
    (
        "SELECT Id FROM Account WHERE NumberOfEmployees = '5'",
        "INVALID_FIELD",
        50,
        "value of filter criterion for field 'NumberOfEmployees' must be of type int and should not be enclosed in quotes",
    ),
    (
        "SELECT Id FROM Account WHERE AnnualRevenue IN (1, '5')",
        "INVALID_FIELD",
        51,
        "value of filter criterion for field 'AnnualRevenue' must be of type double and should not be enclosed in quotes",
    ),
    (
        "SELECT Id FROM Account WHERE CreatedDate = LAST_N_DAYS",
        "MALFORMED_QUERY",
        44,
        "unexpected token: 'LAST_N_DAYS'",
    ),
    (
        "SELECT Id FROM Account WHERE Id = 'Edge Communications'",
        "INVALID_QUERY_FILTER_OPERATOR",
        35,
        "invalid ID field: Edge Communications",
    ),
    (
        "SELECT Id FROM Account WHERE Id LIKE '001%'",
        "INVALID_QUERY_FILTER_OPERATOR",
        38,
        "invalid operator on id field",
    ),
    (
        "SELECT Id FROM Account WHERE NumberOfEmployees LIKE '1%'",
        "INVALID_QUERY_FILTER_OPERATOR",
        53,
        "invalid operator on int field",
    ),
    (
        "SELECT Id FROM Account WHERE IsDeleted > false",
        "INVALID_QUERY_FILTER_OPERATOR",
        42,
        "invalid operator on boolean field",
    ),
    (
        "SELECT Id FROM Account WHERE Name INCLUDES ('x')",
        "INVALID_QUERY_FILTER_OPERATOR",
        30,
        "includes or excludes operator only valid on multipicklist field",
    ),
    // Semi-joins.
    (
        "SELECT Id FROM Account WHERE Id IN (SELECT Id FROM Contact)",
        "MALFORMED_QUERY",
        44,
        "The selected field 'Id' in the subquery and the left operand field in the where expression in the outer query 'Id' should point to the same object type",
    ),
    (
        "SELECT Id FROM Account WHERE Name IN (SELECT AccountId FROM Contact)",
        "MALFORMED_QUERY",
        30,
        "The left operand field in the where expression for outer query should be an id field, cannot use: 'Name'",
    ),
    (
        "SELECT Id FROM Account WHERE Id IN (SELECT LastName FROM Contact)",
        "MALFORMED_QUERY",
        44,
        "The inner select field 'LastName' should be an id field",
    ),
    (
        "SELECT Id FROM Account WHERE Id IN (SELECT ParentId FROM Account)",
        "MALFORMED_QUERY",
        58,
        "The inner and outer selects should not be on the same object type",
    ),
    (
        "SELECT Id FROM Account WHERE Name = 'x' OR Id IN (SELECT AccountId FROM Contact)",
        "MALFORMED_QUERY",
        44,
        "Semi join sub-selects are not allowed with the 'OR' operator",
    ),
    (
        "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact LIMIT 1)",
        "MALFORMED_QUERY",
        67,
        "unexpected token: 'LIMIT'",
    ),
    (
        "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE Id IN (SELECT WhoId FROM Task))",
        "MALFORMED_QUERY",
        73,
        "Nesting of semi join sub-selects is not supported",
    ),
    (
        "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact) AND Id IN (SELECT AccountId FROM Case) AND Id NOT IN (SELECT AccountId FROM Opportunity)",
        "MALFORMED_QUERY",
        111,
        "Cannot have more than 2 semi join sub-selects",
    ),
    // TYPEOF, windows.
    (
        "SELECT TYPEOF Account WHEN Account THEN Name END FROM Contact",
        "MALFORMED_QUERY",
        15,
        "Cannot use TYPEOF with a relationship to one object: 'Account'",
    ),
    (
        "SELECT TYPEOF Who WHEN Contact THEN Company END FROM Task",
        "INVALID_FIELD",
        37,
        "No such column 'Company' on entity 'Contact'…",
    ),
    ("SELECT Id FROM Account OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", 0, "Maximum SOQL offset allowed is 2000"),
    (
        "SELECT (SELECT Id FROM Contacts OFFSET 1) FROM Account",
        "MALFORMED_QUERY",
        24,
        "OFFSET in a subquery needs LIMIT 1 in its parent",
    ),
];

#[tokio::test]
async fn refusals_have_their_code_place_and_words() {
    let org = known_org().await;
    let mut wrong = Vec::new();
    for (soql, code, column, words) in REFUSED {
        let (status, body) = org.soql(soql).await;
        let message = body[0]["message"].as_str().unwrap_or("");
        let place = if *column == 0 { String::new() } else { format!("ERROR at Row:1:Column:{column}\n") };
        let expected = format!("{place}{}", words.trim_end_matches('…'));
        let fits = match (words.ends_with('…'), *column) {
            (true, _) => {
                message.contains(&expected) && message.ends_with(USE_THE_SUFFIX) || message.contains(&expected)
            }
            (false, 0) => message == expected,
            (false, _) => message.ends_with(&expected),
        };
        if status != 400 || body[0]["errorCode"] != *code || !fits {
            wrong.push(format!("{soql}\n  found    {body}\n  expected {code} {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_positioned_message_shows_the_line_with_a_caret() {
    let org = known_org().await;
    let (status, body) = org.soql("SELECT Id,\n  Bacon__c\nFROM Account").await;
    let text = "\n  Bacon__c\n  ^\nERROR at Row:2:Column:3\nNo such column 'Bacon__c' on entity 'Account'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names.";
    assert_eq!((status, body), (400, json!([{"message": text, "errorCode": "INVALID_FIELD"}])));
    // Of a long line, whole words around the place.
    let long = "SELECT Id, FirstName, LastName, LeadSource, Bacon__c, CreatedDate, LastModifiedDate, SystemModstamp FROM Contact";
    let (_, body) = org.soql(long).await;
    let excerpt = "\nFirstName, LastName, LeadSource, Bacon__c, CreatedDate, \n                                 ^\nERROR at Row:1:Column:45\n";
    assert!(body[0]["message"].as_str().unwrap().starts_with(excerpt), "{body}");
    let (_, body) = org.soql("select count() from XYZZY").await;
    assert!(
        body[0]["message"]
            .as_str()
            .unwrap()
            .starts_with("\nselect count() from XYZZY\n                    ^\nERROR at Row:1:Column:21\n")
    );
}

#[tokio::test]
async fn what_is_too_long_is_refused() {
    let org = known_org().await;
    let (status, body) = org.soql(&format!("SELECT Id FROM Account WHERE Name = '{}'", "x".repeat(4_001))).await;
    assert_eq!((status, &body[0]["errorCode"]), (400, &json!("MALFORMED_QUERY")));
    let (status, _) = org.soql(&format!("SELECT Id FROM Account WHERE Name = '{}'", "x".repeat(4_000))).await;
    assert_eq!(status, 200);
    let subqueries = "(SELECT Id FROM Contacts), ".repeat(20) + "(SELECT Id FROM Contacts)";
    let (status, _) = org.soql(&format!("SELECT {subqueries} FROM Account")).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn subqueries_nest_since_version_58() {
    let org = known_org().await;
    let of = |levels: usize| {
        let deep = (0..levels).fold("Id".to_owned(), |inner, _| format!("(SELECT {inner} FROM ChildAccounts)"));
        format!("SELECT {deep} FROM Account")
    };
    for (version, levels, expected) in [("67.0", 4, 200), ("67.0", 5, 400), ("57.0", 1, 200), ("57.0", 2, 400)] {
        let (status, body) = org.ask(&format!("/services/data/v{version}/query"), &[("q", &of(levels))]).await;
        assert_eq!(status, expected, "{version} {levels} {body}");
    }
}
