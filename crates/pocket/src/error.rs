//! Errors of starting or stopping the local cluster.

use std::{io, path::PathBuf, time::Duration};

/// Reason for which the local cluster cannot be started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No environment variable names a state directory.
    #[error("no directory for the cluster's state: set RAINBOW_HOME, XDG_STATE_HOME or HOME")]
    NoHome,
    /// State directory whose path is relative or not UTF-8.
    #[error("the state directory {0:?} must have an absolute path in UTF-8: set RAINBOW_HOME")]
    BadPath(PathBuf),
    /// Disk of the state directory that is full.
    #[error("no space left on the disk of {}: free some space and try again", .0.display())]
    DiskFull(PathBuf),
    /// File that cannot be used.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// Operation that failed: `write`.
        what: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Daemon that could not start.
    #[error("the cluster cannot start: {message}{}", tail(log_tail, log))]
    Failed {
        /// Reason, as far as the daemon could report it.
        message: String,
        /// Last lines of the log.
        log_tail: String,
        /// Path of the log.
        log: PathBuf,
    },
    /// Daemon that was not ready in time.
    #[error("the cluster is not ready after {} s (last step: {step}){}", after.as_secs(), tail(log_tail, log))]
    Timeout {
        /// Time that was waited.
        after: Duration,
        /// Last step that the daemon reported.
        step: String,
        /// Last lines of the log.
        log_tail: String,
        /// Path of the log.
        log: PathBuf,
    },
    /// Daemon that does not end.
    #[error("the cluster (process {pid}) does not end after {} s: try `kill -9 {pid}`", after.as_secs())]
    Stuck {
        /// Process of the daemon.
        pid: u32,
        /// Time that was waited.
        after: Duration,
    },
    /// Certificate that cannot be made.
    #[error("cannot make the cluster's certificates: {0}; `rainbow local down --purge` makes new ones")]
    Certificates(String),
}

fn tail(lines: &str, log: &std::path::Path) -> String {
    if lines.is_empty() { String::new() } else { format!("\nlast lines of {}:\n{lines}", log.display()) }
}

impl Error {
    /// Returns a function that makes the error of a failed operation on a file.
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(path),
            _ => Self::File { what, path, source },
        }
    }
}
