//! Records of a query with all of their children: the org sends the first of them, and tells where the others are.

use std::collections::HashSet;

use serde_json::{Map, Value};
use tieline_client::{ClientError, Connection, Record, Request};

use crate::failure::Failure;

/// Reads what is missing of a record's children, and of theirs.
pub(super) async fn complete(connection: &Connection, record: &mut Record) -> Result<(), Failure> {
    let page = async |path: String| Ok(connection.send_json(&Request::get(path)).await?);
    all_of(record, &page, connection.org()).await
}

async fn all_of<F: AsyncFn(String) -> Result<Record, Failure>>(
    record: &mut Record,
    page: &F,
    org: &str,
) -> Result<(), Failure> {
    for list in record.values_mut().filter_map(Value::as_object_mut) {
        rest_of(list, page, org).await?;
        let Some(Value::Array(children)) = list.get_mut("records") else { continue };
        for child in children.iter_mut().filter_map(Value::as_object_mut) {
            Box::pin(all_of(child, page, org)).await?;
        }
    }
    Ok(())
}

async fn rest_of<F: AsyncFn(String) -> Result<Record, Failure>>(
    list: &mut Map<String, Value>,
    page: &F,
    org: &str,
) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    while let Some(Value::String(next)) = list.shift_remove("nextRecordsUrl") {
        let mut more = page(next.clone()).await?;
        let reason = match (more.remove("records"), list.get_mut("records")) {
            (Some(Value::Array(found)), Some(Value::Array(all))) => {
                all.extend(found);
                list.insert("done".to_owned(), more.remove("done").unwrap_or(Value::Bool(true)));
                list.extend(more.remove_entry("nextRecordsUrl"));
                if seen.insert(next.clone()) {
                    continue;
                }
                "its list leads in a circle"
            }
            _ => "it holds no records",
        };
        return Err(unreadable(org, format!("GET {next}"), reason));
    }
    match list.get("done") {
        Some(Value::Bool(false)) if list.contains_key("records") => {
            Err(unreadable(org, "a query".to_owned(), "a record's children are not all there, nor told where they are"))
        }
        _ => Ok(()),
    }
}

fn unreadable(org: &str, what: String, reason: &str) -> Failure {
    let (org, reason) = (org.to_owned(), reason.to_owned());
    ClientError::Unreadable { org, what, reason, outcome_unknown: false }.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The record, completed by an org that has these pages.
    async fn completed(record: Value, pages: Value) -> Result<Value, String> {
        let mut record = record.as_object().cloned().unwrap_or_default();
        let page = async |path: String| Ok(pages[&path].as_object().cloned().unwrap_or_default());
        match all_of(&mut record, &page, "acme").await {
            Ok(()) => Ok(record.into()),
            Err(failure) => Err(failure.message().to_owned()),
        }
    }

    fn list(ids: &[u32], next: Option<&str>) -> Value {
        let records: Vec<Value> = ids.iter().map(|id| json!({"Id": id})).collect();
        match next {
            Some(next) => json!({"records": records, "done": false, "nextRecordsUrl": next}),
            None => json!({"records": records, "done": true}),
        }
    }

    #[tokio::test]
    async fn children_of_children_are_read_to_their_end() {
        let child = |grandchildren: Value| json!({"Id": 9, "Cases": grandchildren});
        let record = json!({"Id": 1, "Contacts": {
            "records": [child(list(&[1], Some("/a"))), child(Value::Null)], "done": false, "nextRecordsUrl": "/b"}});
        let pages = json!({"/a": list(&[2], Some("/c")), "/c": list(&[3], None), "/d": list(&[5], None),
            "/b": {"records": [child(list(&[4], Some("/d")))], "done": true}});
        let whole = json!({"Id": 1, "Contacts": {"done": true, "records":
            [child(list(&[1, 2, 3], None)), child(Value::Null), child(list(&[4, 5], None))]}});
        assert_eq!(completed(record, pages).await, Ok(whole));
    }

    #[tokio::test]
    async fn a_list_that_is_cut_off_or_has_no_end_is_refused() {
        for (first, page, reason) in [
            (list(&[1], Some("/a")), json!({"done": true}), "it holds no records"),
            (list(&[1], Some("/a")), list(&[2], Some("/a")), "leads in a circle"),
            (json!({"records": [], "done": false}), json!({}), "are not all there"),
        ] {
            let outcome = completed(json!({"Contacts": first}), json!({"/a": page})).await;
            assert!(outcome.as_ref().is_err_and(|message| message.contains(reason)), "{outcome:?}");
        }
    }
}
