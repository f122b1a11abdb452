//! Frames of SPDY, as far as Kubernetes uses them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

const VERSION: u16 = 3;
const FIN: u8 = 1;
/// Longest control frame that is accepted.
const MAX_CONTROL: usize = 64 << 10;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// Frame of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// New stream, with its headers as they are on the wire.
    Open { stream: u32, block: Vec<u8>, fin: bool },
    /// More headers. They have no meaning here, but belong to the compression's context.
    Headers(Vec<u8>),
    /// Head of a data frame; data of this length follow.
    Data { stream: u32, length: usize, fin: bool },
    /// Immediate end of a stream.
    Reset(u32),
    /// Ping, which must be sent back.
    Ping(u32),
    /// Announcement that no new streams come.
    GoAway,
    /// Settings, window sizes and any other frame.
    Other,
}

/// Reads the next frame; of a data frame only its head. Returns `None` at the end.
pub(super) async fn read<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<Option<Frame>> {
    let mut head = [0; 8];
    match reader.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    };
    let [a, b, c, d, flags, lengths @ ..] = head;
    let [e, f, g] = lengths;
    let length = usize::try_from(u32::from_be_bytes([0, e, f, g])).unwrap_or(usize::MAX);
    let fin = flags & FIN != 0;
    if a & 0x80 == 0 {
        return Ok(Some(Frame::Data { stream: u32::from_be_bytes([a, b, c, d]), length, fin }));
    }
    if length > MAX_CONTROL || u16::from_be_bytes([a & 0x7f, b]) != VERSION {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no frame of SPDY/3.1"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    parse(u16::from_be_bytes([c, d]), fin, &body)
        .map(Some)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a frame is cut short"))
}

fn parse(kind: u16, fin: bool, body: &[u8]) -> Option<Frame> {
    let number = |at: usize| {
        let bytes = body.get(at..at + 4)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*bytes) & 0x7fff_ffff)
    };
    Some(match kind {
        // The stream's number is followed by its parent's number, its priority and its slot.
        SYN_STREAM => Frame::Open { stream: number(0)?, block: body.get(10..)?.to_vec(), fin },
        SYN_REPLY | HEADERS => Frame::Headers(body.get(4..)?.to_vec()),
        RST_STREAM => Frame::Reset(number(0)?),
        PING => Frame::Ping(number(0)?),
        GOAWAY => Frame::GoAway,
        _ => Frame::Other,
    })
}

/// Returns the frame with which a client opens a stream.
#[cfg(test)]
pub(super) fn open(stream: u32, block: &[u8]) -> Vec<u8> {
    control(SYN_STREAM, &[&stream.to_be_bytes()[..], &[0; 6], block].concat())
}

/// Returns the answer to a new stream.
pub(super) fn reply(stream: u32, block: &[u8]) -> Vec<u8> {
    control(SYN_REPLY, &[&stream.to_be_bytes(), block].concat())
}

/// Returns the answer to a ping.
pub(super) fn ping(id: u32) -> Vec<u8> {
    control(PING, &id.to_be_bytes())
}

/// Returns the frame that ends the session without an error.
pub(super) fn go_away(last: u32) -> Vec<u8> {
    control(GOAWAY, &[last.to_be_bytes(), 0_u32.to_be_bytes()].concat())
}

/// Returns data of a stream; `fin` marks the last.
pub(super) fn data(stream: u32, bytes: &[u8], fin: bool) -> Vec<u8> {
    let mut frame = stream.to_be_bytes().to_vec();
    frame.extend(head(bytes.len(), if fin { FIN } else { 0 }));
    frame.extend(bytes);
    frame
}

fn control(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = (VERSION | 0x8000).to_be_bytes().to_vec();
    frame.extend(kind.to_be_bytes());
    frame.extend(head(body.len(), 0));
    frame.extend(body);
    frame
}

/// Returns flags and length. No frame that is written here comes near the 16 MB that three bytes can express.
fn head(length: usize, flags: u8) -> [u8; 4] {
    let [_, a, b, c] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [flags, a, b, c]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(mut bytes: &[u8]) -> Vec<Frame> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut frames = Vec::new();
            while let Ok(Some(frame)) = read(&mut bytes).await {
                frames.push(frame);
            }
            frames
        })
    }

    #[test]
    fn frames_are_read_as_they_are_written() {
        let bytes = [ping(7), go_away(3), reply(1, b"block"), data(5, b"", true)].concat();
        let expected = [
            Frame::Ping(7),
            Frame::GoAway,
            Frame::Headers(b"block".to_vec()),
            Frame::Data { stream: 5, length: 0, fin: true },
        ];
        assert_eq!(read_all(&bytes), expected);
        let mut bytes = open(3, b"block");
        assert_eq!(read_all(&bytes), [Frame::Open { stream: 3, block: b"block".to_vec(), fin: false }]);
        bytes.truncate(12);
        assert_eq!(read_all(&bytes), []);
        assert_eq!(read_all(&control(SYN_STREAM, b"short")), []);
        assert_eq!(
            read_all(b"GET / HTTP/1.1\r\n\r\n").first(),
            Some(&Frame::Data { stream: 0x4745_5420, length: 0x20_4854, fin: true })
        );
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_all(&bytes);
        }
    }
}
