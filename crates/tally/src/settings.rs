//! Settings from the environment of the container.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::rules::{Loopback, Rules};

/// Default address of the server.
pub const LISTEN: &str = ":9798";
/// Default age of probes in seconds: probes time out after one second by default, and one more second is allowed for their end.
const PROBE_SECONDS: u64 = 2;
/// Limit of the age of probes in seconds. No probe takes longer, so a larger value is a mistake.
const PROBE_LIMIT: u64 = 3600;

/// Settings of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Addresses to listen on, in order of preference.
    pub listen: Vec<SocketAddr>,
    /// Rules that decide which connections count.
    pub rules: Rules,
}

/// Error in a variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {what}")]
pub struct Invalid {
    variable: &'static str,
    what: String,
}

impl Settings {
    /// Reads the variables:
    ///
    /// | variable | default | |
    /// |---|---|---|
    /// | `TALLY_PORTS` | none: it is required | the ports that the pod serves: `8080,8081` |
    /// | `TALLY_NODE` | none | the node's addresses, `192.168.0.7,fd00::7`; the pod's default gateway is added |
    /// | `TALLY_PROBE_SECONDS` | 2 | connections from the node that are younger may be probes |
    /// | `TALLY_LISTEN` | `:9798` | `:port` or `address:port` |
    /// | `TALLY_LOOPBACK` | `ignore` | `count` counts connections from inside the pod, too |
    ///
    /// # Errors
    /// When a variable cannot be parsed.
    pub fn read(variable: impl Fn(&str) -> Option<String>, gateways: Vec<IpAddr>) -> Result<Self, Invalid> {
        let get = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let ports = ports(&get("TALLY_PORTS").unwrap_or_default())?;
        let mut node = gateways;
        for text in list(&get("TALLY_NODE").unwrap_or_default()) {
            let address: IpAddr = text.parse().map_err(|_| invalid("TALLY_NODE", format!("`{text}` is no address")))?;
            node.push(address.to_canonical());
        }
        node.sort_unstable();
        node.dedup();
        let probe = match get("TALLY_PROBE_SECONDS") {
            None => PROBE_SECONDS,
            Some(text) => text.parse().ok().filter(|seconds| *seconds <= PROBE_LIMIT).ok_or_else(|| {
                invalid("TALLY_PROBE_SECONDS", format!("`{text}` is no number from 0 to {PROBE_LIMIT}"))
            })?,
        };
        let listen = get("TALLY_LISTEN").unwrap_or_else(|| LISTEN.to_owned());
        let listen = addresses(&listen)
            .ok_or_else(|| invalid("TALLY_LISTEN", format!("`{listen}` is neither `:port` nor `address:port`")))?;
        if let Some(port) = ports.iter().find(|port| listen.iter().any(|address| address.port() == **port)) {
            let what = format!("port {port} is one of TALLY_PORTS; tally needs a port of its own");
            return Err(invalid("TALLY_LISTEN", what));
        }
        let loopback = match get("TALLY_LOOPBACK").as_deref() {
            None | Some("ignore") => Loopback::Ignored,
            Some("count") => Loopback::Counted,
            Some(other) => return Err(invalid("TALLY_LOOPBACK", format!("`{other}` is none of ignore, count"))),
        };
        Ok(Self { listen, rules: Rules { ports, node, probe: Duration::from_secs(probe), loopback } })
    }
}

fn invalid(variable: &'static str, what: String) -> Invalid {
    Invalid { variable, what }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn ports(text: &str) -> Result<Vec<u16>, Invalid> {
    let mut ports = Vec::new();
    for entry in list(text) {
        let port = entry.parse().ok().filter(|port: &u16| *port > 0);
        ports.push(port.ok_or_else(|| invalid("TALLY_PORTS", format!("`{entry}` is no port from 1 to 65535")))?);
    }
    if ports.is_empty() {
        return Err(invalid("TALLY_PORTS", "no port to count is named, such as `8080,8081`".into()));
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

/// Parses an address. `:port` means every address of both families, or of IPv4 alone where there is no IPv6.
fn addresses(text: &str) -> Option<Vec<SocketAddr>> {
    match text.strip_prefix(':') {
        Some(port) => {
            let port: u16 = port.parse().ok()?;
            Some(vec![SocketAddr::from(([0u16; 8], port)), SocketAddr::from(([0u8; 4], port))])
        }
        None => Some(vec![text.parse().ok()?]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        Settings::read(get, vec!["10.0.0.1".parse().unwrap()]).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn the_ports_are_enough() {
        let settings = read(&[("TALLY_PORTS", "8081, 8080,8081")]).unwrap();
        assert_eq!(settings.rules.ports, [8080, 8081]);
        assert_eq!(settings.rules.node, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(settings.rules.probe, Duration::from_secs(2));
        assert_eq!(settings.rules.loopback, Loopback::Ignored);
        assert_eq!(settings.listen.iter().map(ToString::to_string).collect::<Vec<_>>(), ["[::]:9798", "0.0.0.0:9798"]);
    }

    #[test]
    fn everything_can_be_said() {
        let settings = read(&[
            ("TALLY_PORTS", "8080"),
            ("TALLY_NODE", "192.168.0.7,fd00::7,10.0.0.1"),
            ("TALLY_PROBE_SECONDS", "11"),
            ("TALLY_LISTEN", "127.0.0.1:9000"),
            ("TALLY_LOOPBACK", "count"),
        ])
        .unwrap();
        assert_eq!(settings.rules.node.len(), 3);
        assert_eq!(settings.rules.probe, Duration::from_secs(11));
        assert_eq!(settings.listen, ["127.0.0.1:9000".parse().unwrap()]);
        assert_eq!(settings.rules.loopback, Loopback::Counted);
    }

    #[test]
    fn says_which_variable_is_wrong() {
        for (variable, text, wanted) in [
            ("TALLY_PORTS", "", "TALLY_PORTS: no port to count is named, such as `8080,8081`"),
            ("TALLY_PORTS", "http", "TALLY_PORTS: `http` is no port from 1 to 65535"),
            ("TALLY_PORTS", "0", "TALLY_PORTS: `0` is no port from 1 to 65535"),
            ("TALLY_PORTS", "9798", "TALLY_LISTEN: port 9798 is one of TALLY_PORTS; tally needs a port of its own"),
            ("TALLY_NODE", "node-1", "TALLY_NODE: `node-1` is no address"),
            ("TALLY_PROBE_SECONDS", "-1", "TALLY_PROBE_SECONDS: `-1` is no number from 0 to 3600"),
            ("TALLY_LISTEN", "9798", "TALLY_LISTEN: `9798` is neither `:port` nor `address:port`"),
            ("TALLY_LOOPBACK", "yes", "TALLY_LOOPBACK: `yes` is none of ignore, count"),
        ] {
            assert_eq!(read(&[(variable, text), ("TALLY_PORTS", "8080")]).unwrap_err(), wanted);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(ports in "\\PC*", node in "\\PC*", probe in "\\PC*", listen in "\\PC*") {
            let _ = read(&[
                ("TALLY_PORTS", &ports), ("TALLY_NODE", &node), ("TALLY_PROBE_SECONDS", &probe), ("TALLY_LISTEN", &listen),
            ]);
        }
    }
}
