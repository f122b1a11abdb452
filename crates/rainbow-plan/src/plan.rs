//! Output of the planner.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Check, ConfigName, Connections, Degraded, InstanceName, Mark, PartMemory, Problem, RejectedBy, Rejection,
    Selection, StageKey, StepMemory, Time, Waiting,
};

/// Answer of the planner: what to write now, what to report, and when to plan again if nothing changes before.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Writes, most urgent first. A chain depends on no other chain: a chain that cannot be carried out stops only itself.
    pub chains: Vec<Chain>,
    /// Content of the next statuses. Nothing in it depends on whether the chains can be carried out.
    pub report: Report,
    /// Time to plan again if the world does not change before. `None`: the plan waits for no time.
    pub wake: Option<Time>,
    /// Instances whose pods' connections must be counted from now on. The observer asks no other pods, and forgets what was known
    /// of them.
    pub count: BTreeSet<InstanceName>,
    /// Checks that must be made, or whose outcome is still needed, and since when measurements count: the stage's change has reached its
    /// clients. The observer makes no other checks, and forgets the outcomes of others.
    pub checks: BTreeMap<Check, Time>,
    /// Pods that the instances of living colors should have, where no other writer decides that.
    pub sizes: BTreeMap<InstanceName, u32>,
}

impl Plan {
    /// Returns the actions of all chains.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.chains.iter().flat_map(|chain| &chain.actions)
    }
}

/// Actions that follow from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Subject of the chain.
    pub key: ChainKey,
    /// Actions, to be applied in this order. Each is idempotent. When one fails, the rest is not applied, and a later plan
    /// resumes.
    pub actions: Vec<Action>,
}

/// Subject of a chain. The order of the variants is that of urgency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChainKey {
    /// Moves or fixes the Service of a stage, or deletes one.
    Stage(StageKey),
    /// Makes a color and what the color has introduced; puts back pods that the color needs again, and takes their marks off.
    Start(String),
    /// Makes or deletes the guard.
    Guard,
    /// Restores copies of configuration, and deletes those that no color reads.
    Config,
    /// Makes or deletes the disruption budget of a stage.
    Budget(String),
    /// Takes out, marks, shrinks and deletes what the color has introduced, and deletes the color.
    End(String),
    /// Releases the Rainbow for deletion.
    Release,
}

impl ChainKey {
    /// Returns the key of the chain of a stage's present Service.
    pub fn stage(name: &str) -> Self {
        Self::Stage(StageKey::of(name))
    }

    /// Returns the rank of the chain. Chains of a lower rank are carried out first.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::Stage(_) => 0,
            Self::Start(_) => 1,
            Self::Guard | Self::Config | Self::Budget(_) => 2,
            Self::End(_) => 3,
            Self::Release => 4,
        }
    }
}

/// One idempotent write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Makes the `Color` of the spec's tiers.
    CreateColor {
        color: String,
        /// Revision of the color: one above the highest there is.
        revision: i64,
        /// Instance that serves each tier, in the order of the spec's tiers.
        instances: Vec<(String, InstanceName)>,
        /// Tier that the clients of each stage reach, by name of the stage, where the tiers do not tell.
        entries: BTreeMap<String, String>,
    },
    /// Copies an object that holds configuration, if it still has the content that the copy is named after.
    CreateCopy { copy: ConfigName },
    /// Deletes a copy.
    DeleteCopy { copy: ConfigName },
    /// Makes or fixes an instance's Deployment, replicas included.
    ApplyDeployment {
        instance: InstanceName,
        /// Pods that the Deployment asks for.
        replicas: u32,
        /// Pods that this write ends, by name, and why.
        ends: Vec<(String, Why)>,
    },
    /// Makes or fixes the autoscaler of an instance's Deployment.
    ApplyScaler {
        instance: InstanceName,
        /// Pods that the autoscaler asks for at least.
        least: u32,
    },
    /// Deletes the autoscaler of an instance's Deployment.
    DeleteScaler { instance: InstanceName },
    /// Deletes the Deployment of an instance that drains, without its ReplicaSets and pods.
    OrphanDeployment { instance: InstanceName },
    /// Deletes the ReplicaSets of an instance that has no Deployment.
    DeleteReplicaSets {
        instance: InstanceName,
        /// Fate of their pods.
        cascade: Cascade,
    },
    /// Makes the Rainbow the controller of a pod that has none.
    Adopt { pod: String },
    /// Takes the Rainbow's controller reference off a pod, so that a ReplicaSet can adopt the pod.
    Disown { pod: String },
    /// Deletes a pod whose controller is the Rainbow.
    EndPod {
        pod: String,
        /// Reason why the pod may end.
        why: Why,
    },
    /// Makes or fixes an instance's Service.
    ApplyService { instance: InstanceName },
    /// Makes or fixes a stage's Service, selector included.
    ApplyStage {
        stage: String,
        /// Selector that the Service should have.
        selects: Selection,
        /// Color that the stage then serves; in a shift, the color that the stage comes from.
        serves: Option<String>,
    },
    /// Makes a stage's shadow Service, which selects the stage's members, or reverts another writer's change of it.
    ApplyShadow { stage: String },
    /// Puts the stage's membership label, and the time, on a pod.
    Join { stage: String, pod: String },
    /// Takes the stage's membership label off a pod.
    Leave { stage: String, pod: String },
    /// Takes a pod out of all Services, and writes the time on it: its instance becomes smaller.
    TakeOut { pod: String },
    /// Puts a pod that was taken out back into the Services of its instance.
    PutBack { pod: String },
    /// Marks a pod that is to end or that holds connections, or takes its mark off.
    Mark {
        pod: String,
        /// Mark that the pod should carry.
        mark: Mark,
    },
    /// Makes or fixes the PodDisruptionBudget of the pods that are marked as held.
    ApplyGuard,
    /// Deletes the PodDisruptionBudget of held pods: no pod is held.
    DeleteGuard,
    /// Makes or fixes the PodDisruptionBudget of the members of a stage that is held in the middle of a shift.
    ApplyBudget {
        stage: String,
        /// Members that must stay.
        least: u32,
    },
    /// Deletes the PodDisruptionBudget of a stage.
    DeleteBudget { stage: String },
    /// Clears what a user has asked about a color's end: `retire` and its deadline. The color was out of every stage, and a stage
    /// is pointed at it again.
    ClearRetire { color: String },
    /// Deletes the Service of a stage that is no longer in the spec, one that the stage had under another name, or its shadow.
    DeleteStage {
        /// Key of the Service.
        stage: StageKey,
    },
    /// Deletes an instance's Service and Deployment.
    DeleteInstance { instance: InstanceName },
    /// Deletes the `Color`, and removes its finalizer if it is being deleted.
    DeleteColor { color: String },
    /// Releases the Rainbow itself: all else is gone.
    Release,
}

/// Fate of the dependents of an object that is deleted, as `kubectl delete --cascade` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cascade {
    /// The dependents stay, without an owner.
    Orphan,
    /// The garbage collector deletes them.
    Background,
}

/// Reason why a pod may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The pod has had no connection for `settle`.
    Idle,
    /// The deadline has passed, or the color was deleted: the connections that the pod still has are cut.
    Deadline,
    /// The connections of the pod are not counted, and it has had its time.
    Time,
    /// No stage ever sent a client to the pod's color.
    NeverServed,
}

/// Facts for the statuses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Reports of the stages, in the order of the spec.
    pub stages: Vec<StageReport>,
    /// Reports of the colors, newest first.
    pub colors: Vec<ColorReport>,
    /// Everything that a user has to fix. Empty: all is well or under way.
    pub problems: Vec<Problem>,
    /// Color that the spec describes, or described last.
    pub described: Option<String>,
    /// A change is under way.
    pub progressing: bool,
}

/// State of the hold that the spec has for a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldReport {
    /// The hold is in force.
    Holds,
    /// A later color has ended the hold of this identity. A pause that is part of the hold goes on.
    Ended {
        /// Identity of the hold: [`crate::Hold::id`].
        id: String,
    },
}

/// Report of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageReport {
    pub name: String,
    /// Color that the stage serves; during a shift, the color that it comes from.
    pub color: Option<String>,
    /// Color that the stage should serve.
    pub target: Option<String>,
    /// Color that the stage served before.
    pub previous: Option<String>,
    /// Time since which the stage serves `color`.
    pub since: Option<Time>,
    /// Shift that is under way.
    pub shift: Option<ShiftReport>,
    /// Color that the stage serves or moves to, where it has not been healthy without a break.
    pub degraded: Option<Degraded>,
    /// Color that the stage has been taken back from.
    pub rejected: Option<Rejection>,
    /// Color that has passed the gates of [`Gates::after`](crate::Gates::after).
    pub approved: Option<String>,
    /// State of the hold that the spec has for the stage.
    pub hold: Option<HoldReport>,
    /// Reason why the stage does not move although it should.
    pub waiting: Option<Waiting>,
    /// Tiers that the stage's callers reach through an address of their own, inner tiers first.
    pub tiers: Vec<TierReport>,
}

/// Report of a tier that moves on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierReport {
    pub tier: String,
    /// Report of the tier's address. The name in it is that of the address.
    pub report: StageReport,
}

/// Report of a shift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShiftReport {
    /// Color that the shift comes from.
    pub from: String,
    /// Color that the shift goes to.
    pub to: String,
    /// Phase of the shift.
    pub phase: ShiftPhase,
    /// Ready pods of the new color that serve.
    pub moved: u32,
    /// Pods that the stage wants to have.
    pub of: u32,
    /// Time when the shift began.
    pub started: Time,
    /// Time when the next step is due.
    pub next_step: Option<Time>,
    /// Place of the shift in its steps.
    pub step: StepMemory,
    /// Number of steps that the shift has. 0: the stage moves in another way.
    pub steps: u32,
}

/// Phase of a shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShiftPhase {
    /// The new color is brought to the stage's full size.
    Preparing,
    /// Pods are exchanged.
    Shifting,
    /// `paused`, or an invalid spec of the stage, holds the shift.
    Paused,
    /// The shift waits at a step or for a gate.
    Waiting,
    /// All pods are exchanged; the Service goes back to selecting the instance.
    Finishing,
}

/// Report of a color.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColorReport {
    pub name: String,
    /// Phase of the color's life.
    pub phase: ColorPhase,
    /// Ready pods over all tiers of the color.
    pub ready: u32,
    /// Wanted pods over all tiers of the color.
    pub wanted: u32,
    /// Stages that point at the color or move to or from it.
    pub stages: Vec<String>,
    /// Time when the color left its last stage.
    pub released: Option<Time>,
    /// Time when the color was retired.
    pub retired: Option<Time>,
    /// Tier that the clients of each stage reach, by name of the stage, where that is another than the color's only entry tier.
    pub entries: BTreeMap<String, String>,
    /// The color's last stage was moved away from it, and the spec has described the color ever since.
    pub demoted: bool,
    /// Pods per tier at full size, where that is another size than the snapshot's. For a tier that another writer scales: pods
    /// with which the color began to serve.
    pub sizes: BTreeMap<String, u32>,
    /// Stages that have sent clients to the color. `None`: unknown.
    pub served: Option<BTreeSet<String>>,
    /// Gate that has rejected the color.
    pub rejected_by: Option<RejectedBy>,
    /// Connections of the color's pods at the last count; `None` where none are counted now.
    pub connections: Option<u64>,
    /// Pods and times that the color's drain waits for; `None` where it does not drain.
    pub drain: Option<DrainReport>,
    /// Reason why the color is where it is.
    pub waiting: Option<Waiting>,
    /// Parts of the color that belong to stages.
    pub parts: Vec<PartMemory>,
}

/// Report of a drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Time when the color left its last stage.
    pub since: Time,
    /// Time when connections are cut; `None`: never. Where none are counted, the time when the color has had its time.
    pub deadline: Option<Time>,
    /// Pods whose connections the drain waits for.
    pub pods: u32,
    /// Pods among these whose connections are unknown.
    pub unknown: u32,
    /// Earliest time since which the connections of one of these are unknown.
    pub unknown_since: Option<Time>,
    /// Pods that hold the drain: at most [`MAX_HOLDERS`]. Pods whose connections are unknown come first, then those with most
    /// connections.
    pub holders: Vec<Holder>,
}

impl DrainReport {
    /// Returns the report of a drain that no pod holds so far.
    pub(crate) fn new(since: Time, deadline: Option<Time>) -> Self {
        Self { since, deadline, pods: 0, unknown: 0, unknown_since: None, holders: Vec::new() }
    }
}

/// Most holders that are reported.
pub const MAX_HOLDERS: usize = 10;

/// Pod that a drain waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub pod: String,
    pub tier: String,
    /// Evidence of the pod's connections.
    pub connections: Connections,
}

/// Phase of a color's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorPhase {
    /// The pods of the color are starting.
    Starting,
    /// All pods are ready, and no stage has the color yet.
    Ready,
    /// A stage points at the color.
    Serving,
    /// No stage has the color; it stays until its connections have ended.
    Draining,
    /// The color has no pods; it is kept as history.
    Retired,
    /// The color did not become ready within the progress deadline.
    Stalled,
}
