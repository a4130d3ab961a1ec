//! Versions, resources, limits.

use serde_json::Value;

use super::{documented, memory, recorded};
use crate::answer::has_keys;
use crate::expectation::{Area, Check, Expectation, same, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Limits, name, source, check)
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("versions have label, url and version, the oldest first", documented("3.2"), |case| {
            Box::pin(async move {
                let request = tieline_client::Request::get("/services/data");
                let list = case.send(request).await?.is(200)?.json()?;
                let list = list.as_array().cloned().unwrap_or_default();
                let mut before = 0.0;
                for one in &list {
                    has_keys(one, &["label", "url", "version"])?;
                    let number: f64 = one["version"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
                    that(number > before, "a rising version", one)?;
                    same("url", one["url"].as_str(), Some(format!("/services/data/v{number:.1}").as_str()))?;
                    before = number;
                }
                that(before >= 60.0, "a version of this decade", before)?;
                Ok(format!("up to {before:.1}"))
            })
        }),
        on("a version's resources are names with paths", memory("3.2"), |case| {
            Box::pin(async move {
                let map = case.get("").await?.is(200)?.json()?;
                has_keys(&map, &["sobjects", "query", "queryAll", "search", "limits", "composite", "tooling", "jobs"])?;
                let query = map["query"].as_str().unwrap_or_default();
                that(query.starts_with("/services/data/v") && query.ends_with("/query"), "a path", query)?;
                Ok("eight looked at".to_owned())
            })
        }),
        on("a resource named identity is a whole URL", memory("3.2"), |case| {
            Box::pin(async move {
                let map = case.get("").await?.is(200)?.json()?;
                let identity = map["identity"].as_str().unwrap_or_default();
                that(identity.starts_with("http") && identity.contains("/id/00D"), "https://…/id/00D…/005…", identity)?;
                Ok("a URL".to_owned())
            })
        }),
        on("limits have Max and Remaining", documented("3.2"), |case| {
            Box::pin(async move {
                let limits = case.get("limits").await?.is(200)?.json()?;
                for name in ["DailyApiRequests", "DataStorageMB", "DailyBulkV2QueryJobs", "DailyAsyncApexExecutions"] {
                    let one = &limits[name];
                    that(
                        one["Max"].is_i64() && one["Remaining"].is_i64(),
                        format_args!("{name} with Max and Remaining"),
                        one,
                    )?;
                }
                Ok("four looked at".to_owned())
            })
        }),
        on("counts of records come by object", recorded("3.2"), |case| {
            Box::pin(async move {
                let found = case.get("limits/recordCount?sObjects=Account,User").await?.is(200)?.json()?;
                let good = |one: &Value| one["count"].is_u64() && one["name"].is_string();
                let list = found["sObjects"].as_array();
                that(list.is_some_and(|list| list.iter().all(good)), "sObjects: [{count, name}]", &found)?;
                Ok("count and name".to_owned())
            })
        }),
    ]
}
