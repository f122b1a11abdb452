//! Formats of strings that Kubernetes checks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::{Engine, engine::general_purpose::STANDARD};

/// Returns whether `text` has this format. Unknown formats allow any text, as in Kubernetes.
pub(super) fn matches(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10,
        "duration" => duration(text).is_some(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.split_once('/').is_some_and(|(address, bits)| {
            let max = match address.parse() {
                Ok(IpAddr::V4(_)) => 32,
                Ok(IpAddr::V6(_)) => 128,
                Err(_) => return false,
            };
            bits.parse::<u8>().is_ok_and(|bits| bits <= max)
        }),
        "mac" => {
            let parts: Vec<&str> = text.split([':', '-']).collect();
            parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
        }
        "uuid" | "uuid3" | "uuid4" | "uuid5" => {
            let plain: String = text.chars().filter(|c| *c != '-').collect();
            plain.len() == 32 && plain.bytes().all(|b| b.is_ascii_hexdigit())
        }
        "byte" => STANDARD.decode(text).is_ok(),
        "hostname" => {
            text.len() <= 253
                && text.split('.').all(|label| {
                    (1..=63).contains(&label.len())
                        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                })
        }
        "email" => {
            text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
        }
        "uri" => {
            text.starts_with('/')
                || text.split_once(':').is_some_and(|(scheme, _)| {
                    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                })
        }
        _ => true,
    }
}

/// Parses a duration in Go's notation (`1h30m`, `1.5s`, `-2ms`), in nanoseconds.
pub(super) fn duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, after) = rest.split_at(end);
        let number: f64 = digits.parse().ok()?;
        let units = [
            ("ns", 1.0),
            ("us", 1e3),
            ("µs", 1e3),
            ("ms", 1e6),
            ("s", 1e9),
            ("m", 6e10),
            ("h", 3.6e12),
            ("d", 8.64e13),
            ("w", 6.048e14),
        ];
        let (unit, scale) = units.iter().find(|(unit, _)| {
            after
                .strip_prefix(unit)
                .is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit() || c == '.') || next.is_empty())
        })?;
        total += number * scale;
        rest = &after[unit.len()..];
    }
    let nanos = sign * total;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
    (nanos.abs() < 9.2e18).then_some(nanos as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let check = |format: &str, right: &[&str], wrong: &[&str]| {
            for text in right {
                assert!(matches(format, text), "{format}: {text}");
            }
            for text in wrong {
                assert!(!matches(format, text), "{format}: {text}");
            }
        };
        check("date-time", &["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5+02:00"], &["2026-01-01", "x"]);
        check("date", &["2026-01-01"], &["2026-13-01", "x"]);
        check("duration", &["30s", "1h30m", "1.5s", "0", "100ms", "-1s"], &["", "30", "s", "1x", "-"]);
        check("ipv4", &["10.0.0.1"], &["10.0.0", "::1"]);
        check("cidr", &["10.0.0.0/8", "::/0"], &["10.0.0.0", "10.0.0.0/33"]);
        check("uuid", &["00000000-0000-0000-0000-000000000000"], &["0"]);
        check("byte", &["eA=="], &["%"]);
        check("hostname", &["a.b-c"], &["-a", "a..b"]);
        check("uri", &["http://x", "/x"], &["x"]);
        check("anything", &["x"], &[]);
        assert_eq!(duration("1h30m"), Some(5_400_000_000_000));
    }
}
