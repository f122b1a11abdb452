//! What a load has seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::FailureKind;

/// What a load has seen. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When the load began.
    pub started_ms: i64,
    /// When this report was made.
    pub ended_ms: i64,
    /// Requests that have ended, well or not.
    pub requests: u64,
    /// Those without a good reply.
    pub failed: u64,
    /// Those whose reply mixed what must not be mixed. They are not among `failed`.
    pub mixed: u64,
    /// Those whose callee was newer than its caller, which the check allows. They are neither among `failed` nor among `mixed`.
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
    /// Failures by kind.
    pub failures: BTreeMap<FailureKind, FailureTally>,
    /// How long requests on new connections took, connecting included.
    pub latency: Latency,
    /// How long requests on kept connections took.
    pub latency_kept: Latency,
}

/// Replies with the same body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplyTally {
    /// How many.
    pub count: u64,
    /// When the first came.
    pub first_ms: i64,
    /// When the last came.
    pub last_ms: i64,
    /// The check says that this body mixes what must not be mixed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mixed: bool,
    /// The check says that this body has two versions that may serve together.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compatible: bool,
}

/// Failures of the same kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureTally {
    /// How many.
    pub count: u64,
    /// When the first was seen.
    pub first_ms: i64,
    /// When the last was seen.
    pub last_ms: i64,
    /// The first few.
    pub samples: Vec<Sample>,
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// When.
    pub at_ms: i64,
    /// What was seen.
    pub detail: String,
    /// Whether it was on a kept connection.
    pub kept: bool,
}

/// How long requests took that had a reply, in microseconds, exact to three digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// Half of them took at most this.
    pub p50_us: u64,
    /// 90 %.
    pub p90_us: u64,
    /// 99 %.
    pub p99_us: u64,
    /// 99.9 %.
    pub p999_us: u64,
    /// The slowest.
    pub max_us: u64,
}

impl Report {
    /// Every request had a good, unmixed reply, and there was at least one.
    pub fn is_clean(&self) -> bool {
        self.requests > 0 && self.failed == 0 && self.mixed == 0 && self.skipped == 0
    }

    /// Requests per second.
    pub fn per_second(&self) -> f64 {
        let milliseconds = (self.ended_ms - self.started_ms).max(1);
        self.requests as f64 * 1000.0 / milliseconds as f64
    }
}
