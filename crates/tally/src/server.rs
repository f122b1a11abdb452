//! HTTP server: a few threads, one request a connection, limits on everything.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{report::PEERS, sampler::Sampler};

/// Number of requests answered at the same time; more wait in the kernel's queue.
const THREADS: usize = 4;
/// Stack size of a thread. The deepest call here needs a few KiB, and the netlink buffer is not on it.
const STACK: usize = 128 * 1024;
/// Longest request head.
const HEAD_LIMIT: usize = 4 * 1024;
/// Longest time for one request, its reply included.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Listens on the first address that can be bound.
///
/// # Errors
/// When no address can be bound.
pub fn listen(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    TcpListener::bind(addresses)
}

/// Answers questions indefinitely.
///
/// # Errors
/// When a thread cannot be started.
pub fn serve(listener: TcpListener, sampler: &Arc<Sampler>) -> io::Result<()> {
    let listener = Arc::new(listener);
    let mut threads = Vec::new();
    for _ in 0..THREADS {
        let (listener, sampler) = (listener.clone(), sampler.clone());
        threads.push(thread::Builder::new().stack_size(STACK).spawn(move || accept(&listener, &sampler))?);
    }
    let sampler = sampler.clone();
    threads.push(thread::Builder::new().stack_size(STACK).spawn(move || sampler.run())?);
    for thread in threads {
        // The threads never end.
        let _ = thread.join();
    }
    Ok(())
}

fn accept(listener: &TcpListener, sampler: &Sampler) {
    loop {
        match listener.accept() {
            // A client that leaves before its answer is no error.
            Ok((stream, _)) => drop(connection(stream, sampler)),
            Err(error) => {
                eprintln!("accept: {error}");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn connection(mut stream: TcpStream, sampler: &Sampler) -> io::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut buffer = Vec::with_capacity(512);
    let mut chunk = [0; 512];
    let reply = loop {
        match parse(&buffer) {
            Parsed::Partial if buffer.len() < HEAD_LIMIT => {}
            Parsed::Partial | Parsed::Invalid => break Reply::text(400, "the request is no HTTP, or too long"),
            Parsed::Request { asked, body } => {
                let reply = answer(asked, sampler);
                break if body { reply } else { reply.head() };
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => buffer.extend_from_slice(&chunk[..count]),
        }
    };
    stream.write_all(reply.bytes().as_slice())?;
    // Closing with unread bytes would reset the connection, and the client might not get the reply.
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.set_read_timeout(Some(deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))))?;
    let mut rest = [0; 512];
    while Instant::now() < deadline && stream.read(&mut rest)? > 0 {}
    Ok(())
}

/// Subject of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Connections, with at most `peers` peers of each port.
    Connections {
        peers: usize,
    },
    Metrics,
    Health,
    Elsewhere,
    NotByGet,
}

/// Request, as far as it has been received.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Partial,
    Invalid,
    Request { asked: Asked, body: bool },
}

fn parse(buffer: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(buffer) {
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Err(_) => Parsed::Invalid,
        Ok(httparse::Status::Complete(_)) => {
            let method = request.method.unwrap_or_default();
            let path = request.path.unwrap_or_default();
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let asked = match (method, path) {
                ("GET" | "HEAD", "/" | "/connections") => Asked::Connections { peers: peers(query) },
                ("GET" | "HEAD", "/metrics") => Asked::Metrics,
                ("GET" | "HEAD", "/healthz") => Asked::Health,
                ("GET" | "HEAD", _) => Asked::Elsewhere,
                _ => Asked::NotByGet,
            };
            Parsed::Request { asked, body: method != "HEAD" }
        }
    }
}

/// Returns the number of peers that a question asks for: `peers=100`. Unknown parameters are ignored.
fn peers(query: &str) -> usize {
    let asked = query.split('&').find_map(|parameter| parameter.strip_prefix("peers=")?.parse().ok());
    asked.unwrap_or(PEERS)
}

fn answer(asked: Asked, sampler: &Sampler) -> Reply {
    match asked {
        Asked::Metrics => match sampler.ask() {
            Ok(report) => {
                Reply { status: 200, kind: "text/plain; version=0.0.4", body: report.metrics(), with_body: true }
            }
            Err(unreadable) => Reply::text(503, &unreadable.to_string()),
        },
        Asked::Connections { peers } => match sampler.ask() {
            Ok(report) => match serde_json::to_string(&report.with_peers(peers)) {
                Ok(body) => Reply { status: 200, kind: "application/json", body, with_body: true },
                Err(error) => Reply::text(500, &error.to_string()),
            },
            Err(unreadable) => Reply::text(503, &unreadable.to_string()),
        },
        Asked::Health => Reply::text(200, "ok"),
        Asked::Elsewhere => Reply::text(404, "there are /connections, /metrics and /healthz"),
        Asked::NotByGet => Reply::text(405, "only GET is understood"),
    }
}

struct Reply {
    status: u16,
    kind: &'static str,
    body: String,
    with_body: bool,
}

impl Reply {
    fn text(status: u16, text: &str) -> Self {
        Self { status, kind: "text/plain", body: format!("{text}\n"), with_body: true }
    }

    /// Returns the reply without its body. The head still states the body's length.
    fn head(self) -> Self {
        Self { with_body: false, ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { status, kind, body, with_body } = self;
        let reason = match status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            503 => "Service Unavailable",
            _ => "Internal Server Error",
        };
        let allow = if *status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let length = body.len();
        let body = if *with_body { body } else { "" };
        format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n{allow}Connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn understands_requests() {
        for (text, wanted) in [
            ("GET / HTTP/1.1\r\n\r\n", Parsed::Request { asked: Asked::Connections { peers: PEERS }, body: true }),
            (
                "GET /connections?x=1&peers=500 HTTP/1.1\r\n\r\n",
                Parsed::Request { asked: Asked::Connections { peers: 500 }, body: true },
            ),
            (
                "GET /connections?peers=all HTTP/1.1\r\n\r\n",
                Parsed::Request { asked: Asked::Connections { peers: PEERS }, body: true },
            ),
            (
                "GET /connections?x=1 HTTP/1.1\r\nHost: a\r\n\r\n",
                Parsed::Request { asked: Asked::Connections { peers: PEERS }, body: true },
            ),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", Parsed::Request { asked: Asked::Metrics, body: false }),
            ("GET /healthz HTTP/1.0\r\n\r\n", Parsed::Request { asked: Asked::Health, body: true }),
            ("GET /etc/passwd HTTP/1.1\r\n\r\n", Parsed::Request { asked: Asked::Elsewhere, body: true }),
            ("POST / HTTP/1.1\r\n\r\n", Parsed::Request { asked: Asked::NotByGet, body: true }),
            ("GET / HTT", Parsed::Partial),
            ("", Parsed::Partial),
            ("\0\0\0", Parsed::Invalid),
        ] {
            assert_eq!(parse(text.as_bytes()), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_reply_says_how_long_it_is() {
        let text = String::from_utf8(Reply::text(405, "no").bytes()).unwrap();
        assert!(
            text.contains("Content-Length: 3\r\n") && text.contains("Allow: GET") && text.ends_with("\r\n\r\nno\n")
        );
        let head = String::from_utf8(Reply::text(200, "ok").head().bytes()).unwrap();
        assert!(head.contains("Content-Length: 3\r\n") && head.ends_with("\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
        }
    }
}
