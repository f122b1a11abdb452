//! Changes that a watch of one kind reports.

/// Change, from the point of view of the keeper of a kind's objects.
pub(crate) enum Change<T> {
    /// The list begins again.
    Restarted,
    /// An object of the list.
    Listed(T),
    /// The list is complete. Objects that it did not show are gone.
    Complete,
    /// An object is new or has changed.
    Seen(T),
    /// An object is gone.
    Gone(T),
    /// The watch broke. It starts again by itself, with a backoff.
    Failed(kube::Error),
}

impl<T> Change<T> {
    /// Returns the same change with the object converted.
    pub(crate) fn map<U>(self, read: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Restarted => Change::Restarted,
            Self::Listed(object) => Change::Listed(read(object)),
            Self::Complete => Change::Complete,
            Self::Seen(object) => Change::Seen(read(object)),
            Self::Gone(object) => Change::Gone(read(object)),
            Self::Failed(error) => Change::Failed(error),
        }
    }
}
