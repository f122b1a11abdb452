//! Waiting for something to become true.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How long anything may take before a test gives up. Generous: a test says what happens, not how fast.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often is looked. The suite looks at clusters it knows nothing of, so it asks instead of watching.
const INTERVAL: Duration = Duration::from_millis(50);

/// Waits until `look` answers `Ok(value)`. `Err` says what is still missing, which is also what the failure says.
pub async fn eventually<T, F, Fut>(what: &str, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let start = Instant::now();
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(missing) if start.elapsed() > PATIENCE => bail!("gave up waiting until {what}: {missing:#}"),
            Err(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}
