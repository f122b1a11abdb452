//! First steps of the daemon: user, mount and pid namespaces of its own.
//!
//! The result is two processes. The inner one is process 1 of its pid namespace and is the server; when it ends for any
//! reason, the kernel ends every pod with it and undoes every mount. The outer one stays in the host's namespaces, waits
//! for the inner one and passes signals on; if it dies, the kernel ends the inner one too.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    net::SendFlags,
    process::{
        Signal, WaitId, WaitIdOptions, getgid, getuid, pidfd_send_signal, set_parent_process_death_signal, setsid,
        waitid,
    },
    thread::set_name,
};
use tokio::{io::Interest, signal::unix::SignalKind};

use super::{
    Inside, channel, forker,
    identity::Ids,
    protocol::Failure,
    sys::{self, Forked, New, SingleThreaded},
};
use crate::runtime::RuntimeError;

/// Role of this process after the fork.
#[derive(Debug)]
pub enum Entered {
    /// Inner process: the server.
    Inside(Inside),
    /// Outer process; the inner one has ended with this exit code.
    Outside(u8),
}

/// Reason why the daemon cannot have namespaces.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// User namespaces are forbidden.
    #[error("this machine forbids user namespaces ({error}): {advice}")]
    Forbidden {
        /// Error of the system call.
        error: io::Error,
        /// Advice for the user.
        advice: String,
    },
    /// `/proc` cannot be mounted.
    #[error(
        "/proc cannot be mounted ({0}): some of it is hidden, as in Docker's containers; start the container with `--security-opt systempaths=unconfined --security-opt seccomp=unconfined`, or with `--privileged`"
    )]
    Proc(io::Error),
    /// Any other failure.
    #[error(transparent)]
    Other(#[from] RuntimeError),
}

impl From<Failure> for EnterError {
    fn from(failure: Failure) -> Self {
        Self::Other(failure.into())
    }
}

/// Forks into the namespaces. Must be called while the process has one thread; returns in two processes.
pub fn enter() -> Result<Entered, EnterError> {
    let alone = SingleThreaded::check().map_err(Failure::node("start"))?;
    let (outer_uid, outer_gid) = (getuid().as_raw(), getgid().as_raw());
    let (ours, theirs) = channel::pair().map_err(Failure::node("make a socket pair"))?;
    let new = New { user: true, mount: true, pid: true, ..New::default() };
    match sys::fork(&alone, new) {
        Err(error) => Err(EnterError::Forbidden { advice: advice(&error), error }),
        Ok(Forked::Child) => {
            drop(ours);
            inside(alone, &theirs).map(Entered::Inside)
        }
        Ok(Forked::Parent { pid, pidfd }) => {
            drop(theirs);
            let range = (outer_uid == 0).then(|| Ids::Range.map(pid, outer_uid, outer_gid));
            let ids = match range {
                Some(Ok(())) => Ids::Range,
                // Root in a container may have fewer ids, or may not be allowed to map them.
                _ => {
                    Ids::Single
                        .map(pid, outer_uid, outer_gid)
                        .map_err(|error| EnterError::Forbidden { advice: advice(&error), error })?;
                    Ids::Single
                }
            };
            channel::send(&ours, &(ids == Ids::Range), &[], SendFlags::empty())
                .map_err(Failure::node("start the server's process"))?;
            Ok(Entered::Outside(supervise(pidfd).map_err(Failure::node("wait for the server"))?))
        }
    }
}

/// Sets up the inner process.
fn inside(alone: SingleThreaded, outside: &OwnedFd) -> Result<Inside, EnterError> {
    // A terminal's signals go to the outer process, which passes them on in order.
    let _ = setsid();
    let _ = set_name(c"pocket");
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(Failure::call("tie the server to its parent"))?;
    let range = channel::receive::<bool>(outside)
        .map_err(Failure::node("start the server's process"))?
        .ok_or_else(|| Failure::node("start the server's process")(io::ErrorKind::UnexpectedEof.into()))?
        .0;
    let ids = if range { Ids::Range } else { Ids::Single };
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(Failure::call("make the server's mounts private"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None).map_err(|error| EnterError::Proc(error.into()))?;
    let (forker, network) = forker::start(alone, ids)?;
    Ok(Inside { forker, network, ids })
}

/// Waits for the inner process and passes signals on. A second interrupt ends it at once.
fn supervise(inner: OwnedFd) -> io::Result<u8> {
    let _ = set_name(c"pocket-outer");
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async move {
        use tokio::signal::unix::signal;
        let inner = sys::watch(inner, Interest::READABLE)?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut asked = false;
        super::release_memory();
        loop {
            let again = tokio::select! {
                ended = inner.readable() => {
                    drop(ended?);
                    break;
                }
                _ = terminate.recv() => false,
                _ = hangup.recv() => false,
                _ = interrupt.recv() => asked,
            };
            asked = true;
            match pidfd_send_signal(inner.get_ref(), if again { Signal::KILL } else { Signal::TERM }) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let status = waitid(WaitId::PidFd(inner.get_ref().as_fd()), WaitIdOptions::EXITED)?;
        Ok(status.map_or(1, |status| {
            let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
            code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
        }))
    })
}

/// Returns advice for a machine where user namespaces are refused.
fn advice(error: &io::Error) -> String {
    let setting = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let is = |path: &str, value: &str| setting(path).is_some_and(|text| text == value);
    advice_for(
        error.raw_os_error(),
        is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
        is("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        is("/proc/sys/user/max_user_namespaces", "0"),
    )
}

fn advice_for(errno: Option<i32>, apparmor: bool, clone: bool, none: bool) -> String {
    let text = if none {
        "run `sudo sysctl -w user.max_user_namespaces=65536`"
    } else if clone {
        "run `sudo sysctl -w kernel.unprivileged_userns_clone=1`"
    } else if apparmor {
        "run `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, or start it as root"
    } else if errno == Some(libc::ENOSPC) || errno == Some(libc::EUSERS) {
        "too many are in use or nested; run `sudo sysctl -w user.max_user_namespaces=65536`"
    } else if errno == Some(libc::EINVAL) || errno == Some(libc::ENOSYS) {
        "the kernel is too old or built without them; Linux 5.11 or newer with CONFIG_USER_NS is needed"
    } else {
        "in a container, start it with `--security-opt seccomp=unconfined --security-opt systempaths=unconfined` or `--privileged`; on a host, ask its administrator to allow them"
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_setting() {
        assert!(advice_for(Some(libc::EPERM), true, false, false).contains("apparmor_restrict_unprivileged_userns"));
        assert!(advice_for(Some(libc::ENOSPC), true, false, true).contains("max_user_namespaces"));
        assert!(advice_for(Some(libc::EPERM), false, true, false).contains("unprivileged_userns_clone"));
        assert!(advice_for(Some(libc::EPERM), false, false, false).contains("seccomp=unconfined"));
        assert!(advice_for(Some(libc::EINVAL), false, false, false).contains("5.11"));
    }
}
