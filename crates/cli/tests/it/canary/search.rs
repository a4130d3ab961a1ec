//! Looking for secrets in whatever form they may have been written.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What must not be seen, and what it is called.
#[derive(Debug, Clone, Default)]
pub(super) struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    pub(super) fn add(&mut self, name: &str, secret: impl AsRef<[u8]>) {
        let secret = secret.as_ref().to_vec();
        assert!(secret.len() >= 12, "the {name} is too short to be looked for");
        if !self.0.iter().any(|(_, known)| *known == secret) {
            self.0.push((name.to_owned(), secret));
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Those but the ones of that name.
    pub(super) fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(known, _)| known != name).cloned().collect())
    }

    /// Which secret is there, in which form, with what stands around it.
    pub(super) fn found_in(&self, place: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for (name, secret) in &self.0 {
            for (form, text) in forms(secret) {
                if let Some(at) = find(place, &text) {
                    let around = &place[at.saturating_sub(200)..(at + text.len() + 40).min(place.len())];
                    found.push(format!("{name} ({form}): {}", String::from_utf8_lossy(around)));
                }
            }
        }
        found
    }

    pub(super) fn assert_not_in(&self, name: &str, place: &[u8]) {
        let found = self.found_in(place);
        assert!(found.is_empty(), "{name} holds {found:#?}");
    }
}

/// As it is, in base64 wherever in a longer text it stands, in hexadecimal digits, and as in a URL.
fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("plain", secret.to_vec())];
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.push(("HEX", hex.to_uppercase().into_bytes()));
    forms.push(("hex", hex.into_bytes()));
    let url: String = secret.iter().map(|byte| escaped(*byte)).collect();
    forms.push(("URL", url.replace('%', "%25").into_bytes()));
    forms.push(("URL", url.into_bytes()));
    for before in 0..3 {
        // What its neighbours share a digit with is left out at both ends.
        let padded = [&vec![0; before][..], secret].concat();
        let (from, whole) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
        for (form, engine) in [("base64", &STANDARD_NO_PAD), ("base64url", &URL_SAFE_NO_PAD)] {
            forms.push((form, engine.encode(&padded).as_bytes()[from..whole].to_vec()));
        }
    }
    forms
}

fn escaped(byte: u8) -> String {
    match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    }
}

fn find(place: &[u8], text: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = place[from..].iter().position(|byte| *byte == text[0]) {
        if place[from + at..].starts_with(text) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[test]
fn a_secret_is_found_in_each_form_at_each_place() {
    let mut secrets = Secrets::default();
    let secret = "canary!+/=0123456789";
    secrets.add("secret", secret);
    for before in 0..4 {
        let text = format!("{}{secret}{}", "x".repeat(before), "y".repeat(before * 2 % 5));
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let url: String = text.bytes().map(escaped).collect();
        for place in [text.clone(), STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text), hex, url] {
            assert!(!secrets.found_in(place.as_bytes()).is_empty(), "{place}");
        }
    }
    assert!(secrets.found_in(b"canary!+/=012345678").is_empty());
}
