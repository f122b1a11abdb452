//! Socket table by netlink (`sock_diag`): one question per address family, answered from the kernel's memory.

use std::{io, mem::MaybeUninit, net::SocketAddr, os::fd::OwnedFd, time::Duration};

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer,
    NetlinkHeader, NetlinkMessage, Parseable,
};
use netlink_packet_sock_diag::{
    SOCK_DIAG_BY_FAMILY, SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags},
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink,
    sockopt::{Timeout, set_socket_timeout},
};

use crate::socket::{Socket, State};

/// Size of the receive buffer. The kernel fills a buffer up to this size.
const BUFFER: usize = 32 * 1024;
/// Limit of the wait for an answer. The kernel answers at once; the limit only prevents a hang.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Reason why the table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed: netlink is not allowed here, or does not exist.
    #[error("netlink: {0}")]
    System(#[from] io::Error),
    /// The kernel's answer is not understood.
    #[error("netlink: {0}")]
    Answer(String),
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::System(errno.into())
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Answer(error.to_string())
    }
}

/// Completeness of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Answer holds all sockets.
    Whole,
    /// Table changed so much during the dump that, as the kernel reports, some sockets may be missing.
    Interrupted,
}

/// Calls `each` for every connection of this network namespace.
///
/// # Errors
/// When netlink cannot be used, or its answer is not understood; `each` may have been called for some connections by then.
pub fn read(mut each: impl FnMut(&Socket)) -> Result<Coverage, Error> {
    let netlink = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    set_socket_timeout(&netlink, Timeout::Recv, Some(TIMEOUT))?;
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
    let mut coverage = Coverage::Whole;
    for (sequence, family) in [(1, AF_INET), (2, AF_INET6)] {
        if ask(&netlink, family, sequence, &mut buffer, &mut each)? == Coverage::Interrupted {
            coverage = Coverage::Interrupted;
        }
    }
    Ok(coverage)
}

fn ask(
    netlink: &OwnedFd,
    family: u8,
    sequence: u32,
    buffer: &mut [MaybeUninit<u8>],
    each: &mut impl FnMut(&Socket),
) -> Result<Coverage, Error> {
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(netlink, &request(family, sequence), SendFlags::empty(), &kernel)?;
    let mut coverage = Coverage::Whole;
    loop {
        let ((bytes, _), length, _) = loop {
            match rustix::net::recvfrom(netlink, &mut *buffer, RecvFlags::TRUNC) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        if length > bytes.len() {
            return Err(Error::Answer(format!("an answer of {length} bytes does not fit")));
        }
        match messages(bytes, sequence, each)? {
            (part, Progress::More) => coverage = coverage.and(part),
            (part, Progress::Done) => return Ok(coverage.and(part)),
        }
    }
}

impl Coverage {
    fn and(self, other: Self) -> Self {
        if self == Self::Whole { other } else { self }
    }
}

fn request(family: u8, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = sequence;
    let question = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::ESTABLISHED
            | StateFlags::FIN_WAIT1
            | StateFlags::FIN_WAIT2
            | StateFlags::CLOSE_WAIT
            | StateFlags::LAST_ACK
            | StateFlags::CLOSING,
        socket_id: if family == AF_INET6 { SocketId::new_v6() } else { SocketId::new_v4() },
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(question).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Whether a dump continues after a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    More,
    Done,
}

/// Parses one datagram of the kernel.
fn messages(mut bytes: &[u8], sequence: u32, each: &mut impl FnMut(&Socket)) -> Result<(Coverage, Progress), Error> {
    let mut coverage = Coverage::Whole;
    while !bytes.is_empty() {
        let message = NetlinkBuffer::new_checked(bytes)?;
        let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
        // Messages begin at multiples of four; nothing is added after the last.
        let next = length.next_multiple_of(4).min(bytes.len());
        // Answers to an earlier question are skipped.
        if message.sequence_number() == sequence {
            if message.flags() & NLM_F_DUMP_INTR != 0 {
                coverage = Coverage::Interrupted;
            }
            match message.message_type() {
                NLMSG_DONE => {
                    // A dump that failed half way ends with the error's number instead of zero.
                    return match number(message.payload()) {
                        None | Some(0) => Ok((coverage, Progress::Done)),
                        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg()).into()),
                    };
                }
                NLMSG_ERROR => {
                    return Err(match number(message.payload()) {
                        Some(code) => io::Error::from_raw_os_error(code.saturating_neg()).into(),
                        None => Error::Answer("an error without a number".into()),
                    });
                }
                NLMSG_OVERRUN => return Err(Error::Answer("the kernel lost a part of its answer".into())),
                SOCK_DIAG_BY_FAMILY => {
                    if let Some(socket) = socket(message.payload())? {
                        each(&socket);
                    }
                }
                _ => {}
            }
        }
        bytes = &bytes[next..];
    }
    Ok((coverage, Progress::More))
}

/// Reads the number at the beginning of an end or an error: zero, or a negative error number.
fn number(payload: &[u8]) -> Option<i32> {
    payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

fn socket(payload: &[u8]) -> Result<Option<Socket>, Error> {
    // The header alone: the attributes behind it are not asked for.
    let header = InetResponseHeader::parse(payload)?;
    let Some(state) = State::from_kernel(header.state) else { return Ok(None) };
    let id = header.socket_id;
    Ok(Some(Socket {
        local: SocketAddr::new(id.source_address.to_canonical(), id.source_port),
        peer: SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
        state,
        unacknowledged: header.send_queue,
        owned: header.inode != 0,
        cookie: u64::from_ne_bytes(id.cookie),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Builds one `inet_diag_msg` in a netlink message, as `include/uapi/linux/inet_diag.h` lays it out.
    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u32::try_from(16 + payload.len()).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(1u32.to_ne_bytes());
        bytes.extend(77u32.to_ne_bytes());
        bytes.extend(payload);
        bytes
    }

    fn listed(family: u8, state: u8, local: &[u8], peer: &[u8]) -> Vec<u8> {
        let mut payload = vec![family, state, 0, 0];
        payload.extend(8080u16.to_be_bytes());
        payload.extend(40123u16.to_be_bytes());
        for address in [local, peer] {
            let mut padded = [0; 16];
            padded[..address.len()].copy_from_slice(address);
            payload.extend(padded);
        }
        payload.extend(0u32.to_ne_bytes()); // interface
        payload.extend(0x0102_0304_0506_0708u64.to_ne_bytes()); // cookie
        for number in [0u32, 3, 500, 1000, 4711] {
            payload.extend(number.to_ne_bytes()); // expires, receive queue, send queue, user, inode
        }
        payload
    }

    fn parse(bytes: &[u8]) -> Result<(Vec<Socket>, Coverage, Progress), Error> {
        let mut sockets = Vec::new();
        let (coverage, progress) = messages(bytes, 1, &mut |socket| sockets.push(*socket))?;
        Ok((sockets, coverage, progress))
    }

    #[test]
    fn reads_both_families() {
        let mut bytes = message(SOCK_DIAG_BY_FAMILY, 2, &listed(AF_INET, 1, &[10, 0, 0, 5], &[10, 0, 0, 9]));
        let mapped = |last| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last];
        bytes.extend(message(SOCK_DIAG_BY_FAMILY, 2, &listed(AF_INET6, 8, &mapped(5), &mapped(9))));
        let (sockets, coverage, progress) = parse(&bytes).unwrap();
        assert_eq!((coverage, progress), (Coverage::Whole, Progress::More));
        let one = Socket {
            local: "10.0.0.5:8080".parse().unwrap(),
            peer: "10.0.0.9:40123".parse().unwrap(),
            state: State::Established,
            unacknowledged: 500,
            owned: true,
            cookie: 0x0102_0304_0506_0708,
        };
        assert_eq!(sockets, [one, Socket { state: State::CloseWait, ..one }]);
    }

    #[test]
    fn ends_and_errors() {
        let (_, coverage, progress) = parse(&message(NLMSG_DONE, 2, &0i32.to_ne_bytes())).unwrap();
        assert_eq!((coverage, progress), (Coverage::Whole, Progress::Done));
        let (_, coverage, _) = parse(&message(NLMSG_DONE, NLM_F_DUMP_INTR, &0i32.to_ne_bytes())).unwrap();
        assert_eq!(coverage, Coverage::Interrupted);
        let failed = parse(&message(NLMSG_DONE, 2, &(-105i32).to_ne_bytes())).unwrap_err();
        assert!(failed.to_string().contains("os error 105"), "{failed}");
        let refused = parse(&message(NLMSG_ERROR, 0, &(-1i32).to_ne_bytes())).unwrap_err();
        assert!(refused.to_string().contains("not permitted"), "{refused}");
        assert!(parse(&message(NLMSG_ERROR, 0, &[])).is_err());
        assert!(parse(&message(NLMSG_OVERRUN, 0, &[])).is_err());
    }

    #[test]
    fn half_a_message_is_an_error() {
        let bytes = message(SOCK_DIAG_BY_FAMILY, 2, &listed(AF_INET, 1, &[10, 0, 0, 5], &[10, 0, 0, 9]));
        assert!(parse(&bytes[..60]).is_err());
        assert!(parse(&message(SOCK_DIAG_BY_FAMILY, 2, &[AF_INET, 1])).is_err());
    }

    #[test]
    fn another_question_s_answer_is_left_alone() {
        let bytes = message(SOCK_DIAG_BY_FAMILY, 2, &listed(AF_INET, 1, &[10, 0, 0, 5], &[10, 0, 0, 9]));
        let mut seen = 0;
        messages(&bytes, 2, &mut |_| seen += 1).unwrap();
        assert_eq!(seen, 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_payload_makes_it_panic(
            kind in prop_oneof![Just(SOCK_DIAG_BY_FAMILY), Just(NLMSG_DONE), Just(NLMSG_ERROR), any::<u16>()],
            payload in proptest::collection::vec(any::<u8>(), 0..120),
            cut in 0usize..140,
        ) {
            let bytes = message(kind, 2, &payload);
            let _ = parse(&bytes[..cut.min(bytes.len())]);
            let _ = parse(&bytes);
        }
    }
}
