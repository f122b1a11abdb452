//! Gives memory back when the cluster is at rest.

use std::{fs, time::Duration};

use pocket_api::Api;
use pocket_node::namespaces::release_code;

/// How often it is looked; the cluster is at rest when nothing was written in between.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many bytes of files in memory are not worth the trouble.
const LITTLE: u64 = 6 << 20;
/// Of all machines that are worth mentioning. On others the limit is a little higher.
const PAGE: u64 = 4096;

/// Gives back code that is not needed, whenever there was a rest of a second. Never ends.
pub(crate) async fn watch(api: Api) {
    let mut before = api.revision();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = api.revision();
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
