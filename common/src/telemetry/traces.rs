//! Traces by OTLP (HTTP, protobuf), when `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
//!
//! The standard variables of OpenTelemetry apply: `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`,
//! `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`. A caller's span comes by W3C Trace Context
//! (`traceparent`, `tracestate`). Without an endpoint there is no layer, and [`on`] is one load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, Status, TraceContextExt as _, TracerProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::config::ConfigError;

/// The variables that turn traces on; the second is for traces alone.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];
/// How long the end of a program may wait for a collector.
const FLUSH: Duration = Duration::from_secs(2);

static ON: AtomicBool = AtomicBool::new(false);

/// Whether spans are sent.
pub fn on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Sends spans until it is dropped.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Nothing, unless the environment names a collector.
    pub(super) fn start(service: &'static str) -> Result<Option<Self>, ConfigError> {
        let named = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let Some(variable) = ENDPOINTS.iter().find(|name| named(name)) else {
            return Ok(None);
        };
        // An https endpoint needs a provider, and the exporter's client chooses none.
        drop(rustls::crypto::ring::default_provider().install_default());
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .build()
            .map_err(|error| ConfigError(format!("{variable}: {error}")))?;
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(service);
        }
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        ON.store(true, Ordering::Relaxed);
        Ok(Some(Self(provider)))
    }

    /// Our own spans and no others: the exporter's client has spans too, and events belong to the log.
    /// `log.filter` does not bear on it.
    pub(super) fn layer<S>(&self, service: &'static str) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let ours = filter_fn(|metadata| {
            let program = metadata.target().split("::").next();
            metadata.is_span()
                && *metadata.level() <= Level::INFO
                && matches!(program, Some("api" | "ingest"))
        });
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(service))
            .with_location(false)
            .with_threads(false)
            .with_filter(ours)
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        ON.store(false, Ordering::Relaxed);
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// A caller's span, as its headers name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(SpanContext);

/// The headers of W3C Trace Context.
struct Headers<'a> {
    parent: &'a str,
    state: Option<&'a str>,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.parent),
            "tracestate" => self.state,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

impl Caller {
    /// The span that headers name; nothing where they name none.
    #[must_use]
    pub fn of(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let headers = Headers {
            parent: traceparent,
            state: tracestate,
        };
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
        let span = context.span().span_context().clone();
        span.is_valid().then_some(Self(span))
    }

    /// Makes it the parent of `span`, which has not been entered yet.
    pub fn is_parent_of(self, span: &Span) {
        // It fails only where spans are not sent.
        let _without = span.set_parent(Context::new().with_remote_span_context(self.0));
    }
}

/// The span of a batch, linked to those that its messages name; none unless spans are sent, so that the
/// log stays as it is.
#[must_use]
pub fn batch(callers: &[Caller], messages: usize) -> Span {
    if !on() {
        return Span::none();
    }
    let span = tracing::info_span!(target: "ingest", "store", otel.kind = "consumer");
    for caller in callers {
        span.add_link(caller.0.clone());
    }
    span.set_attribute("messaging.system", "kafka");
    let messages = i64::try_from(messages).unwrap_or(i64::MAX);
    span.set_attribute("messaging.batch.message_count", messages);
    span
}

/// Says of a span what its answer was, in the words of OpenTelemetry's conventions for HTTP servers.
pub fn describe_http(span: &Span, method: &str, route: &str, status: u16) {
    if !on() {
        return;
    }
    span.set_attribute("http.request.method", method.to_owned());
    span.set_attribute("http.route", route.to_owned());
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.set_status(Status::error(""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_taken_from_a_valid_header_only() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (header, named) in [
            (valid, true),
            ("", false),
            (
                "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                false,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                false,
            ),
            (
                "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                false,
            ),
            ("nonsense", false),
        ] {
            assert_eq!(Caller::of(header, None).is_some(), named, "{header}");
        }
        let caller = Caller::of(valid, Some("vendor=1")).unwrap();
        let span = caller.0;
        assert_eq!(span.trace_id().to_string(), &valid[3..35]);
        assert!(span.is_remote() && span.is_sampled());
    }
}
