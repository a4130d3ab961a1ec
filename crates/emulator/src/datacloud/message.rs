//! The messages of `salesforce.hyperdb.grpc.v1` as far as they are used here, and their frames.
//!
//! Field numbers: the proto files of forcedotcom/datacloud-jdbc and tableau/hyper-api-rust.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// `OutputFormat.ARROW_IPC`: the parts of an answer together are one stream.
pub(super) const ARROW_IPC: i32 = 5;
/// `OutputFormat.JSON_ARRAY`: first an object with the columns, then arrays of rows.
pub(super) const JSON_ARRAY: i32 = 6;
/// `TransferMode.ASYNC`: the answer tells the query's id, the rows are fetched.
pub(super) const ASYNC: i32 = 1;
/// `TransferMode.SYNC`: the answer ends with the query.
pub(super) const SYNC: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryParam {
    #[prost(string, tag = "1")]
    pub(super) query: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) databases: Vec<AttachedDatabase>,
    #[prost(int32, tag = "3")]
    pub(super) output_format: i32,
    #[prost(int32, tag = "5")]
    pub(super) transfer_mode: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AttachedDatabase {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(string, tag = "2")]
    pub(super) alias: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TextPart {
    #[prost(string, tag = "127")]
    pub(super) data: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BinaryPart {
    #[prost(bytes = "bytes", tag = "127")]
    pub(super) data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExecuteQueryResponse {
    #[prost(message, optional, tag = "6")]
    pub(super) query_info: Option<QueryInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) query_status: Option<QueryStatus>,
    #[prost(message, optional, tag = "3")]
    pub(super) binary_schema: Option<BinaryPart>,
    #[prost(message, optional, tag = "4")]
    pub(super) string_schema: Option<TextPart>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryStatus {
    #[prost(string, tag = "1")]
    pub(super) query_id: String,
    /// 0 while it runs.
    #[prost(int32, tag = "2")]
    pub(super) completion_status: i32,
    #[prost(uint64, tag = "4")]
    pub(super) row_count: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryInfoParam {
    #[prost(string, tag = "1")]
    pub(super) query_id: String,
    #[prost(bool, tag = "2")]
    pub(super) streaming: bool,
    #[prost(int32, tag = "3")]
    pub(super) schema_output_format: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryResultParam {
    #[prost(string, tag = "1")]
    pub(super) query_id: String,
    #[prost(int32, tag = "2")]
    pub(super) output_format: i32,
    #[prost(bool, tag = "4")]
    pub(super) omit_schema: bool,
    #[prost(message, optional, tag = "5")]
    pub(super) result_range: Option<ResultRange>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResultRange {
    #[prost(uint64, tag = "1")]
    pub(super) row_offset: u64,
    #[prost(uint64, optional, tag = "2")]
    pub(super) row_limit: Option<u64>,
    #[prost(uint64, tag = "3")]
    pub(super) byte_limit: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryResult {
    #[prost(message, optional, tag = "1")]
    pub(super) binary_part: Option<BinaryPart>,
    #[prost(message, optional, tag = "2")]
    pub(super) string_part: Option<TextPart>,
    #[prost(uint64, tag = "3")]
    pub(super) result_part_row_count: u64,
}

/// Length of what precedes a message: a flag for compression, and the length.
pub(super) const PREFIX: usize = 5;

/// A message as it travels.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // Only a buffer that is too small makes this fail, and this one grows.
    let _ = message.encode(&mut frame);
    frame.freeze()
}

/// Takes the next whole message out of what has been received.
pub(super) fn next(received: &mut BytesMut) -> Option<Bytes> {
    let length = received.get(1..PREFIX).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes)? as usize;
    if received.len() < PREFIX + length {
        return None;
    }
    Some(received.split_to(PREFIX + length).freeze().slice(PREFIX..))
}

/// The fields of a message with their numbers, bodies only where they have a length; nothing if it is no message.
pub(super) fn fields(mut message: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let length = match key & 7 {
            0 => {
                varint(&mut message)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (body, rest) = message.split_at_checked(length)?;
        message = rest;
        fields.push((key >> 3, body));
    }
    Some(fields)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_without_knowing_the_message() {
        let databases = vec![AttachedDatabase { path: "p".to_owned(), alias: "a".to_owned() }];
        let message = QueryParam { query: "select 1".to_owned(), databases, output_format: 300, transfer_mode: 1 };
        let bytes = message.encode_to_vec();
        let numbers: Vec<u64> = fields(&bytes).unwrap().iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 3, 5]);
        assert_eq!(fields(&bytes).unwrap()[0].1, b"select 1");
        assert_eq!(fields(&bytes[..bytes.len() - 1]), None);
        assert_eq!(fields(&[0x0b]), None, "groups are older than this service");
    }

    #[test]
    fn a_frame_is_taken_only_when_it_is_whole() {
        let frame = framed(&TextPart { data: "x".repeat(200) });
        let mut received = BytesMut::from(&frame[..20]);
        assert_eq!(next(&mut received), None);
        received.extend_from_slice(&frame[20..]);
        received.extend_from_slice(&frame[..3]);
        assert_eq!(TextPart::decode(next(&mut received).unwrap()).unwrap().data.len(), 200);
        assert_eq!((next(&mut received), received.len()), (None, 3));
    }
}
