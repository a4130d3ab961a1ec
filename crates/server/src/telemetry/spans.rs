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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    fn exported(act: impl FnOnce()) -> Vec<SpanData> {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(Cleaned(kept.clone())).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act);
        let kept = kept.0.lock().unwrap().clone();
        assert_eq!(kept.len(), 1);
        kept
    }

    #[test]
    fn what_looks_like_a_credential_is_masked_wherever_it_stands() {
        let token = "00D4S000000oz4e!ARcAQ0123456789abcdefXYZ";
        let spans = exported(|| {
            let span = tracing::info_span!("work", text = token, password = "planted", harmless = "stays", count = 3);
            span.set_attribute("later", format!("sid=planted {token}"));
            span.set_status(Status::error(format!("it said {token}")));
            let _in = span.enter();
            tracing::info!(access_token = "planted", "got {token}");
        });
        let told = format!("{spans:?}");
        assert!(!told.contains("planted") && !told.contains("ARcAQ"), "{told}");
        assert!(told.matches("[secret]").count() >= 6 && told.contains("stays"), "{told}");
    }

    #[test]
    fn a_request_gets_the_names_of_the_conventions() {
        for (status, is_error) in [(404, false), (503, true)] {
            let spans = exported(|| {
                let span = tracing::error_span!("request", request_id = "1", method = "GET", route = "/a/{id}");
                span.set_attribute("http.response.status_code", i64::from(status));
            });
            let span = &spans[0];
            assert_eq!((&*span.name, &span.span_kind), ("GET /a/{id}", &SpanKind::Server));
            let names: Vec<&str> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
            for name in ["http.request.method", "http.route", "tieline.request_id", "http.response.status_code"] {
                assert!(names.contains(&name), "{names:?}");
            }
            assert_eq!(span.status == Status::error(""), is_error);
        }
    }
}
