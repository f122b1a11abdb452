//! Tests with the kernel's own table, with connections on loopback, and with the program itself.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tally::{diag, proc, socket::Socket};

/// Number of connections that the program must cope with.
const MANY: usize = 10_000;
/// Longest queue of a listener, by the kernel's default.
const QUEUE: usize = 4000;

/// Lock for this process's limit of open files, which may allow [`MANY`] connections only once at a time.
static FILES: Mutex<()> = Mutex::new(());

/// Connections that no program accepts; the kernel has established them nevertheless.
struct Held {
    ports: Vec<u16>,
    _listeners: Vec<TcpListener>,
    clients: Vec<TcpStream>,
    // Last, so that the files are closed before another test opens its own.
    _turn: MutexGuard<'static, ()>,
}

fn hold(count: usize, address: &str) -> Held {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let turn = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut held = Held { ports: Vec::new(), _listeners: Vec::new(), clients: Vec::new(), _turn: turn };
    while held.clients.len() < count {
        let listener = TcpListener::bind((address, 0)).unwrap();
        rustix::net::listen(&listener, i32::try_from(QUEUE).unwrap() + 1).unwrap();
        let at = listener.local_addr().unwrap();
        for _ in 0..QUEUE.min(count - held.clients.len()) {
            held.clients.push(TcpStream::connect(at).unwrap());
        }
        held.ports.push(at.port());
        held._listeners.push(listener);
    }
    held.ports.sort_unstable();
    held
}

fn on(ports: &[u16], sockets: &[Socket]) -> BTreeSet<(SocketAddr, SocketAddr)> {
    let ours = sockets.iter().filter(|socket| ports.contains(&socket.local.port()) && socket.is_held());
    ours.map(|socket| (socket.local, socket.peer)).collect()
}

#[test]
fn ten_thousand_connections_are_all_seen_in_both_ways() {
    let held = hold(MANY, "127.0.0.1");
    let mut by_netlink = Vec::new();
    assert_eq!(diag::read(|socket| by_netlink.push(*socket)).unwrap(), diag::Coverage::Whole);
    let mut by_proc = Vec::new();
    proc::read(Path::new("/proc/self/net"), |socket| by_proc.push(*socket)).unwrap();
    let expected: BTreeSet<_> =
        held.clients.iter().map(|client| (client.peer_addr().unwrap(), client.local_addr().unwrap())).collect();
    assert_eq!(expected.len(), MANY);
    assert!(on(&held.ports, &by_netlink) == expected, "{} by netlink", on(&held.ports, &by_netlink).len());
    assert!(on(&held.ports, &by_proc) == expected, "{} by /proc", on(&held.ports, &by_proc).len());
}

#[test]
fn ipv6_and_mapped_addresses_are_seen() {
    // A listener on `::` has clients of both families.
    let Ok(listener) = TcpListener::bind("[::]:0") else { return };
    let port = listener.local_addr().unwrap().port();
    let clients = [TcpStream::connect(("127.0.0.1", port)).unwrap(), TcpStream::connect(("::1", port)).unwrap()];
    let expected: BTreeSet<_> =
        clients.iter().map(|client| (client.peer_addr().unwrap(), client.local_addr().unwrap())).collect();
    let mut sockets = Vec::new();
    diag::read(|socket| sockets.push(*socket)).unwrap();
    assert_eq!(on(&[port], &sockets), expected);
    sockets.clear();
    proc::read(Path::new("/proc/self/net"), |socket| sockets.push(*socket)).unwrap();
    assert_eq!(on(&[port], &sockets), expected);
}

/// Running program, on a port that the kernel chooses.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start(ports: &[u16]) -> Self {
        let ports = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let mut child = Command::new(env!("CARGO_BIN_EXE_tally"))
            .env("TALLY_PORTS", ports)
            .env("TALLY_LISTEN", "127.0.0.1:0")
            .env("TALLY_LOOPBACK", "count")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit_once(' ').unwrap().1.parse().unwrap();
        Self { child, address }
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn report(&self) -> serde_json::Value {
        let reply = self.ask("GET /connections HTTP/1.1\r\n\r\n");
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// Waits for a count: a reply may be as old as the sample that another question began.
    fn counts(&self, wanted: u64) -> serde_json::Value {
        let start = Instant::now();
        loop {
            let report = self.report();
            if report["count"] == wanted {
                return report;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{report}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_program_counts_as_connections_come_and_go() {
    let mut held = hold(3, "127.0.0.1");
    let program = Program::start(&held.ports);
    let report = program.counts(3);
    assert_eq!(report["complete"], true);
    assert_eq!(report["ports"][0]["port"], held.ports[0]);
    assert_eq!(report["ports"][0]["peers"][0]["address"], "127.0.0.1");
    // Half closed by the client: the pod may still send.
    held.clients[0].shutdown(Shutdown::Write).unwrap();
    program.counts(3);
    // Closed by both ends. No program accepts here, so the kernel ends the pod's side when the listener is gone.
    held.clients.clear();
    held._listeners.clear();
    program.counts(0);
    let metrics = program.ask("GET /metrics HTTP/1.1\r\n\r\n");
    assert!(metrics.contains(&format!("tally_connections{{port=\"{}\"}} 0\n", held.ports[0])), "{metrics}");
    assert!(program.ask("GET /healthz HTTP/1.1\r\n\r\n").ends_with("\r\n\r\nok\n"));
    assert!(program.ask("GET /other HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(program.ask("POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert!(program.ask(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(5000))).starts_with("HTTP/1.1 400 "));
}

#[test]
fn the_program_counts_ten_thousand() {
    let held = hold(MANY, "127.0.0.2");
    let program = Program::start(&held.ports);
    let report = program.counts(MANY as u64);
    assert_eq!(report["ports"].as_array().unwrap().len(), held.ports.len());
}

#[test]
fn clients_that_say_nothing_keep_nobody_out_for_long() {
    let held = hold(1, "127.0.0.1");
    let program = Program::start(&held.ports);
    let silent: Vec<TcpStream> = (0..6).map(|_| TcpStream::connect(program.address).unwrap()).collect();
    program.counts(1);
    drop(silent);
}

#[test]
fn a_signal_ends_it_at_once_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut program = Program::start(&[8080]);
        // The signal arrives in the middle of a request, too.
        let mut stream = TcpStream::connect(program.address).unwrap();
        stream.write_all(b"GET / HT").unwrap();
        kill_process(Pid::from_child(&program.child), signal).unwrap();
        assert_eq!(program.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn says_what_is_wrong_with_its_environment() {
    let output = Command::new(env!("CARGO_BIN_EXE_tally")).env("TALLY_PORTS", "http").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "tally: TALLY_PORTS: `http` is no port from 1 to 65535\n");
}
