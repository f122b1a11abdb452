//! Cost of the counter in a pod: its response time while very many connections are held, its memory, and the size of its
//! binary.
//!
//! Both ends of each connection are in one network namespace here, so the kernel lists twice as many sockets as in a pod with
//! this number of clients.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::processes;
use tokio::net::{TcpListener, TcpSocket};

use crate::table::Figure;

/// Number of held connections.
const CONNECTIONS: usize = 10_000;
/// Number of connections that wait at one listener: no program accepts them, and the kernel has established them nevertheless.
const QUEUE: usize = 4000;
/// Number of questions in a run.
const QUESTIONS: usize = 40;
/// Interval at which the operator asks a pod that is nearly empty. Longer than a cheap answer is reused.
const PAUSE: Duration = Duration::from_millis(120);

pub(crate) async fn measure(runs: u32) -> Result<Vec<Figure>> {
    traffic::raise_file_limit();
    let program = e2e::programs()?.join("tally");
    let held = Held::open(CONNECTIONS)?;
    let counter = Counter::start(&program, &held)?;
    // The counter has to learn the connections first.
    counter.ask()?;
    let (mut middle, mut worst, mut resident) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut times = Vec::new();
        for _ in 0..QUESTIONS {
            thread::sleep(PAUSE);
            times.push(counter.ask()?.as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        middle.push(times[times.len() / 2]);
        worst.extend(times.last());
        resident.push(counter.resident_kib()? as f64 / 1024.0);
    }
    let size = fs::metadata(&program)?.len() as f64 / (1024.0 * 1024.0);
    Ok(vec![
        Figure::new("tally: answer at 10,000 connections, middle", "ms", 5.0, middle),
        Figure::new("tally: answer at 10,000 connections, worst", "ms", 5.0, worst),
        Figure::new("tally: memory at 10,000 connections", "MiB", 4.0, resident),
        Figure::new("tally: size of the program", "MiB", 2.0, vec![size]),
    ])
}

/// Connections on loopback, with their ports and listeners.
struct Held {
    ports: Vec<u16>,
    _listeners: Vec<TcpListener>,
    clients: Vec<TcpStream>,
}

impl Held {
    fn open(count: usize) -> Result<Self> {
        let (mut ports, mut listeners, mut clients) = (Vec::new(), Vec::new(), Vec::new());
        while clients.len() < count {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            let listener = socket.listen(u32::try_from(QUEUE)? + 1)?;
            let address = listener.local_addr()?;
            for _ in 0..QUEUE.min(count - clients.len()) {
                clients.push(TcpStream::connect_timeout(&address, Duration::from_secs(5)).context("a connection")?);
            }
            ports.push(address.port());
            listeners.push(listener);
        }
        Ok(Self { ports, _listeners: listeners, clients })
    }
}

/// Running counter. Dropping it ends it.
struct Counter {
    child: Child,
    address: SocketAddr,
    expected: String,
}

impl Counter {
    fn start(program: &Path, held: &Held) -> Result<Self> {
        let ports: Vec<String> = held.ports.iter().map(ToString::to_string).collect();
        let child = Command::new(program)
            .env("TALLY_PORTS", ports.join(","))
            .env("TALLY_LISTEN", "127.0.0.1:0")
            .env("TALLY_LOOPBACK", "count")
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let expected = format!("\"count\":{},\"fresh\":0", held.clients.len());
        let mut counter = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), expected };
        let mut line = String::new();
        BufReader::new(counter.child.stderr.take().context("no standard error")?).read_line(&mut line)?;
        let address = line.trim().rsplit_once(' ').with_context(|| format!("it says no address: {line}"))?.1;
        counter.address = address.parse().with_context(|| format!("it says no address: {line}"))?;
        Ok(counter)
    }

    /// Asks once, and checks the answer. Returns the time that it took.
    fn ask(&self) -> Result<Duration> {
        let start = Instant::now();
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let took = start.elapsed();
        ensure!(reply.contains(&self.expected), "the answer lacks {}: {reply}", self.expected);
        Ok(took)
    }

    fn resident_kib(&self) -> Result<u64> {
        processes::resident_kib(i32::try_from(self.child.id())?).context("no resident size")
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
