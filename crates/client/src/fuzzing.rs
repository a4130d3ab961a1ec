//! Doors to what the tests feed with everything; no part of the API.

use crate::bulk::Delimiter;
use crate::bulk::csv::{Found, Parser, Scanner};
use crate::error::ClientError;

/// Rows of a text that comes in pieces; `None` where it is not UTF-8.
pub fn csv_rows(delimiter: Delimiter, pieces: &[&[u8]]) -> Option<Vec<Vec<String>>> {
    let (mut parser, mut rows) = (Parser::new(delimiter), Vec::new());
    // An empty piece is the end.
    for piece in pieces.iter().copied().filter(|piece| !piece.is_empty()).chain([&b""[..]]) {
        let mut rest = piece;
        loop {
            match parser.read(&mut rest) {
                Found::Row => rows.push(parser.row().iter().map(str::to_owned).collect()),
                Found::NeedsMore => break,
                Found::NotText => return None,
            }
        }
    }
    Some(rows)
}

/// Where records end in a text that comes in pieces, and whether it ends within a record and within a quote.
pub fn csv_ends(pieces: &[&[u8]]) -> (Vec<usize>, bool, bool) {
    let (mut scanner, mut ends, mut base) = (Scanner::default(), Vec::new(), 0);
    for piece in pieces {
        let mut at = 0;
        while let Some(end) = scanner.end(&piece[at..]) {
            at += end;
            ends.push(base + at);
        }
        base += piece.len();
    }
    (ends, scanner.is_within(), scanner.is_quoted())
}

/// What a caller is told of a refusal.
pub fn refused(status: u16, body: &[u8]) -> ClientError {
    crate::refusal::refused("org", "GET /x", status, body)
}

/// The query for what follows a record.
pub fn resume(soql: &str, last: &crate::Record, seen: u64) -> Option<String> {
    crate::soql::resume(soql, last, seen)
}
