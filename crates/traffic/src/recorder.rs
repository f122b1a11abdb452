//! Recorder that counts what the workers see.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hdrhistogram::Histogram;

use crate::{
    Check, Failure, FailureKind, FailureTally, Latency, Listener, Outcome, ReplyTally, Report, Sample, Verdict,
};

/// Number of different bodies that are counted separately; a server with a counter in its replies must not fill the memory.
const BODIES: usize = 1000;
/// Number of failures of a kind that are kept word by word.
const SAMPLES: usize = 5;
/// Longest latency that is measured: ten minutes.
const LONGEST_US: u64 = 600_000_000;

pub(crate) struct Recorder {
    check: Option<Check>,
    listener: Option<Listener>,
    started_ms: i64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: u64,
    failed: u64,
    mixed: u64,
    compatible: u64,
    skipped: u64,
    connections: u64,
    closed_idle: u64,
    replies: BTreeMap<String, ReplyTally>,
    failures: BTreeMap<FailureKind, FailureTally>,
    /// Latencies on new connections, and on kept ones.
    latency: [Option<Histogram<u32>>; 2],
}

pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

impl Recorder {
    pub(crate) fn new(check: Option<Check>, listener: Option<Listener>) -> Self {
        let latency = [(); 2].map(|()| Histogram::new_with_bounds(1, LONGEST_US, 3).ok());
        let seen = Mutex::new(Seen { latency, ..Seen::default() });
        Self { check, listener, started_ms: now_ms(), seen }
    }

    /// Locks the counters. They are consistent after every statement, so a lock poisoned by a panic is still good.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connection(&self) {
        self.seen().connections += 1;
    }

    pub(crate) fn closed_idle(&self) {
        self.seen().closed_idle += 1;
    }

    pub(crate) fn skipped(&self) {
        self.seen().skipped += 1;
    }

    pub(crate) fn request(&self, result: Result<String, Failure>, took: Duration, kept: bool) {
        let at_ms = now_ms();
        let mut verdict = Verdict::Good;
        let result = result.and_then(|body| {
            verdict = self.check.as_ref().map_or(Verdict::Good, |check| check(&body));
            match verdict {
                Verdict::Unexpected => Err(Failure::new(FailureKind::BadReply, format_args!("unexpected: {body}"))),
                Verdict::Good | Verdict::Compatible | Verdict::Mixed => Ok(body),
            }
        });
        self.count(&result, verdict, at_ms, took, kept);
        if let Some(listener) = &self.listener {
            listener(&Outcome { at_ms, took, result, verdict });
        }
    }

    fn count(&self, result: &Result<String, Failure>, verdict: Verdict, at_ms: i64, took: Duration, kept: bool) {
        let (mixed, compatible) = (verdict == Verdict::Mixed, verdict == Verdict::Compatible);
        let mut seen = self.seen();
        seen.requests += 1;
        match result {
            Ok(body) => {
                seen.mixed += u64::from(mixed);
                seen.compatible += u64::from(compatible);
                let known = seen.replies.len() < BODIES || seen.replies.contains_key(body);
                let key = if known { body.as_str() } else { "" };
                if !seen.replies.contains_key(key) {
                    seen.replies.insert(key.to_owned(), ReplyTally { first_ms: at_ms, ..ReplyTally::default() });
                }
                if let Some(tally) = seen.replies.get_mut(key) {
                    tally.count += 1;
                    tally.last_ms = at_ms;
                    tally.mixed |= mixed;
                    tally.compatible |= compatible;
                }
                if let Some(histogram) = &mut seen.latency[usize::from(kept)] {
                    histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST_US));
                }
            }
            Err(failure) => {
                seen.failed += 1;
                let tally = seen.failures.entry(failure.kind).or_default();
                if tally.count == 0 {
                    tally.first_ms = at_ms;
                }
                tally.count += 1;
                tally.last_ms = at_ms;
                if tally.samples.len() < SAMPLES {
                    tally.samples.push(Sample { at_ms, detail: failure.detail.clone(), kept });
                }
            }
        }
    }

    pub(crate) fn report(&self) -> Report {
        let seen = self.seen();
        Report {
            started_ms: self.started_ms,
            ended_ms: now_ms(),
            requests: seen.requests,
            failed: seen.failed,
            mixed: seen.mixed,
            compatible: seen.compatible,
            skipped: seen.skipped,
            connections: seen.connections,
            closed_idle: seen.closed_idle,
            replies: seen.replies.clone(),
            failures: seen.failures.clone(),
            latency: seen.latency[0].as_ref().map(latency).unwrap_or_default(),
            latency_kept: seen.latency[1].as_ref().map(latency).unwrap_or_default(),
        }
    }
}

fn latency(histogram: &Histogram<u32>) -> Latency {
    Latency {
        count: histogram.len(),
        p50_us: histogram.value_at_quantile(0.5),
        p90_us: histogram.value_at_quantile(0.9),
        p99_us: histogram.value_at_quantile(0.99),
        p999_us: histogram.value_at_quantile(0.999),
        max_us: histogram.max(),
    }
}
