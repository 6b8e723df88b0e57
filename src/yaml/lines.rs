/// Returns the number of line feeds in a text.
pub(super) fn lines(text: &str) -> u64 {
    u64::try_from(text.matches('\n').count()).unwrap_or(u64::MAX)
}
