//! The error codes of Salesforce's APIs that an integration meets: what happened, whether it passes by itself, and the
//! next act.
//!
//! Sources: "Status Codes and Error Responses" of the REST API Developer Guide, the `StatusCode` and `ExceptionCode`
//! lists of the SOAP API Developer Guide, and the codes on which Salesforce's own clients act. The same code may come
//! with HTTP 200 inside a composite answer: the code counts, not the status.

/// Who can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Time: worth trying again as it is.
    Wait,
    /// Time, but hours of it: the org's budget is used up.
    WaitLong,
    /// Somebody with rights in the org, or who can log in.
    Person,
    /// Whoever wrote the request.
    Request,
}

/// A code and what to do about it.
#[derive(Debug, Clone, Copy)]
pub struct Explanation {
    /// Salesforce's code.
    pub code: &'static str,
    /// Who can help.
    pub remedy: Remedy,
    /// What happened.
    pub meaning: &'static str,
    /// The next act.
    pub next: &'static str,
}

const fn row(code: &'static str, remedy: Remedy, meaning: &'static str, next: &'static str) -> Explanation {
    Explanation { code, remedy, meaning, next }
}

use Remedy::{Person, Request, Wait, WaitLong};

/// All rows.
#[rustfmt::skip]
pub const API: &[Explanation] = &[
    // Sessions and access.
    row("INVALID_SESSION_ID", Person, "the session is over or was never valid for this API", "the org refuses even fresh tokens: check the user's session and IP settings"),
    row("INVALID_AUTH_HEADER", Person, "the Authorization header is not one", "report it: the token was not sent as it should be"),
    row("INVALID_LOGIN", Person, "user name, password or security token is wrong, or the user is locked", "check the three, and the user's login history in the org"),
    row("INVALID_OPERATION_WITH_EXPIRED_PASSWORD", Person, "the user's password has expired", "change it in the browser; a new token does not help before"),
    row("API_DISABLED_FOR_ORG", Person, "the edition or the profile has no API", "enable the API for the user's profile"),
    row("API_CURRENTLY_DISABLED", Person, "the API is switched off for this user", "enable the API for the user's profile"),
    row("ORG_LOCKED", Person, "the org is locked", "ask the org's owner or Salesforce"),
    row("INSUFFICIENT_ACCESS", Person, "the user lacks a permission for this", "grant it to the user by profile, permission set or sharing"),
    row("INSUFFICIENT_ACCESS_OR_READONLY", Person, "the user may not change this record, or it is read-only", "grant it to the user by profile, permission set or sharing"),
    row("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", Person, "the user may not see a record that this one refers to", "share the other record with the user"),
    row("INVALID_CROSS_REFERENCE_KEY", Request, "an id refers to no record, or to one that the user may not see", "check the ids and the user's access to them"),
    row("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", Person, "a trigger or flow in the org failed", "the message names it: its owner must repair it"),
    row("FIELD_CUSTOM_VALIDATION_EXCEPTION", Request, "a validation rule of the org says no", "the message is the rule's: send what it asks for"),
    row("FIELD_FILTER_VALIDATION_EXCEPTION", Request, "a lookup filter of the org says no", "send a reference that the filter admits"),
    // Limits.
    row("REQUEST_LIMIT_EXCEEDED", WaitLong, "the org's API calls for 24 hours are used up, or too many long ones run at once", "wait, or ask Salesforce for more; `limits` shows what is left"),
    row("STORAGE_LIMIT_EXCEEDED", Person, "the org has no room for records", "delete some, or buy storage"),
    row("EXCEEDED_QUOTA", WaitLong, "a quota of the org is used up", "wait until it is counted anew"),
    row("TXN_SECURITY_METERING_ERROR", Wait, "the org's transaction security is too busy to decide", "try again in a moment"),
    row("LIMIT_EXCEEDED", Request, "a limit of the request was passed", "send less at once"),
    row("EXCEEDED_ID_LIMIT", Request, "too many ids, or a grouped query with too many rows", "send fewer ids, or use LIMIT"),
    row("EXCEEDED_MAX_SEMIJOIN_SUBSELECTS", Request, "more than two semi-joins in a query", "ask in several queries"),
    // What passes by itself.
    row("UNABLE_TO_LOCK_ROW", Wait, "another transaction holds the record or its parent", "try again in a moment; write records of one parent one after the other"),
    row("QUERY_TIMEOUT", Wait, "the query took too long", "try again, or ask for fewer rows with a selective filter"),
    row("SERVER_UNAVAILABLE", Wait, "the org is not available", "try again later; see https://status.salesforce.com"),
    row("UNKNOWN_EXCEPTION", Wait, "Salesforce failed", "try again later; report the error id to Salesforce if it stays"),
    row("INVALID_REPLICATION_DATE", Request, "the period is too old or in the future", "ask for a period within the last 30 days"),
    row("INVALID_QUERY_LOCATOR", Request, "the org has closed the query's cursor", "run the query again; one with ORDER BY Id that selects Id goes on by itself"),
    row("CANT_DELETE_FROM_RECYCLE_BIN", Request, "the record is not in the recycle bin", "nothing: it is gone already"),
    // Queries.
    row("MALFORMED_QUERY", Request, "the query cannot be read", "check the query's words and names; the caret, where there is one, shows the place"),
    row("INVALID_FIELD", Request, "there is no such field, or the user may not see it", "check the names against `describe`; the user may lack access to a field or object"),
    row("INVALID_TYPE", Request, "there is no such object, or the user may not see it", "check the names against `describe`; the user may lack access to a field or object"),
    row("INVALID_QUERY_FILTER_OPERATOR", Request, "the operator does not fit the field", "compare the field's type in `describe`"),
    row("INVALID_QUERY_SCOPE", Request, "the object does not know this scope", "leave USING SCOPE out"),
    row("QUERY_TOO_COMPLICATED", Request, "the query has too many fields or conditions", "ask for less at once"),
    row("MALFORMED_SEARCH", Request, "the search cannot be read", "escape the reserved characters of SOSL"),
    row("INVALID_TYPE_FOR_OPERATION", Request, "the object cannot do that", "see `describe`: queryable, createable, updateable"),
    row("NUMBER_OUTSIDE_VALID_RANGE", Request, "a number is too large or too small", "SOQL's OFFSET goes to 2,000"),
    // Records.
    row("REQUIRED_FIELD_MISSING", Request, "a field must have a value", "send the fields that are named"),
    row("INVALID_FIELD_FOR_INSERT_UPDATE", Request, "a field cannot be written", "leave out what `describe` calls not createable or updateable"),
    row("STRING_TOO_LONG", Request, "a text is longer than its field", "shorten it; `describe` tells the length"),
    row("INVALID_EMAIL_ADDRESS", Request, "that is no e-mail address to Salesforce", "correct it"),
    row("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", Request, "the value is not on the picklist", "use a value that `describe` lists"),
    row("MALFORMED_ID", Request, "that is no id, or one of another object", "ids have 15 or 18 characters and begin with the object's prefix"),
    row("INVALID_ID_FIELD", Request, "the field that should hold an id does not", "check the field's name and value"),
    row("NUMERIC_OVERFLOW", Request, "the number has more digits than its field", "`describe` tells precision and scale"),
    row("JSON_PARSER_ERROR", Request, "the body does not fit the field's type", "compare value and type in `describe`"),
    row("JSON_PROCESSING_EXCEPTION", Request, "the body cannot be read", "report it: the request was not well-formed"),
    row("DUPLICATE_VALUE", Request, "a unique field has this value in another record", "update that record, or upsert by the unique field"),
    row("DUPLICATE_EXTERNAL_ID", Request, "two records have this external id", "make the field unique in the org"),
    row("DUPLICATES_DETECTED", Request, "a duplicate rule of the org says no", "update the record that is there, or allow it by header"),
    row("ENTITY_IS_DELETED", Request, "the record was deleted", "undelete it, or drop it on this side"),
    row("ENTITY_IS_LOCKED", Person, "an approval process holds the record", "wait for the approval, or unlock it"),
    row("DELETE_FAILED", Request, "something else refers to the record", "delete or change that first"),
    row("DELETE_REQUIRED_ON_CASCADE", Person, "deleting it would delete records that the user may not delete", "grant it, or delete those first"),
    row("NOT_FOUND", Request, "there is no such record or resource, or not for this user", "check id, path and permissions"),
    row("INVALID_BATCH_SIZE", Request, "the batch size is out of range", "use 200 to 2,000"),
    row("INVALID_ARGUMENT", Request, "an argument is wrong", "the message names it"),
    row("METHOD_NOT_ALLOWED", Request, "the resource does not know this method", "see the resource's documentation"),
    row("UNSUPPORTED_API_VERSION", Request, "the org does not have this API version", "set SF_API_VERSION to one that GET /services/data lists"),
    row("UNSUPPORTED_MEDIA_TYPE", Request, "the body's content type is not taken", "send JSON"),
    row("PROCESSING_HALTED", Request, "an earlier part of the request failed, so this one was not tried", "look at the first failure"),
    row("ALL_OR_NONE_OPERATION_ROLLED_BACK", Request, "another record of the request failed, so all were undone", "look at the other failures"),
    row("CIRCULAR_DEPENDENCY", Request, "a record would be its own parent", "break the circle"),
    row("TOO_MANY_ENUM_VALUE", Request, "a multi-select picklist has too many values", "send fewer"),
];

/// The row of a code.
///
/// ```
/// use tieline_client::catalogue::{Remedy, explain};
/// assert_eq!(explain("UNABLE_TO_LOCK_ROW").unwrap().remedy, Remedy::Wait);
/// assert!(explain("NO_SUCH_CODE").is_none());
/// ```
pub fn explain(code: &str) -> Option<&'static Explanation> {
    API.iter().find(|row| row.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_once_and_in_the_documentation() {
        let page = include_str!("../../../docs/errors.md");
        for (number, row) in API.iter().enumerate() {
            assert!(
                page.contains(&format!("| `{}` | {} |", row.code, row.meaning)),
                "{} is not in docs/errors.md",
                row.code
            );
            assert!(API[..number].iter().all(|other| other.code != row.code), "{} stands twice", row.code);
        }
    }
}
