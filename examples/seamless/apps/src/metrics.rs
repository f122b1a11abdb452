//! Metrics of the server, in Prometheus' text format.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Upper bounds of the histogram's buckets: those that Prometheus' client libraries have by default, in milliseconds.
const BOUNDS: [u16; 11] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];
/// Statuses whose counters exist from the start: Prometheus sees no increase of a counter that appears with a value.
const USUAL: [u16; 2] = [200, 500];

/// Counts of the requests so far.
pub struct Metrics {
    counts: Mutex<Counts>,
}

struct Counts {
    /// Number of replies, by status.
    codes: BTreeMap<u16, u64>,
    /// Number of replies that took at most as long as each bound.
    buckets: [u64; BOUNDS.len()],
    /// Sum of the times of all replies.
    sum: Duration,
    requests: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        let codes = USUAL.map(|code| (code, 0)).into();
        Self { counts: Mutex::new(Counts { codes, buckets: [0; BOUNDS.len()], sum: Duration::ZERO, requests: 0 }) }
    }
}

impl Metrics {
    /// Counts a reply.
    pub fn count(&self, status: u16, took: Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.codes.entry(status).or_default() += 1;
        for (bucket, bound) in counts.buckets.iter_mut().zip(BOUNDS) {
            if took <= Duration::from_millis(bound.into()) {
                *bucket += 1;
            }
        }
        counts.sum += took;
        counts.requests += 1;
    }

    /// Formats all metrics.
    pub fn text(&self) -> String {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::from(
            "# HELP http_requests_total Requests by the status of the reply.\n# TYPE http_requests_total counter\n",
        );
        // Writing to a string does not fail.
        for (code, count) in &counts.codes {
            let _ = writeln!(text, "http_requests_total{{code=\"{code}\"}} {count}");
        }
        let name = "http_request_duration_seconds";
        let _ = writeln!(text, "# HELP {name} Time from the request to the reply.\n# TYPE {name} histogram");
        for (bucket, bound) in counts.buckets.iter().zip(BOUNDS) {
            let _ = writeln!(text, "{name}_bucket{{le=\"{}\"}} {bucket}", f64::from(bound) / 1000.0);
        }
        let requests = counts.requests;
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {requests}");
        let _ = write!(text, "{name}_sum {}\n{name}_count {requests}", counts.sum.as_secs_f64());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_exist_from_the_start() {
        let text = Metrics::default().text();
        for line in ["http_requests_total{code=\"200\"} 0", "http_requests_total{code=\"500\"} 0"] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
    }

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::default();
        for (status, milliseconds) in [(200, 5), (200, 30), (502, 20_000)] {
            metrics.count(status, Duration::from_millis(milliseconds));
        }
        let text = metrics.text();
        let wanted = [
            "http_requests_total{code=\"200\"} 2",
            "http_requests_total{code=\"502\"} 1",
            "http_request_duration_seconds_bucket{le=\"0.005\"} 1",
            "http_request_duration_seconds_bucket{le=\"0.025\"} 1",
            "http_request_duration_seconds_bucket{le=\"0.05\"} 2",
            "http_request_duration_seconds_bucket{le=\"10\"} 2",
            "http_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "http_request_duration_seconds_sum 20.035",
            "http_request_duration_seconds_count 3",
        ];
        for line in wanted {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
    }
}
