//! Age of each connection. The kernel does not report it, so each sample is compared with the one before.

use std::{
    mem,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use crate::socket::Socket;

/// Limit of connections that are listed one by one, so that memory is bounded.
pub const LIMIT: usize = 100_000;

/// Identity of a connection. Ordered by port, then by peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Port that the pod serves.
    pub port: u16,
    peer: Ipv6Addr,
    peer_port: u16,
    cookie: u64,
}

impl Key {
    /// Builds the key of a socket. The pod's own address is left out: with the cookie the rest is unique.
    pub fn new(socket: &Socket) -> Self {
        let peer = match socket.peer.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        Self { port: socket.local.port(), peer, peer_port: socket.peer.port(), cookie: socket.cookie }
    }

    /// Returns the client's address.
    pub fn peer(&self) -> IpAddr {
        self.peer.to_canonical()
    }
}

/// Resolution of ages. In four bytes, these ticks last thirteen years.
const TICK: Duration = Duration::from_millis(100);

/// Connections of the last sample.
///
/// Two parallel lists, and a second pair that the next sample is written into: with many connections this is most of
/// the program's memory, and memory that is never released is never fragmented.
#[derive(Debug, Default)]
pub struct Ages {
    keys: Vec<Key>,
    seen: Vec<u32>,
    overflow: usize,
    spare_keys: Vec<Key>,
    spare_seen: Vec<u32>,
}

/// Sample that is being taken.
#[derive(Debug)]
pub struct Sample {
    keys: Vec<Key>,
    overflow: usize,
}

impl Sample {
    pub fn add(&mut self, key: Key) {
        if self.keys.len() < LIMIT {
            self.keys.push(key);
        } else {
            self.overflow += 1;
        }
    }
}

impl Ages {
    /// Begins a sample. [`Ages::update`] ends it.
    pub fn sample(&mut self) -> Sample {
        let mut keys = mem::take(&mut self.spare_keys);
        keys.clear();
        Sample { keys, overflow: 0 }
    }

    /// Replaces the last sample: connections that were in it keep their age, and the others are new.
    pub fn update(&mut self, sample: Sample, now: Duration) {
        let Sample { mut keys, overflow } = sample;
        keys.sort_unstable();
        // The table may change while it is read, so that a connection is listed twice.
        keys.dedup();
        let now = u32::try_from(now.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
        let mut seen = mem::take(&mut self.spare_seen);
        seen.clear();
        let mut before = self.keys.iter().zip(&self.seen).peekable();
        seen.extend(keys.iter().map(|key| {
            while before.next_if(|(known, _)| *known < key).is_some() {}
            before.next_if(|(known, _)| *known == key).map_or(now, |(_, seen)| *seen)
        }));
        self.spare_keys = mem::replace(&mut self.keys, keys);
        self.spare_seen = mem::replace(&mut self.seen, seen);
        self.overflow = overflow;
    }

    /// Returns the connections, in order of ports and peers.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns the time, since the start of this program, of the first sample with the connection at an index of [`Ages::keys`].
    /// The connection may be older than that, by the time between two samples.
    pub fn seen(&self, index: usize) -> Duration {
        TICK * self.seen.get(index).copied().unwrap_or_default()
    }

    /// Returns the number of connections beyond [`LIMIT`], of which nothing else is known.
    pub fn overflow(&self) -> usize {
        self.overflow
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn key(port: u16, last: u8, peer_port: u16, cookie: u64) -> Key {
        Key {
            port,
            peer: Ipv6Addr::from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last]),
            peer_port,
            cookie,
        }
    }

    fn update(ages: &mut Ages, keys: &[Key], second: u64) {
        let mut sample = ages.sample();
        keys.iter().for_each(|key| sample.add(*key));
        ages.update(sample, Duration::from_secs(second));
    }

    #[test]
    fn a_port_used_again_by_a_client_is_a_new_connection() {
        let mut ages = Ages::default();
        update(&mut ages, &[key(80, 1, 4000, 7)], 1);
        update(&mut ages, &[key(80, 1, 4000, 7)], 5);
        assert_eq!(ages.seen(0), Duration::from_secs(1));
        update(&mut ages, &[key(80, 1, 4000, 8)], 9);
        assert_eq!(ages.seen(0), Duration::from_secs(9));
    }

    #[test]
    fn memory_is_bounded_and_the_rest_is_known_to_be_there() {
        let mut ages = Ages::default();
        let mut sample = ages.sample();
        for number in 0..LIMIT as u64 + 5 {
            sample.add(key(80, 1, 1, number));
        }
        ages.update(sample, Duration::ZERO);
        assert_eq!((ages.keys().len(), ages.overflow()), (LIMIT, 5));
    }

    proptest! {
        /// Compares the ages with a map from key to first sample.
        #[test]
        fn ages_are_those_of_unbroken_presence(
            samples in proptest::collection::vec(
                proptest::collection::vec((80u16..83, 0u8..4, 0u16..3, 0u64..2), 0..30), 1..12),
        ) {
            let mut ages = Ages::default();
            let mut model: BTreeMap<Key, u64> = BTreeMap::new();
            for (second, sample) in (0..).zip(&samples) {
                let keys: Vec<Key> = sample.iter().map(|(port, last, peer, cookie)| key(*port, *last, *peer, *cookie)).collect();
                update(&mut ages, &keys, second);
                model = keys.iter().map(|key| (*key, model.get(key).copied().unwrap_or(second))).collect();
                let got: Vec<(Key, u64)> =
                    ages.keys().iter().enumerate().map(|(at, key)| (*key, ages.seen(at).as_secs())).collect();
                prop_assert_eq!(got, model.iter().map(|(key, seen)| (*key, *seen)).collect::<Vec<_>>());
            }
        }
    }
}
