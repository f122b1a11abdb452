//! Wait for a condition.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Limit of a wait, after which a test fails. Generous: a test checks what happens, not how fast.
const PATIENCE: Duration = Duration::from_secs(180);
/// Interval of the checks. The suite knows nothing of its cluster, so it polls instead of watching: quickly at first, then less and less
/// often, so that many tests do not keep a small cluster busy.
const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_millis(250);

/// Waits until `look` returns `Ok(value)`. Its `Err` describes what is still missing, and appears in the test's failure.
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
