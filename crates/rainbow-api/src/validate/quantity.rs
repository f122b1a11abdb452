//! Quantities of resources, such as `500m` and `64Mi`: whether a value is one, and which of two is less.

use serde_json::Value;
use std::cmp::Ordering;

/// Units, with the factor of a number with that unit: a power of 2 or of 10.
const UNITS: [(&str, Factor); 16] = [
    ("", Factor::Ten(0)),
    ("n", Factor::Ten(-9)),
    ("u", Factor::Ten(-6)),
    ("m", Factor::Ten(-3)),
    ("k", Factor::Ten(3)),
    ("M", Factor::Ten(6)),
    ("G", Factor::Ten(9)),
    ("T", Factor::Ten(12)),
    ("P", Factor::Ten(15)),
    ("E", Factor::Ten(18)),
    ("Ki", Factor::Two(10)),
    ("Mi", Factor::Two(20)),
    ("Gi", Factor::Two(30)),
    ("Ti", Factor::Two(40)),
    ("Pi", Factor::Two(50)),
    ("Ei", Factor::Two(60)),
];

#[derive(Clone, Copy, Debug)]
enum Factor {
    Ten(i32),
    Two(i32),
}

/// Returns whether a value is a quantity as Kubernetes reads it.
pub(super) fn is_quantity(value: &Value) -> bool {
    amount(value).is_some()
}

/// Returns whether one quantity is less than another. False where one of the values is no quantity.
pub(super) fn is_less(one: &Value, other: &Value) -> bool {
    let order = amount(one).zip(amount(other)).and_then(|(one, other)| one.partial_cmp(&other));
    order == Some(Ordering::Less)
}

/// Returns the amount of a quantity, exact enough for a comparison. `None`: the value is no quantity.
pub fn amount(value: &Value) -> Option<f64> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (digits, unit) = unsigned.split_at(end);
    if !digits.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    // A number with two decimal points does not parse.
    let number: f64 = digits.parse().ok()?;
    let factor = match UNITS.iter().find(|(known, _)| *known == unit) {
        Some((_, Factor::Ten(power))) => 10_f64.powi(*power),
        Some((_, Factor::Two(power))) => 2_f64.powi(*power),
        None => 10_f64.powi(exponent(unit)?),
    };
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    Some(sign * number * factor)
}

/// Returns the power of ten in `e3`, `E-3`.
fn exponent(unit: &str) -> Option<i32> {
    let digits = unit.strip_prefix(['e', 'E'])?;
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let is_number = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities() {
        for good in
            ["0", "1", "0.5", ".5", "5.", "100m", "64Mi", "1Gi", "2Ei", "3E", "1e3", "1E-3", "+1k", "-1", "5n", "7u"]
        {
            assert!(is_quantity(&json!(good)), "{good}");
        }
        for good in [json!(1), json!(0.5), json!(-3)] {
            assert!(is_quantity(&good), "{good}");
        }
        for bad in [
            "", "64MB", "1.2.3", "1 Gi", "Mi", "1mi", "1K", ".", "e3", "1e", "1e+", "0x10", "1GiB", "one", "NaN", "inf",
        ] {
            assert!(!is_quantity(&json!(bad)), "{bad}");
        }
        for bad in [json!(true), json!(null), json!([1]), json!({})] {
            assert!(!is_quantity(&bad), "{bad}");
        }
    }

    #[test]
    fn quantities_are_compared() {
        let less = |one: Value, other: Value| is_less(&one, &other);
        assert!(less(json!("64Mi"), json!("65Mi")));
        assert!(less(json!("64M"), json!("64Mi")));
        assert!(less(json!("500m"), json!(1)));
        assert!(!less(json!("1000m"), json!(1)));
        assert!(!less(json!("1Gi"), json!("1024Mi")));
        assert!(!less(json!(null), json!("1")));
        assert!(!less(json!("1"), json!("x")));
    }
}
