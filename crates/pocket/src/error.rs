//! Why the local cluster cannot be started or stopped.

use std::{io, path::PathBuf, time::Duration};

/// Why the local cluster cannot be started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody says where to keep things.
    #[error("no directory for the cluster's state: set RAINBOW_HOME, XDG_STATE_HOME or HOME")]
    NoHome,
    /// The state directory has an impossible name.
    #[error("the state directory {0:?} must have an absolute path in UTF-8: set RAINBOW_HOME")]
    BadPath(PathBuf),
    /// A full disk.
    #[error("no space left on the disk of {}: free some space and try again", .0.display())]
    DiskFull(PathBuf),
    /// A file cannot be used.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried: `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon could not start.
    #[error("the cluster cannot start: {message}{}", tail(log_tail, log))]
    Failed {
        /// Why, as far as the daemon could say.
        message: String,
        /// The last lines of its log.
        log_tail: String,
        /// Its log.
        log: PathBuf,
    },
    /// The daemon is not ready in time.
    #[error("the cluster is not ready after {} s (last step: {step}){}", after.as_secs(), tail(log_tail, log))]
    Timeout {
        /// How long it was waited for.
        after: Duration,
        /// The last step it told of.
        step: String,
        /// The last lines of its log.
        log_tail: String,
        /// Its log.
        log: PathBuf,
    },
    /// The daemon does not end.
    #[error("the cluster (process {pid}) does not end after {} s: try `kill -9 {pid}`", after.as_secs())]
    Stuck {
        /// The daemon's process.
        pid: u32,
        /// How long it was waited for.
        after: Duration,
    },
    /// A certificate cannot be made.
    #[error("cannot make the cluster's certificates: {0}; `rainbow local down --purge` makes new ones")]
    Certificates(String),
}

fn tail(lines: &str, log: &std::path::Path) -> String {
    if lines.is_empty() { String::new() } else { format!("\nlast lines of {}:\n{lines}", log.display()) }
}

impl Error {
    /// For failed operations on files.
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(path),
            _ => Self::File { what, path, source },
        }
    }
}
