//! A page of a query's answer, read from its JSON.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::reader::RecordReader;

/// Records in a page at most.
const LARGEST_PAGE: u64 = 2_000;

#[derive(Debug)]
pub(super) struct Answer<B> {
    pub(super) total_size: u64,
    pub(super) done: bool,
    pub(super) next: Option<String>,
    pub(super) records: B,
}

/// Reads a page. Its text is looked at for UTF-8 as a whole, which takes a tenth of what it takes value by value, and the
/// room for the records is made at once.
pub(super) fn read<R: RecordReader>(reader: &R, body: &[u8]) -> Result<Answer<R::Batch>, serde_json::Error> {
    let Ok(text) = std::str::from_utf8(body) else {
        // Fails as well, unless the mistake is in what nobody asked for; and says where.
        return read_from(reader, &mut serde_json::Deserializer::from_slice(body), body.len());
    };
    read_from(reader, &mut serde_json::Deserializer::from_str(text), body.len())
}

fn read_from<'de, R: RecordReader, J: serde_json::de::Read<'de>>(
    reader: &R,
    json: &mut serde_json::Deserializer<J>,
    length: usize,
) -> Result<Answer<R::Batch>, serde_json::Error> {
    let answer = AnswerSeed { reader, length }.deserialize(&mut *json)?;
    json.end()?;
    Ok(answer)
}

/// `length`: of the body. It bounds for how many records memory is taken before they are seen.
struct AnswerSeed<'r, R> {
    reader: &'r R,
    length: usize,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Key {
    TotalSize,
    Done,
    NextRecordsUrl,
    Records,
    #[serde(other)]
    Other,
}

impl<'de, R: RecordReader> DeserializeSeed<'de> for AnswerSeed<'_, R> {
    type Value = Answer<R::Batch>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Answer<R::Batch>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, R: RecordReader> Visitor<'de> for AnswerSeed<'_, R> {
    type Value = Answer<R::Batch>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page of a query's answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answer<R::Batch>, A::Error> {
        let (mut total_size, mut done, mut next, mut records) = (None, None, None, None);
        while let Some(key) = map.next_key()? {
            match key {
                Key::TotalSize => total_size = Some(map.next_value()?),
                Key::Done => done = Some(map.next_value()?),
                Key::NextRecordsUrl => next = map.next_value()?,
                Key::Records => {
                    // The org writes `totalSize` first (`wire.md` §3).
                    let expected: u64 = total_size.unwrap_or(0).min(LARGEST_PAGE);
                    let expected = usize::try_from(expected).unwrap_or_default();
                    let batch = self.reader.batch(expected, self.length);
                    records = Some(map.next_value_seed(Records { reader: self.reader, batch })?);
                }
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Answer {
            total_size: total_size.ok_or_else(|| A::Error::missing_field("totalSize"))?,
            done: done.ok_or_else(|| A::Error::missing_field("done"))?,
            next,
            records: records.ok_or_else(|| A::Error::missing_field("records"))?,
        })
    }
}

struct Records<'r, R: RecordReader> {
    reader: &'r R,
    batch: R::Batch,
}

impl<'de, R: RecordReader> DeserializeSeed<'de> for Records<'_, R> {
    type Value = R::Batch;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<R::Batch, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, R: RecordReader> Visitor<'de> for Records<'_, R> {
    type Value = R::Batch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("records")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<R::Batch, A::Error> {
        while seq.next_element_seed(One { reader: self.reader, batch: &mut self.batch })?.is_some() {}
        Ok(self.batch)
    }
}

struct One<'r, R: RecordReader> {
    reader: &'r R,
    batch: &'r mut R::Batch,
}

impl<'de, R: RecordReader> DeserializeSeed<'de> for One<'_, R> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, record: D) -> Result<(), D::Error> {
        self.reader.record(self.batch, record)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::Typed;
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Named {
        #[serde(rename = "Name")]
        name: String,
    }

    #[test]
    fn keys_may_come_in_any_order_and_unknown_ones_do_no_harm() {
        let page = br#"{"records":[{"Name":"a"},{"Name":"\u00e9"}],"new":[{"x":1}],"done":true,"totalSize":2}"#;
        let answer = read(&Typed::<Named>::default(), page).unwrap();
        assert_eq!(answer.records, ["a", "é"].map(|name| Named { name: name.to_owned() }));
        assert!(answer.done && answer.total_size == 2 && answer.next.is_none());
    }

    #[test]
    fn memory_is_taken_for_what_is_there_and_not_for_what_is_claimed() {
        let page = br#"{"totalSize":18446744073709551615,"done":true,"records":[{"Name":"a"}]}"#;
        assert!(read(&Typed::<Named>::default(), page).unwrap().records.capacity() <= page.len());
    }

    #[test]
    fn what_is_no_page_is_an_error() {
        for page in [
            &br#"{"done":true,"records":[]}"#[..],
            br#"{"totalSize":0,"records":[]}"#,
            br#"{"totalSize":0,"done":true}"#,
            br#"{"totalSize":0,"done":true,"records":null}"#,
            br#"{"totalSize":0,"done":true,"records":[]} x"#,
            b"{\"totalSize\":1,\"done\":true,\"records\":[{\"Name\":\"\xff\"}]}",
            b"[]",
        ] {
            let error = read(&Typed::<Named>::default(), page).unwrap_err();
            assert!(!error.is_eof(), "{}: {error}", String::from_utf8_lossy(page));
        }
        let cut =
            read(&Typed::<Named>::default(), br#"{"totalSize":1,"done":true,"records":[{"Name":"a"}"#).unwrap_err();
        assert!(cut.is_eof(), "{cut}");
    }
}
