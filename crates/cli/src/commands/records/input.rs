//! Records in a file or on standard input.

use std::path::Path;

use serde_json::Value;
use tieline_client::Record;

use crate::failure::Failure;

/// What a file holds. All of it is read before anything is sent.
pub(crate) enum Input {
    One(Record),
    Many(Vec<Record>),
}

impl Input {
    pub(crate) fn many(self) -> Vec<Record> {
        match self {
            Input::One(record) => vec![record],
            Input::Many(records) => records,
        }
    }
}

/// A whole file; `-` is standard input.
pub(crate) fn text(file: &Path) -> Result<Vec<u8>, Failure> {
    let read = match file.to_str() {
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes).map(|_| bytes)
        }
        _ => std::fs::read(file),
    };
    read.map_err(|error| {
        Failure::usage(format!("{} cannot be read: {error}", file.display()), "name a file, or `-` for standard input")
    })
}

/// One JSON object; or many, in an array or one a line.
pub(crate) fn read(file: &Path) -> Result<Input, Failure> {
    parse(&text(file)?).map_err(|reason| {
        Failure::usage(
            format!("{}: {reason}", file.display()),
            "write one JSON object, an array of objects, or one object a line; for CSV there is `tieline bulk ingest`",
        )
    })
}

fn parse(bytes: &[u8]) -> Result<Input, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let record = |n: usize, value: Value| match value {
        Value::Object(record) => Ok(record),
        _ => Err(format!("record {} is no JSON object", n + 1)),
    };
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>() {
        match value.map_err(|error| format!("after {} records: {error}", found.len()))? {
            Value::Array(list) if found.is_empty() => {
                let records = list.into_iter().enumerate().map(|(n, value)| record(n, value));
                return records.collect::<Result<_, _>>().map(Input::Many);
            }
            value => found.push(record(found.len(), value)?),
        }
    }
    match found.len() {
        0 => Err("there is no record".to_owned()),
        1 => Ok(Input::One(found.remove(0))),
        _ => Ok(Input::Many(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_is_one_record_and_a_list_is_many() {
        let count = |text: &str| match parse(text.as_bytes())? {
            Input::One(_) => Ok::<_, String>(-1),
            Input::Many(records) => Ok(i64::try_from(records.len()).unwrap()),
        };
        for (text, expected) in [
            ("{\"A\": 1}", Ok(-1)),
            ("\u{feff}{\n\"A\": 1\n}\n", Ok(-1)),
            ("{\"A\":1}\n{\"A\":2}\n", Ok(2)),
            ("[{\"A\":1}]", Ok(1)),
            ("[]", Ok(0)),
        ] {
            assert_eq!(count(text), expected, "{text}");
        }
        for (text, reason) in [
            ("", "no record"),
            ("LastName\nHopper\n", "after 0 records"),
            ("{\"A\":1}\n{\"A\":\n", "after 1 records"),
            ("[{}, 7]", "record 2 is no JSON object"),
            ("{}\n7\n", "record 2 is no JSON object"),
        ] {
            assert!(count(text).unwrap_err().contains(reason), "{text}");
        }
    }
}
