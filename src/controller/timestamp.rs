use jiff::Timestamp;

/// Returns the current time in whole seconds, as the API server stores it.
pub(super) fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
}
