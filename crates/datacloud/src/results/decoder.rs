//! One Arrow IPC stream that comes in parts.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, make_array};
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_schema_from_ipc_buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use bytes::Bytes;

/// Parts in, batches out; nothing of a part is copied that lies where Arrow wants it.
#[derive(Default)]
pub(super) struct Decoder {
    stream: StreamDecoder,
    schema: Option<SchemaRef>,
    /// Names of time zones have been written as others know them.
    renamed: bool,
    /// All parts before the schema was known.
    head: Vec<u8>,
}

impl Decoder {
    pub(super) fn schema(&self) -> Option<SchemaRef> {
        self.schema.clone()
    }

    /// The batches that a part completes.
    pub(super) fn decode(&mut self, part: Bytes) -> Result<Vec<RecordBatch>, ArrowError> {
        if self.schema.is_none() {
            self.head.extend_from_slice(&part);
        }
        let mut buffer = Buffer::from(part);
        let mut batches = Vec::new();
        while !buffer.is_empty() {
            batches.extend(self.stream.decode(&mut buffer)?);
        }
        if self.schema.is_none() {
            // The stream's decoder tells of a schema when the message after it begins, which may be long after.
            let schema = self.stream.schema().or_else(|| try_schema_from_ipc_buffer(&self.head).ok().map(Arc::new));
            if let Some(schema) = schema {
                let tidy = with_known_zones(&schema);
                self.renamed = tidy != schema;
                (self.schema, self.head) = (Some(tidy), Vec::new());
            }
        }
        match &self.schema {
            Some(schema) if self.renamed => batches.iter().map(|batch| retyped(batch, schema)).collect(),
            _ => Ok(batches),
        }
    }
}

/// Hyper writes `Utc`, which is no name of the time zone database.
fn with_known_zones(schema: &SchemaRef) -> SchemaRef {
    let known = |field: &Arc<Field>| match field.data_type() {
        DataType::Timestamp(unit, Some(zone)) if zone.eq_ignore_ascii_case("utc") => {
            Arc::new(Field::clone(field).with_data_type(DataType::Timestamp(*unit, Some("UTC".into()))))
        }
        _ => field.clone(),
    };
    let fields: Vec<_> = schema.fields().iter().map(known).collect();
    let tidy = Schema::new_with_metadata(fields, schema.metadata().clone());
    if tidy == **schema { schema.clone() } else { Arc::new(tidy) }
}

/// The same buffers under a schema whose types differ in the zones' names alone.
fn retyped(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let retype = |(column, field): (&ArrayRef, &Arc<Field>)| match column.data_type() == field.data_type() {
        true => Ok(column.clone()),
        false => Ok(make_array(column.to_data().into_builder().data_type(field.data_type().clone()).build()?)),
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(retype).collect::<Result<_, ArrowError>>()?;
    RecordBatch::try_new(schema.clone(), columns)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, TimestampMicrosecondArray};
    use arrow_ipc::writer::StreamWriter;

    use super::*;

    fn stream() -> (RecordBatch, Vec<u8>) {
        let times = TimestampMicrosecondArray::from(vec![Some(1), None, Some(3)]).with_timezone("Utc");
        let numbers = Int64Array::from(vec![1, 2, 3]);
        let columns = [("at", Arc::new(times) as ArrayRef), ("n", Arc::new(numbers) as ArrayRef)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch).unwrap();
        (batch, writer.into_inner().unwrap())
    }

    #[test]
    fn wherever_the_parts_end_the_batches_are_the_same() {
        let (batch, bytes) = stream();
        let whole = Decoder::default().decode(bytes.clone().into()).unwrap();
        assert_eq!(whole.len(), 2);
        assert_eq!(whole[0].column(1), batch.column(1));
        assert_eq!(whole[0].schema().field(0).data_type().to_string(), r#"Timestamp(µs, "UTC")"#);
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::default();
            let mut batches = decoder.decode(Bytes::copy_from_slice(&bytes[..cut])).unwrap();
            batches.extend(decoder.decode(Bytes::copy_from_slice(&bytes[cut..])).unwrap());
            assert_eq!(batches, whole, "cut at {cut}");
        }
    }

    #[test]
    fn the_schema_is_known_before_the_first_batch_begins() {
        let (batch, bytes) = stream();
        let schema_ends = 8 + u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
        let mut decoder = Decoder::default();
        decoder.decode(Bytes::copy_from_slice(&bytes[..schema_ends - 1])).unwrap();
        assert_eq!(decoder.schema(), None);
        decoder.decode(Bytes::copy_from_slice(&bytes[schema_ends - 1..schema_ends])).unwrap();
        assert_eq!(decoder.schema().unwrap().field(1), batch.schema().field(1));
    }
}
