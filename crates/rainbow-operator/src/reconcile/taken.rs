//! Names that are taken by objects of others.

use std::time::Duration;
use tokio::time::Instant;

use crate::{kind::Kind, observe::Foreign};

/// Interval at which the API server is asked whether another owner's object is gone. Nothing else is polled, and this only while there is
/// such an object: a watch would read objects that are none of the operator's business.
const EVERY: Duration = Duration::from_secs(15);

/// Needed names that are taken, with the time of the last question.
#[derive(Debug, Default)]
pub(super) struct TakenNames {
    names: Foreign,
    asked: Option<Instant>,
}

impl TakenNames {
    pub(super) fn names(&self) -> &Foreign {
        &self.names
    }

    /// Records that a name was found to be taken just now.
    pub(super) fn insert(&mut self, kind: Kind, name: String) {
        self.names.insert((kind, name));
        self.asked = Some(Instant::now());
    }

    /// Records that these names are still taken.
    pub(super) fn asked(&mut self, names: Foreign) {
        self.names = names;
        self.asked = Some(Instant::now());
    }

    /// Returns when to ask again. `None`: no name is taken.
    pub(super) fn next(&self) -> Option<Instant> {
        (!self.names.is_empty()).then(|| self.asked.unwrap_or_else(Instant::now) + EVERY)
    }

    /// Returns the names to ask about, if a question is due.
    pub(super) fn to_ask(&self) -> Option<Foreign> {
        self.next().filter(|next| Instant::now() >= *next).map(|_| self.names.clone())
    }
}
