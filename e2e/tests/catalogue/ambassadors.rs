//! The ambassadors: what an app reaches at localhost, and the sidecar carries on.
