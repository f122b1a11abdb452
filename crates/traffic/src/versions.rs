//! Order of versions, and which versions may serve one request together.

use std::{cmp::Ordering, convert::Infallible, str::FromStr};

use clap::ValueEnum;

/// Versions that a caller and its callee may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Compatible {
    /// The same version.
    #[default]
    Same,
    /// The same version, or a callee that is newer than its caller.
    Backward,
}

/// Order of versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Order by text, with numbers by value: `v1`, `v2`, `v10`. Texts without such an order, as hashes of commits, need [`Order::Given`].
    #[default]
    Natural,
    /// Order as listed, oldest first. A version that is not in the list is neither older nor newer than another one.
    Given(Vec<String>),
}

impl FromStr for Order {
    type Err = Infallible;

    /// Reads `3c3fdc,9a01be`, oldest first.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::Given(text.split(',').map(|version| version.trim().to_owned()).collect()))
    }
}

impl Order {
    /// Returns whether a version is newer than another one. `false` where the order does not contain one of them.
    pub fn is_newer(&self, version: &str, than: &str) -> bool {
        match self {
            Self::Natural => natural(version, than) == Ordering::Greater,
            Self::Given(versions) => {
                let at = |wanted: &str| versions.iter().position(|version| version == wanted);
                at(version).zip(at(than)).is_some_and(|(version, than)| version > than)
            }
        }
    }
}

/// Compares piece by piece: numbers by value, all else as text.
fn natural(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one, other);
    while !one.is_empty() && !other.is_empty() {
        let ((first, one_rest), (second, other_rest)) = (piece(one), piece(other));
        let ordering = match (number(first), number(second)) {
            // Without leading zeros a longer number is a larger one, whatever its size.
            (Some(first), Some(second)) => first.len().cmp(&second.len()).then(first.cmp(second)),
            (Some(_), None) | (None, Some(_)) | (None, None) => first.cmp(second),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
        (one, other) = (one_rest, other_rest);
    }
    one.len().cmp(&other.len())
}

/// Splits off the digits, or the other characters, that a text begins with.
fn piece(text: &str) -> (&str, &str) {
    let is_number = text.starts_with(|first: char| first.is_ascii_digit());
    text.split_at(text.find(|next: char| next.is_ascii_digit() != is_number).unwrap_or(text.len()))
}

/// Returns a number without leading zeros; `None` for other text.
fn number(piece: &str) -> Option<&str> {
    piece.starts_with(|first: char| first.is_ascii_digit()).then(|| piece.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_versions_have_values() {
        let sorted = ["1.9.3", "1.10.0", "v1", "v1.2", "v2", "v2-b", "v9", "v10", "v18446744073709551616"];
        for (at, version) in sorted.iter().enumerate() {
            for (other_at, other) in sorted.iter().enumerate() {
                assert_eq!(Order::Natural.is_newer(version, other), at > other_at, "{version} {other}");
            }
        }
        assert!(!Order::Natural.is_newer("v01", "v1") && !Order::Natural.is_newer("v1", "v01"));
    }

    #[test]
    fn an_order_that_is_given_knows_no_other_version() {
        let order: Order = "9a01be, 3c3fdc".parse().unwrap();
        assert!(order.is_newer("3c3fdc", "9a01be"));
        assert!(!order.is_newer("9a01be", "3c3fdc"));
        assert!(!order.is_newer("ffffff", "9a01be") && !order.is_newer("9a01be", "ffffff"));
    }
}
