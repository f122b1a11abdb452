//! Misbehaviour of a release that must not reach users: failing replies, leaks and crashes.

use std::{io, process, sync::Once, thread, time::Duration};

use crate::settings::Faults;

/// Interval at which a leak grows.
const STEP: Duration = Duration::from_millis(50);
const MIB: u64 = 1024 * 1024;

/// Begins to leak, or crashes, as the settings ask, at the client's request with this number, from 0 on. Probes break nothing: such a release
/// becomes ready.
pub fn begin(faults: Faults, number: u64) {
    static LEAKS: Once = Once::new();
    if faults.leak_mib_per_second > 0 {
        LEAKS.call_once(|| start_leak(faults.leak_mib_per_second));
    }
    if faults.exit_after_requests > 0 && number >= faults.exit_after_requests {
        eprintln!("the program crashes, as EXIT_AFTER_REQUESTS asks");
        process::exit(1);
    }
}

fn start_leak(mib_per_second: u32) {
    let bytes = leak_step(mib_per_second);
    eprintln!("memory leaks: {mib_per_second} MiB a second");
    let started: io::Result<_> = thread::Builder::new().spawn(move || leak(bytes));
    if let Err(error) = started {
        eprintln!("memory does not leak: {error}");
    }
}

/// Returns whether the request with this number, from 0 on, fails. The failures are spread evenly, so that a few requests show the share.
pub fn fails(percent: u8, number: u64) -> bool {
    let failed_before = |number: u64| number.wrapping_mul(percent.into()) / 100;
    failed_before(number.wrapping_add(1)) > failed_before(number)
}

/// Returns the number of bytes of each step.
fn leak_step(mib_per_second: u32) -> usize {
    let bytes = u64::from(mib_per_second) * MIB * u64::try_from(STEP.as_millis()).unwrap_or(1) / 1000;
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn leak(bytes: usize) {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        // Bytes that are not zero: the kernel gives no memory for pages that were never written.
        taken.push(vec![1; bytes]);
        thread::sleep(STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_spread_evenly() {
        let check = |percent: u8, wanted: usize| {
            let failed: Vec<u64> = (0..200).filter(|number| fails(percent, *number)).collect();
            assert_eq!(failed.len(), wanted, "{percent} %: {failed:?}");
        };
        check(0, 0);
        check(1, 2);
        check(50, 100);
        check(99, 198);
        check(100, 200);
        assert!(fails(50, 1) && !fails(50, 0), "every second request");
    }

    #[test]
    fn a_leak_grows_in_steps() {
        assert_eq!(leak_step(1), 52_428);
        assert_eq!(leak_step(100), 5 * 1024 * 1024);
    }
}
