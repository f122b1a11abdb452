//! Streams of a further program in a container: pipes, or a terminal.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::{
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd},
    net::unix::pipe,
    sync::{mpsc, oneshot},
};

use super::sys;
use crate::runtime::{ExecSession, Exit};

/// Program's ends of its standard streams.
pub(crate) struct ProgramStreams {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Creates the streams: the program's ends, and a session that has everything but the program's end of life.
pub(crate) fn streams(
    stdin: bool,
    tty: bool,
    exit: oneshot::Receiver<Exit>,
) -> io::Result<(ProgramStreams, ExecSession)> {
    if tty { terminal(stdin, exit) } else { pipes(stdin, exit) }
}

fn pipes(stdin: bool, exit: oneshot::Receiver<Exit>) -> io::Result<(ProgramStreams, ExecSession)> {
    let pair = || pipe_with(PipeFlags::CLOEXEC);
    let (out_read, stdout) = pair()?;
    let (err_read, stderr) = pair()?;
    let (stdin, writer) = if stdin {
        let (theirs, ours) = pair()?;
        (theirs, Some(Box::new(pipe::Sender::from_owned_fd(ours)?) as Box<dyn AsyncWrite + Send + Unpin>))
    } else {
        (File::open("/dev/null")?.into(), None)
    };
    let session = ExecSession {
        stdin: writer,
        stdout: Box::new(pipe::Receiver::from_owned_fd(out_read)?),
        stderr: Some(Box::new(pipe::Receiver::from_owned_fd(err_read)?)),
        resize: None,
        exit,
    };
    Ok((ProgramStreams { stdin, stdout, stderr }, session))
}

fn terminal(stdin: bool, exit: oneshot::Receiver<Exit>) -> io::Result<(ProgramStreams, ExecSession)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    let master = Terminal(Arc::new(sys::watch(master, Interest::READABLE | Interest::WRITABLE)?));
    let (resize, mut sizes) = mpsc::channel::<(u16, u16)>(4);
    // A weak reference lets the terminal close when its streams are dropped.
    let sized = Arc::downgrade(&master.0);
    tokio::spawn(async move {
        while let Some((columns, rows)) = sizes.recv().await {
            let Some(terminal) = sized.upgrade() else { break };
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = tcsetwinsize(terminal.get_ref(), size);
        }
    });
    let session = ExecSession {
        stdin: stdin.then(|| Box::new(master.clone()) as Box<dyn AsyncWrite + Send + Unpin>),
        stdout: Box::new(master),
        stderr: None,
        resize: Some(resize),
        exit,
    };
    let theirs = ProgramStreams {
        stdin: slave.as_fd().try_clone_to_owned()?,
        stdout: slave.as_fd().try_clone_to_owned()?,
        stderr: slave,
    };
    Ok((theirs, session))
}

/// Server's side of a terminal.
#[derive(Clone)]
struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let unfilled = buf.initialize_unfilled();
            match guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut *unfilled)?)) {
                Ok(Ok(length)) => {
                    buf.advance(length);
                    return Poll::Ready(Ok(()));
                }
                // EIO is a terminal's sign that no process has the other side open.
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match guard.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
