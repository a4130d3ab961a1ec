//! Places in the records of a source.

use std::fmt::Write;
use std::str::FromStr;

use uuid::Uuid;

use crate::pages::MalformedCursor;

/// A place: behind a row, or behind all rows of a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// In the order of ids, in a pass that began when this was the newest number: whoever has come to the end follows the
    /// changes from there.
    Id {
        /// The newest number when the pass began.
        began: i64,
        /// The id of the last row.
        id: String,
    },
    /// In the order of changes.
    Change {
        /// The number of the last row; with an empty id: all smaller numbers were read, and none of this one.
        change: i64,
        /// The id of the last row.
        id: String,
    },
}

impl Place {
    /// Before every change whose number is greater than this.
    pub(crate) fn behind(change: i64) -> Self {
        Place::Change { change: change.saturating_add(1), id: String::new() }
    }
}

/// A place, with the source that it belongs to. As a text it is for nobody to read.
///
/// ```
/// use tieline_store::Uuid;
/// use tieline_store::records::{Place, RecordCursor};
///
/// let cursor = RecordCursor::new(Uuid::nil(), Place::Change { change: 26, id: "003".to_owned() });
/// assert_eq!(cursor.to_string(), "c-00000000-1a-303033");
/// assert_eq!(cursor.to_string().parse::<RecordCursor>().unwrap(), cursor);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordCursor {
    source: u32,
    place: Place,
}

/// The last digits of a source's id, which are random: enough to notice a cursor of another one.
fn tail(source: Uuid) -> u32 {
    source.as_u128() as u32
}

impl RecordCursor {
    /// A place in a source.
    pub fn new(source: Uuid, place: Place) -> Self {
        Self { source: tail(source), place }
    }

    /// The place, if it is one of this source.
    pub fn place_in(&self, source: Uuid) -> Option<&Place> {
        (self.source == tail(source)).then_some(&self.place)
    }
}

impl std::fmt::Display for RecordCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (order, number, id) = match &self.place {
            Place::Id { began, id } => ('i', began, id),
            Place::Change { change, id } => ('c', change, id),
        };
        write!(f, "{order}-{:08x}-{number:x}-", self.source)?;
        id.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for RecordCursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, MalformedCursor> {
        let parts: Vec<&str> = text.split('-').collect();
        let [order, source, number, id] = parts[..] else { return Err(MalformedCursor) };
        let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) && !text.is_empty();
        if source.len() != 8 || !hex(source) || !hex(number) || id.len() % 2 != 0 || !(id.is_empty() || hex(id)) {
            return Err(MalformedCursor);
        }
        let source = u32::from_str_radix(source, 16).map_err(|_| MalformedCursor)?;
        let number = i64::from_str_radix(number, 16).map_err(|_| MalformedCursor)?;
        let bytes = (0..id.len()).step_by(2).map(|n| u8::from_str_radix(&id[n..n + 2], 16));
        let bytes = bytes.collect::<Result<Vec<u8>, _>>().map_err(|_| MalformedCursor)?;
        let id = String::from_utf8(bytes).map_err(|_| MalformedCursor)?;
        if id.contains('\0') {
            return Err(MalformedCursor);
        }
        let place = match order {
            "i" => Place::Id { began: number, id },
            "c" => Place::Change { change: number, id },
            _ => return Err(MalformedCursor),
        };
        Ok(Self { source, place })
    }
}

/// Places as a message has them.
pub(super) fn joined(from: &Place, to: &Place) -> String {
    let mut text = String::new();
    for place in [from, to] {
        let (Place::Id { began: number, id } | Place::Change { change: number, id }) = place;
        let _ = write!(text, "{number}:{}:{id}:", id.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_and_belongs_to_its_source() {
        let (one, other) = (Uuid::now_v7(), Uuid::nil());
        for place in [
            Place::Change { change: i64::MAX, id: String::new() },
            Place::Id { began: 0, id: "é-'\"".to_owned() },
            Place::behind(7),
        ] {
            let cursor = RecordCursor::new(one, place.clone());
            let read: RecordCursor = cursor.to_string().parse().unwrap();
            assert_eq!((read.place_in(one), read.place_in(other)), (Some(&place), None));
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            "",
            "c",
            "c-0-0-",
            "x-00000000-0-",
            "c-00000000--",
            "c-00000000-0-0",
            "c-00000000-0-zz",
            "c-00000000-0-ff",
            "c-00000000-+1-",
            "c-00000000-8000000000000000-",
            "c-00000000-0-00",
            "c-00000000-0-é0",
            "c-00000000-0--",
        ] {
            assert_eq!(text.parse::<RecordCursor>(), Err(MalformedCursor), "{text}");
        }
    }
}
