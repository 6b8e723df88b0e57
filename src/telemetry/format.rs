//! Log lines in which no value can end the line, forge a field or move a terminal's cursor.

use std::borrow::Cow;
use std::fmt::{self, Debug, Write};

use clap::ValueEnum;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Longest value of a field, in bytes before escaping. Reviews may have names of any length: the API server calls webhooks
/// before it validates the object.
const LONGEST_VALUE: usize = 4096;

/// Keys of JSON lines besides the fields of the event.
const FIXED: [&str; 3] = ["timestamp", "level", "target"];

/// Fields of the longest event, for which the list of keys need not grow.
const MOST_FIELDS: usize = 16;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Formats events. Every value is escaped and bounded here, in one place for all events and for both formats.
pub(super) struct LineFormat(pub(super) LogFormat);

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let names = Vec::with_capacity(MOST_FIELDS);
        let mut fields = EventFields { format: self.0, names, ..EventFields::default() };
        event.record(&mut fields);
        let metadata = event.metadata();
        let target = fields.log_target.as_deref().unwrap_or_else(|| metadata.target());
        match self.0 {
            LogFormat::Text => {
                let (dim, level, plain) = if writer.has_ansi_escapes() {
                    ("\x1b[2m", color(*metadata.level()), "\x1b[0m")
                } else {
                    ("", "", "")
                };
                write!(writer, "{dim}")?;
                SystemTime.format_time(&mut writer)?;
                write!(writer, "{plain} {level}{:>5}{plain} {dim}", metadata.level().as_str())?;
                write_escaped(&mut writer, target)?;
                writeln!(writer, ":{plain} {}{}", fields.message, fields.others)
            }
            LogFormat::Json => {
                write!(writer, "{{\"timestamp\":\"")?;
                SystemTime.format_time(&mut writer)?;
                write!(writer, "\",\"level\":\"{}\"", metadata.level().as_str())?;
                if !fields.message.is_empty() {
                    write!(writer, ",\"message\":{}", fields.message)?;
                }
                write!(writer, "{},\"target\":", fields.others)?;
                write_json(&mut writer, target)?;
                writeln!(writer, "}}")
            }
        }
    }
}

fn color(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "\x1b[31m",
        tracing::Level::WARN => "\x1b[33m",
        tracing::Level::INFO => "\x1b[32m",
        tracing::Level::DEBUG => "\x1b[34m",
        tracing::Level::TRACE => "\x1b[35m",
    }
}

/// The formatted fields of one event.
#[derive(Default)]
struct EventFields {
    format: LogFormat,
    message: String,
    others: String,
    log_target: Option<String>,
    names: Vec<Cow<'static, str>>,
}

impl EventFields {
    /// Returns the key of a field: its name, with a number if the line has that key already. An event can have a field twice, or one with
    /// the name of a fixed key, and readers of JSON keep only one of two values.
    fn key(&mut self, name: &'static str) -> Cow<'static, str> {
        let is_taken = |key: &str| FIXED.contains(&key) || self.names.iter().any(|known| *known == key);
        let mut key = Cow::Borrowed(name);
        let mut count = 1;
        while is_taken(&key) {
            count += 1;
            key = Cow::Owned(format!("{name}_{count}"));
        }
        self.names.push(key.clone());
        key
    }

    /// Adds a field whose value needs no escaping.
    fn add_literal(&mut self, field: &Field, value: &dyn fmt::Display) {
        let name = self.key(field.name());
        // Writing to a string does not fail.
        let _ = match self.format {
            LogFormat::Text => write!(self.others, " {name}={value}"),
            LogFormat::Json => write!(self.others, ",\"{name}\":{value}"),
        };
    }

    fn add_text(&mut self, field: &Field, value: &str, always_quoted: bool) {
        let name = field.name();
        if name == "log.target" {
            self.log_target = Some(value.to_owned());
            return;
        }
        if name.starts_with("log.") {
            return;
        }
        if name == "message" && value.is_empty() {
            return;
        }
        let name = self.key(name);
        let _ = match (self.format, &*name) {
            (LogFormat::Text, "message") if is_bare(value) => self.message.write_str(value),
            (LogFormat::Text, "message") => write!(self.message, "{value:?}"),
            (LogFormat::Json, "message") => write_json(&mut self.message, value),
            (LogFormat::Text, _) if !always_quoted && is_plain(value) => {
                write!(self.others, " {name}={value}")
            }
            (LogFormat::Text, _) => write!(self.others, " {name}={value:?}"),
            (LogFormat::Json, _) => {
                write!(self.others, ",\"{name}\":").and_then(|()| write_json(&mut self.others, value))
            }
        };
    }
}

impl Visit for EventFields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add_literal(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add_literal(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add_literal(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut bounded = Bounded::default();
        let _ = bounded.write_str(value);
        self.add_text(field, &bounded.finish(), true);
    }

    /// Records a field given as `Debug` or, by `%value`, as `Display`; tracing does not distinguish the two here.
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut bounded = Bounded::default();
        let _ = write!(bounded, "{value:?}");
        self.add_text(field, &bounded.finish(), false);
    }
}

/// The start of a text, and the length of the omitted rest.
#[derive(Default)]
struct Bounded {
    text: String,
    left_out: usize,
}

impl Bounded {
    fn finish(mut self) -> String {
        if self.left_out > 0 {
            let _ = write!(self.text, "… ({} more bytes)", self.left_out);
        }
        self.text
    }
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = if self.left_out > 0 { 0 } else { LONGEST_VALUE.saturating_sub(self.text.len()) };
        let (kept, rest) = more.split_at(more.floor_char_boundary(room));
        self.text.push_str(kept);
        self.left_out += rest.len();
        Ok(())
    }
}

/// Returns whether a message needs no quotes: it cannot be mistaken for fields.
fn is_bare(message: &str) -> bool {
    message.chars().all(|character| is_printable(character) && !"\"=\\".contains(character))
}

/// Returns whether a value needs no quotes.
fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'=\\".contains(&byte))
}

/// Returns whether a character needs no escaping: it is not a control character, and changes neither the line nor its
/// direction.
fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~') || (!character.is_ascii() && character.escape_debug().len() == 1)
}

/// Writes an escaped text without quotes.
fn write_escaped(to: &mut impl Write, text: &str) -> fmt::Result {
    text.chars().try_for_each(|character| {
        if is_printable(character) {
            to.write_char(character)
        } else {
            write!(to, "{}", character.escape_debug())
        }
    })
}

/// Writes a text as a JSON string of printable characters only.
fn write_json(to: &mut impl Write, text: &str) -> fmt::Result {
    let string = serde_json::to_string(text).map_err(|_| fmt::Error)?;
    let mut units = [0; 2];
    string.chars().try_for_each(|character| {
        if is_printable(character) {
            return to.write_char(character);
        }
        character.encode_utf16(&mut units).iter().try_for_each(|unit| write!(to, "\\u{unit:04x}"))
    })
}

#[cfg(test)]
#[path = "../../tests/common/log_lines.rs"]
mod log_lines;

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use axum::body::Body;
    use axum::http::Request;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;
    use tracing::{info, warn};

    use super::log_lines::problem;
    use super::*;
    use crate::cluster::Snapshot;
    use crate::webhook::{State, router};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns everything that is logged during `work`.
    fn logged(format: LogFormat, work: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(LineFormat(format))
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = written.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        for line in text.lines() {
            assert_eq!(problem(line), None, "{line}");
        }
        text
    }

    const FORGED: &str = "8b1f\n2026-01-01T00:00:00Z  INFO outrigger: decided\r\u{1b}[2K\u{9b}1A\u{2028}\u{202e} outcome=\"injected\"";

    #[test]
    fn values_of_every_type_are_written_on_one_line() {
        let log = || {
            warn!(uid = %FORGED, text = FORGED, optional = Some(FORGED), list = ?[FORGED], "refused");
            info!(uid = %"7d1c-4", name = "web", count = 3_u64, is = true, "{FORGED}");
        };
        let text = logged(LogFormat::Text, log);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        for line in &lines {
            assert!(line.chars().all(is_printable), "{line}");
        }
        let (_, first) = lines[0].split_once("refused uid=\"8b1f\\n2026").unwrap();
        assert!(first.contains("outcome=\\\"injected\\\"\" text=\"8b1f\\n"), "{first}");
        assert!(lines[1].ends_with(" uid=7d1c-4 name=\"web\" count=3 is=true"), "{text}");

        let text = logged(LogFormat::Json, log);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(text.chars().all(|character| character == '\n' || is_printable(character)), "{text}");
        assert_eq!((&lines[0]["uid"], &lines[0]["text"]), (&json!(FORGED), &json!(FORGED)));
        assert_eq!(
            (&lines[1]["count"], &lines[1]["is"], &lines[1]["level"]),
            (&json!(3), &json!(true), &json!("INFO"))
        );
        assert_eq!(lines[0]["message"], "refused");
    }

    #[test]
    fn keys_are_unique() {
        let log = || {
            info!(message = "first", "second");
            info!(level = 1, timestamp = true, target = "a", error = "b", error = %"c", error_2 = "d", "decided");
            info!(error = "only a field");
        };
        let text = logged(LogFormat::Json, log);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["message"], &lines[0]["message_2"]), (&json!("second"), &json!("first")));
        assert_eq!((&lines[1]["level_2"], &lines[1]["target_2"]), (&json!(1), &json!("a")));
        assert_eq!((&lines[1]["error"], &lines[1]["error_2"]), (&json!("b"), &json!("c")));
        let text = logged(LogFormat::Text, log);
        assert!(text.contains(": second message_2=\"first\"\n"), "{text}");
        assert!(text.contains(" error=\"b\" error_2=c error_2_2=\"d\"\n"), "{text}");
    }

    #[test]
    fn a_panic_is_one_line() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, || {
                let before = std::panic::take_hook();
                std::panic::set_hook(Box::new(super::super::logs::log_panic));
                let caught = std::panic::catch_unwind(|| panic!("no\nroom"));
                std::panic::set_hook(before);
                assert!(caught.is_err());
            });
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.contains("a thread panicked") && text.contains(r"no\nroom"), "{text}");
            assert!(text.contains("src/telemetry/format.rs:"), "{text}");
        }
    }

    #[test]
    fn a_message_that_looks_like_fields_is_quoted() {
        let text = logged(LogFormat::Text, || info!(uid = "a", "decided outcome=injected"));
        assert!(text.ends_with(": \"decided outcome=injected\" uid=\"a\"\n"), "{text}");
    }

    #[test]
    fn long_values_are_truncated() {
        let long = "é".repeat(1 << 20);
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, || info!(uid = %long, name = long, "decided"));
            assert!(text.len() < 3 * LONGEST_VALUE, "{}", text.len());
            assert!(text.contains("(2093056 more bytes)"), "{}", text.len());
        }
    }

    /// Sends a review to each path, with every text in it replaced.
    fn review_everywhere(text: &str) {
        let pod = json!({ "metadata": { "name": text, "generateName": text, "annotations": { "outrigger.dev/profiles": text } } });
        let review = |kind: &str, operation: &str| {
            json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
                "uid": text, "kind": { "group": if kind.is_empty() { text } else { "" }, "version": "v1", "kind": if kind.is_empty() { text } else { kind } },
                "name": text, "namespace": text, "operation": operation, "object": pod, "oldObject": pod,
                "userInfo": { "username": text },
            } })
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let router = router(State::fixed(Snapshot::default()));
        for path in [
            "/mutate",
            "/mutate/namespace",
            "/mutate/pod",
            "/mutate/mandatory/a",
            "/verify/a",
            "/validate",
            "/advise",
        ] {
            for body in [
                review("Pod", "CREATE"),
                review("Pod", "UPDATE"),
                review("", "CREATE"),
                review("PodExecOptions", "CONNECT"),
                json!({ "apiVersion": text, "kind": text }),
            ] {
                let request = Request::post(path)
                    .header("content-type", "application/json")
                    .body(Body::from(body.to_string()))
                    .unwrap();
                runtime.block_on(router.clone().oneshot(request)).unwrap();
            }
        }
    }

    #[test]
    fn no_review_can_forge_a_log_line() {
        let text = logged(LogFormat::Text, || review_everywhere(FORGED));
        assert!(text.lines().count() > 20 && text.contains("8b1f"), "{text}");
        let own =
            text.lines().all(|line| line.contains(" outrigger::webhook::") && line.chars().all(is_printable));
        assert!(own && !text.contains("\n2026-01-01"), "{text}");
        let text = logged(LogFormat::Json, || review_everywhere(FORGED));
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line["target"].as_str().unwrap().starts_with("outrigger::webhook::"), "{line}");
        }
    }
}
