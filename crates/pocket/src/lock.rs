//! Lock that allows one daemon for a state directory and ends with its holder, and a record of the daemon.

use std::{
    fs::{self, File},
    path::Path,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FlockOperation, flock},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    files::{self, Files},
};

/// Lock of the state directory, held by a daemon and all its processes.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "it is there to be dropped")] File);

/// Record of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Outer process of the daemon.
    pub(crate) pid: u32,
    /// Address of the API server, once it answers and the node is ready.
    pub(crate) server: Option<String>,
    /// Time at which the daemon started.
    pub(crate) started: jiff::Timestamp,
}

/// Takes the lock; returns `None` if a daemon has it.
pub(crate) fn take(files: &Files) -> Result<Option<Lock>, Error> {
    let path = files.lock();
    let file = open(&path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock(file))),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(Error::file("lock", path)(error.into())),
    }
}

/// Returns whether a daemon has the lock.
pub(crate) fn is_held(files: &Files) -> Result<bool, Error> {
    let path = files.lock();
    if !path.exists() {
        return Ok(false);
    }
    let file = open(&path)?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(Error::file("lock", path)(error.into())),
    }
}

/// Returns whether a process runs.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    // A pidfd is readable when its process has ended.
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready == 0)
}

fn open(path: &Path) -> Result<File, Error> {
    File::options().create(true).append(true).open(path).map_err(Error::file("open", path))
}

impl Record {
    pub(crate) fn read(files: &Files) -> Option<Self> {
        serde_json::from_slice(&fs::read(files.record()).ok()?).ok()
    }

    pub(crate) fn write(&self, files: &Files) -> Result<(), Error> {
        let bytes = serde_json::to_vec(self).map_err(|error| Error::file("write", files.record())(error.into()))?;
        files::write_private(&files.record(), &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        assert!(!is_held(&files).unwrap());
        let lock = take(&files).unwrap().unwrap();
        assert!(is_held(&files).unwrap());
        assert!(take(&files).unwrap().is_none());
        drop(lock);
        assert!(!is_held(&files).unwrap());
        assert!(take(&files).unwrap().is_some());
    }

    #[test]
    fn processes() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(0));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        // The process has ended, but is not yet waited for.
        while is_alive(child.id()) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!is_alive(child.id()));
    }

    #[test]
    fn a_broken_record_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        assert_eq!(Record::read(&files), None);
        let record = Record { pid: 7, server: None, started: jiff::Timestamp::UNIX_EPOCH };
        record.write(&files).unwrap();
        assert_eq!(Record::read(&files), Some(record));
        fs::write(files.record(), "{").unwrap();
        assert_eq!(Record::read(&files), None);
    }
}
