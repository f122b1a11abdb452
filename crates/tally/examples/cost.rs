//! What `tally` costs: asks a real program while this one holds many connections, and prints times, memory and size.
//!
//! ```sh
//! cargo run --release -p tally --example cost -- path/to/tally [connections]
//! ```
//!
//! Both ends of each connection are in one network namespace here, so the kernel lists twice as many sockets as a pod
//! with so many clients has.

use std::{
    env,
    error::Error,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const QUESTIONS: usize = 200;
const QUEUE: usize = 4000;
/// As often as the operator asks a pod that is nearly empty, and longer than a cheap answer is given again.
const PAUSE: Duration = Duration::from_millis(120);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let program = arguments.next().ok_or("which program?")?;
    let count: usize = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?;

    let (mut listeners, mut clients, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    while listeners.is_empty() || clients.len() < count {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        rustix::net::listen(&listener, i32::try_from(QUEUE)? + 1)?;
        let at = listener.local_addr()?;
        for _ in 0..QUEUE.min(count - clients.len()) {
            clients.push(TcpStream::connect(at)?);
        }
        ports.push(at.port().to_string());
        listeners.push(listener);
    }

    let mut child = Command::new(&program)
        .env("TALLY_PORTS", ports.join(","))
        .env("TALLY_LISTEN", "127.0.0.1:0")
        .env("TALLY_LOOPBACK", "count")
        .stderr(Stdio::piped())
        .spawn()?;
    let measured = measure(&mut child, count);
    child.kill()?;
    child.wait()?;
    let (mut times, resident) = measured?;
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).or(times.last()).copied().unwrap_or_default();
    println!("connections  {count}");
    println!("answer       p50 {:?}  p99 {:?}  max {:?}", at(50), at(99), at(100));
    println!("resident     {resident} KiB");
    println!("program      {} KiB", fs::metadata(&program)?.len() / 1024);
    Ok(())
}

fn measure(child: &mut std::process::Child, count: usize) -> Result<(Vec<Duration>, u64), Box<dyn Error>> {
    let mut line = String::new();
    BufReader::new(child.stderr.take().ok_or("no standard error")?).read_line(&mut line)?;
    let address: SocketAddr = line.trim().rsplit_once(' ').ok_or("it says no address")?.1.parse()?;
    let mut times = Vec::new();
    for _ in 0..QUESTIONS {
        std::thread::sleep(PAUSE);
        let start = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        times.push(start.elapsed());
        if !reply.contains(&format!("\"count\":{count},\"fresh\":0")) {
            return Err(format!("it does not count {count}: {reply}").into());
        }
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    Ok((times, resident.ok_or("no resident size")?))
}
