//! Kinds of failed requests.

use std::{error::Error, fmt, io};

use serde::{Deserialize, Serialize};

/// Failure of a request to get a good reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct Failure {
    /// Kind of the failure.
    pub kind: FailureKind,
    /// Details of what was seen.
    pub detail: String,
}

/// Kind of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureKind {
    /// No program listens at the address.
    ConnectRefused,
    /// The connection did not open in time.
    ConnectTimeout,
    /// The connection could not be opened for another reason.
    ConnectFailed,
    /// The other side reset the connection.
    Reset,
    /// The other side closed the connection before the reply was complete.
    ClosedEarly,
    /// No complete reply arrived in time.
    Timeout,
    /// The reply has a status other than 2xx.
    BadStatus,
    /// The reply is no HTTP, or not of the expected shape.
    BadReply,
    /// This machine ran out of a resource, such as file descriptors or ports. The failure says nothing about the server.
    Local,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectRefused => "connection refused",
            Self::ConnectTimeout => "connecting timed out",
            Self::ConnectFailed => "connecting failed",
            Self::Reset => "connection reset",
            Self::ClosedEarly => "closed before the reply was complete",
            Self::Timeout => "no reply in time",
            Self::BadStatus => "bad status",
            Self::BadReply => "bad reply",
            Self::Local => "local limit",
        })
    }
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, detail: impl fmt::Display) -> Self {
        Self { kind, detail: detail.to_string() }
    }

    /// Classifies the failure of a connection that could not be opened.
    pub(crate) fn connect(error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => FailureKind::ConnectRefused,
            io::ErrorKind::TimedOut => FailureKind::ConnectTimeout,
            io::ErrorKind::ConnectionReset => FailureKind::Reset,
            io::ErrorKind::AddrNotAvailable => FailureKind::Local,
            _ if is_file_limit(error) => FailureKind::Local,
            _ => FailureKind::ConnectFailed,
        };
        Self::new(kind, error)
    }

    /// Classifies the failure of a request that was sent, at least in part.
    pub(crate) fn exchange(error: &hyper::Error) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                let kind = match io.kind() {
                    io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => FailureKind::Reset,
                    io::ErrorKind::TimedOut => FailureKind::Timeout,
                    _ => FailureKind::ClosedEarly,
                };
                return Self::new(kind, io);
            }
            source = cause.source();
        }
        let kind = if error.is_parse() { FailureKind::BadReply } else { FailureKind::ClosedEarly };
        Self::new(kind, error)
    }
}

fn is_file_limit(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
