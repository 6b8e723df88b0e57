//! The two text formats in which Prometheus reads metrics.

use std::fmt::Write as _;

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own format, for clients that do not request OpenMetrics.
    Plain,
}

impl Format {
    /// Returns the format that the header `Accept` requests.
    pub fn accepted(accept: &str) -> Self {
        let mut kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
        if kinds.any(|kind| kind == "application/openmetrics-text") { Self::OpenMetrics } else { Self::Plain }
    }

    /// Returns the value of the header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Converts OpenMetrics to the older format, in which a metric has the name of its samples.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + 256);
    let mut help = None;
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), text) => help = Some((name, text.unwrap_or_default())),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    _ => ("", kind),
                };
                if let Some((_, text)) = help.take().filter(|(helped, _)| *helped == name) {
                    let _ = writeln!(plain, "# HELP {name}{suffix} {text}");
                }
                let _ = writeln!(plain, "# TYPE {name}{suffix} {kind}");
            }
            (Some("#"), ..) => {}
            _ => {
                plain.push_str(line);
                plain.push('\n');
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_text_format_metrics_have_the_names_of_their_samples() {
        let text = "# HELP a_requests Asked.\n# TYPE a_requests counter\na_requests_total{b=\"c # d\"} 1\n# HELP a_build B.\n# TYPE a_build info\na_build_info{v=\"1\"} 1\n# HELP a_age_seconds Age.\n# TYPE a_age_seconds gauge\n# UNIT a_age_seconds seconds\na_age_seconds 0.0\n# EOF\n";
        assert_eq!(
            plain(text),
            "# HELP a_requests_total Asked.\n# TYPE a_requests_total counter\na_requests_total{b=\"c # d\"} 1\n# HELP a_build_info B.\n# TYPE a_build_info gauge\na_build_info{v=\"1\"} 1\n# HELP a_age_seconds Age.\n# TYPE a_age_seconds gauge\na_age_seconds 0.0\n"
        );
    }

    #[test]
    fn openmetrics_is_selected_for_prometheus() {
        let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(accept), Format::OpenMetrics);
        assert_eq!(Format::accepted("*/*"), Format::Plain);
        assert_eq!(Format::accepted(""), Format::Plain);
    }
}
