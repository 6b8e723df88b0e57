/// Prints a message to stderr.
pub(super) fn print_message(what: impl std::fmt::Display) {
    #[expect(clippy::print_stderr, reason = "diagnostics go to stderr")]
    {
        eprintln!("{what}");
    }
}
