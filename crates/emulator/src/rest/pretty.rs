//! `X-PrettyPrint: 1`: JSON as Jackson indents it. Objects over lines, two spaces a level, lists within the line.
//!
//! Recorded by CumulusCI, which sends the header, as simple-salesforce does.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::middleware::Next;
use axum::response::Response;

/// Indents an answer of JSON for clients that ask for it.
pub(super) async fn print(request: Request, next: Next) -> Response {
    let asked = request.headers().get("x-prettyprint").is_some_and(|value| value == "1");
    let response = next.run(request).await;
    let json = |value: &axum::http::HeaderValue| value.as_bytes().starts_with(b"application/json");
    if !asked || !response.headers().get(CONTENT_TYPE).is_some_and(json) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    match to_bytes(body, usize::MAX).await {
        Ok(bytes) => Response::from_parts(parts, Body::from(indented(&bytes))),
        Err(_) => Response::from_parts(parts, Body::empty()),
    }
}

/// The text is only spaced out: numbers stay as they were written.
fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut in_list) = (0, Vec::new());
    let (mut in_text, mut escaped) = (false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + 2 * depth, b' ');
    };
    for (at, &byte) in json.iter().enumerate() {
        if in_text {
            out.push(byte);
            in_text = escaped || byte != b'"';
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        let empty = at > 0 && matches!(json[at - 1], b'{' | b'[');
        match byte {
            b'"' => {
                in_text = true;
                out.push(byte);
            }
            b'{' => {
                depth += 1;
                in_list.push(false);
                out.push(byte);
                if json.get(at + 1) != Some(&b'}') {
                    line(&mut out, depth);
                }
            }
            b'}' => {
                depth = usize::saturating_sub(depth, 1);
                in_list.pop();
                if empty {
                    out.push(b' ')
                } else {
                    line(&mut out, depth)
                }
                out.push(byte);
            }
            b'[' => {
                in_list.push(true);
                out.extend_from_slice(b"[ ");
            }
            b']' => {
                in_list.pop();
                out.extend_from_slice(if empty { b"]" } else { b" ]" });
            }
            b',' => {
                out.push(byte);
                if in_list.last() == Some(&true) { out.push(b' ') } else { line(&mut out, depth) }
            }
            b':' => out.extend_from_slice(b" : "),
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_go_over_lines_and_lists_do_not() {
        let json = br#"{"done":true,"records":[{"a":"x, \"y\": {","b":1.0E7},{"c":null}],"none":[],"no":{}}"#;
        let wanted = r#"{
  "done" : true,
  "records" : [ {
    "a" : "x, \"y\": {",
    "b" : 1.0E7
  }, {
    "c" : null
  } ],
  "none" : [ ],
  "no" : { }
}"#;
        assert_eq!(String::from_utf8(indented(json)).unwrap(), wanted);
    }
}
