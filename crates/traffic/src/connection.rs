//! Connection to the server, and requests on it.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use crate::{Failure, FailureKind, Target};

/// Limit of a body that is read. Replies are counted by body, so long ones serve no purpose here.
const BODY_LIMIT: usize = 64 * 1024;

pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
    pub(crate) opened: Instant,
}

/// Outcome of a request on a kept connection.
pub(crate) enum Kept {
    Done(Result<String, Failure>),
    /// The connection was closed before the request was sent. This is no failure: the request is sent on a new connection.
    Stale,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub(crate) async fn open(target: &Target, limit: Duration) -> Result<Self, Failure> {
        let connecting = timeout(limit, TcpStream::connect(target.inner.address));
        let stream = connecting
            .await
            .map_err(|_| Failure::new(FailureKind::ConnectTimeout, format_args!("not open after {limit:?}")))?
            .map_err(|error| Failure::connect(&error))?;
        // Without `TCP_NODELAY`, a second small request on a kept connection may wait 40 ms for the acknowledgement of the first.
        let _ = stream.set_nodelay(true);
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| Failure::exchange(&error))?;
        // Errors of the driver reach the current request; `is_closed` reports an idle connection that ends.
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender, driver, opened: Instant::now() })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(crate) async fn get(&mut self, target: &Target, last: bool, deadline: Instant) -> Kept {
        match timeout_at(deadline, self.exchange(target, last)).await {
            Ok(kept) => kept,
            Err(_) => Kept::Done(Err(Failure::new(FailureKind::Timeout, "no complete reply before the deadline"))),
        }
    }

    async fn exchange(&mut self, target: &Target, last: bool) -> Kept {
        let mut request = Request::get(&target.inner.path).header(header::HOST, &target.inner.host);
        if last {
            request = request.header(header::CONNECTION, "close");
        }
        let request = match request.body(Empty::new()) {
            Ok(request) => request,
            Err(error) => return Kept::Done(Err(Failure::new(FailureKind::Local, error))),
        };
        if self.sender.ready().await.is_err() {
            return Kept::Stale;
        }
        let reply = match self.sender.send_request(request).await {
            Ok(reply) => reply,
            Err(error) if error.is_canceled() => return Kept::Stale,
            Err(error) => return Kept::Done(Err(Failure::exchange(&error))),
        };
        let status = reply.status();
        let body = match Limited::new(reply.into_body(), BODY_LIMIT).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                return Kept::Done(Err(match error.downcast_ref::<hyper::Error>() {
                    Some(error) => Failure::exchange(error),
                    None => Failure::new(FailureKind::BadReply, error),
                }));
            }
        };
        let body = String::from_utf8_lossy(&body).trim_end().to_owned();
        Kept::Done(if status.is_success() {
            Ok(body)
        } else {
            Err(Failure::new(FailureKind::BadStatus, format_args!("{status}: {body}")))
        })
    }
}

/// Sends one request on a connection of its own.
pub(crate) async fn get_once(target: &Target, connect: Duration, limit: Duration) -> Result<String, Failure> {
    let deadline = Instant::now() + limit;
    let mut connection = Connection::open(target, connect.min(limit)).await?;
    match connection.get(target, true, deadline).await {
        Kept::Done(result) => result,
        Kept::Stale => Err(Failure::new(FailureKind::ClosedEarly, "closed before the request was sent")),
    }
}
