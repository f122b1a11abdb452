//! Server behind TLS: HTTP/1.1 and HTTP/2, upgrades, and authentication.

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{Request, header};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{Api, Status};

/// User that sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name: the common name of the certificate, or the name that belongs to the token.
    pub name: String,
    /// Groups: the organizations of the certificate, or the groups that belong to the token.
    pub groups: Vec<String>,
}

impl User {
    /// Returns the user of calls without a socket: the cluster itself.
    pub(crate) fn in_process() -> Self {
        Self { name: "system:admin".into(), groups: vec!["system:masters".into(), "system:authenticated".into()] }
    }
}

/// Authentication of clients. Accepts a client certificate that TLS has verified, a known bearer token, and a token of a
/// service account of this cluster.
#[derive(Clone, Debug, Default)]
pub struct Authenticator {
    /// Digests of the tokens. Only digests are kept and compared, so neither memory nor timing reveals a token.
    tokens: Vec<([u8; 32], User)>,
}

impl Authenticator {
    /// Accepts client certificates and service accounts only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also accepts this bearer token.
    #[must_use]
    pub fn with_token(mut self, token: &str, user: User) -> Self {
        self.tokens.push((Sha256::digest(token).into(), user));
        self
    }

    fn user(&self, api: &Api, request: &Request<impl Sized>, certified: Option<&User>) -> Option<User> {
        if let Some(user) = certified {
            return Some(user.clone());
        }
        let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
        let token = value.strip_prefix("Bearer ")?.trim();
        let digest: [u8; 32] = Sha256::digest(token).into();
        let known = self.tokens.iter().find(|(known, _)| *known == digest).map(|(_, user)| user.clone());
        known.or_else(|| api.token_user(token, &[]).ok().map(|(user, _)| user))
    }
}

/// Paths that any client may read, so that monitoring can see whether the server is up.
const OPEN: [&str; 4] = ["/livez", "/readyz", "/healthz", "/version"];

/// Serves until the listener fails permanently or the future is dropped. Dropping the future ends all connections.
///
/// `tls` decides which client certificates are verified (ask for them, but let clients without one pass, so that they
/// can show a token) and which protocols are spoken: `h2` and `http/1.1` both work.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    api: Api,
    authenticator: Authenticator,
) -> std::io::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    let router = api.router();
    let authenticator = Arc::new(authenticator);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if is_temporary(&error) => {
                // Out of descriptors or memory: open connections continue, and new clients wait a moment.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let (acceptor, router, authenticator) = (acceptor.clone(), router.clone(), authenticator.clone());
        let api = api.clone();
        connections.spawn(async move {
            // Small replies and watch events must not wait for each other.
            let _ = stream.set_nodelay(true);
            let handshake = tokio::time::timeout(std::time::Duration::from_secs(10), acceptor.accept(stream));
            let Ok(Ok(stream)) = handshake.await else { return };
            let certified = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).and_then(subject);
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let user = authenticator.user(&api, &request, certified.as_ref());
                let router = router.clone();
                async move { Ok::<_, std::convert::Infallible>(guard(request, router, user).await) }
            });
            let connection = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = connection.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
                tracing::debug!(error, "a connection ended");
            }
        });
    }
}

/// Returns whether `accept` can be tried again after this error.
fn is_temporary(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidInput, NotConnected, PermissionDenied};
    // Errors of these kinds mean that the listener itself cannot be used.
    !matches!(error.kind(), InvalidInput | NotConnected | PermissionDenied)
}

async fn guard(request: Request<hyper::body::Incoming>, router: axum::Router, user: Option<User>) -> Response {
    let mut request = request.map(Body::new);
    match user {
        Some(user) => drop(request.extensions_mut().insert(user)),
        None if OPEN.contains(&request.uri().path()) => {}
        None => return Status::unauthorized().into_response(),
    }
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Returns the common name and the organizations of a certificate.
fn subject(certificate: &CertificateDer<'_>) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|organization| organization.as_str().ok());
    Some(User { name, groups: groups.map(str::to_owned).chain(["system:authenticated".to_owned()]).collect() })
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::is_temporary;

    #[test]
    fn only_a_useless_listener_ends_the_server() {
        for (kind, expected) in [
            (ErrorKind::ConnectionAborted, true),
            (ErrorKind::ConnectionReset, true),
            (ErrorKind::Interrupted, true),
            (ErrorKind::OutOfMemory, true),
            (ErrorKind::Other, true),
            (ErrorKind::InvalidInput, false),
            (ErrorKind::NotConnected, false),
            (ErrorKind::PermissionDenied, false),
        ] {
            assert_eq!(is_temporary(&Error::from(kind)), expected, "{kind}");
        }
    }
}
