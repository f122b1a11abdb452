//! A plan in the making.

use std::{collections::BTreeSet, time::Duration};

use crate::{Action, InstanceName, Plan, Problem, Report, Time};

impl Time {
    /// The time this much later, in whole milliseconds; the end of time where it would be past it.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time this much earlier, in whole milliseconds; the beginning of time where it would be before it.
    #[must_use]
    pub(crate) fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// What the modules add to while they decide.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) actions: Vec<Action>,
    pub(crate) problems: Vec<Problem>,
    /// The instances whose pods' connections are to be counted.
    pub(crate) count: BTreeSet<InstanceName>,
    /// Instances that the spec's color has as soon as it is made.
    pub(crate) taken: BTreeSet<InstanceName>,
    wake: Option<Time>,
}

impl Draft {
    /// Adds an action.
    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Adds a problem, once.
    pub(crate) fn problem(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Asks to be woken no later than this.
    pub(crate) fn wake(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// The finished plan. A wake-up that is already due would be a busy loop, so it comes a millisecond from now.
    pub(crate) fn into_plan(self, now: Time, report: Report) -> Plan {
        let soonest = now.after(Duration::from_millis(1));
        Plan { actions: self.actions, report, wake: self.wake.map(|wake| wake.max(soonest)), count: self.count }
    }
}
