//! Report of a load.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::FailureKind;

/// Report of a load. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Start of the load.
    pub started_ms: i64,
    /// Time of this report.
    pub ended_ms: i64,
    /// Requests that have ended, well or not.
    pub requests: u64,
    /// Requests without a good reply.
    pub failed: u64,
    /// Requests whose reply mixed versions that must not be mixed. They are not among `failed`.
    pub mixed: u64,
    /// Requests whose callee was newer than its caller, which the check allows. They are neither among `failed` nor among `mixed`.
    #[serde(default)]
    pub compatible: u64,
    /// Requests that were due but not sent, since too many waited for a reply.
    pub skipped: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// Kept connections that the server closed between two requests.
    pub closed_idle: u64,
    /// Replies by body, with at most 1000 different bodies; the rest under an empty one.
    pub replies: BTreeMap<String, ReplyTally>,
    pub failures: BTreeMap<FailureKind, FailureTally>,
    /// Latency of requests on new connections, connecting included.
    pub latency: Latency,
    /// Latency of requests on kept connections.
    pub latency_kept: Latency,
}

/// Replies with the same body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplyTally {
    /// Number of replies.
    pub count: u64,
    /// Time of the first reply.
    pub first_ms: i64,
    /// Time of the last reply.
    pub last_ms: i64,
    /// Whether the check found that this body mixes versions that must not be mixed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mixed: bool,
    /// Whether the check found that this body has two versions that may serve together.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compatible: bool,
}

/// Failures of the same kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureTally {
    /// Number of failures.
    pub count: u64,
    /// Time of the first failure.
    pub first_ms: i64,
    /// Time of the last failure.
    pub last_ms: i64,
    /// First few failures.
    pub samples: Vec<Sample>,
}

/// Sample of a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Time of the failure.
    pub at_ms: i64,
    /// Details of what was seen.
    pub detail: String,
    /// Whether the failure was on a kept connection.
    pub kept: bool,
}

/// Latencies of the requests that had a reply, in microseconds, exact to three digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Number of measured requests.
    pub count: u64,
    /// Median: half of the requests took at most this.
    pub p50_us: u64,
    /// 90th percentile.
    pub p90_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// 99.9th percentile.
    pub p999_us: u64,
    /// Slowest request.
    pub max_us: u64,
}

impl Report {
    /// Returns whether every request was sent and had a good, unmixed reply, and there was at least one.
    pub fn is_clean(&self) -> bool {
        self.requests > 0 && self.failed == 0 && self.mixed == 0 && self.skipped == 0
    }

    /// Returns the number of requests per second.
    pub fn per_second(&self) -> f64 {
        let milliseconds = (self.ended_ms - self.started_ms).max(1);
        self.requests as f64 * 1000.0 / milliseconds as f64
    }
}
