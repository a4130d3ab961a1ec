//! Records of a query's answer, read key by key without a tree of values in between.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tieline_client::RecordReader;
use tieline_store::object_tables::ColumnKind;

use super::cell::{self, Cell};
use super::decoder::{Decoded, Decoder};
use super::layout::{Child, Node};
use super::reading::Reading;

impl RecordReader for Decoder {
    type Batch = Decoded;

    fn batch(&self, expected: usize, length: usize) -> Decoded {
        // A record has at least an id, and of a page about half is keys and what stands between values.
        self.with_room(expected.min(length / 32), length / 2)
    }

    /// Reads a record. Of the deserializers of JSON it takes those that have the text at hand (`from_str`,
    /// `from_slice`): numbers are read as they are written.
    fn record<'de, D: Deserializer<'de>>(&self, batch: &mut Decoded, record: D) -> Result<(), D::Error> {
        let mut reading = Reading::begin(&self.layout, batch);
        ObjectSeed { node: 0, reading: &mut reading }.deserialize(record)?;
        reading.end().map_err(D::Error::custom)
    }

    fn count(batch: &Decoded) -> usize {
        batch.rows.len()
    }
}

/// The record, or a parent within it.
struct ObjectSeed<'r, 'l, 'b> {
    node: usize,
    reading: &'r mut Reading<'l, 'b>,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    /// A parent that is not there.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let layout = self.reading.layout;
        let node = &layout.nodes[self.node];
        let mut expected = 0;
        while let Some(found) = map.next_key_seed(Key { node, expected })? {
            let Some(n) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            expected = n + 1;
            match node.children[n].1 {
                Child::Leaf(leaf) => map.next_value_seed(Value { leaf, reading: self.reading })?,
                Child::Node(node) => map.next_value_seed(ObjectSeed { node, reading: self.reading })?,
            }
        }
        Ok(())
    }
}

/// Which of the children a key names; none of them: `attributes`, and what nobody asked for.
struct Key<'l> {
    node: &'l Node,
    /// The org writes keys in the order of the SELECT.
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<usize>, E> {
        let children = &self.node.children;
        if children.get(self.expected).is_some_and(|(name, _)| name == key) {
            return Ok(Some(self.expected));
        }
        if key == "attributes" {
            return Ok(None);
        }
        let by = |is: fn(&str, &str) -> bool| children.iter().position(|(name, _)| is(name, key));
        Ok(by(|name, key| name == key).or_else(|| by(str::eq_ignore_ascii_case)))
    }
}

/// A field's value.
struct Value<'r, 'l, 'b> {
    leaf: usize,
    reading: &'r mut Reading<'l, 'b>,
}

impl Value<'_, '_, '_> {
    fn kind(&self) -> ColumnKind {
        self.reading.layout.leaves[self.leaf].kind
    }

    fn refuse<E: Error>(self, shown: &str, reason: &'static str) -> Result<(), E> {
        self.reading.refuse(self.leaf, shown, reason).map_err(E::custom)
    }

    fn take<E: Error>(self, cell: Cell<'_>) -> Result<(), E> {
        self.reading.value(self.leaf, cell).map_err(E::custom)
    }

    /// A number of a field that is none by its kind, or is a whole one.
    fn number<E: Error>(self, number: Option<i64>, written: &str) -> Result<(), E> {
        match (self.kind(), number) {
            (ColumnKind::Integer, Some(number)) => self.take(Cell::Int(number)),
            (ColumnKind::Text, _) => self.take(Cell::Text(written)),
            _ => self.reading.text(self.leaf, written).map_err(E::custom),
        }
    }

    /// A value as it is written, for numbers with all their digits and for what is kept as JSON.
    fn raw<E: Error>(self, raw: &str) -> Result<(), E> {
        match (self.kind(), raw.as_bytes()) {
            (_, b"null") => Ok(()),
            (ColumnKind::Number, [b'"', ..]) => match serde_json::from_str::<String>(raw) {
                Ok(text) => self.reading.text(self.leaf, &text).map_err(E::custom),
                Err(_) => self.refuse(raw, "it is no text"),
            },
            (ColumnKind::Number, _) if cell::is_decimal(raw) => self.take(Cell::Digits(raw)),
            (ColumnKind::Number, _) => self.refuse(raw, "it is no number"),
            _ => self.take(Cell::Json(raw)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.kind() {
            ColumnKind::Number | ColumnKind::Json => {
                let raw = <&RawValue>::deserialize(deserializer)?;
                self.raw(raw.get())
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Value<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value of a field")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.reading.text(self.leaf, text).map_err(E::custom)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        match self.kind() {
            ColumnKind::Bool => self.take(Cell::Bool(truth)),
            _ => self.visit_str(if truth { "true" } else { "false" }),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        match self.kind() {
            ColumnKind::Integer => self.take(Cell::Int(number)),
            _ => self.number(Some(number), &number.to_string()),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        match (self.kind(), i64::try_from(number)) {
            (ColumnKind::Integer, Ok(number)) => self.take(Cell::Int(number)),
            (_, small) => self.number(small.ok(), &number.to_string()),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.number(cell::whole(number), &number.to_string())
    }

    /// A record within a record, where none was asked for.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.refuse("{…}", "it is an object and no single value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.refuse("[…]", "it is a list and no single value")
    }
}
