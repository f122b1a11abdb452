//! Interface of the API server to the node that runs the pods: logs, exec and port forwarding.

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
};

use crate::status::Status;

/// Connection in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Node, as the API server sees it.
///
/// The futures borrow nothing, so a request that is cancelled simply drops them.
pub trait NodeAccess: Send + Sync + 'static {
    /// Returns the log of a container from the requested position. A followed log ends when the container ends.
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

/// Selection of a log and of a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container, which the caller has checked to be one of the pod's.
    pub container: String,
    /// Whether to continue as lines are written.
    pub follow: bool,
    /// Whether to read the log of the container before its last restart.
    pub previous: bool,
    /// Whether to put the time before each line.
    pub timestamps: bool,
    /// Number of lines from the end; the whole log if absent.
    pub tail_lines: Option<u64>,
    /// Time from which lines are read.
    pub since: Option<jiff::Timestamp>,
    /// Greatest number of bytes.
    pub limit_bytes: Option<u64>,
}

/// Program to run in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container, which the caller has checked to be one of the pod's.
    pub container: String,
    /// Program and its arguments; never empty.
    pub command: Vec<String>,
    /// Whether to connect standard input.
    pub stdin: bool,
    /// Whether to send standard output.
    pub stdout: bool,
    /// Whether to send standard error.
    pub stderr: bool,
    /// Whether the program runs on a terminal.
    pub tty: bool,
}

/// Program that runs in a container.
pub struct ExecStreams {
    /// Standard input, if requested. Dropping it closes it.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Standard output, if requested.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Standard error, if requested and not on a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Receiver of the terminal's size: columns, rows.
    pub resize: Option<mpsc::Sender<(u16, u16)>>,
    /// Exit code (128 + the signal's number if a signal ended the program), or the reason why the program could not be run.
    pub exit: oneshot::Receiver<Result<i32, String>>,
}
