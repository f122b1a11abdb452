//! Reasons why something waits, and problems that a user has to fix: facts only. The observer knows the objects' names and writes
//! the text.

use std::time::Duration;

use crate::{Check, CheckOutcome, ConfigName, InstanceName, Time};

/// Reason why a stage or a color is not yet where it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// An object that is not Rainbow's has the name of the stage's Service.
    ForeignService,
    /// The stage should serve a color that does not exist.
    ForMissingColor { color: String },
    /// The stage should serve a color that is being deleted.
    ForDeletedColor { color: String },
    /// The stage waits for a color that itself waits for a slot.
    ForColorWithoutSlot { color: String },
    /// The color that the stage should serve has no tier of the stage's name.
    ForMissingTier {
        color: String,
        /// Tier that clients of the stage should reach. `None`: the spec names none, and the color has several entry tiers.
        tier: Option<String>,
    },
    /// The stage waits for pods of a color.
    ForColor {
        color: String,
        /// Objects that the color lacks, inner tiers first.
        lacks: Vec<Shortfall>,
    },
    /// The stage waits until a tier that its pods call has moved to the color.
    ForTier {
        tier: String,
        color: String,
        /// The tier has been taken back from the color.
        is_rejected: bool,
    },
    /// The tier waits until pods that call it have ended: these pods are newer than the color that the tier should go to.
    ForNewerCallers {
        /// Name of the tier that has the newer pods.
        tier: String,
        /// Color that introduced the newer pods.
        color: String,
    },
    /// A tier has moved, and the stage waits before the tiers that call it follow.
    BetweenTiers {
        /// Name of the tier that has moved.
        tier: String,
        color: String,
        /// Time when the stage goes on by itself. `None`: the stage waits for a user.
        until: Option<Time>,
    },
    /// The shift waits at a step that is a pause.
    AtPause {
        /// Index of the step.
        index: u32,
        color: String,
        /// Time when the stage goes on by itself. `None`: the stage waits for a user.
        until: Option<Time>,
    },
    /// The stage waits for a gate.
    ForGate {
        check: Check,
        /// Outcome that keeps the stage waiting. `None`: the gate is being measured.
        outcome: Option<CheckOutcome>,
    },
    /// The next step of the stage waits until pods of the old color end: as many pods run as the surge allows.
    ForRoom {
        /// Color that the stage comes from.
        color: String,
    },
    /// The stage's `paused` is set.
    Paused,
    /// The stage would follow the newest color, but its `color` pins it to another one.
    Pinned {
        /// Color that the stage is pinned to.
        color: String,
        /// Newest color.
        newest: String,
    },
    /// The spec of the stage is invalid.
    ForValidStage,
    /// An autoscaler of another owner decides how many pods a tier of the color has.
    Scaled { tier: String, scaler: String },
    /// The stage has all pods of the color that it moves to. These are fewer than the stage should have, because another writer
    /// scales the color.
    ForScaler {
        color: String,
        /// Pods of the color that serve.
        moved: u32,
        /// Pods that the stage wants to have.
        wanted: u32,
    },
    /// The color waits for its own pods.
    ForPods {
        /// Objects that the color lacks, inner tiers first.
        lacks: Vec<Shortfall>,
    },
    /// The number of living colors is what `keep.live` allows.
    ForSlot {
        /// Colors that live, newest first.
        living: Vec<LivingColor>,
    },
    /// The color is being deleted, and stages still need it.
    HeldByStages {
        /// Names of the stages, in the order of the spec.
        stages: Vec<String>,
    },
    /// The color left its last stage and keeps all its pods as a way back.
    WholeForReturn,
    /// The color left its last stage and keeps all its pods as the way back of a stage, until the color that took its place is known to
    /// be healthy.
    KeptWarm {
        stage: String,
        /// Color that took the place of the kept one.
        color: String,
        /// The color that took its place lacks pods now.
        is_unhealthy: bool,
    },
    /// The color left its last stage and keeps all its pods as the way back of a stage, until the color that took its place has passed the
    /// gates that are measured after a shift.
    KeptForGates {
        stage: String,
        /// Color that took the place of the kept one.
        color: String,
    },
    /// The stage has been taken back from the color that the spec asks for, because that color was unhealthy or a gate failed.
    RolledBack {
        /// Color that was rejected.
        color: String,
        /// Gate that has failed. `None`: the color was unhealthy.
        gate: Option<String>,
    },
    /// A user asked to retire the color, and the data plane may still send clients to it.
    ForDataPlane,
    /// Pods of the color have connections.
    ForConnections,
    /// The connections of some pods of the color are unknown. Unknown counts as busy.
    ForUnknownConnections,
    /// Pods of the color are asked for their connections, and have not answered yet.
    ForCounts,
    /// No pod of the color has connections, and some have had none for less than `settle`.
    ForIdleTime,
    /// Pods of the color end, entry tiers first.
    ForCallers,
    /// The color has more pods than it should have, and is becoming smaller.
    ForFewerPods {
        /// Pods that were taken out of their Services and hold connections, or may: at most [`MAX_HOLDERS`], by name.
        ///
        /// [`MAX_HOLDERS`]: crate::MAX_HOLDERS
        holders: Vec<String>,
    },
    /// The color has more pods than it should have, but an older version made it: no single pod can be taken out of its Services.
    CannotShrink {
        tier: String,
        /// Pods that the tier has.
        pods: u32,
        /// Pods that the tier should have.
        wanted: u32,
    },
    /// The whole application is being deleted.
    ForDeletion,
}

/// Lack of a color in one of its tiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// No instance serves the tier.
    Instance { tier: String },
    /// Fewer pods are ready than wanted.
    Pods {
        tier: String,
        /// Ready pods.
        ready: u32,
        /// Wanted pods.
        wanted: u32,
    },
    /// Enough pods are ready, but fewer than wanted have been ready for as long as the tier asks.
    MinReady {
        tier: String,
        /// Pods that have been ready for long enough.
        available: u32,
        /// Wanted pods.
        wanted: u32,
        /// Time for which a pod must be ready.
        min_ready: Duration,
    },
}

/// Problem that blocks something until a user fixes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Other tiers already have the color's name.
    ColorInUse {
        color: String,
        /// Objects with configuration whose content differs from the color's copies. Empty: the tiers differ.
        config: Vec<ConfigName>,
    },
    /// A copy that a color reads is gone or has another content, and cannot be made again: the object that was copied has changed.
    CopyLost {
        color: String,
        copy: ConfigName,
        /// Object that was copied.
        source: ConfigName,
    },
    /// A stage is pinned to a color that does not exist.
    UnknownColor {
        stage: String,
        /// Color that does not exist.
        color: String,
        /// Colors that exist, newest first.
        known: Vec<String>,
    },
    /// An object with a name that is needed is not Rainbow's.
    Foreign {
        /// Purpose that the object should have.
        object: Object,
    },
    /// A color did not become ready in time.
    Stalled {
        color: String,
        /// Progress deadline of the spec.
        after: Duration,
        /// Objects that the color lacks, inner tiers first.
        lacks: Vec<Shortfall>,
    },
    /// The color that a stage serves has lacked pods for the progress deadline, or again and again.
    Degraded {
        stage: String,
        /// Color that serves.
        color: String,
        /// Time since which the color is degraded.
        since: Time,
        /// Tiers in which the color lacks pods now, inner ones first. Empty: no tier lacks pods at this moment.
        lacks: Vec<Shortfall>,
        /// Color that the stage served before, if its pods are still there.
        previous: Option<String>,
    },
    /// A stage has been taken back from the color that the spec asks for, because that color was unhealthy or a gate failed.
    RolledBack {
        stage: String,
        /// Color that was rejected.
        color: String,
        /// Gate that has failed. `None`: the color was unhealthy.
        gate: Option<String>,
        /// Color that serves instead.
        to: String,
    },
    /// A user asked to retire a color that a stage points at.
    InUse { color: String, stage: String },
    /// A color that a stage points at is being deleted.
    DeletingInUse { color: String, stage: String },
    /// The new color would introduce instances that exist with other contents.
    InstanceInUse {
        /// Color that cannot be made.
        color: String,
        /// Instance that the color would introduce.
        instance: InstanceName,
        /// Color that has the instance.
        user: String,
    },
    /// The number of living colors is what `keep.live` allows, and none of them ends by itself.
    TooManyColors {
        /// Color that waits for a slot.
        color: String,
        /// Colors that live, newest first.
        living: Vec<LivingColor>,
    },
}

/// Object that the planner asks for. The observer names the object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// Deployment of an instance.
    Deployment(InstanceName),
    /// Autoscaler of an instance's Deployment.
    Scaler(InstanceName),
    /// Service of an instance.
    Service(InstanceName),
    /// Service of a stage.
    StageService { stage: String },
    /// Shadow Service of a stage.
    ShadowService { stage: String },
    /// Copy of configuration.
    Copy(ConfigName),
    /// PodDisruptionBudget of the pods that hold connections.
    Guard,
    /// PodDisruptionBudget of a stage that is held in the middle of a shift.
    StageBudget { stage: String },
}

/// Color that lives while another one waits for a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivingColor {
    pub color: String,
    /// Reason why the color lives.
    pub because: LivesBecause,
}

/// Reason why a color lives.
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
        /// Pods whose connections are unknown.
        unknown: u32,
        /// Earliest time since which the connections of one of these are unknown.
        unknown_since: Option<Time>,
        /// Time when connections are cut; `None`: never.
        deadline: Option<Time>,
    },
    /// The color is the way back of a stage whose color is unhealthy.
    KeptWarm {
        stage: String,
        /// Color that is unhealthy.
        color: String,
    },
    /// The color leaves, and its drain has not begun.
    Leaves,
}
