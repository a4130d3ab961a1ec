//! OpenTelemetry traces, sent by OTLP over HTTP.
//!
//! Off, unless the standard variables ask for it. What comes in as `traceparent` is continued only where the operator
//! says so: else anybody could write into traces, and make us keep theirs. Nothing is passed on: neither to orgs nor
//! to receivers of alerts, for what they would learn is not for them.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tieline_auth::ConfigError;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;

use super::otlp::Courier;
use super::request::ACCESS;
use super::spans::Cleaned;

/// How long a batch may take, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise. Source: OpenTelemetry, "OTLP exporter
/// configuration".
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the last spans may take when the program ends.
pub const LAST_FLUSH: Duration = Duration::from_secs(5);

/// Where spans go, and under which name.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    /// The receiver's URL, to the letter. Without it, what `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` of this process say, or `http://localhost:4318`.
    pub endpoint: Option<String>,
    /// `service.name`, where the environment gives none.
    pub service_name: &'static str,
    /// How long a batch may take.
    pub patience: Option<Duration>,
}

impl Traces {
    /// What the variables ask for; `None` if they ask for no traces. `OTEL_EXPORTER_OTLP_HEADERS`,
    /// `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER` and `OTEL_BSP_*` are read from this process's environment when
    /// it starts.
    ///
    /// # Errors
    /// When they ask for what this program does not do.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let get = |name: &str| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let endpoint = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"].into_iter().find_map(&get);
        match get("OTEL_TRACES_EXPORTER").as_deref() {
            Some("none") => return Ok(None),
            Some("otlp") => {}
            None if endpoint.is_some() => {}
            None => return Ok(None),
            Some(other) => {
                return Err(ConfigError::new(
                    format!("OTEL_TRACES_EXPORTER is `{other}`, and traces are sent by OTLP only"),
                    "set it to otlp or none",
                ));
            }
        }
        let protocol = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"].into_iter().find_map(&get);
        if let Some(protocol) = protocol.filter(|protocol| protocol != "http/protobuf") {
            return Err(ConfigError::new(
                format!("OTEL_EXPORTER_OTLP_PROTOCOL is `{protocol}`, and traces are sent by http/protobuf only"),
                "set it to http/protobuf, and the endpoint to the receiver's HTTP port (4318, as a rule)",
            ));
        }
        let patience = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"].into_iter().find_map(&get);
        let patience = match patience {
            None => None,
            Some(text) => Some(text.parse().map(Duration::from_millis).map_err(|_| {
                let what = format!("OTEL_EXPORTER_OTLP_TIMEOUT is `{text}`, which is no number of milliseconds");
                ConfigError::new(what, "write 10000 for ten seconds")
            })?),
        };
        Ok(Some(Self { endpoint: None, service_name: "tieline", patience }))
    }

    /// Begins to gather spans. They are sent on this runtime.
    ///
    /// # Errors
    /// When the endpoint is no URL, or HTTPS cannot be prepared on this machine.
    pub fn start(&self, runtime: Handle) -> Result<Tracing, ConfigError> {
        let courier = Courier::new(runtime, self.patience.unwrap_or(PATIENCE))?;
        let mut exporter = SpanExporter::builder().with_http().with_http_client(courier);
        if let Some(endpoint) = &self.endpoint {
            exporter = exporter.with_endpoint(endpoint);
        }
        let exporter = exporter.build().map_err(|e| {
            let hint = "check OTEL_EXPORTER_OTLP_ENDPOINT (like http://localhost:4318) and OTEL_EXPORTER_OTLP_HEADERS";
            ConfigError::new(
                format!("the OTLP exporter cannot be prepared: {}", tieline_auth::redact::mask(&e.to_string())),
                hint,
            )
        })?;
        let is_named = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty())
            || std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|text| text.contains("service.name="));
        let mut resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if !is_named {
            resource = resource.with_service_name(self.service_name);
        }
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(Cleaned(exporter)).with_resource(resource.build()).build();
        Ok(Tracing(provider))
    }
}

/// Spans are being gathered.
#[derive(Debug)]
pub struct Tracing(SdkTracerProvider);

impl Tracing {
    /// What gathers them: our own spans, and events in them from `info` on. Those of other libraries hold what they
    /// like.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let ours = FilterFn::new(|metadata| {
            let most = if metadata.is_span() { tracing::Level::DEBUG } else { tracing::Level::INFO };
            metadata.target().starts_with("tieline") && metadata.target() != ACCESS && *metadata.level() <= most
        });
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("tieline"))
            .with_tracked_inactivity(false)
            .with_threads(false)
            .with_location(false)
            .with_target(false)
            .with_filter(ours.with_max_level_hint(LevelFilter::DEBUG))
    }

    /// Sends what is left, for at most [`LAST_FLUSH`]. It blocks: call it where the runtime goes on beside it.
    pub fn shut_down(&self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_FLUSH) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Traces>, ConfigError> {
        Traces::from_variables(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn traces_are_off_until_the_standard_variables_ask_for_them() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        for off in [
            [].as_slice(),
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[endpoint, ("OTEL_TRACES_EXPORTER", "none")],
            &[endpoint, ("OTEL_SDK_DISABLED", "true")],
            &[("OTEL_SERVICE_NAME", "crm")],
        ] {
            assert!(read(off).unwrap().is_none(), "{off:?}");
        }
        for on in [
            [endpoint].as_slice(),
            &[("OTEL_TRACES_EXPORTER", "otlp")],
            &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://x/v1/traces"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "500")],
        ] {
            assert!(read(on).unwrap().is_some(), "{on:?}");
        }
        for wrong in [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ] {
            let error = read(&[endpoint, wrong]).unwrap_err();
            assert!(error.to_string().contains(wrong.1) && !error.hint().is_empty(), "{error}");
        }
    }
}
