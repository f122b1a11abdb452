//! Defaults: an application whose spec leaves out all policy, and a cluster in which nothing has been made yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    Connections, Controller, Drain, InstanceName, Keep, Mark, Memory, Place, Pod, Presence, Reuse, Spec, Stage, Swap,
    Tier, Time, Version, World,
};

impl Spec {
    /// Returns an application with the policy that a Rainbow has where its spec says nothing.
    pub fn new(color: impl Into<String>, tiers: Vec<Tier>, stages: Vec<Stage>) -> Self {
        Self {
            version: Version::default(),
            color: color.into(),
            tiers,
            stages,
            drain: Drain { deadline: Duration::from_secs(86_400), settle: Duration::from_secs(5) },
            keep: Keep { live: 8, history: 3, warm: Duration::from_secs(30) },
            config: BTreeSet::new(),
            reuse: Reuse::default(),
            swap: Swap::default(),
            progress_deadline: Duration::from_secs(600),
            propagation: Duration::from_secs(1),
            callers: Duration::ZERO,
            deleting: false,
        }
    }

    /// Returns the longest lag of those that send clients to pods behind the endpoints that the API shows: the cluster's own data
    /// plane, a load balancer in front of a stage, or the application's own callers.
    pub fn longest_lag(&self) -> Duration {
        let overlaps = self.stages.iter().filter_map(|stage| stage.overlap);
        overlaps.fold(self.propagation.max(self.callers), Duration::max)
    }
}

impl World {
    /// Returns a cluster in which nothing of the application has been made yet.
    pub fn new(spec: Spec) -> Self {
        Self {
            spec,
            memory: Memory::default(),
            colors: Vec::new(),
            instances: BTreeMap::new(),
            stages: BTreeMap::new(),
            pods: Vec::new(),
            guard: Presence::Absent,
            budgets: BTreeMap::new(),
            copies: BTreeMap::new(),
            checks: BTreeMap::new(),
        }
    }
}

impl Pod {
    /// Returns a pod that has been ready since the beginning of time, that no stage has had, and whose connections are not counted.
    pub fn new(name: impl Into<Arc<str>>, instance: InstanceName) -> Self {
        Self {
            name: name.into(),
            instance,
            controller: Controller::ReplicaSet,
            ready: true,
            ready_since: Time(0),
            listed: false,
            shadow: BTreeMap::new(),
            place: Place::In,
            terminating: false,
            member: BTreeMap::new(),
            endpoint: BTreeMap::new(),
            left: BTreeMap::new(),
            connections: Connections::Uncounted,
            mark: Mark::None,
            marked: Time(0),
            labelled: Time(0),
        }
    }
}
