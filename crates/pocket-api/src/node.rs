//! What the API server asks of the node that runs the pods: logs, exec and port forwarding.

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
};

use crate::status::Status;

/// A connection in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The node, as the API server sees it.
///
/// The futures borrow nothing, so a request that goes away simply drops them.
pub trait NodeAccess: Send + Sync + 'static {
    /// The log of a container, from where the request says; it ends with the container unless it is not followed.
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<BoxStream<'static, Bytes>, Status>>;

    /// Runs a program in a container.
    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, Result<ExecStreams, Status>>;

    /// Connects to a port inside a pod.
    fn port_forward(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> BoxFuture<'static, Result<Box<dyn Duplex>, Status>>;
}

/// Which part of which log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Container; already checked to be one of the pod's.
    pub container: String,
    /// Go on as lines are written.
    pub follow: bool,
    /// The container before the last restart.
    pub previous: bool,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Only lines written since then.
    pub since: Option<jiff::Timestamp>,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
}

/// A program to run in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Container; already checked to be one of the pod's.
    pub container: String,
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// Connect standard input.
    pub stdin: bool,
    /// Send standard output.
    pub stdout: bool,
    /// Send standard error.
    pub stderr: bool,
    /// On a terminal.
    pub tty: bool,
}

/// A program that runs in a container.
pub struct ExecStreams {
    /// Its standard input, if asked for. Dropping it closes it.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Its standard output, if asked for.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Its standard error, if asked for and not on a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Takes the terminal's size: columns, rows.
    pub resize: Option<mpsc::Sender<(u16, u16)>>,
    /// Its exit code (128 + the signal's number if a signal ended it), or why it could not be run.
    pub exit: oneshot::Receiver<Result<i32, String>>,
}
