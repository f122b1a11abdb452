//! What the planner answers.

use std::{collections::BTreeSet, time::Duration};

use crate::{Connections, InstanceName, Mark, Selection, Time};

/// A plan: what to write now, what to report, and when to ask again if nothing happens before.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// To be applied in this order. Each is idempotent; when one fails the rest is not applied, and the next plan resumes.
    pub actions: Vec<Action>,
    /// What to report when the actions are applied.
    pub report: Report,
    /// When to plan again if the world does not change before. `None`: nothing is waited for.
    pub wake: Option<Time>,
    /// The instances whose pods' connections are to be counted from now on; all others are not asked, and what was known of
    /// them is forgotten.
    pub count: BTreeSet<InstanceName>,
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
    /// Mark a pod of a draining color, or take its mark off.
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
    /// Take back what was asked about a color's end, `retire` and its deadline: it was out of every stage, and a stage is
    /// pointed at it again.
    ClearRetire {
        /// Its name.
        color: String,
    },
    /// Delete the Service of a stage that is no longer in the spec.
    DeleteStage {
        /// Name of the stage.
        stage: String,
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

/// Why a pod may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It has had no connection for `settle`.
    Idle,
    /// The deadline has passed, or the color was deleted: what it still holds is cut.
    Deadline,
    /// Nobody counts its connections, and it has had its time.
    Time,
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
    /// Something is under way.
    pub progressing: bool,
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
    /// Why it does not move although it should, in one sentence.
    pub message: Option<String>,
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
    /// Held by `paused`.
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
    /// Connections of its pods as they were counted last; `None` where none are counted now.
    pub connections: Option<u64>,
    /// What its drain waits for; `None` where it does not drain.
    pub drain: Option<DrainReport>,
    /// Why it is where it is, in one sentence.
    pub message: Option<String>,
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

/// Something that stands in the way and that a person has to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The color's name is taken by other tiers.
    #[error("color `{color}` exists with other tiers: give spec.color a new name")]
    ColorInUse {
        /// The name.
        color: String,
    },
    /// A stage is pinned to a color that does not exist.
    #[error(
        "stage `{stage}` shall serve color `{color}`, which does not exist: set spec.stages[{stage}].color to one of: {known}"
    )]
    UnknownColor {
        /// The stage.
        stage: String,
        /// The missing color.
        color: String,
        /// The colors there are.
        known: String,
    },
    /// An object of a needed name belongs to somebody else.
    #[error(
        "{kind} `{name}` exists and is not Rainbow's: rename or delete it, or make this Rainbow anew with a spec.namePrefix"
    )]
    Foreign {
        /// Its kind.
        kind: &'static str,
        /// Its name, as far as the planner knows it.
        name: String,
    },
    /// A color did not become ready in time.
    #[error("color `{color}` is not ready after {after:?}: {detail}")]
    Stalled {
        /// The color.
        color: String,
        /// The progress deadline.
        after: Duration,
        /// Which tiers lack how many pods.
        detail: String,
    },
    /// A retire was asked for a color that a stage points at.
    #[error("color `{color}` cannot be retired while stage `{stage}` points at it")]
    InUse {
        /// The color.
        color: String,
        /// The stage.
        stage: String,
    },
    /// A color that a stage points at is being deleted.
    #[error("color `{color}` is being deleted while stage `{stage}` points at it: move the stage to another color")]
    DeletingInUse {
        /// The color.
        color: String,
        /// The stage.
        stage: String,
    },
    /// The color's name is that of instances that another color has.
    #[error(
        "color `{color}` cannot be made: `{instance}` exists and color `{user}` has it: give spec.color a new name"
    )]
    InstanceInUse {
        /// The color that cannot be made.
        color: String,
        /// The instance it would introduce.
        instance: String,
        /// A color that has it.
        user: String,
    },
    /// As many colors live as may.
    #[error(
        "color `{color}` waits: {live} colors live, as many as spec.keep.live allows; held by {held_by}; wait for a \
         drain, move a stage, raise spec.keep.live, or cut what a color holds with `rainbow retire COLOR --force`"
    )]
    TooManyColors {
        /// The color that waits.
        color: String,
        /// How many live.
        live: u32,
        /// Which, and why.
        held_by: String,
    },
}
