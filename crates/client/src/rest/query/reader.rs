//! What records are read into.

use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer};

/// Reads the records of a page, one after the other, into whatever its caller works with: a list of some type, or a batch
/// of columns that is known only when the program runs.
pub trait RecordReader: Send {
    /// Where the records of a page go.
    type Batch: Send;

    /// An empty one. `expected`: how many records the org announces; `length`: bytes of the page, which bound what may be
    /// believed of that.
    fn batch(&self, expected: usize, length: usize) -> Self::Batch;

    /// Reads one record.
    ///
    /// # Errors
    /// The deserializer's own, and those that it makes of a message: the whole page is refused then.
    fn record<'de, D: Deserializer<'de>>(&self, batch: &mut Self::Batch, record: D) -> Result<(), D::Error>;

    /// How many records are in it.
    fn count(batch: &Self::Batch) -> usize;
}

/// Records of one type, which a list takes.
#[derive(Debug)]
pub struct Typed<T>(PhantomData<fn() -> T>);

impl<T> Default for Typed<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: DeserializeOwned + Send> RecordReader for Typed<T> {
    type Batch = Vec<T>;

    fn batch(&self, expected: usize, length: usize) -> Vec<T> {
        Vec::with_capacity(expected.min(length / size_of::<T>().max(1)))
    }

    fn record<'de, D: Deserializer<'de>>(&self, batch: &mut Vec<T>, record: D) -> Result<(), D::Error> {
        batch.push(T::deserialize(record)?);
        Ok(())
    }

    fn count(batch: &Vec<T>) -> usize {
        batch.len()
    }
}
