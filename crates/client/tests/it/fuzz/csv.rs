//! CSV, against a reader of the tests' own.

use tieline_client::bulk::Delimiter;
use tieline_client::fuzzing::{csv_ends, csv_rows};

use super::run;
use crate::fixtures::csv::rows;

const SEEDS: [&[u8]; 6] = [
    b"Id,Name\n1,abc\n2,\"d\"\"e\"\n",
    b"\"Id\",\"Name\"\r\n\"1\",\"a\nb\"\r\n",
    "\u{feff}Id;Name\n1;\"ä;😀\"\n".as_bytes(),
    b"a\tb\n\n\n\tc\"d\n\"x\"y,\"\n",
    b"",
    "Ａ,Ｂ\n".as_bytes(),
];

const DELIMITERS: [(Delimiter, char); 6] = [
    (Delimiter::Comma, ','),
    (Delimiter::Semicolon, ';'),
    (Delimiter::Tab, '\t'),
    (Delimiter::Pipe, '|'),
    (Delimiter::Caret, '^'),
    (Delimiter::Backquote, '`'),
];

/// The text in three pieces, cut where its own bytes say.
fn pieces(text: &[u8]) -> [&[u8]; 3] {
    let sum: usize = text.iter().map(|byte| usize::from(*byte)).sum();
    let (a, b) = (sum % (text.len() + 1), sum / 7 % (text.len() + 1));
    [&text[..a.min(b)], &text[a.min(b)..a.max(b)], &text[a.max(b)..]]
}

#[test]
fn t22_rows_are_those_of_another_reader_wherever_the_text_is_cut() {
    run("csv", &SEEDS, |text| {
        // csv-core takes a second mark off as well, if it comes in one piece.
        if text.starts_with("\u{feff}\u{feff}".as_bytes()) {
            return;
        }
        let (delimiter, character) = DELIMITERS[text.len() % 6];
        let whole = csv_rows(delimiter, &[text]);
        assert_eq!(csv_rows(delimiter, &pieces(text)), whole, "cut");
        assert_eq!(csv_ends(&pieces(text)), csv_ends(&[text]), "ends");
        match std::str::from_utf8(text) {
            Err(_) => {}
            Ok(text) => {
                let expected = rows(text, character);
                assert!(whole.is_some(), "it is text");
                // A quote that stays open is for those to notice who know that the text is at its end.
                if expected.is_some() {
                    assert_eq!(whole, expected);
                }
            }
        }
    });
}

#[test]
fn values_that_were_written_are_read_again() {
    run("csv values", &SEEDS, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let values: Vec<String> = text.split('b').map(str::to_owned).collect();
        let (delimiter, character) = DELIMITERS[bytes.len() % 6];
        let quoted: Vec<String> = values.iter().map(|value| format!("\"{}\"", value.replace('"', "\"\""))).collect();
        let line = format!("{}\n", quoted.join(&character.to_string()));
        let written = line.repeat(2);
        assert_eq!(csv_rows(delimiter, &pieces(written.as_bytes())), Some(vec![values.clone(), values]));
        assert_eq!(csv_ends(&pieces(written.as_bytes())), (vec![line.len(), 2 * line.len()], false, false));
    });
}
