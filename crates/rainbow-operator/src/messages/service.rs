//! Answers about the operator's own state.

use std::time::Duration;

/// Answer while the loop turns, or another operator's does.
pub(crate) const OK: &str = "ok\n";

/// Answer while another operator leads, or none yet.
pub(crate) const OK_WAITING: &str = "ok: another operator leads, or the cluster has not answered yet\n";

/// Error of a list from which no watch can start.
pub(crate) const NO_VERSION: &str = "the API server's answer has no resourceVersion";

/// Answer while the caches are not filled yet.
pub(crate) const NOT_READ: &str = "not everything has been seen yet: are the definitions there?\n";

/// Answer to a request for another path.
pub(crate) const PATHS: &str = "there is /healthz, /readyz, /metrics\n";

/// Answer to a request that would change something.
pub(crate) const READ_ONLY: &str = "for reading only\n";

/// Answer when the loop has not turned for too long.
pub(crate) fn stuck(since: Duration) -> String {
    format!("the loop has not turned for {since:?}\n")
}
