//! System calls that Rust cannot check: fork and its relatives. All `unsafe` of the crate is here.
#![allow(unsafe_code, reason = "fork and unshare have no safe form; each use says why it is sound")]

use std::{
    fs, io,
    os::fd::{FromRawFd, OwnedFd},
};

use rustix::{
    process::Pid,
    thread::{UnshareFlags, unshare_unsafe},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Proof that the process had one thread. The holder starts no thread and then forks.
#[derive(Debug)]
pub(crate) struct SingleThreaded(());

impl SingleThreaded {
    /// Checks that the process has exactly one thread.
    pub(crate) fn check() -> io::Result<Self> {
        match fs::read_dir("/proc/self/task")?.count() {
            1 => Ok(Self(())),
            n => Err(io::Error::other(format!("the process has {n} threads, and it must fork before it starts any"))),
        }
    }
}

/// Side of a fork that this process is on.
#[derive(Debug)]
pub(crate) enum Forked {
    /// Process that forked.
    Parent {
        /// Pid of the child, as this process sees it.
        pid: Pid,
        /// Pidfd of the child.
        pidfd: OwnedFd,
    },
    /// New process.
    Child,
}

/// New namespaces for a forked process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct New {
    pub(crate) user: bool,
    pub(crate) mount: bool,
    pub(crate) pid: bool,
    pub(crate) network: bool,
    pub(crate) host_name: bool,
    pub(crate) ipc: bool,
}

/// Forks. The child continues where this returns, with a copy of everything.
pub(crate) fn fork(_alone: &SingleThreaded, new: New) -> io::Result<Forked> {
    let flag = |wanted: bool, flag: libc::c_int| if wanted { flag } else { 0 };
    let flags = libc::CLONE_PIDFD
        | libc::SIGCHLD
        | flag(new.user, libc::CLONE_NEWUSER)
        | flag(new.mount, libc::CLONE_NEWNS)
        | flag(new.pid, libc::CLONE_NEWPID)
        | flag(new.network, libc::CLONE_NEWNET)
        | flag(new.host_name, libc::CLONE_NEWUTS)
        | flag(new.ipc, libc::CLONE_NEWIPC);
    let mut pidfd: libc::c_int = -1;
    // SAFETY: without CLONE_VM and with no stack this is fork(2): the child gets a copy of the memory. `_alone` says there
    // is no other thread that could hold a lock in that copy. The kernel writes one int to `pidfd` (third argument on
    // all architectures), which lives until after the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, &raw mut pidfd, 0usize, 0usize) };
    match i32::try_from(pid) {
        Ok(0) => Ok(Forked::Child),
        Ok(pid) if pid > 0 => {
            let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
            // SAFETY: the kernel has just made this descriptor for this process; nothing else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent { pid, pidfd })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Moves this process into a new network namespace.
pub(crate) fn unshare_network(_alone: &SingleThreaded) -> io::Result<()> {
    // SAFETY: only FILES is dangerous, and it is not among the flags.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?)
}

/// Moves this process into a new user namespace.
pub(crate) fn unshare_user(_alone: &SingleThreaded) -> io::Result<()> {
    // SAFETY: only FILES is dangerous, and it is not among the flags.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }?)
}

/// Releases the memory that holds the program's code. Pages that are needed again come back from the system's page cache,
/// where they came from; pages that only ran at the start do not.
pub(crate) fn release_code() -> io::Result<()> {
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let Some((start, end)) = code(line) else { continue };
        // SAFETY: the kernel has just reported this as a private mapping of a file that can be run but not written. No page of it
        // was changed, so the next access to a page gets the same bytes from the file.
        let result = unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Returns freed memory that the allocator has kept to the system. Other allocators do so by themselves.
pub(crate) fn release_heap() {
    // SAFETY: `malloc_trim` takes a number and may be called by any thread at any time.
    #[cfg(target_env = "gnu")]
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Returns the range of a line of `/proc/self/maps`, if it is code of a file.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()? == "r-xp" && fields.nth(2)? != "0";
    let address = |text| usize::from_str_radix(text, 16).ok();
    is_code.then_some((address(start)?, address(end)?))
}

/// Lets the current tokio runtime watch a descriptor.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the same open descriptor until it is dropped, and only the `AsyncFd` can drop it, after it has
    // removed the descriptor from the runtime.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_can_be_run_and_not_written_and_comes_from_a_file() {
        for (line, expected) in [
            ("55d0-55f0 r-xp 00215000 08:01 1234   /usr/bin/pocket", Some((0x55d0, 0x55f0))),
            ("55f0-5600 r--p 00235000 08:01 1234   /usr/bin/pocket", None),
            ("5600-5610 rw-p 00245000 08:01 1234   /usr/bin/pocket", None),
            ("5610-5620 rwxp 00245000 08:01 1234   /usr/bin/pocket", None),
            ("7ffd-7fff r-xp 00000000 00:00 0      [vdso]", None),
            ("", None),
        ] {
            assert_eq!(code(line), expected, "{line}");
        }
    }

    #[test]
    fn code_that_was_given_back_still_runs() {
        release_code().unwrap();
        assert_eq!(format!("{:?}", code("1-2 r-xp 0 0:0 1")), "Some((1, 2))");
    }
}
