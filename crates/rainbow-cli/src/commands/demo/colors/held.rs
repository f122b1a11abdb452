//! Connections that are held open, and the lines that arrive on them.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
};

use crate::error::{Error, Result};

/// Longest time for anything to be seen on a connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections to one color.
pub(super) struct Held {
    pub(super) color: String,
    connections: Vec<Connection>,
}

struct Connection {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

/// Lines that arrived on a connection, and its end.
#[derive(Clone, Debug, Default)]
struct Seen {
    lines: usize,
    /// Line of another color.
    wrong: Option<String>,
    /// Whether the other side ended the connection.
    ended: bool,
}

impl Held {
    /// Opens connections and waits until each has sent its color, which must be the given one.
    pub(super) async fn open(address: SocketAddr, color: &str, count: usize) -> Result<Self> {
        let expected = format!("The color is #{color}");
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            let stream = TcpStream::connect(address).await;
            let stream = stream.map_err(|error| Error::failed(format_args!("cannot connect to {address}"), error))?;
            let (sender, seen) = watch::channel(Seen::default());
            let task = tokio::spawn(read(stream, expected.clone(), sender));
            connections.push(Connection { seen, task });
        }
        let mut held = Self { color: color.to_owned(), connections };
        held.lines_after(&vec![0; count]).await?;
        Ok(held)
    }

    /// Returns the number of connections.
    pub(super) fn count(&self) -> usize {
        self.connections.len()
    }

    /// Counts the lines that arrived on all connections.
    pub(super) fn lines(&self) -> usize {
        self.connections.iter().map(|connection| connection.seen.borrow().lines).sum()
    }

    /// Waits until each connection has sent its color once more. Fails where a connection has ended or has sent another color.
    pub(super) async fn another_line(&mut self) -> Result {
        let before: Vec<usize> = self.connections.iter().map(|connection| connection.seen.borrow().lines).collect();
        self.lines_after(&before).await
    }

    /// Waits until each connection has received more lines than `before` has for it.
    async fn lines_after(&mut self, before: &[usize]) -> Result {
        let color = &self.color;
        for (connection, before) in self.connections.iter_mut().zip(before) {
            let seen = connection.seen.wait_for(|seen| seen.lines > *before || seen.ended || seen.wrong.is_some());
            let seen = tokio::time::timeout(PATIENCE, seen).await;
            let seen = seen.map_err(|_| Error::Failed(format!("a connection to {color} has said nothing more")))?;
            let seen = seen.map_err(|error| Error::failed("a connection was lost", error))?.clone();
            if let Some(wrong) = seen.wrong {
                return Err(Error::Failed(format!("a connection to {color} said `{wrong}`")));
            }
            if seen.ended {
                return Err(Error::Failed(format!("a connection to {color} was cut")));
            }
        }
        Ok(())
    }

    /// Counts the connections that the other side has ended.
    pub(super) fn ended(&self) -> usize {
        self.connections.iter().filter(|connection| connection.seen.borrow().ended).count()
    }

    /// Waits until the other side has ended all connections.
    pub(super) async fn all_ended(&mut self) -> Result {
        for connection in &mut self.connections {
            let ended = tokio::time::timeout(PATIENCE, connection.seen.wait_for(|seen| seen.ended)).await;
            let ended = ended.map_err(|_| Error::Failed(format!("a connection to {} is still there", self.color)))?;
            ended.map_err(|error| Error::failed("a connection was lost", error))?;
        }
        Ok(())
    }
}

impl Drop for Held {
    /// Ends the connections from this side.
    fn drop(&mut self) {
        for connection in &self.connections {
            connection.task.abort();
        }
    }
}

async fn read(stream: TcpStream, expected: String, seen: watch::Sender<Seen>) {
    let mut lines = BufReader::new(stream).lines();
    loop {
        match lines.next_line().await {
            Ok(Some(line)) if line.trim_end() == expected => seen.send_modify(|seen| seen.lines += 1),
            Ok(Some(line)) => seen.send_modify(|seen| seen.wrong = Some(line)),
            Ok(None) | Err(_) => return seen.send_modify(|seen| seen.ended = true),
        }
    }
}
