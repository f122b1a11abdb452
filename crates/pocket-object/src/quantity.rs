//! Quantities of resources: `250m`, `64Mi`, `1e3`.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use serde_json::Value;

/// Amounts of resources, by name.
pub type Resources = BTreeMap<String, Quantity>;

const NANO: i128 = 1_000_000_000;
/// Largest value that Kubernetes compares in thousandths.
const MAX_MILLI_VALUE: i128 = (i64::MAX / 1000) as i128;

/// Exact amount, with the notation in which it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// Amount in thousand-millionths, the finest unit of Kubernetes.
    nanos: i128,
    notation: Notation,
}

/// Notation of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation {
    /// `500m`, `2`, `3k`
    Decimal,
    /// `64Mi`
    Binary,
    /// `5e3`
    Exponent,
}

impl Quantity {
    /// Zero, in decimal notation.
    pub const ZERO: Self = Self { nanos: 0, notation: Notation::Decimal };

    /// Returns a whole number.
    pub fn count(number: usize) -> Self {
        let number = i128::try_from(number).unwrap_or(i128::from(i64::MAX));
        Self { nanos: number.saturating_mul(NANO), notation: Notation::Decimal }
    }

    /// Reads a quantity, which JSON may hold as text or as a number. Returns `None` for anything else.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    /// Reads a quantity. Returns `None` if the text is not a quantity.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let (notation, base, exponent) = scale(suffix)?;
        let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
        let decimals = i32::try_from(fraction.len()).ok()?;
        let mut nanos = digits;
        if base == 2 {
            nanos = nanos.checked_mul(1_i128.checked_shl(u32::try_from(exponent).ok()?)?)?;
        }
        let power = 9 - decimals + if base == 10 { exponent } else { 0 };
        let factor = 10_i128.checked_pow(power.unsigned_abs())?;
        // An amount that is too small to be represented counts as the smallest amount, not as zero.
        nanos = if power >= 0 { nanos.checked_mul(factor)? } else { ceiling(nanos, factor) };
        if negative {
            nanos = -nanos;
        }
        Some(Self { nanos, notation })
    }

    /// Returns the amount in billionths.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// Returns the amount in whole units, rounded up.
    pub fn value(self) -> i128 {
        ceiling(self.nanos, NANO)
    }

    /// Returns the amount in thousandths, rounded up.
    pub fn milli_value(self) -> i128 {
        ceiling(self.nanos, NANO / 1000)
    }

    /// Returns the amount rounded up to whole units.
    #[must_use]
    pub fn rounded_up(self) -> Self {
        Self { nanos: self.value().saturating_mul(NANO), ..self }
    }

    /// Returns whether the value is small enough that Kubernetes compares it in thousandths.
    pub fn fits_milli(self) -> bool {
        self.value() <= MAX_MILLI_VALUE
    }

    /// Returns whether the amount is zero.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Returns whether the amount is below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;

    /// Adds two amounts. Zero has no notation of its own, so the sum takes the other one's.
    fn add(self, other: Self) -> Self {
        let notation = if self.is_zero() { other.notation } else { self.notation };
        Self { nanos: self.nanos.saturating_add(other.nanos), notation }
    }
}

impl std::ops::Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + Self { nanos: -other.nanos, ..other }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    /// Writes the canonical form: with the largest suffix that needs no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
        const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos % NANO == 0;
        if self.notation == Notation::Binary && whole && (self.nanos / NANO).abs() >= 1024 {
            let (number, power) = reduced(self.nanos / NANO, 1024, BINARY.len());
            return write!(f, "{number}{}", BINARY[power]);
        }
        let (number, power) = reduced(self.nanos, 1000, DECIMAL.len());
        let exponent = i32::try_from(power).unwrap_or(0) * 3 - 9;
        match self.notation {
            Notation::Exponent if exponent != 0 => write!(f, "{number}e{exponent}"),
            Notation::Exponent => write!(f, "{number}"),
            _ => write!(f, "{number}{}", DECIMAL[power]),
        }
    }
}

/// Returns a number without factors of `base`, and the number of removed factors, which is less than `limit`.
fn reduced(mut number: i128, base: i128, limit: usize) -> (i128, usize) {
    let mut power = 0;
    while power + 1 < limit && number % base == 0 {
        number /= base;
        power += 1;
    }
    (number, power)
}

/// Divides and rounds away from zero.
fn ceiling(number: i128, divisor: i128) -> i128 {
    let quotient = number / divisor;
    if number % divisor == 0 { quotient } else { quotient + number.signum() }
}

/// Returns notation, base and exponent of a suffix.
fn scale(suffix: &str) -> Option<(Notation, u8, i32)> {
    let decimal = |exponent: i32| Some((Notation::Decimal, 10, exponent));
    let binary = |exponent: i32| Some((Notation::Binary, 2, exponent));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            Some((Notation::Exponent, 10, exponent))
        }
    }
}

/// Reads a map of quantities. Entries that are no quantities are left out.
pub fn resources(value: Option<&Value>) -> Resources {
    let map = value.and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), Quantity::of(value)?))).collect()
}

/// Returns the amounts as JSON.
pub fn to_json(resources: &Resources) -> Value {
    resources.iter().map(|(name, quantity)| (name.clone(), Value::from(quantity.to_string()))).collect()
}

/// Adds the amounts of `more`.
pub fn add(to: &mut Resources, more: &Resources) {
    for (name, quantity) in more {
        let sum = to.get(name).map_or(*quantity, |have| *have + *quantity);
        to.insert(name.clone(), sum);
    }
}

/// Raises amounts to the larger amounts of `other`.
pub(crate) fn raise(to: &mut Resources, other: &Resources) {
    for (name, quantity) in other {
        let most = to.get(name).map_or(*quantity, |have| *have.max(quantity));
        to.insert(name.clone(), most);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn canonical_forms_are_those_of_kubernetes() {
        for (text, shown) in [
            ("0", "0"),
            ("1", "1"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1500m", "1500m"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.1Gi", "107374182400m"),
            ("512Ki", "512Ki"),
            ("0.5Ki", "512"),
            ("5e3", "5e3"),
            ("5000e0", "5e3"),
            ("1E", "1E"),
            ("0.0000000001", "1n"),
            ("-250m", "-250m"),
            ("+3", "3"),
            ("100M", "100M"),
        ] {
            assert_eq!(Quantity::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for text in ["", "x", "1x", "1.2.3", "Mi", "-", "1 Mi", "1e", " 1", "1 ", "m", "1e999"] {
            assert_eq!(Quantity::parse(text).map(|quantity| quantity.to_string()), None, "{text}");
        }
    }

    #[test]
    fn amounts_are_exact() {
        let one = 1_000_000_000;
        for (text, nanos) in [
            ("1", one),
            ("0", 0),
            ("250m", one / 4),
            ("0.5", one / 2),
            (".5", one / 2),
            ("64Mi", 64 * 1024 * 1024 * one),
            ("1Gi", 1024 * 1024 * 1024 * one),
            ("1k", 1000 * one),
            ("1e3", 1000 * one),
            ("1E3", 1000 * one),
            ("2E", 2 * 10i128.pow(18) * one),
            ("-1", -one),
            ("100n", 100),
        ] {
            assert_eq!(Quantity::parse(text).map(Quantity::nanos), Some(nanos), "{text}");
        }
    }

    #[test]
    fn sums_keep_the_notation_of_what_was_there() {
        let sum = |a: &str, b: &str| (Quantity::parse(a).unwrap() + Quantity::parse(b).unwrap()).to_string();
        assert_eq!(sum("1Gi", "512Mi"), "1536Mi");
        assert_eq!(sum("0", "512Mi"), "512Mi");
        assert_eq!(sum("1", "100m"), "1100m");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(text in "[+-]?[0-9]{0,8}(\\.[0-9]{0,10})?(n|u|m||k|M|G|T|Ki|Mi|Gi|e3|e-3)") {
            if let Some(quantity) = Quantity::parse(&text) {
                prop_assert_eq!(Quantity::parse(&quantity.to_string()), Some(quantity));
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            Quantity::parse(&text);
        }
    }
}
