//! Whether an answer means that the session is over, in the five shapes in which Salesforce says so.
//!
//! | API | answer |
//! | --- | --- |
//! | REST | 401, JSON with `INVALID_SESSION_ID` |
//! | Bulk 1.0 | 400, XML with `<exceptionCode>InvalidSessionId</exceptionCode>` |
//! | SOAP (Metadata, Partner) | 500, a fault with `<faultcode>sf:INVALID_SESSION_ID</faultcode>` |
//! | OAuth resources (userinfo, identity) | 403, the plain text `Bad_OAuth_Token` |
//! | Pub/Sub | gRPC status `UNAUTHENTICATED` |
//!
//! Sources: the shapes are those that Salesforce's Mobile SDK, jetstream and jsforce tell apart.

use serde::Deserialize;

/// 401 answers that a new token does not cure. Source: the same list in jsforce's HTTP layer.
const NOT_CURED: [&str; 2] =
    ["This session is not valid for use with the REST API", "Connected app is not attached to Agent"];

/// gRPC's number for `UNAUTHENTICATED`.
const GRPC_UNAUTHENTICATED: i32 = 16;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default, rename = "errorCode")]
    error_code: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    message: std::borrow::Cow<'a, str>,
}

/// True if another token may be taken where this one was not.
///
/// ```
/// use tieline_client::session::is_expired;
/// assert!(is_expired(401, br#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#));
/// assert!(is_expired(403, b"Bad_OAuth_Token"));
/// assert!(!is_expired(403, br#"[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#));
/// ```
pub fn is_expired(status: u16, body: &[u8]) -> bool {
    match status {
        401 => serde_json::from_slice::<Vec<Body<'_>>>(body).is_ok_and(|errors| {
            errors.first().is_some_and(|error| {
                error.error_code == "INVALID_SESSION_ID" && !NOT_CURED.iter().any(|text| error.message.contains(text))
            })
        }),
        400 => element(body, "exceptionCode").is_some_and(|code| code == b"InvalidSessionId"),
        500 => element(body, "faultcode").is_some_and(|code| {
            // The prefix of the namespace is the server's choice.
            code.rsplit(|byte| *byte == b':').next() == Some(b"INVALID_SESSION_ID")
        }),
        403 => body.trim_ascii() == b"Bad_OAuth_Token",
        _ => false,
    }
}

/// The same for a gRPC status code.
pub fn is_expired_grpc(code: i32) -> bool {
    code == GRPC_UNAUTHENTICATED
}

/// The text of the first element of that local name without attributes. Enough for the two bodies above, which have
/// neither comments nor CDATA; the XML APIs read their answers with a parser.
fn element<'a>(body: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let body = std::str::from_utf8(body).ok()?;
    let start = body.find(&format!("{name}>"))? + name.len() + 1;
    let text = &body[start..];
    Some(text[..text.find('<')?].trim().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BULK: &str = r#"<?xml version="1.0" encoding="UTF-8"?><error
   xmlns="http://www.force.com/2009/06/asyncapi/dataload">
 <exceptionCode>InvalidSessionId</exceptionCode>
 <exceptionMessage>Invalid session id</exceptionMessage>
</error>"#;
    const SOAP: &str = r#"<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:sf="urn:fault.partner.soap.sforce.com"><soapenv:Body><soapenv:Fault><faultcode>sf:INVALID_SESSION_ID</faultcode><faultstring>INVALID_SESSION_ID: Invalid Session ID found in SessionHeader: Illegal Session. Session not found, missing session hash</faultstring></soapenv:Fault></soapenv:Body></soapenv:Envelope>"#;

    #[test]
    fn all_five_shapes_are_known() {
        let json = br#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#;
        for (status, body) in
            [(401, &json[..]), (400, BULK.as_bytes()), (500, SOAP.as_bytes()), (403, b"Bad_OAuth_Token\n")]
        {
            assert!(is_expired(status, body), "{status}");
            // A shape belongs to its status: the words alone prove nothing.
            assert!(!is_expired(404, body), "{status}");
        }
        assert!(is_expired_grpc(16) && !is_expired_grpc(7));
    }

    #[test]
    fn what_no_refresh_cures_is_not_taken_for_an_expired_session() {
        for (status, body) in [
            (
                401,
                r#"[{"message":"This session is not valid for use with the REST API","errorCode":"INVALID_SESSION_ID"}]"#,
            ),
            (401, r#"[{"message":"Connected app is not attached to Agent","errorCode":"INVALID_SESSION_ID"}]"#),
            (401, r#"[{"message":"INVALID_HEADER_TYPE","errorCode":"INVALID_AUTH_HEADER"}]"#),
            (401, "<html>a proxy wants a password</html>"),
            (403, r#"[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#),
            (
                403,
                r#"[{"message":"The REST API is not enabled for this Organization.","errorCode":"API_DISABLED_FOR_ORG"}]"#,
            ),
            (403, r#"[{"message":"API is currently disabled for this user","errorCode":"API_CURRENTLY_DISABLED"}]"#),
            (
                403,
                r#"[{"message":"The users password has expired","errorCode":"INVALID_OPERATION_WITH_EXPIRED_PASSWORD"}]"#,
            ),
            (403, "Missing_OAuth_Token"),
            (420, "scratch org expired"),
            (400, "<error><exceptionCode>InvalidBatch</exceptionCode></error>"),
            (500, "<soapenv:Fault><faultcode>sf:INVALID_FIELD</faultcode></soapenv:Fault>"),
            (500, r#"[{"message":"an error that quotes INVALID_SESSION_ID","errorCode":"UNKNOWN_EXCEPTION"}]"#),
        ] {
            assert!(!is_expired(status, body.as_bytes()), "{status} {body}");
        }
    }
}
