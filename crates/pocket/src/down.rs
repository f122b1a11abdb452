//! End of the daemon, and removal of its files.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use crate::{
    Error,
    files::{self, Files},
    lock::{self, Record},
};

/// Time that pods and daemon have to end; longer than the daemon's own limit for them.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// State of the cluster before `down`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// Cluster that was up, and has ended.
    Ended,
    /// Cluster that was not up. Leftovers of a killed daemon are removed all the same.
    WasDown,
}

/// Ends the cluster: its pods gracefully, then everything. Removes its objects; images, certificates and the port stay.
///
/// # Errors
/// Fails when the daemon does not end, or files cannot be removed.
pub fn down(state_dir: &Path) -> Result<Down, Error> {
    let files = Files::new(state_dir);
    if !files.dir().exists() {
        return Ok(Down::WasDown);
    }
    let found = end(&files)?;
    for path in [files.record(), files.cluster(), files.node(), files.containers()] {
        files::remove_all(&path)?;
    }
    Ok(found)
}

/// Ends the cluster and keeps what is in it: the next [`up`](crate::up) starts its pods again.
///
/// # Errors
/// As [`down`].
pub fn stop(state_dir: &Path) -> Result<Down, Error> {
    let files = Files::new(state_dir);
    if !files.dir().exists() {
        return Ok(Down::WasDown);
    }
    let found = end(&files)?;
    for path in [files.record(), files.containers()] {
        files::remove_all(&path)?;
    }
    Ok(found)
}

/// Ends the cluster and removes all of it, images too.
///
/// # Errors
/// Fails as [`down`] does.
pub fn purge(state_dir: &Path) -> Result<Down, Error> {
    let files = Files::new(state_dir);
    if !files.dir().exists() {
        return Ok(Down::WasDown);
    }
    let found = end(&files)?;
    // Only what is ours: the directory may be shared by mistake.
    for path in [
        files.record(),
        files.cluster(),
        files.node(),
        files.containers(),
        files.images(),
        files.certificates(),
        files.kubeconfig(),
        files.port(),
        files.log(),
        files.log().with_extension("log.1"),
        files.lock(),
    ] {
        files::remove_all(&path)?;
    }
    match std::fs::remove_dir(files.dir()) {
        Err(error) if !matches!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::NotFound) => {
            Err(Error::file("remove", files.dir())(error))
        }
        _ => Ok(found),
    }
}

fn end(files: &Files) -> Result<Down, Error> {
    if !lock::is_held(files)? {
        return Ok(Down::WasDown);
    }
    let deadline = Instant::now() + PATIENCE;
    let mut asked: Option<Instant> = None;
    let mut last = None;
    while lock::is_held(files)? {
        let record = Record::read(files);
        last = record.as_ref().map(|record| record.pid).or(last);
        // The signal is repeated: a daemon that has just started may not listen to signals yet.
        if let Some(record) = &record
            && asked.is_none_or(|then| then.elapsed() > ASK_AGAIN)
            && request_end(record.pid)
        {
            asked = Some(Instant::now());
        }
        if Instant::now() > deadline {
            let pid = record.map_or(0, |record| record.pid);
            return Err(Error::Stuck { pid, after: PATIENCE });
        }
        std::thread::sleep(LOOK);
    }
    // The lock is released a moment before its process ends.
    if let Some(pid) = last {
        while lock::is_alive(pid) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(Down::Ended)
}

/// Asks a process to end.
fn request_end(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    match pidfd_open(pid, PidfdFlags::empty()).and_then(|process| pidfd_send_signal(process, Signal::TERM)) {
        Ok(()) => true,
        Err(Errno::SRCH) => false,
        Err(error) => {
            tracing::warn!(%error, "cannot ask the daemon to end");
            false
        }
    }
}
