//! Time of day.

use std::sync::OnceLock;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Returns the time of day, advanced by the lead of tokio's clock over the real one. The two only differ where tests pause
/// tokio's clock, so that durations of hours can be tested in milliseconds.
pub(crate) fn now() -> Timestamp {
    static START: OnceLock<(std::time::Instant, tokio::time::Instant)> = OnceLock::new();
    // A paused clock belongs to one runtime; another runtime in the same process may be behind it.
    let (real, paced) = *START.get_or_init(|| (std::time::Instant::now(), tokio::time::Instant::now()));
    let ahead = paced.elapsed().saturating_sub(real.elapsed());
    let ahead = if ahead < std::time::Duration::from_millis(500) { SignedDuration::ZERO } else { signed(ahead) };
    Timestamp::now().saturating_add(ahead).unwrap_or(Timestamp::MAX)
}

/// Returns the time of day in whole seconds, as objects carry it.
pub(crate) fn time() -> Time {
    Time(Timestamp::from_second(now().as_second()).unwrap_or_default())
}

fn signed(duration: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Returns the time until `seconds` after `since`; `None` if that is over.
pub(crate) fn remaining(since: &Time, seconds: i64) -> Option<std::time::Duration> {
    let end = since.0.as_nanosecond() + i128::from(seconds) * 1_000_000_000;
    let left = end - now().as_nanosecond();
    (left > 0).then(|| std::time::Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX)))
}
