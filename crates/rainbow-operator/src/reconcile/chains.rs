//! Chains that cannot be carried out: each waits on its own, and has its own message.

use rainbow_api::Reason;
use rainbow_plan::{ChainKey, Plan};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

use super::backoff::Backoff;
use crate::{
    apply::Failure,
    report::{Obstacle, Troubles},
};

/// Number of failed answers of an API server in a row from which they are reported. A few failures come with every restart of an API
/// server.
const TOLD_AFTER: u32 = 4;

/// Chains whose last attempt failed.
#[derive(Debug, Default)]
pub(super) struct Chains(BTreeMap<ChainKey, (Backoff, Failure)>);

impl Chains {
    /// Removes the chains from a plan that are not due yet, and returns when the next one is. A chain that is not in the plan has nothing
    /// to do any more, and no trouble.
    pub(super) fn keep_due(&mut self, plan: &mut Plan, generation: Option<i64>) -> Option<Instant> {
        self.0.retain(|key, _| plan.chains.iter().any(|chain| chain.key == *key));
        let until = |key: &ChainKey| self.0.get(key).and_then(|(backoff, _)| backoff.until(generation));
        let next = plan.chains.iter().filter_map(|chain| until(&chain.key)).min();
        plan.chains.retain(|chain| until(&chain.key).is_none());
        next
    }

    pub(super) fn succeeded(&mut self, key: &ChainKey) {
        self.0.remove(key);
    }

    /// Notes a failure to carry out a spec of this generation. Returns the chain's wait.
    pub(super) fn failed(&mut self, key: ChainKey, failure: Failure, generation: Option<i64>) -> Duration {
        let (backoff, last) = self.0.entry(key).or_insert_with(|| (Backoff::default(), failure.clone()));
        *last = failure;
        backoff.failed(generation)
    }

    /// Returns what the API server says about the chains' writes.
    pub(super) fn troubles(&self) -> Troubles {
        let trouble = |(backoff, failure): &(Backoff, Failure)| match failure {
            Failure::Rejected(message) | Failure::Ending(message) => {
                Some(Obstacle { reason: Reason::Rejected, message: message.clone() })
            }
            Failure::Unavailable(message) if backoff.failures() >= TOLD_AFTER => {
                Some(Obstacle { reason: Reason::Unavailable, message: message.clone() })
            }
            Failure::Unavailable(_) | Failure::Stale(_) | Failure::Foreign { .. } => None,
        };
        self.0.iter().filter_map(|(key, stuck)| Some((key.clone(), trouble(stuck)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rainbow_plan::{Chain, Report};

    fn plan(keys: &[&ChainKey]) -> Plan {
        let chain = |key: &&ChainKey| Chain { key: (*key).clone(), actions: Vec::new() };
        Plan {
            chains: keys.iter().map(chain).collect(),
            report: Report::default(),
            wake: None,
            count: Default::default(),
            checks: Default::default(),
            sizes: Default::default(),
        }
    }

    fn due(chains: &mut Chains, keys: &[&ChainKey], generation: i64) -> Vec<ChainKey> {
        let mut plan = plan(keys);
        chains.keep_due(&mut plan, Some(generation));
        plan.chains.into_iter().map(|chain| chain.key).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_chain_waits_on_its_own() {
        let (stage, start) = (ChainKey::stage("active"), ChainKey::Start("v3".into()));
        let mut chains = Chains::default();
        let refused = || Failure::Rejected("no".into());
        chains.failed(start.clone(), refused(), Some(1));
        assert_eq!(due(&mut chains, &[&stage, &start], 1), std::slice::from_ref(&stage));
        assert_eq!(chains.troubles()[&start], Obstacle { reason: Reason::Rejected, message: "no".into() });
        assert_eq!(
            due(&mut chains, &[&stage, &start], 2),
            [stage.clone(), start.clone()],
            "another spec is tried at once"
        );
        tokio::time::advance(Duration::from_millis(50)).await;
        assert_eq!(due(&mut chains, &[&stage, &start], 1), [stage.clone(), start.clone()]);
        assert_eq!(chains.failed(start.clone(), refused(), Some(1)), Duration::from_millis(100), "longer each time");
        // A chain that has nothing to do any more is forgotten.
        due(&mut chains, &[&stage], 1);
        assert_eq!(chains.troubles(), Troubles::new());
        assert_eq!(chains.failed(start.clone(), refused(), Some(1)), Duration::from_millis(50));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_fails_to_come_is_told_after_some_attempts() {
        let stage = ChainKey::stage("active");
        let mut chains = Chains::default();
        for attempt in 1..=TOLD_AFTER {
            assert_eq!(chains.troubles(), Troubles::new(), "attempt {attempt}");
            chains.failed(stage.clone(), Failure::Unavailable("timeout".into()), None);
        }
        assert_eq!(chains.troubles()[&stage].reason, Reason::Unavailable);
        chains.failed(stage.clone(), Failure::Stale("changed".into()), None);
        assert_eq!(chains.troubles(), Troubles::new());
    }
}
