//! Numbers and times as sentences have them.

use jiff::Timestamp;

/// `1 pod`, `3 pods`.
pub(crate) fn count(number: i64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A number of seconds as kubectl writes ages: `42s`, `5m`, `3h`, `2d`.
pub(crate) fn seconds(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// How long ago a time was; `None` if it is unreadable.
pub(crate) fn age(time: &str, now: Timestamp) -> Option<String> {
    Some(seconds(seconds_since(time, now)?))
}

/// Seconds from a time to now, negative if it is yet to come; `None` if it is unreadable.
pub(crate) fn seconds_since(time: &str, now: Timestamp) -> Option<i64> {
    let time: Timestamp = time.parse().ok()?;
    Some(now.as_second() - time.as_second())
}

/// When a drain ends at the latest: `ends in 23h at the latest`.
pub(crate) fn deadline(time: Option<&str>, now: Timestamp) -> String {
    match time.map(|time| seconds_since(time, now)) {
        None => "has no deadline".into(),
        Some(Some(since)) if since < 0 => format!("ends in {} at the latest", seconds(-since)),
        Some(Some(_)) => "its deadline has passed".into(),
        Some(None) => "its deadline is unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let now = "2026-01-03T00:00:00Z".parse().unwrap();
        for (time, expected) in [
            ("2026-01-02T23:59:18Z", "42s"),
            ("2026-01-02T23:55:00Z", "5m"),
            ("2026-01-02T20:59:00Z", "3h"),
            ("2026-01-01T00:00:00Z", "2d"),
            ("2027-01-01T00:00:00Z", "0s"),
        ] {
            assert_eq!(age(time, now).unwrap(), expected);
        }
        assert_eq!(age("yesterday", now), None);
    }

    #[test]
    fn deadlines_are_told() {
        let now = "2026-01-03T00:00:00Z".parse().unwrap();
        assert_eq!(deadline(Some("2026-01-03T23:00:00Z"), now), "ends in 23h at the latest");
        assert_eq!(deadline(Some("2026-01-02T23:00:00Z"), now), "its deadline has passed");
        assert_eq!(deadline(None, now), "has no deadline");
        assert_eq!((count(1, "pod"), count(0, "pod")), ("1 pod".into(), "0 pods".into()));
    }
}
