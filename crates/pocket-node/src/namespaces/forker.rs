//! Helper that forks: one small process with one thread, made before the server has any other thread.
//!
//! A process with many threads can hardly do anything between fork and exec; this helper has no such limits. It lives in the
//! node's network namespace. For each request it forks a process that does the work, so requests run side by side. That
//! process leaves the program's process behind, which so becomes the server's own child.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::SendFlags,
    process::{WaitId, WaitIdOptions, waitid},
    thread::set_name,
};

use super::{
    channel, container,
    identity::Ids,
    protocol::{Failure, Report, Request},
    sandbox,
    sys::{self, Forked, New, SingleThreaded},
};
use crate::network::{netlink::Index, setup};

/// State of the helper.
pub(crate) struct Forker {
    pub(crate) alone: SingleThreaded,
    pub(crate) ids: Ids,
    /// Index of the bridge.
    pub(crate) bridge: Index,
}

/// Process that works on a request, and the channel to which its end is reported.
struct Worker {
    process: OwnedFd,
    report: OwnedFd,
}

/// Starts the helper. Returns the socket for requests and the node's network namespace.
pub(crate) fn start(alone: SingleThreaded, ids: Ids) -> Result<(OwnedFd, OwnedFd), Failure> {
    let (ours, theirs) = channel::pair().map_err(Failure::node("make a socket pair"))?;
    match sys::fork(&alone, New::default()).map_err(Failure::node("fork"))? {
        Forked::Child => {
            drop(ours);
            let _ = set_name(c"pocket-forker");
            let code = match prepare(&alone) {
                Ok((bridge, namespace)) => {
                    let _ = channel::send(&theirs, &Report::Ready, &[namespace.as_fd()], SendFlags::empty());
                    drop(namespace);
                    Forker { alone, ids, bridge }.serve(&theirs)
                }
                Err(failure) => {
                    let _ = channel::send(&theirs, &Report::Failed(failure), &[], SendFlags::empty());
                    1
                }
            };
            std::process::exit(code)
        }
        Forked::Parent { .. } => {
            drop(theirs);
            let received = channel::receive::<Report>(&ours).map_err(Failure::node("hear from the helper"))?;
            match received {
                Some((Report::Ready, fds)) if !fds.is_empty() => {
                    let [namespace] = descriptors(fds)?;
                    Ok((ours, namespace))
                }
                Some((Report::Failed(failure), _)) => Err(failure),
                _ => Err(Failure::node("start the helper that forks")(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }
}

/// Moves into a new network namespace and sets it up.
fn prepare(alone: &SingleThreaded) -> Result<(Index, OwnedFd), Failure> {
    sys::unshare_network(alone).map_err(Failure::node("make the node's network namespace"))?;
    let bridge = setup::node().map_err(|(what, error)| Failure::node(what)(error))?;
    Ok((bridge, namespace("self", "net")?))
}

/// Opens a namespace of a process.
pub(crate) fn namespace(process: &str, kind: &str) -> Result<OwnedFd, Failure> {
    let path = format!("/proc/{process}/ns/{kind}");
    std::fs::File::open(&path).map(OwnedFd::from).map_err(Failure::node(format!("open {path}")))
}

impl Forker {
    /// Serves requests until the server is gone. Returns the process's exit code.
    fn serve(self, requests: &OwnedFd) -> i32 {
        let mut workers: Vec<Worker> = Vec::new();
        super::release_memory();
        loop {
            let mut polled: Vec<PollFd<'_>> = vec![PollFd::new(requests, PollFlags::IN)];
            polled.extend(workers.iter().map(|worker| PollFd::new(&worker.process, PollFlags::IN)));
            match poll(&mut polled, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return 1,
            }
            let ready: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(polled);

            let mut ended = ready[1..].iter().copied();
            workers.retain(|worker| {
                if !ended.next().unwrap_or(false) {
                    return true;
                }
                let _ = waitid(WaitId::PidFd(worker.process.as_fd()), WaitIdOptions::EXITED);
                let _ = channel::send(&worker.report, &Report::Orphaned, &[], SendFlags::DONTWAIT);
                false
            });

            if ready[0] {
                match channel::receive::<()>(requests) {
                    Ok(Some(((), fds))) => {
                        let worker = self.fork(&mut workers, fds);
                        workers.extend(worker);
                    }
                    Ok(None) | Err(_) => return 0,
                }
            }
        }
    }

    /// Forks a process that does what a request asks for.
    fn fork(&self, workers: &mut Vec<Worker>, mut fds: Vec<OwnedFd>) -> Option<Worker> {
        if fds.len() < 2 {
            return None;
        }
        let rest = fds.split_off(2);
        let [request, report] = descriptors(fds).ok()?;
        match sys::fork(&self.alone, New::default()) {
            Ok(Forked::Parent { pidfd, .. }) => Some(Worker { process: pidfd, report }),
            Ok(Forked::Child) => {
                // Other requests' channels must close when their own processes are done.
                workers.clear();
                let outcome = channel::from_file::<Request>(request)
                    .map_err(Failure::node("read a request"))
                    .and_then(|request| self.work(request, rest, report.as_fd()));
                if let Err(failure) = outcome {
                    let _ = channel::send(&report, &Report::Failed(failure), &[], SendFlags::empty());
                    std::process::exit(1);
                }
                std::process::exit(0)
            }
            Err(error) => {
                let failure = Failure::node("fork")(error);
                let _ = channel::send(&report, &Report::Failed(failure), &[], SendFlags::DONTWAIT);
                None
            }
        }
    }

    fn work(&self, request: Request, fds: Vec<OwnedFd>, report: BorrowedFd<'_>) -> Result<(), Failure> {
        match request {
            Request::Sandbox(request) => sandbox::make(self, &request, report),
            Request::Start(request) => container::start(self, &request, descriptors(fds)?, report),
            Request::Exec(request) => container::exec(self, &request, descriptors(fds)?, report),
        }
    }
}

/// Returns exactly `N` descriptors, or fails.
pub(crate) fn descriptors<const N: usize>(fds: Vec<OwnedFd>) -> Result<[OwnedFd; N], Failure> {
    <[OwnedFd; N]>::try_from(fds).map_err(|fds| {
        Failure::node(format!("{N} descriptors expected, not {}", fds.len()))(io::ErrorKind::InvalidData.into())
    })
}
