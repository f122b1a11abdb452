//! What an application is where nothing else is said, and a cluster where nothing has been made yet.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Connections, Drain, InstanceName, Keep, Mark, Memory, Pod, Presence, Reuse, Spec, Stage, Swap, Tier, Time, World,
};

impl Spec {
    /// An application with the policy that a Rainbow has where its spec says nothing.
    pub fn new(color: impl Into<String>, tiers: Vec<Tier>, stages: Vec<Stage>) -> Self {
        Self {
            color: color.into(),
            tiers,
            stages,
            drain: Drain { deadline: Duration::from_secs(86_400), settle: Duration::from_secs(30) },
            keep: Keep { live: 8, history: 3 },
            reuse: Reuse::default(),
            swap: Swap::default(),
            progress_deadline: Duration::from_secs(600),
            propagation: Duration::from_secs(1),
            deleting: false,
        }
    }
}

impl World {
    /// A cluster in which nothing of the application has been made yet.
    pub fn new(spec: Spec) -> Self {
        Self {
            spec,
            memory: Memory::default(),
            colors: Vec::new(),
            instances: BTreeMap::new(),
            stages: BTreeMap::new(),
            pods: Vec::new(),
            guard: Presence::Absent,
        }
    }
}

impl Pod {
    /// A pod that has been ready for ever, that no stage has had, and whose connections nobody counts.
    pub fn new(name: impl Into<String>, instance: InstanceName) -> Self {
        Self {
            name: name.into(),
            instance,
            ready: true,
            ready_since: Time(0),
            terminating: false,
            member: BTreeMap::new(),
            endpoint: BTreeMap::new(),
            left: BTreeMap::new(),
            connections: Connections::Uncounted,
            mark: Mark::None,
            marked: Time(0),
        }
    }
}
