//! Single records: what is done.

use serde_json::{Value, json};
use tieline_client::{Method, Request};

use super::{documented, recorded};
use crate::expectation::{Area, Check, Expectation, Need, same, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Records, name, source, check).needs(Need::Write)
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("a record is created with 201, its id and its path", recorded("3.4"), |case| {
            Box::pin(async move {
                let answer = case.post("sobjects/Account", &json!({"Name": case.name("new")})).await?.is(201)?;
                let saved = answer.json()?;
                let id = saved["id"].as_str().unwrap_or_default().to_owned();
                that(id.len() == 18 && id.starts_with("001"), "an id 001… of 18 characters", &id)?;
                same("the answer", saved, json!({"id": id, "success": true, "errors": []}))?;
                let path = case.path(&format!("sobjects/Account/{id}"));
                answer.with_header("location", "the record's path", |value| value.ends_with(&path))?;
                Ok("201".to_owned())
            })
        }),
        on("a record is read with its attributes first", recorded("3.4"), |case| {
            Box::pin(async move {
                let id = case.account("read").await?;
                let record = case.get(&format!("sobjects/Account/{id}")).await?.is(200)?.json()?;
                let first = record.as_object().and_then(|record| record.keys().next().cloned());
                same("the first key", first.as_deref(), Some("attributes"))?;
                same("Id", record["Id"].as_str(), Some(id.as_str()))?;
                Ok("200".to_owned())
            })
        }),
        on("fields= reads only these, whether or not the id comes with them", documented("3.4"), |case| {
            Box::pin(async move {
                let id = case.account("fields").await?;
                let record = case.get(&format!("sobjects/Account/{id}?fields=Name,Phone")).await?.is(200)?.json()?;
                let mut keys: Vec<&str> = record
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(key, _)| key.as_str())
                    .filter(|key| *key != "Id")
                    .collect();
                keys.sort_unstable();
                same("keys", keys, vec!["Name", "Phone", "attributes"])?;
                Ok(if record.get("Id").is_some() { "with Id" } else { "without Id" }.to_owned())
            })
        }),
        on("an account is read with ETag and Last-Modified", recorded("3.4"), |case| {
            Box::pin(async move {
                let id = case.account("etag").await?;
                let answer = case.get(&format!("sobjects/Account/{id}")).await?.is(200)?;
                let answer = answer.with_header("etag", "a text in quotes", |value| value.ends_with('"'))?;
                answer.with_header("last-modified", "a date", |value| value.ends_with("GMT"))?;
                Ok("both".to_owned())
            })
        }),
        on("an id of 15 characters serves as well", recorded("8"), |case| {
            Box::pin(async move {
                let id = case.account("short").await?;
                let record = case.get(&format!("sobjects/Account/{}", &id[..15])).await?.is(200)?.json()?;
                same("Id", record["Id"].as_str(), Some(id.as_str()))?;
                Ok("read".to_owned())
            })
        }),
        on("a change is answered 204 without a body", recorded("3.4"), |case| {
            Box::pin(async move {
                let id = case.account("change").await?;
                let path = format!("sobjects/Account/{id}");
                case.patch(&path, &json!({"Phone": "1"})).await?.is(204)?.without_body()?;
                let record = case.get(&format!("{path}?fields=Phone")).await?.is(200)?.json()?;
                same("Phone", &record["Phone"], &json!("1"))?;
                Ok("204".to_owned())
            })
        }),
        on("a POST with _HttpMethod=PATCH is a change", documented("3.4"), |case| {
            Box::pin(async move {
                let id = case.account("method").await?;
                let answer =
                    case.post(&format!("sobjects/Account/{id}?_HttpMethod=PATCH"), &json!({"Phone": "2"})).await?;
                answer.is(204)?.without_body()?;
                Ok("204".to_owned())
            })
        }),
        on("null empties a field", documented("3.4"), |case| {
            Box::pin(async move {
                let id = case.create("Account", &json!({"Name": case.name("null"), "Phone": "3"})).await?;
                let path = format!("sobjects/Account/{id}");
                case.patch(&path, &json!({"Phone": null})).await?.is(204)?;
                let record = case.get(&format!("{path}?fields=Phone")).await?.is(200)?.json()?;
                same("Phone", &record["Phone"], &Value::Null)?;
                Ok("null".to_owned())
            })
        }),
        on("a whole number is a number, and an address an object of eight or ten", recorded("8"), |case| {
            Box::pin(async move {
                let fields = json!({"Name": case.name("types"), "NumberOfEmployees": 7, "BillingCity": "Ulm"});
                let id = case.create("Account", &fields).await?;
                let path = format!("sobjects/Account/{id}?fields=NumberOfEmployees,BillingAddress,ShippingAddress");
                let record = case.get(&path).await?.is(200)?.json()?;
                same("NumberOfEmployees", &record["NumberOfEmployees"], &json!(7))?;
                crate::answer::has_keys(
                    &record["BillingAddress"],
                    &["city", "country", "geocodeAccuracy", "latitude", "longitude", "postalCode", "state", "street"],
                )?;
                same("an empty address", &record["ShippingAddress"], &Value::Null)?;
                Ok("both".to_owned())
            })
        }),
        on("a record is deleted with 204, and not found from then on", recorded("3.4"), |case| {
            Box::pin(async move {
                let id = case.account("delete").await?;
                let path = format!("sobjects/Account/{id}");
                case.delete(&path).await?.is(204)?.without_body()?;
                case.get(&path).await?.refused(404, "NOT_FOUND")?.says("The requested resource does not exist").done()
            })
        }),
        on("a record that is deleted again is 404 ENTITY_IS_DELETED", recorded("3.1"), |case| {
            Box::pin(async move {
                let id = case.account("again").await?;
                let path = format!("sobjects/Account/{id}");
                case.delete(&path).await?.is(204)?;
                let answer = case.delete(&path).await?.refused(404, "ENTITY_IS_DELETED")?.naming(&[])?;
                answer.says("entity is deleted").done()
            })
        }),
        on(
            "If-None-Match with the ETag of an account is 304, and If-Match with another 412",
            documented("3.5"),
            |case| {
                Box::pin(async move {
                    let id = case.account("match").await?;
                    let request = Request::get(case.path(&format!("sobjects/Account/{id}")));
                    let answer = case.send(request.clone()).await?.is(200)?;
                    let Some(etag) = answer.headers.get("etag").cloned() else {
                        return crate::expectation::not_applicable("the account came without an ETag");
                    };
                    let none_match = reqwest::header::IF_NONE_MATCH;
                    case.send(request.with_header(none_match, etag)).await?.is(304)?;
                    let other = reqwest::header::HeaderValue::from_static("\"tieline\"");
                    let body = tieline_client::Body::Json(bytes::Bytes::from_static(b"{\"Phone\": \"4\"}"));
                    let change =
                        Request::new(Method::PATCH, case.path(&format!("sobjects/Account/{id}"))).with_body(body);
                    case.send(change.with_header(reqwest::header::IF_MATCH, other)).await?.is(412)?;
                    Ok("304 and 412".to_owned())
                })
            },
        ),
    ]
}
