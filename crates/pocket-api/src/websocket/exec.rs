//! Programs in a container, connected to a websocket, or to SPDY for clients that ask for it.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code},
    response::Response,
};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use http::Request;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    sync::{Mutex, mpsc},
};

use crate::{
    exec_status,
    node::{ExecRequest, ExecStreams, NodeAccess},
    request::{Query, Target},
    spdy,
    status::Status,
};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const END: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
const CHUNK: usize = 32 << 10;

type Sender = Arc<Mutex<SplitSink<WebSocket, Message>>>;

/// Handles `/exec`.
pub(crate) async fn exec(
    node: Arc<dyn NodeAccess>,
    target: &Target,
    container: String,
    query: &Query,
    request: Request<Body>,
) -> Result<Response, Status> {
    let wanted = ExecRequest {
        namespace: target.namespace().to_owned(),
        pod: target.name().to_owned(),
        container,
        command: query.all("command").map(str::to_owned).collect(),
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        tty: query.flag("tty"),
    };
    if wanted.command.is_empty() {
        return Err(Status::bad_request("you must specify at least one command for the container"));
    }
    if spdy::is_wanted(&request) {
        return spdy::exec(node, wanted, request).await;
    }
    let upgrade = super::upgrade(request).await?.protocols(PROTOCOLS);
    if upgrade.selected_protocol().is_none() {
        return Err(Status::bad_request(format!(
            "unable to upgrade: supported subprotocols: {}",
            PROTOCOLS.join(", ")
        )));
    }
    // Before the upgrade, so that the client gets a plain error if the program cannot be run.
    let streams = node.exec(wanted).await?;
    Ok(upgrade.on_upgrade(move |socket| run(socket, streams)))
}

async fn run(socket: WebSocket, streams: ExecStreams) {
    let (sender, receiver) = socket.split();
    let sender: Sender = Arc::new(Mutex::new(sender));
    let output = async {
        tokio::join!(copy_out(streams.stdout, STDOUT, sender.clone()), copy_out(streams.stderr, STDERR, sender.clone()),)
    };
    let program = async {
        // All output comes before the end.
        let (_, exit) = tokio::join!(output, streams.exit);
        exec_status::of(match exit {
            Ok(result) => result,
            Err(_) => Err("the node stopped".to_owned()),
        })
    };
    let client = copy_in(receiver, streams.stdin, streams.resize);
    tokio::pin!(client, program);
    let status = tokio::select! {
        // The client is gone, so no one reads the result. Dropping the streams ends the program.
        () = &mut client => return,
        status = &mut program => status,
    };
    let mut sender = sender.lock().await;
    let _ = sender.send(message(END, status.to_string().as_bytes())).await;
    let _ = sender.send(closing()).await;
    let _ = sender.close().await;
}

/// Returns the end of a session. kubectl treats a close without a code as a failure, even after a success on the error channel.
pub(super) fn closing() -> Message {
    Message::Close(Some(CloseFrame { code: close_code::NORMAL, reason: Utf8Bytes::default() }))
}

pub(super) fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(data.len() + 1);
    bytes.put_u8(channel);
    bytes.put_slice(data);
    Message::Binary(bytes.freeze())
}

async fn copy_out(source: Option<Box<dyn AsyncRead + Send + Unpin>>, channel: u8, sender: Sender) {
    let Some(mut source) = source else { return };
    let mut buffer = vec![0; CHUNK];
    loop {
        match source.read(&mut buffer).await {
            // A terminal ends with an error when its program does.
            Ok(0) | Err(_) => return,
            Ok(read) => {
                let data = buffer.get(..read).unwrap_or_default();
                if sender.lock().await.send(message(channel, data)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Passes on the client's messages; ends when the client is gone.
async fn copy_in(
    mut receiver: SplitStream<WebSocket>,
    mut stdin: Option<Box<dyn tokio::io::AsyncWrite + Send + Unpin>>,
    resize: Option<mpsc::Sender<(u16, u16)>>,
) {
    while let Some(Ok(message)) = receiver.next().await {
        let data: Bytes = match message {
            Message::Binary(data) => data,
            Message::Text(text) => text.into(),
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        match data.split_first() {
            Some((&STDIN, bytes)) => {
                let Some(writer) = &mut stdin else { continue };
                let written = async {
                    writer.write_all(bytes).await?;
                    writer.flush().await
                };
                if written.await.is_err() {
                    // The program reads no more, but it continues.
                    stdin = None;
                }
            }
            Some((&RESIZE, bytes)) => {
                let size: Value = serde_json::from_slice(bytes).unwrap_or_default();
                let number = |name: &str| size[name].as_u64().and_then(|number| u16::try_from(number).ok());
                if let (Some(columns), Some(rows), Some(resize)) = (number("Width"), number("Height"), &resize) {
                    let _ = resize.send((columns, rows)).await;
                }
            }
            Some((&CLOSE, [STDIN])) => {
                if let Some(mut writer) = stdin.take() {
                    let _ = writer.shutdown().await;
                }
            }
            _ => {}
        }
    }
}
