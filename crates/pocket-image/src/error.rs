//! Why something with images failed.

use std::{io, path::PathBuf};

/// Why something with images failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No image of that name is in the store.
    #[error("image `{0}` is not in the local store")]
    NotFound(String),
    /// A text that names no image.
    #[error("`{reference}` is no image reference: {why}")]
    Reference {
        /// The text.
        reference: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file that is neither a Docker nor an OCI archive.
    #[error("not an image archive: {0}; expected what `docker save` or `rainbow image save` writes")]
    NotAnArchive(String),
    /// An image for other machines only.
    #[error("the archive has no image for {wanted}, only for {found}")]
    Platform {
        /// This machine's platform.
        wanted: String,
        /// The platforms in the archive.
        found: String,
    },
    /// Content that is not what its digest says.
    #[error("corrupt content: expected {expected}, found {found}")]
    Corrupt {
        /// The digest by which it was named.
        expected: String,
        /// The digest that it has.
        found: String,
    },
    /// Content of a kind that is not supported, or that is not well-formed.
    #[error("{what}: {why}")]
    Content {
        /// Which content.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// An error in a Dockerfile.
    #[error("{file}:{line}: {message}")]
    Dockerfile {
        /// Its name.
        file: String,
        /// Number of the line at which the instruction starts, from 1.
        line: usize,
        /// What is wrong, and what to do.
        message: String,
    },
    /// A full disk, or an exhausted quota.
    #[error("no space left on the disk of {}: free some space and try again", .0.display())]
    DiskFull(PathBuf),
    /// Another failure of the file system.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// A failure of `what` on `path`; a full disk is named as such.
    pub(crate) fn io(what: &str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(path),
            _ => Self::Io { what: format!("cannot {what} {}", path.display()), source },
        }
    }

    /// Content that is not well-formed.
    pub(crate) fn content(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Content { what: what.into(), why: why.to_string() }
    }
}
