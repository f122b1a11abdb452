//! What the planner answers.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ConfigName, Connections, Degraded, InstanceName, Mark, PartMemory, Problem, Selection, StageKey, Time, Waiting,
};

/// A plan: what to write now, what to report, and when to ask again if nothing happens before.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What to write, most urgent first. A chain depends on no other one: a chain that cannot be carried out stops itself alone.
    pub chains: Vec<Chain>,
    /// What to report. Nothing in it depends on whether the chains can be carried out.
    pub report: Report,
    /// When to plan again if the world does not change before. `None`: nothing is waited for.
    pub wake: Option<Time>,
    /// The instances whose pods' connections are to be counted from now on; all others are not asked, and what was known of
    /// them is forgotten.
    pub count: BTreeSet<InstanceName>,
    /// Pods that the instances of colors that live should have, where no other writer decides that.
    pub sizes: BTreeMap<InstanceName, u32>,
}

impl Plan {
    /// The actions of all chains.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.chains.iter().flat_map(|chain| &chain.actions)
    }
}

/// Actions that follow from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// What the chain is about.
    pub key: ChainKey,
    /// To be applied in this order. Each is idempotent; when one fails the rest is not applied, and a later plan resumes.
    pub actions: Vec<Action>,
}

/// What a chain is about. The order is that of urgency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChainKey {
    /// Moves or mends the Service of a stage, or deletes one.
    Stage(StageKey),
    /// Makes a color, and what the color has introduced; puts pods back that it needs again, and takes their marks off.
    Start(String),
    /// Makes or deletes the guard.
    Guard,
    /// Puts copies of configuration back, and deletes those that no color reads.
    Config,
    /// Makes or deletes the disruption budget of a stage.
    Budget(String),
    /// Takes out, marks, shrinks and deletes what the color has introduced, and the color.
    End(String),
    /// Lets the Rainbow go.
    Release,
}

impl ChainKey {
    /// The chain of a stage's present Service.
    pub fn stage(name: &str) -> Self {
        Self::Stage(StageKey::of(name))
    }

    /// Chains of a lower rank are carried out first.
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
    /// Make the `Color` of the spec's tiers.
    CreateColor {
        /// Its name.
        color: String,
        /// One above the highest there is.
        revision: i64,
        /// The instance that serves each tier, in the order of the spec's tiers.
        instances: Vec<(String, InstanceName)>,
        /// By stage: the tier that its clients reach, where the tiers do not tell.
        entries: BTreeMap<String, String>,
    },
    /// Copy an object with configuration, if it still has the content that the copy is named after.
    CreateCopy {
        /// Name of the copy.
        copy: ConfigName,
    },
    /// Delete a copy.
    DeleteCopy {
        /// Name of the copy.
        copy: ConfigName,
    },
    /// Make or mend an instance's Deployment, replicas included.
    ApplyDeployment {
        /// Whose.
        instance: InstanceName,
        /// Pods asked for.
        replicas: u32,
        /// The pods that this write lets go, by name, and why.
        ends: Vec<(String, Why)>,
    },
    /// Make or fix the autoscaler of an instance's Deployment.
    ApplyScaler {
        /// Name of the instance.
        instance: InstanceName,
        /// Pods that the autoscaler asks for at least.
        least: u32,
    },
    /// Delete the autoscaler of an instance's Deployment.
    DeleteScaler {
        /// Name of the instance.
        instance: InstanceName,
    },
    /// Delete the Deployment of an instance that drains, without its ReplicaSets and pods.
    OrphanDeployment {
        /// Name of the instance.
        instance: InstanceName,
    },
    /// Delete the ReplicaSets of an instance that has no Deployment.
    DeleteReplicaSets {
        /// Name of the instance.
        instance: InstanceName,
        /// Fate of their pods.
        cascade: Cascade,
    },
    /// Make the Rainbow the controller of a pod that has none.
    Adopt {
        /// Name of the pod.
        pod: String,
    },
    /// Take the Rainbow's controller reference off a pod, so that a ReplicaSet can adopt the pod.
    Disown {
        /// Name of the pod.
        pod: String,
    },
    /// Delete a pod whose controller is the Rainbow.
    EndPod {
        /// Name of the pod.
        pod: String,
        /// Reason.
        why: Why,
    },
    /// Make or mend an instance's Service.
    ApplyService {
        /// Whose.
        instance: InstanceName,
    },
    /// Make or mend a stage's Service, selector included.
    ApplyStage {
        /// Name of the stage.
        stage: String,
        /// What it shall select.
        selects: Selection,
        /// Color that the stage then serves; in a shift, the color that it comes from.
        serves: Option<String>,
    },
    /// Make a stage's shadow Service, which selects the stage's members, or take back what another writer has made of it.
    ApplyShadow {
        /// Name of the stage.
        stage: String,
    },
    /// Put the stage's membership label, and the time, on a pod.
    Join {
        /// Name of the stage.
        stage: String,
        /// Name of the pod.
        pod: String,
    },
    /// Take the stage's membership label off a pod.
    Leave {
        /// Name of the stage.
        stage: String,
        /// Name of the pod.
        pod: String,
    },
    /// Take a pod out of all Services, and write the time on it: its instance becomes smaller.
    TakeOut {
        /// Name of the pod.
        pod: String,
    },
    /// Put a pod that was taken out back into the Services of its instance.
    PutBack {
        /// Name of the pod.
        pod: String,
    },
    /// Mark a pod that goes or that holds connections, or take its mark off.
    Mark {
        /// Name of the pod.
        pod: String,
        /// What it shall be marked as.
        mark: Mark,
    },
    /// Make or mend the PodDisruptionBudget of the pods that are marked as held.
    ApplyGuard,
    /// Delete it: no pod is held.
    DeleteGuard,
    /// Make or fix the PodDisruptionBudget of the members of a stage that is held in the middle of a shift.
    ApplyBudget {
        /// Name of the stage.
        stage: String,
        /// Members that have to stay.
        least: u32,
    },
    /// Delete it.
    DeleteBudget {
        /// Name of the stage.
        stage: String,
    },
    /// Take back what was asked about a color's end, `retire` and its deadline: it was out of every stage, and a stage is
    /// pointed at it again.
    ClearRetire {
        /// Its name.
        color: String,
    },
    /// Delete the Service of a stage that is no longer in the spec, one that the stage had under another name, or its shadow.
    DeleteStage {
        /// The Service.
        stage: StageKey,
    },
    /// Delete an instance's Service and Deployment.
    DeleteInstance {
        /// Whose.
        instance: InstanceName,
    },
    /// Delete the `Color`, and let it go if it is being deleted.
    DeleteColor {
        /// Its name.
        color: String,
    },
    /// All is gone: let the Rainbow itself go.
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

/// Why a pod may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It has had no connection for `settle`.
    Idle,
    /// The deadline has passed, or the color was deleted: what it still holds is cut.
    Deadline,
    /// Nobody counts its connections, and it has had its time.
    Time,
    /// No stage ever sent a client to its color.
    NeverServed,
}

/// What to report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// One entry a stage, in the order of the spec.
    pub stages: Vec<StageReport>,
    /// One entry a color, newest first.
    pub colors: Vec<ColorReport>,
    /// Everything that stands in the way. Empty: all is well or under way.
    pub problems: Vec<Problem>,
    /// The color that the spec describes, or described last.
    pub described: Option<String>,
    /// Something is under way.
    pub progressing: bool,
}

/// Whether a stage is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldReport {
    /// It is.
    Holds,
    /// A later color has ended the hold of this identity; a pause that is part of it goes on.
    Ended {
        /// [`crate::Hold::id`].
        id: String,
    },
}

/// What to report of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// The color it serves; during a shift, the one it comes from.
    pub color: Option<String>,
    /// The color it shall serve.
    pub target: Option<String>,
    /// The color it served before.
    pub previous: Option<String>,
    /// Since when it serves `color`.
    pub since: Option<Time>,
    /// The shift under way.
    pub shift: Option<ShiftReport>,
    /// The color that the stage serves or moves to, where it has not been healthy without a break.
    pub degraded: Option<Degraded>,
    /// The color that it has been taken back from.
    pub rejected: Option<String>,
    /// What becomes of the hold that the spec has for the stage.
    pub hold: Option<HoldReport>,
    /// Why it does not move although it should.
    pub waiting: Option<Waiting>,
    /// The tiers that its callers reach through an address of their own, inner tiers first.
    pub tiers: Vec<TierReport>,
}

/// What to report of a tier that moves on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierReport {
    /// Its name.
    pub tier: String,
    /// Where it is. The name in it is that of its address.
    pub report: StageReport,
}

/// What to report of a shift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShiftReport {
    /// The color it comes from.
    pub from: String,
    /// The color it goes to.
    pub to: String,
    /// Where it is.
    pub phase: ShiftPhase,
    /// Ready pods of the new color that serve.
    pub moved: u32,
    /// Pods the stage wants to have.
    pub of: u32,
    /// When it began.
    pub started: Time,
    /// When the next step is due.
    pub next_step: Option<Time>,
}

/// Where a shift is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShiftPhase {
    /// The new color is brought to the stage's full size.
    Preparing,
    /// Pods are exchanged.
    Shifting,
    /// Held by `paused`, or because the stage is invalid.
    Paused,
    /// All pods are exchanged; the Service goes back to selecting the instance.
    Finishing,
}

/// What to report of a color.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColorReport {
    /// Its name.
    pub name: String,
    /// Where in its life it is.
    pub phase: ColorPhase,
    /// Ready pods over all its tiers.
    pub ready: u32,
    /// Wanted pods over all its tiers.
    pub wanted: u32,
    /// The stages that point at it or move to or from it.
    pub stages: Vec<String>,
    /// When it left its last stage.
    pub released: Option<Time>,
    /// When it was retired.
    pub retired: Option<Time>,
    /// By stage: the tier that its clients reach, where that is another than the color's only entry tier.
    pub entries: BTreeMap<String, String>,
    /// Its last stage was moved away from it, and the spec has described it ever since.
    pub demoted: bool,
    /// Pods per tier at full size, where that is another size than the snapshot's; of a tier that others scale, the pods that the color began to
    /// serve with.
    pub sizes: BTreeMap<String, u32>,
    /// The stages that have sent clients to it. `None`: that is unknown.
    pub served: Option<BTreeSet<String>>,
    /// Connections of its pods as they were counted last; `None` where none are counted now.
    pub connections: Option<u64>,
    /// What its drain waits for; `None` where it does not drain.
    pub drain: Option<DrainReport>,
    /// Why it is where it is.
    pub waiting: Option<Waiting>,
    /// Its parts that belong to stages.
    pub parts: Vec<PartMemory>,
}

/// What to report of a drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// When the color left its last stage.
    pub since: Time,
    /// When its connections are cut; `None`: never. Where none are counted, that is when it has had its time.
    pub deadline: Option<Time>,
    /// Pods whose connections it waits for.
    pub pods: u32,
    /// Those of them of which nothing is known.
    pub unknown: u32,
    /// Since when nothing is known of the first of those.
    pub unknown_since: Option<Time>,
    /// What holds it: at most [`MAX_HOLDERS`] pods, those of which nothing is known first, then those with most connections.
    pub holders: Vec<Holder>,
}

impl DrainReport {
    /// A drain that no pod holds so far.
    pub(crate) fn new(since: Time, deadline: Option<Time>) -> Self {
        Self { since, deadline, pods: 0, unknown: 0, unknown_since: None, holders: Vec::new() }
    }
}

/// As many holders as are reported.
pub const MAX_HOLDERS: usize = 10;

/// A pod that a drain waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub pod: String,
    /// Its tier.
    pub tier: String,
    /// What is known of its connections.
    pub connections: Connections,
}

/// Where in its life a color is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorPhase {
    /// Its pods are on their way.
    Starting,
    /// All pods ready, in no stage yet.
    Ready,
    /// A stage points at it.
    Serving,
    /// Out of every stage, kept until its connections have ended.
    Draining,
    /// No pods; kept as history.
    Retired,
    /// It did not become ready within the progress deadline.
    Stalled,
}
