//! A transform as one line of the editor: `trim`, `phone DE`, `map Hot=A, Warm=B otherwise keep`.
//!
//! What would be misread as it stands is put into quotation marks, as JSON has them; anything may be.

use std::collections::BTreeMap;

use tieline_sync::mapping::{Marks, Otherwise, Transform};

const PLAIN: [(&str, Transform); 7] = [
    ("trim", Transform::Trim),
    ("collapse", Transform::Collapse),
    ("lower", Transform::Lower),
    ("upper", Transform::Upper),
    ("title", Transform::Title),
    ("digits", Transform::Digits),
    ("split", Transform::Split),
];

/// What may be written, with what it does: offered where one types, and explained beside it.
pub(crate) const OFFERED: [(&str, &str); 14] = [
    ("trim", "white space off both ends"),
    ("collapse", "the same, and one space for any in the middle"),
    ("lower", "small letters"),
    ("upper", "capital letters"),
    ("title", "Each Word So"),
    ("digits", "nothing but the digits"),
    ("split", "the values of a multi-select picklist as a list"),
    ("phone DE", "a telephone number as +4930901820; one without a country is of the region"),
    ("date %d.%m.%Y", "reads a date of this form"),
    ("format %d.%m.%Y", "writes a date, a moment or a time in this form"),
    ("number de", "reads 1.234,50; with en, 1,234.50"),
    (
        "map Hot=A, Warm=B otherwise keep",
        "one value for another; others stay (keep), are emptied (null), or become a value",
    ),
    ("replace \"a\" by \"b\"", "each a by b"),
    ("truncate 80", "so many characters at most"),
];

/// The line of a transform.
pub(super) fn write(step: &Transform) -> String {
    if let Some((name, _)) = PLAIN.iter().find(|(_, plain)| plain == step) {
        return (*name).to_owned();
    }
    match step {
        Transform::Phone(region) => format!("phone {}", whole(region)),
        Transform::Date(form) => format!("date {}", whole(form)),
        Transform::Format(form) => format!("format {}", whole(form)),
        Transform::Truncate(most) => format!("truncate {most}"),
        Transform::Number(Marks::De) => "number de".to_owned(),
        Transform::Number(Marks::En) => "number en".to_owned(),
        Transform::Replace(from, to) => format!("replace {} by {}", quote(from), quote(to)),
        Transform::Map(map, otherwise) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{}={}", piece(key), piece(value))).collect();
            let otherwise = match otherwise {
                Otherwise::Keep => "keep".to_owned(),
                Otherwise::Null => "null".to_owned(),
                Otherwise::Value(value) if matches!(value.as_str(), "keep" | "null") => quote(value),
                Otherwise::Value(value) => whole(value),
            };
            let pairs = pairs.join(", ");
            format!("map {pairs}{}otherwise {otherwise}", if pairs.is_empty() { "" } else { " " })
        }
        // All of them were written above.
        _ => String::new(),
    }
}

/// The transform of a line.
///
/// # Errors
/// What is wrong with it, and how it is written.
pub(super) fn read(line: &str) -> Result<Transform, String> {
    let line = line.trim();
    let (name, rest) = line.split_once(char::is_whitespace).map_or((line, ""), |(name, rest)| (name, rest.trim()));
    if let Some((_, step)) = PLAIN.iter().find(|(plain, _)| *plain == name) {
        return if rest.is_empty() { Ok(step.clone()) } else { Err(format!("`{name}` takes nothing behind it")) };
    }
    match name {
        "phone" => argument(rest).map(Transform::Phone).ok_or_else(|| "write the region: `phone DE`".to_owned()),
        "date" => argument(rest).map(Transform::Date).ok_or_else(|| "write the form: `date %d.%m.%Y`".to_owned()),
        "format" => argument(rest).map(Transform::Format).ok_or_else(|| "write the form: `format %d.%m.%Y`".to_owned()),
        "number" => match rest {
            "de" => Ok(Transform::Number(Marks::De)),
            "en" => Ok(Transform::Number(Marks::En)),
            _ => Err("write `number de` for 1.234,50, or `number en` for 1,234.50".to_owned()),
        },
        "truncate" => rest.parse().map(Transform::Truncate).map_err(|_| "write a number: `truncate 80`".to_owned()),
        "replace" => replace(rest).ok_or_else(|| "write what by what: `replace \"a\" by \"b\"`".to_owned()),
        "map" => map(rest),
        _ => {
            let names: Vec<&str> = OFFERED.iter().filter_map(|(step, _)| step.split(' ').next()).collect();
            Err(format!("`{name}` is no transform: there are {}", names.join(", ")))
        }
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// As the rest of a line.
fn whole(text: &str) -> String {
    let plain = !text.is_empty() && text.trim() == text && !text.starts_with('"') && !text.contains(char::is_control);
    if plain { text.to_owned() } else { quote(text) }
}

/// Within a map.
fn piece(text: &str) -> String {
    let plain = !text.contains(['=', ',', '"']) && !text.contains("otherwise");
    if plain { whole(text) } else { quote(text) }
}

/// A text in quotation marks, and what stands behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let value = stream.next()?.ok()?;
    let end = stream.byte_offset();
    Some((value, &text[end..]))
}

/// The rest of a line. None: there is none, or quotation marks that do not fit.
fn argument(rest: &str) -> Option<String> {
    if rest.starts_with('"') {
        return quoted(rest).filter(|(_, after)| after.trim().is_empty()).map(|(value, _)| value);
    }
    (!rest.is_empty()).then(|| rest.to_owned())
}

fn replace(rest: &str) -> Option<Transform> {
    let (from, after) = match rest.starts_with('"') {
        true => quoted(rest)?,
        false => rest.split_once(char::is_whitespace).map(|(from, after)| (from.to_owned(), after))?,
    };
    let to = after.trim_start().strip_prefix("by")?;
    Some(Transform::Replace(from, argument(to.strip_prefix(char::is_whitespace)?.trim())?))
}

/// What stands behind a word, if the text begins with it.
fn behind<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    text.strip_prefix(word).filter(|after| after.is_empty() || after.starts_with(char::is_whitespace))
}

fn map(rest: &str) -> Result<Transform, String> {
    const FORM: &str = "write `map Hot=A, Warm=B otherwise keep`";
    let (mut map, mut left) = (BTreeMap::new(), rest);
    if left.is_empty() {
        return Err(FORM.to_owned());
    }
    let otherwise = loop {
        if left.is_empty() {
            break Otherwise::Keep;
        }
        if let Some(after) = behind(left, "otherwise") {
            break match after.trim() {
                "keep" => Otherwise::Keep,
                "null" => Otherwise::Null,
                other => Otherwise::Value(argument(other).ok_or_else(|| {
                    "behind `otherwise` stands `keep`, `null`, or the value that others become".to_owned()
                })?),
            };
        }
        let (key, after) = part(left)?;
        let Some(after) = after.strip_prefix('=') else {
            return Err(format!("`{key}` has no value: {FORM}"));
        };
        let (value, after) = part(after.trim_start())?;
        if map.contains_key(&key) {
            return Err(format!("the map has two values for `{key}`"));
        }
        map.insert(key, value);
        left = match after.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if after.is_empty() || behind(after, "otherwise").is_some() => after,
            None => return Err(format!("what stands behind a value is a comma or `otherwise`, not `{after}`: {FORM}")),
        };
    };
    Ok(Transform::Map(map, otherwise))
}

/// A key or a value, and what stands behind it.
fn part(text: &str) -> Result<(String, &str), String> {
    if text.starts_with('"') {
        let (value, after) =
            quoted(text).ok_or("quotation marks that are not closed, or hold what JSON does not take")?;
        return Ok((value, after.trim_start()));
    }
    let mut end = text.find(['=', ',']).unwrap_or(text.len());
    if let Some((at, _)) = text.match_indices("otherwise").find(|(at, _)| {
        *at > 0 && text[..*at].ends_with(char::is_whitespace) && behind(&text[*at..], "otherwise").is_some()
    }) {
        end = end.min(at);
    }
    let value = text[..end].trim();
    if value.is_empty() {
        return Err("an empty key or value is written as \"\"".to_owned());
    }
    Ok((value.to_owned(), text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map_of(pairs: &[(&str, &str)], otherwise: Otherwise) -> Transform {
        Transform::Map(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), otherwise)
    }

    #[test]
    fn each_transform_is_a_line_and_the_line_is_it_again() {
        let text = str::to_owned;
        let hard =
            ["", " ", "a b", "a=b", "a,b", "\"", "otherwise", "a otherwise b", "keep", "null", "ß", "x\ty", "\\"];
        let mut all: Vec<Transform> = PLAIN.into_iter().map(|(_, step)| step).collect();
        all.extend([Transform::Number(Marks::De), Transform::Number(Marks::En), Transform::Truncate(80)]);
        all.extend([
            Transform::Phone(text("DE")),
            Transform::Date(text("%d.%m.%Y")),
            Transform::Format(text("%d.%m.")),
        ]);
        all.push(map_of(&[("Hot", "A"), ("Warm", "B")], Otherwise::Value(text("C"))));
        for otherwise in [Otherwise::Keep, Otherwise::Null] {
            all.push(map_of(&[], otherwise));
        }
        for one in hard {
            all.extend([Transform::Date(text(one)), Transform::Format(text(one)), Transform::Phone(text(one))]);
            all.push(map_of(&[(one, "x")], Otherwise::Value(text(one))));
            for other in hard {
                all.extend([Transform::Replace(text(one), text(other)), map_of(&[(one, other)], Otherwise::Null)]);
                all.push(map_of(&[("x", one), ("y", other)], Otherwise::Keep));
            }
        }
        for step in all {
            let line = write(&step);
            assert!(!line.contains(['\n', '\r']), "{line}");
            assert_eq!(read(&line), Ok(step), "{line}");
        }
    }

    #[test]
    fn people_may_write_as_they_would() {
        assert_eq!(read("  lower "), Ok(Transform::Lower));
        assert_eq!(read("replace ß by SS"), Ok(Transform::Replace("ß".into(), "SS".into())));
        assert_eq!(read("map Hot = A,Warm=B"), Ok(map_of(&[("Hot", "A"), ("Warm", "B")], Otherwise::Keep)));
        assert_eq!(
            read("map Very hot=A otherwise not known"),
            Ok(map_of(&[("Very hot", "A")], Otherwise::Value("not known".into())))
        );
        for (offered, _) in OFFERED {
            assert!(read(offered).is_ok(), "{offered}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_how_it_is_written() {
        for (line, said) in [
            ("lowr", "`lowr` is no transform: there are trim, collapse,"),
            ("trim 3", "takes nothing"),
            ("phone", "`phone DE`"),
            ("number fr", "`number en`"),
            ("truncate many", "`truncate 80`"),
            ("replace a", "`replace \"a\" by \"b\"`"),
            ("replace \"a by b", "`replace \"a\" by \"b\"`"),
            ("map", "`map Hot=A"),
            ("map Hot", "`Hot` has no value"),
            ("map Hot=A Warm=B", "comma"),
            ("map Hot=A, Hot=B", "two values for `Hot`"),
            ("map Hot=A otherwise", "behind `otherwise`"),
            ("map \"Hot=A", "not closed"),
            ("map =A", "\"\""),
        ] {
            let told = read(line).unwrap_err();
            assert!(told.contains(said), "{line}: {told}");
        }
    }
}
