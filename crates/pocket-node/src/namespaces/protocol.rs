//! Requests of the server to the helper that forks, and the reports on them.

use std::{collections::BTreeMap, io, net::Ipv4Addr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::runtime::{Mount, RuntimeError};

/// Request to the helper. Its descriptors, which each variant lists, follow the request's file and the channel for reports.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Namespaces for a pod. No descriptors.
    Sandbox(SandboxRequest),
    /// Start of a container. Descriptors: the pod's user, network, host name and IPC namespaces; standard output; standard error.
    Start(StartRequest),
    /// Start of a further program in a container. Descriptors: the container's first process; standard input, output and error.
    Exec(ExecRequest),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SandboxRequest {
    pub(crate) hostname: String,
    pub(crate) ip: Ipv4Addr,
    /// Name of the pod's interface on the node's side.
    pub(crate) interface: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartRequest {
    pub(crate) program: Program,
    pub(crate) root: Root,
    pub(crate) mounts: Vec<MountAt>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExecRequest {
    pub(crate) program: Program,
    pub(crate) tty: bool,
}

/// Program to run, and its user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) working_dir: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A container's root file system.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Root {
    /// Unpacked layers of the image, topmost first.
    pub(crate) layers: Vec<PathBuf>,
    /// Empty directory for what the container writes.
    pub(crate) upper: PathBuf,
    /// Empty directory on the same file system, for the kernel.
    pub(crate) work: PathBuf,
    /// Mount point; any empty directory, since no other process sees the mount.
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MountAt {
    pub(crate) source: PathBuf,
    pub(crate) target: String,
    pub(crate) read_only: bool,
}

impl From<Mount> for MountAt {
    fn from(mount: Mount) -> Self {
        Self { source: mount.source, target: mount.target, read_only: mount.read_only }
    }
}

/// Report on a request. After a successful `Start` or `Exec` the channel closes when the program is executed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The helper is ready. Descriptor: the node's network namespace.
    Ready,
    /// Descriptors: the pod's user, network, host name and IPC namespaces.
    Sandbox,
    /// The program's process exists. Descriptor: the process.
    Started,
    /// The process in between has ended, so the program's process is the server's child now.
    Orphaned,
    /// The request failed.
    Failed(Failure),
}

/// Reason why a request failed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// Fault of the container: its program, its user, a mount's target.
    Container(String),
    /// Fault of the node.
    Node {
        what: String,
        /// The system's error number, or a text if there is none.
        error: Result<i32, String>,
    },
}

impl Failure {
    pub(crate) fn node(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Node { what: what.into(), error: error.raw_os_error().ok_or_else(|| error.to_string()) }
    }

    /// Wraps an error of a system call of rustix.
    pub(crate) fn call(what: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |error| Self::Node { what: what.into(), error: Ok(error.raw_os_error()) }
    }
}

impl From<Failure> for RuntimeError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Container(text) => Self::CannotRun(text),
            Failure::Node { what, error } => Self::Node {
                what,
                source: match error {
                    Ok(number) => io::Error::from_raw_os_error(number),
                    Err(text) => io::Error::other(text),
                },
            },
        }
    }
}
