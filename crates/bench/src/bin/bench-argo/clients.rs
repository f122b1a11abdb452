//! Load of a measurement: new connections at a rate, whose replies name the version that serves.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use e2e::{
    Scope,
    held::{self, Held, Kind},
};
use traffic::{Load, Target, Traffic};

/// Time without a reply of a version after which it counts as gone: longer than kube-proxy takes for a change.
const GONE: Duration = Duration::from_secs(4);
/// Interval at which the replies are checked.
const LOOK: Duration = Duration::from_millis(100);
/// Limit of the wait for a version.
const PATIENCE: Duration = Duration::from_secs(240);

/// Load on a Service, at every place where it answers.
pub(crate) struct Clients {
    parts: Vec<Traffic>,
}

/// Times of the replies of a version, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Last reply of any other version.
    pub(crate) last_other: i64,
    /// First reply of the version, at the place where it arrived last.
    pub(crate) first: i64,
}

impl Clients {
    /// Starts a load of `rate` new connections a second.
    pub(crate) async fn start(scope: &Scope, service: &str, rate: f64) -> Result<Self> {
        traffic::raise_file_limit();
        let places = scope.places_of_port(service, "http").await?;
        let mut parts = Vec::new();
        for place in &places {
            let mut load = Load::new(Target::resolve(&format!("http://{}/color", place.address)).await?);
            load.rate = rate / places.len() as f64;
            parts.push(Traffic::start(load));
        }
        Ok(Self { parts })
    }

    /// Returns the number of requests that have failed up to now.
    pub(crate) fn failed(&self) -> u64 {
        self.parts.iter().map(|part| part.report().failed).sum()
    }

    /// Waits until only one version answers, at every place.
    pub(crate) async fn only(&self, color: &str) -> Result<Arrival> {
        let begin = now();
        loop {
            let arrival = self.arrival(color);
            if let Some(arrival) = arrival
                && now() - arrival.last_other.max(arrival.first).max(begin) > millis(GONE)
            {
                return Ok(arrival);
            }
            if now() - begin > millis(PATIENCE) {
                bail!("{color} never was the only version that answers: {arrival:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn arrival(&self, color: &str) -> Option<Arrival> {
        let mut arrival = Arrival { last_other: 0, first: 0 };
        for part in &self.parts {
            let replies = part.report().replies;
            let own = |body: &str| body.trim().trim_start_matches('#') == color;
            let (_, mine) = replies.iter().find(|(body, _)| own(body))?;
            let others = replies.iter().filter(|(body, _)| !own(body)).map(|(_, tally)| tally.last_ms);
            arrival.last_other = others.fold(arrival.last_other, i64::max);
            arrival.first = arrival.first.max(mine.first_ms);
            // A version that served before must serve again.
            if now() - mine.last_ms > millis(GONE) / 4 {
                return None;
            }
        }
        Some(arrival)
    }

    /// Ends the load. Returns the number of requests that failed.
    pub(crate) async fn stop(self) -> u64 {
        let mut failed = 0;
        for part in self.parts {
            failed += part.stop().await.failed;
        }
        failed
    }
}

/// Opens connections that stay, at every place of a Service.
pub(crate) async fn hold(scope: &Scope, service: &str, count: usize) -> Result<Held> {
    let places = scope.places_of_port(service, "lines").await?;
    let addresses: Vec<_> = places.iter().map(|place| place.address).collect();
    held::open_at(Kind::Lines, &addresses, count).await
}

/// Returns the milliseconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(since)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
