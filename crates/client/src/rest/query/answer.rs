//! A page of a query's answer, read from its JSON.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// Records in a page at most.
const LARGEST_PAGE: u64 = 2_000;

#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) total_size: u64,
    pub(super) done: bool,
    pub(super) next: Option<String>,
    pub(super) records: Vec<T>,
}

/// Reads a page. Its text is looked at for UTF-8 as a whole, which takes a tenth of what it takes value by value, and the
/// room for the records is made at once.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Answer<T>, serde_json::Error> {
    let Ok(text) = std::str::from_utf8(body) else {
        // Fails as well, unless the mistake is in what nobody asked for; and says where.
        return read_from(&mut serde_json::Deserializer::from_slice(body), body.len());
    };
    read_from(&mut serde_json::Deserializer::from_str(text), body.len())
}

fn read_from<'de, T: DeserializeOwned, R: serde_json::de::Read<'de>>(
    json: &mut serde_json::Deserializer<R>,
    length: usize,
) -> Result<Answer<T>, serde_json::Error> {
    let room = length / size_of::<T>().max(1);
    let answer = AnswerSeed { room, records: PhantomData }.deserialize(&mut *json)?;
    json.end()?;
    Ok(answer)
}

/// `room`: for how many records memory is taken at most before they are seen.
struct AnswerSeed<T> {
    room: usize,
    records: PhantomData<T>,
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

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for AnswerSeed<T> {
    type Value = Answer<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Answer<T>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for AnswerSeed<T> {
    type Value = Answer<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page of a query's answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answer<T>, A::Error> {
        let (mut total_size, mut done, mut next, mut records) = (None, None, None, None);
        while let Some(key) = map.next_key()? {
            match key {
                Key::TotalSize => total_size = Some(map.next_value()?),
                Key::Done => done = Some(map.next_value()?),
                Key::NextRecordsUrl => next = map.next_value()?,
                Key::Records => {
                    // The org writes `totalSize` first (`wire.md` §3).
                    let expected: u64 = total_size.unwrap_or(0).min(LARGEST_PAGE);
                    let room = usize::try_from(expected).map_or(self.room, |expected| expected.min(self.room));
                    records = Some(map.next_value_seed(Records { room, records: PhantomData })?);
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

struct Records<T> {
    room: usize,
    records: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Records<T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Records<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut records = Vec::with_capacity(self.room);
        while let Some(record) = seq.next_element()? {
            records.push(record);
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Named {
        #[serde(rename = "Name")]
        name: String,
    }

    #[test]
    fn keys_may_come_in_any_order_and_unknown_ones_do_no_harm() {
        let page = br#"{"records":[{"Name":"a"},{"Name":"\u00e9"}],"new":[{"x":1}],"done":true,"totalSize":2}"#;
        let answer = read::<Named>(page).unwrap();
        assert_eq!(answer.records, ["a", "é"].map(|name| Named { name: name.to_owned() }));
        assert!(answer.done && answer.total_size == 2 && answer.next.is_none());
    }

    #[test]
    fn memory_is_taken_for_what_is_there_and_not_for_what_is_claimed() {
        let page = br#"{"totalSize":18446744073709551615,"done":true,"records":[{"Name":"a"}]}"#;
        assert!(read::<Named>(page).unwrap().records.capacity() <= page.len());
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
            let error = read::<Named>(page).unwrap_err();
            assert!(!error.is_eof(), "{}: {error}", String::from_utf8_lossy(page));
        }
        let cut = read::<Named>(br#"{"totalSize":1,"done":true,"records":[{"Name":"a"}"#).unwrap_err();
        assert!(cut.is_eof(), "{cut}");
    }
}
