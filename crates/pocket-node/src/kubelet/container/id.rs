//! Ids of containers.

/// Container id: 256 random bits in hexadecimal.
pub(super) struct Id([u128; 2]);

impl Id {
    pub(super) fn random() -> Self {
        Self([rand::random(), rand::random()])
    }
}

impl std::fmt::LowerHex for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}{:032x}", self.0[0], self.0[1])
    }
}
