//! UDP: one session per client, with an endpoint of its own, which ends after a time without datagrams.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use tokio::{net::UdpSocket, runtime::Handle, sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::balance::Backend;

/// Idle time after which a session ends, as with entries of the kernel's connection tracking
/// (`nf_conntrack_udp_timeout`, and `nf_conntrack_udp_timeout_stream` once the endpoint has answered).
const IDLE: Duration = Duration::from_secs(30);
const IDLE_STREAM: Duration = Duration::from_secs(120);
/// Limit of datagrams that wait for a session's socket. Further ones are dropped, as networks do.
const QUEUE: usize = 64;
const LARGEST: usize = 65_535;
/// Limit of clients at once, per port.
const SESSIONS: usize = 8192;

struct Session {
    endpoint: SocketAddrV4,
    datagrams: mpsc::Sender<Vec<u8>>,
}

/// A UDP port that the proxy holds: it forwards datagrams, or it refuses them and stays reserved.
pub(super) struct UdpPort {
    socket: Arc<UdpSocket>,
    task: AbortOnDropHandle<()>,
}

impl UdpPort {
    /// Takes over a port that was just bound in the network of `home`, and opens it. Sessions are tasks of `node`, whose sockets reach pods.
    pub(super) fn new(socket: UdpSocket, home: &Handle, backend: Arc<Backend>, node: Handle) -> Self {
        let socket = Arc::new(socket);
        let task = AbortOnDropHandle::new(home.spawn(forward(socket.clone(), backend, node)));
        Self { socket, task }
    }

    /// Accepts datagrams from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn open(&self) -> io::Result<()> {
        Ok(rustix::net::connect_unspec(&self.socket)?)
    }

    /// Refuses datagrams from now on: a socket that is connected to itself gets none, and the kernel reports the port to clients as
    /// unreachable, as kube-proxy's rules do for a Service without endpoints.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn shut(&self) -> io::Result<()> {
        let own = self.socket.local_addr()?;
        Ok(rustix::net::connect(&self.socket, &own)?)
    }

    /// Releases the port.
    pub(super) async fn close(self) {
        self.task.abort();
        // The error says that the task was aborted.
        let _ = self.task.await;
    }
}

/// Forwards datagrams indefinitely.
async fn forward(socket: Arc<UdpSocket>, backend: Arc<Backend>, node: Handle) {
    let mut sessions: HashMap<SocketAddr, Session> = HashMap::new();
    let mut buffer = vec![0; LARGEST];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An answer of this socket could not be delivered.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => {
                tracing::warn!(%error, "a Service's UDP port cannot receive at the moment");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let valid = sessions
            .get(&client)
            .is_some_and(|session| !session.datagrams.is_closed() && backend.keeps(session.endpoint));
        if !valid {
            sessions.remove(&client);
            let Some(endpoint) = backend.pick(client.ip()) else {
                continue;
            };
            if sessions.len() >= SESSIONS {
                sessions.retain(|_, session| !session.datagrams.is_closed());
            }
            let (datagrams, receiver) = mpsc::channel(QUEUE);
            node.spawn(session(socket.clone(), client, endpoint, receiver));
            sessions.insert(client, Session { endpoint, datagrams });
        }
        if let Some(session) = sessions.get(&client) {
            // A full queue drops the datagram.
            let _ = session.datagrams.try_send(buffer[..length].to_vec());
        }
    }
}

async fn session(
    front: Arc<UdpSocket>,
    client: SocketAddr,
    endpoint: SocketAddrV4,
    mut datagrams: mpsc::Receiver<Vec<u8>>,
) {
    let connected = async {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect(endpoint).await?;
        Ok::<_, io::Error>(socket)
    };
    let socket = match connected.await {
        Ok(socket) => socket,
        Err(error) => return tracing::debug!(%endpoint, %error, "no UDP session"),
    };
    let mut idle = IDLE;
    loop {
        let passed = timeout(idle, async {
            tokio::select! {
                datagram = datagrams.recv() => match datagram {
                    Some(datagram) => {
                        // Refused or lost: the session stays with its endpoint, as an entry of the connection tracking does.
                        let _ = socket.send(&datagram).await;
                        true
                    }
                    None => false,
                },
                ready = socket.readable() => {
                    // The buffer exists only while there is something to put in it.
                    if ready.is_ok() && answer(&socket, &front, client).await {
                        idle = IDLE_STREAM;
                    }
                    true
                },
            }
        });
        match passed.await {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}

/// Forwards one datagram of the endpoint to the client; returns whether there was one.
async fn answer(socket: &UdpSocket, front: &UdpSocket, client: SocketAddr) -> bool {
    let mut buffer = vec![0; LARGEST];
    match socket.try_recv(&mut buffer) {
        Ok(length) => {
            // A client that is gone misses an answer.
            let _ = front.send_to(&buffer[..length], client).await;
            true
        }
        // Either a false alarm, or the endpoint has refused a datagram.
        Err(_) => false,
    }
}
