//! Numbers and times in the words of sentences.

use jiff::Timestamp;

/// Counts things: `1 pod`, `3 pods`.
pub(crate) fn count(number: i64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Formats seconds in at most two units, none of which is rounded up: `42s`, `5m30s`, `59m`, `23h59m`, `2d3h`.
pub(crate) fn seconds(seconds: i64) -> String {
    let pair = |big: i64, unit: &str, small: i64, part: &str| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{part}"),
    };
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..600 => pair(seconds / 60, "m", seconds % 60, "s"),
        seconds @ 600..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..172_800 => pair(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        seconds @ 172_800..691_200 => pair(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Returns how long ago a time was. `None`: the text is no time.
pub(crate) fn age(time: &str, now: Timestamp) -> Option<String> {
    Some(seconds(seconds_since(time, now)?))
}

/// Returns the seconds from a time to now, negative for a time in the future. `None`: the text is no time.
pub(crate) fn seconds_since(time: &str, now: Timestamp) -> Option<i64> {
    let time: Timestamp = time.parse().ok()?;
    Some(now.as_second() - time.as_second())
}

/// Replaces the times in a sentence of the operator by ages: `since 2026-01-01T00:00:00Z` becomes `for 5m`.
pub(crate) fn aged(text: &str, now: Timestamp) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let time = word.trim_end_matches([',', ';', ':', ')', '.']);
        let Some(since) = Some(time).filter(|time| time.ends_with('Z')).and_then(|time| seconds_since(time, now))
        else {
            words.push(word.to_owned());
            continue;
        };
        let mark = &word[time.len()..];
        // Clocks differ, so a past event may appear to be in the future.
        let said = match words.last().map(String::as_str) {
            Some("since") => format!("for {}", seconds(since)),
            Some("until") => format!("for {}", seconds(-since)),
            _ if since >= 0 => format!("{} ago", seconds(since)),
            _ => format!("in {}", seconds(-since)),
        };
        words.pop_if(|word| ["since", "until", "at"].contains(&word.as_str()));
        words.push(format!("{said}{mark}"));
    }
    words.join(" ")
}

/// Says when a drain ends: `ends in 23h at the latest`.
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
            ("2026-01-02T23:58:02Z", "1m58s"),
            ("2026-01-02T23:58:00Z", "2m"),
            ("2026-01-02T23:55:00Z", "5m"),
            ("2026-01-02T23:00:01Z", "59m"),
            ("2026-01-02T20:59:00Z", "3h1m"),
            ("2026-01-02T00:00:00Z", "24h"),
            ("2026-01-02T00:00:01Z", "23h59m"),
            ("2026-01-01T00:00:00Z", "2d"),
            ("2025-12-31T21:00:00Z", "2d3h"),
            ("2025-12-26T00:00:00Z", "8d"),
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

    #[test]
    fn times_in_sentences_become_ages() {
        let now = "2026-01-03T00:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("paused since 2026-01-02T23:55:00Z; held", "paused for 5m; held"),
            ("waits until 2026-01-03T00:02:00Z before", "waits for 2m before"),
            ("(cut at 2026-01-03T01:00:00Z)", "(cut in 1h)"),
            ("at 2026-01-02T23:59:00Z", "1m ago"),
            ("by ann since 2026-01-03T00:00:01Z", "by ann for 0s"),
            ("no time at all: Z", "no time at all: Z"),
        ] {
            assert_eq!(aged(text, now), expected);
        }
    }
}
