//! Why something waits, and what a person has to fix: facts only. The observer knows the objects' names and writes the text.

use std::time::Duration;

use crate::{ConfigName, InstanceName, Time};

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
        /// The tier that clients of the stage should reach. `None`: the spec names none, and the color has several entry tiers.
        tier: Option<String>,
    },
    /// The stage waits for pods of a color.
    ForColor {
        /// The color whose pods are not ready.
        color: String,
        /// What the color lacks, inner tiers first.
        lacks: Vec<Lack>,
    },
    /// The stage waits until a tier that its pods call has moved to the color.
    ForTier {
        /// Name of the tier.
        tier: String,
        /// Name of the color.
        color: String,
        /// The tier has been taken back from the color.
        is_rejected: bool,
    },
    /// The tier waits until pods that call it have ended: they are newer than the color that it should go to.
    ForNewerCallers {
        /// Name of the tier that has the pods.
        tier: String,
        /// The color that introduced them.
        color: String,
    },
    /// A tier has moved, and the stage waits before the tiers that call it follow.
    BetweenTiers {
        /// Name of the tier that has moved.
        tier: String,
        /// Name of the color.
        color: String,
        /// When the stage goes on by itself. `None`: when it is told to.
        until: Option<Time>,
    },
    /// The stage's next step waits until pods of the old color end: as many run as its surge lets.
    ForRoom {
        /// The old color.
        color: String,
    },
    /// The stage's `paused` is set.
    Paused,
    /// The stage follows the newest color where nothing else is said, and its `color` says something else.
    Pinned {
        /// The color that the stage is told to serve.
        color: String,
        /// The newest color.
        newest: String,
    },
    /// The stage is invalid in the spec.
    ForValidStage,
    /// An autoscaler of another owner decides how many pods a tier of the color has.
    Scaled {
        /// Name of the tier.
        tier: String,
        /// Name of the autoscaler.
        scaler: String,
    },
    /// The stage has all pods of the color that it moves to, which are fewer than it should have: another writer scales the color.
    ForScaler {
        /// Name of the color.
        color: String,
        /// Pods of the color that serve.
        moved: u32,
        /// Pods that the stage wants to have.
        wanted: u32,
    },
    /// The color waits for its own pods.
    ForPods {
        /// What the color lacks, inner tiers first.
        lacks: Vec<Lack>,
    },
    /// As many colors live as `keep.live` allows.
    ForSlot {
        /// The colors that live, newest first.
        living: Vec<Living>,
    },
    /// The color is being deleted, and stages still need it.
    HeldByStages {
        /// Names of the stages, in the order of the spec.
        stages: Vec<String>,
    },
    /// The color left its last stage and keeps all its pods as a way back.
    Settling,
    /// The color left its last stage and keeps all its pods as the way back of a stage, until the color that took its place is known to
    /// be healthy.
    KeptWarm {
        /// Name of the stage.
        stage: String,
        /// The color that took its place.
        color: String,
        /// That color lacks pods now.
        is_unhealthy: bool,
    },
    /// The stage has been taken back from the color that it is told to serve, because that color was unhealthy.
    RolledBack {
        /// The unhealthy color.
        color: String,
    },
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
    /// The color has more pods than it shall have, and is becoming smaller.
    ForFewerPods {
        /// Pods that were taken out of their Services and hold connections, or may: at most [`MAX_HOLDERS`], by name.
        ///
        /// [`MAX_HOLDERS`]: crate::MAX_HOLDERS
        holders: Vec<String>,
    },
    /// The color has more pods than it shall have, and an older version made it: no single pod can be taken out of its Services.
    CannotShrink {
        /// Name of the tier.
        tier: String,
        /// Pods that it has.
        pods: u32,
        /// Pods that it shall have.
        wanted: u32,
    },
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
    /// Enough pods are ready, and fewer than wanted have been for as long as the tier asks.
    MinReady {
        /// Name of the tier.
        tier: String,
        /// Pods that have been ready for long enough.
        available: u32,
        /// Wanted pods.
        wanted: u32,
        /// How long a pod has to be ready.
        min_ready: Duration,
    },
}

/// Something that does not go on before a person fixes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Other tiers have the color's name already.
    ColorInUse {
        /// Name of the color.
        color: String,
        /// Objects with configuration whose content is another one than the color has. Empty: the tiers differ.
        config: Vec<ConfigName>,
    },
    /// A copy that a color reads is gone or has another content, and cannot be made again: the object that was copied has changed.
    CopyLost {
        /// Name of the color.
        color: String,
        /// Name of the copy.
        copy: ConfigName,
        /// The object that was copied.
        source: ConfigName,
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
    /// The color that a stage serves has lacked pods for the progress deadline, or again and again.
    Degraded {
        /// Name of the stage.
        stage: String,
        /// The color that serves.
        color: String,
        /// Since when.
        since: Time,
        /// Tiers in which the color lacks pods now, inner ones first. Empty: nothing at this moment.
        lacks: Vec<Lack>,
        /// The color that the stage served before, if its pods are still there.
        previous: Option<String>,
    },
    /// A stage has been taken back from the color that it is told to serve, because that color was unhealthy.
    RolledBack {
        /// Name of the stage.
        stage: String,
        /// The unhealthy color.
        color: String,
        /// The color that serves instead.
        to: String,
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
    /// As many colors live as `keep.live` allows, and none of them goes by itself.
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
    /// Autoscaler of an instance's Deployment.
    Scaler(InstanceName),
    /// Service of an instance.
    Service(InstanceName),
    /// Service of a stage.
    StageService {
        /// Name of the stage.
        stage: String,
    },
    /// Shadow Service of a stage.
    ShadowService {
        /// Name of the stage.
        stage: String,
    },
    /// Copy of configuration.
    Copy(ConfigName),
    /// PodDisruptionBudget of the pods that hold connections.
    Guard,
    /// PodDisruptionBudget of a stage that is held in the middle of a shift.
    StageBudget {
        /// Name of the stage.
        stage: String,
    },
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
    /// The color is the way back of a stage whose color is unhealthy.
    KeptWarm {
        /// Name of the stage.
        stage: String,
        /// The unhealthy color.
        color: String,
    },
    /// The color leaves, and its drain has not begun.
    Leaves,
}
