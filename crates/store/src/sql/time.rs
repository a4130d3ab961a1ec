//! `timestamptz` from and to jiff's timestamps, which sqlx does not know.

use jiff::Timestamp;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// 2000-01-01T00:00:00Z, from which PostgreSQL counts microseconds, in microseconds since 1970.
/// Source: PostgreSQL, `src/include/datatype/timestamp.h` (`POSTGRES_EPOCH_JDATE`).
const EPOCH: i64 = 946_684_800_000_000;

/// A moment, cut to the milliseconds that SQLite keeps too.
pub(crate) struct PgTime(pub(crate) Timestamp);

impl Type<Postgres> for PgTime {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("TIMESTAMPTZ")
    }
}

impl Encode<'_, Postgres> for PgTime {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let microseconds = self.0.as_millisecond() * 1000 - EPOCH;
        Encode::<Postgres>::encode(microseconds, buffer)
    }
}

impl Decode<'_, Postgres> for PgTime {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() == PgValueFormat::Text {
            return Err("a time in text form was not expected".into());
        }
        let microseconds = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        Ok(Self(Timestamp::from_microsecond(microseconds + EPOCH)?))
    }
}
