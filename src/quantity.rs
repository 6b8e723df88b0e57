//! Exact Kubernetes quantities.
//!
//! The form is that of
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>. Values are held
//! in billionths, the finest step that the form can write, so `0.1` and `100m` are the same value and
//! nothing is ever rounded through a float.

use std::str::FromStr;

/// A quantity, in billionths of its unit (cores, bytes, or a plain number).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

/// What is wrong with a text that should be a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a quantity: {problem} (write a number with one of the suffixes n u m k M G T P E Ki Mi Gi Ti Pi Ei, or none)"
)]
pub struct ParseError {
    text: String,
    problem: &'static str,
}

const NANOS: i128 = 1_000_000_000;

impl FromStr for Quantity {
    type Err = ParseError;

    /// # Errors
    /// The text has no digits, an unknown suffix, or a value beyond what Kubernetes can hold.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fail = |problem| ParseError { text: text.to_owned(), problem };
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..).unwrap_or_default()),
            Some(b'+') => (false, text.get(1..).unwrap_or_default()),
            _ => (false, text),
        };
        let number_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') {
            return Err(fail("it has two decimal points"));
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err(fail("it has no digits"));
        }
        let scale = Scale::from_suffix(suffix).ok_or_else(|| fail("its suffix is unknown"))?;
        let magnitude = scale.apply(whole, fraction).ok_or_else(|| fail("it is too large"))?;
        Ok(Self(if negative { -magnitude } else { magnitude }))
    }
}

/// What a suffix multiplies by: `base` to the power of `exponent`.
struct Scale {
    base: i128,
    exponent: i32,
}

impl Scale {
    fn from_suffix(suffix: &str) -> Option<Self> {
        let decimal = |exponent| Some(Self { base: 10, exponent });
        let binary = |exponent| Some(Self { base: 1024, exponent });
        match suffix {
            "n" => decimal(-9),
            "u" => decimal(-6),
            "m" => decimal(-3),
            "" => decimal(0),
            "k" => decimal(3),
            "M" => decimal(6),
            "G" => decimal(9),
            "T" => decimal(12),
            "P" => decimal(15),
            "E" => decimal(18),
            "Ki" => binary(1),
            "Mi" => binary(2),
            "Gi" => binary(3),
            "Ti" => binary(4),
            "Pi" => binary(5),
            "Ei" => binary(6),
            _ => decimal(suffix.strip_prefix(['e', 'E'])?.parse().ok().filter(|e| (-18..=18).contains(e))?),
        }
    }

    /// The digits times the scale, in billionths; a rest below a billionth is rounded up, as Kubernetes does.
    fn apply(&self, whole: &str, fraction: &str) -> Option<i128> {
        let digits = format!("{whole}{fraction}");
        let mut numerator: i128 =
            digits.trim_start_matches('0').parse().or_else(|e| zero_if_empty(&digits, e)).ok()?;
        numerator = numerator.checked_mul(NANOS)?;
        let mut denominator = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let factor = self.base.checked_pow(self.exponent.unsigned_abs())?;
        if self.exponent < 0 {
            denominator = denominator.checked_mul(factor)?;
        } else {
            numerator = numerator.checked_mul(factor)?;
        }
        Some(numerator.div_euclid(denominator) + i128::from(numerator.rem_euclid(denominator) > 0))
    }
}

fn zero_if_empty(digits: &str, error: std::num::ParseIntError) -> Result<i128, std::num::ParseIntError> {
    if digits.bytes().all(|b| b == b'0') { Ok(0) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> i128 {
        text.parse::<Quantity>().unwrap().0
    }

    #[test]
    fn equal_values_in_different_words() {
        for (a, b) in [
            ("0.1", "100m"),
            ("1", "1000m"),
            ("1Gi", "1024Mi"),
            ("1e3", "1k"),
            ("1E", "1e18"),
            ("+5", "5.0"),
            (".5", "500m"),
        ] {
            assert_eq!(nanos(a), nanos(b), "{a} = {b}");
        }
    }

    #[test]
    fn sums_are_exact() {
        assert_eq!(nanos("1Gi") + nanos("500M"), 1_573_741_824 * NANOS);
        assert_eq!(nanos("0"), 0);
        assert_eq!(nanos("-1m"), -1_000_000);
    }

    #[test]
    fn below_a_billionth_is_rounded_up() {
        assert_eq!(nanos("0.0000000001"), 1);
        assert_eq!(nanos("1.5n"), 2);
    }

    #[test]
    fn what_is_not_a_quantity_says_why() {
        for (text, problem) in [
            ("", "no digits"),
            ("Mi", "no digits"),
            ("1.2.3", "two decimal"),
            ("5MB", "suffix"),
            ("1 Gi", "suffix"),
            ("1e99", "suffix"),
            (&"9".repeat(40), "too large"),
        ] {
            let error = text.parse::<Quantity>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
