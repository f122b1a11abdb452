//! Rainbow's resources as the planner's domain types, and back.

use rainbow_api::{self as api, Rainbow, names};
use rainbow_plan as plan;
use std::{collections::BTreeMap, time::Duration};

use crate::{clock, kind::Kind};

/// Seconds a color may take to become ready where the spec is silent, as a Deployment's.
const PROGRESS_DEADLINE: i32 = 600;

/// What the operator has to work with, whatever the application.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    /// How long the cluster's data plane may lag behind the endpoints that the API shows.
    pub(crate) propagation: Duration,
    pub(crate) swap: plan::Swap,
    /// The counter that new pods get.
    pub(crate) sidecar: Option<api::Sidecar>,
}

/// The name of the version that the spec describes.
pub(crate) fn color_name(spec: &api::RainbowSpec) -> String {
    spec.color.clone().unwrap_or_else(|| api::tiers_hash(&spec.tiers))
}

/// Seconds a color may take to become ready.
pub(crate) fn progress_deadline(spec: &api::RainbowSpec) -> i32 {
    spec.progress_deadline_seconds.unwrap_or(PROGRESS_DEADLINE).max(1)
}

pub(crate) fn spec(rainbow: &Rainbow, means: &Means) -> plan::Spec {
    let spec = &rainbow.spec;
    plan::Spec {
        color: color_name(spec),
        tiers: tiers(spec, &spec.tiers, &api::identities(&spec.tiers)),
        stages: spec.stages.iter().filter_map(|stage| self::stage(spec, stage)).collect(),
        drain: plan::Drain { deadline: spec.drain.deadline.0, settle: spec.drain.settle.0 },
        keep: plan::Keep { live: count(spec.keep.live).max(1), history: count(spec.keep.history) },
        progress_deadline: Duration::from_secs(u64::from(count(progress_deadline(spec)))),
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

fn tiers(spec: &api::RainbowSpec, tiers: &[api::Tier], identities: &BTreeMap<String, String>) -> Vec<plan::Tier> {
    let tier = |tier: &api::Tier| plan::Tier {
        name: tier.name.clone(),
        replicas: count(tier.replicas),
        needs: tier.needs.iter().map(|need| need.tier.clone()).collect(),
        identity: identities.get(&tier.name).cloned().unwrap_or_default(),
        counted: counted(spec, tier),
    };
    tiers.iter().map(tier).collect()
}

/// `None` where it is unclear which tier the stage leads to, or how it moves: such a spec is not planned for.
fn stage(spec: &api::RainbowSpec, stage: &api::Stage) -> Option<plan::Stage> {
    let shift = match stage.shift_kind()? {
        api::ShiftKind::Flip => plan::Shift::Flip,
        api::ShiftKind::Rolling(rolling) => {
            plan::Shift::Rolling { step: count(rolling.step).max(1), every: rolling.every.0 }
        }
    };
    Some(plan::Stage {
        name: stage.name.clone(),
        tier: api::stage_tier(spec, stage)?.to_owned(),
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
            shift_started: stage.shift.as_ref().and_then(|shift| clock::read(&shift.started_at)),
        };
        (stage.name.clone(), memory)
    };
    plan::Memory { stages: stages.map(one).collect() }
}

pub(crate) fn color(rainbow: &api::RainbowSpec, color: &api::Color) -> plan::Color {
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
        tiers: tiers(rainbow, &spec.tiers, &identities),
        instances: instances.collect(),
        retire: spec.retire,
        deadline: spec.drain.as_ref().and_then(|drain| drain.deadline).map(deadline),
        deleting: color.metadata.deletion_timestamp.is_some(),
        released: status.released_at.as_deref().and_then(clock::read),
        retired: status.retired_at.as_deref().and_then(clock::read),
    }
}

fn deadline(deadline: api::Deadline) -> plan::Deadline {
    match deadline {
        api::Deadline::After(time) => plan::Deadline::After(time.0),
        api::Deadline::Now => plan::Deadline::Now,
        api::Deadline::Never => plan::Deadline::Never,
    }
}

/// The name of a stage's Service; `None` where it is unclear which tier the stage leads to.
pub(crate) fn stage_service(spec: &api::RainbowSpec, stage: &api::Stage) -> Option<String> {
    match &stage.service.name {
        Some(name) => Some(name.clone()),
        None => Some(names::stage_service(spec.name_prefix.as_deref(), api::stage_tier(spec, stage)?, &stage.name)),
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
