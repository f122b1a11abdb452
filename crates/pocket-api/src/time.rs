//! Times in the format of Kubernetes.

/// Returns a time in the format that Kubernetes uses in metadata.
pub(crate) fn timestamp(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns the current time.
pub(crate) fn now() -> String {
    timestamp(jiff::Timestamp::now())
}
