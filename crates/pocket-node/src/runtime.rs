//! Interface between the kubelet and a container runtime. `namespaces` implements it with Linux namespaces; tests use a fake.

use std::{collections::BTreeMap, future::Future, net::Ipv4Addr, path::PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};

/// Runs pods: sandboxes, and containers in them.
pub trait Runtime: Send + Sync + 'static {
    /// Namespaces of one pod, with its network up.
    type Sandbox: Sandbox;
    /// Running (or ended) container.
    type Container: Container;

    /// Creates a pod's namespaces and gives the pod an address.
    fn sandbox(&self, spec: SandboxSpec) -> impl Future<Output = Result<Self::Sandbox, RuntimeError>> + Send;

    /// Starts a container in a sandbox. Returns when the program was executed, or with the reason why it could not be.
    fn start(
        &self,
        sandbox: &Self::Sandbox,
        spec: ContainerSpec,
    ) -> impl Future<Output = Result<Self::Container, RuntimeError>> + Send;

    /// Removes a sandbox and everything that still runs in it.
    fn remove(&self, sandbox: Self::Sandbox) -> impl Future<Output = ()> + Send;

    /// Returns the defaults that an image sets, or `RuntimeError::ImageNotFound`.
    fn image(&self, image: &str) -> impl Future<Output = Result<ImageDefaults, RuntimeError>> + Send;
}

/// Namespaces of one pod.
pub trait Sandbox: Send + Sync + 'static {
    /// Returns the pod's address.
    fn ip(&self) -> Ipv4Addr;
}

pub trait Container: Send + Sync + 'static {
    /// Waits for the container's end. Any number of callers may wait, before and after the end.
    fn wait(&self) -> impl Future<Output = Exit> + Send;

    /// Sends a signal to the first process. Does nothing if it has ended.
    fn signal(&self, signal: i32);

    /// Runs a further program in the container.
    fn exec(&self, spec: ExecSpec) -> impl Future<Output = Result<ExecSession, RuntimeError>> + Send;
}

/// Specification of a pod's namespaces.
#[derive(Clone, Debug)]
pub struct SandboxSpec {
    /// UID of the pod.
    pub uid: String,
    /// `namespace/name`, for messages.
    pub pod: String,
    pub hostname: String,
}

/// Specification of a container to start.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// Name in the pod.
    pub name: String,
    pub image: String,
    /// Program and its arguments; never empty.
    pub argv: Vec<String>,
    /// Complete environment.
    pub env: BTreeMap<String, String>,
    /// Absolute path in the image.
    pub working_dir: String,
    /// User id, as seen inside.
    pub uid: u32,
    /// Group id, as seen inside.
    pub gid: u32,
    /// Root file system is read-only.
    pub read_only_root: bool,
    /// Files and directories of the node that appear in the container.
    pub mounts: Vec<Mount>,
    /// File for standard output and error, as lines in the CRI log format (`<RFC 3339> stdout F <text>`).
    pub log: PathBuf,
}

/// A file or directory of the node that appears in a container.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Path on the node.
    pub source: PathBuf,
    /// Path in the container; created if missing.
    pub target: String,
    pub read_only: bool,
}

/// Further program to run in a container.
#[derive(Clone, Debug)]
pub struct ExecSpec {
    /// Program and its arguments.
    pub argv: Vec<String>,
    /// Whether to connect standard input.
    pub stdin: bool,
    /// Whether to run on a terminal.
    pub tty: bool,
}

/// Running program of an `exec`.
pub struct ExecSession {
    /// Standard input, if asked for.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Standard output (with a terminal: all output).
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Standard error; `None` with a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Sender for the terminal's size: columns, rows.
    pub resize: Option<tokio::sync::mpsc::Sender<(u16, u16)>>,
    /// Receiver for the program's exit.
    pub exit: tokio::sync::oneshot::Receiver<Exit>,
}

/// End of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Ended by itself, with a code.
    Code(i32),
    /// Ended by a signal.
    Signal(i32),
}

impl Exit {
    /// Returns the container's `exitCode`: 128 + the signal's number for a signal, as shells and container runtimes do.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Defaults that an image sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageDefaults {
    /// Digest (`sha256:…`) of the image's configuration.
    pub id: String,
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
    /// Environment, in order, as `NAME=value`.
    pub env: Vec<String>,
    /// Working directory; empty means `/`.
    pub working_dir: String,
    /// User as `user[:group]`, numbers or names; empty means root.
    pub user: String,
}

/// Reason of a failure of the runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The image is not in the store.
    #[error(
        "image `{0}` is not in the local store: build it (`rainbow image build -t {0} .`) or load it (`rainbow image load FILE`)"
    )]
    ImageNotFound(String),
    /// The program could not be executed.
    #[error("{0}")]
    CannotRun(String),
    /// Any other failure, which is the node's fault.
    #[error("{what}: {source}")]
    Node {
        /// Operation that failed.
        what: String,
        /// Error of the system.
        source: std::io::Error,
    },
}
