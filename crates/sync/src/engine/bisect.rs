//! Parts of an object, as small as the org needs them to answer.
//!
//! `QUERY_TIMEOUT` says that a query took longer than two minutes. A half of it may not; and however the records lie, the
//! halves together are the whole. A part that was answered is followed by one twice as large.

use jiff::{SignedDuration, Timestamp};
use tieline_client::{ClientError, soql};

use super::work::Work;
use crate::error::SyncError;
use crate::scan::Scan;

/// Records cannot be older than Salesforce: where a scan without a beginning is divided first.
pub(super) const OLDEST: Timestamp = Timestamp::constant(915_148_800, 0);

/// A span of time that a query ends with; within its one second perhaps a span of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// Not any more in it. None: without an end.
    until: Option<Timestamp>,
    /// Where all of it ends.
    end: Option<Timestamp>,
    /// The last id in it, where time cannot be divided any more.
    id: Option<String>,
    length: SignedDuration,
    /// So many ids are tried next; 0: not known.
    ids: u128,
    /// To this one it takes too long; none: not known.
    slow: Option<u128>,
}

impl Span {
    pub(super) fn whole() -> Self {
        Self { until: None, end: None, id: None, length: SignedDuration::ZERO, ids: 0, slow: None }
    }

    pub(super) fn until(end: Timestamp) -> Self {
        Self { end: Some(end), ..Self::whole() }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.until.is_none() && self.id.is_none()
    }

    pub(super) fn reaches(&self, end: Timestamp) -> bool {
        self.id.is_none() && self.until.is_none_or(|until| until >= end)
    }

    pub(super) fn condition(&self, cursor: &str) -> Option<String> {
        let until = format!("{cursor} < {}", soql::datetime(self.until?));
        Some(match &self.id {
            None => until,
            Some(id) => format!("{until} AND Id <= {}", soql::text(id)),
        })
    }

    /// It was answered, with these records first and last: the next part.
    ///
    /// Of the ids that there can be nearly all belong to nothing, and the others lie side by side. So behind a part with
    /// records comes one that is twice as wide as they lie; behind one without, what is left of that which took too long is
    /// halved, or all the rest is asked for.
    pub(super) fn pass(&mut self, scan: &mut Scan, had: Option<(u128, u128)>) {
        let Some(until) = self.until else { return };
        if let Some(id) = self.id.take() {
            if let Some(position) = scan.position() {
                let stamp = position.stamp.max(second_of(until));
                scan.saw(stamp, &id);
            }
            let low = number(&id);
            if let Some((first, last)) = had {
                (self.ids, self.slow) = ((last.saturating_sub(first) + 1).saturating_mul(2), None);
            } else {
                self.slow = self.slow.filter(|slow| slow.saturating_sub(low) > 1);
                self.ids = self.slow.map_or(0, |slow| (slow - low) / 2);
            }
            // Not beyond the object's own ids.
            let next = Some(id_of(low.saturating_add(self.ids))).filter(|next| next.get(..3) == id.get(..3));
            self.id = next.filter(|_| self.ids > 0);
            return;
        }
        self.slow = None;
        scan.passed(until);
        self.length = self.length.saturating_mul(2);
        self.until =
            until.checked_add(self.length).ok().filter(|next| self.end.or(scan.until()).is_none_or(|end| *next < end));
    }
}

/// The second that ends with `until`.
fn second_of(until: Timestamp) -> Timestamp {
    until - SignedDuration::from_secs(1)
}

impl Work<'_> {
    /// Makes the span smaller, after the org gave up on it.
    pub(super) async fn narrow(&mut self, scan: &Scan, span: &mut Span, error: &ClientError) -> Result<(), SyncError> {
        tracing::info!(mapping = %self.mapping.name, "the org takes too long for a query; it is divided");
        let connection = &self.engine.connection;
        let from = scan.position().map_or(OLDEST, |position| position.stamp);
        let now = connection.org_time().unwrap_or_else(|| self.engine.clock.now());
        let to = span.until.or(span.end).unwrap_or(now + SignedDuration::from_secs(1));
        let seconds = (to.as_second() - from.as_second()).max(1);
        if seconds > 1 {
            span.length = SignedDuration::from_secs(seconds / 2);
            span.until = Some(second(from) + span.length);
            return Ok(());
        }
        span.until = Some(second(from) + SignedDuration::from_secs(1));
        span.length = SignedDuration::from_secs(1);
        let after = scan.position().map(|position| position.id.clone()).filter(|id| !id.is_empty());
        let ids = self.ids().await?;
        let low = after.as_deref().map_or(ids.0, number);
        // What was answered last is tried before all the rest is halved.
        let known = Some(low.saturating_add(span.ids)).filter(|next| span.ids > 0 && *next < ids.1);
        if let (None, Some(next)) = (&span.id, known) {
            (span.id, span.slow) = (Some(id_of(next)), Some(ids.1));
            return Ok(());
        }
        let high = span.id.as_deref().map_or(ids.1, number);
        span.slow = Some(high);
        if high.saturating_sub(low) < 2 {
            let (org, object) = (connection.org().to_owned(), self.plan.object.clone());
            return Err(SyncError::Unsplittable { org, object, reason: error.to_string() });
        }
        span.ids = (high - low) / 2;
        span.id = Some(id_of(low + span.ids));
        Ok(())
    }

    /// The first and the last id that the object can have.
    pub(super) async fn ids(&mut self) -> Result<(u128, u128), SyncError> {
        let describe = self.engine.connection.describe(&self.plan.object).await?;
        let prefix = describe.key_prefix.clone().unwrap_or_else(|| "000".to_owned());
        let end = |digit: &str| number(&format!("{prefix}{}", digit.repeat(12)));
        Ok((end("0"), end("z")))
    }
}

fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_millisecond().div_euclid(1_000)).unwrap_or(at)
}

/// The characters of an id in the order of their bytes, which is the order in which the org sorts ids.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An id's fifteen characters as a number.
pub(super) fn number(id: &str) -> u128 {
    let digit = |byte: u8| DIGITS.iter().position(|digit| *digit == byte).unwrap_or_default() as u128;
    id.bytes().take(15).fold(0, |number, byte| number * 62 + digit(byte))
}

/// The id of a number, in its long form.
pub(super) fn id_of(mut number: u128) -> String {
    let mut bytes = [b'0'; 15];
    for place in bytes.iter_mut().rev() {
        *place = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    let mut id: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    // The last three characters say which of the others are upper case.
    // Source: Salesforce Help 000385008, "Convert a 15 character ID to 18 characters".
    for five in bytes.chunks(5) {
        let mask =
            five.iter().enumerate().fold(0, |mask, (n, byte)| mask | usize::from(byte.is_ascii_uppercase()) << n);
        id.push(char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[mask]));
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_in_the_order_of_their_bytes() {
        for id in ["001000000000000AAA", "0015g00000Kx9zZAAR", "003zzzzzzzzzzzzAAA"] {
            assert_eq!(&id_of(number(id))[..15], &id[..15]);
        }
        assert_eq!(id_of(number("0015g00000Kx9zZ")), "0015g00000Kx9zZAAR");
        assert!(number("001000000000009") < number("00100000000000A"));
        assert!(number("00100000000000Z") < number("00100000000000a"));
        assert_eq!(id_of(number("001000000000009") + 1), "00100000000000AAAQ");
    }

    #[test]
    fn what_was_answered_is_followed_by_twice_as_much_and_then_by_the_rest() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut scan = Scan::from(at(0), at(1_000));
        let mut span = Span { until: Some(at(100)), length: SignedDuration::from_secs(100), ..Span::whole() };
        assert_eq!(span.condition("S").unwrap(), "S < 1970-01-01T00:01:40Z");
        span.pass(&mut scan, None);
        assert_eq!(scan.condition("S").unwrap(), "S >= 1970-01-01T00:01:40Z");
        assert_eq!(span.until, Some(at(300)));
        span.pass(&mut scan, None);
        assert_eq!(span.until, Some(at(700)));
        span.pass(&mut scan, None);
        assert!(span.is_whole(), "the next would pass the scan's end");
        assert_eq!(scan.condition("S").unwrap(), "S >= 1970-01-01T00:11:40Z");
    }
}
