//! What the planner is told: the application as it shall be, and the cluster as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Milliseconds since the Unix epoch. The planner never asks a clock for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

/// Everything a decision is based on.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// The application as it shall be, validated.
    pub spec: Spec,
    /// What the status said last. Only what cannot be seen in the cluster is read from it.
    pub memory: Memory,
    /// All colors of the application, in no particular order.
    pub colors: Vec<Color>,
    /// Every instance that a color names or that exists, by name.
    pub instances: BTreeMap<InstanceName, Instance>,
    /// The stages' Services. A stage of the spec without an entry has no Service. An entry without a stage in the spec is a
    /// Service whose stage was removed.
    pub stages: BTreeMap<StageKey, StageService>,
    /// The pods of all instances.
    pub pods: Vec<Pod>,
    /// The PodDisruptionBudget of the pods that are marked [`Mark::Held`]: there is one for the whole application.
    pub guard: Presence,
    /// The PodDisruptionBudgets of stages that are, or were, held in the middle of a shift, by name of the stage.
    pub budgets: BTreeMap<String, StageBudget>,
    /// Copies of configuration: those that a color or the spec names, and those that exist. One that is missing here is of no concern: nothing
    /// is known of its kind, or there is nothing to copy.
    pub copies: BTreeMap<ConfigName, CopyState>,
}

/// The application as it shall be.
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
    /// How colors end.
    pub drain: Drain,
    /// How many colors are kept.
    pub keep: Keep,
    /// Copies of configuration that the version reads. They are part of the identities of `tiers`.
    pub config: BTreeSet<ConfigCopy>,
    /// Whether colors share what is equal.
    pub reuse: Reuse,
    /// How a stage moves from pods to pods.
    pub swap: Swap,
    /// How long a color may take to become ready.
    pub progress_deadline: Duration,
    /// How long the cluster's data plane may lag behind the endpoints that the API shows.
    pub propagation: Duration,
    /// How long the application's own callers may go on calling a pod that has left its instance's Service, where that is longer: a
    /// headless Service is resolved by its callers.
    pub callers: Duration,
    /// The Rainbow is being deleted: everything goes, entry before inner.
    pub deleting: bool,
}

/// Whether a spec describes a version of the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// Color and tiers can be used.
    #[default]
    Valid,
    /// Color or tiers are invalid. No color is made, no color is sized by them, and the color that was described last stays the
    /// newest.
    Invalid,
}

/// A tier of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Unique name.
    pub name: String,
    /// Pods at full size; where others scale the tier, pods that it starts with while no color serves.
    pub replicas: u32,
    /// Writer that decides how many pods there are. Policy, as `replicas` is.
    pub scaling: Scaling,
    /// Names of the tiers it calls in its own color.
    pub needs: Vec<String>,
    /// Names of the tiers it calls in its own color or in any newer one, through an address of the stage that it belongs to.
    pub calls: Vec<String>,
    /// Identity of the instance that this tier asks for.
    pub identity: String,
    /// Its pods' connections are counted while a color drains; otherwise time alone decides. Policy, as `replicas` is.
    pub counted: bool,
    /// A pod takes part in a shift only when it has been ready for this long without a break.
    pub min_ready: Duration,
}

/// Writer that decides how many pods the Deployments of a tier ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scaling {
    /// Rainbow, by `replicas`.
    #[default]
    Replicas,
    /// An autoscaler that Rainbow makes for each instance.
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
    /// The tier that clients reach, where the spec names one. Else it is the only entry tier of the color that serves.
    pub tier: Option<String>,
    /// Who moves it.
    pub promote: Promote,
    /// The color it is told to serve.
    pub color: Option<String>,
    /// Pods per tier it asks for; `None` is each tier's full size.
    pub replicas: Option<u32>,
    /// How it moves.
    pub shift: Shift,
    /// Lag of those who send the stage's clients to pods behind the endpoints that the API shows. For so long the pods that come
    /// and those that go serve together, whatever [`Spec::swap`] says. `None`: the stage has the cluster's own data plane and no other.
    pub overlap: Option<Duration>,
    /// Holds a shift where it is.
    pub paused: bool,
    /// What a user holds the stage at, whatever else the spec says of it.
    pub hold: Option<Hold>,
    /// Reaction to a color that stays unhealthy after the stage has begun to move to it.
    pub on_stalled: OnStalled,
    /// What the spec says of the stage is invalid. The stage keeps what it serves, and its share in a shift; it moves nowhere but back.
    pub invalid: bool,
    /// What happens between two tiers of a release, where callers may be served by newer callees.
    pub between: Between,
    /// What its Service is for.
    pub address: Address,
}

impl Stage {
    /// The stage that users know: for an inner address, the one whose callers use it.
    pub fn user_name(&self) -> &str {
        match &self.address {
            Address::Entry => &self.name,
            Address::Inner { stage } => stage,
        }
    }
}

/// What a stage does when the tier that others call has moved, and before its callers move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Between {
    /// The callers follow.
    #[default]
    Nothing,
    /// The stage waits.
    Pause {
        /// Time after which the stage goes on by itself. `None`: a person says so.
        after: Option<Duration>,
        /// Steps that a person has let pass.
        passed: BTreeSet<Step>,
    },
}

/// A tier of a stage that has moved to a color.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// Name of the tier.
    pub tier: String,
    /// Name of the color.
    pub color: String,
}

/// What the Service of a stage is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Address {
    /// Clients reach the application through it.
    #[default]
    Entry,
    /// Tiers of a stage reach a tier through it that may be newer than they are. The planner makes such stages itself.
    Inner {
        /// The stage whose callers use it.
        stage: String,
    },
}

/// A user's hold of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Tells this hold from earlier and later ones of the stage.
    pub id: String,
    /// The color that the stage was taken back to.
    pub color: Option<String>,
    /// Holds a shift where it is.
    pub paused: bool,
    /// Revision of the newest color when the stage was taken back. The stage is held at `color` until it is to go to a later one.
    /// `None`: until the hold is lifted.
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

/// Who moves a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promote {
    /// It follows the newest ready color.
    Auto,
    /// It moves when told to.
    Manual,
}

/// How a stage moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// All pods at once.
    Flip,
    /// `step` pods, then a pause of `every`.
    Rolling {
        /// Pods exchanged per step, at least 1.
        step: u32,
        /// From one step to the next.
        every: Duration,
        /// Pods that may run beside those that the stage has; without, all of the new color.
        surge: Option<Surge>,
    },
}

/// Pods that may run beside those that a stage has, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surge {
    /// As many.
    Pods(u32),
    /// Part of the stage's size in the color that it comes from, rounded up.
    Percent(u32),
}

/// How colors end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// The longest a color may drain.
    pub deadline: Duration,
    /// How long a color stays whole after it left its last stage; and how long a pod whose connections are counted must
    /// have had none.
    pub settle: Duration,
}

/// Whether colors share instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Every color has its own.
    #[default]
    Never,
    /// A new color takes those whose identity is equal: they are the same all the way down, so nothing mixes.
    Unchanged,
}

/// How a stage moves from pods to pods, which have been ready for long enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Swap {
    /// Both colors' pods serve together until the data plane surely knows the new ones. For data planes that stop to use
    /// what has left sooner than they begin to use what has come, as load balancers do that address pods and check them
    /// first.
    #[default]
    Overlap,
    /// A move of all at once is one write, and of a pod at a time two, without a wait between them. For data planes that take
    /// over one set of endpoints after the other, each as a whole, as kube-proxy does: whichever set a node has, all of its
    /// pods serve, since those that have left go on.
    Direct,
}

/// The end of a drain, where it is another than the spec's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// So long after the color left its last stage.
    After(Duration),
    /// At once, as soon as no client can be sent to it.
    Now,
    /// None: connections end by themselves.
    Never,
}

/// How many colors are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Colors with pods at one time.
    pub live: u32,
    /// Retired colors.
    pub history: u32,
    /// Time for which the color that took a stage over must be healthy without a break before the color that it replaced may go.
    pub warm: Duration,
}

/// What the last status said and the cluster alone does not show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The color that the spec described last.
    pub color: Option<String>,
    /// By stage name.
    pub stages: BTreeMap<String, StageMemory>,
}

/// What is remembered of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageMemory {
    /// The color the stage serves; during a shift, the one it comes from.
    pub color: Option<String>,
    /// The color before that.
    pub previous: Option<String>,
    /// The color it was to serve.
    pub target: Option<String>,
    /// Since when it serves `color`.
    pub since: Option<Time>,
    /// The shift that was under way.
    pub shift: Option<ShiftMemory>,
    /// The color that the stage serves or moves to, where it has not been healthy without a break for as long as `keep.warm`.
    pub degraded: Option<Degraded>,
    /// The color that the stage has been taken back from, as long as it is told to serve that color.
    pub rejected: Option<String>,
    /// The hold that a later color has ended.
    pub ended_hold: Option<String>,
    /// The same of the tiers that callers of the stage reach through an address of their own, by name.
    pub tiers: BTreeMap<String, StageMemory>,
}

/// A color that lacks pods, or has lacked some a short time ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degraded {
    /// Name of the color.
    pub color: String,
    /// Time since which it is so.
    pub since: Time,
}

/// What is remembered of a shift under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShiftMemory {
    /// The color that it comes from.
    pub from: String,
    /// The color that it goes to.
    pub to: String,
    /// When it began.
    pub started: Time,
    /// Ready pods of the color that it goes to that served last.
    pub moved: u32,
    /// Pods that the stage wanted to have when the shift was paused. `None`: it is not paused.
    pub held: Option<u32>,
}

/// A color as it is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Color {
    /// Its name.
    pub name: String,
    /// The newest has the highest.
    pub revision: i64,
    /// When it was made.
    pub created: Time,
    /// Its tiers as they were, in the order of the spec then.
    pub tiers: Vec<Tier>,
    /// The instance that serves each tier, by tier name.
    pub instances: BTreeMap<String, InstanceName>,
    /// `retire` was asked for: it does not stay whole for a quick return. Connections are waited for all the same.
    pub retire: bool,
    /// The deadline that was asked for; `None` is the spec's.
    pub deadline: Option<Deadline>,
    /// It is being deleted, by a user or by an earlier plan.
    pub deleting: bool,
    /// When it left its last stage, as its status says.
    pub released: Option<Time>,
    /// When it was retired, as its status says.
    pub retired: Option<Time>,
    /// By stage: the tier that its clients reach in this color, where that is another than the color's only entry tier and the spec
    /// said so while it described the color. As its status says.
    pub entries: BTreeMap<String, String>,
    /// Its last stage was moved away from it while the spec described it, as its status says.
    pub demoted: bool,
    /// Pods per tier at full size, where the spec asked for another size than the snapshot has while it described this color; of a tier
    /// that others scale, the pods that the color began to serve with. As its status says.
    pub sizes: BTreeMap<String, u32>,
    /// The stages that have sent clients to it, as its status says. `None`: nobody has written that down.
    pub served: Option<BTreeSet<String>>,
    /// Copies of configuration that its pods read.
    pub config: BTreeSet<ConfigCopy>,
    /// What its status says of its parts that belong to stages.
    pub parts: Vec<PartMemory>,
    /// The part of a color that this is, as the planner sees colors: see `parts`.
    pub part: Part,
    /// Tiers that belong to stages, and the instances that they would be without. Only the planner fills it in.
    pub bound: Vec<(Tier, InstanceName)>,
}

impl Color {
    /// Both are the same part of one color.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.part == other.part
    }
}

/// A part of a color.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// The tiers that all stages share: all of them, where every caller is served by its own color.
    #[default]
    Shared,
    /// Tiers that belong to one stage.
    Own {
        /// Identity of the part in the color.
        key: PartKey,
        /// The addresses that lead to it, by name of the stage.
        addresses: BTreeSet<String>,
    },
}

/// Identity of a color's part that belongs to a stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartKey {
    /// Name of the stage.
    pub stage: String,
    /// First of its tiers that others of the stage call. `None`: the part that clients reach.
    pub tier: Option<String>,
}

/// What the status of a color says of a part that belongs to a stage. The fields are those of [`Color`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartMemory {
    /// The part.
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

/// Kind of an object with configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// Name of an object with configuration, or of a copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigName {
    /// Kind of the object.
    pub kind: ConfigKind,
    /// Name of the object.
    pub name: String,
}

/// Copy that a version reads in place of an object. Copies of one name have one content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigCopy {
    /// The object that templates name.
    pub source: ConfigName,
    /// Name of the copy.
    pub copy: String,
}

impl ConfigCopy {
    /// Kind and name of the copy.
    pub fn name(&self) -> ConfigName {
        ConfigName { kind: self.source.kind, name: self.copy.clone() }
    }
}

/// A copy as it is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// There is none.
    Absent {
        /// The object that was copied, or is to be.
        source: Source,
    },
    /// An object of another owner has the name.
    Foreign,
    /// Ours, and being deleted.
    Deleting,
    /// Ours.
    Ours {
        /// The object that was copied.
        source: Source,
        /// The copy has the content that it is named after.
        intact: bool,
    },
}

/// Whether an object still has the content that was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It has.
    Same,
    /// It has another one, is gone, or is unknown.
    Changed,
}

/// An instance's name: the tier, and the color that introduced it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceName {
    /// Name of the tier. Shared, since all pods of an instance have the name.
    pub tier: Arc<str>,
    /// The color that introduced it.
    pub color: Arc<str>,
    /// The stage that it belongs to, where its pods call a tier by an address of that stage.
    pub stage: Option<Arc<str>>,
}

impl InstanceName {
    /// An instance that all stages share.
    pub fn shared(tier: impl Into<Arc<str>>, color: impl Into<Arc<str>>) -> Self {
        Self { tier: tier.into(), color: color.into(), stage: None }
    }

    /// The instance of the same tier and color that belongs to a stage.
    #[must_use]
    pub fn of_stage(&self, stage: impl Into<Arc<str>>) -> Self {
        Self { stage: Some(stage.into()), ..self.clone() }
    }
}

/// An instance as it is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its identity.
    pub identity: String,
    /// Its Deployment.
    pub deployment: Deployment,
    /// Service of the instance, through which other tiers call it, and whose endpoints tell which pods the cluster knows to be ready. `NotNeeded`
    /// where the tier has no ports.
    pub service: Presence,
    /// Digest of what a Service says of its ports: instances whose digests are equal can serve behind one Service. `None`: nothing
    /// is known of them.
    pub ports: Option<u64>,
    /// Autoscaler of its Deployment.
    pub scaler: Scaler,
    /// Its pods carry a label that its Services ask for, so that single pods can be taken out of the Services. An instance that an
    /// older version made has no such label: its pods serve as long as they are there.
    pub labeled: bool,
}

/// Autoscaler of an instance's Deployment, as it is in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scaler {
    /// There is none.
    #[default]
    Absent,
    /// An object of another owner has the name, and scales something else.
    Taken,
    /// An object of another owner scales the Deployment.
    Foreign {
        /// Name of the object.
        name: String,
        /// Pods that it asks for at most.
        most: u32,
    },
    /// Rainbow's.
    Ours {
        /// What was applied is what should be, `least` aside.
        current: bool,
        /// Pods that it asks for at least.
        least: u32,
    },
    /// Rainbow's, and being deleted.
    Deleting,
}

/// What is found under a Deployment's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// Nothing.
    Absent,
    /// Somebody else's object.
    Foreign,
    /// Ours.
    Ours {
        /// What was applied is what shall be, replicas aside.
        current: bool,
        /// Pods asked for.
        replicas: u32,
        /// The Deployment controller has seen the newest spec, so the pod count can be believed.
        observed: bool,
        /// Pods that its status counts: those that are not terminating.
        pods: u32,
    },
    /// Ours, and being deleted: the garbage collector is not done with its ReplicaSets.
    Deleting,
}

/// What is found under a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It is not wanted.
    #[default]
    NotNeeded,
    /// Nothing is there.
    Absent,
    /// Somebody else's object is there.
    Foreign,
    /// Ours, but not as it shall be.
    Outdated,
    /// Ours, as it shall be.
    Current,
}

/// Service of a stage: through which clients reach it, reached it, or none does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StageKey {
    /// The Service that the stage has now. Its stage may have been removed from the spec.
    Stage(String),
    /// A Service that the stage had under another name.
    Former {
        /// Name of the stage.
        stage: String,
        /// Name of the Service.
        service: String,
    },
    /// Shadow Service of a stage: no client uses it. Before the stage's own Service selects members, the endpoints of the shadow, which
    /// selects them already, show which membership labels the endpoint controller has seen.
    Shadow {
        /// Name of the stage.
        stage: String,
    },
    /// A Service that is gone. Nodes may still send clients to where it pointed.
    Gone {
        /// Name of the Service; `None` for all that were gone when the observer started.
        service: Option<String>,
    },
}

impl StageKey {
    /// The Service that the stage has now.
    pub fn of(stage: impl Into<String>) -> Self {
        Self::Stage(stage.into())
    }

    /// The shadow Service of the stage.
    pub fn shadow(stage: impl Into<String>) -> Self {
        Self::Shadow { stage: stage.into() }
    }

    /// The key is that of the Service that the stage has now.
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Self::Stage(stage) if stage == name)
    }
}

/// A stage's Service as it is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageService {
    /// Somebody else's object is there.
    Foreign,
    /// Ours.
    Ours {
        /// Ports, type and annotations are as they shall be; the selector is looked at separately.
        current: bool,
        /// What it selects.
        selects: Selection,
        /// Color that the stage serves, as it was written with the selector. Says so where the status is lost and another writer has edited
        /// the selector.
        serves: Option<String>,
    },
}

/// What a stage's Service selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All pods of an instance: the steady state.
    Instance(InstanceName),
    /// The pods that carry the stage's membership label: a shift is under way.
    Members,
    /// Something Rainbow never writes: somebody edited it.
    Other,
}

/// The object under the name of the PodDisruptionBudget of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageBudget {
    /// An object that is not Rainbow's.
    Foreign,
    /// Rainbow's.
    Ours {
        /// The budget is as it should be, the number aside.
        current: bool,
        /// Members that have to stay.
        least: u32,
    },
}

/// A pod of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: Arc<str>,
    /// The instance it belongs to.
    pub instance: InstanceName,
    /// Owner that decides whether the pod lives.
    pub controller: Controller,
    /// It passes its readiness probes and is not being deleted.
    pub ready: bool,
    /// Since when the observer has seen `ready` as it is, and the pod in its place.
    pub ready_since: Time,
    /// Whether the Services of its instance have it.
    pub place: Place,
    /// The endpoint controller has seen that the pod is ready: the pod is listed among the ready endpoints of its instance's own Service.
    pub listed: bool,
    /// It is being deleted.
    pub terminating: bool,
    /// The stages it is a member of, and when it joined (`None` where the time is unreadable).
    pub member: BTreeMap<String, Option<Time>>,
    /// The Services that have it as a ready endpoint, and since when the observer has seen that.
    pub endpoint: BTreeMap<StageKey, Time>,
    /// The stages whose shadow Service has it as a ready endpoint, and since when the observer has seen that: the endpoint controller
    /// has seen the pod's membership label.
    pub shadow: BTreeMap<String, Time>,
    /// The Services that may have had it as an endpoint, and since when the observer has seen that they do not: the data
    /// plane may still send connections until `propagation` has passed.
    pub left: BTreeMap<StageKey, Time>,
    /// What is known of its connections.
    pub connections: Connections,
    /// What it is marked as.
    pub mark: Mark,
    /// Since when the observer has seen that mark. Safe to forget: it then counts from when it is seen again.
    pub marked: Time,
    /// Since when the observer has seen the pod's membership labels as they are. The time in `member` is by the clock of the operator that
    /// wrote it, which may be another one. Safe to forget, too.
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
    /// None. A ReplicaSet whose selector matches adopts the pod.
    None,
}

/// Whether the Services that select a pod's instance have the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// They have it.
    #[default]
    In,
    /// The pod was taken out of them: its instance becomes smaller, and the pod goes when its connections have ended.
    Out {
        /// When it was taken out; `None` where the time is unreadable.
        since: Option<Time>,
    },
}

/// What is known of a pod's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connections {
    /// Nobody asks: time alone decides.
    #[default]
    Uncounted,
    /// They shall be counted, and that has not been done yet or no longer succeeds. Such a pod counts as busy.
    Unknown {
        /// Since when it has been asked in vain: since it was to be asked, or since its last answer.
        since: Time,
    },
    /// It has some.
    Busy {
        /// So many.
        count: u32,
        /// Since when it has had at least one at every count.
        since: Time,
    },
    /// It has none.
    Idle {
        /// Since when every count has found none.
        since: Time,
        /// When the last count was made.
        counted: Time,
    },
}

/// What a pod of a draining color, or one that was taken out of its Services, is marked as, by labels and annotations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// Nothing.
    #[default]
    None,
    /// It holds connections, or serves pods that do: autoscalers and evictions leave it alone.
    Held,
    /// It is the next to go when fewer replicas are asked for.
    Leaving,
}
