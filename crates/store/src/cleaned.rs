//! What is kept for people to read: without what looks like a credential, and without what a database refuses.

use serde_json::Value;
use tieline_auth::redact;

const MASK: &str = "[secret]";

/// The text with every credential masked, at most `longest` characters of it.
pub(crate) fn text(text: &str, longest: usize) -> String {
    // Masked before it is cut: half a token is still one, and looks like none.
    let mut masked = redact::mask(text).replace('\0', "\u{fffd}");
    if let Some((at, _)) = masked.char_indices().nth(longest) {
        masked.truncate(at);
        masked.push('…');
    }
    masked
}

/// The same with all strings of a document, and with whatever stands under the name of a secret.
pub(crate) fn json(value: Value, longest: usize) -> Value {
    match value {
        Value::String(string) => text(&string, longest).into(),
        Value::Array(items) => items.into_iter().map(|item| json(item, longest)).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let hidden = !value.is_null() && is_secrets(&name);
                (text(&name, longest), if hidden { MASK.into() } else { json(value, longest) })
            })
            .collect(),
        other => other,
    }
}

/// Whether a value under this name is a secret.
fn is_secrets(name: &str) -> bool {
    redact::find(&format!("{name}=x")).is_some_and(|found| found.start == name.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_wherever_they_stand_and_the_document_stays_one() {
        let token = "00D4S000000oz4e!ARcAQ0123456789abcdefXYZ";
        let found = json(
            serde_json::json!({
                "access_token": ["a", {"b": 1}], "client_secret": "two words", "refresh_token": null, "sid": 12,
                token: 1, "list": [{"said": format!("got {token}")}], "text": "{\"password\":\"hush\"}", "plain": true,
            }),
            1000,
        );
        assert_eq!(
            found,
            serde_json::json!({
                "access_token": "[secret]", "client_secret": "[secret]", "refresh_token": null, "sid": "[secret]",
                "[secret]": 1, "list": [{"said": "got [secret]"}], "text": "{\"password\":\"[secret]\"}", "plain": true,
            })
        );
    }

    #[test]
    fn a_token_at_the_cut_is_masked_whole_and_a_nul_is_none() {
        let long = format!("{}00D4S000000oz4e!ARcAQ0123456789abcdefXYZ", "é".repeat(30));
        assert_eq!(text(&long, 35), format!("{}[secr…", "é".repeat(30)));
        assert_eq!(text("a\0b", 3), "a\u{fffd}b");
    }
}
