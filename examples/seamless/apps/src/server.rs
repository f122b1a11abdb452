//! Small HTTP/1.1 server: GET, keep-alive, and an orderly end.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    faults,
    metrics::Metrics,
    settings::{OnSigterm, Settings},
};

/// Longest request head.
const HEAD_LIMIT: usize = 8 * 1024;
/// Time after which a kept connection without a request is closed.
const IDLE: Duration = Duration::from_secs(75);
/// Stack size of a connection's thread. The deepest call here needs a few KiB, a name lookup some more.
const STACK: usize = 256 * 1024;
/// Limit of the wait for outstanding requests once listening has ended.
const FINISH: Duration = Duration::from_secs(25);

/// Reply: status and body.
pub struct Reply {
    /// HTTP status, such as 200.
    pub status: u16,
    /// Plain text of the body.
    pub body: String,
}

impl Reply {
    /// Creates a reply of status 200 with a body.
    pub fn ok(body: impl Into<String>) -> Self {
        Self { status: 200, body: body.into() }
    }
}

/// State that the accepting thread, the connections and the signal handler share.
struct State<H> {
    settings: Settings,
    handler: H,
    started: Instant,
    ending: AtomicBool,
    /// Number of requests read but not yet answered.
    busy: AtomicUsize,
    /// Number of clients' requests so far.
    requests: AtomicU64,
    /// Time of the last request of a client, in milliseconds since the start.
    last_request: AtomicU64,
    metrics: Metrics,
}

impl<H> State<H> {
    /// Returns the time that a drain still has to take: until no client has sent a request for the grace time. A node that has not learned yet
    /// that the pod ends sends clients for as long as it takes, which no fixed time covers. The pod's grace period is the limit.
    fn drain_left(&self, since: Duration, now: Duration) -> Duration {
        let last = Duration::from_millis(self.last_request.load(Ordering::SeqCst)).max(since);
        (last + self.settings.grace).saturating_sub(now)
    }
}

/// Serves until SIGTERM or SIGINT, then ends as the settings say. `/ready`, `/metrics` and `/slow/<milliseconds>` are answered here,
/// everything else by the handler.
///
/// # Errors
/// When the port cannot be listened on, or signals cannot be listened for.
pub fn serve(settings: Settings, handler: impl Fn() -> Reply + Send + Sync + 'static) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, settings.port))?;
    // In a container this is process 1, for which the kernel ignores signals without a handler: every mode needs one.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    eprintln!("version {} listens on port {}", settings.version, settings.port);
    let state = Arc::new(State {
        settings,
        handler,
        started: Instant::now(),
        ending: AtomicBool::new(false),
        busy: AtomicUsize::new(0),
        requests: AtomicU64::new(0),
        last_request: AtomicU64::new(0),
        metrics: Metrics::default(),
    });
    let accepting = {
        let (listener, state) = (listener.try_clone()?, state.clone());
        thread::Builder::new().stack_size(STACK).spawn(move || accept(&listener, &state))?
    };
    if let Some(signal) = signals.forever().next() {
        let mode = if signal == SIGINT { OnSigterm::Close } else { state.settings.on_sigterm };
        eprintln!("signal {signal}: {mode:?}");
        state.ending.store(true, Ordering::SeqCst);
        match mode {
            OnSigterm::Die => process::exit(143),
            OnSigterm::Close => {}
            OnSigterm::Drain => {
                let since = state.started.elapsed();
                loop {
                    let left = state.drain_left(since, state.started.elapsed());
                    if left.is_zero() {
                        break;
                    }
                    thread::sleep(left);
                }
            }
        }
        // Wakes the accepting thread, whose next call fails; later connections are refused.
        let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
        let _ = accepting.join();
        let deadline = Instant::now() + FINISH;
        while state.busy.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

fn accept<H: Fn() -> Reply + Send + Sync + 'static>(listener: &TcpListener, state: &Arc<State<H>>) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let state = state.clone();
                let started = thread::Builder::new().stack_size(STACK).spawn(move || {
                    // A client that goes away in the middle is no error.
                    let _ = connection(stream, &state);
                });
                if let Err(error) = started {
                    eprintln!("a connection is refused: {error}");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                eprintln!("accept: {error}");
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn connection<H: Fn() -> Reply>(mut stream: TcpStream, state: &State<H>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE))?;
    let mut buffer = Vec::with_capacity(1024);
    loop {
        let Some(head) = read_head(&mut stream, &mut buffer)? else { return Ok(()) };
        state.busy.fetch_add(1, Ordering::SeqCst);
        let reply = answer(&head, state);
        let close = head.close || reply.status == 400 || state.ending.load(Ordering::SeqCst);
        let written = write_reply(&mut stream, &reply, close);
        state.busy.fetch_sub(1, Ordering::SeqCst);
        written?;
        if close {
            return Ok(());
        }
    }
}

fn answer<H: Fn() -> Reply>(head: &Head, state: &State<H>) -> Reply {
    if !head.understood {
        return Reply { status: 400, body: "only GET without a body is understood".into() };
    }
    if head.path == "/ready" {
        let ready = state.started.elapsed() >= state.settings.ready_after && !state.ending.load(Ordering::SeqCst);
        return if ready { Reply::ok("ready") } else { Reply { status: 503, body: "not ready".into() } };
    }
    // Scrapes are no clients: they neither keep a program that ends nor count.
    if head.path == "/metrics" {
        return Reply::ok(state.metrics.text());
    }
    let now = u64::try_from(state.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    state.last_request.store(now, Ordering::SeqCst);
    let begun = Instant::now();
    let reply = answer_client(head, state);
    state.metrics.count(reply.status, begun.elapsed());
    reply
}

/// Answers a client, with the misbehaviour that the settings ask for.
fn answer_client<H: Fn() -> Reply>(head: &Head, state: &State<H>) -> Reply {
    if let Some(milliseconds) = head.path.strip_prefix("/slow/").and_then(|text| text.parse::<u32>().ok()) {
        thread::sleep(Duration::from_millis(milliseconds.into()));
    }
    let Settings { faults, version, .. } = &state.settings;
    let number = state.requests.fetch_add(1, Ordering::Relaxed);
    faults::begin(*faults, number);
    thread::sleep(faults.delay);
    if faults::fails(faults.fail_percent, number) {
        return Reply { status: 500, body: format!("version {version} is broken") };
    }
    (state.handler)()
}

struct Head {
    path: String,
    close: bool,
    understood: bool,
}

/// Reads one request head; returns `None` at the end of the connection. Bytes after the head stay in the buffer.
fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Head>> {
    let mut chunk = [0; 1024];
    loop {
        if let Some((head, length)) = parse_head(buffer) {
            buffer.drain(..length);
            return Ok(Some(head));
        }
        if buffer.len() > HEAD_LIMIT {
            buffer.clear();
            return Ok(Some(Head { path: String::new(), close: true, understood: false }));
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(None),
            count => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}

fn parse_head(buffer: &[u8]) -> Option<(Head, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(buffer) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(length)) => length,
        Err(_) => return Some((Head { path: String::new(), close: true, understood: false }, buffer.len())),
    };
    let header = |name: &str, value: &str| {
        request.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case(name)
                && (value.is_empty() || header.value.to_ascii_lowercase() == value.as_bytes())
        })
    };
    let has_body = header("transfer-encoding", "") || (header("content-length", "") && !header("content-length", "0"));
    let keeps =
        if request.version == Some(1) { !header("connection", "close") } else { header("connection", "keep-alive") };
    let head = Head {
        path: request.path.unwrap_or("/").to_owned(),
        close: !keeps,
        understood: request.method == Some("GET") && !has_body,
    };
    Some((head, length))
}

fn write_reply(stream: &mut TcpStream, reply: &Reply, close: bool) -> io::Result<()> {
    let reason = match reply.status {
        200 => "OK",
        400 => "Bad Request",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    };
    let connection = if close { "close" } else { "keep-alive" };
    let Reply { status, body } = reply;
    // A single write lets one packet carry the whole reply.
    let text = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{body}\n",
        body.len() + 1
    );
    stream.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Faults;

    #[test]
    fn a_drain_lasts_until_clients_stay_away() {
        let state = |last_request| State {
            settings: Settings { grace: Duration::from_secs(5), ..Settings::read().unwrap() },
            handler: (),
            started: Instant::now(),
            ending: AtomicBool::new(true),
            busy: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            last_request: AtomicU64::new(last_request),
            metrics: Metrics::default(),
        };
        let seconds = Duration::from_secs;
        assert_eq!(
            state(2_000).drain_left(seconds(10), seconds(10)),
            seconds(5),
            "the last request was before the signal"
        );
        assert_eq!(
            state(13_000).drain_left(seconds(10), seconds(14)),
            seconds(4),
            "a client was sent after the signal"
        );
        assert_eq!(state(13_000).drain_left(seconds(10), seconds(18)), Duration::ZERO);
    }

    #[test]
    fn metrics_count_clients_alone() {
        let faults = Faults { fail_percent: 50, ..Faults::default() };
        let state = State {
            settings: Settings { faults, ..Settings::read().unwrap() },
            handler: || Reply::ok("fine"),
            started: Instant::now(),
            ending: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            last_request: AtomicU64::new(0),
            metrics: Metrics::default(),
        };
        let ask = |path: &str| answer(&Head { path: path.to_owned(), close: true, understood: true }, &state);
        let statuses: Vec<u16> = ["/", "/any", "/", "/ready", "/metrics", "/"].map(|path| ask(path).status).into();
        assert_eq!(statuses, [200, 500, 200, 200, 200, 500]);
        let text = ask("/metrics").body;
        for line in ["http_requests_total{code=\"200\"} 2\n", "http_requests_total{code=\"500\"} 2\n"] {
            assert!(text.contains(line), "{text}");
        }
    }
}
