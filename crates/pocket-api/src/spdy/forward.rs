//! Ports of a pod, connected to streams of SPDY: each connection has one stream for data and one for errors.

use std::{collections::HashMap, sync::Arc};

use axum::{body::Body, response::Response};
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use super::{
    Io,
    session::{Output, Session, Stream},
};
use crate::{
    node::{Duplex, NodeAccess},
    status::Status,
};

const PROTOCOLS: [&str; 1] = ["portforward.k8s.io"];
const CHUNK: usize = 32 << 10;
/// Greatest number of connections that have only one of their two streams.
const MAX_HALVES: usize = 256;

/// Handles `/portforward`.
pub(crate) fn port_forward(
    node: Arc<dyn NodeAccess>,
    namespace: String,
    pod: String,
    request: Request<Body>,
) -> Result<Response, Status> {
    let protocol = super::negotiate(&request, &PROTOCOLS)?;
    Ok(super::upgrade(request, protocol, move |io| run(io, node, namespace, pod)))
}

async fn run(io: Io, node: Arc<dyn NodeAccess>, namespace: String, pod: String) {
    let Some(mut session) = Session::new(io) else { return };
    let (mut halves, mut tasks) = (HashMap::<String, (bool, Stream)>::new(), JoinSet::new());
    loop {
        let stream = tokio::select! {
            stream = session.accept() => stream,
            Some(_) = tasks.join_next() => continue,
        };
        let Some(stream) = stream else { return };
        let header = |name: &str| stream.headers.get(name).cloned().unwrap_or_default();
        let (is_data, port) = (header("streamtype") == "data", header("port"));
        // Clients older than the header `requestid` have one connection at a time for each port.
        let request = stream.headers.get("requestid").cloned().unwrap_or_else(|| port.clone());
        let (data, error) = match halves.remove(&request) {
            Some((false, error)) if is_data => (stream, error),
            Some((true, data)) if !is_data => (data, stream),
            _ if halves.len() < MAX_HALVES => {
                halves.insert(request, (is_data, stream));
                continue;
            }
            _ => return,
        };
        let connect = match port.parse() {
            Ok(port) => node.port_forward(&namespace, &pod, port),
            Err(_) => Box::pin(async { Err(Status::bad_request("port: Invalid value: must be between 1 and 65535")) }),
        };
        tasks.spawn(async move {
            let Stream { input: _unread, output: error, .. } = error;
            let failed = match connect.await {
                Ok(connection) => pump(connection, data).await.err(),
                Err(why) => {
                    data.output.finish().await;
                    Some(why.to_string())
                }
            };
            if let Some(why) = failed {
                error.send(format!("an error occurred forwarding port {port}: {why}").as_bytes()).await;
            }
            error.finish().await;
        });
    }
}

/// Carries bytes both ways until the pod closes its side, or the client is gone.
async fn pump(connection: Box<dyn Duplex>, data: Stream) -> Result<(), String> {
    let (mut from_pod, mut to_pod) = tokio::io::split(connection);
    let Stream { mut input, output, .. } = data;
    let write = async {
        while let Some(bytes) = input.recv().await {
            if to_pod.write_all(&bytes).await.is_err() || to_pod.flush().await.is_err() {
                break;
            }
        }
        // The pod may still send its answer.
        let _ = to_pod.shutdown().await;
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        () = write => Ok(()),
        result = copy(&mut from_pod, &output) => result,
    };
    output.finish().await;
    result
}

async fn copy<R: tokio::io::AsyncRead + Unpin>(source: &mut R, output: &Output) -> Result<(), String> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = source.read(&mut buffer).await.map_err(|error| error.to_string())?;
        if read == 0 || !output.send(buffer.get(..read).unwrap_or_default()).await {
            return Ok(());
        }
    }
}
