//! What a watch of one kind says.

use kube::runtime::watcher;

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
    Failed(watcher::Error),
}
