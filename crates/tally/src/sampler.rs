//! Schedule of samples: the table is read on every question, and periodically between questions, so that ages are known when needed.

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

/// Time for which a report answers further questions.
const SAME: Duration = Duration::from_millis(100);
/// Duration from which a sample counts as expensive: thousands of connections.
const DEAR: Duration = Duration::from_millis(1);
/// Age that an answer may have where a sample is expensive. Samples are taken more often than that while questions arrive,
/// so only the first question waits for one.
const DEAR_SAME: Duration = Duration::from_millis(1500);
/// Time between samples while questions arrive.
const BUSY: Duration = Duration::from_secs(1);
/// Time between samples while none arrive.
const IDLE: Duration = Duration::from_secs(10);
/// Time without a question after which sampling becomes rare.
const ASKED: Duration = Duration::from_secs(60);
/// Number of dumps that are tried when the kernel reports that the table changed while it was read.
const ATTEMPTS: usize = 3;

/// Error of both ways to read the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the socket table cannot be read: {netlink}; {proc}")]
pub struct Unreadable {
    netlink: String,
    proc: String,
}

/// Origin of the last sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Netlink `sock_diag`.
    Netlink,
    /// Files `/proc/net/tcp` and `tcp6`.
    Proc,
}

/// Reader of the table of this network namespace.
pub struct Sampler {
    rules: Rules,
    started: Instant,
    /// Held while a sample is taken.
    seen: Mutex<Seen>,
    /// Held for a moment only, so that a sample in progress blocks no other caller.
    known: Mutex<Known>,
}

/// Knowledge gained from the samples.
#[derive(Default)]
struct Seen {
    ages: Ages,
    quiet: Quiet,
}

/// State from which questions are answered.
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
    /// Returns the last report while it is still valid as an answer. A report without connections is never reused: a pod may
    /// be ended because of it, and a client may have come meanwhile.
    fn current(&self) -> Option<&Report> {
        let last = self.last.as_ref().filter(|last| last.report.count > 0)?;
        let same = if last.took < DEAR { SAME } else { DEAR_SAME };
        (last.at.elapsed() < same).then_some(&last.report)
    }
}

impl Sampler {
    /// Creates a sampler. Reads nothing yet.
    pub fn new(rules: Rules) -> Self {
        Self { rules, started: Instant::now(), seen: Mutex::default(), known: Mutex::default() }
    }

    /// Returns a report of the connections now.
    ///
    /// # Errors
    /// When the table can be read in neither way.
    pub fn ask(&self) -> Result<Report, Unreadable> {
        {
            let mut known = self.known();
            known.asked = Some(Instant::now());
            if let Some(report) = known.current() {
                return Ok(report.clone());
            }
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Another caller may have taken a sample meanwhile.
        let answered = self.known().current().cloned();
        match answered {
            Some(report) => Ok(report),
            None => self.sample(&mut seen),
        }
    }

    /// Returns the origin of the last sample.
    pub fn source(&self) -> Option<Source> {
        self.known().source
    }

    /// Reads the table periodically, indefinitely.
    pub fn run(&self) {
        loop {
            if self.is_due() {
                // A failure is reported to the next question.
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

    /// Reads the table. A failure keeps the ages. It drops the last report, which would only get older, and the idle time, since
    /// a client may have been there meanwhile.
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
        // `self` is this process, and so its network namespace, whichever namespace the mount of `/proc` belongs to.
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
