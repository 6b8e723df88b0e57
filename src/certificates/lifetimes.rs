use time::Duration;

use crate::duration;

/// The lifetimes of the certificates that the server creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    authority: Duration,
    certificate: Duration,
}

/// The reason for which lifetimes are invalid.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LifetimesError {
    /// The lifetime of certificates leaves no time for a renewal, or its end cannot be encoded in a certificate.
    #[error("--certificate-lifetime {0} is not between {LEAST} and {MOST}")]
    Certificate(duration::Duration),
    /// The lifetime of the CA has the same problem.
    #[error("--ca-lifetime {0} is longer than {MOST}")]
    Authority(duration::Duration),
    /// The CA would end before its certificates.
    #[error("--ca-lifetime {authority} is less than twice --certificate-lifetime {certificate}")]
    TooClose {
        /// Lifetime of the CA.
        authority: duration::Duration,
        /// Lifetime of a certificate.
        certificate: duration::Duration,
    },
}

/// Minimum lifetime. A third of it is the time in which every replica must load the next certificate.
const LEAST: duration::Duration = duration::Duration::from_nanos(10 * 1_000_000_000);
/// Maximum lifetime: a hundred years.
const MOST: duration::Duration = duration::Duration::from_nanos(876_000 * 3600 * 1_000_000_000);

impl Lifetimes {
    /// The default lifetimes: ten years for the CA, and 90 days for certificates.
    pub const DEFAULT: Self = Self { authority: Duration::days(3650), certificate: Duration::days(90) };

    /// Checks lifetimes.
    ///
    /// # Errors
    /// They are too short, too long, or too close to each other.
    pub fn new(
        authority: duration::Duration,
        certificate: duration::Duration,
    ) -> Result<Self, LifetimesError> {
        if certificate < LEAST || certificate > MOST {
            return Err(LifetimesError::Certificate(certificate));
        }
        if authority > MOST {
            return Err(LifetimesError::Authority(authority));
        }
        if certificate.checked_add(certificate).is_none_or(|twice| authority < twice) {
            return Err(LifetimesError::TooClose { authority, certificate });
        }
        Ok(Self {
            authority: Duration::nanoseconds(authority.nanos()),
            certificate: Duration::nanoseconds(certificate.nanos()),
        })
    }

    /// Returns the lifetime of a CA.
    pub fn authority(self) -> Duration {
        self.authority
    }

    /// Returns the lifetime of a serving certificate.
    pub fn certificate(self) -> Duration {
        self.certificate
    }

    #[cfg(test)]
    pub(super) fn from_seconds(authority: i64, certificate: i64) -> Self {
        Self { authority: Duration::seconds(authority), certificate: Duration::seconds(certificate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_leave_time_for_a_renewal() {
        let of = |authority: &str, certificate: &str| {
            Lifetimes::new(authority.parse().unwrap(), certificate.parse().unwrap())
        };
        assert_eq!(of("87600h", "2160h").unwrap(), Lifetimes::DEFAULT);
        of("20s", "10s").unwrap();
        for (authority, certificate, said) in [
            ("1h", "9s", "--certificate-lifetime 9s is not between 10s and 876000h0m0s"),
            ("1h", "-1h", "--certificate-lifetime -1h0m0s is not between 10s and 876000h0m0s"),
            ("876001h", "1h", "--ca-lifetime 876001h0m0s is longer than 876000h0m0s"),
            ("1h", "31m", "--ca-lifetime 1h0m0s is less than twice --certificate-lifetime 31m0s"),
        ] {
            assert_eq!(of(authority, certificate).unwrap_err().to_string(), said);
        }
    }
}
