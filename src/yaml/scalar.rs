//! The meaning of scalars, by the rules of go-yaml 2 (`resolve.go`).

use serde_json::{Number, Value};

/// The prefix of YAML's own tags.
const TAG: &str = "tag:yaml.org,2002:";

/// Returns the value of a plain scalar.
pub(super) fn plain(text: &str) -> Value {
    let Some(first) = text.bytes().next() else { return Value::Null };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => word(text),
        b'.' => fraction(text).unwrap_or_else(|| text.into()),
        b'0'..=b'9' | b'+' | b'-' => number(text).unwrap_or_else(|| text.into()),
        _ => text.into(),
    }
}

/// Returns whether a plain scalar has a value that JSON cannot represent.
pub(super) fn is_infinite(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

fn word(text: &str) -> Value {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => true.into(),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => false.into(),
        "~" | "null" | "Null" | "NULL" => Value::Null,
        _ => text.into(),
    }
}

/// Parses a float that begins with its decimal point; Go allows underscores between its digits.
fn fraction(text: &str) -> Option<Value> {
    let bytes = text.as_bytes();
    let is_digit =
        |index: Option<usize>| index.and_then(|index| bytes.get(index)).is_some_and(u8::is_ascii_digit);
    let parts_digits =
        |(index, _): (usize, &str)| is_digit(index.checked_sub(1)) && is_digit(index.checked_add(1));
    let digits = text.replace('_', "");
    let is_number = text.match_indices('_').all(parts_digits) && is_float(&digits);
    is_number.then(|| digits.parse().ok().and_then(float)).flatten()
}

/// Parses a number in one of YAML 1.1's forms; underscores are ignored.
fn number(text: &str) -> Option<Value> {
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| is_float(&digits).then(|| digits.parse().ok().and_then(float)).flatten())
}

/// Parses an integer like Go's `ParseInt` and `ParseUint` with base 0: a leading 0 means octal.
fn integer(text: &str) -> Option<Value> {
    let (is_negative, unsigned) = match text.strip_prefix(['+', '-']) {
        Some(unsigned) => (text.starts_with('-'), unsigned),
        None => (false, text),
    };
    let (radix, digits) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, unsigned.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, unsigned.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, unsigned.get(2..)?),
        [b'0', _, ..] => (8, unsigned.get(1..)?),
        _ => (10, unsigned),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let amount = u64::from_str_radix(digits, radix).ok()?;
    if is_negative {
        return 0_i64.checked_sub_unsigned(amount).map(Into::into);
    }
    match i64::try_from(amount) {
        Ok(amount) => Some(amount.into()),
        // Go's ParseUint accepts no sign. A number of that size becomes a float when kubectl reads its own JSON.
        Err(_) if text.starts_with('+') => None,
        #[expect(clippy::cast_precision_loss, reason = "as kubectl has it")]
        Err(_) => float(amount as f64),
    }
}

/// Returns whether the text matches `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_float(text: &str) -> bool {
    let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_mantissa = !whole.is_empty() || (mantissa.starts_with('.') && !fraction.is_empty());
    has_mantissa
        && is_digits(whole)
        && is_digits(fraction)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && is_digits(exponent))
}

/// Returns a float as JSON represents it: without a fraction, it is an integer. `None` if JSON has no such number.
fn float(value: f64) -> Option<Value> {
    // 2^63: Go writes floats below 1e21 without an exponent, and reads those that fit as int64.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if value.fract() == 0.0 && value.abs() < LIMIT {
        #[expect(clippy::cast_possible_truncation, reason = "it was compared with the limits")]
        return Some((value as i64).into());
    }
    Number::from_f64(value).map(Value::Number)
}

/// Returns the value of a scalar with a tag.
///
/// # Errors
/// The tag is one of YAML's own, and the text is not of that type.
pub(super) fn tagged(tag: &str, text: &str) -> Result<Value, String> {
    let Some(kind) = tag.strip_prefix(TAG) else { return Ok(text.into()) };
    let value = plain(text);
    let fits = match kind {
        "bool" => value.is_boolean(),
        "int" => value.is_i64() && !text.contains('.'),
        "float" => value.is_number(),
        "null" => value.is_null(),
        "binary" => return binary(text),
        _ => return Ok(text.into()),
    };
    if fits { Ok(value) } else { Err(format!("{text:?} is no !!{kind}")) }
}

fn binary(text: &str) -> Result<Value, String> {
    use base64::Engine as _;
    let text: String = text.chars().filter(|letter| !matches!(letter, '\n' | '\r')).collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|_| "the value of !!binary is no base64".to_owned())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned().into())
}

/// Returns the mapping key for a scalar; JSON has only strings as keys.
///
/// # Errors
/// The scalar is null.
pub(super) fn key(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null => Err("a key is null; write it in quotes".to_owned()),
        Value::Array(_) | Value::Object(_) => Err("a key is a list or a mapping".to_owned()),
    }
}

/// Returns the mapping key for a plain scalar that is a float; go-yaml writes it with the digits of 32 bits.
pub(super) fn float_key(text: &str) -> Option<String> {
    let digits = text.replace('_', "");
    let begins = text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.'));
    if !begins || integer(&digits).is_some() || !plain(text).is_number() {
        return None;
    }
    Some(short_float(digits.parse().ok()?))
}

/// Formats a number like Go's format `g`, with the fewest digits that identify it in 32 bits.
fn short_float(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "go-yaml writes keys so")]
    let value = value as f32;
    let text = format!("{value:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}
