//! Why something waits, and what a person has to fix: facts only. The observer knows the objects' names and writes the text.

use std::time::Duration;

use crate::{InstanceName, Time};

/// Why a stage or a color is not yet where it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The name of the stage's Service is taken by an object that is not Rainbow's.
    ForeignService,
    /// The stage should serve a color that does not exist.
    ForMissingColor {
        /// The missing color.
        color: String,
    },
    /// The stage should serve a color that is being deleted.
    ForDeletedColor {
        /// The color that is being deleted.
        color: String,
    },
    /// The stage waits for a color that waits for a slot itself.
    ForColorWithoutSlot {
        /// The color without a slot.
        color: String,
    },
    /// The color that the stage should serve has no tier of the stage's name.
    ForMissingTier {
        /// The color without the tier.
        color: String,
        /// The tier that clients of the stage reach.
        tier: String,
    },
    /// The stage waits for pods of a color.
    ForColor {
        /// The color whose pods are not ready.
        color: String,
        /// What the color lacks, inner tiers first.
        lacks: Vec<Lack>,
    },
    /// The stage's `paused` is set.
    Paused,
    /// The color waits for its own pods.
    ForPods {
        /// What the color lacks, inner tiers first.
        lacks: Vec<Lack>,
    },
    /// As many colors live as `keep.live` allows.
    ForSlot,
    /// The color is being deleted, and stages still need it.
    HeldByStages {
        /// Names of the stages, in the order of the spec.
        stages: Vec<String>,
    },
    /// The color left its last stage and keeps all its pods as a way back.
    Settling,
    /// The color was asked to go, and the data plane may still send clients to it.
    ForDataPlane,
    /// Pods of the color have connections.
    ForConnections,
    /// The connections of some pods of the color are unknown, which counts as busy.
    ForUnknownConnections,
    /// Pods of the color are asked for their connections, and have not answered yet.
    ForCounts,
    /// No pod of the color has connections, and some have had none for less than `settle`.
    ForIdleTime,
    /// Pods of the color go, entry tiers first.
    ForCallers,
    /// The whole application is being deleted.
    ForDeletion,
}

/// What a color lacks in one of its tiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// No instance serves the tier.
    Instance {
        /// Name of the tier.
        tier: String,
    },
    /// Fewer pods are ready than wanted.
    Pods {
        /// Name of the tier.
        tier: String,
        /// Ready pods.
        ready: u32,
        /// Wanted pods.
        wanted: u32,
    },
}

/// Something that does not go on before a person fixes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Other tiers have the color's name already.
    ColorInUse {
        /// Name of the color.
        color: String,
    },
    /// A stage is pinned to a color that does not exist.
    UnknownColor {
        /// Name of the stage.
        stage: String,
        /// The missing color.
        color: String,
        /// The colors that exist, newest first.
        known: Vec<String>,
    },
    /// An object of a needed name is not Rainbow's.
    Foreign {
        /// What the object should be.
        object: Object,
    },
    /// A color did not become ready in time.
    Stalled {
        /// Name of the color.
        color: String,
        /// The progress deadline.
        after: Duration,
        /// What the color lacks, inner tiers first.
        lacks: Vec<Lack>,
    },
    /// A retire was asked for a color that a stage points at.
    InUse {
        /// Name of the color.
        color: String,
        /// Name of the stage.
        stage: String,
    },
    /// A color that a stage points at is being deleted.
    DeletingInUse {
        /// Name of the color.
        color: String,
        /// Name of the stage.
        stage: String,
    },
    /// The new color would introduce instances that exist with other contents.
    InstanceInUse {
        /// The color that cannot be made.
        color: String,
        /// The instance that it would introduce.
        instance: InstanceName,
        /// A color that has the instance.
        user: String,
    },
    /// As many colors live as `keep.live` allows.
    TooManyColors {
        /// The color that waits.
        color: String,
        /// The colors that live, newest first.
        living: Vec<Living>,
    },
}

/// An object that the planner asks for. The observer gives it its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// Deployment of an instance.
    Deployment(InstanceName),
    /// Service of an instance.
    Service(InstanceName),
    /// Service of a stage.
    StageService {
        /// Name of the stage.
        stage: String,
    },
    /// PodDisruptionBudget of the pods that hold connections.
    Guard,
}

/// A color that lives while another one waits for a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Living {
    /// Name of the color.
    pub color: String,
    /// Why the color lives.
    pub because: LivesBecause,
}

/// Why a color lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LivesBecause {
    /// Stages hold the color.
    Stages(Vec<String>),
    /// A stage that is no longer in the spec still has a Service that points at the color.
    RemovedStage,
    /// The spec names the color.
    Spec,
    /// The color drains.
    Drains {
        /// Connections of the pods whose connections are known.
        connections: u64,
        /// Pods that have connections.
        busy: u32,
        /// Pods of which nothing is known.
        unknown: u32,
        /// Since when nothing is known of the first of these.
        unknown_since: Option<Time>,
        /// When connections are cut; `None`: never.
        deadline: Option<Time>,
    },
    /// The color leaves, and its drain has not begun.
    Leaves,
}
