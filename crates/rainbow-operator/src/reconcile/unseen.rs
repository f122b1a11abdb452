//! Own writes that the watches have not shown yet. A decision on the state before a write could repeat it.

use std::time::Duration;
use tokio::time::Instant;

use crate::{
    apply::{Expectation, Expected},
    cache::Cache,
    key::Key,
};

/// Time within which an own write must come back through the watch. After it, the write is no longer waited for.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);

/// Changes that the watches must show before the next plan.
#[derive(Debug, Default)]
pub(super) struct UnseenChanges {
    expectations: Vec<Expectation>,
    since: Option<Instant>,
}

impl UnseenChanges {
    pub(super) fn expect(&mut self, expectations: Vec<Expectation>) {
        self.expectations.extend(expectations);
        self.since = Some(Instant::now());
    }

    /// Returns the time until which to wait for own writes at most. `None`: all have come back.
    pub(super) fn until(&mut self, cache: &Cache, key: &Key) -> Option<Instant> {
        self.expectations.retain(|expectation| !is_seen(cache, key, expectation));
        let since = self.since.filter(|_| !self.expectations.is_empty())?;
        if Instant::now() >= since + VISIBLE_WITHIN {
            tracing::warn!(app = %key, waiting_for = ?self.expectations, "own writes do not come back: going on without them");
            self.expectations.clear();
            return None;
        }
        Some(since + VISIBLE_WITHIN)
    }
}

fn is_seen(cache: &Cache, key: &Key, expectation: &Expectation) -> bool {
    let Expectation { kind, name, what } = expectation;
    match what {
        Expected::Version(version) => cache.has_seen(key, *kind, name, *version),
        Expected::Change { uid, version } => match cache.apps.get(key).and_then(|app| app.find(*kind, name)) {
            Some((found, at)) => found.to_string() != *uid || at > *version,
            None => true,
        },
    }
}
