//! What the cluster does by itself from time to time: it forgets old events, and gives memory back when it is at rest.

use std::{fs, time::Duration};

use pocket_api::Api;
use pocket_node::namespaces::release_memory;
use tokio::time::Instant;

/// How often it is looked; the cluster is at rest when nothing was written in between.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often old events are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// So many pages more than after the last time are not worth the trouble.
const FEW_PAGES: u64 = 512;

/// Does so for ever.
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

/// How much memory the process has; nothing, if that cannot be told.
fn resident_pages() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|pages| pages.split_ascii_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
