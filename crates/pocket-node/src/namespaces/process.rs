//! Processes that the helper starts for the server: the request, and the wait for the end.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    io::Errno,
    net::SendFlags,
    process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    channel,
    protocol::{Failure, Report, Request},
    sys,
};
use crate::runtime::{Exit, RuntimeError};

/// Connection to the helper that forks.
#[derive(Debug)]
pub(crate) struct Requests {
    socket: AsyncFd<OwnedFd>,
}

/// Channel of the reports on one request.
pub(crate) struct Reports {
    socket: AsyncFd<OwnedFd>,
}

impl Requests {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket: sys::watch(socket, Interest::WRITABLE)? })
    }

    /// Sends a request with its descriptors.
    pub(crate) async fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Reports, Failure> {
        let fail = "ask the helper that forks";
        let (ours, theirs) = channel::pair().map_err(Failure::node(fail))?;
        let file = channel::to_file(request).map_err(Failure::node(fail))?;
        let mut all = vec![file.as_fd(), theirs.as_fd()];
        all.extend_from_slice(fds);
        self.socket
            .async_io(Interest::WRITABLE, |socket| channel::send(socket, &(), &all, SendFlags::DONTWAIT))
            .await
            .map_err(Failure::node("ask the helper that forks (has it ended?)"))?;
        rustix::io::ioctl_fionbio(&ours, true).map_err(Failure::call(fail))?;
        Ok(Reports { socket: sys::watch(ours, Interest::READABLE).map_err(Failure::node(fail))? })
    }
}

impl Reports {
    /// Returns the next report, or `None` when there will be no more.
    pub(crate) async fn next(&self) -> Result<Option<(Report, Vec<OwnedFd>)>, Failure> {
        self.socket
            .async_io(Interest::READABLE, |socket| match channel::receive::<Report>(socket) {
                // A process that is killed before it has read what it inherited closes the channel with this error.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
                other => other,
            })
            .await
            .map_err(Failure::node("hear from the helper that forks"))
    }

    /// Waits until a program is executed, and returns its process.
    pub(crate) async fn process(self) -> Result<Process, RuntimeError> {
        let mut process = None;
        let mut orphaned = false;
        let mut failure = None;
        while let Some((report, fds)) = self.next().await? {
            match report {
                Report::Started => process = fds.into_iter().next(),
                Report::Orphaned => orphaned = true,
                Report::Failed(why) => failure = Some(why),
                Report::Ready | Report::Sandbox => {}
            }
        }
        let process = process.map(Process::new).transpose().map_err(Failure::node("watch the program's process"))?;
        match (process, failure) {
            (Some(process), None) if orphaned => Ok(process),
            (Some(process), failure) => {
                process.kill();
                let _ = process.wait().await;
                Err(failure.unwrap_or_else(died).into())
            }
            (None, failure) => Err(failure.unwrap_or_else(died).into()),
        }
    }
}

fn died() -> Failure {
    Failure::node("start a program")(io::Error::other("the process that should start it has died"))
}

/// Child of the server.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    fd: Arc<AsyncFd<OwnedFd>>,
}

impl Process {
    fn new(pidfd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: Arc::new(sys::watch(pidfd, Interest::READABLE)?) })
    }

    /// Returns the process's pidfd.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }

    /// Waits for the end and reaps the process. To be called once.
    pub(crate) async fn wait(&self) -> io::Result<Exit> {
        loop {
            let mut ready = self.fd.readable().await?;
            match waitid(WaitId::PidFd(self.fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                Ok(Some(status)) => {
                    let signal = status.terminating_signal().map(Exit::Signal);
                    let code = status.exit_status().map(Exit::Code);
                    return signal.or(code).ok_or_else(|| io::Error::other("a process ended in an unknown way"));
                }
                Ok(None) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a signal. Does nothing if the process has ended or the signal does not exist.
    pub(crate) fn signal(&self, signal: i32) {
        if let Some(signal) = Signal::from_named_raw(signal) {
            let _ = pidfd_send_signal(self.fd(), signal);
        }
    }

    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(self.fd(), Signal::KILL);
    }
}
