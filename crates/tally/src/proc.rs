//! Socket table from `/proc/net`, for places where netlink is not allowed; and the default routes, which lead to the node.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use crate::socket::{Socket, State};

/// Limit of a line that is parsed. The kernel's lines have 150 to 210 bytes.
const LINE: u64 = 1024;

/// Calls `each` for every connection listed in `tcp` and `tcp6` of a directory laid out as `/proc/net`.
///
/// # Errors
/// When `tcp` cannot be read, or `tcp6` exists and cannot be read, or a line is not understood.
pub fn read(dir: &Path, mut each: impl FnMut(&Socket)) -> io::Result<()> {
    table(&dir.join("tcp"), &mut each)?;
    match table(&dir.join("tcp6"), &mut each) {
        // A kernel without IPv6 has no such file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn table(path: &Path, each: &mut impl FnMut(&Socket)) -> io::Result<()> {
    lines(path, |number, line| {
        if number == 0 {
            return Ok(()); // heading
        }
        match socket(line) {
            Ok(Some(socket)) => each(&socket),
            Ok(None) => {}
            Err(what) => {
                let message = format!("{}: line {}: {what}", path.display(), number + 1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(())
    })
}

fn lines(path: &Path, mut each: impl FnMut(usize, &str) -> io::Result<()>) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::with_capacity(256);
    for number in 0.. {
        line.clear();
        if io::Read::take(&mut reader, LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        each(number, &String::from_utf8_lossy(&line))?;
    }
    Ok(())
}

/// Parses `sl local rem st tx_queue:rx_queue tr:when retrnsmt uid timeout inode …`. Returns `None` for a state that is of no interest.
fn socket(line: &str) -> Result<Option<Socket>, &'static str> {
    let mut fields = line.split_ascii_whitespace();
    let mut field = |what| fields.next().ok_or(what);
    field("it is empty")?;
    let local = end(field("the local address is missing")?).ok_or("the local address is not understood")?;
    let peer = end(field("the remote address is missing")?).ok_or("the remote address is not understood")?;
    let state = field("the state is missing")?;
    let state = u8::from_str_radix(state, 16).map_err(|_| "the state is not a number")?;
    let queues = field("the queues are missing")?;
    let send = queues.split_once(':').map(|(send, _)| send).ok_or("the queues are not understood")?;
    let unacknowledged = u32::from_str_radix(send, 16).map_err(|_| "the send queue is not a number")?;
    for what in ["the timer is missing", "the retransmits are missing", "the user is missing", "the timeout is missing"]
    {
        field(what)?;
    }
    let inode: u64 = field("the inode is missing")?.parse().map_err(|_| "the inode is not a number")?;
    let Some(state) = State::from_kernel(state) else { return Ok(None) };
    Ok(Some(Socket { local, peer, state, unacknowledged, owned: inode != 0, cookie: 0 }))
}

/// Parses `0100007F:1F90`; each group of eight digits is a word in the machine's own byte order.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    Some(SocketAddr::new(address_of(address, Order::Machine)?.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

/// Byte order in which the kernel writes the words of an address.
#[derive(Clone, Copy)]
enum Order {
    /// Machine's own byte order.
    Machine,
    /// Network byte order.
    Network,
}

fn address_of(hex: &str, order: Order) -> Option<IpAddr> {
    let word = |at: usize| {
        let number = u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(match order {
            Order::Machine => number.to_ne_bytes(),
            Order::Network => number.to_be_bytes(),
        })
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// Returns the routers of the default routes, from `route` and `ipv6_route` of a directory laid out as `/proc/net`. In a pod
/// the router is the node, on most networks. A file that cannot be read yields no gateway.
pub fn gateways(dir: &Path) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut add = |address: Option<IpAddr>| {
        if let Some(address) = address.filter(|address| !address.is_unspecified() && !found.contains(address)) {
            found.push(address);
        }
    };
    let _ = lines(&dir.join("route"), |_, line| {
        // Iface Destination Gateway Flags RefCnt Use Metric Mask …
        let fields: Vec<&str> = line.split_ascii_whitespace().take(8).collect();
        if let [_, "00000000", gateway, _, _, _, _, "00000000"] = fields[..] {
            add(address_of(gateway, Order::Machine));
        }
        Ok(())
    });
    let _ = lines(&dir.join("ipv6_route"), |_, line| {
        // destination length source length gateway …
        let fields: Vec<&str> = line.split_ascii_whitespace().take(5).collect();
        if let [destination, "00", _, _, gateway] = fields[..]
            && destination.bytes().all(|digit| digit == b'0')
        {
            add(address_of(gateway, Order::Network));
        }
        Ok(())
    });
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn all(dir: &Path) -> io::Result<Vec<Socket>> {
        let mut sockets = Vec::new();
        read(dir, |socket| sockets.push(*socket))?;
        Ok(sockets)
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_what_the_kernel_writes() {
        let tcp = format!(
            "{HEAD}   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 ffff 100 0 0 10 0\n   1: 0501A8C0:1F90 0901A8C0:9CBB 01 000001F4:00000000 00:00000000 00000000  1000        0 4712 1 ffff 20 4 30 10 -1\n   2: 0501A8C0:1F90 0901A8C0:9CBC 06 00000000:00000000 03:000017A8 00000000     0        0 0 3 ffff\n"
        );
        let tcp6 = format!(
            "{HEAD}   0: 0000000000000000FFFF00000501A8C0:1F90 0000000000000000FFFF00000901A8C0:9CBD 08 00000000:00000000 00:00000000 00000000  1000        0 4713 1 ffff 20 4 30 10 -1\n   1: B80D0120000000000000000001000000:1F90 B80D0120000000000000000002000000:9CBE 05 00000000:00000000 00:00000000 00000000  1000        0 0 1 ffff 20 4 30 10 -1\n"
        );
        let dir = dir(&[("tcp", &tcp), ("tcp6", &tcp6)]);
        let seen: Vec<String> = all(dir.path())
            .unwrap()
            .iter()
            .map(|s| format!("{} {} {:?} {} {}", s.local, s.peer, s.state, s.unacknowledged, s.owned))
            .collect();
        assert_eq!(
            seen,
            [
                "0.0.0.0:8080 0.0.0.0:0 Listen 0 true",
                "192.168.1.5:8080 192.168.1.9:40123 Established 500 true",
                "192.168.1.5:8080 192.168.1.9:40124 TimeWait 0 false",
                "192.168.1.5:8080 192.168.1.9:40125 CloseWait 0 true",
                "[2001:db8::1]:8080 [2001:db8::2]:40126 FinWait2 0 false",
            ]
        );
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error() {
        for (line, what) in [
            ("0: 0501A8C0:1F90", "the remote address is missing"),
            ("0: 0501A8C0 0901A8C0:9CBB 01 0:0 0 0 0 0 1", "the local address is not understood"),
            ("0: 0501A8C0:1F90 0901A8C0:9CBB zz 0:0 0 0 0 0 1", "the state is not a number"),
            ("0: 0501A8C0:1F90 0901A8C0:9CBB 01 0 0 0 0 0 1", "the queues are not understood"),
            ("0: 0501A8C0:1F90 0901A8C0:9CBB 01 0:0 0 0 0 0", "the inode is missing"),
        ] {
            let dir = dir(&[("tcp", &format!("{HEAD}{line}\n"))]);
            let error = all(dir.path()).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("line 2"), "{line}: {error}");
        }
    }

    #[test]
    fn no_table_is_an_error_and_no_ipv6_is_none() {
        assert_eq!(all(dir(&[]).path()).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(all(dir(&[("tcp", HEAD)]).path()).unwrap(), []);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn finds_the_gateways() {
        let dir = dir(&[
            (
                "route",
                "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                 eth0\t00000000\t0100F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                 eth0\t0000F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
            ),
            (
                "ipv6_route",
                "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n\
                 00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n",
            ),
        ]);
        assert_eq!(gateways(dir.path()), ["10.244.0.1".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
        assert_eq!(gateways(Path::new("/nowhere")), Vec::<IpAddr>::new());
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "\\PC{0,200}") {
            let _ = socket(&line);
        }

        #[test]
        fn no_field_makes_it_panic(
            local in "[0-9A-Fé:]{0,45}", peer in "[0-9A-F:]{0,45}", state in "[0-9A-F]{0,4}", rest in "[0-9A-F: ]{0,60}",
        ) {
            let _ = socket(&format!("0: {local} {peer} {state} {rest}"));
        }

        #[test]
        fn no_file_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let dir = tempfile::tempdir().unwrap();
            for name in ["tcp", "route", "ipv6_route"] {
                fs::write(dir.path().join(name), &bytes).unwrap();
            }
            let _ = all(dir.path());
            let _ = gateways(dir.path());
        }
    }
}
