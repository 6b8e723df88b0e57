//! What is tried again and again: files that may have changed, and what failed and may fail in the same way.

use std::fmt::Display;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often files are read: a look at their contents finds every way of changing them, the kubelet's exchange of a link
/// among them.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// Looks at files now and every [`LOOK`], until `stop`. What goes wrong is logged with `complaint`, as long as it stays the
/// same only once.
///
/// # Errors
/// None.
pub(crate) async fn follow_files(
    complaint: &'static str,
    mut look: impl FnMut() -> anyhow::Result<()>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut failure = RepeatedFailure::default();
    loop {
        match look() {
            Ok(()) => failure.is_over(),
            Err(error) => {
                if let Some(error) = failure.news(&error) {
                    warn!(error, "{complaint}");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// What failed at the last try.
#[derive(Default)]
pub(crate) struct RepeatedFailure(String);

impl RepeatedFailure {
    /// What is to be said of it; nothing where the last try failed in the same way.
    pub(crate) fn news(&mut self, error: &impl Display) -> Option<&str> {
        let said = format!("{error:#}");
        (said != self.0).then(|| {
            self.0 = said;
            self.0.as_str()
        })
    }

    /// The last try did not fail.
    pub(crate) fn is_over(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_news_until_it_comes_again() {
        let mut failure = RepeatedFailure::default();
        assert_eq!(failure.news(&"no file"), Some("no file"));
        assert_eq!(failure.news(&"no file"), None);
        assert_eq!(failure.news(&"no key"), Some("no key"));
        assert_eq!(failure.news(&"no file"), Some("no file"));
        failure.is_over();
        assert_eq!(failure.news(&"no file"), Some("no file"));
    }
}
