//! Clients that connect once and stay: each reads lines, and records whether its connection was cut.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures::{SinkExt, StreamExt, future::try_join_all, stream};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::eventually;

/// Limit of the wait for a connection and its first line.
const PATIENCE: Duration = Duration::from_secs(30);
/// Number of connections that are opened at the same time.
const AT_ONCE: usize = 20;

/// Kind of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plain TCP: one line after the other.
    Lines,
    /// Plain TCP, whose own direction the client ends at once: it only listens.
    OneWay,
    /// A websocket at `/ws`: one message after the other.
    WebSocket,
}

/// Set of connections that stay until they are dropped, closed, or cut.
#[derive(Debug, Default)]
pub struct Held {
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    record: Arc<Mutex<ConnectionRecord>>,
    task: JoinHandle<()>,
}

/// Record of one client's connection.
#[derive(Clone, Debug, Default)]
struct ConnectionRecord {
    first: String,
    lines: u64,
    /// Line that differs from the first one: a connection has one color.
    other: Option<String>,
    /// Reason why the connection ended, when the client did not end it.
    cut: Option<String>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    fn record(&self) -> ConnectionRecord {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Held {
    /// Opens `count` connections; each has had its first line when this returns.
    ///
    /// # Errors
    /// When a connection cannot be opened, or gets no line.
    pub async fn open(kind: Kind, address: SocketAddr, count: usize) -> Result<Self> {
        traffic::raise_file_limit();
        let clients = stream::iter(0..count).map(|_| open(kind, address)).buffer_unordered(AT_ONCE);
        let clients: Vec<Result<Client>> = clients.collect().await;
        Ok(Self { clients: clients.into_iter().collect::<Result<_>>()? })
    }

    /// Returns the number of connections, cut ones included.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Returns whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Returns the lines that the connections get, with the number of connections for each.
    pub fn line_counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for client in &self.clients {
            *counts.entry(client.record().first).or_default() += 1;
        }
        counts
    }

    /// Takes over the connections of another set.
    pub fn append(&mut self, mut other: Self) {
        self.clients.append(&mut other.clients);
    }

    /// Closes some of the connections from the client's side.
    pub fn close(&mut self, count: usize) {
        self.clients.truncate(self.clients.len().saturating_sub(count));
    }

    /// Returns the number of cut connections.
    pub fn cut(&self) -> usize {
        self.clients.iter().filter(|client| client.record().cut.is_some()).count()
    }

    /// Checks that no connection was cut, and that none got two different lines.
    pub fn whole(&self) -> Result<()> {
        for (number, client) in self.clients.iter().enumerate() {
            let record = client.record();
            if let Some(cut) = record.cut {
                bail!(
                    "{} of {} were cut; number {number} heard {:?}, then: {cut}",
                    self.cut(),
                    self.len(),
                    record.first
                );
            }
            if let Some(other) = record.other {
                bail!("connection {number} heard {:?} and {other:?}", record.first);
            }
        }
        Ok(())
    }

    /// Waits until each connection has got one more line, so that each is known to be alive.
    pub async fn alive(&self) -> Result<()> {
        let before: Vec<u64> = self.clients.iter().map(|client| client.record().lines).collect();
        eventually("every held connection hears one more line", || async {
            let silent = self.clients.iter().zip(&before).filter(|(client, before)| client.record().lines <= **before);
            let silent = silent.filter(|(client, _)| client.record().cut.is_none()).count();
            ensure!(silent == 0, "{silent} of {} are silent", self.len());
            Ok(())
        })
        .await?;
        self.whole()
    }
}

/// Opens `count` connections, spread over several addresses as evenly as possible.
pub async fn open_at(kind: Kind, addresses: &[SocketAddr], count: usize) -> Result<Held> {
    let (share, more) = (count / addresses.len().max(1), count % addresses.len().max(1));
    let counts = (0..).map(|at| share + usize::from(at < more));
    let parts = addresses.iter().zip(counts).map(|(address, count)| Held::open(kind, *address, count));
    let mut all = Held::default();
    try_join_all(parts).await?.into_iter().for_each(|part| all.append(part));
    Ok(all)
}

async fn open(kind: Kind, address: SocketAddr) -> Result<Client> {
    let opening = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut reader = match kind {
            Kind::WebSocket => {
                let url = format!("ws://{address}/ws");
                let (socket, _) = client_async(url, stream).await?;
                LineReader::WebSocket(Box::new(socket))
            }
            Kind::Lines | Kind::OneWay => {
                let (input, mut output) = stream.into_split();
                if kind == Kind::OneWay {
                    output.shutdown().await?;
                }
                LineReader::Lines { lines: BufReader::new(input).lines(), _open: output }
            }
        };
        let first = reader.next().await?.context("it was closed before the first line")?;
        anyhow::Ok((reader, first))
    };
    let (mut reader, first) = timeout(PATIENCE, opening).await.context("no line came")?.context(address.to_string())?;
    let record =
        Arc::new(Mutex::new(ConnectionRecord { first: first.clone(), lines: 1, ..ConnectionRecord::default() }));
    let task = tokio::spawn({
        let record = record.clone();
        async move {
            loop {
                let line = reader.next().await;
                let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
                match line {
                    Ok(Some(line)) => {
                        record.lines += 1;
                        if line != first {
                            record.other = Some(line);
                        }
                        continue;
                    }
                    Ok(None) => record.cut = Some("the server closed it".into()),
                    Err(error) => record.cut = Some(format!("{error:#}")),
                }
                return;
            }
        }
    });
    Ok(Client { record, task })
}

/// Reader of the lines that a server sends.
enum LineReader {
    Lines {
        lines: Lines<BufReader<OwnedReadHalf>>,
        /// Open, because dropping it would end the client's direction.
        _open: OwnedWriteHalf,
    },
    WebSocket(Box<WebSocketStream<TcpStream>>),
}

impl LineReader {
    /// Returns the next line; `None` at an orderly end.
    async fn next(&mut self) -> Result<Option<String>> {
        match self {
            Self::Lines { lines, .. } => Ok(lines.next_line().await?),
            Self::WebSocket(socket) => loop {
                match socket.next().await.transpose()? {
                    Some(Message::Text(text)) => return Ok(Some(text.to_string())),
                    None | Some(Message::Close(_)) => return Ok(None),
                    // Reading has queued the answer to a ping.
                    Some(_) => socket.flush().await?,
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Starts a server that sends two lines to each client, and then ends the first connection.
    async fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut kept = Vec::new();
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(b"The color is #1\nThe color is #1\n").await.unwrap();
                if number > 0 {
                    kept.push(stream);
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn knows_which_were_cut() {
        let address = server().await;
        let cut = Held::open(Kind::Lines, address, 1).await.unwrap();
        eventually("it is cut", || async {
            ensure!(cut.cut() == 1);
            Ok(())
        })
        .await
        .unwrap();
        assert!(cut.whole().unwrap_err().to_string().contains("the server closed it"));
        let mut kept = Held::open(Kind::OneWay, address, 3).await.unwrap();
        kept.whole().unwrap();
        assert_eq!(kept.line_counts(), BTreeMap::from([("The color is #1".to_owned(), 3)]));
        kept.close(2);
        assert_eq!(kept.len(), 1);
        kept.whole().unwrap();
        let spread = open_at(Kind::Lines, &[address, address], 3).await.unwrap();
        assert_eq!(spread.len(), 3);
    }
}
