//! SOQL: how queries are refused, and in which words.

use super::{documented, memory, recorded, reported};
use crate::expectation::{Area, Check, Expectation, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Queries, name, source, check)
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("an unknown field in a query is INVALID_FIELD and points at it", recorded("10.3"), |case| {
            Box::pin(async move {
                let answer = case.query("SELECT Bacon__c FROM Account").await?.refused(400, "INVALID_FIELD")?;
                let text = answer.json()?[0]["message"].as_str().unwrap_or_default().to_owned();
                that(text.contains("^\nERROR at Row:1:Column:8\n"), "a caret, and Row:1:Column:8", &text)?;
                answer
                    .says(
                        "SELECT Bacon__c FROM Account\n       ^\nERROR at Row:1:Column:8\nNo such column 'Bacon__c' on \
                         entity 'Account'. If you are attempting to use a custom field, be sure to append the '__c' after \
                         the custom field name. Please reference your WSDL or the describe call for the appropriate names.",
                    )
                    .done()
            })
        }),
        on("an unknown object in a query is INVALID_TYPE", recorded("10.3"), |case| {
            Box::pin(async move {
                let answer = case.query("SELECT Id FROM Xyzzy").await?.refused(400, "INVALID_TYPE")?;
                answer
                    .mentions(
                        "sObject type 'Xyzzy' is not supported. If you are attempting to use a custom object, be sure to \
                         append the '__c' after the entity name. Please reference your WSDL or the describe call for the \
                         appropriate names.",
                    )
                    .done()
            })
        }),
        on("a query that does not begin with SELECT is MALFORMED_QUERY", recorded("10.3"), |case| {
            Box::pin(async move {
                let answer = case.query("SELEKT Id FROM Account").await?.refused(400, "MALFORMED_QUERY")?;
                answer.says("unexpected token: SELEKT").done()
            })
        }),
        on("no query at all is MALFORMED_QUERY", reported("10.3"), |case| {
            Box::pin(async move {
                let answer = case.get("query").await?.refused(400, "MALFORMED_QUERY")?;
                answer.says("A query string has to be specified").done()
            })
        }),
        on("two names without a comma are taken for an alias", reported("10.3"), |case| {
            Box::pin(async move {
                let answer = case.query("SELECT Id Name FROM Account").await?.refused(400, "MALFORMED_QUERY")?;
                answer.mentions("only aggregate expressions use field aliasing").done()
            })
        }),
        on("a field that is not grouped is MALFORMED_QUERY", documented("10.3"), |case| {
            Box::pin(async move {
                let soql = "SELECT Name, COUNT(Id) FROM Account GROUP BY Industry";
                let answer = case.query(soql).await?.refused(400, "MALFORMED_QUERY")?;
                answer.mentions("Field must be grouped or aggregated: Name").done()
            })
        }),
        on("FIELDS(ALL) without a limit of 200 is MALFORMED_QUERY", reported("10.3"), |case| {
            Box::pin(async move {
                let answer = case.query("SELECT FIELDS(ALL) FROM Account").await?.refused(400, "MALFORMED_QUERY")?;
                answer.mentions("The SOQL FIELDS function must have a LIMIT of at most 200").done()
            })
        }),
        on("AND and OR without parentheses are MALFORMED_QUERY", documented("10.1"), |case| {
            Box::pin(async move {
                let soql = "SELECT Id FROM Account WHERE Name = 'a' AND Name = 'b' OR Name = 'c'";
                case.query(soql).await?.refused(400, "MALFORMED_QUERY")?.done()
            })
        }),
        on("a variable of Apex is MALFORMED_QUERY", reported("10.3"), |case| {
            Box::pin(async move {
                let answer = case.query("SELECT Id FROM Account WHERE Name = :name").await?;
                let answer = answer.refused(400, "MALFORMED_QUERY")?;
                answer.mentions("Bind variables only allowed in Apex code").done()
            })
        }),
        on("a field twice is INVALID_FIELD", documented("10.3"), |case| {
            Box::pin(async move {
                let answer = case.query("SELECT Id, Id FROM Account").await?.refused(400, "INVALID_FIELD")?;
                answer.mentions("duplicate field selected: Id").done()
            })
        }),
        on("an unknown parent is INVALID_FIELD", reported("10.3"), |case| {
            Box::pin(async move {
                let answer = case.query("SELECT Foo.Name FROM Account").await?.refused(400, "INVALID_FIELD")?;
                answer.mentions("Didn't understand relationship 'Foo' in field path.").done()
            })
        }),
        on("unknown children are INVALID_TYPE", memory("10.3"), |case| {
            Box::pin(async move {
                let answer = case.query("SELECT (SELECT Id FROM Foos) FROM Account").await?;
                let answer = answer.refused(400, "INVALID_TYPE")?;
                answer.mentions("Didn't understand relationship 'Foos' in FROM part of query call.").done()
            })
        }),
        on("a long text cannot be filtered: INVALID_FIELD", reported("10.3"), |case| {
            Box::pin(async move {
                let answer = case.query("SELECT Id FROM Account WHERE Description = 'x'").await?;
                let answer = answer.refused(400, "INVALID_FIELD")?;
                answer.mentions("field 'Description' can not be filtered in a query call").done()
            })
        }),
        on("a time in quotes is INVALID_FIELD", reported("10.3"), |case| {
            Box::pin(async move {
                let soql = "SELECT Id FROM Account WHERE CreatedDate > '2024-01-01T00:00:00Z'";
                let answer = case.query(soql).await?.refused(400, "INVALID_FIELD")?;
                let words = "value of filter criterion for field 'CreatedDate' must be of type dateTime and should not be \
                             enclosed in quotes";
                answer.mentions(words).done()
            })
        }),
        on("an id that is none is INVALID_QUERY_FILTER_OPERATOR", reported("10.3"), |case| {
            Box::pin(async move {
                let answer = case.query("SELECT Id FROM Account WHERE Id = 'tieline'").await?;
                let answer = answer.refused(400, "INVALID_QUERY_FILTER_OPERATOR")?;
                answer.mentions("invalid ID field: tieline").done()
            })
        }),
        on("an offset beyond 2,000 is NUMBER_OUTSIDE_VALID_RANGE", reported("10.3"), |case| {
            Box::pin(async move {
                let answer = case.query("SELECT Id FROM Account OFFSET 2001").await?;
                let answer = answer.refused(400, "NUMBER_OUTSIDE_VALID_RANGE")?;
                answer.mentions("Maximum SOQL offset allowed is 2000").done()
            })
        }),
    ]
}
