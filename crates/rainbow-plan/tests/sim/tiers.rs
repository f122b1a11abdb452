//! Order of tiers, checked at every moment: a caller that is newer than its callee never serves.

use rainbow_plan::*;

use super::*;

/// Ages of instances, and edits that other writers have made to addresses.
#[derive(Clone, Default)]
pub struct Ages {
    /// Revisions of the oldest and of the newest color that has ever had a version of a tier. The end of a color that shares the
    /// pods does not change what they can call.
    ever: BTreeMap<InstanceName, (i64, i64)>,
    /// Callees of a version of a tier that may be newer.
    calls: BTreeMap<InstanceName, Vec<String>>,
    /// Addresses whose selector another writer has edited, and when Rainbow has reverted that; `i64::MAX` until then. Some node
    /// may act on the edit a while longer.
    selected: BTreeMap<String, i64>,
    /// The same for pods, by address, on which another writer has put the label of that address.
    labelled: BTreeMap<(String, String), i64>,
    /// Pods that got clients by such an edit, until these have gone.
    reached: BTreeSet<String>,
}

/// Time from a write of Rainbow's until no node acts on what was before.
const FORGOTTEN: i64 = 2 * PROPAGATION;

impl Ages {
    /// Records that a color has been made.
    pub(super) fn created(&mut self, color: &Color) {
        for instance in color.instances.values() {
            let tier = color.tiers.iter().find(|tier| tier.name == *instance.tier);
            let calls = tier.map(|tier| tier.calls.clone()).unwrap_or_default();
            self.calls.entry(instance.clone()).or_insert(calls);
            let known = self.ever.entry(instance.clone()).or_insert((color.revision, color.revision));
            *known = (known.0.min(color.revision), known.1.max(color.revision));
        }
    }

    /// Records that another writer has edited the selector of an address.
    pub(super) fn selected_by_hand(&mut self, address: &str) {
        self.selected.insert(address.to_owned(), i64::MAX);
    }

    /// Records that another writer has put the label of an address on a pod.
    pub(super) fn labelled_by_hand(&mut self, address: &str, pod: &str) {
        self.labelled.insert((address.to_owned(), pod.to_owned()), i64::MAX);
    }

    /// Records that Rainbow has written the selector of an address.
    pub(super) fn taken_back(&mut self, address: &str, now: i64) {
        if let Some(until) = self.selected.get_mut(address).filter(|until| **until == i64::MAX) {
            *until = now;
        }
    }
}

impl Sim {
    /// Returns whether the set has the instance, or, without a stage, the instances of all stages.
    pub(super) fn is_one_of(&self, all: &BTreeSet<InstanceName>, instance: &InstanceName) -> bool {
        all.contains(instance) || all.contains(&InstanceName { stage: None, ..instance.clone() })
    }

    /// Checks that no caller that may get clients may reach a callee that is older.
    pub(super) fn check_tiers(&mut self) {
        if !self.watches(Rule::Tiers) || !self.checking || self.pods.keys().all(|pod| !pod.contains('@')) {
            return;
        }
        self.follow_edits();
        for caller in self.callers() {
            let stage = caller.stage.as_deref().unwrap_or_default();
            let (oldest, _) = self.age(&caller);
            for tier in self.ages.calls.get(&InstanceName { stage: None, ..caller.clone() }).into_iter().flatten() {
                let address = inner_name(stage, tier);
                for (pod, callee) in self.pods.iter().filter(|(pod, _)| self.leads(&address, pod)) {
                    let (_, newest) = self.age(&callee.instance);
                    self.require(Rule::Tiers, newest >= oldest, || {
                        let (caller, callee) = (spec::show(&caller), &callee.instance);
                        format!(
                            "{caller} (#{oldest}) serves, and may reach {pod} of {callee:?} (#{newest}) by {address}"
                        )
                    });
                }
            }
        }
    }

    /// Returns whether clients use the Service of the stage, or, for an inner address, whether pods that call its tier exist or
    /// are about to.
    pub(super) fn is_used(&self, address: &str) -> bool {
        let Some((user, called)) = address.split_once('.') else { return true };
        let calls = |instance: &InstanceName| {
            let tier = || self.tier_of(instance);
            instance.stage.as_deref() == Some(user)
                && tier().is_none_or(|tier| tier.calls.iter().any(|call| call == called))
        };
        let asked = self.deps.iter().filter(|(_, dep)| !dep.foreign && dep.replicas > 0);
        asked.map(|(instance, _)| instance).chain(self.pods.values().map(|pod| &pod.instance)).any(calls)
    }

    /// Returns the instances of stages whose pods may get clients, or have some.
    fn callers(&self) -> BTreeSet<InstanceName> {
        let addresses: BTreeSet<&String> = self.endpoints.keys().chain(self.past.keys()).collect();
        let is_reached = |name: &String| addresses.iter().any(|address| self.leads(address, name));
        let has_clients = |name: &String, pod: &SimPod| pod.connections > 0 && !self.ages.reached.contains(name);
        let own = self.pods.iter().filter(|(_, pod)| pod.instance.stage.is_some());
        let serves = own.filter(|(name, pod)| is_reached(name) || has_clients(name, pod));
        let mut all: BTreeSet<InstanceName> = BTreeSet::new();
        let mut next: Vec<InstanceName> = serves.map(|(_, pod)| pod.instance.clone()).collect();
        while let Some(instance) = next.pop() {
            if !all.insert(instance.clone()) {
                continue;
            }
            // Callees in the same color get clients through their callers.
            let stage = instance.stage.as_deref().unwrap_or_default();
            for color in self.owners(&instance) {
                let tier = color.tiers.iter().filter(|tier| tier.name == *instance.tier);
                let called = tier.flat_map(|tier| &tier.needs).filter_map(|need| spec::in_stage(color, need, stage));
                next.extend(
                    called.filter(|called| {
                        called.stage.is_some() && self.pods.values().any(|pod| pod.instance == *called)
                    }),
                );
            }
        }
        all
    }

    /// Returns the tier of an instance, as in the oldest color that has it.
    fn tier_of(&self, instance: &InstanceName) -> Option<&Tier> {
        let owners = self.colors.values().filter(|color| spec::has(color, instance));
        let oldest = owners.min_by_key(|color| color.revision)?;
        oldest.tiers.iter().find(|tier| tier.name == *instance.tier)
    }

    /// Returns the revisions of the oldest and of the newest color that has ever had the instance.
    fn age(&self, instance: &InstanceName) -> (i64, i64) {
        let ever = self.ages.ever.get(&InstanceName { stage: None, ..instance.clone() });
        ever.copied().unwrap_or_default()
    }

    /// Returns whether some node may send clients of the address to the pod, for another reason than an edit of another writer.
    fn leads(&self, address: &str, pod: &str) -> bool {
        self.may_receive(address, pod)
            && !self.ages.selected.contains_key(address)
            && !self.ages.labelled.contains_key(&(address.to_owned(), pod.to_owned()))
    }

    /// Forgets edits that were reverted when every node has seen that, and their clients when these have gone.
    fn follow_edits(&mut self) {
        if self.ages.selected.is_empty() && self.ages.labelled.is_empty() && self.ages.reached.is_empty() {
            return;
        }
        let mut ages = std::mem::take(&mut self.ages);
        let lag = |address: &str| FORGOTTEN + self.data_plane_lag(address);
        for ((address, pod), until) in ages.labelled.iter_mut().filter(|(_, until)| **until == i64::MAX) {
            if self.pods.get(pod).is_none_or(|pod| !pod.member.contains_key(address)) {
                *until = self.now + self.label_lag + lag(address);
            }
        }
        let by_edit = |address: &String, pod: &String| self.may_receive(address, pod);
        for address in ages.selected.keys() {
            ages.reached.extend(self.pods.keys().filter(|pod| by_edit(address, pod)).cloned());
        }
        ages.reached.extend(ages.labelled.keys().map(|(_, pod)| pod.clone()));
        let now = self.now;
        ages.selected.retain(|address, at| *at == i64::MAX || now <= at.saturating_add(lag(address)));
        ages.labelled.retain(|_, until| now <= *until);
        let has_clients = |pod: &String| self.pods.get(pod).is_some_and(|pod| pod.connections > 0);
        let is_edited = |pod: &String| {
            ages.selected.keys().any(|address| self.may_receive(address, pod))
                || ages.labelled.keys().any(|(_, labelled)| labelled == pod)
        };
        let kept = ages.reached.iter().filter(|pod| has_clients(pod) || is_edited(pod)).cloned().collect();
        ages.reached = kept;
        self.ages = ages;
    }
}
