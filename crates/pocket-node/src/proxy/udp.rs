//! UDP: one session per client, with an endpoint of its own, forgotten when nothing passes for a while.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use tokio::{net::UdpSocket, runtime::Handle, sync::mpsc, time::timeout};

use super::balance::Backend;

/// A session ends after this long without a datagram in either direction.
const IDLE: Duration = Duration::from_secs(60);
/// Datagrams that wait for a session's socket. More are dropped, as networks do.
const QUEUE: usize = 64;
const LARGEST: usize = 65_535;
/// Clients at once, per port.
const SESSIONS: usize = 8192;

struct Session {
    endpoint: SocketAddrV4,
    datagrams: mpsc::Sender<Vec<u8>>,
}

/// Forwards datagrams for ever. Sessions are tasks of `node`, whose sockets reach pods.
pub(super) async fn forward(socket: UdpSocket, backend: Arc<Backend>, node: Handle) {
    let socket = Arc::new(socket);
    let mut sessions: HashMap<SocketAddr, Session> = HashMap::new();
    let mut buffer = vec![0; LARGEST];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An answer of ours could not be delivered.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => {
                tracing::warn!(%error, "a Service's UDP port cannot receive at the moment");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let valid = sessions
            .get(&client)
            .is_some_and(|session| !session.datagrams.is_closed() && backend.endpoints().contains(&session.endpoint));
        if !valid {
            sessions.remove(&client);
            let Some(endpoint) = backend.pick(client.ip(), &[]) else {
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
            // Full: dropped.
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
    loop {
        let passed = timeout(IDLE, async {
            tokio::select! {
                datagram = datagrams.recv() => match datagram {
                    Some(datagram) => socket.send(&datagram).await.map(|_| true),
                    None => Ok(false),
                },
                ready = socket.readable() => match ready {
                    // The buffer lives only while there is something to put in it.
                    Ok(()) => answer(&socket, &front, client).await.map(|()| true),
                    Err(error) => Err(error),
                },
            }
        });
        match passed.await {
            Ok(Ok(true)) => {}
            // Nobody listens at the endpoint: the next datagram may find another.
            Ok(Ok(false) | Err(_)) | Err(_) => return,
        }
    }
}

async fn answer(socket: &UdpSocket, front: &UdpSocket, client: SocketAddr) -> io::Result<()> {
    let mut buffer = vec![0; LARGEST];
    match socket.try_recv(&mut buffer) {
        Ok(length) => front.send_to(&buffer[..length], client).await.map(drop),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
