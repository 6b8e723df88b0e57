//! Flags of `outrigger serve` for traces.

use axum::http::Uri;
use clap::Args;

use crate::telemetry::Traces;

/// The destination of traces.
#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    /// OpenTelemetry collector for a span of each request, by OTLP over HTTP, as `http://HOST:4318`
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    otlp_endpoint: Option<Uri>,
    /// Share of traced requests, from 0 to 1, where the API server's sampling does not decide
    #[arg(long, value_name = "RATIO", default_value = "1", value_parser = ratio, requires = "otlp_endpoint")]
    trace_sample: f64,
}

impl TraceArgs {
    /// Starts tracing if an endpoint is set.
    ///
    /// # Errors
    /// The endpoint cannot be used for OTLP.
    pub(super) fn start(&self) -> anyhow::Result<Traces> {
        match &self.otlp_endpoint {
            Some(endpoint) => Traces::start(endpoint, self.trace_sample),
            None => Ok(Traces::default()),
        }
    }
}

fn endpoint(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("it is no URL: {error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(uri),
        (Some("https"), _) => {
            Err("only http:// is spoken; name a collector in the cluster, which forwards by TLS".to_owned())
        }
        _ => Err("write http://HOST:PORT, as in http://collector.monitoring:4318".to_owned()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("it is not between 0 and 1".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_endpoint_is_rejected_with_the_expected_form() {
        assert!(endpoint("http://collector.monitoring:4318").is_ok());
        assert!(endpoint("https://collector:4318").unwrap_err().contains("only http://"));
        for wrong in ["collector:4318", "grpc://collector:4317", "/v1/traces", ""] {
            let error = endpoint(wrong).unwrap_err();
            assert!(error.contains("http://HOST:PORT") || error.contains("no URL"), "{wrong}: {error}");
        }
        assert_eq!((ratio("0.25"), ratio("1.5").is_err(), ratio("NaN").is_err()), (Ok(0.25), true, true));
    }
}
