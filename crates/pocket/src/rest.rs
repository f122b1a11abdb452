//! What the cluster does by itself from time to time: it forgets old events, and gives memory back when it is at rest.

use std::{fs, time::Duration};

use pocket_api::Api;
use pocket_node::namespaces::release_code;
use tokio::time::Instant;

/// How often it is looked; the cluster is at rest when nothing was written in between.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often old events are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// So many bytes of files in memory are not worth the trouble.
const LITTLE: u64 = 6 << 20;
/// Of all machines that are worth mentioning. On others the limit is a little higher.
const PAGE: u64 = 4096;

/// Does so for ever.
pub(crate) async fn watch(api: Api) {
    let mut before = api.revision();
    let mut forgot = Instant::now();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = api.revision();
        if forgot.elapsed() >= FORGET_EVERY {
            forgot = Instant::now();
            if let Err(error) = api.expire_events() {
                tracing::warn!(%error, "old events are kept for now");
            }
        }
        if now == before && file_bytes().is_some_and(|bytes| bytes > LITTLE) {
            release_code();
        }
        before = now;
    }
}

/// How much of the process's memory holds files, which is its code.
fn file_bytes() -> Option<u64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    pages.split_ascii_whitespace().nth(2)?.parse::<u64>().ok().map(|pages| pages * PAGE)
}
