//! Cluster DNS server: answers names of Services and pods, and forwards everything else to the host's resolvers.

mod forward;
mod zone;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    forward::Upstreams,
    zone::{Reply, Zone},
};
use crate::{cluster::Cluster, net::NodeNet};

pub use forward::upstreams;

/// Settings of the DNS server.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// Address to listen at, in the node's network. Usually `10.96.0.10:53`.
    pub listen: SocketAddr,
    /// Cluster domain, usually `cluster.local`.
    pub domain: String,
    /// Address ranges (address, prefix length) of Services and pods. Their reverse names are known to no other server.
    pub reverse: Vec<(Ipv4Addr, u8)>,
    /// Resolvers for all other names, asked through the host's network; see [`upstreams`].
    pub upstreams: Vec<SocketAddr>,
}

/// The DNS server.
pub struct Dns {
    server: Arc<Server>,
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
}

struct Server {
    cluster: Arc<Cluster>,
    zone: Zone,
    upstreams: Upstreams,
    /// Permits for questions that wait for the host's resolvers.
    waiting: Semaphore,
}

/// Limit of questions that wait for the host's resolvers at once, and of connections at once.
const AT_ONCE: usize = 128;
/// Size of a UDP answer for a client that states no size.
const PLAIN_UDP: u16 = 512;
/// Time after which a connection without a question is closed.
const IDLE: Duration = Duration::from_secs(10);

impl Dns {
    /// Opens the server's ports.
    ///
    /// # Errors
    /// When the address cannot be bound, or the domain is no domain name.
    pub async fn bind(net: &NodeNet, cluster: Arc<Cluster>, config: DnsConfig) -> io::Result<Self> {
        let zone = Zone::new(&config.domain, config.reverse).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is no domain name", config.domain))
        })?;
        let (udp, tcp) = net
            .run(async move {
                let tcp = TcpListener::bind(config.listen).await?;
                // In tests the system chooses the port; UDP uses the port that TCP got.
                let udp = UdpSocket::bind(tcp.local_addr()?).await?;
                Ok::<_, io::Error>((udp, tcp))
            })
            .await??;
        let upstreams = Upstreams::new(config.upstreams);
        let server = Arc::new(Server { cluster, zone, upstreams, waiting: Semaphore::new(AT_ONCE) });
        Ok(Self { server, udp: Arc::new(udp), tcp })
    }

    /// Returns the address that the server listens at.
    ///
    /// # Errors
    /// When the system does not report it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Answers until shutdown. Runs on the ordinary runtime, because the host's resolvers are in the host's network.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = serve_udp(self.server.clone(), self.udp) => {}
            () = serve_tcp(self.server, self.tcp) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

async fn serve_udp(server: Arc<Server>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; 4096];
    let mut forwarded = JoinSet::new();
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "DNS question not received");
                // Usually an answer that could not be delivered. The pause prevents a busy loop if the error is a lasting one.
                sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        while forwarded.try_join_next().is_some() {}
        match server.local(&buffer[..length]) {
            Local::Answer(answer, limit) => {
                if let Some(bytes) = encode(&answer, Some(limit)) {
                    // The client may be gone by now.
                    let _ = socket.send_to(&bytes, client).await;
                }
            }
            Local::Forward(question) => {
                let (server, socket, bytes) = (server.clone(), socket.clone(), buffer[..length].to_vec());
                forwarded.spawn(async move {
                    let answer = server.remote(&question, &bytes, false).await;
                    let _ = socket.send_to(&answer, client).await;
                });
            }
            Local::Ignore => {}
        }
    }
}

async fn serve_tcp(server: Arc<Server>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < AT_ONCE => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                let server = server.clone();
                connections.spawn(async move {
                    if let Err(error) = connection(&server, stream).await {
                        tracing::debug!(%error, "DNS connection");
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "DNS connection not accepted");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn connection(server: &Server, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let read = async {
            let length = stream.read_u16().await?;
            let mut question = vec![0; length.into()];
            stream.read_exact(&mut question).await?;
            Ok::<_, io::Error>(question)
        };
        let Ok(question) = timeout(IDLE, read).await else {
            return Ok(());
        };
        let question = match question {
            Ok(question) => question,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let answer = match server.local(&question) {
            Local::Answer(answer, _) => encode(&answer, None),
            Local::Forward(message) => Some(server.remote(&message, &question, true).await),
            Local::Ignore => return Ok(()),
        };
        let Some(answer) = answer else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()).await?;
    }
}

enum Local {
    /// Answer, and the size that it may have over UDP.
    Answer(Message, u16),
    /// Question for the host's resolvers.
    Forward(Message),
    /// Bytes that are no question.
    Ignore,
}

impl Server {
    fn local(&self, bytes: &[u8]) -> Local {
        let question = match Message::from_vec(bytes) {
            Ok(question) => question,
            Err(_) => {
                // With an id, the client can get the answer that this is no message.
                return match bytes {
                    [a, b, flags, _, ..] if flags & 0x80 == 0 => {
                        let id = u16::from_be_bytes([*a, *b]);
                        Local::Answer(Message::error_msg(id, OpCode::Query, ResponseCode::FormErr), PLAIN_UDP)
                    }
                    _ => Local::Ignore,
                };
            }
        };
        // Answering an answer could continue indefinitely.
        if question.metadata.message_type != MessageType::Query {
            return Local::Ignore;
        }
        let limit = question.edns.as_ref().map_or(PLAIN_UDP, |edns| edns.max_payload().max(PLAIN_UDP));
        match self.zone.reply(&self.cluster, &question) {
            Reply::Answer(mut answer) => {
                if question.edns.is_some() {
                    let mut edns = hickory_proto::op::Edns::new();
                    edns.set_max_payload(1232);
                    answer.set_edns(edns);
                }
                Local::Answer(answer, limit.min(1232))
            }
            Reply::Forward => Local::Forward(question),
        }
    }

    async fn remote(&self, question: &Message, bytes: &[u8], over_tcp: bool) -> Vec<u8> {
        let answer = match self.waiting.try_acquire() {
            Ok(_permit) => self.upstreams.ask(bytes, over_tcp).await,
            Err(_) => None,
        };
        answer.unwrap_or_else(|| {
            let mut failure =
                Message::error_msg(question.metadata.id, question.metadata.op_code, ResponseCode::ServFail);
            failure.metadata.recursion_desired = question.metadata.recursion_desired;
            failure.metadata.recursion_available = true;
            failure.add_queries(question.queries.iter().cloned());
            encode(&failure, None).unwrap_or_default()
        })
    }
}

/// Encodes a message; a message that is longer than the limit is truncated and marked as such.
fn encode(message: &Message, limit: Option<u16>) -> Option<Vec<u8>> {
    let bytes = message.to_vec().ok()?;
    match limit {
        Some(limit) if bytes.len() > limit.into() => message.truncate().to_vec().ok(),
        _ => Some(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::{
        op::Query,
        rr::{Name, RecordType},
    };
    use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
    use serde_json::json;

    async fn start(pods: u8) -> (SocketAddr, CancellationToken) {
        let cluster = Cluster::new();
        let service: core::Service = serde_json::from_value(
            json!({"metadata": {"name": "db", "namespace": "n"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}),
        )
        .unwrap();
        cluster.put_service(&service);
        let endpoints: Vec<_> = (0..pods).map(|n| json!({"addresses": [format!("10.244.0.{n}")]})).collect();
        let slice: discovery::EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "db-1", "namespace": "n", "labels": {"kubernetes.io/service-name": "db"}},
            "addressType": "IPv4", "endpoints": endpoints,
        }))
        .unwrap();
        cluster.put_slice(&slice);
        let net = NodeNet { handle: tokio::runtime::Handle::current(), node_ip: [127, 0, 0, 1].into() };
        let config = DnsConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            domain: "cluster.local".into(),
            reverse: Vec::new(),
            upstreams: Vec::new(),
        };
        let dns = Dns::bind(&net, cluster, config).await.unwrap();
        let address = dns.address().unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(dns.run(shutdown.clone()));
        (address, shutdown)
    }

    fn question(name: &str) -> Message {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        message
    }

    async fn over_udp(server: SocketAddr, bytes: &[u8]) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(bytes, server).await.unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).await.unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    }

    #[tokio::test]
    async fn answers_over_udp_and_tcp() {
        let (server, _shutdown) = start(100).await;
        let question = question("db.n.svc.cluster.local.");
        let short = over_udp(server, &question.to_vec().unwrap()).await;
        assert!(short.metadata.truncation && short.answers.is_empty());
        assert_eq!(short.metadata.id, question.metadata.id);

        let mut stream = TcpStream::connect(server).await.unwrap();
        for _ in 0..2 {
            let bytes = question.to_vec().unwrap();
            stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), 100);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_asked_fails_promptly() {
        let (server, _shutdown) = start(1).await;
        let answer = over_udp(server, &question("example.com.").to_vec().unwrap()).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(answer.queries.len(), 1);
        let answer = over_udp(server, &[0x12, 0x34, 0, 0, 0xff]).await;
        assert_eq!((answer.metadata.id, answer.metadata.response_code), (0x1234, ResponseCode::FormErr));
        // The server still runs.
        let answer = over_udp(server, &question("db.n.svc.cluster.local.").to_vec().unwrap()).await;
        assert_eq!(answer.answers.len(), 1);
    }
}
