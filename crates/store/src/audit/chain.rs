//! The digest that ties an entry to the one before it.

use uuid::Uuid;

use super::AuditEntry;
use crate::digest::Digest;

/// The digest before the first entry of a chain.
pub(super) const BEGINNING: [u8; 32] = [0; 32];

/// What the digest is over begins with this, so that it is never one of something else. The number is the encoding's.
const NAME: &[u8] = b"tieline audit entry 1\0";

/// SHA-256 over the digest before, the business and all fields of the entry.
///
/// Numbers are big-endian and of fixed width; a text is its length (64 bits) and its bytes; what may be missing begins
/// with 0 (it is) or 1. Nothing can be moved from one field into the next. Times are microseconds since 1970, which are
/// whole milliseconds when we write them.
pub(super) fn digest(before: &[u8], business: Option<Uuid>, entry: &AuditEntry) -> [u8; 32] {
    let mut out = Encoding(NAME.to_vec());
    out.bytes(before);
    out.optional(business.as_ref().map(|id| id.as_bytes().as_slice()));
    out.0.extend_from_slice(&entry.position.to_be_bytes());
    out.bytes(entry.id.as_bytes());
    out.0.extend_from_slice(&entry.at.as_microsecond().to_be_bytes());
    out.text(&entry.actor_type);
    out.optional_text(&entry.actor_id);
    out.text(&entry.action);
    out.text(&entry.outcome);
    out.optional_text(&entry.target_type);
    out.optional_text(&entry.target_id);
    out.text(&entry.detail);
    out.optional_text(&entry.address);
    let mut digest = [0; 32];
    digest.copy_from_slice(Digest::of(out.0).as_bytes());
    digest
}

struct Encoding(Vec<u8>);

impl Encoding {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        self.0.push(u8::from(bytes.is_some()));
        if let Some(bytes) = bytes {
            self.bytes(bytes);
        }
    }

    fn optional_text(&mut self, text: &Option<String>) {
        self.optional(text.as_deref().map(str::as_bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> AuditEntry {
        AuditEntry {
            id: Uuid::from_u128(7),
            position: 1,
            at: "2026-06-01T12:00:00.123Z".parse().unwrap(),
            actor_type: "user".to_owned(),
            actor_id: Some("u".to_owned()),
            action: "session.started".to_owned(),
            outcome: "success".to_owned(),
            target_type: Some("a".to_owned()),
            target_id: Some("b".to_owned()),
            detail: "{}".to_owned(),
            address: Some("192.0.2.1".to_owned()),
        }
    }

    #[test]
    fn every_field_counts_and_none_runs_into_the_next() {
        type Change = fn(&mut AuditEntry);
        let changes: [Change; 15] = [
            |_| (),
            |e| e.id = Uuid::from_u128(8),
            |e| e.position = 2,
            |e| e.at = "2026-06-01T12:00:00.123001Z".parse().unwrap(),
            |e| e.actor_type = "api_key".to_owned(),
            |e| e.actor_id = None,
            |e| e.actor_id = Some(String::new()),
            |e| e.action = "session.ended".to_owned(),
            |e| e.outcome = "denied".to_owned(),
            |e| (e.target_type, e.target_id) = (Some("ab".to_owned()), Some(String::new())),
            |e| (e.target_type, e.target_id) = (Some("ab".to_owned()), None),
            |e| (e.target_type, e.target_id) = (None, Some("ab".to_owned())),
            |e| e.detail = "{ }".to_owned(),
            |e| e.address = None,
            |e| e.address = Some("192.0.2.2".to_owned()),
        ];
        let mut digests: Vec<[u8; 32]> = changes
            .iter()
            .map(|change| {
                let mut entry = entry();
                change(&mut entry);
                digest(&BEGINNING, None, &entry)
            })
            .collect();
        digests.push(digest(&[1; 32], None, &entry()));
        digests.push(digest(&BEGINNING, Some(Uuid::nil()), &entry()));
        let different: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(different.len(), digests.len());
    }

    #[test]
    fn the_encoding_stays_what_it_was() {
        // Computed from the description above by another program. Another encoding would make every chain that exists look broken.
        let hex: String = digest(&BEGINNING, None, &entry()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "6e420686e4d38fd36838a8f07f4f4b504be4a3dac7598da8884ebd2db2426647");
    }
}
