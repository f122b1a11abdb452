//! Traffic whose every reply is checked, by a client that knows nothing of Rainbow.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use traffic::{FailureTally, Load, ReplyTally, Report, Target, Traffic, Verdict};

use crate::reach::Place;

/// New connections a second, as the acceptance of a shift requires.
pub const RATE: f64 = 300.0;
/// Same for clusters that share their machine with the tests.
pub const RATE_ELSEWHERE: f64 = 200.0;
/// Same where the API server carries every connection: each costs it three requests and a tunnel to a node.
pub const RATE_FORWARDED: f64 = 20.0;
/// Limits of the time for a connection to open, and for a request in all. A lost request stays lost; one that is only slow,
/// because the machine is busy, is no failure.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(40);
/// Number of clients that keep their connection.
const KEEP_ALIVE: usize = 8;

/// Kinds of clients of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// New connections, and clients that keep theirs.
    All,
    /// New connections only: time-based draining cannot know of kept connections.
    New,
}

/// Load at every place where a Service answers, as one.
pub struct Loads {
    parts: Vec<Traffic>,
}

impl Loads {
    /// Starts `rate` new connections a second, spread over the places, and keep-alive clients at each.
    pub(crate) async fn start(places: &[Place], rate: f64, clients: Clients) -> Result<Self> {
        ensure!(!places.is_empty(), "nowhere to send load to");
        traffic::raise_file_limit();
        let mut parts = Vec::new();
        for place in places {
            let mut load = Load::new(Target::resolve(&place.to_string()).await?);
            load.rate = rate / places.len() as f64;
            load.keep_alive = match clients {
                Clients::All => KEEP_ALIVE.div_ceil(places.len()),
                Clients::New => 0,
            };
            load.pause = Duration::from_millis(50);
            load.connect_timeout = CONNECT_TIMEOUT;
            load.timeout = TIMEOUT;
            load.check = Some(Arc::new(judge));
            parts.push(Traffic::start(load));
        }
        Ok(Self { parts })
    }

    /// Returns a report of everything seen so far.
    pub fn report(&self) -> Report {
        merge(self.parts.iter().map(Traffic::report))
    }

    /// Ends the load and returns the final report.
    pub async fn stop(self) -> Report {
        let mut reports = Vec::new();
        for part in self.parts {
            reports.push(part.stop().await);
        }
        merge(reports)
    }

    /// Ends the load and checks that no request has failed and no reply was mixed.
    pub async fn clean(self) -> Result<Report> {
        check_report(self.stop().await)
    }
}

/// Merges several reports. Latencies cannot be added up, and no test needs them.
fn merge(reports: impl IntoIterator<Item = Report>) -> Report {
    let mut all = Report::default();
    for report in reports {
        all.started_ms = if all.requests == 0 { report.started_ms } else { all.started_ms.min(report.started_ms) };
        all.ended_ms = all.ended_ms.max(report.ended_ms);
        all.requests += report.requests;
        all.failed += report.failed;
        all.mixed += report.mixed;
        all.compatible += report.compatible;
        all.skipped += report.skipped;
        all.connections += report.connections;
        all.closed_idle += report.closed_idle;
        for (body, tally) in report.replies {
            let sum = all.replies.entry(body).or_insert(ReplyTally { count: 0, ..tally });
            sum.count += tally.count;
            sum.first_ms = sum.first_ms.min(tally.first_ms);
            sum.last_ms = sum.last_ms.max(tally.last_ms);
        }
        for (kind, tally) in report.failures {
            let sum = all.failures.entry(kind).or_insert(FailureTally { count: 0, samples: Vec::new(), ..tally });
            sum.count += tally.count;
            sum.first_ms = sum.first_ms.min(tally.first_ms);
            sum.last_ms = sum.last_ms.max(tally.last_ms);
            sum.samples.extend(tally.samples);
        }
    }
    all
}

/// Sends one request.
pub async fn query(url: &str) -> Result<String> {
    let target = Target::resolve(url).await?;
    let reply = traffic::get(&target, Duration::from_secs(10)).await;
    reply.map(|text| text.trim().to_owned()).map_err(|failure| anyhow::anyhow!("{failure:?}"))
}

/// Ends the traffic and checks that no request has failed and no reply was mixed.
pub async fn clean(traffic: Traffic) -> Result<Report> {
    check_report(traffic.stop().await)
}

fn check_report(report: Report) -> Result<Report> {
    let text = serde_json::to_string_pretty(&report).context("a report is JSON")?;
    ensure!(report.requests > 0, "no request was sent");
    ensure!(report.failed == 0, "{} of {} requests failed:\n{text}", report.failed, report.requests);
    ensure!(report.mixed == 0, "{} of {} replies were mixed:\n{text}", report.mixed, report.requests);
    Ok(report)
}

/// Judges a reply, in which every tier must name the same version: `frontend:v1 - backend:v1`.
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

    #[test]
    fn parts_of_a_load_are_one_report() {
        let part = |first: i64, count: u64| {
            let tally = ReplyTally { count, first_ms: first, last_ms: first + 10, mixed: false, compatible: false };
            let failures = [(
                traffic::FailureKind::Reset,
                FailureTally { count: 1, first_ms: first, last_ms: first, samples: Vec::new() },
            )];
            Report {
                started_ms: first,
                ended_ms: first + 20,
                requests: count + 1,
                failed: 1,
                replies: [("a".to_owned(), tally)].into(),
                failures: failures.into(),
                ..Report::default()
            }
        };
        let all = merge([part(100, 3), part(50, 4)]);
        assert_eq!((all.requests, all.failed, all.started_ms, all.ended_ms), (9, 2, 50, 120));
        let tally = &all.replies["a"];
        assert_eq!((tally.count, tally.first_ms, tally.last_ms), (7, 50, 110));
        assert_eq!(all.failures[&traffic::FailureKind::Reset].count, 2);
        assert!(check_report(all).is_err());
    }
}
