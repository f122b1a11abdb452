//! Conversion of Rainbow's resources to the planner's domain types, and back.

mod peer_owner;
mod senders;

use rainbow_api::{self as api, Rainbow, Version, names};
use rainbow_plan as plan;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    clock,
    kind::{ConfigAccess, Kind},
};
pub(crate) use peer_owner::{OnePeer, PeerOwner};
pub(crate) use senders::Senders;

/// Time within which a load balancer that addresses pods sends clients to a new pod: registering and checking one takes 10 to 180 s.
const REGISTRATION: Duration = Duration::from_secs(180);
/// Time for which clients of a headless Service may use an old answer of the cluster's DNS. CoreDNS keeps answers for 30 s in its usual
/// settings, and clients keep them for as long again (the JVM by default).
const RESOLUTION: Duration = Duration::from_secs(60);

/// Settings of the operator that are the same for all applications.
#[derive(Clone, Debug)]
pub(crate) struct OperatorSettings {
    /// Time by which the cluster's data plane may lag behind the endpoints that the API shows.
    pub(crate) propagation: Duration,
    pub(crate) swap: plan::Swap,
    /// The counter that new pods get.
    pub(crate) sidecar: Option<NewSidecar>,
    /// Configuration that the operator may read.
    pub(crate) config: ConfigAccess,
    /// Time since when this operator leads.
    pub(crate) leads_since: plan::Time,
}

/// Counter that new pods get.
#[derive(Clone, Debug)]
pub(crate) struct NewSidecar {
    pub(crate) image: String,
    /// Settings where an application has none of its own.
    pub(crate) defaults: api::SidecarSettings,
}

/// Returns the spec for the planner. `version` is what the tiers describe; `None` where the spec's own version is invalid. The stages named
/// in `invalid` keep what they serve. `senders` are those of the stages' Services. `callers` is the [`callers_lag`].
pub(crate) fn spec(
    rainbow: &Rainbow,
    version: Option<&Version>,
    invalid: &BTreeSet<String>,
    senders: &BTreeMap<String, Senders>,
    callers: Duration,
    means: &OperatorSettings,
) -> plan::Spec {
    let spec = &rainbow.spec;
    let mut stages: Vec<plan::Stage> = Vec::new();
    for found in &spec.stages {
        // A name that occurs twice is an error of the stage. The planner makes the addresses of inner tiers itself.
        if !plan::is_inner_name(&found.name) && stages.iter().all(|known| known.name != found.name) {
            // The Service may change to what the spec says in the same write that moves the stage.
            let senders = senders.get(&found.name).copied().max(Some(Senders::of_stage(&found.service)));
            let senders = senders.unwrap_or_default();
            let overlap = overlap(found, senders, means);
            let hold = spec.hold(&found.name).map(hold);
            let between = between(spec, found);
            let (gates, shift) = (gates(spec, found), shift(spec, found));
            let own = stage(found, invalid.contains(&found.name));
            stages.push(plan::Stage { shift, overlap, hold, gates, between, ..own });
        }
    }
    plan::Spec {
        version: version.map_or(plan::Version::Invalid, |_| plan::Version::Valid),
        color: version.map(|version| version.color.clone()).unwrap_or_default(),
        tiers: version.map(|version| tiers_of_spec(spec, version)).unwrap_or_default(),
        stages,
        drain: plan::Drain { deadline: spec.drain.deadline.0, settle: spec.drain.settle.0 },
        keep: plan::Keep {
            live: count(spec.keep.live).max(1),
            history: count(spec.keep.history),
            warm: spec.keep.warm.0,
        },
        progress_deadline: seconds(spec.progress_deadline()),
        config: BTreeSet::new(),
        reuse: match spec.reuse {
            // A release of only a callee leaves its callers as they are.
            _ if !api::compatible_callees(&spec.tiers).is_empty() => plan::Reuse::Unchanged,
            api::Reuse::Never => plan::Reuse::Never,
            api::Reuse::Unchanged => plan::Reuse::Unchanged,
        },
        swap: means.swap,
        propagation: means.propagation,
        callers,
        deleting: rainbow.metadata.deletion_timestamp.is_some(),
    }
}

/// Converts a count that the API server or the validation has found to be at least 0.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// Returns the source of the evidence that the connections of a color's pods have ended: the spec's for the color that it describes,
/// otherwise the last one that the color remembers, otherwise the snapshot's. What a release says of its own pods says nothing of others.
pub(crate) fn evidence<'a>(spec: &api::RainbowSpec, described: bool, color: &'a api::Color) -> Cow<'a, api::Evidence> {
    if described {
        return Cow::Owned(spec.evidence(&spec.tiers));
    }
    let status = color.status.as_ref().and_then(|status| status.evidence.as_ref());
    let known = status.or(color.spec.evidence.as_ref());
    // An earlier version recorded nothing. The current spec is all that is known, and is remembered from now on.
    known.map_or_else(
        || Cow::Owned(spec.evidence(color.spec.tiers.iter().map(|tier| current(spec, tier)))),
        Cow::Borrowed,
    )
}

/// Returns whether a tier's connections are counted. With `Sidecar` they are even where the counter is missing: then nothing is known of
/// them, and that is reported.
pub(crate) fn counted(evidence: &api::Evidence, tier: &api::Tier) -> bool {
    match evidence.of_tier(&tier.name) {
        api::Connections::Sidecar => !tier.tcp_ports().is_empty() || has_associations(tier),
        api::Connections::Http => true,
        api::Connections::None => false,
    }
}

/// Returns whether clients have associations with the tier's pods, which the counter does not see. They are connections, so they are
/// unknown.
pub(crate) fn has_associations(tier: &api::Tier) -> bool {
    tier.ports.iter().any(|port| port.protocol() == "SCTP")
}

/// Returns the seconds that the pods of a color's tier must be ready, in the same order of precedence as [`evidence`].
pub(crate) fn min_ready(spec: &api::RainbowSpec, described: bool, color: &api::Color, tier: &api::Tier) -> i32 {
    let remembered = || color.status.as_ref()?.min_ready_seconds.get(&tier.name).copied();
    let snapshot = || tier.min_ready_seconds.unwrap_or(0);
    match described {
        true => current(spec, tier).min_ready_seconds.unwrap_or(0),
        false => remembered().unwrap_or_else(snapshot),
    }
}

/// Returns the scaling policy of a color's tier, in the same order of precedence as [`evidence`].
pub(crate) fn scaling(
    spec: &api::RainbowSpec,
    described: bool,
    color: &api::Color,
    tier: &api::Tier,
) -> api::TierScaling {
    let remembered = || color.status.as_ref()?.scaling.get(&tier.name).cloned();
    match described {
        true => current(spec, tier).scaling_policy(),
        false => remembered().unwrap_or_else(|| tier.scaling_policy()),
    }
}

fn scaling_of(policy: &api::TierScaling) -> plan::Scaling {
    match (&policy.autoscale, policy.scaling) {
        (Some(autoscale), _) => plan::Scaling::Autoscale {
            least: count(autoscale.least()).max(1),
            most: count(autoscale.max_replicas).max(1),
        },
        (None, api::Scaling::External) => plan::Scaling::External,
        (None, api::Scaling::Rainbow) => plan::Scaling::Replicas,
    }
}

/// Returns the tier as the spec has it now, or the given one where the spec has it no longer.
fn current<'a>(spec: &'a api::RainbowSpec, tier: &'a api::Tier) -> &'a api::Tier {
    spec.tiers.iter().find(|current| current.name == tier.name).unwrap_or(tier)
}

fn seconds(seconds: i32) -> Duration {
    Duration::from_secs(u64::from(count(seconds)))
}

/// Converts a tier without its policy.
fn tier(tier: &api::Tier, identity: Option<&String>) -> plan::Tier {
    plan::Tier {
        name: tier.name.clone(),
        replicas: count(tier.replicas),
        scaling: plan::Scaling::Replicas,
        needs: tier.own_needs().map(|need| need.tier.clone()).collect(),
        calls: tier.compatible_needs().map(|need| need.tier.clone()).collect(),
        identity: identity.cloned().unwrap_or_default(),
        counted: false,
        min_ready: Duration::ZERO,
    }
}

fn tiers_of_spec(spec: &api::RainbowSpec, version: &Version) -> Vec<plan::Tier> {
    let evidence = spec.evidence(&spec.tiers);
    let tier = |found: &api::Tier| plan::Tier {
        scaling: scaling_of(&found.scaling_policy()),
        counted: counted(&evidence, found),
        min_ready: seconds(found.min_ready_seconds.unwrap_or(0)),
        ..tier(found, version.identities.get(&found.name))
    };
    spec.tiers.iter().map(tier).collect()
}

fn tiers_of_color(spec: &api::RainbowSpec, described: bool, color: &api::Color) -> Vec<plan::Tier> {
    let evidence = evidence(spec, described, color);
    let identity =
        |name: &str| color.spec.instances.iter().find(|known| known.tier == name).map(|known| &known.identity);
    let tier = |found: &api::Tier| plan::Tier {
        scaling: scaling_of(&scaling(spec, described, color, found)),
        counted: counted(&evidence, found),
        min_ready: seconds(min_ready(spec, described, color, found)),
        ..tier(found, identity(&found.name))
    };
    color.spec.tiers.iter().map(tier).collect()
}

/// Returns the time for which the pods that join and those that leave must serve together, where that differs from the cluster's own data
/// plane.
fn overlap(stage: &api::Stage, senders: Senders, means: &OperatorSettings) -> Option<Duration> {
    let own = stage.shift.as_ref().and_then(|shift| shift.overlap);
    own.map(|own| own.0).or(match senders {
        Senders::Nodes => None,
        // A node whose last pod has left answers no client until the load balancer has noticed.
        Senders::NodesLocally => Some(means.propagation),
        Senders::Clients => Some(RESOLUTION.max(means.propagation)),
        Senders::LoadBalancer => Some(REGISTRATION.max(means.propagation)),
    })
}

/// Returns the longest time for which callers in the application may call pods after the pods have left the Services of their instances,
/// where that differs from the cluster's own data plane.
pub(crate) fn callers_lag<'a>(mut tiers: impl Iterator<Item = &'a api::Tier>) -> Duration {
    if tiers.any(|tier| tier.service.is_headless()) { RESOLUTION } else { Duration::ZERO }
}

fn stage(stage: &api::Stage, invalid: bool) -> plan::Stage {
    plan::Stage {
        name: stage.name.clone(),
        tier: stage.tier.clone(),
        promote: match stage.promote {
            api::Promote::Auto => plan::Promote::Auto,
            api::Promote::Manual => plan::Promote::Manual,
        },
        color: stage.color.clone(),
        replicas: stage.replicas.map(count),
        shift: plan::Shift::Flip,
        overlap: None,
        paused: stage.paused,
        hold: None,
        gates: plan::Gates::default(),
        on_stalled: match stage.on_stalled {
            api::OnStalled::Hold => plan::OnStalled::Hold,
            api::OnStalled::RollBack => plan::OnStalled::RollBack,
        },
        invalid,
        between: plan::Between::Nothing,
        address: plan::Address::Entry,
    }
}

/// Returns the way in which a stage moves.
fn shift(spec: &api::RainbowSpec, stage: &api::Stage) -> plan::Shift {
    match stage.shift_kind() {
        Some(api::ShiftKind::Rolling(rolling)) => {
            // A surge that cannot be read makes the stage invalid. An invalid stage only goes back.
            let surge = rolling.surge().unwrap_or_default().map(|surge| match surge {
                api::Surge::Pods(pods) => plan::Surge::Pods(pods),
                api::Surge::Percent(percent) => plan::Surge::Percent(percent),
            });
            plan::Shift::Rolling { step: count(rolling.step).max(1), every: rolling.every.0, surge }
        }
        Some(api::ShiftKind::Steps(steps)) => {
            // A step that cannot be read makes the stage invalid.
            let steps = steps.iter().filter_map(api::ShiftStep::kind).map(|kind| match kind {
                api::StepKind::Pods(pods) => plan::Step::Pods(count(pods)),
                api::StepKind::Percent(percent) => plan::Step::Percent(count(percent).min(100)),
                api::StepKind::Pause(duration) => plan::Step::Pause { after: duration.map(|after| after.0) },
                api::StepKind::Gate(gate) => plan::Step::Gate(gate.to_owned()),
            });
            let own = spec.passed_steps.iter().filter(|passed| passed.stage == stage.name);
            let passed = own.filter_map(|passed| {
                let index = count(passed.step).checked_sub(1)?;
                Some(plan::PassedStep { index, color: passed.color.clone(), started: clock::read(&passed.shift)? })
            });
            plan::Shift::Steps { steps: steps.collect(), passed: passed.collect() }
        }
        // A stage with two ways to shift is invalid. An invalid stage only goes back.
        Some(api::ShiftKind::Flip) | None => plan::Shift::Flip,
    }
}

/// Returns the gates of a stage.
fn gates(spec: &api::RainbowSpec, stage: &api::Stage) -> plan::Gates {
    let own = &stage.gates;
    let tiers = stage.shift.as_ref().and_then(|shift| shift.tiers.as_ref());
    let skipped = spec.skipped_gates.iter().filter(|skipped| skipped.stage == stage.name);
    plan::Gates {
        before: own.before.clone(),
        during: own.during.clone(),
        between: tiers.map(|tiers| tiers.gates.clone()).unwrap_or_default(),
        after: own.after.clone(),
        watch: own.duration.unwrap_or_default().0,
        guards: if own.pods.disabled { Vec::new() } else { vec![api::PODS_GATE.to_owned()] },
        dry: spec.gates.iter().filter(|gate| gate.check.dry_run).map(|gate| gate.name.clone()).collect(),
        skipped: skipped
            .map(|skipped| plan::SkippedGate { gate: skipped.gate.clone(), color: skipped.color.clone() })
            .collect(),
    }
}

/// Returns what a stage does between two tiers.
fn between(spec: &api::RainbowSpec, stage: &api::Stage) -> plan::Between {
    let tiers = stage.shift.as_ref().and_then(|shift| shift.tiers.as_ref());
    let Some(pause) = tiers.and_then(|tiers| tiers.pause.as_ref()) else { return plan::Between::Nothing };
    let own = spec.passed.iter().filter(|passed| passed.stage == stage.name);
    let step = |passed: &api::Passed| plan::PassedTier { tier: passed.tier.clone(), color: passed.color.clone() };
    plan::Between::Pause { after: pause.duration.map(|after| after.0), passed: own.map(step).collect() }
}

fn hold(hold: &api::Hold) -> plan::Hold {
    plan::Hold { id: hold.id(), color: hold.color.clone(), paused: hold.paused, revision: hold.revision }
}

/// Returns the memory in the status. A stage that has taken over a Service, such as one that was renamed, continues from what is remembered
/// of the stage that had the Service. `services` are the names of the stages' Services.
pub(crate) fn memory(rainbow: &Rainbow, services: &BTreeMap<plan::StageKey, String>) -> plan::Memory {
    let status = rainbow.status.as_ref();
    let known = status.map(|status| status.stages.as_slice()).unwrap_or_default();
    let in_spec = |name: &str| rainbow.spec.stages.iter().any(|stage| stage.name == name);
    let heirs = rainbow.spec.stages.iter().filter(|stage| known.iter().all(|known| known.name != stage.name));
    let heirs = heirs.filter_map(|stage| {
        let service = services.get(&plan::StageKey::of(&stage.name))?;
        let before = known.iter().find(|known| known.service == *service && !in_spec(&known.name))?;
        Some((stage.name.clone(), stage_memory(before)))
    });
    let stages = known.iter().map(|stage| (stage.name.clone(), stage_memory(stage)));
    plan::Memory { color: status.and_then(|status| status.color.clone()), stages: stages.chain(heirs).collect() }
}

fn stage_memory(stage: &api::StageStatus) -> plan::StageMemory {
    plan::StageMemory {
        color: stage.color.clone(),
        previous: stage.previous.clone(),
        target: stage.target.clone(),
        since: stage.since.as_deref().and_then(clock::read),
        shift: stage.shift.as_ref().and_then(shift_memory),
        degraded: degraded(stage),
        rejected: rejection(stage),
        approved: stage.approved.clone(),
        ended_hold: stage.ended_hold.clone(),
        tiers: stage.tiers.iter().map(|tier| (tier.tier.clone(), stage_memory(&tier.clone().into_stage()))).collect(),
    }
}

fn rejection(stage: &api::StageStatus) -> Option<plan::Rejection> {
    Some(plan::Rejection { color: stage.rejected.clone()?, gate: stage.rejected_by.clone() })
}

fn degraded(stage: &api::StageStatus) -> Option<plan::Degraded> {
    let since = stage.degraded_since.as_deref().and_then(clock::read)?;
    Some(plan::Degraded { color: stage.degraded_color.clone()?, since })
}

fn shift_memory(shift: &api::ShiftStatus) -> Option<plan::ShiftMemory> {
    Some(plan::ShiftMemory {
        from: shift.from.clone(),
        to: shift.to.clone(),
        started: clock::read(&shift.started_at)?,
        moved: count(shift.moved),
        held: (shift.phase == api::ShiftPhase::Paused).then(|| count(shift.of)),
        step: plan::StepMemory {
            index: count(shift.step.unwrap_or(1)).saturating_sub(1),
            since: shift.step_since.as_deref().and_then(clock::read),
        },
    })
}

fn sizes(replicas: &BTreeMap<String, i32>) -> BTreeMap<String, u32> {
    replicas.iter().map(|(tier, replicas)| (tier.clone(), count(*replicas))).collect()
}

/// Converts what a color's status says of tiers that one stage has for itself.
fn part(part: &api::PartStatus) -> plan::PartMemory {
    plan::PartMemory {
        key: plan::PartKey { stage: part.stage.clone(), tier: part.tier.clone() },
        released: part.released_at.as_deref().and_then(clock::read),
        retired: part.retired_at.as_deref().and_then(clock::read),
        demoted: part.demoted,
        sizes: sizes(&part.replicas),
        served: part.served.clone(),
    }
}

/// Converts a color. `described` says whether the spec describes it.
pub(crate) fn color(rainbow: &api::RainbowSpec, described: bool, color: &api::Color) -> plan::Color {
    let spec = &color.spec;
    let instances =
        spec.instances.iter().map(|i| (i.tier.clone(), plan::InstanceName::shared(i.tier.as_str(), i.color.as_str())));
    let none = api::ColorStatus::default();
    let status = color.status.as_ref().unwrap_or(&none);
    plan::Color {
        name: spec.color.clone(),
        revision: spec.revision,
        created: color.metadata.creation_timestamp.as_ref().map_or(plan::Time(0), |time| clock::from_timestamp(time.0)),
        tiers: tiers_of_color(rainbow, described, color),
        instances: instances.collect(),
        retire: spec.retire,
        deadline: spec.drain.as_ref().and_then(|drain| drain.deadline).map(deadline),
        deleting: color.metadata.deletion_timestamp.is_some(),
        released: status.released_at.as_deref().and_then(clock::read),
        retired: status.retired_at.as_deref().and_then(clock::read),
        // Before the first status the color has the entries of the spec that it was made of.
        entries: if status.phase.is_some() { status.entries.clone() } else { spec.entries.clone() },
        demoted: status.demoted,
        rejected_by: rejected_by(status),
        served: status.served.clone(),
        config: config_copies(&spec.config),
        sizes: sizes(&status.replicas),
        parts: status.parts.iter().map(part).collect(),
        part: plan::Part::Shared,
        bound: Vec::new(),
    }
}

/// Converts the gate that has rejected a color: `stage/gate`.
fn rejected_by(status: &api::ColorStatus) -> Option<plan::RejectedBy> {
    let (stage, gate) = status.rejected_by.as_deref()?.split_once('/')?;
    Some(plan::RejectedBy { stage: stage.to_owned(), gate: gate.to_owned() })
}

/// Converts copies of configuration.
pub(crate) fn config_copies(config: &[api::ColorConfig]) -> BTreeSet<plan::ConfigCopy> {
    let copy =
        |one: &api::ColorConfig| plan::ConfigCopy { source: config_name(one.kind, &one.name), copy: one.copy.clone() };
    config.iter().map(copy).collect()
}

pub(crate) fn config_name(kind: api::ConfigKind, name: &str) -> plan::ConfigName {
    let kind = match kind {
        api::ConfigKind::ConfigMap => plan::ConfigKind::ConfigMap,
        api::ConfigKind::Secret => plan::ConfigKind::Secret,
    };
    plan::ConfigName { kind, name: name.to_owned() }
}

pub(crate) fn kind_of_config(kind: plan::ConfigKind) -> Kind {
    match kind {
        plan::ConfigKind::ConfigMap => Kind::ConfigMap,
        plan::ConfigKind::Secret => Kind::Secret,
    }
}

fn deadline(deadline: api::Deadline) -> plan::Deadline {
    match deadline {
        api::Deadline::After(time) => plan::Deadline::After(time.0),
        api::Deadline::Now => plan::Deadline::Now,
        api::Deadline::Never => plan::Deadline::Never,
    }
}

/// Problem that keeps a Rainbow from being what its spec says, found before or after planning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// Machine-readable reason.
    pub(crate) reason: api::Reason,
    /// Sentence for people.
    pub(crate) message: String,
}

/// Purpose of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Instance(plan::InstanceName),
    /// Stage of this name.
    Stage(String),
    /// Shadow Service of the stage of this name.
    Shadow(String),
    /// Another Rainbow of this name in the namespace.
    Rainbow(String),
}

/// Returns the name of an instance's Deployment, and of its Service.
pub(crate) fn object_name(prefix: Option<&str>, instance: &plan::InstanceName) -> String {
    match &instance.stage {
        None => names::instance(prefix, &instance.tier, &instance.color),
        Some(stage) => names::instance_of_stage(prefix, &instance.tier, stage, &instance.color),
    }
}

/// Returns the instances of a color. Each stage has its own of tiers that call a tier which may be newer.
pub(crate) fn instances<'a>(
    color: &'a api::ColorSpec,
    stages: impl Iterator<Item = &'a str> + Clone,
) -> Vec<plan::InstanceName> {
    let bound = api::bound_tiers(&color.tiers);
    let own = |known: &api::ColorInstance| {
        let shared = plan::InstanceName::shared(known.tier.as_str(), known.color.as_str());
        match bound.contains(known.tier.as_str()) {
            true => stages.clone().map(|stage| shared.of_stage(stage)).collect(),
            false => vec![shared],
        }
    };
    color.instances.iter().flat_map(own).collect()
}

/// Returns whether the color has the instance, or stages have their own of it.
pub(crate) fn has_version(color: &plan::Color, instance: &plan::InstanceName) -> bool {
    color.instances.get(&*instance.tier).is_some_and(|known| known.color == instance.color)
}

/// Returns the names of the stages that users know.
pub(crate) fn user_stages(spec: &api::RainbowSpec) -> impl Iterator<Item = &str> + Clone {
    spec.stages.iter().map(|stage| stage.name.as_str()).filter(|name| !plan::is_inner_name(name))
}

/// Names of the objects that the planner speaks of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    pub(crate) rainbow: &'a str,
    /// Prefix of the names of instances.
    pub(crate) prefix: Option<&'a str>,
    pub(crate) services: &'a BTreeMap<plan::StageKey, String>,
    /// Reasons why instances lack pods.
    pub(crate) troubles: &'a PodTroubles,
    /// Owner of each needed name that is taken, by kind and name of the object, where the owner is known.
    pub(crate) taken: &'a BTreeMap<(Kind, String), Owner>,
}

/// Reason why an instance lacks pods: one of its pods, with what the pod's node or the scheduler says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodTrouble {
    /// Pod or Deployment.
    pub(crate) object: String,
    pub(crate) says: String,
    pub(crate) urgency: Urgency,
}

/// Likelihood that a trouble does not pass by itself, most likely first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// A user must do something.
    Stuck,
    /// A probe has not passed yet.
    Unready,
    /// The ordinary course of a start.
    Starting,
}

/// Troubles by color and tier.
pub(crate) type PodTroubles = BTreeMap<(String, String), PodTrouble>;

impl Names<'_> {
    /// Returns the name of an instance's Deployment and Service.
    pub(crate) fn instance(&self, instance: &plan::InstanceName) -> String {
        object_name(self.prefix, instance)
    }

    /// Returns the name of a stage's Service. Empty: the stage has none.
    pub(crate) fn service(&self, stage: &str) -> String {
        self.services.get(&plan::StageKey::of(stage)).cloned().unwrap_or_default()
    }

    /// Returns the reason why a color lacks pods in a tier.
    pub(crate) fn trouble(&self, color: &str, tier: &str) -> Option<&PodTrouble> {
        self.troubles.get(&(color.to_owned(), tier.to_owned()))
    }

    /// Returns the purpose of an object that the planner asks for.
    pub(crate) fn purpose(object: &plan::Object) -> Option<Owner> {
        match object {
            plan::Object::Deployment(instance) | plan::Object::Service(instance) | plan::Object::Scaler(instance) => {
                Some(Owner::Instance(instance.clone()))
            }
            plan::Object::StageService { stage } | plan::Object::StageBudget { stage } => {
                Some(Owner::Stage(stage.clone()))
            }
            plan::Object::ShadowService { stage } => Some(Owner::Shadow(stage.clone())),
            plan::Object::Guard | plan::Object::Copy(_) => None,
        }
    }

    /// Returns the kind and the name of an object.
    pub(crate) fn object(&self, object: &plan::Object) -> (Kind, String) {
        match object {
            plan::Object::Deployment(instance) => (Kind::Deployment, self.instance(instance)),
            plan::Object::Service(instance) => (Kind::Service, self.instance(instance)),
            plan::Object::Scaler(instance) => (Kind::HorizontalPodAutoscaler, self.instance(instance)),
            plan::Object::StageService { stage } => (Kind::Service, self.service(stage)),
            plan::Object::ShadowService { stage } => (Kind::Service, names::shadow(&self.service(stage))),
            plan::Object::StageBudget { stage } => {
                (Kind::PodDisruptionBudget, names::stage_budget(self.rainbow, stage))
            }
            plan::Object::Copy(copy) => (kind_of_config(copy.kind), copy.name.clone()),
            plan::Object::Guard => (Kind::PodDisruptionBudget, names::guard(self.rainbow)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rainbow_api::{Color, Connections, RainbowSpec};
    use serde_json::{Value, json};

    fn tier(connections: &Value, min_ready: i32) -> Value {
        json!({
            "name": "web", "minReadySeconds": min_ready, "connections": connections,
            "ports": [{ "name": "http", "port": 80 }], "template": {},
        })
    }

    fn spec(connections: &str, tier_says: &Value, min_ready: i32) -> RainbowSpec {
        let drain = json!({ "connections": connections });
        serde_json::from_value(json!({ "color": "v2", "tiers": [tier(tier_says, min_ready)], "drain": drain })).unwrap()
    }

    fn color(evidence: Value, status: Value) -> Color {
        serde_json::from_value(json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Color", "metadata": { "name": "shop-v1" },
            "spec": {
                "rainbow": "shop", "color": "v1", "revision": 1, "tiers": [tier(&json!("Sidecar"), 5)], "evidence": evidence,
                "instances": [{ "tier": "web", "color": "v1", "identity": "1" }],
            },
            "status": status,
        }))
        .unwrap()
    }

    #[track_caller]
    fn check(described: bool, color: &Color, expected: (Connections, i32)) {
        let spec = spec("None", &Value::Null, 30);
        let found = evidence(&spec, described, color).of_tier("web");
        assert_eq!((found, min_ready(&spec, described, color, &color.spec.tiers[0])), expected);
    }

    #[test]
    fn policy_about_pods_is_that_of_their_own_color() {
        let snapshot = || json!({ "connections": "Http", "tiers": { "web": "Sidecar" } });
        let status = || json!({ "evidence": { "connections": "Http" }, "minReadySeconds": { "web": 7 } });
        check(true, &color(snapshot(), status()), (Connections::None, 30));
        check(false, &color(snapshot(), status()), (Connections::Http, 7));
        check(false, &color(snapshot(), json!({})), (Connections::Sidecar, 5));
        // Of a color that an earlier version made nothing is known but what the spec says now.
        check(false, &color(Value::Null, json!({})), (Connections::None, 5));
        check(false, &color(Value::Null, status()), (Connections::Http, 7));
    }

    /// Whether a tier's connections are counted depends on the protocols of its ports.
    #[test]
    fn what_is_counted_depends_on_the_protocols() {
        let counted = |connections: &str, protocols: &[&str]| {
            let port =
                |(index, protocol)| json!({ "name": format!("p{index}"), "port": 80 + index, "protocol": protocol });
            let mut tier = tier(&json!(connections), 0);
            tier["ports"] = protocols.iter().enumerate().map(port).collect();
            let spec = json!({ "tiers": [tier], "drain": { "http": { "path": "/connections", "port": 80, "field": "active" } } });
            let spec: RainbowSpec = serde_json::from_value(spec).unwrap();
            super::counted(&spec.evidence(&spec.tiers), &spec.tiers[0])
        };
        assert!(counted("Sidecar", &["TCP", "UDP"]), "by the TCP connections");
        assert!(!counted("Sidecar", &["UDP"]), "there are none: by time");
        assert!(counted("Sidecar", &["SCTP"]) && counted("Sidecar", &["TCP", "SCTP"]), "unknown");
        assert!(counted("Http", &["UDP"]) && !counted("None", &["SCTP"]), "as its user says");
    }

    #[test]
    fn callers_of_a_headless_service_go_by_old_answers() {
        let lag = |service: Value| {
            let mut tier = tier(&Value::Null, 0);
            tier["service"] = service;
            let tiers: [api::Tier; 2] =
                [serde_json::from_value(self::tier(&Value::Null, 0)).unwrap(), serde_json::from_value(tier).unwrap()];
            callers_lag(tiers.iter())
        };
        assert_eq!(lag(json!({ "sessionAffinity": "ClientIP" })), Duration::ZERO);
        assert_eq!(lag(json!({ "clusterIP": "None" })), RESOLUTION);
        let longest = |callers| plan::Spec { callers, ..plan::Spec::new("v1", Vec::new(), Vec::new()) }.longest_lag();
        assert_eq!((longest(Duration::ZERO), longest(RESOLUTION)), (Duration::from_secs(1), RESOLUTION));
    }

    #[test]
    fn an_overlap_is_as_long_as_the_slowest_sender_needs() {
        let seconds = |seconds: u64| Some(Duration::from_secs(seconds));
        let means = OperatorSettings {
            propagation: Duration::from_secs(3),
            swap: plan::Swap::Direct,
            sidecar: None,
            config: ConfigAccess::None,
            leads_since: plan::Time(0),
        };
        let overlap = |shift: Value, senders| {
            let stage = serde_json::from_value(json!({ "name": "active", "shift": shift })).unwrap();
            overlap(&stage, senders, &means)
        };
        assert_eq!(overlap(Value::Null, Senders::Nodes), None);
        assert_eq!(overlap(Value::Null, Senders::NodesLocally), seconds(3));
        assert_eq!(overlap(Value::Null, Senders::Clients), seconds(60));
        assert_eq!(overlap(json!({ "flip": {} }), Senders::LoadBalancer), seconds(180));
        for senders in [Senders::Nodes, Senders::NodesLocally, Senders::Clients, Senders::LoadBalancer] {
            assert_eq!(overlap(json!({ "overlap": "40s" }), senders), seconds(40));
        }
    }

    #[test]
    fn a_version_is_known_by_its_name_and_its_instances() {
        let color = color(Value::Null, json!({}));
        let version = |color: &str, identities: &[(&str, &str)]| Version {
            color: color.to_owned(),
            identities: identities
                .iter()
                .map(|(tier, identity)| ((*tier).to_owned(), (*identity).to_owned()))
                .collect(),
        };
        assert!(version("v1", &[("web", "1")]).is_of(&color.spec));
        assert!(!version("v2", &[("web", "1")]).is_of(&color.spec));
        assert!(!version("v1", &[("web", "2")]).is_of(&color.spec));
        assert!(!version("v1", &[("web", "1"), ("api", "1")]).is_of(&color.spec));
    }
}
