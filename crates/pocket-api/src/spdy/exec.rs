//! Programs in a container, connected to streams of SPDY.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use http::Request;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};

use super::{
    Io,
    session::{Output, Session, Stream},
};
use crate::{
    exec_status,
    node::{ExecRequest, ExecStreams, NodeAccess},
    status::Status,
};

const PROTOCOLS: [&str; 1] = ["v4.channel.k8s.io"];
const CHUNK: usize = 32 << 10;
/// Time that a client may take to open its streams, as in Kubernetes.
const OPENING: Duration = Duration::from_secs(30);

/// Handles `/exec`.
pub(crate) async fn exec(
    node: Arc<dyn NodeAccess>,
    wanted: ExecRequest,
    request: Request<Body>,
) -> Result<Response, Status> {
    let protocol = super::negotiate(&request, &PROTOCOLS)?;
    let kinds =
        Kinds { stdin: wanted.stdin, stdout: wanted.stdout, stderr: wanted.stderr && !wanted.tty, resize: wanted.tty };
    // Before the upgrade, so that the client gets a plain error if the program cannot be run.
    let streams = node.exec(wanted).await?;
    Ok(super::upgrade(request, protocol, move |io| run(io, kinds, streams)))
}

/// Streams that the client opens, beside the error stream.
#[derive(Clone, Copy)]
struct Kinds {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    resize: bool,
}

#[derive(Default)]
struct ExecChannels {
    error: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

impl ExecChannels {
    fn has(&self, kinds: Kinds) -> bool {
        self.error.is_some()
            && (self.stdin.is_some() || !kinds.stdin)
            && (self.stdout.is_some() || !kinds.stdout)
            && (self.stderr.is_some() || !kinds.stderr)
            && (self.resize.is_some() || !kinds.resize)
    }

    /// Accepts the client's streams until all are open; returns `None` if the client leaves before.
    async fn all(session: &mut Session, kinds: Kinds) -> Option<Self> {
        let mut opened = Self::default();
        while !opened.has(kinds) {
            let stream = session.accept().await?;
            match stream.headers.get("streamtype").map(String::as_str) {
                Some("error") => opened.error = Some(stream),
                Some("stdin") => opened.stdin = Some(stream),
                Some("stdout") => opened.stdout = Some(stream),
                Some("stderr") => opened.stderr = Some(stream),
                Some("resize") => opened.resize = Some(stream),
                _ => return None,
            }
        }
        Some(opened)
    }
}

async fn run(io: Io, kinds: Kinds, streams: ExecStreams) {
    let Some(mut session) = Session::new(io) else { return };
    let Ok(Some(opened)) = timeout(OPENING, ExecChannels::all(&mut session, kinds)).await else { return };
    let Some(Stream { output: error, input: _unread, .. }) = opened.error else { return };
    let input = async {
        tokio::join!(copy_in(opened.stdin, streams.stdin), resize(opened.resize, streams.resize));
        // The program continues without input.
        std::future::pending::<()>().await;
    };
    let program = async {
        // All output comes before the end.
        let outputs =
            async { tokio::join!(copy_out(streams.stdout, opened.stdout), copy_out(streams.stderr, opened.stderr)) };
        let (_, exit) = tokio::join!(outputs, streams.exit);
        exec_status::of(exit.unwrap_or_else(|_| Err("the node stopped".to_owned())))
    };
    let status = tokio::select! {
        // The client is gone, so no one reads the result. Dropping the streams ends the program.
        () = session.wait_until_closed() => return,
        () = input => return,
        status = program => status,
    };
    error.send(status.to_string().as_bytes()).await;
    error.finish().await;
    session.close().await;
}

async fn copy_out(source: Option<Box<dyn AsyncRead + Send + Unpin>>, stream: Option<Stream>) {
    let Some(Stream { output, .. }) = stream else { return };
    if let Some(source) = source {
        copy(source, &output).await;
    }
    output.finish().await;
}

async fn copy(mut source: Box<dyn AsyncRead + Send + Unpin>, output: &Output) {
    let mut buffer = vec![0; CHUNK];
    // A terminal ends with an error when its program does.
    while let Ok(read @ 1..) = source.read(&mut buffer).await {
        if !output.send(buffer.get(..read).unwrap_or_default()).await {
            return;
        }
    }
}

async fn copy_in(stream: Option<Stream>, stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>) {
    let (Some(mut stream), Some(mut stdin)) = (stream, stdin) else { return };
    while let Some(bytes) = stream.input.recv().await {
        if stdin.write_all(&bytes).await.is_err() || stdin.flush().await.is_err() {
            // The program reads no more, but it continues.
            return;
        }
    }
    let _ = stdin.shutdown().await;
}

/// Passes on the sizes of the terminal, each a JSON object.
async fn resize(stream: Option<Stream>, sizes: Option<mpsc::Sender<(u16, u16)>>) {
    let (Some(mut stream), Some(sizes)) = (stream, sizes) else { return };
    while let Some(bytes) = stream.input.recv().await {
        for size in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>().map_while(Result::ok) {
            let number = |name: &str| size[name].as_u64().and_then(|number| u16::try_from(number).ok());
            if let (Some(columns), Some(rows)) = (number("Width"), number("Height")) {
                // The program may have ended.
                let _ = sizes.send((columns, rows)).await;
            }
        }
    }
}
