//! Refusals that any resource may give, and what every answer carries.

use reqwest::header::{HeaderName, HeaderValue};
use serde_json::json;
use tieline_client::{Method, Request};

use super::{documented, memory, recorded, reported, source, unverified};
use crate::case::Auth;
use crate::expectation::{Area, Check, Expectation, Need, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Errors, name, source, check)
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("an unknown resource is 404 NOT_FOUND", recorded("3.1"), |case| {
            Box::pin(async move {
                let answer = case.get("tielineContract").await?.refused(404, "NOT_FOUND")?;
                answer.says("The requested resource does not exist").done()
            })
        }),
        on("an unknown object is 404 NOT_FOUND", recorded("3.1"), |case| {
            Box::pin(async move {
                let answer = case.get("sobjects/TielineContract__c/describe").await?.refused(404, "NOT_FOUND")?;
                answer.says("The requested resource does not exist").done()
            })
        }),
        on("a method that a resource lacks is 405, with those that it has", recorded("3.1"), |case| {
            Box::pin(async move {
                let path = case.path("sobjects/Account");
                let body = Some(("application/json", "{}".to_owned()));
                let answer = case.raw(Method::PATCH, &path, &case.bearer().await?, body).await?;
                let answer = answer.refused(405, "METHOD_NOT_ALLOWED")?;
                let answer = answer.with_header("allow", "with GET", |value| value.contains("GET"))?;
                answer.says("HTTP Method 'PATCH' not allowed. Allowed are GET,HEAD,POST").done()
            })
        }),
        on("a refusal is an array of objects with message and errorCode", recorded("3.1"), |case| {
            Box::pin(async move {
                let body = case.query("SELEKT").await?.is(400)?.json()?;
                let good = body.as_array().is_some_and(|list| {
                    list.iter().all(|one| one["message"].is_string() && one["errorCode"].is_string())
                });
                that(good, "[{message, errorCode}]", &body)?;
                Ok("an array".to_owned())
            })
        }),
        on("JSON that is none is JSON_PARSER_ERROR with a place", reported("3.1"), |case| {
            Box::pin(async move {
                let answer = case.text(Method::POST, "sobjects/Account", "application/json", "{\"Name\" j").await?;
                answer.refused(400, "JSON_PARSER_ERROR")?.mentions("at [line:1, column:").done()
            })
        })
        .needs(Need::Write),
        on("a body that is missing is JSON_PARSER_ERROR", reported("3.1"), |case| {
            Box::pin(async move {
                let answer = case.text(Method::POST, "sobjects/Account", "application/json", "").await?;
                let answer = answer.refused(400, "JSON_PARSER_ERROR")?;
                answer.says("The HTTP entity body is required, but this request has no entity body.").done()
            })
        })
        .needs(Need::Write),
        on("a content type that is not known is 415 UNSUPPORTED_MEDIA_TYPE", memory("3.1"), |case| {
            Box::pin(async move {
                let answer = case.text(Method::POST, "sobjects/Account", "text/plain", "Name=x").await?;
                let answer = answer.refused(415, "UNSUPPORTED_MEDIA_TYPE")?;
                answer.says("Content-Type header specified in HTTP request is not supported: text/plain").done()
            })
        })
        .needs(Need::Write),
        on("a version that is not there yet is 404 NOT_FOUND", unverified("3.1"), |case| {
            Box::pin(async move {
                let path = "/services/data/v999.0/limits";
                let answer = case.raw(Method::GET, path, &case.bearer().await?, None).await?;
                answer.refused(404, "NOT_FOUND")?.done()
            })
        }),
        on("a URI of more than 16,384 bytes is 414", documented("3.1"), |case| {
            Box::pin(async move {
                let path = case.path(&format!("query?q={}", "x".repeat(17_000)));
                case.raw(Method::GET, &path, &case.bearer().await?, None).await?.is(414)?;
                Ok("414".to_owned())
            })
        }),
        on("answers are application/json;charset=UTF-8", recorded("0"), |case| {
            Box::pin(async move {
                let answer = case.get("limits").await?.is(200)?;
                let wanted = "application/json;charset=UTF-8";
                answer.with_header("content-type", wanted, |value| value.eq_ignore_ascii_case(wanted))?;
                Ok(wanted.to_owned())
            })
        }),
        on("every answer tells the API calls used and allowed", source("3.10"), |case| {
            Box::pin(async move {
                let answer = case.query("SELECT Id FROM Organization").await?.is(200)?;
                let good = |value: &str| {
                    let numbers = value.strip_prefix("api-usage=").and_then(|rest| rest.split(';').next());
                    let (used, allowed) = numbers.and_then(|text| text.split_once('/')).unwrap_or_default();
                    used.parse::<u64>().is_ok() && allowed.parse::<u64>().is_ok()
                };
                answer.with_header("sforce-limit-info", "api-usage=N/M", good)?;
                Ok("api-usage=N/M".to_owned())
            })
        }),
        on("refusals tell the API calls too", recorded("0"), |case| {
            Box::pin(async move {
                let path = case.path("query?q=SELEKT");
                let answer = case.raw(Method::GET, &path, &case.bearer().await?, None).await?.is(400)?;
                answer.with_header("sforce-limit-info", "api-usage=…", |value| value.starts_with("api-usage="))?;
                Ok("api-usage=…".to_owned())
            })
        }),
        on("every answer tells the org's time", recorded("0"), |case| {
            Box::pin(async move {
                let answer = case.get("limits").await?.is(200)?;
                answer.with_header("date", "a date", |value| value.ends_with(" GMT"))?;
                Ok("Date".to_owned())
            })
        }),
        on("a slash at the end of a path does no harm", recorded("3.4"), |case| {
            Box::pin(async move {
                for path in ["limits/", "sobjects/", "query/?q=SELECT+Id+FROM+Organization"] {
                    case.get(path).await?.is(200)?;
                }
                Ok("three of them".to_owned())
            })
        }),
        on("X-PrettyPrint: 1 indents", recorded("0"), |case| {
            Box::pin(async move {
                let header = (HeaderName::from_static("x-prettyprint"), HeaderValue::from_static("1"));
                let request = Request::get(case.path("query?q=SELECT+Id+FROM+Organization"));
                let answer = case.send(request.with_header(header.0, header.1)).await?.is(200)?;
                that(answer.text().contains("\n  \"totalSize\" : 1"), "\"key\" : value, indented", answer.shown())?;
                Ok("two spaces".to_owned())
            })
        }),
        on("beyond the daily limit a call is 403 REQUEST_LIMIT_EXCEEDED", reported("3.1"), |case| {
            Box::pin(async move {
                case.control(Method::PUT, "limits", &json!({"daily_api_requests": 1})).await?;
                let answer = case.raw(Method::GET, &case.path("limits"), &case.bearer().await?, None).await;
                case.control(Method::PUT, "limits", &json!({"daily_api_requests": 1_000_000})).await?;
                answer?.refused(403, "REQUEST_LIMIT_EXCEEDED")?.says("TotalRequests Limit exceeded.").done()
            })
        })
        .needs(Need::Control),
        on("the list of versions needs no login", documented("3.2"), |case| {
            Box::pin(async move {
                let answer = case.raw(Method::GET, "/services/data", &Auth::Nobody, None).await?.is(200)?;
                that(answer.json()?.is_array(), "an array", answer.shown())?;
                Ok("200".to_owned())
            })
        }),
    ]
}
