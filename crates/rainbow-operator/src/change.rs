//! What a watch of one kind says.

/// A change, from the point of view of whoever keeps the objects of a kind.
pub(crate) enum Change<T> {
    /// The list begins again.
    Restarted,
    /// An object of the list.
    Listed(T),
    /// The list is complete: what it did not show is gone.
    Complete,
    /// An object is new or has changed.
    Seen(T),
    /// An object is gone.
    Gone(T),
    /// The watch broke; it starts again by itself, later each time.
    Failed(kube::Error),
}

impl<T> Change<T> {
    /// The same of what becomes of the object.
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
