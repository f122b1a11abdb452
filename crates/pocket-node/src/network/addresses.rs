//! Allocator of pod addresses.

use std::{
    collections::HashSet,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use super::Range;

/// Free and used addresses of a range. The first two (network, node) and the last (broadcast) are never assigned.
///
/// An address is reused as late as possible: clients may still remember its former pod.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    range: Range,
    state: Arc<Mutex<LeaseState>>,
}

#[derive(Debug, Default)]
struct LeaseState {
    used: HashSet<u32>,
    next: u32,
}

/// Address in use. It becomes free when the lease is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) ip: Ipv4Addr,
    offset: u32,
    state: Arc<Mutex<LeaseState>>,
}

const RESERVED: u32 = 2;

impl Addresses {
    pub(crate) fn new(range: Range) -> Self {
        Self { range, state: Arc::default() }
    }

    /// Takes a free address; returns `None` if all are in use.
    pub(crate) fn take(&self) -> Option<Lease> {
        let usable = self.range.size().saturating_sub(RESERVED + 1);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let step = (0..usable).map(|step| (state.next + step) % usable).find(|at| !state.used.contains(at))?;
        state.used.insert(step);
        state.next = (step + 1) % usable;
        Some(Lease { ip: self.range.nth(step + RESERVED), offset: step, state: self.state.clone() })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).used.remove(&self.offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_once_and_again_late() {
        let addresses = Addresses::new(Range { base: Ipv4Addr::new(10, 0, 0, 0), prefix: 29 });
        let mut leases: Vec<_> = std::iter::from_fn(|| addresses.take()).collect();
        let last: Vec<u8> = leases.iter().map(|lease| lease.ip.octets()[3]).collect();
        assert_eq!(last, [2, 3, 4, 5, 6]);
        assert!(addresses.take().is_none());

        leases.remove(3);
        leases.remove(0);
        assert_eq!(addresses.take().map(|lease| lease.ip.octets()[3]), Some(2));
        // 2 is free again, but 5 comes first.
        assert_eq!(addresses.take().map(|lease| lease.ip.octets()[3]), Some(5));
    }
}
