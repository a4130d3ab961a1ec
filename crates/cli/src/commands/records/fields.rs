//! Fields as they are written on the command line.

use serde_json::Value;
use tieline_client::Record;

use crate::failure::Failure;

const FORMS: &str = "write FIELD=text, FIELD:=JSON, or FIELD= for nothing";

/// `FIELD=VALUE` is text, `FIELD:=JSON` any JSON, `FIELD=` empties. A dot leads to a parent: `Account.Key__c=A1` refers to
/// it by its external id.
pub(crate) fn object(arguments: &[String]) -> Result<Record, Failure> {
    let mut record = Record::new();
    for argument in arguments {
        let wrong = |reason: &str| Failure::usage(format!("`{argument}` {reason}"), FORMS);
        let (name, text) = argument.split_once('=').ok_or_else(|| wrong("is no field with a value"))?;
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => {
                let value = serde_json::from_str(text).map_err(|error| wrong(&format!("holds no JSON: {error}")))?;
                (name, value)
            }
            None if text.is_empty() => (name, Value::Null),
            None => (name, Value::String(text.to_owned())),
        };
        let is_name =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        if !name.split('.').all(is_name) {
            return Err(wrong("names no field"));
        }
        if !put(&mut record, name, value) {
            return Err(wrong("names a field that has a value already"));
        }
    }
    Ok(record)
}

/// False if there is something else already.
fn put(record: &mut Record, path: &str, value: Value) -> bool {
    let Some((parent, rest)) = path.split_once('.') else {
        return record.insert(path.to_owned(), value).is_none();
    };
    match record.entry(parent).or_insert_with(|| Value::Object(Record::new())) {
        Value::Object(parent) => put(parent, rest, value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_text_json_or_nothing() {
        let read = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            object(&arguments)
                .map(|record| Value::Object(record).to_string())
                .map_err(|failure| failure.message().to_owned())
        };
        assert_eq!(
            read(&["LastName=a=b", "Age__c:=42", "Tags:=[1, null]", "Phone=", "Note=x:=1", "Account.Key__c=A1"])
                .unwrap(),
            r#"{"LastName":"a=b","Age__c":42,"Tags":[1,null],"Phone":null,"Note":"x:=1","Account":{"Key__c":"A1"}}"#
        );
        for (arguments, reason) in [
            (&["LastName"][..], "is no field with a value"),
            (&["A:=b"], "holds no JSON"),
            (&["=b"], "names no field"),
            (&["A b=c"], "names no field"),
            (&["A=b", "A=c"], "has a value already"),
            (&["A=b", "A.B=c"], "has a value already"),
        ] {
            assert!(read(arguments).unwrap_err().contains(reason), "{arguments:?}");
        }
    }
}
