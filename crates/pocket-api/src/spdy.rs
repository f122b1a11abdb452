//! exec and port forwarding over SPDY/3.1, which kubectl before 1.31 speaks for both, and any kubectl for port forwarding
//! where a server has no websocket tunnel.
//!
//! The module has the part of SPDY's draft 3.1 that Kubernetes uses: a client opens streams and says in their headers what
//! they are for. Neither side uses flow control, as in the library of Kubernetes (moby/spdystream).

mod exec;
mod forward;
mod frame;
mod headers;
mod session;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::{exec::exec, forward::port_forward};
use crate::status::Status;

const VERSIONS: &str = "X-Stream-Protocol-Version";

/// Returns whether a request asks for an upgrade to SPDY.
pub(crate) fn is_wanted(request: &Request<Body>) -> bool {
    request.headers().get(header::UPGRADE).is_some_and(|value| value.as_bytes().starts_with(b"SPDY/"))
}

/// Returns the first of our protocols that the client offers.
fn negotiate(request: &Request<Body>, ours: &[&'static str]) -> Result<&'static str, Status> {
    let offered: Vec<&str> = request
        .headers()
        .get_all(VERSIONS)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(',').map(str::trim))
        .collect();
    ours.iter().find(|protocol| offered.contains(*protocol)).copied().ok_or_else(|| {
        Status::bad_request(format!("unable to upgrade: {VERSIONS}: supported protocols: {}", ours.join(", ")))
    })
}

/// Upgrades the connection to SPDY, and passes it to `serve`.
fn upgrade<F>(
    mut request: Request<Body>,
    protocol: &'static str,
    serve: impl FnOnce(Io) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(connection) => serve(Box::new(TokioIo::new(connection))).await,
            Err(error) => tracing::debug!(%error, "a connection did not go on in SPDY"),
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    headers.insert(VERSIONS, HeaderValue::from_static(protocol));
    response
}

/// Connection in both directions.
type Io = Box<dyn Connection>;

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}
