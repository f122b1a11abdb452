//! TCP socket, as the kernel lists it.

use std::net::SocketAddr;

/// Socket of this network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Address of the pod's end.
    pub local: SocketAddr,
    /// Address of the client's end.
    pub peer: SocketAddr,
    /// TCP state.
    pub state: State,
    /// Bytes that the client has not acknowledged yet. The end of the stream counts as one.
    pub unacknowledged: u32,
    /// Whether a process has the socket open. A connection that is established but not accepted yet has no owner either.
    pub owned: bool,
    /// Kernel's own number of the socket; 0 where it is unknown.
    pub cookie: u64,
}

/// TCP states that the kernel lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Data goes both ways.
    Established,
    /// Connecting, as a client.
    SynSent,
    /// A client connects.
    SynReceived,
    /// Pod has ended its direction; the client has not acknowledged all of it.
    FinWait1,
    /// Pod has ended its direction; the client may still send.
    FinWait2,
    /// Over; remembered for late packets.
    TimeWait,
    /// Not in use.
    Closed,
    /// Client has ended its direction; the pod may still send.
    CloseWait,
    /// Both have ended; the client has not acknowledged all of it.
    LastAck,
    /// Waits for clients.
    Listen,
    /// Both have ended at the same moment.
    Closing,
}

impl State {
    /// Converts the kernel's number (`include/net/tcp_states.h`).
    pub fn from_kernel(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Established,
            2 => Self::SynSent,
            // 12 is the kernel's state for a connection that is being opened (`TCP_NEW_SYN_RECV`).
            3 | 12 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Closed,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => return None,
        })
    }
}

impl Socket {
    /// Returns whether a client would lose data if the pod ended now.
    pub fn is_held(&self) -> bool {
        match self.state {
            State::Established | State::FinWait1 | State::CloseWait => true,
            // Without an owner the program has closed the socket, and all that it sent has arrived: the kernel only waits for the
            // client's own end, up to a minute.
            State::FinWait2 => self.owned,
            // Both ends are done, but the last bytes of a reply may still be in transit.
            State::LastAck | State::Closing => self.unacknowledged > 1,
            State::SynSent | State::SynReceived | State::TimeWait | State::Closed | State::Listen => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(state: State, unacknowledged: u32, owned: bool) -> Socket {
        let end = SocketAddr::from(([10, 0, 0, 1], 8080));
        Socket { local: end, peer: end, state, unacknowledged, owned, cookie: 0 }
    }

    #[test]
    fn holds_while_something_can_be_lost() {
        for (state, unacknowledged, owned, held) in [
            (State::Established, 0, true, true),
            (State::Established, 0, false, true), // not accepted yet
            (State::FinWait1, 9, false, true),
            (State::FinWait2, 0, true, true), // the client still sends, the program still reads
            (State::FinWait2, 0, false, false),
            (State::CloseWait, 0, true, true), // the program still answers
            (State::LastAck, 1, false, false),
            (State::LastAck, 500, false, true),
            (State::Closing, 1, false, false),
            (State::Closing, 2, false, true),
            (State::TimeWait, 0, false, false),
            (State::SynReceived, 0, false, false),
            (State::SynSent, 0, true, false),
            (State::Listen, 0, true, false),
            (State::Closed, 0, false, false),
        ] {
            assert_eq!(socket(state, unacknowledged, owned).is_held(), held, "{state:?} {unacknowledged} {owned}");
        }
    }
}
