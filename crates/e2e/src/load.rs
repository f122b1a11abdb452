//! Traffic whose every reply is checked, by a client that knows nothing of Rainbow.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use traffic::{Load, Report, Target, Traffic, Verdict};

/// New connections a second: what the acceptance of a shift asks for.
pub const RATE: f64 = 300.0;
/// Clients that keep their connection.
const KEEP_ALIVE: usize = 8;

/// Starts new connections at [`RATE`] and keep-alive clients beside them.
pub async fn start(url: &str) -> Result<Traffic> {
    traffic::raise_file_limit();
    let mut load = Load::new(Target::resolve(url).await?);
    load.rate = RATE;
    load.keep_alive = KEEP_ALIVE;
    load.pause = Duration::from_millis(50);
    load.check = Some(Arc::new(judge));
    Ok(Traffic::start(load))
}

/// Sends one request.
pub async fn query(url: &str) -> Result<String> {
    let target = Target::resolve(url).await?;
    let reply = traffic::get(&target, Duration::from_secs(10)).await;
    reply.map(|text| text.trim().to_owned()).map_err(|failure| anyhow::anyhow!("{failure:?}"))
}

/// Ends the traffic; no request may have failed and no reply may be mixed.
pub async fn clean(traffic: Traffic) -> Result<Report> {
    let report = traffic.stop().await;
    let text = serde_json::to_string_pretty(&report).context("a report is JSON")?;
    ensure!(report.requests > 0, "no request was sent");
    ensure!(report.failed == 0, "{} of {} requests failed:\n{text}", report.failed, report.requests);
    ensure!(report.mixed == 0, "{} of {} replies were mixed:\n{text}", report.mixed, report.requests);
    Ok(report)
}

/// Every tier of a reply must name the same version: `frontend:v1 - backend:v1`.
pub fn judge(reply: &str) -> Verdict {
    let mut versions =
        reply.trim_end_matches('\n').split(" - ").map(|part| part.split_once(':').map(|(_, version)| version));
    match versions.next() {
        Some(Some(first)) => match versions.find(|version| *version != Some(first)) {
            None => Verdict::Good,
            Some(Some(_)) => Verdict::Mixed,
            Some(None) => Verdict::Unexpected,
        },
        _ => Verdict::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_mixed_replies() {
        assert_eq!(judge("frontend:v1 - backend:v1\n"), Verdict::Good);
        assert_eq!(judge("frontend:v1 - frontend:v1 - backend:v2"), Verdict::Mixed);
        assert_eq!(judge("frontend:v2 - backend:v1"), Verdict::Mixed);
        assert_eq!(judge("frontend:v2 - "), Verdict::Unexpected);
        assert_eq!(judge(""), Verdict::Unexpected);
    }
}
