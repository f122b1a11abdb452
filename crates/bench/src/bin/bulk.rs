//! `bulk`: sends bytes as fast as they are read, or reads and counts them, for the throughput figure.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Size of a write or read, large enough that the cost of system calls does not matter.
const CHUNK: usize = 256 * 1024;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["serve", port] => serve(port),
        ["pull", address, seconds] => pull(address, seconds),
        _ => Err("usage: bulk serve PORT | bulk pull HOST:PORT SECONDS".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn serve(port: &str) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(("0.0.0.0", port.parse()?))?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        std::thread::spawn(move || {
            let chunk = vec![0; CHUNK];
            // Ends when the client has enough and closes the connection.
            while stream.write_all(&chunk).is_ok() {}
        });
    }
    Ok(())
}

fn pull(address: &str, seconds: &str) -> Result<(), Box<dyn std::error::Error>> {
    let duration = Duration::from_secs(seconds.parse()?);
    let mut stream = TcpStream::connect(address)?;
    let mut chunk = vec![0; CHUNK];
    let start = Instant::now();
    let mut total = 0u64;
    while start.elapsed() < duration {
        match stream.read(&mut chunk)? {
            0 => return Err("the server closed the connection".into()),
            read => total += read as u64,
        }
    }
    println!("{:.0}", total as f64 / start.elapsed().as_secs_f64());
    Ok(())
}
