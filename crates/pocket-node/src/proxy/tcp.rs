//! TCP: one endpoint per connection, chosen when it comes.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV4},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use rustix::net::sockopt::{set_socket_linger, set_tcp_nodelay};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::{sleep, timeout},
};

use super::{balance::Backend, splice};

/// An endpoint that does not answer is given up for the next one after this long; the last one gets more.
const PATIENCE: Duration = Duration::from_secs(1);
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// Listens where connections are accepted.
///
/// # Errors
/// When the address is taken or may not be used.
pub(super) async fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    // Small messages must not wait for each other here, whatever the two ends do. Every connection inherits it.
    set_tcp_nodelay(listener.as_fd(), true)?;
    Ok(listener)
}

/// Accepts connections for ever. Each becomes a task of `node`, whose sockets reach pods.
pub(super) async fn accept(listener: TcpListener, backend: Arc<Backend>, pipes: Arc<splice::Pipes>, node: Handle) {
    loop {
        match listener.accept().await {
            Ok((client, peer)) => {
                node.spawn(serve(client, peer, backend.clone(), pipes.clone()));
            }
            // The client was faster to go than we to look.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Out of descriptors, most likely: others must end first.
                tracing::warn!(%error, "a Service's port cannot accept connections at the moment");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn serve(client: TcpStream, peer: SocketAddr, backend: Arc<Backend>, pipes: Arc<splice::Pipes>) {
    let Some(endpoint) = connect(&backend, peer.ip()).await else {
        return reset(&client);
    };
    // As for the client's side, see `listen`.
    let _ = endpoint.set_nodelay(true);
    if splice::pump(&pipes, &client, &endpoint).await.is_err() {
        // One side has broken off: the other shall see the same.
        reset(&client);
        reset(&endpoint);
    }
}

/// Connects to an endpoint; to another one if that fails.
async fn connect(backend: &Backend, client: IpAddr) -> Option<TcpStream> {
    let mut tried: Vec<SocketAddrV4> = Vec::new();
    while let Some(endpoint) = backend.pick(client, &tried) {
        let last = tried.len() + 1 >= backend.endpoints().len();
        let patience = if last { LAST_PATIENCE } else { PATIENCE };
        match timeout(patience, TcpStream::connect(endpoint)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => tracing::debug!(%endpoint, %error, "endpoint does not take the connection"),
            Err(_) => tracing::debug!(%endpoint, "endpoint does not answer"),
        }
        tried.push(endpoint);
    }
    None
}

/// Closing it will send a reset instead of a polite end.
fn reset(stream: &TcpStream) {
    // If it fails, the end is polite after all.
    let _ = set_socket_linger(stream.as_fd(), Some(Duration::ZERO));
}
