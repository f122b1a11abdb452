//! Ages in kubectl's notation: `5m3s`, `2d4h`.

use jiff::Timestamp;

/// Returns a duration in a rough form for people.
pub fn human_duration(seconds: i64) -> String {
    let with = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{small_unit}") }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match () {
        // Clocks may differ by a little.
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => with(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => with(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => with(hours / 24, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        () if hours < 24 * 365 * 8 => with(hours / 24 / 365, "y", hours / 24 % 365, "d"),
        () => format!("{}y", hours / 24 / 365),
    }
}

/// Returns the time since an RFC 3339 time. `None` if the text is none.
pub fn since(time: &str, now: Timestamp) -> Option<String> {
    between(time.parse().ok()?, now)
}

/// Returns the time between two times.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Option<String> {
    Some(human_duration(to.duration_since(from).as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        const DAY: i64 = 24 * HOUR;
        const YEAR: i64 = 365 * DAY;
        for (seconds, text) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (303, "5m3s"),
            (10 * MINUTE + 5, "10m"),
            (179 * MINUTE, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 5 * MINUTE, "3h5m"),
            (8 * HOUR + 5 * MINUTE, "8h"),
            (47 * HOUR, "47h"),
            (2 * DAY + 4 * HOUR, "2d4h"),
            (8 * DAY + 4 * HOUR, "8d"),
            (2 * YEAR, "2y"),
            (2 * YEAR + 5 * DAY, "2y5d"),
            (9 * YEAR + 5 * DAY, "9y"),
        ] {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
        let now: Timestamp = "2026-01-01T00:05:03Z".parse().unwrap();
        assert_eq!(since("2026-01-01T00:00:00Z", now).as_deref(), Some("5m3s"));
        assert_eq!(since("2026-01-01T00:00:00.5Z", now).as_deref(), Some("5m2s"));
        assert_eq!(since("yesterday", now), None);
    }
}
