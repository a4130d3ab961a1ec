//! What is done to a value on its way into a column, as somebody writes it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One step. All but [`Transform::Format`] take any value as its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transform {
    /// Without white space at both ends: `"trim"`.
    Trim,
    /// In small letters: `"lower"`.
    Lower,
    /// In great letters: `"upper"`.
    Upper,
    /// Each word with a great letter and small ones: `"title"`.
    Title,
    /// White space in the middle as one space, and none at the ends: `"collapse"`.
    Collapse,
    /// Nothing but the digits: `"digits"`.
    Digits,
    /// The values of a multi-select picklist as a JSON list: `"split"`.
    Split,
    /// A telephone number in the form E.164; the region is where a number without a country is from:
    /// `{ phone = "DE" }`.
    Phone(String),
    /// A text to a date, by its form: `{ date = "%d.%m.%Y" }`.
    Date(String),
    /// A date, a moment (in UTC) or a time to a text: `{ format = "%d.%m.%Y" }`.
    Format(String),
    /// One value for another: `{ map = { "Hot" = "A" }, otherwise = "null" }`.
    Map(BTreeMap<String, String>, Otherwise),
    /// Each occurrence of a text by another: `{ replace = ["a", "b"] }`.
    Replace(String, String),
    /// So many characters at most: `{ truncate = 80 }`.
    Truncate(usize),
    /// A text to a number: `{ number = "de" }`.
    Number(Marks),
}

/// What becomes of a value that the map does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// It stays.
    #[default]
    Keep,
    /// Nothing.
    Null,
    /// This one: `otherwise = { value = "C" }`.
    Value(String),
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Marks {
    /// `1.234,56`
    De,
    /// `1,234.56`
    En,
}

/// The steps without settings.
const PLAIN: [(&str, Transform); 7] = [
    ("trim", Transform::Trim),
    ("lower", Transform::Lower),
    ("upper", Transform::Upper),
    ("title", Transform::Title),
    ("collapse", Transform::Collapse),
    ("digits", Transform::Digits),
    ("split", Transform::Split),
];

/// The keys of those with settings.
pub(super) const KEYS: [&str; 8] = ["phone", "date", "format", "map", "otherwise", "replace", "truncate", "number"];

/// The names of those without.
pub(super) fn plain_names() -> [&'static str; 7] {
    PLAIN.map(|(name, _)| name)
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    date: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    map: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    otherwise: Option<Otherwise>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replace: Option<[String; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    truncate: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<Marks>,
}

impl TryFrom<Written> for Transform {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        let Written { phone, date, format, map, otherwise, replace, truncate, number } = written;
        if otherwise.is_some() && map.is_none() {
            return Err("`otherwise` belongs to `map`");
        }
        let map = map.map(|map| Transform::Map(map, otherwise.unwrap_or_default()));
        let steps = [
            phone.map(Transform::Phone),
            date.map(Transform::Date),
            format.map(Transform::Format),
            map,
            replace.map(|[from, to]| Transform::Replace(from, to)),
            truncate.map(Transform::Truncate),
            number.map(Transform::Number),
        ];
        let mut steps = steps.into_iter().flatten();
        match (steps.next(), steps.next()) {
            (Some(step), None) => Ok(step),
            (None, _) => Err("a transform names what is to be done"),
            _ => Err("a transform does one thing: make two of it, in their order"),
        }
    }
}

impl Serialize for Transform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some((name, _)) = PLAIN.iter().find(|(_, plain)| plain == self) {
            return serializer.serialize_str(name);
        }
        let mut written = Written::default();
        match self.clone() {
            Transform::Phone(region) => written.phone = Some(region),
            Transform::Date(form) => written.date = Some(form),
            Transform::Format(form) => written.format = Some(form),
            Transform::Map(map, otherwise) => {
                written.map = Some(map);
                written.otherwise = Some(otherwise).filter(|otherwise| *otherwise != Otherwise::Keep);
            }
            Transform::Replace(from, to) => written.replace = Some([from, to]),
            Transform::Truncate(most) => written.truncate = Some(most),
            Transform::Number(marks) => written.number = Some(marks),
            _ => {}
        }
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Transform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;

        impl<'de> Visitor<'de> for NameOrTable {
            type Value = Transform;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "one of {}, or a table with one of {}", plain_names().join(", "), KEYS.join(", "))
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Transform, E> {
                let known = PLAIN.into_iter().find(|(known, _)| *known == name);
                known.map(|(_, step)| step).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(name), &self))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Transform, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                Transform::try_from(written).map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_any(NameOrTable)
    }
}
