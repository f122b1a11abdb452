//! SPDY connection: streams that the client opens, and the data that is sent back on them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::timeout,
};

use super::{
    Io,
    frame::{self, Frame},
    headers::{Decoder, Encoder, Headers},
};

const CHUNK: usize = 32 << 10;
/// Chunks that may wait for a slow reader in the pod. When they are exceeded the client waits, with all its streams.
const WAITING: usize = 64;
/// Time that the client may take to close a connection that has been closed here.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Stream that the client has opened, with the data that it sends.
pub(super) struct Stream {
    pub(super) headers: Headers,
    /// Data from the client; ends when the client has closed its side.
    pub(super) input: mpsc::Receiver<Bytes>,
    pub(super) output: Output,
}

/// Server's side of a stream.
#[derive(Clone)]
pub(super) struct Output {
    stream: u32,
    writer: Arc<Mutex<Writer>>,
}

impl Output {
    /// Sends data; returns whether the connection is still open.
    pub(super) async fn send(&self, bytes: &[u8]) -> bool {
        for chunk in bytes.chunks(CHUNK) {
            if !self.writer.lock().await.write(&frame::data(self.stream, chunk, false)).await {
                return false;
            }
        }
        true
    }

    /// Closes this side of the stream.
    pub(super) async fn finish(self) {
        self.writer.lock().await.write(&frame::data(self.stream, &[], true)).await;
    }
}

/// SPDY session. Dropping it ends the connection.
pub(super) struct Session {
    writer: Arc<Mutex<Writer>>,
    streams: mpsc::Receiver<Stream>,
    reader: JoinSet<()>,
}

impl Session {
    /// Starts a session; returns `None` if header blocks cannot be written.
    pub(super) fn new(io: Io) -> Option<Self> {
        let (read, write) = tokio::io::split(io);
        let writer = Writer { io: write, encoder: Encoder::new()?, last: 0 };
        let (writer, (opened, streams)) = (Arc::new(Mutex::new(writer)), mpsc::channel(WAITING));
        let mut reader = JoinSet::new();
        reader.spawn(read_all(read, writer.clone(), opened));
        Some(Self { writer, streams, reader })
    }

    /// Returns the next stream that the client opens; `None` when the client is gone.
    pub(super) async fn accept(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }

    /// Waits until the client is gone.
    pub(super) async fn wait_until_closed(&mut self) {
        while self.reader.join_next().await.is_some() {}
    }

    /// Ends the connection after the client has read everything.
    pub(super) async fn close(mut self) {
        {
            let mut writer = self.writer.lock().await;
            let last = writer.last;
            writer.write(&frame::go_away(last)).await;
            // The client may have closed the connection before.
            let _ = writer.io.shutdown().await;
        }
        let _ = timeout(LAST_WORDS, self.wait_until_closed()).await;
    }
}

/// Writer of frames.
struct Writer {
    io: WriteHalf<Io>,
    encoder: Encoder,
    /// Last stream that was accepted.
    last: u32,
}

impl Writer {
    async fn write(&mut self, frame: &[u8]) -> bool {
        self.io.write_all(frame).await.is_ok() && self.io.flush().await.is_ok()
    }
}

/// Reads until the client is gone or sends something that is no SPDY.
async fn read_all(mut io: ReadHalf<Io>, writer: Arc<Mutex<Writer>>, opened: mpsc::Sender<Stream>) {
    let (mut decoder, mut inputs) = (Decoder::new(), HashMap::<u32, mpsc::Sender<Bytes>>::new());
    loop {
        match frame::read(&mut io).await {
            Ok(Some(Frame::Open { stream, block, fin })) => {
                let Some(headers) = decoder.decode(&block) else { return };
                let mut writer_now = writer.lock().await;
                let Some(block) = writer_now.encoder.encode(&Headers::new()) else { return };
                writer_now.last = stream;
                if !writer_now.write(&frame::reply(stream, &block)).await {
                    return;
                }
                drop(writer_now);
                let (sender, input) = mpsc::channel(WAITING);
                if !fin {
                    inputs.insert(stream, sender);
                }
                let output = Output { stream, writer: writer.clone() };
                if opened.send(Stream { headers, input, output }).await.is_err() {
                    return;
                }
            }
            Ok(Some(Frame::Headers(block))) => {
                if decoder.decode(&block).is_none() {
                    return;
                }
            }
            Ok(Some(Frame::Data { stream, mut length, fin })) => {
                while length > 0 {
                    let mut chunk = vec![0; length.min(CHUNK)];
                    if io.read_exact(&mut chunk).await.is_err() {
                        return;
                    }
                    length -= chunk.len();
                    if let Some(input) = inputs.get(&stream) {
                        // A reader that has ended takes no more.
                        let _ = input.send(chunk.into()).await;
                    }
                }
                if fin {
                    inputs.remove(&stream);
                }
            }
            Ok(Some(Frame::Reset(stream))) => drop(inputs.remove(&stream)),
            Ok(Some(Frame::Ping(id))) => {
                if !writer.lock().await.write(&frame::ping(id)).await {
                    return;
                }
            }
            Ok(Some(Frame::GoAway | Frame::Other)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    /// Client that behaves like moby/spdystream.
    struct Client {
        io: DuplexStream,
        encoder: Encoder,
    }

    impl Client {
        fn start() -> (Self, Session) {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            (Self { io: ours, encoder: Encoder::new().unwrap() }, Session::new(Box::new(theirs)).unwrap())
        }

        async fn open(&mut self, stream: u32, kind: &str) {
            let block = self.encoder.encode(&Headers::from([("streamtype".into(), kind.into())])).unwrap();
            let frame = frame::open(stream, &block);
            self.io.write_all(&frame).await.unwrap();
            assert!(matches!(self.read().await, Some(Frame::Headers(_))));
        }

        async fn read(&mut self) -> Option<Frame> {
            frame::read(&mut self.io).await.unwrap()
        }
    }

    #[tokio::test]
    async fn streams_carry_data_both_ways() {
        let (mut client, mut session) = Client::start();
        client.open(1, "error").await;
        client.open(3, "data").await;
        let (error, mut data) = (session.accept().await.unwrap(), session.accept().await.unwrap());
        assert_eq!((error.headers["streamtype"].as_str(), data.headers["streamtype"].as_str()), ("error", "data"));
        let frames = [frame::data(3, b"to", false), frame::ping(9), frame::data(3, b"", true)].concat();
        client.io.write_all(&frames).await.unwrap();
        assert_eq!(data.input.recv().await.as_deref(), Some(&b"to"[..]));
        assert_eq!(data.input.recv().await, None, "the client has closed its side");
        assert_eq!(client.read().await, Some(Frame::Ping(9)));
        assert!(data.output.send(b"back").await);
        data.output.finish().await;
        assert_eq!(client.read().await, Some(Frame::Data { stream: 3, length: 4, fin: false }));
        let mut bytes = [0; 4];
        client.io.read_exact(&mut bytes).await.unwrap();
        assert_eq!((&bytes, client.read().await), (b"back", Some(Frame::Data { stream: 3, length: 0, fin: true })));
        let closing = tokio::spawn(session.close());
        assert_eq!(client.read().await, Some(Frame::GoAway));
        drop(client);
        closing.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_is_gone_ends_what_waits_for_it() {
        let (mut client, mut session) = Client::start();
        client.open(1, "data").await;
        let mut data = session.accept().await.unwrap();
        drop(client);
        session.wait_until_closed().await;
        assert_eq!(data.input.recv().await, None);
        assert!(session.accept().await.is_none());
        assert!(!data.output.send(b"x").await);
    }

    #[tokio::test]
    async fn what_is_no_spdy_ends_the_session() {
        let (mut client, mut session) = Client::start();
        client.io.write_all(b"\xff\xff\xff\xff\xff\xff\xff\xff").await.unwrap();
        session.wait_until_closed().await;
        assert!(session.accept().await.is_none());
    }
}
