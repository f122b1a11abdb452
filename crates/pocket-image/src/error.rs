//! Errors of operations on images.

use std::{io, path::PathBuf};

/// Reason for which an operation on images failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Name of no image in the store.
    #[error("image `{0}` is not in the local store")]
    NotFound(String),
    /// Text that names no image.
    #[error("`{reference}` is no image reference: {why}")]
    Reference {
        reference: String,
        /// Mistake in the text.
        why: &'static str,
    },
    /// File that is neither a Docker nor an OCI archive.
    #[error("not an image archive: {0}; expected what `docker save` or `rainbow image save` writes")]
    NotAnArchive(String),
    /// Image for other platforms only.
    #[error("the archive has no image for {wanted}, only for {found}")]
    Platform {
        /// Platform of this machine.
        wanted: String,
        /// Platforms in the archive.
        found: String,
    },
    /// Content that does not match its digest.
    #[error("corrupt content: expected {expected}, found {found}")]
    Corrupt {
        /// Digest by which the content was named.
        expected: String,
        /// Digest that the content has.
        found: String,
    },
    /// Content of a kind that is not supported, or that is malformed.
    #[error("{what}: {why}")]
    Content {
        /// Description of the content.
        what: String,
        /// Mistake in the content.
        why: String,
    },
    /// Error in a Dockerfile.
    #[error("{file}:{line}: {message}")]
    Dockerfile {
        /// Name of the Dockerfile.
        file: String,
        /// Number of the line at which the instruction starts, from 1.
        line: usize,
        /// Mistake, and its remedy.
        message: String,
    },
    /// Disk that is full, or quota that is exhausted.
    #[error("no space left on the disk of {}: free some space and try again", .0.display())]
    DiskFull(PathBuf),
    /// Other failure of the file system.
    #[error("{what}: {source}")]
    Io {
        /// Operation that failed.
        what: String,
        /// Error of the operating system.
        source: io::Error,
    },
}

impl Error {
    /// Returns a function that makes the error of a failed `what` on `path`; a full disk has an error of its own.
    pub(crate) fn io(what: &str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(path),
            _ => Self::Io { what: format!("cannot {what} {}", path.display()), source },
        }
    }

    /// Returns the error of malformed content.
    pub(crate) fn content(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Content { what: what.into(), why: why.to_string() }
    }
}
