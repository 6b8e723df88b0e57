//! OpenTelemetry traces: a span for each request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};

use super::verdict::Verdict;

/// Time limit for one export.
const DELIVERY: Duration = Duration::from_secs(5);
/// Time limit for the export of the last spans at shutdown.
const FAREWELL: Duration = Duration::from_secs(3);
/// Maximum size of a collector's response, in bytes.
const ANSWER: usize = 64 * 1024;
/// Longest value from a client, in bytes.
const LONGEST_VALUE: usize = 256;

tokio::task_local! {
    /// Span of the current request.
    static CURRENT: Mutex<Span>;
}

/// Exporter of traces; does nothing unless started. Clones share one state.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Started>>);

struct Started {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    parents: TraceContextPropagator,
}

impl Traces {
    /// Sends traces to a collector, by OTLP over HTTP. `sample` is the share of requests that are traced if the caller has made
    /// no sampling decision.
    ///
    /// # Errors
    /// The endpoint cannot be used for OTLP.
    pub fn start(endpoint: &Uri, sample: f64) -> anyhow::Result<Self> {
        let client = Delivery {
            client: Client::builder(TokioExecutor::new()).build_http(),
            runtime: tokio::runtime::Handle::try_current()
                .context("no runtime for the delivery of traces")?,
        };
        let path = endpoint.path().trim_end_matches('/');
        let path = if path.is_empty() { "/v1/traces" } else { path };
        let authority = endpoint.authority().context("the endpoint of traces has no host")?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(format!("http://{authority}{path}"))
            .with_timeout(DELIVERY)
            .build()?;
        let host = std::env::var("HOSTNAME").unwrap_or_default();
        let resource = Resource::builder()
            .with_service_name("outrigger")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", host))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample))))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("outrigger");
        Ok(Self(Some(Arc::new(Started { provider, tracer, parents: TraceContextPropagator::new() }))))
    }

    /// Returns whether traces are exported.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Exports the remaining spans and stops.
    pub async fn stop(self) {
        let Some(started) = self.0 else { return };
        let ended = tokio::task::spawn_blocking(move || started.provider.shutdown_with_timeout(FAREWELL));
        if let Ok(Err(error)) = ended.await {
            tracing::warn!(%error, "failed to export the last traces");
        }
    }
}

/// Answers a request within a span. The caller may name its parent in the header `traceparent`.
pub(crate) async fn traced(State(traces): State<Traces>, request: Request, next: Next) -> Response {
    // The kubelet's probes would be most of the recorded spans.
    let Some(started) = traces.0.as_ref().filter(|_| request.method() == Method::POST) else {
        return next.run(request).await;
    };
    let parent = started.parents.extract_with_context(&Context::new(), &Headers(request.headers()));
    let name = format!("{} {}", request.method(), bounded(request.uri().path()));
    let attributes = [
        KeyValue::new("http.request.method", request.method().to_string()),
        KeyValue::new("url.path", bounded(request.uri().path())),
    ];
    let span = started.tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes);
    let span = span.start_with_context(&started.tracer, &parent);
    CURRENT
        .scope(Mutex::new(span), async move {
            let response = next.run(request).await;
            let status = response.status();
            with_current(|span| {
                span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
                if status.is_server_error() {
                    span.set_status(Status::error(status.to_string()));
                }
                span.end();
            });
            response
        })
        .await
}

/// Records a request's UID and namespace in its span.
pub(crate) fn trace_request(uid: &str, namespace: &str, is_dry_run: bool) {
    with_current(|span| {
        span.set_attribute(KeyValue::new("outrigger.uid", bounded(uid)));
        span.set_attribute(KeyValue::new("k8s.namespace.name", bounded(namespace)));
        span.set_attribute(KeyValue::new("outrigger.dry_run", is_dry_run));
    });
}

/// Records the result of a request in its span.
pub(super) fn trace_verdict(verdict: &Verdict) {
    with_current(|span| {
        span.set_attribute(KeyValue::new("outrigger.webhook", verdict.webhook));
        span.set_attribute(KeyValue::new("outrigger.outcome", verdict.outcome));
        span.set_attribute(KeyValue::new("outrigger.reason", verdict.reason));
    });
}

/// Records the injected profiles in the request's span.
pub(crate) fn trace_profiles(profiles: impl FnOnce() -> String) {
    with_current(|span| span.set_attribute(KeyValue::new("outrigger.profiles", profiles())));
}

/// Returns a text from a client, cut to a limit: spans wait in memory until they are exported.
fn bounded(text: &str) -> String {
    text.get(..text.floor_char_boundary(LONGEST_VALUE)).unwrap_or_default().to_owned()
}

fn with_current(write: impl FnOnce(&mut Span)) {
    // Without traces there is no current span.
    let _ = CURRENT.try_with(|span| {
        let mut span = span.lock().unwrap_or_else(PoisonError::into_inner);
        if span.is_recording() {
            write(&mut span);
        }
    });
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

/// The HTTP client of the exporter. The SDK calls it from its own thread, so the work is handed to the runtime.
#[derive(Debug)]
struct Delivery {
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: tokio::runtime::Handle,
}

#[async_trait]
impl HttpClient for Delivery {
    async fn send_bytes(
        &self,
        request: axum::http::Request<Bytes>,
    ) -> Result<axum::http::Response<Bytes>, HttpError> {
        let client = self.client.clone();
        // A Tokio timer panics outside of the runtime, so the time limit is created inside.
        let sent = self.runtime.spawn(async move {
            let delivery = async {
                let answer = client.request(request.map(Full::new)).await?;
                let (head, body) = answer.into_parts();
                let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
                Ok::<_, HttpError>(axum::http::Response::from_parts(head, body))
            };
            tokio::time::timeout(DELIVERY, delivery).await?
        });
        sent.await?
    }
}
