//! Load of a measurement: new connections at a rate, whose replies show when a release has arrived, and a few clients
//! that keep their connection. These must not fail either, but stay at their version.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use e2e::{Scope, load};
use traffic::{Load, Report, Target, Traffic};

/// Number of clients that keep their connection, at each place.
const KEPT: usize = 4;

/// Load on a Service, at every place where it answers.
pub(crate) struct Mixture {
    new: Vec<Traffic>,
    kept: Vec<Traffic>,
}

/// Outcome of the requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Requests {
    pub(crate) sent: u64,
    pub(crate) failed: u64,
    pub(crate) mixed: u64,
}

impl Mixture {
    pub(crate) async fn start(scope: &Scope, service: &str) -> Result<Self> {
        traffic::raise_file_limit();
        let places = scope.places(service).await?;
        let (mut new, mut kept) = (Vec::new(), Vec::new());
        for place in &places {
            let mut load = Load::new(Target::resolve(&place.to_string()).await?);
            load.check = Some(Arc::new(load::judge));
            let mut keeping = load.clone();
            load.rate = scope.rate() / places.len() as f64;
            keeping.keep_alive = KEPT;
            keeping.pause = std::time::Duration::from_millis(50);
            new.push(Traffic::start(load));
            kept.push(Traffic::start(keeping));
        }
        Ok(Self { new, kept })
    }

    /// Returns the time of the last such reply on a new connection, in milliseconds since the Unix epoch.
    pub(crate) fn last(&self, reply: &str) -> Option<i64> {
        let of = |report: Report| {
            report.replies.iter().find(|(body, _)| body.trim() == reply).map(|(_, tally)| tally.last_ms)
        };
        self.new.iter().filter_map(|traffic| of(traffic.report())).max()
    }

    /// Ends the load.
    pub(crate) async fn stop(self) -> Requests {
        let mut all = Requests::default();
        for traffic in self.new.into_iter().chain(self.kept) {
            let report = traffic.stop().await;
            all.sent += report.requests;
            all.failed += report.failed;
            all.mixed += report.mixed;
        }
        all
    }
}

/// Returns the milliseconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
