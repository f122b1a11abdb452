//! Ports of a pod, connected to a websocket.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::ws::{Message, WebSocket},
    response::Response,
};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Mutex, mpsc},
    task::JoinSet,
};

use super::exec::{closing, message};
use crate::{
    node::{Duplex, NodeAccess},
    request::{Query, Target},
    spdy,
    status::Status,
};

const PROTOCOLS: [&str; 1] = ["v4.channel.k8s.io"];
const CHUNK: usize = 32 << 10;
/// Messages that may wait for a slow program in the pod. When they are exceeded the client waits.
const WAITING: usize = 16;

type Sender = Arc<Mutex<SplitSink<WebSocket, Message>>>;

/// Handles `/portforward`.
pub(crate) async fn port_forward(
    node: Arc<dyn NodeAccess>,
    target: &Target,
    query: &Query,
    request: Request<Body>,
) -> Result<Response, Status> {
    if spdy::is_wanted(&request) {
        return spdy::port_forward(node, target.namespace().to_owned(), target.name().to_owned(), request);
    }
    let mut ports = Vec::new();
    for text in query.all("ports").flat_map(|list| list.split(',')) {
        match text.trim().parse::<u16>() {
            Ok(port) if port > 0 => ports.push(port),
            _ => {
                return Err(Status::bad_request(format!(
                    "ports: Invalid value: \"{text}\": must be between 1 and 65535"
                )));
            }
        }
    }
    // A port has two channels, each named by one byte.
    if ports.is_empty() || ports.len() > 127 {
        return Err(Status::bad_request("ports: Required value: name 1 to 127 ports to forward"));
    }
    let upgrade = super::upgrade(request).await?.protocols(PROTOCOLS);
    if upgrade.selected_protocol().is_none() {
        return Err(Status::bad_request(format!(
            "unable to upgrade: supported subprotocols: {}",
            PROTOCOLS.join(", ")
        )));
    }
    let (namespace, pod) = (target.namespace().to_owned(), target.name().to_owned());
    Ok(upgrade.on_upgrade(move |socket| run(socket, node, namespace, pod, ports)))
}

async fn run(socket: WebSocket, node: Arc<dyn NodeAccess>, namespace: String, pod: String, ports: Vec<u16>) {
    let (sender, mut receiver) = socket.split();
    let sender: Sender = Arc::new(Mutex::new(sender));
    let mut tasks = JoinSet::new();
    let mut inputs = Vec::new();
    for (index, port) in ports.iter().copied().enumerate() {
        let Ok(channel) = u8::try_from(index * 2) else { return };
        for channel in [channel, channel + 1] {
            if sender.lock().await.send(message(channel, &port.to_le_bytes())).await.is_err() {
                return;
            }
        }
        let (input, output) = mpsc::channel(WAITING);
        inputs.push(Some(input));
        let connect = node.port_forward(&namespace, &pod, port);
        let sender = sender.clone();
        tasks.spawn(async move {
            let result = match connect.await {
                Ok(connection) => pump(connection, output, channel, &sender).await,
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = result {
                let text = format!("an error occurred forwarding port {port}: {why}");
                let _ = sender.lock().await.send(message(channel + 1, text.as_bytes())).await;
            }
        });
    }
    let client = async {
        while let Some(Ok(message)) = receiver.next().await {
            match message {
                Message::Binary(data) => {
                    let Some(channel) = data.first().filter(|channel| *channel % 2 == 0) else { continue };
                    if let Some(Some(input)) = inputs.get(usize::from(channel / 2)) {
                        // A port whose connection has ended takes no more.
                        let _ = input.send(data.slice(1..)).await;
                    }
                }
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    let all = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        () = client => {}
        () = all => {}
    }
    let mut sender = sender.lock().await;
    let _ = sender.send(closing()).await;
    let _ = sender.close().await;
}

/// Carries bytes both ways until the pod closes its side.
async fn pump(
    connection: Box<dyn Duplex>,
    mut input: mpsc::Receiver<bytes::Bytes>,
    channel: u8,
    sender: &Sender,
) -> Result<(), String> {
    let (mut from_pod, mut to_pod) = tokio::io::split(connection);
    let write = async {
        while let Some(data) = input.recv().await {
            if to_pod.write_all(&data).await.is_err() || to_pod.flush().await.is_err() {
                break;
            }
        }
        let _ = to_pod.shutdown().await;
        std::future::pending::<()>().await;
    };
    let read = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = from_pod.read(&mut buffer).await.map_err(|error| error.to_string())?;
            let data = buffer.get(..read).unwrap_or_default();
            if data.is_empty() || sender.lock().await.send(message(channel, data)).await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::select! {
        () = write => Ok(()),
        result = read => result,
    }
}
