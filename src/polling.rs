//! Polling of files for changes, and logging of each distinct error once.

use std::fmt::Display;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Interval between reads of the files. Comparing contents detects every kind of change, including the symlink swap of the
/// kubelet.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// Reads files now and every [`LOOK`], until `stop`. Errors are logged with `complaint`, and a repeated error only once.
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
            Ok(()) => failure.reset(),
            Err(error) => {
                if let Some(error) = failure.changed_message(&error) {
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

/// Error of the last attempt.
#[derive(Default)]
pub(crate) struct RepeatedFailure(String);

impl RepeatedFailure {
    /// Returns the error to log; `None` if the last attempt failed with the same error.
    pub(crate) fn changed_message(&mut self, error: &impl Display) -> Option<&str> {
        let said = format!("{error:#}");
        (said != self.0).then(|| {
            self.0 = said;
            self.0.as_str()
        })
    }

    /// Records that the last attempt succeeded.
    pub(crate) fn reset(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_failure_is_reported_once() {
        let mut failure = RepeatedFailure::default();
        assert_eq!(failure.changed_message(&"no file"), Some("no file"));
        assert_eq!(failure.changed_message(&"no file"), None);
        assert_eq!(failure.changed_message(&"no key"), Some("no key"));
        assert_eq!(failure.changed_message(&"no file"), Some("no file"));
        failure.reset();
        assert_eq!(failure.changed_message(&"no file"), Some("no file"));
    }
}
