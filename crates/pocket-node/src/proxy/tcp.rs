//! TCP: one endpoint per connection, chosen when the connection arrives.

use std::{
    io,
    net::{SocketAddrV4, TcpListener as Bound},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use rustix::net::{
    Shutdown, shutdown,
    sockopt::{set_socket_linger, set_tcp_nodelay},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

use super::{balance::Backend, splice};

/// Connections that the kernel has established and the proxy has not accepted yet.
const BACKLOG: i32 = 1024;

/// Parts that every connection of a port needs.
#[derive(Clone)]
pub(super) struct Relay {
    pub(super) backend: Arc<Backend>,
    pub(super) pipes: Arc<splice::Pipes>,
    /// Runtime whose sockets reach pods.
    pub(super) node: Handle,
}

/// A TCP port that the proxy holds: it accepts connections, or it refuses them and stays reserved.
pub(super) struct TcpPort {
    state: ListenerState,
    /// Runtime of the network that the port is in.
    home: Handle,
    relay: Relay,
}

enum ListenerState {
    Open {
        listener: Arc<TcpListener>,
        _task: AbortOnDropHandle<()>,
    },
    /// Bound, but not listening: the kernel answers every connection with a reset, so that the client sees `ECONNREFUSED`.
    Shut(Bound),
    /// The port was lost.
    Gone,
}

/// Listens where connections are accepted.
///
/// # Errors
/// When the address is taken or may not be used.
pub(super) async fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    // Small messages must not wait for each other here, whatever the two ends do. Every connection inherits the option.
    set_tcp_nodelay(listener.as_fd(), true)?;
    Ok(listener)
}

impl TcpPort {
    /// Takes over a port that was just bound in the network of `home`, and opens it.
    pub(super) fn new(listener: TcpListener, home: Handle, relay: Relay) -> Self {
        let state = ListenerState::open(listener, &home, &relay);
        Self { state, home, relay }
    }

    /// Accepts connections from now on.
    ///
    /// # Errors
    /// When another program listens on the port meanwhile.
    pub(super) fn open(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.state, ListenerState::Gone) {
            ListenerState::Shut(bound) => {
                rustix::net::listen(&bound, BACKLOG)?;
                let listener = {
                    let _home = self.home.enter();
                    TcpListener::from_std(bound)?
                };
                self.state = ListenerState::open(listener, &self.home, &self.relay);
                Ok(())
            }
            ListenerState::Gone => Err(io::ErrorKind::NotConnected.into()),
            open @ ListenerState::Open { .. } => {
                self.state = open;
                Ok(())
            }
        }
    }

    /// Refuses connections from now on. Those that the kernel has established already still get an endpoint.
    pub(super) async fn shut(&mut self) {
        let (listener, task) = match std::mem::replace(&mut self.state, ListenerState::Gone) {
            ListenerState::Open { listener, _task: task } => (listener, task),
            other => {
                self.state = other;
                return;
            }
        };
        task.abort();
        // The error says that the task was aborted.
        let _ = task.await;
        while let Some(Ok((client, _))) = listener.accept().now_or_never() {
            self.relay.take(client);
        }
        let bound = Arc::into_inner(listener).and_then(|listener| listener.into_std().ok());
        if let Some(bound) = bound
            && shutdown(&bound, Shutdown::Read).is_ok()
        {
            self.state = ListenerState::Shut(bound);
        }
    }

    /// Releases the port. After this it can be bound again.
    pub(super) async fn close(mut self) {
        self.shut().await;
    }
}

impl ListenerState {
    fn open(listener: TcpListener, home: &Handle, relay: &Relay) -> Self {
        let listener = Arc::new(listener);
        let task = home.spawn(accept(listener.clone(), relay.clone()));
        Self::Open { listener, _task: AbortOnDropHandle::new(task) }
    }
}

/// Accepts connections indefinitely.
pub(super) async fn accept(listener: Arc<TcpListener>, relay: Relay) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => relay.take(client),
            // The client closed the connection before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Most likely out of descriptors: other connections must end first.
                tracing::warn!(%error, "a Service's port cannot accept connections at the moment");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

impl Relay {
    /// Picks an endpoint for a connection and serves it in the background.
    fn take(&self, client: TcpStream) {
        let endpoint = client.peer_addr().ok().and_then(|peer| self.backend.pick(peer.ip()));
        match endpoint {
            Some(endpoint) => drop(self.node.spawn(serve(client, endpoint, self.pipes.clone()))),
            None => reset(&client),
        }
    }
}

/// Connects a client with its endpoint.
///
/// The client's connection is established before the endpoint is asked. This is the one difference between a proxy in user space
/// and kube-proxy's rules: where their client sees `ECONNREFUSED` in `connect`, a client here sees `ECONNRESET` right after it.
/// The wait for an endpoint that does not answer lasts as long as the kernel tries (3 s for an address that is gone, else 2 min).
async fn serve(client: TcpStream, endpoint: SocketAddrV4, pipes: Arc<splice::Pipes>) {
    let server = match TcpStream::connect(endpoint).await {
        Ok(server) => server,
        Err(error) => {
            tracing::debug!(%endpoint, %error, "endpoint does not take the connection");
            return reset(&client);
        }
    };
    // Same as for the client's side, see `listen`.
    let _ = server.set_nodelay(true);
    if splice::pump(&pipes, &client, &server).await.is_err() {
        // One side has reset the connection: the other must see the same.
        reset(&client);
        reset(&server);
    }
}

/// Makes the close of a connection send a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    // If this fails, the end is orderly after all.
    let _ = set_socket_linger(stream.as_fd(), Some(Duration::ZERO));
}
