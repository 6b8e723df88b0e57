//! Exact Kubernetes quantities.
//!
//! The format is that of <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>. Values are stored
//! in billionths, the smallest unit of the format, so `0.1` and `100m` are the same value and nothing is rounded through a
//! float. A quantity keeps the kind of its suffix, so that a sum of `Mi` is written in `Mi` again; equality, order and hash
//! depend only on the value.
//!
//! ARCHITECTURE.md tells why it is not `kube_quantity`.

mod text;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

pub use text::QuantityError;

/// Quantity of cores, bytes, or a plain number; at most 10^29 in magnitude.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: SuffixKind,
}

/// Kind of a quantity's suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SuffixKind {
    /// `Ki`, `Mi`, `Gi` …
    Binary,
    /// `m`, none, `k`, `M` …
    Decimal,
    /// `e3`, `e6` …
    Exponent,
}

const NANOS: i128 = 1_000_000_000;

/// Multiple of every unit of the format, so that rounding up cannot exceed the range.
const MAX_NANOS: i128 = 10_i128.pow(38);

impl Quantity {
    /// Zero, written `0`.
    pub const ZERO: Self = Self { nanos: 0, format: SuffixKind::Decimal };

    /// Returns an integer as a quantity in decimal form.
    pub const fn from_integer(integer: i64) -> Self {
        Self { nanos: integer as i128 * NANOS, format: SuffixKind::Decimal }
    }

    /// Returns the value in billionths of its unit.
    pub const fn nanos(self) -> i128 {
        self.nanos
    }

    /// Returns the value, if it is an integer and fits.
    pub fn as_integer(self) -> Option<i64> {
        (self.nanos % NANOS == 0).then(|| i64::try_from(self.nanos / NANOS).ok()).flatten()
    }

    /// Checks whether the value is below zero.
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Checks whether the value is zero.
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Returns the sum, in the form of the left operand (as in Kubernetes: of the right one if the left is zero); `None` above
    /// 10^29.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.form_of_sum(other).with_nanos(self.nanos.checked_add(other.nanos)?)
    }

    /// Returns the difference, in the form of the left operand (of the right one if the left is zero); `None` below -10^29.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.form_of_sum(other).with_nanos(self.nanos.checked_sub(other.nanos)?)
    }

    /// Returns the sum, which saturates at 10^29 in magnitude.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        let nanos = self.nanos.saturating_add(other.nanos).clamp(-MAX_NANOS, MAX_NANOS);
        Self { nanos, ..self.form_of_sum(other) }
    }

    /// Returns `self * numerator / denominator`, computed exactly and then rounded away from zero to a billionth. `None` if
    /// the denominator is zero or the result exceeds 10^29 in magnitude; intermediate results cannot overflow.
    #[must_use]
    pub fn checked_mul_ratio(self, numerator: i128, denominator: i128) -> Option<Self> {
        let negative = self.is_negative() ^ (numerator < 0) ^ (denominator < 0);
        let magnitude =
            mul_div_up(self.nanos.unsigned_abs(), numerator.unsigned_abs(), denominator.unsigned_abs())?;
        let magnitude = i128::try_from(magnitude).ok()?;
        self.with_nanos(if negative { -magnitude } else { magnitude })
    }

    /// Rounds away from zero to a multiple of `step_nanos`, like Kubernetes. `None` if the step is not above zero or the
    /// result exceeds 10^29 in magnitude.
    #[must_use]
    pub fn round_up_to(self, step_nanos: i128) -> Option<Self> {
        if step_nanos <= 0 {
            return None;
        }
        let rest = self.nanos % step_nanos;
        if rest == 0 {
            return Some(self);
        }
        self.with_nanos((self.nanos - rest).checked_add(step_nanos * rest.signum())?)
    }

    /// Rounds away from zero to thousandths: the smallest unit of `cpu`.
    #[must_use]
    pub fn ceil_milli(self) -> Self {
        self.round_up_to(NANOS / 1000).unwrap_or(self)
    }

    /// Rounds away from zero to an integer: the smallest unit of `memory`, in bytes.
    #[must_use]
    pub fn ceil(self) -> Self {
        self.round_up_to(NANOS).unwrap_or(self)
    }

    fn with_nanos(self, nanos: i128) -> Option<Self> {
        (nanos.unsigned_abs() <= MAX_NANOS.unsigned_abs()).then_some(Self { nanos, ..self })
    }

    fn form_of_sum(self, other: Self) -> Self {
        if self.is_zero() { other } else { self }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

/// Returns `a * b / divisor`, rounded up; `None` if `divisor` is zero or the result does not fit.
///
/// The product itself need not fit: quotient and remainder are computed bit by bit, so `1Ti` times a ratio of seventeen digits
/// is exact.
fn mul_div_up(a: u128, b: u128, divisor: u128) -> Option<u128> {
    // A remainder is below the divisor, and twice a remainder must fit.
    if divisor == 0 || divisor > 1 << 127 {
        return None;
    }
    let (quotient_of_a, rest_of_a) = (a / divisor, a % divisor);
    let (mut quotient, mut rest) = (0_u128, 0_u128);
    for bit in (0..u128::BITS - b.leading_zeros()).rev() {
        (quotient, rest) = carry(quotient.checked_mul(2)?, rest * 2, divisor)?;
        if b >> bit & 1 == 1 {
            (quotient, rest) = carry(quotient.checked_add(quotient_of_a)?, rest + rest_of_a, divisor)?;
        }
    }
    quotient.checked_add(u128::from(rest > 0))
}

fn carry(quotient: u128, rest: u128, divisor: u128) -> Option<(u128, u128)> {
    if rest < divisor { Some((quotient, rest)) } else { Some((quotient.checked_add(1)?, rest - divisor)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn sums_are_exact_and_have_the_form_of_the_first_operand() {
        for (a, b, sum) in [
            ("64Mi", "1Gi", "1088Mi"),
            ("1Gi", "500M", "1573741824"),
            ("500M", "1Gi", "1573741824"),
            ("0", "64Mi", "64Mi"),
            ("500M", "1G", "1500M"),
            ("50m", "0.95", "1"),
            ("1Gi", "-1Gi", "0"),
        ] {
            assert_eq!(quantity(a).checked_add(quantity(b)).unwrap().to_string(), sum, "{a} + {b}");
        }
    }

    #[test]
    fn differences_are_exact() {
        assert_eq!(quantity("1Gi").checked_sub(quantity("64Mi")).unwrap().to_string(), "960Mi");
        assert_eq!(quantity("1").checked_sub(quantity("1500m")).unwrap().to_string(), "-500m");
    }

    #[test]
    fn comparisons_ignore_the_form() {
        assert_eq!(quantity("1Ki"), quantity("1024"));
        assert!(quantity("1Ki") > quantity("1k"));
        let set = std::collections::HashSet::from([quantity("1Ki"), quantity("1024")]);
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn ratios_are_exact_and_rounded_away_from_zero() {
        for (value, numerator, denominator, result) in [
            ("64Mi", 3, 2, "96Mi"),
            ("1", 1, 3, "333333334n"),
            ("-1", 1, 3, "-333333334n"),
            ("1", -1, 3, "-333333334n"),
            ("1", -1, -4, "250m"),
            ("0", 5, 7, "0"),
            ("1Ti", 12_345_678_901_234_567, 12_345_678_901_234_567, "1Ti"),
            ("100000000000E", i128::MAX, i128::MAX, "100e27"),
        ] {
            let got = quantity(value).checked_mul_ratio(numerator, denominator).unwrap();
            assert_eq!(got.to_string(), result, "{value} * {numerator} / {denominator}");
        }
        assert_eq!(quantity("1").checked_mul_ratio(1, 0), None);
        assert_eq!(quantity("1E").checked_mul_ratio(1_000_000_000_000, 1), None);
    }

    #[test]
    fn values_are_rounded_up_to_the_step() {
        assert_eq!(quantity("333333334n").ceil_milli(), quantity("334m"));
        assert_eq!(quantity("-333333334n").ceil_milli(), quantity("-334m"));
        assert_eq!(quantity("334m").ceil_milli(), quantity("334m"));
        assert_eq!(quantity("0.1").ceil(), quantity("1"));
        assert_eq!(quantity("100000000000E").ceil(), quantity("100000000000E"));
        assert_eq!(quantity("5").round_up_to(4 * NANOS), Some(quantity("8")));
        assert_eq!(quantity("5").round_up_to(0), None);
        assert_eq!(quantity("5").round_up_to(i128::MAX), None);
    }

    #[test]
    fn only_whole_values_are_integers() {
        assert_eq!(quantity("1Ki").as_integer(), Some(1024));
        assert_eq!(quantity("-3000m").as_integer(), Some(-3));
        assert_eq!(quantity("1500m").as_integer(), None);
        assert_eq!(quantity("10E").as_integer(), None);
        assert_eq!(Quantity::from_integer(i64::MIN).as_integer(), Some(i64::MIN));
        assert!(Quantity::from_integer(-1).is_negative() && Quantity::ZERO.is_zero());
    }

    #[test]
    fn values_beyond_the_range_are_none() {
        let most = quantity("100000000000E");
        assert_eq!(most.checked_add(quantity("1n")), None);
        assert_eq!(most.saturating_add(most), most);
        assert_eq!(Quantity::ZERO.checked_sub(most).unwrap().checked_sub(quantity("1n")), None);
    }

    proptest! {
        #[test]
        fn ratios_are_those_of_plain_arithmetic(a: i32, b: i32, c in 1..i32::MAX) {
            let product = i128::from(a) * NANOS * i128::from(b);
            let up = product / i128::from(c) + (product % i128::from(c)).signum();
            let got = Quantity::from_integer(a.into()).checked_mul_ratio(b.into(), c.into());
            prop_assert_eq!(got.map(Quantity::nanos), Some(up));
        }
    }
}
