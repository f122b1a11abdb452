//! Periodic tasks of the cluster: expiry of old events, and release of memory when the cluster is at rest.

use std::{fs, time::Duration};

use pocket_api::Api;
use pocket_node::namespaces::release_memory;
use tokio::time::Instant;

/// Interval of the checks; the cluster is at rest when nothing was written in between.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Interval of the search for old events.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Growth in pages since the last release that is not worth another one.
const FEW_PAGES: u64 = 512;

/// Runs the tasks indefinitely.
pub(crate) async fn watch(api: Api) {
    let (mut revision, mut forgot, mut least) = (api.revision(), Instant::now(), 0);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if forgot.elapsed() >= FORGET_EVERY {
            forgot = Instant::now();
            if let Err(error) = api.expire_events() {
                tracing::warn!(%error, "old events are kept for now");
            }
        }
        let now = api.revision();
        if now == revision && resident_pages() > least + FEW_PAGES {
            release_memory();
            least = resident_pages();
        }
        revision = now;
    }
}

/// Returns the number of resident pages of the process; 0 if it is unknown.
fn resident_pages() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|pages| pages.split_ascii_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
