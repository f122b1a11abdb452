//! What the kubelet needs of a container runtime. `namespaces` implements it with Linux namespaces; tests with a fake.

use std::{collections::BTreeMap, future::Future, net::Ipv4Addr, path::PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};

/// Runs pods: sandboxes, and containers in them.
pub trait Runtime: Send + Sync + 'static {
    /// The namespaces of one pod, with its network up.
    type Sandbox: Sandbox;
    /// One running (or ended) container.
    type Container: Container;

    /// Makes a pod's namespaces and gives it an address.
    fn sandbox(&self, spec: SandboxSpec) -> impl Future<Output = Result<Self::Sandbox, RuntimeError>> + Send;

    /// Starts a container in a sandbox. It answers when the program was executed, or with why it could not be.
    fn start(
        &self,
        sandbox: &Self::Sandbox,
        spec: ContainerSpec,
    ) -> impl Future<Output = Result<Self::Container, RuntimeError>> + Send;

    /// Removes a sandbox and everything that still runs in it.
    fn remove(&self, sandbox: Self::Sandbox) -> impl Future<Output = ()> + Send;

    /// What an image says of itself, or `RuntimeError::ImageNotFound`.
    fn image(&self, image: &str) -> impl Future<Output = Result<ImageDefaults, RuntimeError>> + Send;
}

/// The namespaces of one pod.
pub trait Sandbox: Send + Sync + 'static {
    /// The pod's address.
    fn ip(&self) -> Ipv4Addr;
}

/// One container.
pub trait Container: Send + Sync + 'static {
    /// Waits for its end. Any number of callers may wait, before and after the end.
    fn wait(&self) -> impl Future<Output = Exit> + Send;

    /// Sends a signal to its first process; none if it has ended.
    fn signal(&self, signal: i32);

    /// Runs a further program in the container.
    fn exec(&self, spec: ExecSpec) -> impl Future<Output = Result<ExecSession, RuntimeError>> + Send;
}

/// How a pod's namespaces shall be.
#[derive(Clone, Debug)]
pub struct SandboxSpec {
    /// UID of the pod.
    pub uid: String,
    /// `namespace/name`, for messages.
    pub pod: String,
    /// Its host name.
    pub hostname: String,
}

/// How a container shall be started.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// Name in the pod.
    pub name: String,
    /// Image reference.
    pub image: String,
    /// The program and its arguments; never empty.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// An absolute path in the image.
    pub working_dir: String,
    /// User id, as seen inside.
    pub uid: u32,
    /// Group id, as seen inside.
    pub gid: u32,
    /// Root file system is read-only.
    pub read_only_root: bool,
    /// Files and directories of the node that appear in the container.
    pub mounts: Vec<Mount>,
    /// Where its standard output and error go, as lines in the CRI log format (`<RFC 3339> stdout F <text>`).
    pub log: PathBuf,
}

/// A file or directory of the node that appears in a container.
#[derive(Clone, Debug)]
pub struct Mount {
    /// On the node.
    pub source: PathBuf,
    /// In the container; made if missing.
    pub target: String,
    /// Not writable.
    pub read_only: bool,
}

/// A further program to run in a container.
#[derive(Clone, Debug)]
pub struct ExecSpec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Connect standard input.
    pub stdin: bool,
    /// On a terminal.
    pub tty: bool,
}

/// A program run by `exec`.
pub struct ExecSession {
    /// Its standard input, if asked for.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Its standard output (with a terminal: all its output).
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard error; `None` with a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Sets the terminal's size: columns, rows.
    pub resize: Option<tokio::sync::mpsc::Sender<(u16, u16)>>,
    /// Its end.
    pub exit: tokio::sync::oneshot::Receiver<Exit>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Exit {
    /// As a container's `exitCode`: 128 + the signal's number, as shells and container runtimes say.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// What an image says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageDefaults {
    /// `sha256:…` of its configuration.
    pub id: String,
    /// Its entry point.
    pub entrypoint: Vec<String>,
    /// Its default arguments.
    pub cmd: Vec<String>,
    /// Its environment, in order, as `NAME=value`.
    pub env: Vec<String>,
    /// Its working directory; empty is `/`.
    pub working_dir: String,
    /// `user[:group]`, numbers or names; empty is root.
    pub user: String,
}

/// Why the runtime could not do something.
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
    /// Anything else: the node is in trouble.
    #[error("{what}: {source}")]
    Node {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}
