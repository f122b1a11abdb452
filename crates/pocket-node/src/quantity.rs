//! Kubernetes quantities (`250m`, `64Mi`, `1e3`) as exact numbers, as far as `resourceFieldRef` and the QoS class need them.

/// Parses a quantity into billionths (nano), so that every suffix is exact. `None` if it is no quantity.
pub fn nanos(text: &str) -> Option<i128> {
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && (*c == '-' || *c == '+'))))
        .map_or(text.len(), |(at, _)| at);
    let (number, suffix) = text.split_at(end);
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 18 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More than nine decimals cannot be held; they are cut, and the API rounds them anyway.
    let fraction = &fraction[..fraction.len().min(9)];
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let base = whole * 1_000_000_000 + part * 10i128.pow(9 - u32::try_from(fraction.len()).ok()?);
    Some(sign * scale(base, suffix)?)
}

fn scale(nanos: i128, suffix: &str) -> Option<i128> {
    let binary = |power: u32| nanos.checked_mul(1024i128.pow(power));
    let decimal = |power: u32| nanos.checked_mul(10i128.pow(power));
    match suffix {
        "" => Some(nanos),
        "n" => Some(nanos / 1_000_000_000),
        "u" => Some(nanos / 1_000_000),
        "m" => Some(nanos / 1000),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10i128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { Some(nanos / power) } else { nanos.checked_mul(power) }
        }
    }
}

/// Divides a quantity by a divisor, rounded up, as `resourceFieldRef` requires. A divisor of 0 counts as 1.
pub fn divided(quantity: i128, divisor: i128) -> i128 {
    let divisor = if divisor <= 0 { 1_000_000_000 } else { divisor };
    if quantity <= 0 { 0 } else { (quantity + divisor - 1) / divisor }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quantities() {
        let one = 1_000_000_000;
        for (text, expected) in [
            ("1", Some(one)),
            ("0", Some(0)),
            ("250m", Some(one / 4)),
            ("0.5", Some(one / 2)),
            (".5", Some(one / 2)),
            ("64Mi", Some(64 * 1024 * 1024 * one)),
            ("1Gi", Some(1024 * 1024 * 1024 * one)),
            ("1k", Some(1000 * one)),
            ("1e3", Some(1000 * one)),
            ("1E3", Some(1000 * one)),
            ("2E", Some(2 * 10i128.pow(18) * one)),
            ("-1", Some(-one)),
            ("100n", Some(100)),
            ("", None),
            ("x", None),
            ("1x", None),
            ("1.2.3", None),
            ("m", None),
            ("1e999", None),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn divides_and_rounds_up() {
        let n = |text| nanos(text).unwrap();
        for (quantity, divisor, expected) in [
            ("250m", "1", 1),
            ("250m", "1m", 250),
            ("64Mi", "1Mi", 64),
            ("65Mi", "64Mi", 2),
            ("1500m", "0", 2),
            ("0", "1", 0),
        ] {
            assert_eq!(divided(n(quantity), n(divisor)), expected, "{quantity}/{divisor}");
        }
    }
}
