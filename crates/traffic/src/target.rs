//! Target of requests.

use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc};

use http::Uri;

/// Target of requests: an `http://` URL, resolved once, so that name service is no part of what is measured.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) address: SocketAddr,
    /// Value of the `Host` header.
    pub(crate) host: String,
    /// Path and query.
    pub(crate) path: String,
}

/// Error in a URL.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The text is no `http://host[:port]/path`.
    #[error("`{0}` is no URL to call: write http://host[:port]/path")]
    Malformed(String),
    /// The host has no address.
    #[error("`{host}` has no address: {cause}")]
    Unresolved {
        host: String,
        /// Error of the resolver.
        cause: String,
    },
}

impl Target {
    /// Parses a URL and resolves its host.
    ///
    /// # Errors
    /// When the URL is no `http://` URL, or its host has no address.
    pub async fn resolve(url: &str) -> Result<Self, TargetError> {
        let malformed = || TargetError::Malformed(url.to_owned());
        let uri = Uri::from_str(url).map_err(|_| malformed())?;
        let authority = uri.authority().ok_or_else(malformed)?;
        if uri.scheme_str() != Some("http") || authority.host().is_empty() {
            return Err(malformed());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let unresolved = |cause: String| TargetError::Unresolved { host: host.to_owned(), cause };
        let mut addresses = tokio::net::lookup_host((host, authority.port_u16().unwrap_or(80)))
            .await
            .map_err(|error| unresolved(error.to_string()))?;
        let address = addresses.next().ok_or_else(|| unresolved("the resolver answered with none".into()))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self::at(address, authority.as_str(), path))
    }

    /// Creates a target from a known address, with the `Host` header and the path to send.
    pub fn at(address: SocketAddr, host: &str, path: &str) -> Self {
        Self { inner: Arc::new(Inner { address, host: host.to_owned(), path: path.to_owned() }) }
    }

    /// Returns the address that connections go to.
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.inner.host, self.inner.path)
    }
}
