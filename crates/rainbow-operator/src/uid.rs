//! Uid of an object, which distinguishes it from all others that ever had its name.

use std::fmt;

/// Uid as it is written, in a form that takes half the memory where it is a UUID, as every API server makes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Uid {
    Uuid([u8; 16]),
    Other(Box<str>),
}

impl Uid {
    pub(crate) fn of(text: &str) -> Self {
        Self::uuid(text).map_or_else(|| Self::Other(text.into()), Self::Uuid)
    }

    /// Reads `8-4-4-4-12` digits. Capital letters are refused, since they would not be written back as they were.
    fn uuid(text: &str) -> Option<[u8; 16]> {
        let dashes = [8, 13, 18, 23];
        let bytes = text.as_bytes();
        if bytes.len() != 36 || dashes.iter().any(|at| bytes.get(*at) != Some(&b'-')) {
            return None;
        }
        let mut digits =
            bytes.iter().enumerate().filter(|(at, _)| !dashes.contains(at)).map(|(_, digit)| match digit {
                b'0'..=b'9' => Some(digit - b'0'),
                b'a'..=b'f' => Some(digit - b'a' + 10),
                _ => None,
            });
        let mut uuid = [0; 16];
        for byte in &mut uuid {
            *byte = digits.next()?? << 4 | digits.next()??;
        }
        Some(uuid)
    }
}

impl Default for Uid {
    fn default() -> Self {
        Self::Other("".into())
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(bytes) => {
                for (index, byte) in bytes.iter().enumerate() {
                    let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
                    write!(f, "{dash}{byte:02x}")?;
                }
                Ok(())
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_what_was_read() {
        let uuid = "a52bc3c9-e495-4695-b43a-23717eb39cec";
        assert!(matches!(Uid::of(uuid), Uid::Uuid(_)));
        let others = ["", "u", "A52bc3c9-e495-4695-b43a-23717eb39cec", "a52bc3c9-e495-4695-b43a_23717eb39cec"];
        assert!(others.iter().all(|text| matches!(Uid::of(text), Uid::Other(_))));
        for text in others.into_iter().chain([uuid, "00000000-0000-0000-0000-00000000000é"]) {
            assert_eq!(Uid::of(text).to_string(), text);
        }
        assert_eq!(Uid::of(""), Uid::default());
    }
}
