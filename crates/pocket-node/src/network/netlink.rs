//! Minimal rtnetlink client without an async runtime, for forked helpers that have none.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use rustix::net::{self, AddressFamily as Family, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::Range;

/// Connection to the kernel for the network namespace in which it was made.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// Index of a network interface.
pub(crate) type Index = u32;

impl Netlink {
    /// Opens a connection in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let socket =
            // Protocol 0 is NETLINK_ROUTE.
            net::socket_with(Family::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Returns the index of an interface.
    pub(crate) fn index(&self, name: &str) -> io::Result<Index> {
        // A netlink socket does not answer this ioctl.
        let socket = net::socket_with(Family::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(net::netdevice::name_to_index(&socket, name)?)
    }

    /// Creates a bridge with a hardware address of its own. Without one the bridge takes the lowest address of its ports, and as
    /// ports come and go, pods would send to an address that no longer exists.
    pub(crate) fn add_bridge(&mut self, name: &str, mac: [u8; 6]) -> io::Result<Index> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        self.create(RouteNetlinkMessage::NewLink(message))?;
        self.index(name)
    }

    /// Creates a pair of interfaces: one here, up and on a bridge, and its peer in another namespace.
    pub(crate) fn add_veth(
        &mut self,
        name: &str,
        bridge: Index,
        peer: &str,
        peer_mac: [u8; 6],
        peer_namespace: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let mut other = LinkMessage::default();
        other.attributes = vec![
            LinkAttribute::IfName(peer.to_owned()),
            LinkAttribute::Address(peer_mac.to_vec()),
            LinkAttribute::NetNsFd(peer_namespace.as_raw_fd()),
        ];
        let mut message = up(0);
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Controller(bridge),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
            ]),
        ];
        self.create(RouteNetlinkMessage::NewLink(message))
    }

    /// Sets an interface up.
    pub(crate) fn set_up(&mut self, index: Index) -> io::Result<()> {
        self.request(RouteNetlinkMessage::SetLink(up(index)), 0)
    }

    /// Gives an interface an address.
    pub(crate) fn add_address(&mut self, index: Index, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.index = index;
        message.header.prefix_len = prefix;
        message.attributes = vec![AddressAttribute::Address(address.into()), AddressAttribute::Local(address.into())];
        self.create(RouteNetlinkMessage::NewAddress(message))
    }

    /// Adds a default route over a gateway.
    pub(crate) fn add_default_route(&mut self, gateway: Ipv4Addr) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Boot;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway))];
        self.create(RouteNetlinkMessage::NewRoute(message))
    }

    /// Makes all addresses of a range this host's own, so that sockets may listen on them.
    pub(crate) fn add_local_route(&mut self, range: Range, index: Index) -> io::Result<()> {
        const TABLE_LOCAL: u8 = 255;
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = range.prefix;
        message.header.table = TABLE_LOCAL;
        message.header.protocol = RouteProtocol::Boot;
        message.header.scope = RouteScope::Host;
        message.header.kind = RouteType::Local;
        message.attributes =
            vec![RouteAttribute::Destination(RouteAddress::Inet(range.base)), RouteAttribute::Oif(index)];
        self.create(RouteNetlinkMessage::NewRoute(message))
    }

    fn create(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.request(message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Sends a request and waits for its acknowledgement.
    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence;
        let bytes = encode(header, message);
        net::send(&self.socket, &bytes, SendFlags::empty())?;

        let mut buffer = [0; 8192];
        loop {
            let (length, _) = net::recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            let answer = decode::<RouteNetlinkMessage>(&buffer[..length])?;
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::Error(error) => match error.code {
                    None => Ok(()),
                    Some(code) => Err(io::Error::from_raw_os_error(code.get().abs())),
                },
                NetlinkPayload::Done(_) => Ok(()),
                _ => continue,
            };
        }
    }
}

fn encode<T: NetlinkSerializable>(header: NetlinkHeader, message: T) -> Vec<u8>
where
    NetlinkPayload<T>: From<T>,
{
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    bytes
}

fn decode<T: NetlinkDeserializable>(bytes: &[u8]) -> io::Result<NetlinkMessage<T>> {
    NetlinkMessage::deserialize(bytes).map_err(|error| io::Error::other(format!("netlink: {error}")))
}

fn up(index: Index) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}
