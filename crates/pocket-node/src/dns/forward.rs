//! Names outside the cluster: questions are forwarded to the host's resolvers, through the host's network.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Mutex,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout},
};

use crate::sync::lock;

/// Timeout of one resolver.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause after a resolver did not answer, so that a host without network fails promptly.
const REST: Duration = Duration::from_secs(10);

/// The host's resolvers.
#[derive(Debug)]
pub(super) struct Upstreams {
    servers: Vec<(SocketAddr, Mutex<Option<Instant>>)>,
}

/// Returns the resolvers that a `resolv.conf` names.
pub fn upstreams(resolv_conf: &str) -> Vec<SocketAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next())
        // A scope (`%eth0`) cannot be used by address alone.
        .filter_map(|address| address.parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::new(ip, 53))
        .collect()
}

impl Upstreams {
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers: servers.into_iter().map(|server| (server, Mutex::new(None))).collect() }
    }

    /// Returns the first answer, or `None` if no resolver gives one.
    pub(super) async fn ask(&self, question: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        for (server, rests) in &self.servers {
            if lock(rests).is_some_and(|until| until > Instant::now()) {
                continue;
            }
            let asked = async { if over_tcp { tcp(*server, question).await } else { udp(*server, question).await } };
            match timeout(PATIENCE, asked).await {
                Ok(Ok(answer)) => {
                    *lock(rests) = None;
                    return Some(answer);
                }
                Ok(Err(error)) => tracing::debug!(%server, %error, "resolver cannot be asked"),
                Err(_) => tracing::debug!(%server, "resolver does not answer"),
            }
            *lock(rests) = Some(Instant::now() + REST);
        }
        None
    }
}

async fn udp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let local: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // A packet with another id is a late or a forged answer.
        if length >= 12 && buffer.get(..2) == question.get(..2) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_resolv_conf() {
        let text = "# c\nsearch x\nnameserver 127.0.0.53\n nameserver ::1\nnameserver fe80::1%eth0\nnameservers 1.1.1.1\nnameserver\n";
        let found: Vec<_> = upstreams(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.53:53", "[::1]:53"]);
    }

    #[tokio::test]
    async fn asks_the_next_when_one_cannot_be_reached() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let refused = {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.local_addr().unwrap()
        };
        let upstreams = Upstreams::new(vec![refused, server.local_addr().unwrap()]);
        tokio::spawn(async move {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = server.recv_from(&mut buffer).await {
                server.send_to(b"no answer of yours", from).await.unwrap();
                server.send_to(&buffer[..length], from).await.unwrap();
            }
        });
        let question = b"\x12\x34 twelve bytes";
        assert_eq!(upstreams.ask(question, false).await.as_deref(), Some(&question[..]));
        assert!(lock(&upstreams.servers[0].1).is_some());
        assert_eq!(Upstreams::new(Vec::new()).ask(question, false).await, None);
    }
}
