//! Client with which the frontend calls the backend.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Longest reply.
const REPLY_LIMIT: usize = 64 * 1024;

/// Reuse of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// Each request has a connection of its own.
    New,
    /// Connections are kept and used again.
    Pooled,
}

impl FromStr for Connections {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "new" => Ok(Self::New),
            "pooled" => Ok(Self::Pooled),
            other => Err(format!("`{other}` is none of new, pooled")),
        }
    }
}

/// Client of one address, `host` or `host:port`.
pub struct Client {
    host: String,
    connections: Connections,
    /// Longest time for connecting, and for each read and write.
    timeout: Duration,
    idle: Mutex<Vec<TcpStream>>,
    /// Resolved address. A Service's address outlives its pods, so it is resolved once, and again when no server answers there.
    address: Mutex<Option<SocketAddr>>,
}

impl Client {
    /// Creates a client without a connection yet.
    pub fn new(host: &str, connections: Connections, timeout: Duration) -> Self {
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        Self { host, connections, timeout, idle: Mutex::default(), address: Mutex::default() }
    }

    /// Sends `GET /` and returns the body.
    ///
    /// # Errors
    /// When the server cannot be reached, or answers with another status than 200.
    pub fn get(&self) -> io::Result<String> {
        // A kept connection may have been closed meanwhile; a GET may be sent again.
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(stream) = kept
            && let Ok(body) = self.exchange(stream)
        {
            return Ok(body);
        }
        self.exchange(self.connect()?).map_err(|error| match error.kind() {
            // A socket's own timeout is reported as `EAGAIN`, whose text does not mention a timeout.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{} does not answer within {:?}", self.host, self.timeout),
            ),
            _ => error,
        })
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match *address {
            Some(known) => known,
            None => {
                let mut found = self.host.to_socket_addrs()?;
                let nobody = || io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", self.host));
                *address.insert(found.next().ok_or_else(nobody)?)
            }
        };
        drop(address);
        TcpStream::connect_timeout(&known, self.timeout).inspect_err(|_| {
            *self.address.lock().unwrap_or_else(PoisonError::into_inner) = None;
        })
    }

    fn exchange(&self, mut stream: TcpStream) -> io::Result<String> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        let connection = match self.connections {
            Connections::New => "close",
            Connections::Pooled => "keep-alive",
        };
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\n\r\n", self.host);
        stream.write_all(request.as_bytes())?;
        let reply = read_reply(&mut stream)?;
        if self.connections == Connections::Pooled && !reply.close {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        }
        match reply.status {
            200 => Ok(reply.body),
            status => Err(io::Error::other(format!("{} answers {status}: {}", self.host, reply.body))),
        }
    }
}

struct Reply {
    status: u16,
    close: bool,
    body: String,
}

fn read_reply(stream: &mut TcpStream) -> io::Result<Reply> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut buffer = Vec::with_capacity(512);
    let mut chunk = [0; 1024];
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&buffer).map_err(|_| bad("the reply is no HTTP"))?;
        if let httparse::Status::Complete(head) = parsed {
            let header = |name: &str| {
                let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                found.and_then(|header| str::from_utf8(header.value).ok())
            };
            let length = header("content-length").and_then(|text| text.parse::<usize>().ok());
            let length = length.filter(|length| *length <= REPLY_LIMIT);
            let length = length.ok_or_else(|| bad("the reply has no length, or is too long"))?;
            if let Some(body) = buffer.get(head..head + length) {
                return Ok(Reply {
                    status: response.code.unwrap_or_default(),
                    close: header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
                    body: String::from_utf8_lossy(body).trim_end().to_owned(),
                });
            }
        }
        if buffer.len() > 2 * REPLY_LIMIT {
            return Err(bad("the reply is too long"));
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the reply was complete")),
            count => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}
