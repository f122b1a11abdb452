//! Waiting for something to become true.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How long anything may take before a test gives up. Generous: a test says what happens, not how fast.
const PATIENCE: Duration = Duration::from_secs(180);
/// The suite looks at clusters it knows nothing of, so it asks instead of watching: soon at first, then less and less
/// often, so that many tests do not keep a small cluster busy.
const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_millis(250);

/// Waits until `look` answers `Ok(value)`. `Err` says what is still missing, which is also what the failure says.
pub async fn eventually<T, F, Fut>(what: &str, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let start = Instant::now();
    let mut interval = FIRST;
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(missing) if start.elapsed() > PATIENCE => bail!("gave up waiting until {what}: {missing:#}"),
            Err(_) => tokio::time::sleep(interval).await,
        }
        interval = LAST.min(interval * 3 / 2);
    }
}
