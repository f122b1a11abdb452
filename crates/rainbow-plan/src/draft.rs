//! Plan in the making.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{Action, Chain, ChainKey, Check, InstanceName, Plan, Problem, Report, Time};

impl Time {
    /// Returns the time this much later, in whole milliseconds. Past the end of time, returns the end of time.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Returns the time this much earlier, in whole milliseconds. Before the beginning of time, returns the beginning of time.
    #[must_use]
    pub(crate) fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Draft of a plan, to which the modules add while they decide.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Chains of actions, in the order in which the modules have added them.
    chains: Vec<Chain>,
    pub(crate) problems: Vec<Problem>,
    /// Instances whose pods' connections must be counted.
    pub(crate) count: BTreeSet<InstanceName>,
    /// Instances that the spec's color has as soon as it is made.
    pub(crate) taken: BTreeSet<InstanceName>,
    /// Pods that the instances of living colors should have, where no other writer decides that.
    pub(crate) sizes: BTreeMap<InstanceName, u32>,
    /// Checks whose outcome is needed, and since when measurements count.
    pub(crate) checks: BTreeMap<Check, Time>,
    wake: Option<Time>,
}

impl Draft {
    /// Adds an action to a chain.
    pub(crate) fn act(&mut self, key: ChainKey, action: Action) {
        match self.chains.iter_mut().find(|chain| chain.key == key) {
            Some(chain) => chain.actions.push(action),
            None => self.chains.push(Chain { key, actions: vec![action] }),
        }
    }

    /// Returns the actions of a chain so far.
    pub(crate) fn actions(&self, key: &ChainKey) -> &[Action] {
        self.chains.iter().find(|chain| chain.key == *key).map_or(&[], |chain| chain.actions.as_slice())
    }

    /// Returns whether a stage takes the pod in by this plan.
    pub(crate) fn joins(&self, name: &str) -> bool {
        let mut actions = self.chains.iter().flat_map(|chain| &chain.actions);
        actions.any(|action| matches!(action, Action::Join { pod, .. } if pod == name))
    }

    /// Adds a problem, once.
    pub(crate) fn problem(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Asks for a wake-up no later than this time.
    pub(crate) fn wake(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Returns the finished plan. A wake-up that is already due comes a millisecond from now: otherwise it would be a busy loop.
    pub(crate) fn into_plan(self, now: Time, report: Report) -> Plan {
        let soonest = now.after(Duration::from_millis(1));
        let mut chains = self.chains;
        chains.sort_by_key(|chain| chain.key.rank());
        let wake = self.wake.map(|wake| wake.max(soonest));
        Plan { chains, report, wake, count: self.count, checks: self.checks, sizes: self.sizes }
    }
}
