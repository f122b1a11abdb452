//! When the table is read: when somebody asks, and now and then meanwhile, so that the ages are known when it matters.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    ages::Ages,
    diag::{self, Coverage},
    proc,
    quiet::Quiet,
    report::Report,
    rules::Rules,
};

/// Questions that come so soon after another get its answer.
const SAME: Duration = Duration::from_millis(100);
/// A sample that takes longer than this is dear: thousands of connections.
const DEAR: Duration = Duration::from_millis(1);
/// How old the answer to a question may be where a sample is dear. Samples are taken more often than that while somebody
/// asks, so only the first question waits for one.
const DEAR_SAME: Duration = Duration::from_millis(1500);
/// Between samples while somebody asks.
const BUSY: Duration = Duration::from_secs(1);
/// Between samples while nobody does.
const IDLE: Duration = Duration::from_secs(10);
/// Without a question for so long, nobody asks.
const ASKED: Duration = Duration::from_secs(60);
/// How often the kernel may say that the table changed while it was read.
const ATTEMPTS: usize = 3;

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the socket table cannot be read: {netlink}; {proc}")]
pub struct Unreadable {
    netlink: String,
    proc: String,
}

/// Where the last sample came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `sock_diag`.
    Netlink,
    /// `/proc/net/tcp` and `tcp6`.
    Proc,
}

/// Reads the table of this network namespace.
pub struct Sampler {
    rules: Rules,
    started: Instant,
    /// Held while a sample is taken.
    seen: Mutex<Seen>,
    /// Held for a moment only, so that a sample under way keeps nobody waiting.
    known: Mutex<Known>,
}

/// What the samples have shown.
#[derive(Default)]
struct Seen {
    ages: Ages,
    quiet: Quiet,
}

/// What questions are answered with.
#[derive(Default)]
struct Known {
    last: Option<Last>,
    asked: Option<Instant>,
    source: Option<Source>,
}

struct Last {
    at: Instant,
    took: Duration,
    report: Report,
}

impl Known {
    /// The last report, while it may still be given as an answer. That nobody is connected is never said from memory: a
    /// pod may be ended for it, and somebody may have come meanwhile.
    fn current(&self) -> Option<&Report> {
        let last = self.last.as_ref().filter(|last| last.report.count > 0)?;
        let same = if last.took < DEAR { SAME } else { DEAR_SAME };
        (last.at.elapsed() < same).then_some(&last.report)
    }
}

impl Sampler {
    /// Nothing is read yet.
    pub fn new(rules: Rules) -> Self {
        Self { rules, started: Instant::now(), seen: Mutex::default(), known: Mutex::default() }
    }

    /// What is there now.
    ///
    /// # Errors
    /// The table can be read in neither way.
    pub fn ask(&self) -> Result<Report, Unreadable> {
        {
            let mut known = self.known();
            known.asked = Some(Instant::now());
            if let Some(report) = known.current() {
                return Ok(report.clone());
            }
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have asked the same meanwhile.
        let answered = self.known().current().cloned();
        match answered {
            Some(report) => Ok(report),
            None => self.sample(&mut seen),
        }
    }

    /// Where the last sample came from.
    pub fn source(&self) -> Option<Source> {
        self.known().source
    }

    /// Reads the table now and then, for ever.
    pub fn run(&self) {
        loop {
            if self.is_due() {
                // Whoever asks hears of a failure.
                let _ = self.sample(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
            }
            thread::sleep(BUSY);
        }
    }

    fn is_due(&self) -> bool {
        let known = self.known();
        let asked = known.asked.is_some_and(|at| at.elapsed() < ASKED);
        let due = if asked { BUSY } else { IDLE };
        known.last.as_ref().is_none_or(|last| last.at.elapsed() >= due)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the table. A failure leaves the ages as they are, but no report that would be older and older, and nobody knows
    /// who was there meanwhile.
    fn sample(&self, Seen { ages, quiet }: &mut Seen) -> Result<Report, Unreadable> {
        let at = Instant::now();
        let (sample, coverage, source) = match self.by_netlink(ages) {
            Ok((sample, coverage)) => (sample, coverage, Source::Netlink),
            Err(netlink) => match self.by_proc(ages) {
                Ok(sample) => (sample, Coverage::Whole, Source::Proc),
                Err(proc) => {
                    self.known().last = None;
                    *quiet = Quiet::default();
                    return Err(Unreadable { netlink: netlink.to_string(), proc: proc.to_string() });
                }
            },
        };
        let now = at.duration_since(self.started);
        ages.update(sample, now);
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        let mut report = Report::new(&self.rules, ages, now, unix, coverage == Coverage::Whole);
        report.idle_seconds = quiet.sample(&report, now).as_secs();
        let mut known = self.known();
        known.source = Some(source);
        known.last = Some(Last { at, took: at.elapsed(), report: report.clone() });
        Ok(report)
    }

    fn by_netlink(&self, ages: &mut Ages) -> Result<(crate::ages::Sample, Coverage), diag::Error> {
        let mut attempt = 1;
        loop {
            let mut sample = ages.sample();
            let coverage = diag::read(|socket| {
                if let Some(key) = self.rules.key(socket) {
                    sample.add(key);
                }
            })?;
            if coverage == Coverage::Whole || attempt == ATTEMPTS {
                return Ok((sample, coverage));
            }
            attempt += 1;
        }
    }

    fn by_proc(&self, ages: &mut Ages) -> std::io::Result<crate::ages::Sample> {
        let mut sample = ages.sample();
        // Of this process, so of its network namespace, whatever the mount of `/proc` is of.
        proc::read(Path::new("/proc/self/net"), |socket| {
            if let Some(key) = self.rules.key(socket) {
                sample.add(key);
            }
        })?;
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(count: u64, took: Duration, age: Duration) -> Known {
        let report = Report { ports: Vec::new(), count, fresh: 0, at: 0, complete: true, idle_seconds: 0 };
        Known { last: Some(Last { at: Instant::now() - age, took, report }), ..Known::default() }
    }

    #[test]
    fn only_that_somebody_is_there_is_said_from_memory() {
        let (cheap, dear, young, old) = (Duration::ZERO, DEAR * 2, Duration::ZERO, DEAR_SAME * 2);
        assert!(known(1, cheap, young).current().is_some());
        assert!(known(1, dear, young).current().is_some());
        assert!(known(1, cheap, SAME * 2).current().is_none());
        assert!(known(1, dear, old).current().is_none());
        for took in [cheap, dear] {
            assert!(known(0, took, young).current().is_none());
        }
    }
}
