//! HTTP requests of probes and hooks. They must run in the node's network.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

/// GET request.
#[derive(Clone, Debug)]
pub(crate) struct Get {
    /// Address to connect to.
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    /// Whether to use TLS. The certificate is not checked.
    pub(crate) tls: bool,
    pub(crate) path: String,
    /// Request headers. A `Host` header overrides the address.
    pub(crate) headers: Vec<(String, String)>,
}

/// Limit of the bytes read from a body, as in the kubelet.
const BODY: usize = 10 * 1024;

impl Get {
    /// Sends the request and follows redirects within the host. Returns the status and the beginning of the body.
    pub(crate) async fn send(mut self) -> Result<(u16, String), String> {
        for _ in 0..10 {
            let (status, location, body) = self.once().await?;
            match location.filter(|_| (300..400).contains(&status)) {
                Some(location) => match self.redirected(&location) {
                    Some(path) => self.path = path,
                    // A redirect to another host is not followed: the response counts as it is.
                    None => return Ok((status, body)),
                },
                None => return Ok((status, body)),
            }
        }
        Err("stopped after 10 redirects".into())
    }

    fn redirected(&self, location: &str) -> Option<String> {
        let uri: Uri = location.parse().ok()?;
        let here = uri.host().is_none_or(|host| host == self.ip.to_string());
        here.then(|| uri.path_and_query().map(ToString::to_string)).flatten()
    }

    async fn once(&self) -> Result<(u16, Option<String>, String), String> {
        let scheme = if self.tls { "https" } else { "http" };
        let fail = |error: &dyn std::fmt::Display| {
            format!("Get \"{scheme}://{}:{}{}\": {error}", self.ip, self.port, self.path)
        };
        let stream = TcpStream::connect((self.ip, self.port))
            .await
            .map_err(|error| fail(&format_args!("dial tcp {}:{}: connect: {}", self.ip, self.port, plain(&error))))?;
        if self.tls {
            let name = ServerName::IpAddress(self.ip.into());
            let config = tls_config().map_err(|error| fail(&error))?;
            let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| fail(&error))?;
            self.exchange(stream).await.map_err(|error| fail(&error))
        } else {
            self.exchange(stream).await.map_err(|error| fail(&error))
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<(u16, Option<String>, String), String> {
        let request = self.request()?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let answer = async move {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = response.status().as_u16();
            let location =
                response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let body = match Limited::new(response.into_body(), BODY).collect().await {
                Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
                // The body is too long: only the status matters.
                Err(_) => String::new(),
            };
            Ok((status, location, body))
        };
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            ended = connection => match answer.await {
                Ok(answer) => Ok(answer),
                Err(error) => Err(ended.err().map_or(error, |ended| ended.to_string())),
            },
        }
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let path = if self.path.starts_with('/') { self.path.clone() } else { format!("/{}", self.path) };
        let mut request = Request::get(path).body(Empty::new()).map_err(|error| error.to_string())?;
        let headers = request.headers_mut();
        let host = HeaderValue::try_from(format!("{}:{}", self.ip, self.port)).map_err(|error| error.to_string())?;
        headers.insert(header::HOST, host);
        headers.insert(header::USER_AGENT, HeaderValue::from_static("kube-probe/1.33"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let mut named: Vec<HeaderName> = Vec::new();
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name).map_err(|error| format!("header {name}: {error}"))?;
            let value = HeaderValue::try_from(value).map_err(|error| format!("header {name}: {error}"))?;
            // The first header of a name replaces the default; further ones are added.
            if named.contains(&name) {
                headers.append(name, value);
            } else {
                headers.insert(name.clone(), value);
                named.push(name);
            }
        }
        Ok(request)
    }
}

/// Formats an I/O error without Rust's `(os error N)`.
pub(crate) fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        std::io::ErrorKind::ConnectionReset => "connection reset by peer".into(),
        std::io::ErrorKind::HostUnreachable => "no route to host".into(),
        _ => error.to_string(),
    }
}

fn tls_config() -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Verifier that accepts every certificate: the kubelet documents that its probes do not check them.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
