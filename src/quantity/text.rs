//! Parsing and formatting of quantities.

use std::fmt;
use std::iter::repeat_n;
use std::str::FromStr;

use super::{MAX_NANOS, NANOS, Quantity, SuffixKind};

/// Error for a text that is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a quantity: {problem} (write a number with one of the suffixes n u m k M G T P E Ki Mi Gi Ti Pi Ei, or none)"
)]
pub struct QuantityError {
    text: String,
    problem: &'static str,
}

impl QuantityError {
    /// Returns the problem without the text, which may be confidential.
    pub fn problem(&self) -> &'static str {
        self.problem
    }
}

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// Maximum of quantities with a binary suffix: Kubernetes silently caps only these.
const MOST_BINARY_NANOS: i128 = i64::MAX as i128 * NANOS;

impl FromStr for Quantity {
    type Err = QuantityError;

    /// Parses a quantity like the API server: fractions of a billionth are rounded away from zero, and quantities with a
    /// binary suffix are capped at 2^63-1.
    ///
    /// # Errors
    /// The text has no digits, an unknown suffix, or a value above 10^29 in magnitude.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let fail = |problem| QuantityError { text: text.to_owned(), problem };
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
        let nanos = scale.apply(whole, fraction).ok_or_else(|| fail("it is too large"))?;
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format: scale.format() })
    }
}

/// Multiplier of a suffix.
#[derive(Clone, Copy)]
enum Scale {
    /// Power of 1024.
    Binary(u32),
    /// Power of ten, given by a letter.
    Decimal(i32),
    /// Power of ten, given by a number.
    Exponent(i32),
}

impl Scale {
    fn from_suffix(suffix: &str) -> Option<Self> {
        if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
            return Some(Self::Decimal(*exponent));
        }
        if let Some(power) = (1..).zip(BINARY).find_map(|(power, name)| (name == suffix).then_some(power)) {
            return Some(Self::Binary(power));
        }
        suffix.strip_prefix(['e', 'E'])?.parse().ok().map(Self::Exponent)
    }

    fn format(self) -> SuffixKind {
        match self {
            Self::Binary(_) => SuffixKind::Binary,
            Self::Decimal(_) => SuffixKind::Decimal,
            Self::Exponent(_) => SuffixKind::Exponent,
        }
    }

    /// Returns the number times the scale, in billionths; `None` outside the range.
    fn apply(self, whole: &str, fraction: &str) -> Option<i128> {
        // Fast path: nearly all quantities are an integer with a suffix of at least a billionth.
        if let (Ok(number), "") = (whole.parse::<u64>(), fraction) {
            match self {
                Self::Binary(power) => {
                    let nanos = i128::from(number).checked_mul(NANOS * 1024_i128.pow(power));
                    return Some(nanos.unwrap_or(MOST_BINARY_NANOS).min(MOST_BINARY_NANOS));
                }
                Self::Decimal(exponent) => {
                    let factor = 10_i128.pow(u32::try_from(exponent + 9).ok()?);
                    return i128::from(number).checked_mul(factor).filter(|nanos| *nanos <= MAX_NANOS);
                }
                Self::Exponent(_) => {}
            }
        }
        let digits = format!("{whole}{fraction}");
        let point = i64::try_from(whole.len()).ok()?;
        match self {
            Self::Binary(power) => {
                let factor = NANOS * 1024_i128.pow(power);
                Some(nanos_up(&digits, point, factor).unwrap_or(MOST_BINARY_NANOS).min(MOST_BINARY_NANOS))
            }
            // Billionths shift the decimal point by nine places, which cannot overflow, unlike a multiplication.
            Self::Decimal(exponent) | Self::Exponent(exponent) => {
                nanos_up(&digits, point.checked_add(i64::from(exponent))?.checked_add(9)?, 1)
                    .filter(|nanos| *nanos <= MAX_NANOS)
            }
        }
    }
}

/// Returns `digits` with a decimal point before the one at `point`, times `factor`, rounded up.
fn nanos_up(digits: &str, point: i64, factor: i128) -> Option<i128> {
    let values = || digits.bytes().map(|digit| i128::from(digit - b'0'));
    if values().all(|digit| digit == 0) {
        return Some(0);
    }
    let places = usize::try_from(point.max(0)).ok()?;
    // A hundred zeros exceed any range, so an exponent of millions is no more expensive.
    let zeros = places.saturating_sub(digits.len()).min(100);
    let whole = values()
        .take(places)
        .chain(repeat_n(0, zeros))
        .try_fold(0_i128, |whole, digit| whole.checked_mul(10)?.checked_add(digit * factor))?;
    let (fraction, inexact) = values().skip(places).collect::<Vec<_>>().into_iter().rev().fold(
        (0, false),
        |(fraction, inexact), digit| {
            let tenfold = digit * factor + fraction;
            (tenfold / 10, inexact || tenfold % 10 != 0)
        },
    );
    whole.checked_add(fraction)?.checked_add(i128::from(inexact))
}

/// Serializes as text, like the API server.
impl serde::Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Formats the canonical form: no fraction, no loss, and the largest suffix of the quantity's own kind.
///
/// As in Kubernetes, a binary quantity with a fraction, or below 1Ki in magnitude, is written in decimal form. So is one above
/// 2^63-1, which would be capped when it is parsed again.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary =
            self.nanos % NANOS == 0 && (1024 * NANOS..=MOST_BINARY_NANOS).contains(&self.nanos.abs());
        let text = match self.format {
            SuffixKind::Binary if binary => binary_text(self.nanos / NANOS),
            format => decimal_text(self.nanos, format),
        };
        f.pad(&text)
    }
}

fn binary_text(mut mantissa: i128) -> String {
    let mut suffix = "";
    for larger in BINARY {
        if mantissa % 1024 != 0 {
            break;
        }
        mantissa /= 1024;
        suffix = larger;
    }
    format!("{mantissa}{suffix}")
}

fn decimal_text(mut mantissa: i128, format: SuffixKind) -> String {
    if mantissa == 0 {
        return "0".to_owned();
    }
    let mut exponent = -9;
    while mantissa % 1000 == 0 {
        mantissa /= 1000;
        exponent += 3;
    }
    match DECIMAL.iter().find(|(_, of_suffix)| *of_suffix == exponent) {
        Some((suffix, _)) if format != SuffixKind::Exponent || exponent == 0 => format!("{mantissa}{suffix}"),
        _ => format!("{mantissa}e{exponent}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn different_texts_can_have_equal_values() {
        for (a, b) in [
            ("0.1", "100m"),
            ("1", "1000m"),
            ("1Gi", "1024Mi"),
            ("1e3", "1k"),
            ("1E", "1e18"),
            ("+5", "5.0"),
            ("5.", "5"),
            (".5", "500m"),
            ("0e99", "0"),
            ("1e+3", "1000"),
            ("0.1e20", "1e19"),
        ] {
            assert_eq!(quantity(a), quantity(b), "{a} = {b}");
        }
    }

    #[test]
    fn the_canonical_form_is_that_of_kubernetes() {
        for (text, canonical) in [
            ("0.0", "0"),
            ("0Mi", "0"),
            ("64Mi", "64Mi"),
            ("1.5Gi", "1536Mi"),
            ("1024Ki", "1Mi"),
            ("0.5Ki", "512"),
            ("1025Ki", "1025Ki"),
            ("1.0001Ki", "1024102400u"),
            ("-1.5Gi", "-1536Mi"),
            ("1536", "1536"),
            ("1.5", "1500m"),
            ("0.05", "50m"),
            ("0.0005", "500u"),
            ("1500M", "1500M"),
            ("1000", "1k"),
            ("1e3", "1e3"),
            ("12345e-4", "1234500e-6"),
            ("1000E", "1e21"),
            ("100E", "100E"),
        ] {
            assert_eq!(quantity(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn values_below_a_billionth_are_rounded_away_from_zero() {
        for (text, nanos) in [
            ("0.0000000001", 1),
            ("1.5n", 2),
            ("-1.5n", -2),
            ("1e-99", 1),
            ("1e-2147483648", 1),
            ("-0.1n", -1),
        ] {
            assert_eq!(quantity(text).nanos(), nanos, "{text}");
        }
    }

    #[test]
    fn long_fractions_are_exact() {
        let third = format!("0.{}", "3".repeat(60));
        assert_eq!(quantity(&third).nanos(), 333_333_334);
        assert_eq!(quantity(&format!("{third}Gi")).nanos(), 357_913_941_333_333_334);
    }

    #[test]
    fn binary_suffixes_are_limited_to_the_largest_integer() {
        assert_eq!(quantity("8Ei").as_integer(), Some(i64::MAX));
        assert_eq!(quantity("-8Ei").as_integer(), Some(-i64::MAX));
        assert_eq!(quantity(&format!("{}Ei", "9".repeat(40))).as_integer(), Some(i64::MAX));
    }

    #[test]
    fn parse_errors_name_the_problem() {
        for (text, problem) in [
            ("", "no digits"),
            ("-", "no digits"),
            (".", "no digits"),
            ("Mi", "no digits"),
            ("1.2.3", "two decimal"),
            ("5MB", "suffix"),
            ("1 Gi", "suffix"),
            ("1K", "suffix"),
            ("1mi", "suffix"),
            ("1e", "suffix"),
            ("1e1.5", "suffix"),
            ("--1", "no digits"),
            ("0x10", "suffix"),
            ("１", "no digits"),
            ("1e99", "too large"),
            ("1e2147483647", "too large"),
            ("100000000000.1E", "too large"),
            (&"9".repeat(40), "too large"),
        ] {
            let error = text.parse::<Quantity>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn formatted_quantities_are_parsed_back(nanos in -MAX_NANOS..=MAX_NANOS, shift in 0_u32..120, form in 0..3) {
            let format = [SuffixKind::Binary, SuffixKind::Decimal, SuffixKind::Exponent][usize::try_from(form).unwrap()];
            let quantity = Quantity { nanos: nanos >> shift, format };
            let whole = Quantity { nanos: quantity.nanos / NANOS * NANOS, format };
            for quantity in [quantity, whole] {
                prop_assert_eq!(quantity.to_string().parse(), Ok(quantity), "{}", quantity);
            }
        }

        #[test]
        fn no_text_causes_a_panic(text in "[-+]?[0-9.]{0,50}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,12}") {
            let _ = text.parse::<Quantity>();
        }
    }
}
