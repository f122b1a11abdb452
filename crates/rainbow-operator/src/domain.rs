//! Rainbow's resources as the planner's domain types, and back.

use rainbow_api::{self as api, Rainbow, names};
use rainbow_plan as plan;
use std::{collections::BTreeMap, time::Duration};

use crate::{clock, kind::Kind};

/// What the operator has to work with, whatever the application.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    /// How long the cluster's data plane may lag behind the endpoints that the API shows.
    pub(crate) propagation: Duration,
    pub(crate) swap: plan::Swap,
    /// The counter that new pods get.
    pub(crate) sidecar: Option<api::Sidecar>,
}

/// What follows from the tiers of a spec as they were written, templates included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Name of the color.
    pub(crate) color: String,
    /// By tier, the identity of its instance.
    pub(crate) identities: BTreeMap<String, String>,
}

impl Version {
    pub(crate) fn of(spec: &api::RainbowSpec) -> Self {
        let color = spec.color.clone().unwrap_or_else(|| api::tiers_hash(&spec.tiers));
        Self { color, identities: api::identities(&spec.tiers) }
    }
}

pub(crate) fn spec(rainbow: &Rainbow, version: &Version, means: &Means) -> plan::Spec {
    let spec = &rainbow.spec;
    plan::Spec {
        color: version.color.clone(),
        tiers: tiers(spec, true, &spec.tiers, &version.identities),
        stages: spec.stages.iter().filter_map(stage).collect(),
        drain: plan::Drain { deadline: spec.drain.deadline.0, settle: spec.drain.settle.0 },
        keep: plan::Keep { live: count(spec.keep.live).max(1), history: count(spec.keep.history) },
        progress_deadline: seconds(spec.progress_deadline()),
        reuse: match spec.reuse {
            api::Reuse::Never => plan::Reuse::Never,
            api::Reuse::Unchanged => plan::Reuse::Unchanged,
        },
        swap: means.swap,
        propagation: means.propagation,
        deleting: rainbow.metadata.deletion_timestamp.is_some(),
    }
}

/// A count that the API server or the validation has found to be at least 0.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// Where the evidence comes from that a tier's connections have ended: the spec's word where it still has the tier, else
/// that of the tier as a color has it.
pub(crate) fn evidence(spec: &api::RainbowSpec, tier: &api::Tier) -> api::Connections {
    let current = spec.tiers.iter().find(|current| current.name == tier.name);
    api::connections(spec, current.unwrap_or(tier))
}

/// Whether a tier's connections are counted. Those of the counter are, even where it is missing: then nothing is known of
/// them, and that is told.
pub(crate) fn counted(spec: &api::RainbowSpec, tier: &api::Tier) -> bool {
    match evidence(spec, tier) {
        api::Connections::Sidecar => !tier.tcp_ports().is_empty(),
        api::Connections::Http => true,
        api::Connections::None => false,
    }
}

/// How long the pods of a color's tier have to be ready: the spec's word for the color that it describes, else the snapshot's.
fn min_ready(spec: &api::RainbowSpec, described: bool, tier: &api::Tier) -> Duration {
    let current = spec.tiers.iter().find(|current| described && current.name == tier.name);
    seconds(current.unwrap_or(tier).min_ready_seconds.unwrap_or(0))
}

fn seconds(seconds: i32) -> Duration {
    Duration::from_secs(u64::from(count(seconds)))
}

fn tiers(
    spec: &api::RainbowSpec,
    described: bool,
    tiers: &[api::Tier],
    identities: &BTreeMap<String, String>,
) -> Vec<plan::Tier> {
    let tier = |tier: &api::Tier| plan::Tier {
        name: tier.name.clone(),
        replicas: count(tier.replicas),
        needs: tier.needs.iter().map(|need| need.tier.clone()).collect(),
        identity: identities.get(&tier.name).cloned().unwrap_or_default(),
        counted: counted(spec, tier),
        min_ready: min_ready(spec, described, tier),
    };
    tiers.iter().map(tier).collect()
}

/// `None` where it is unclear how the stage moves: such a spec is not planned for.
fn stage(stage: &api::Stage) -> Option<plan::Stage> {
    let shift = match stage.shift_kind()? {
        api::ShiftKind::Flip => plan::Shift::Flip,
        api::ShiftKind::Rolling(rolling) => {
            plan::Shift::Rolling { step: count(rolling.step).max(1), every: rolling.every.0 }
        }
    };
    Some(plan::Stage {
        name: stage.name.clone(),
        tier: stage.tier.clone(),
        promote: match stage.promote {
            api::Promote::Auto => plan::Promote::Auto,
            api::Promote::Manual => plan::Promote::Manual,
        },
        color: stage.color.clone(),
        replicas: stage.replicas.map(count),
        shift,
        paused: stage.paused,
    })
}

pub(crate) fn memory(rainbow: &Rainbow) -> plan::Memory {
    let stages = rainbow.status.iter().flat_map(|status| &status.stages);
    let one = |stage: &api::StageStatus| {
        let memory = plan::StageMemory {
            color: stage.color.clone(),
            previous: stage.previous.clone(),
            target: stage.target.clone(),
            since: stage.since.as_deref().and_then(clock::read),
            shift: stage.shift.as_ref().and_then(shift_memory),
        };
        (stage.name.clone(), memory)
    };
    plan::Memory { stages: stages.map(one).collect() }
}

fn shift_memory(shift: &api::ShiftStatus) -> Option<plan::ShiftMemory> {
    Some(plan::ShiftMemory {
        from: shift.from.clone(),
        to: shift.to.clone(),
        started: clock::read(&shift.started_at)?,
        held: (shift.phase == api::ShiftPhase::Paused).then(|| count(shift.of)),
    })
}

pub(crate) fn color(rainbow: &api::RainbowSpec, version: &Version, color: &api::Color) -> plan::Color {
    let spec = &color.spec;
    let identities = spec.instances.iter().map(|i| (i.tier.clone(), i.identity.clone())).collect();
    let instances = spec
        .instances
        .iter()
        .map(|i| (i.tier.clone(), plan::InstanceName { tier: i.tier.clone(), color: i.color.clone() }));
    let status = color.status.clone().unwrap_or_default();
    plan::Color {
        name: spec.color.clone(),
        revision: spec.revision,
        created: color.metadata.creation_timestamp.as_ref().map_or(plan::Time(0), |time| clock::from_timestamp(time.0)),
        tiers: tiers(rainbow, spec.color == version.color, &spec.tiers, &identities),
        instances: instances.collect(),
        retire: spec.retire,
        deadline: spec.drain.as_ref().and_then(|drain| drain.deadline).map(deadline),
        deleting: color.metadata.deletion_timestamp.is_some(),
        released: status.released_at.as_deref().and_then(clock::read),
        retired: status.retired_at.as_deref().and_then(clock::read),
        entries: status.entries,
        demoted: status.demoted,
        sizes: status.replicas.into_iter().map(|(tier, replicas)| (tier, count(replicas))).collect(),
    }
}

fn deadline(deadline: api::Deadline) -> plan::Deadline {
    match deadline {
        api::Deadline::After(time) => plan::Deadline::After(time.0),
        api::Deadline::Now => plan::Deadline::Now,
        api::Deadline::Never => plan::Deadline::Never,
    }
}

/// Names of the objects that the planner speaks of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    /// Name of the `Rainbow`.
    pub(crate) rainbow: &'a str,
    /// What stands before the names of instances.
    pub(crate) prefix: Option<&'a str>,
    /// Names of the stages' Services.
    pub(crate) services: &'a BTreeMap<plan::StageKey, String>,
}

impl Names<'_> {
    /// Name of an instance's Deployment and Service.
    pub(crate) fn instance(&self, instance: &plan::InstanceName) -> String {
        names::instance(self.prefix, &instance.tier, &instance.color)
    }

    /// Name of a stage's Service; empty where the stage has none.
    pub(crate) fn service(&self, stage: &str) -> String {
        self.services.get(&plan::StageKey::of(stage)).cloned().unwrap_or_default()
    }

    /// Kind and name of an object.
    pub(crate) fn object(&self, object: &plan::Object) -> (Kind, String) {
        match object {
            plan::Object::Deployment(instance) => (Kind::Deployment, self.instance(instance)),
            plan::Object::Service(instance) => (Kind::Service, self.instance(instance)),
            plan::Object::StageService { stage } => (Kind::Service, self.service(stage)),
            plan::Object::Guard => (Kind::PodDisruptionBudget, names::guard(self.rainbow)),
        }
    }
}
