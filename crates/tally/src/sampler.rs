//! When the table is read: when somebody asks, and now and then meanwhile, so that the ages are known when it matters.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    ages::Ages,
    diag::{self, Coverage},
    proc,
    report::Report,
    rules::Rules,
};

/// Questions that come so soon after another get its answer.
const SAME: Duration = Duration::from_millis(100);
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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ages: Ages,
    last: Option<(Instant, Report)>,
    asked: Option<Instant>,
    source: Option<Source>,
}

impl Sampler {
    /// Nothing is read yet.
    pub fn new(rules: Rules) -> Self {
        Self { rules, started: Instant::now(), state: Mutex::default() }
    }

    /// What is there now.
    ///
    /// # Errors
    /// The table can be read in neither way.
    pub fn ask(&self) -> Result<Report, Unreadable> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked = Some(Instant::now());
        if let Some((at, report)) = &state.last
            && at.elapsed() < SAME
        {
            return Ok(report.clone());
        }
        self.sample(&mut state)
    }

    /// Where the last sample came from.
    pub fn source(&self) -> Option<Source> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).source
    }

    /// Reads the table now and then, for ever.
    pub fn run(&self) {
        loop {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let asked = state.asked.is_some_and(|at| at.elapsed() < ASKED);
            let due = if asked { BUSY } else { IDLE };
            if state.last.as_ref().is_none_or(|(at, _)| at.elapsed() >= due) {
                // Whoever asks hears of a failure.
                let _ = self.sample(&mut state);
            }
            drop(state);
            thread::sleep(BUSY);
        }
    }

    fn sample(&self, state: &mut State) -> Result<Report, Unreadable> {
        // A failure leaves the ages as they are, but no answer that would be too old.
        state.last = None;
        let (sample, coverage, source) = match self.by_netlink(&state.ages) {
            Ok((sample, coverage)) => (sample, coverage, Source::Netlink),
            Err(netlink) => match self.by_proc(&state.ages) {
                Ok(sample) => (sample, Coverage::Whole, Source::Proc),
                Err(proc) => return Err(Unreadable { netlink: netlink.to_string(), proc: proc.to_string() }),
            },
        };
        state.source = Some(source);
        let read = Instant::now();
        let now = read.duration_since(self.started);
        state.ages.update(sample, now);
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        let report = Report::new(&self.rules, &state.ages, now, at, coverage == Coverage::Whole);
        state.last = Some((read, report.clone()));
        Ok(report)
    }

    fn by_netlink(&self, ages: &Ages) -> Result<(crate::ages::Sample, Coverage), diag::Error> {
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

    fn by_proc(&self, ages: &Ages) -> std::io::Result<crate::ages::Sample> {
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
