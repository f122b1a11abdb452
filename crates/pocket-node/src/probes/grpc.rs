//! gRPC health check (`grpc.health.v1.Health/Check`): one unary call over plain HTTP/2.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::http::plain;

/// Asks a server for the health of a service. Returns `Ok` if it serves.
pub(crate) async fn check(ip: IpAddr, port: u16, service: &str) -> Result<(), String> {
    let address = SocketAddr::new(ip, port);
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("failed to connect service \"{address}\": {}", plain(&error)))?;
    let text = |error: hyper::Error| format!("health rpc probe failed: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(text)?;
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "kube-probe/1.33")
        .body(Full::new(request(service)))
        .map_err(|error| error.to_string())?;
    let call = async move {
        let response = sender.send_request(request).await.map_err(text)?;
        let early = grpc_status(response.headers());
        let body = response.into_body().collect().await.map_err(text)?;
        let status = body.trailers().and_then(grpc_status).or(early).unwrap_or(0);
        Ok::<_, String>((status, body.to_bytes()))
    };
    let (status, body) = tokio::select! {
        answer = call => answer?,
        ended = connection => return Err(ended.err().map_or_else(|| "health rpc probe failed: connection closed".into(), text)),
    };
    match (status, serving(&body)) {
        (0, Some(1)) => Ok(()),
        (0, Some(other)) => Err(format!("service unhealthy (responded with \"{}\")", name(other))),
        (0, None) => Err("health rpc probe failed: the answer is no HealthCheckResponse".into()),
        (12, _) => Err("this server does not implement the grpc health protocol (grpc.health.v1.Health)".into()),
        (code, _) => Err(format!("health rpc probe failed: grpc status {code}")),
    }
}

fn grpc_status(headers: &http::HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Encodes a length-prefixed `HealthCheckRequest { service = 1 }`.
fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}

/// Reads the `status` of a length-prefixed `HealthCheckResponse { status = 1 }`; an absent one means 0.
fn serving(frame: &[u8]) -> Option<u8> {
    let message = frame.get(5..)?;
    match message {
        [] => Some(0),
        [0x08, status, ..] => Some(*status),
        _ => None,
    }
}

fn name(status: u8) -> &'static str {
    match status {
        0 => "UNKNOWN",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        assert_eq!(&request("")[..], &[0, 0, 0, 0, 0]);
        assert_eq!(&request("ab")[..], &[0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(request(&"x".repeat(200))[5..8], [0x0a, 0xc8, 0x01]);
        for (frame, expected) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(1)),
            (&[0, 0, 0, 0, 2, 8, 2][..], Some(2)),
            (&[0, 0, 0, 0, 0][..], Some(0)),
            (&[0, 0][..], None),
            (&[0, 0, 0, 0, 1, 9][..], None),
        ] {
            assert_eq!(serving(frame), expected);
        }
    }
}
