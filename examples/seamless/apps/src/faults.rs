//! Misbehaviour of a release that must not reach users: failing replies, leaks and crashes.

use std::{io, process, thread, time::Duration};

use crate::settings::Faults;

/// Interval at which a leak grows.
const STEP: Duration = Duration::from_millis(50);
const MIB: u64 = 1024 * 1024;

/// Starts the leak and the crash that the settings ask for.
///
/// # Errors
/// When a thread cannot be started.
pub fn start(faults: Faults) -> io::Result<()> {
    if faults.leak_mib_per_second > 0 {
        let bytes = leak_step(faults.leak_mib_per_second);
        eprintln!("memory leaks: {} MiB a second", faults.leak_mib_per_second);
        thread::Builder::new().spawn(move || leak(bytes))?;
    }
    if !faults.exit_after.is_zero() {
        thread::Builder::new().spawn(move || {
            thread::sleep(faults.exit_after);
            eprintln!("the program crashes, as EXIT_AFTER_MS asks");
            process::exit(1);
        })?;
    }
    Ok(())
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
