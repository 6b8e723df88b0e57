//! Durations in the format of Go's `time.ParseDuration`, which Kubernetes and most sidecars use.
//!
//! See <https://pkg.go.dev/time#ParseDuration> and <https://pkg.go.dev/time#Duration.String>. ARCHITECTURE.md names the crates
//! that were weighed.

use std::fmt;
use std::str::FromStr;

/// Duration in nanoseconds; at most about 292 years in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(i64);

/// Error for a text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a duration: {problem} (write numbers with the units h m s ms us ns, such as 1h30m or 1.5s)"
)]
pub struct DurationError {
    text: String,
    problem: &'static str,
}

impl DurationError {
    /// Returns the problem without the text, which may be confidential.
    pub fn problem(&self) -> &'static str {
        self.problem
    }
}

const TOO_LARGE: &str = "it is longer than 2562047h, the most that fits";

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

impl Duration {
    /// Zero, written `0s`.
    pub const ZERO: Self = Self(0);

    /// Returns a duration of so many nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Returns the sum, if it fits.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Returns the difference, if it fits.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    /// # Errors
    /// The text is empty, a number has no digits or no unit, a unit is unknown, or the sum does not fit.
    fn from_str(text: &str) -> Result<Self, DurationError> {
        let fail = |problem| DurationError { text: text.to_owned(), problem };
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if unsigned == "0" {
            return Ok(Self::ZERO);
        }
        if unsigned.is_empty() {
            return Err(fail("it has no digits"));
        }
        let (mut rest, mut total) = (unsigned, 0_u64);
        while !rest.is_empty() {
            let part;
            (part, rest) = first_part(rest).map_err(fail)?;
            total = total.checked_add(part).ok_or_else(|| fail(TOO_LARGE))?;
        }
        let total = i128::from(total);
        i64::try_from(if negative { -total } else { total }).map(Self).map_err(|_| fail(TOO_LARGE))
    }
}

/// Returns the nanoseconds of the number and unit at the start of `text`, and the rest of the text.
fn first_part(text: &str) -> Result<(u64, &str), &'static str> {
    let (whole, after) = split_digits(text);
    let (fraction, after) = after.strip_prefix('.').map_or(("", after), split_digits);
    if whole.is_empty() && fraction.is_empty() {
        return Err("it has no digits where a number should begin");
    }
    let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
    let (unit, rest) = after.split_at(unit_end);
    let unit = match unit {
        "ns" => 1,
        // Micro sign and Greek letter mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "" => return Err("a number has no unit"),
        _ => return Err("a unit is unknown"),
    };
    let whole = if whole.is_empty() { Some(0) } else { whole.parse::<u64>().ok() };
    let nanos = whole
        .and_then(|whole| whole.checked_mul(unit))
        .and_then(|nanos| nanos.checked_add(nanos_of_fraction(fraction, unit)));
    nanos.map(|nanos| (nanos, rest)).ok_or(TOO_LARGE)
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Returns the nanoseconds of `0.<digits>` units.
///
/// Multiplies floats, like Go, so that the result is the same as in the sidecars that parse the value:
/// `0.3333333333333333333h` is twenty minutes.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the product is not negative and below one unit, at most an hour of nanoseconds"
)]
fn nanos_of_fraction(digits: &str, unit: u64) -> u64 {
    let (mut value, mut scale) = (0_u64, 1_f64);
    for digit in digits.bytes().map(|digit| u64::from(digit - b'0')) {
        // Further digits are far below a nanosecond.
        let Some(longer) = value.checked_mul(10).and_then(|value| value.checked_add(digit)) else { break };
        if longer > 1 << 63 {
            break;
        }
        value = longer;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

/// Formats like Go: `1h0m0s`, `1m30s`, `1.5s`; below a second in one smaller unit; `0s`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let text = match nanos {
            0 => "0s".to_owned(),
            1..MICROSECOND => format!("{sign}{nanos}ns"),
            MICROSECOND..MILLISECOND => format!("{sign}{}\u{b5}s", decimal(nanos, MICROSECOND)),
            MILLISECOND..SECOND => format!("{sign}{}ms", decimal(nanos, MILLISECOND)),
            SECOND..MINUTE => format!("{sign}{}s", decimal(nanos, SECOND)),
            MINUTE..HOUR => format!("{sign}{}m{}s", nanos / MINUTE, decimal(nanos % MINUTE, SECOND)),
            _ => {
                let (hours, rest) = (nanos / HOUR, nanos % HOUR);
                format!("{sign}{hours}h{}m{}s", rest / MINUTE, decimal(rest % MINUTE, SECOND))
            }
        };
        f.pad(&text)
    }
}

/// Returns `nanos / unit` with as few decimal places as possible.
fn decimal(nanos: u64, unit: u64) -> String {
    let (whole, fraction) = (nanos / unit, nanos % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let places = unit.ilog10() as usize;
    format!("{whole}.{fraction:0places$}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nanos(text: &str) -> i64 {
        text.parse::<Duration>().unwrap().nanos()
    }

    #[test]
    fn durations_are_parsed_as_in_go() {
        for (text, expected) in [
            ("0", 0),
            ("-0", 0),
            ("+0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("1h2m3.5s", 3_723_500_000_000),
            ("1.5h", 5_400_000_000_000),
            ("-1m", -60_000_000_000),
            ("+.5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("100ms", 100_000_000),
            ("1us1\u{b5}s1\u{3bc}s", 3_000),
            ("1s1h1s", 3_602_000_000_000),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("0.9223372036854775807h", 3_320_413_933_267),
            ("0.100000000000000000000h", 360_000_000_000),
            ("1.9ns", 1),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_formatted_as_in_go() {
        for (nanos, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (100_000_000, "100ms"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_600_000_000_001, "1h0m0.000000001s"),
            (-60_000_000_000, "-1m0s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(Duration::from_nanos(nanos).to_string(), expected);
        }
    }

    #[test]
    fn parse_errors_name_the_problem() {
        for (text, problem) in [
            ("", "no digits"),
            ("-", "no digits"),
            ("s", "no digits where"),
            (".s", "no digits where"),
            ("-.s", "no digits where"),
            ("--1s", "no digits where"),
            (" 1s", "no digits where"),
            ("3", "no unit"),
            ("1h30", "no unit"),
            ("1..5s", "no unit"),
            ("1d", "a unit is unknown"),
            ("1 s", "a unit is unknown"),
            ("1S", "a unit is unknown"),
            ("1h-30m", "a unit is unknown"),
            ("3000000h", "longer than"),
            ("9223372036854775808ns", "longer than"),
            ("-9223372036854775809ns", "longer than"),
            (&format!("{}s", "9".repeat(40)), "longer than"),
        ] {
            let error = text.parse::<Duration>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn overflowing_sums_are_none() {
        let second = Duration::from_nanos(1_000_000_000);
        assert_eq!(second.checked_add(second), Some("2s".parse().unwrap()));
        assert_eq!(second.checked_sub(second), Some(Duration::ZERO));
        assert_eq!(Duration::from_nanos(i64::MAX).checked_add(second), None);
        assert_eq!(Duration::from_nanos(i64::MIN).checked_sub(second), None);
    }

    proptest! {
        #[test]
        fn formatted_durations_are_parsed_back(nanos: i64, shift in 0_u32..64) {
            let duration = Duration::from_nanos(nanos >> shift);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn no_text_causes_a_panic(text in "[-+]?([0-9]{0,20}(\\.[0-9]{0,30})?[a-zµμ]{0,2}){0,4}") {
            let _ = text.parse::<Duration>();
        }
    }
}
