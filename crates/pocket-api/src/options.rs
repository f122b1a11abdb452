//! Options of the server.

use std::{fmt, net::Ipv4Addr, ops::RangeInclusive, path::PathBuf, str::FromStr};

use crate::token_key::TokenKey;

/// Options of the server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory in which objects are kept; objects are in memory only if absent.
    pub persistence: Option<PathBuf>,
    /// Range of the addresses of Services.
    pub service_cidr: Cidr,
    /// Range of the node ports of Services.
    pub node_ports: RangeInclusive<u16>,
    /// Address of the cluster's DNS. Only a Service that asks for it gets it.
    pub cluster_dns_ip: Ipv4Addr,
    /// Key that signs the tokens of service accounts; a fresh key if absent.
    pub token_key: Option<TokenKey>,
    /// Answer of `/version`.
    pub version: VersionInfo,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            persistence: None,
            service_cidr: Cidr { address: Ipv4Addr::new(10, 96, 0, 0), prefix: 16 },
            node_ports: 30000..=32767,
            cluster_dns_ip: Ipv4Addr::new(10, 96, 0, 10),
            token_key: None,
            version: VersionInfo::default(),
        }
    }
}

/// Answer of `/version`.
#[derive(Clone, Debug)]
pub struct VersionInfo {
    /// Major version: `1`.
    pub major: String,
    /// Minor version: `33`.
    pub minor: String,
    /// Version with the name of this server: `v1.33.0+pocket`.
    pub git_version: String,
}

impl Default for VersionInfo {
    fn default() -> Self {
        Self { major: "1".into(), minor: "33".into(), git_version: "v1.33.0+pocket".into() }
    }
}

/// Range of IPv4 addresses, such as `10.96.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: Ipv4Addr,
    prefix: u8,
}

/// Text that is no range of IPv4 addresses.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no IPv4 range: write it like 10.96.0.0/16, with a prefix of 8 to 30 bits")]
pub struct CidrError(String);

impl Cidr {
    /// Returns the first address of the range.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) & self.mask())
    }

    /// Returns the length of the prefix in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Returns whether an address is in the range.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.network())
    }

    /// Returns the addresses between the network's own and the broadcast address, as numbers.
    pub fn hosts(self) -> RangeInclusive<u32> {
        let first = u32::from(self.network());
        first + 1..=(first | !self.mask()) - 1
    }

    fn mask(self) -> u32 {
        u32::MAX << (32 - u32::from(self.prefix))
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let prefix: u8 = prefix.parse().ok()?;
            (8..=30).contains(&prefix).then_some(())?;
            Some(Self { address: address.parse().ok()?, prefix })
        };
        parse().ok_or_else(|| CidrError(text.to_owned()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range: Cidr = "10.96.0.0/30".parse().unwrap();
        assert_eq!(
            range.hosts().map(Ipv4Addr::from).collect::<Vec<_>>(),
            [Ipv4Addr::new(10, 96, 0, 1), Ipv4Addr::new(10, 96, 0, 2)]
        );
        assert!(range.contains(Ipv4Addr::new(10, 96, 0, 3)) && !range.contains(Ipv4Addr::new(10, 96, 0, 4)));
        assert_eq!("10.96.7.1/16".parse::<Cidr>().unwrap().to_string(), "10.96.0.0/16");
        for wrong in ["", "10.96.0.0", "10.96.0.0/31", "10.96.0.0/0", "10.96.0/16", "::/8"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }
}
