//! Input of the planner: the application as it should be, and the cluster as it is.

mod checks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub use checks::*;

/// Milliseconds since the Unix epoch. The planner gets the time from its caller and never reads a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

/// Everything that a decision is based on.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// Application as it should be, validated.
    pub spec: Spec,
    /// Content of the last status. The planner reads from it only what the cluster does not show.
    pub memory: Memory,
    /// All colors of the application, in no particular order.
    pub colors: Vec<Color>,
    /// Every instance that a color names or that exists, by name.
    pub instances: BTreeMap<InstanceName, Instance>,
    /// Services of the stages. A stage of the spec without an entry has no Service. An entry without a stage in the spec is a
    /// Service whose stage was removed.
    pub stages: BTreeMap<StageKey, StageService>,
    /// The pods of all instances.
    pub pods: Vec<Pod>,
    /// The PodDisruptionBudget of the pods that are marked [`Mark::Held`]: there is one for the whole application.
    pub guard: Presence,
    /// The PodDisruptionBudgets of stages that are, or were, held in the middle of a shift, by name of the stage.
    pub budgets: BTreeMap<String, StageBudget>,
    /// Copies of configuration: those that a color or the spec names, and those that exist. A copy that is missing here is not
    /// the planner's concern: nothing is known of its kind, or there is nothing to copy.
    pub copies: BTreeMap<ConfigName, CopyState>,
    /// Outcomes of the checks that earlier plans have asked for. A check without an outcome is not decided yet.
    pub checks: BTreeMap<Check, CheckOutcome>,
}

/// Application as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Whether `color` and `tiers` describe a version.
    pub version: Version,
    /// Name of the version that `tiers` describe.
    pub color: String,
    /// The tiers, in the order of the spec. Their `needs` form a DAG.
    pub tiers: Vec<Tier>,
    /// The stages, in the order of the spec.
    pub stages: Vec<Stage>,
    /// Deadline of drains, and how long a color or a pod must settle first.
    pub drain: Drain,
    /// Limits for living and retired colors, and how long a way back stays warm.
    pub keep: Keep,
    /// Copies of configuration that the version reads. They are part of the identities of `tiers`.
    pub config: BTreeSet<ConfigCopy>,
    /// Whether colors share instances that are equal.
    pub reuse: Reuse,
    /// Exchange of the pods that serve: with an overlap, or directly.
    pub swap: Swap,
    /// Time that a color may take to become ready.
    pub progress_deadline: Duration,
    /// Longest lag of the cluster's data plane behind the endpoints that the API shows.
    pub propagation: Duration,
    /// Time for which the application's own callers may go on calling a pod that has left its instance's Service, where that is
    /// longer than `propagation`: callers resolve a headless Service themselves.
    pub callers: Duration,
    /// The Rainbow is being deleted: everything ends, entry tiers before inner tiers.
    pub deleting: bool,
}

/// Whether a spec describes a version of the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// `color` and `tiers` are valid.
    #[default]
    Valid,
    /// `color` or `tiers` are invalid. The planner makes no color and sizes no color by them, and the color that was described
    /// last stays the newest.
    Invalid,
}

/// A tier of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Unique name.
    pub name: String,
    /// Pods at full size. Where another writer scales the tier: pods with which it starts while no color serves.
    pub replicas: u32,
    /// Writer that decides how many pods there are. Policy, like `replicas`: not part of the identity.
    pub scaling: Scaling,
    /// Names of the tiers that this tier calls in its own color.
    pub needs: Vec<String>,
    /// Names of the tiers that this tier calls in its own color or in any newer one, through an address of the stage that the
    /// caller belongs to.
    pub calls: Vec<String>,
    /// Identity of the instance that this tier asks for.
    pub identity: String,
    /// Connections of the tier's pods are counted while a color drains; otherwise time alone decides. Policy, like `replicas`.
    pub counted: bool,
    /// Time for which a pod must have been ready without a break before it takes part in a shift.
    pub min_ready: Duration,
}

/// Writer that decides how many pods the Deployments of a tier ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scaling {
    /// Rainbow, by `replicas`.
    #[default]
    Replicas,
    /// Autoscaler that Rainbow makes for each instance.
    Autoscale {
        /// Pods that the autoscaler asks for at least.
        least: u32,
        /// Pods that the autoscaler asks for at most.
        most: u32,
    },
    /// Another controller.
    External,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Unique name.
    pub name: String,
    /// Tier that clients reach, where the spec names one; otherwise the only entry tier of the color that serves.
    pub tier: Option<String>,
    /// Rule that moves the stage.
    pub promote: Promote,
    /// Color that the spec pins the stage to.
    pub color: Option<String>,
    /// Pods per tier that the stage asks for; `None` is each tier's full size.
    pub replicas: Option<u32>,
    /// Kind of the stage's shifts.
    pub shift: Shift,
    /// Lag of those that send the stage's clients to pods behind the endpoints that the API shows. For this time the pods that
    /// come and the pods that leave serve together, whatever [`Spec::swap`] says. `None`: only the cluster's own data plane
    /// serves the stage.
    pub overlap: Option<Duration>,
    /// A shift stays where it is.
    pub paused: bool,
    /// Hold that a user has put on the stage, which comes before all else that the spec says of the stage.
    pub hold: Option<Hold>,
    /// Checks of the colors that the stage moves to.
    pub gates: Gates,
    /// Reaction to a color that stays unhealthy after the stage has begun to move to it.
    pub on_stalled: OnStalled,
    /// The spec of the stage is invalid. The stage keeps what it serves, and its share in a shift; it moves nowhere but back.
    pub invalid: bool,
    /// Reaction between two tiers of a release, where callers may be served by newer callees.
    pub between: Between,
    /// Purpose of the stage's Service.
    pub address: Address,
}

impl Stage {
    /// Returns the name of the stage that users know: for an inner address, the stage whose callers use it.
    pub fn user_name(&self) -> &str {
        match &self.address {
            Address::Entry => &self.name,
            Address::Inner { stage } => stage,
        }
    }
}

/// Reaction of a stage when a tier that others call has moved, before its callers move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Between {
    /// The callers follow.
    #[default]
    Nothing,
    /// The stage waits.
    Pause {
        /// Time after which the stage goes on by itself. `None`: only a user lets it go on.
        after: Option<Duration>,
        /// Steps that a user has let pass.
        passed: BTreeSet<PassedTier>,
    },
}

/// Tier of a stage that has moved to a color.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PassedTier {
    pub tier: String,
    pub color: String,
}

/// Purpose of a stage's Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Address {
    /// Clients reach the application through the Service.
    #[default]
    Entry,
    /// Tiers of a stage reach, through the Service, a tier that may be newer than they are. The planner makes such stages itself.
    Inner {
        /// Stage whose callers use the address.
        stage: String,
    },
}

/// Hold that a user has put on a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Identity that distinguishes this hold from earlier and later ones of the stage.
    pub id: String,
    /// Color that the stage was taken back to.
    pub color: Option<String>,
    /// A shift stays where it is.
    pub paused: bool,
    /// Revision of the newest color when the stage was taken back. The hold keeps the stage at `color` until the stage is to go
    /// to a later revision. `None`: until the hold is lifted.
    pub revision: Option<i64>,
}

/// Reaction of a stage to a color that is degraded for as long as the progress deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStalled {
    /// The stage stays where it is.
    #[default]
    Hold,
    /// The stage goes back to the color that it comes from.
    RollBack,
}

/// Rule that moves a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promote {
    /// The stage follows the newest ready color.
    Auto,
    /// The stage moves when the spec says so.
    Manual,
}

/// Kind of a stage's shifts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shift {
    /// All pods at once.
    Flip,
    /// `step` pods, then a pause of `every`.
    Rolling {
        /// Pods exchanged per step, at least 1.
        step: u32,
        /// Time from one step to the next.
        every: Duration,
        /// Pods that may run beside those that the stage has. `None`: all pods of the new color.
        surge: Option<Surge>,
    },
    /// Step after step. After the last one, all pods move.
    Steps {
        steps: Vec<Step>,
        /// Steps that a user has let pass.
        passed: BTreeSet<PassedStep>,
    },
}

/// Pods that may run beside those that a stage has, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surge {
    /// Number of pods.
    Pods(u32),
    /// Percentage of the stage's size in the color that it comes from, rounded up.
    Percent(u32),
}

/// Policy for the end of colors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Longest time for which a color may drain.
    pub deadline: Duration,
    /// Time for which a color stays whole after it left its last stage. Also the time for which a pod whose connections are
    /// counted must have been idle before it may end.
    pub settle: Duration,
}

/// Whether colors share instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Every color has its own instances.
    #[default]
    Never,
    /// A new color takes the instances whose identity is equal: they are the same all the way down, so nothing mixes.
    Unchanged,
}

/// Exchange of the pods that serve. The new pods have been ready for long enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Swap {
    /// Pods of both colors serve together until the data plane certainly knows the new ones. For data planes that may stop using
    /// a pod that has left before they use a pod that has come: load balancers that address pods and check them first do so.
    #[default]
    Overlap,
    /// A move of all pods at once is one write, and a move of one pod at a time is two, without a wait between them. For data
    /// planes that replace one set of endpoints by the next, each as a whole, as kube-proxy does: all pods of any set that a node
    /// has serve, because pods that have left go on running.
    Direct,
}

/// End of a drain, where a color has another one than the spec's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// Time after the color left its last stage.
    After(Duration),
    /// At once, as soon as no client can be sent to the color.
    Now,
    /// No deadline: connections end by themselves.
    Never,
}

/// Policy for the colors that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Colors that may have pods at the same time.
    pub live: u32,
    /// Retired colors that are kept.
    pub history: u32,
    /// Time for which the color that took over a stage must be healthy without a break before the color that it replaced may end.
    pub warm: Duration,
}

/// Content of the last status that the cluster alone does not show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Color that the spec described last.
    pub color: Option<String>,
    /// Memory of each stage, by name of the stage.
    pub stages: BTreeMap<String, StageMemory>,
}

/// Memory of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageMemory {
    /// Color that the stage serves; during a shift, the color that it comes from.
    pub color: Option<String>,
    /// Color that the stage served before `color`.
    pub previous: Option<String>,
    /// Color that the stage was to serve.
    pub target: Option<String>,
    /// Time since which the stage serves `color`.
    pub since: Option<Time>,
    /// Shift that was under way.
    pub shift: Option<ShiftMemory>,
    /// Color that the stage serves or moves to, where it has not been healthy without a break for as long as `keep.warm`.
    pub degraded: Option<Degraded>,
    /// Color that the stage has been taken back from, as long as the spec asks for that color.
    pub rejected: Option<Rejection>,
    /// Color that has passed the gates of [`Gates::after`].
    pub approved: Option<String>,
    /// Identity of the hold that a later color has ended.
    pub ended_hold: Option<String>,
    /// Memory of the tiers that callers of the stage reach through an address of their own, by name of the tier.
    pub tiers: BTreeMap<String, StageMemory>,
}

/// Color that lacks pods, or has lacked some a short time ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degraded {
    pub color: String,
    /// Time since which the color is degraded.
    pub since: Time,
}

/// Memory of a shift under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShiftMemory {
    /// Color that the shift comes from.
    pub from: String,
    /// Color that the shift goes to.
    pub to: String,
    /// Time when the shift began.
    pub started: Time,
    /// Ready pods of the new color that served last.
    pub moved: u32,
    /// Pods that the stage wanted to have when the shift was paused. `None`: the shift is not paused.
    pub held: Option<u32>,
    /// Place of the shift in [`Shift::Steps`].
    pub step: StepMemory,
}

/// Color as it is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Color {
    pub name: String,
    /// Age of the color: the newest has the highest revision.
    pub revision: i64,
    /// Time when the color was made.
    pub created: Time,
    /// Tiers of the color's snapshot, in the order of the spec at that time.
    pub tiers: Vec<Tier>,
    /// Instance that serves each tier, by name of the tier.
    pub instances: BTreeMap<String, InstanceName>,
    /// A user has asked for `retire`: the color does not stay whole for a quick return. Its connections are waited for all the
    /// same.
    pub retire: bool,
    /// Deadline that was asked for; `None` is the spec's.
    pub deadline: Option<Deadline>,
    /// The color is being deleted, by a user or by an earlier plan.
    pub deleting: bool,
    /// Time when the color left its last stage, as its status says.
    pub released: Option<Time>,
    /// Time when the color was retired, as its status says.
    pub retired: Option<Time>,
    /// Tier that the clients of each stage reach in this color, by name of the stage, as the color's status says. A stage has an
    /// entry where the tier is another than the color's only entry tier and the spec said so while it described the color.
    pub entries: BTreeMap<String, String>,
    /// The color's last stage was moved away while the spec described the color, as the color's status says.
    pub demoted: bool,
    /// Pods per tier at full size, as the color's status says: where the spec asked for another size than the snapshot has while
    /// it described this color. For a tier that another writer scales: pods with which the color began to serve.
    pub sizes: BTreeMap<String, u32>,
    /// Stages that have sent clients to the color, as its status says. `None`: no status has recorded that.
    pub served: Option<BTreeSet<String>>,
    /// Gate that has rejected the color, as its status says, with the stage that asked for the gate: no automatic stage goes to the color.
    pub rejected_by: Option<RejectedBy>,
    /// Copies of configuration that the color's pods read.
    pub config: BTreeSet<ConfigCopy>,
    /// Memory of the parts of the color that belong to stages, as the color's status says.
    pub parts: Vec<PartMemory>,
    /// Part of a color that this value is, as the planner sees colors: see `parts`.
    pub part: Part,
    /// Tiers that belong to stages, each with the name that its instance would have without a stage. Only the planner fills this
    /// field.
    pub bound: Vec<(Tier, InstanceName)>,
}

impl Color {
    /// Returns whether both are the same part of the same color.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.part == other.part
    }
}

/// Part of a color.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// Tiers that all stages share. These are all tiers where every caller is served by its own color.
    #[default]
    Shared,
    /// Tiers that belong to one stage.
    Own {
        /// Identity of the part in the color.
        key: PartKey,
        /// Addresses that lead to the part, by name of the stage.
        addresses: BTreeSet<String>,
    },
}

/// Identity of a color's part that belongs to a stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartKey {
    /// Name of the stage that the part belongs to.
    pub stage: String,
    /// First of the part's tiers that other tiers of the stage call. `None`: the part that clients reach.
    pub tier: Option<String>,
}

/// Memory of a part that belongs to a stage, from the status of its color. The fields are those of [`Color`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartMemory {
    /// Identity of the part.
    pub key: PartKey,
    /// See [`Color::released`].
    pub released: Option<Time>,
    /// See [`Color::retired`].
    pub retired: Option<Time>,
    /// See [`Color::demoted`].
    pub demoted: bool,
    /// See [`Color::sizes`].
    pub sizes: BTreeMap<String, u32>,
    /// See [`Color::served`].
    pub served: Option<BTreeSet<String>>,
}

/// Kind of an object that holds configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigKind {
    ConfigMap,
    Secret,
}

/// Name of an object that holds configuration, or of a copy of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigName {
    pub kind: ConfigKind,
    pub name: String,
}

/// Copy that a version reads in place of an object. Copies with one name have the same content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigCopy {
    /// Object that the templates name.
    pub source: ConfigName,
    pub copy: String,
}

impl ConfigCopy {
    /// Returns kind and name of the copy.
    pub fn name(&self) -> ConfigName {
        ConfigName { kind: self.source.kind, name: self.copy.clone() }
    }
}

/// Copy as it is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// No object has the name.
    Absent {
        /// Object that was copied, or is to be copied.
        source: Source,
    },
    /// An object of another owner has the name.
    Foreign,
    /// The copy is Rainbow's and is being deleted.
    Deleting,
    /// The copy is Rainbow's.
    Ours {
        /// Object that was copied.
        source: Source,
        /// The copy has the content that it is named after.
        intact: bool,
    },
}

/// Whether an object still has the content that was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The object has the content that was copied.
    Same,
    /// The object has another content, is gone, or is unknown.
    Changed,
}

/// Name of an instance: the tier, and the color that introduced the instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceName {
    /// Name of the tier. Reference-counted, because every pod of an instance has the name.
    pub tier: Arc<str>,
    /// Name of the color that introduced the instance.
    pub color: Arc<str>,
    /// Stage that the instance belongs to, where its pods call a tier by an address of that stage.
    pub stage: Option<Arc<str>>,
}

impl InstanceName {
    /// Returns the name of an instance that all stages share.
    pub fn shared(tier: impl Into<Arc<str>>, color: impl Into<Arc<str>>) -> Self {
        Self { tier: tier.into(), color: color.into(), stage: None }
    }

    /// Returns the name of the instance of the same tier and color that belongs to a stage.
    #[must_use]
    pub fn of_stage(&self, stage: impl Into<Arc<str>>) -> Self {
        Self { stage: Some(stage.into()), ..self.clone() }
    }
}

/// Instance as it is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Hash of the instance's contents and of the instances that it needs.
    pub identity: String,
    pub deployment: Deployment,
    /// Service of the instance. Other tiers call the instance through it, and its endpoints tell which pods the cluster knows to
    /// be ready. `NotNeeded` where the tier has no ports.
    pub service: Presence,
    /// Digest of what a Service says of the instance's ports: instances with equal digests can serve behind one Service. `None`:
    /// the ports are unknown.
    pub ports: Option<u64>,
    /// Autoscaler of the instance's Deployment.
    pub scaler: Scaler,
    /// The instance's pods carry a label that its Services ask for, so that single pods can be taken out of the Services. An
    /// instance that an older version made has no such label: its pods serve as long as they exist.
    pub labeled: bool,
}

/// Autoscaler of an instance's Deployment, as it is in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scaler {
    /// No autoscaler exists.
    #[default]
    Absent,
    /// An object of another owner has the name and scales something else.
    Taken,
    /// An object of another owner scales the Deployment.
    Foreign {
        name: String,
        /// Pods that it asks for at most.
        most: u32,
    },
    /// The autoscaler is Rainbow's.
    Ours {
        /// The object is as it should be, `least` aside.
        current: bool,
        /// Pods that it asks for at least.
        least: u32,
    },
    /// The autoscaler is Rainbow's and is being deleted.
    Deleting,
}

/// Object under the name of a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// No object has the name.
    Absent,
    /// The object is of another owner.
    Foreign,
    /// The Deployment is Rainbow's.
    Ours {
        /// The object is as it should be, replicas aside.
        current: bool,
        /// Pods asked for.
        replicas: u32,
        /// The Deployment controller has seen the newest spec, so the pod count can be believed.
        observed: bool,
        /// Pods that its status counts: those that are not terminating.
        pods: u32,
    },
    /// The Deployment is Rainbow's and is being deleted: the garbage collector is not done with its ReplicaSets.
    Deleting,
}

/// Object under a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// No object is wanted.
    #[default]
    NotNeeded,
    /// No object has the name.
    Absent,
    /// The object is of another owner.
    Foreign,
    /// The object is Rainbow's, but not as it should be.
    Outdated,
    /// The object is Rainbow's and as it should be.
    Current,
}

/// Service of a stage: one that clients use, one that they used, or one that no client uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StageKey {
    /// Service that the stage has now. The stage may have been removed from the spec.
    Stage(String),
    /// Service that the stage had under another name.
    Former { stage: String, service: String },
    /// Shadow Service of a stage: no client uses it. It selects the members before the stage's own Service does. Its endpoints
    /// show which membership labels the endpoint controller has seen.
    Shadow { stage: String },
    /// Service that is gone. Nodes may still send clients to where it pointed.
    Gone {
        /// Name of the Service; `None` for all that were gone when the observer started.
        service: Option<String>,
    },
}

impl StageKey {
    /// Returns the key of the Service that the stage has now.
    pub fn of(stage: impl Into<String>) -> Self {
        Self::Stage(stage.into())
    }

    /// Returns the key of the shadow Service of the stage.
    pub fn shadow(stage: impl Into<String>) -> Self {
        Self::Shadow { stage: stage.into() }
    }

    /// Returns whether the key is that of the Service that the stage has now.
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Self::Stage(stage) if stage == name)
    }
}

/// Service of a stage as it is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageService {
    /// The object is of another owner.
    Foreign,
    /// The Service is Rainbow's.
    Ours {
        /// Ports, type and annotations are as they should be; the selector is compared separately.
        current: bool,
        /// Selector of the Service.
        selects: Selection,
        /// Color that the stage serves, written together with the selector. It tells the color where the status is lost and
        /// another writer has edited the selector.
        serves: Option<String>,
    },
}

/// Selector of a stage's Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All pods of an instance: the steady state.
    Instance(InstanceName),
    /// The pods that carry the stage's membership label: a shift is under way.
    Members,
    /// A selector that Rainbow never writes: another writer edited it.
    Other,
}

/// Object under the name of a stage's PodDisruptionBudget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageBudget {
    /// An object that is not Rainbow's.
    Foreign,
    /// The budget is Rainbow's.
    Ours {
        /// The budget is as it should be, the number aside.
        current: bool,
        /// Members that must stay.
        least: u32,
    },
}

/// Pod of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: Arc<str>,
    /// Instance that the pod belongs to.
    pub instance: InstanceName,
    /// Owner that decides whether the pod lives.
    pub controller: Controller,
    /// The pod passes its readiness probes and is not being deleted.
    pub ready: bool,
    /// Time since which the observer has seen `ready` as it is, and the pod in its place.
    pub ready_since: Time,
    /// Whether the Services of the pod's instance have the pod.
    pub place: Place,
    /// The endpoint controller has seen that the pod is ready: the pod is listed among the ready endpoints of its instance's own Service.
    pub listed: bool,
    /// The pod is being deleted.
    pub terminating: bool,
    /// Stages that the pod is a member of, and when it joined (`None` where the time is unreadable).
    pub member: BTreeMap<String, Option<Time>>,
    /// Services that have the pod as a ready endpoint, and since when the observer has seen that.
    pub endpoint: BTreeMap<StageKey, Time>,
    /// Stages whose shadow Service has the pod as a ready endpoint, and since when the observer has seen that: the endpoint
    /// controller has seen the pod's membership label.
    pub shadow: BTreeMap<String, Time>,
    /// Services that may have had the pod as an endpoint, and since when the observer has seen that they do not have it. The data
    /// plane may still send connections until `propagation` has passed.
    pub left: BTreeMap<StageKey, Time>,
    /// Evidence of the pod's connections.
    pub connections: Connections,
    /// Mark that the pod carries.
    pub mark: Mark,
    /// Time since which the observer has seen that mark. Safe to lose: the time then counts from when the mark is seen again.
    pub marked: Time,
    /// Time since which the observer has seen the pod's membership labels as they are. The time in `member` is by the clock of
    /// the operator that wrote it, which may be another operator. Safe to lose, like `marked`.
    pub labelled: Time,
}

/// Controller owner reference of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Controller {
    /// A ReplicaSet of the instance's Deployment, or any other controller that is not Rainbow's.
    #[default]
    ReplicaSet,
    /// The Rainbow: only the planner ends the pod, and nothing replaces it.
    Rainbow,
    /// No controller. A ReplicaSet whose selector matches adopts the pod.
    None,
}

/// Whether the Services that select a pod's instance have the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// The Services have the pod.
    #[default]
    In,
    /// The pod was taken out of the Services: its instance becomes smaller, and the pod ends when its connections have ended.
    Out {
        /// Time when the pod was taken out; `None` where the time is unreadable.
        since: Option<Time>,
    },
}

/// Evidence of a pod's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connections {
    /// No counter asks the pod: time alone decides.
    #[default]
    Uncounted,
    /// The connections should be counted, and no count has succeeded yet, or counts no longer succeed. Such a pod counts as busy.
    Unknown {
        /// Time since which the pod has been asked in vain: since it was to be asked, or since its last answer.
        since: Time,
    },
    /// The pod has connections.
    Busy {
        /// Number of connections.
        count: u32,
        /// Time since which every count has found at least one.
        since: Time,
    },
    /// The pod has no connections.
    Idle {
        /// Time since which every count has found none.
        since: Time,
        /// Time of the last count.
        counted: Time,
    },
}

/// Mark of a pod of a draining color, or of a pod that was taken out of its Services. Written as labels and annotations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// No mark.
    #[default]
    None,
    /// The pod holds connections, or serves pods that do: autoscalers and evictions leave it alone.
    Held,
    /// The pod is the next to end when fewer replicas are asked for.
    Leaving,
}
