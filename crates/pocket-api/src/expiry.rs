//! Expiry of events.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{Api, ops::DeleteOptions, status::Status, store::Stored};

/// Default of kube-apiserver's `--event-ttl`.
const EVENT_TTL: Duration = Duration::from_secs(3600);

impl Api {
    /// Deletes events that were last written an hour ago or earlier, and returns their number. The caller repeats it from time to time.
    ///
    /// # Errors
    /// Fails when a deletion cannot be stored.
    pub fn expire_events(&self) -> Result<usize, Status> {
        let registry = self.registry();
        let Some(events) = registry.built_in("", "events") else { return Ok(0) };
        let (objects, _) = self.store().snapshot(&events.storage);
        let now = Instant::now();
        let old = |stored: &&Arc<Stored>| now.duration_since(stored.since) >= EVENT_TTL;
        let mut count = 0;
        for stored in objects.values().filter(old) {
            // An event that is written at this moment stays: its resource version no longer matches.
            let options =
                DeleteOptions { resource_version: Some(stored.revision.to_string()), ..DeleteOptions::default() };
            match self.delete(events, stored.namespace(), stored.name(), &options) {
                Ok(_) => count += 1,
                Err(status) if matches!(status.code.as_u16(), 404 | 409) => {}
                Err(status) => return Err(status),
            }
        }
        Ok(count)
    }
}
