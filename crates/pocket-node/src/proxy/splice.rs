//! Transfer of bytes between two sockets: short messages through a buffer on the stack, which takes the fewest system calls; long
//! ones inside the kernel, through pipes, which takes the fewest copies.
//!
//! A connection holds a pipe only while bytes are in transit, so an idle one costs no buffer at all.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    net::{RecvFlags, Shutdown, recv, shutdown},
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};
use tokio::{io::Interest, net::TcpStream};

use crate::sync::lock;

/// Number of bytes moved at once, and the size of a pipe if the system grants it.
const CHUNK: usize = 256 << 10;
/// Size below which messages are copied.
const SMALL: usize = 8 << 10;
/// Number of empty pipes kept for later.
const SPARE: usize = 32;

struct Pipe {
    out: OwnedFd,
    inn: OwnedFd,
}

/// Empty pipes.
#[derive(Default)]
pub(super) struct Pipes {
    spare: Mutex<Vec<Pipe>>,
}

impl Pipes {
    fn take(&self) -> io::Result<Pipe> {
        if let Some(pipe) = lock(&self.spare).pop() {
            return Ok(pipe);
        }
        let (out, inn) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Beyond the user's share of pipe memory, the pipe keeps its size and is only slower.
        let _ = fcntl_setpipe_size(&inn, CHUNK);
        Ok(Pipe { out, inn })
    }

    fn put(&self, pipe: Pipe) {
        let mut spare = lock(&self.spare);
        if spare.len() < SPARE {
            spare.push(pipe);
        }
    }
}

/// Moves bytes both ways until both sides have closed. The end of the first direction is passed on, and the other continues. The
/// end of the second is left to the caller, who closes both sockets: that has the same effect with one system call less.
///
/// # Errors
/// When one side has reset the connection.
pub(super) async fn pump(pipes: &Pipes, a: &TcpStream, b: &TcpStream) -> io::Result<()> {
    let half = AtomicBool::new(false);
    let there = one_way(pipes, a, b, &half);
    let back = one_way(pipes, b, a, &half);
    tokio::try_join!(there, back).map(|_| ())
}

async fn one_way(pipes: &Pipes, from: &TcpStream, to: &TcpStream, half: &AtomicBool) -> io::Result<()> {
    let mut next = Next::Short;
    loop {
        from.readable().await?;
        if next == Next::Short {
            let (rest, then) = copy(from, to)?;
            write(to, &rest).await?;
            next = then;
        }
        if next == Next::Long {
            let pipe = pipes.take()?;
            next = burst(&pipe, from, to).await?;
            // Only an empty pipe comes here; after an error the pipe is dropped with its content.
            pipes.put(pipe);
        }
        if next == Next::End {
            if half.swap(true, Ordering::Relaxed) {
                return Ok(());
            }
            return match shutdown(to.as_fd(), Shutdown::Write) {
                // The socket is closed already.
                Err(rustix::io::Errno::NOTCONN) => Ok(()),
                result => result.map_err(Into::into),
            };
        }
    }
}

/// Prediction about the next message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Next message will be short.
    Short,
    /// Next message will be long.
    Long,
    /// No further message.
    End,
}

/// Copies at most a short message; returns the rest that could not be sent at once. Not a future, so the buffer lives on the stack only.
fn copy(from: &TcpStream, to: &TcpStream) -> io::Result<(Vec<u8>, Next)> {
    let mut buffer = [0; SMALL];
    let mut taken = None;
    let result = from.try_io(Interest::READABLE, || {
        let (length, _) = recv(from.as_fd(), &mut buffer, RecvFlags::DONTWAIT)?;
        taken = Some(length);
        // A buffer that is not filled means that the socket is empty: reporting that now saves another attempt.
        if (1..SMALL).contains(&length) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    let length = match (taken, result) {
        (Some(0), _) => return Ok((Vec::new(), Next::End)),
        (Some(length), _) => length,
        (None, Err(error)) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            return Ok((Vec::new(), Next::Short));
        }
        (None, Err(error)) => return Err(error),
        (None, Ok(())) => return Ok((Vec::new(), Next::Short)),
    };
    let next = if length == SMALL { Next::Long } else { Next::Short };
    let sent = match to.try_write(&buffer[..length]) {
        Ok(sent) => sent,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
        Err(error) => return Err(error),
    };
    Ok((buffer[sent..length].to_vec(), next))
}

/// Sends all bytes.
async fn write(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Moves all available bytes.
async fn burst(pipe: &Pipe, from: &TcpStream, to: &TcpStream) -> io::Result<Next> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    let mut moved = 0;
    loop {
        let taken =
            from.try_io(Interest::READABLE, || Ok(splice(from.as_fd(), None, pipe.inn.as_fd(), None, CHUNK, flags)?));
        let mut left = match taken {
            Ok(0) => return Ok(Next::End),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // No bytes at all is a false alarm, which predicts nothing about the next message.
                return Ok(if (1..SMALL).contains(&moved) { Next::Short } else { Next::Long });
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        moved = left.saturating_add(moved);
        while left > 0 {
            let given =
                to.try_io(Interest::WRITABLE, || Ok(splice(pipe.out.as_fd(), None, to.as_fd(), None, left, flags)?));
            match given {
                Ok(count) => left -= count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
