//! exec and port forwarding over websockets, in the channel protocols of Kubernetes.
//!
//! A message is binary, and its first byte names the channel. exec: 0 stdin, 1 stdout, 2 stderr, 3 the end as a Status,
//! 4 the terminal's size, and (v5) 255 closes the channel named by the second byte. Port forwarding (v4): two
//! channels a port, data and error; the first message of each is the port as two bytes, low byte first.

mod exec;
mod forward;

use axum::{
    body::Body,
    extract::{FromRequestParts, ws::WebSocketUpgrade},
};
use http::{Request, StatusCode};

pub(crate) use self::{exec::exec, forward::port_forward};
use crate::status::Status;

/// Returns the websocket upgrade of a request.
async fn upgrade(request: Request<Body>) -> Result<WebSocketUpgrade, Status> {
    let (mut parts, _) = request.into_parts();
    WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(|rejection| {
        Status::new(StatusCode::BAD_REQUEST, "BadRequest", format!("Upgrade request required: {rejection}"))
    })
}
