use time::OffsetDateTime;

/// The reason for which certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// The Secret has no such value.
    #[error("the Secret has no {0}")]
    Missing(&'static str),
    /// The value cannot be parsed.
    #[error("{what} cannot be read: {problem}")]
    Unreadable {
        /// Key of the Secret.
        what: &'static str,
        /// Problem with its value.
        problem: String,
    },
    /// The certificate is for another name.
    #[error("the serving certificate is not for {0:?}")]
    OtherName(String),
    /// The CA did not sign the certificate.
    #[error("the authority in the Secret did not sign the serving certificate: {0}")]
    NotSigned(String),
    /// The certificate ends soon, or has ended.
    #[error("{what} ends at {end}")]
    Ends {
        /// The certificate.
        what: &'static str,
        /// End of its validity.
        end: OffsetDateTime,
    },
    /// The creation of a certificate failed.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}
