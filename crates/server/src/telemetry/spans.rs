//! What leaves as a span: names as OpenTelemetry has them, and no secrets.
//!
//! In the log a request's fields have short names; here they get those of the semantic conventions for HTTP (1.23 and
//! later). What looks like a credential is masked in every text, as it is in the log.

use std::borrow::Cow;

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tieline_auth::redact::mask;

/// Before another exporter.
#[derive(Debug)]
pub(super) struct Cleaned<E>(pub(super) E);

impl<E: SpanExporter> SpanExporter for Cleaned<E> {
    fn export(&self, mut batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        for span in &mut batch {
            name(span);
            clean(span);
        }
        self.0.export(batch)
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// Source: OpenTelemetry, "Semantic conventions for HTTP spans".
fn name(span: &mut SpanData) {
    let kind = match &*span.name {
        "request" => SpanKind::Server,
        "salesforce" => SpanKind::Client,
        _ => return,
    };
    let text = |span: &SpanData, key: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
        found.map(|attribute| attribute.value.as_str().into_owned()).unwrap_or_default()
    };
    let (method, route) =
        (text(span, "method"), text(span, if kind == SpanKind::Server { "route" } else { "resource" }));
    span.name = Cow::Owned(format!("{method} {route}").trim_end().to_owned());
    for attribute in &mut span.attributes {
        let name = match attribute.key.as_str() {
            "method" => "http.request.method",
            "route" => "http.route",
            "resource" => "url.template",
            "client" => "client.address",
            "user" => "user.id",
            "request_id" => "tieline.request_id",
            "api_key" => "tieline.api_key",
            "org" => "tieline.org",
            _ => continue,
        };
        attribute.key = name.into();
    }
    // The convention for servers: what the client did wrong is no error of ours.
    let status = text(span, "http.response.status_code").parse::<u16>();
    if kind == SpanKind::Server && status.is_ok_and(|status| status >= 500) {
        span.status = Status::error("");
    }
    span.span_kind = kind;
}

fn clean(span: &mut SpanData) {
    clean_text(&mut span.name);
    clean_all(&mut span.attributes);
    for event in &mut span.events.events {
        clean_text(&mut event.name);
        clean_all(&mut event.attributes);
    }
    for link in &mut span.links.links {
        clean_all(&mut link.attributes);
    }
    if let Status::Error { description } = &mut span.status {
        clean_text(description);
    }
}

fn clean_all(attributes: &mut [KeyValue]) {
    for attribute in attributes {
        match &mut attribute.value {
            Value::String(text) => clean_string(attribute.key.as_str(), text),
            Value::Array(Array::String(texts)) => {
                texts.iter_mut().for_each(|text| clean_string(attribute.key.as_str(), text));
            }
            _ => {}
        }
    }
}

/// Masks also what is a secret by its field's name alone, as in the log's `password=…`.
fn clean_string(key: &str, text: &mut StringValue) {
    let before = format!("{key}={text}");
    if let Cow::Owned(masked) = mask(&before) {
        *text = masked.get(key.len() + 1..).unwrap_or("[secret]").to_owned().into();
    }
}

fn clean_text(text: &mut Cow<'static, str>) {
    if let Cow::Owned(masked) = mask(text) {
        *text = Cow::Owned(masked);
    }
}
