//! Serialization of values as YAML that kubectl reads as the same values.

use libyaml_safer::{Emitter, Event, MappingStyle, ScalarStyle, SequenceStyle};
use serde_json::Value;

use super::scalar;

/// Writes a value as a document, in block style, without a separator.
///
/// # Errors
/// The emitter fails; no such JSON value is known.
pub(crate) fn write(value: &Value) -> Result<String, libyaml_safer::Error> {
    let mut bytes = Vec::new();
    {
        let mut emitter = Emitter::new();
        emitter.set_output_string(&mut bytes);
        emitter.set_unicode(true);
        // Long lines are not folded, so diffs stay readable.
        emitter.set_width(-1);
        emitter.emit(Event::stream_start(libyaml_safer::Encoding::Utf8))?;
        emitter.emit(Event::document_start(None, &[], true))?;
        emit(&mut emitter, value)?;
        emitter.emit(Event::document_end(true))?;
        emitter.emit(Event::stream_end())?;
        emitter.flush()?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn emit(emitter: &mut Emitter<'_>, value: &Value) -> Result<(), libyaml_safer::Error> {
    match value {
        Value::Null => plain(emitter, "null"),
        Value::Bool(value) => plain(emitter, if *value { "true" } else { "false" }),
        Value::Number(number) => plain(emitter, &number.to_string()),
        Value::String(text) => string(emitter, text),
        Value::Array(items) => {
            let style = if items.is_empty() { SequenceStyle::Flow } else { SequenceStyle::Block };
            emitter.emit(Event::sequence_start(None, None, true, style))?;
            items.iter().try_for_each(|item| emit(emitter, item))?;
            emitter.emit(Event::sequence_end())
        }
        Value::Object(fields) => {
            let style = if fields.is_empty() { MappingStyle::Flow } else { MappingStyle::Block };
            emitter.emit(Event::mapping_start(None, None, true, style))?;
            for (key, value) in fields {
                string(emitter, key)?;
                emit(emitter, value)?;
            }
            emitter.emit(Event::mapping_end())
        }
    }
}

fn plain(emitter: &mut Emitter<'_>, text: &str) -> Result<(), libyaml_safer::Error> {
    emitter.emit(Event::scalar(None, None, text, true, false, ScalarStyle::Plain))
}

/// Writes a string, in quotes if it would otherwise be a number, a boolean, null or a merge key.
fn string(emitter: &mut Emitter<'_>, text: &str) -> Result<(), libyaml_safer::Error> {
    let is_itself = scalar::plain(text) == *text && !scalar::is_infinite(text) && !matches!(text, "<<" | "=");
    let style = match text {
        text if text.contains('\n') => block_style(text),
        _ if is_itself => ScalarStyle::Plain,
        _ => ScalarStyle::DoubleQuoted,
    };
    emitter.emit(Event::scalar(None, None, text, is_itself, true, style))
}

/// Returns the style of a multi-line text: a block, unless that could be read as a different text.
fn block_style(text: &str) -> ScalarStyle {
    let is_safe = |line: &str| {
        !line.ends_with([' ', '\t']) && !line.contains(['\t', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
    };
    if text.lines().all(is_safe)
        && !text.starts_with([' ', '\n'])
        && text.trim_end_matches('\n').len() + 1 >= text.len()
    {
        ScalarStyle::Literal
    } else {
        ScalarStyle::DoubleQuoted
    }
}
