//! One HTTP request, over plain TCP or TLS.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{agent, messages};

/// Longest answer in bytes.
const LONGEST: usize = 1024 * 1024;

/// Request to be sent.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Time for the whole of it: the name's resolution, the connection and the answer.
    pub(super) timeout: Duration,
    pub(super) tls: Tls,
}

/// Settings of TLS.
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    /// Name that the certificate must have. `None`: the host of the URL.
    pub(super) server_name: Option<String>,
}

/// Answer to a request.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) location: Option<String>,
    pub(super) body: Bytes,
}

impl Reply {
    /// Returns a sentence about a redirect. `None`: the answer is no redirect.
    pub(super) fn redirect(&self) -> Option<String> {
        self.status.is_redirection().then(|| messages::not_followed(self.status.as_u16(), self.location.as_deref()))
    }
}

/// Sends a request. Follows no redirect: credentials must reach no other server.
///
/// # Errors
/// Fails with the reason why there is no answer. The reason contains no part of the URL but the host.
pub(super) async fn send(call: Call) -> Result<Reply, String> {
    let limit = call.timeout;
    timeout(limit, exchange(call)).await.unwrap_or_else(|_| Err(messages::too_slow(limit)))
}

/// Adds a header.
pub(super) fn add_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let pair = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
    let (name, mut value) = pair.ok_or_else(|| messages::no_header(name))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

async fn exchange(call: Call) -> Result<Reply, String> {
    let uri: Uri = call.url.parse().map_err(messages::no_url)?;
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(messages::NO_HTTP.to_owned()),
    };
    let authority = uri.authority().ok_or(messages::NO_HTTP)?;
    if authority.as_str().contains('@') {
        return Err(messages::CREDENTIALS_IN_URL.to_owned());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = connect(host, port).await?;
    let request = request(&call, &uri, authority.as_str())?;
    if !secure {
        return talk(stream, request).await;
    }
    let name = call.tls.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(name.to_owned()).map_err(|_| messages::no_server_name(name))?;
    let connector = TlsConnector::from(Arc::clone(&call.tls.config));
    let stream = connector.connect(name, stream).await.map_err(|error| messages::no_tls(host, error))?;
    talk(stream, request).await
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses = lookup_host((host, port)).await.map_err(|_| messages::unknown_host(host))?;
    let mut failure = messages::unknown_host(host);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            // The error itself may name local ports, which differ each time.
            Err(error) => failure = messages::no_connection(host, port, error.kind()),
        }
    }
    Err(failure)
}

fn request(call: &Call, uri: &Uri, authority: &str) -> Result<Request<Full<Bytes>>, String> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = path.parse().map_err(messages::no_url)?;
    *request.headers_mut() = call.headers.clone();
    let host = HeaderValue::try_from(authority).map_err(messages::no_url)?;
    request.headers_mut().entry(header::HOST).or_insert(host);
    request.headers_mut().entry(header::USER_AGENT).or_insert(HeaderValue::from_static(agent::OPERATOR));
    Ok(request)
}

async fn talk<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Reply, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(messages::broken)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(messages::broken)?;
        read(response).await
    };
    agent::answered(answer, connection).await
}

async fn read(response: Response<Incoming>) -> Result<Reply, String> {
    let status = response.status();
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => messages::answer_too_long(LONGEST),
        false => messages::broken(error),
    })?;
    Ok(Reply { status, location, body: body.to_bytes() })
}
