//! An application as `rainbow status` shows it: put together from its objects, without any input or output.

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::api::ObjectMeta;
use rainbow_api::{
    Color, ColorPhase, ConditionType, DrainStatus, Holder, Rainbow, Reason, ShiftPhase, bound_tiers, labels,
};
use serde::Serialize;
use std::collections::BTreeSet;

/// The objects an application consists of.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) rainbow: Rainbow,
    pub(crate) colors: Vec<Color>,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) pods: Vec<Pod>,
}

/// An application as it is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// The newest color.
    pub(crate) color: Option<String>,
    pub(crate) state: State,
    /// Why it is so.
    pub(crate) message: Option<String>,
    pub(crate) stages: Vec<StageView>,
    /// Newest first.
    pub(crate) colors: Vec<ColorView>,
}

/// Whether all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum State {
    /// All is as it shall be.
    Ready,
    /// Something is under way.
    Reconciling,
    /// A stage is held in the middle of a shift, and nothing else is under way.
    Paused,
    /// A person has to mend something.
    Stalled,
    /// The operator has not seen the newest spec yet.
    Unobserved,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StageView {
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) color: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) previous: Option<String>,
    pub(crate) shift: Option<rainbow_api::ShiftStatus>,
    pub(crate) message: Option<String>,
    /// Which color has which share of the stage; the one it comes from first.
    pub(crate) shares: Vec<Share>,
    /// The tiers that move on their own, inner tiers first.
    pub(crate) tiers: Vec<rainbow_api::TierStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Share {
    pub(crate) color: String,
    pub(crate) percent: i32,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ColorView {
    pub(crate) name: String,
    pub(crate) revision: i64,
    pub(crate) phase: Option<ColorPhase>,
    pub(crate) message: Option<String>,
    pub(crate) created: Option<String>,
    /// When it left its last stage.
    pub(crate) released_at: Option<String>,
    /// When it was scaled to zero.
    pub(crate) retired_at: Option<String>,
    /// Connections last known. None while nobody asks.
    pub(crate) connections: Option<i64>,
    /// Its drain: under way, or what it cut.
    pub(crate) drain: Option<DrainStatus>,
    /// Since when connections of it cannot be read, if they cannot.
    pub(crate) unknown_since: Option<String>,
    pub(crate) tiers: Vec<TierView>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TierView {
    pub(crate) name: String,
    /// The color that introduced the instance.
    pub(crate) instance: String,
    /// The stage that has the pods for itself. None: all stages share them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<String>,
    /// The other colors that have the same instance.
    pub(crate) shared_with: Vec<String>,
    pub(crate) replicas: i32,
    pub(crate) ready: i32,
    pub(crate) pods: Vec<PodView>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodView {
    pub(crate) name: String,
    pub(crate) ready: bool,
    /// `Ready`, `Terminating`, or why it is neither.
    pub(crate) state: String,
    pub(crate) restarts: i32,
    pub(crate) ip: Option<String>,
    pub(crate) node: Option<String>,
    /// The stages whose membership label it carries: only while they shift.
    pub(crate) stages: Vec<String>,
    /// What it holds a draining color with.
    pub(crate) holder: Option<Holder>,
}

impl View {
    pub(crate) fn new(world: &World) -> Self {
        let status = world.rainbow.status.clone().unwrap_or_default();
        let (state, message) = state(&world.rainbow, &status.conditions);
        let mut colors: Vec<&Color> = world.colors.iter().collect();
        colors.sort_by_key(|color| std::cmp::Reverse(color.spec.revision));
        let stages = status.stages.into_iter().map(|stage| StageView {
            shares: shares(stage.color.as_deref(), stage.shift.as_ref()),
            name: stage.name,
            service: stage.service,
            color: stage.color,
            target: stage.target,
            previous: stage.previous,
            shift: stage.shift,
            message: stage.message,
            tiers: stage.tiers,
        });
        Self {
            name: world.rainbow.metadata.name.clone().unwrap_or_default(),
            namespace: world.rainbow.metadata.namespace.clone().unwrap_or_default(),
            color: status.color,
            state,
            message,
            stages: stages.collect(),
            colors: colors.into_iter().map(|color| color_view(color, world)).collect(),
        }
    }

    /// A color by name.
    pub(crate) fn color(&self, name: &str) -> Option<&ColorView> {
        self.colors.iter().find(|color| color.name == name)
    }
}

/// The conditions, as kstatus reads them.
fn state(rainbow: &Rainbow, conditions: &[Condition]) -> (State, Option<String>) {
    let of = |type_: ConditionType| type_.find_true(conditions);
    let said = |condition: &Condition| Some(condition.message.clone()).filter(|message| !message.is_empty());
    let observed = rainbow.status.as_ref().and_then(|status| status.observed_generation);
    if let Some(stalled) = of(ConditionType::Stalled) {
        return (State::Stalled, said(stalled));
    }
    if observed.is_none() || observed < rainbow.metadata.generation {
        return (State::Unobserved, None);
    }
    match (of(ConditionType::Ready), of(ConditionType::Reconciling)) {
        (Some(_), None) => (State::Ready, None),
        (_, Some(paused)) if Reason::of(paused) == Some(Reason::Paused) => (State::Paused, said(paused)),
        (_, Some(reconciling)) => (State::Reconciling, said(reconciling)),
        (None, None) => (State::Reconciling, None),
    }
}

fn shares(color: Option<&str>, shift: Option<&rainbow_api::ShiftStatus>) -> Vec<Share> {
    match shift {
        Some(shift) if shift.phase == ShiftPhase::Finishing || shift.from == shift.to => {
            vec![Share { color: shift.to.clone(), percent: 100 }]
        }
        Some(shift) if shift.of > 0 && shift.phase != ShiftPhase::Preparing => {
            let percent = (shift.moved.saturating_mul(100) / shift.of).clamp(0, 100);
            vec![
                Share { color: shift.from.clone(), percent: 100 - percent },
                Share { color: shift.to.clone(), percent },
            ]
        }
        Some(shift) => {
            vec![Share { color: shift.from.clone(), percent: 100 }, Share { color: shift.to.clone(), percent: 0 }]
        }
        None => color.map(|color| Share { color: color.to_owned(), percent: 100 }).into_iter().collect(),
    }
}

fn color_view(color: &Color, world: &World) -> ColorView {
    let status = color.status.clone().unwrap_or_default();
    let message = ConditionType::Ready.find(&status.conditions).filter(|condition| condition.status != "True");
    let bound = bound_tiers(&color.spec.tiers);
    let tiers = color.spec.tiers.iter().flat_map(|tier| {
        let instance = color.spec.instances.iter().find(|instance| instance.tier == tier.name);
        let instance = instance.map_or(color.spec.color.as_str(), |instance| instance.color.as_str());
        let holders = status.drain.as_ref().map(|drain| drain.holders.as_slice()).unwrap_or_default();
        let shared_with = sharers(&world.colors, &color.spec.color, &tier.name, instance);
        // Those of a stage that has none of the color are left out.
        let stages: Vec<Option<String>> = match bound.contains(tier.name.as_str()) {
            true => stages_with(world, &tier.name, instance).into_iter().map(Some).collect(),
            false => vec![None],
        };
        let view = |stage: Option<String>| TierView {
            shared_with: shared_with.clone(),
            ..tier_view(&tier.name, instance, stage, world, holders)
        };
        stages.into_iter().map(view).collect::<Vec<_>>()
    });
    ColorView {
        name: color.spec.color.clone(),
        revision: color.spec.revision,
        phase: status.phase,
        message: message.map(|condition| condition.message.clone()).filter(|message| !message.is_empty()),
        created: color.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()),
        released_at: status.released_at.clone(),
        retired_at: status.retired_at.clone(),
        connections: status.connections,
        unknown_since: unknown(&status.conditions).map(|condition| condition.last_transition_time.0.to_string()),
        tiers: tiers.collect(),
        drain: status.drain,
    }
}

/// The condition that says that connections cannot be read.
pub(crate) fn unknown(conditions: &[Condition]) -> Option<&Condition> {
    ConditionType::ConnectionsUnknown.find_true(conditions)
}

/// The colors other than `color` that have an instance, oldest first.
pub(crate) fn sharers(colors: &[Color], color: &str, tier: &str, instance: &str) -> Vec<String> {
    let mut found: Vec<&Color> = colors
        .iter()
        .filter(|other| other.spec.color != color)
        .filter(|other| other.spec.instances.iter().any(|it| it.tier == tier && it.color == instance))
        .collect();
    found.sort_by_key(|color| color.spec.revision);
    found.into_iter().map(|color| color.spec.color.clone()).collect()
}

/// The stages that have pods, or a Deployment that asks for some, of an instance for themselves.
fn stages_with(world: &World, tier: &str, instance: &str) -> BTreeSet<String> {
    let is_it = |metadata: &ObjectMeta| {
        label(metadata, labels::TIER) == Some(tier) && label(metadata, labels::COLOR) == Some(instance)
    };
    let asks = |deployment: &&Deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1) > 0;
    let deployments = world.deployments.iter().filter(asks).map(|deployment| &deployment.metadata);
    let all = deployments.chain(world.pods.iter().map(|pod| &pod.metadata)).filter(|metadata| is_it(metadata));
    all.filter_map(|metadata| label(metadata, labels::BELONGS_TO)).map(str::to_owned).collect()
}

fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str)
}

fn tier_view(tier: &str, instance: &str, stage: Option<String>, world: &World, holders: &[Holder]) -> TierView {
    let is_it = |metadata: &ObjectMeta| {
        label(metadata, labels::TIER) == Some(tier)
            && label(metadata, labels::COLOR) == Some(instance)
            && label(metadata, labels::BELONGS_TO) == stage.as_deref()
    };
    let deployment = world.deployments.iter().find(|deployment| is_it(&deployment.metadata));
    let mut pods: Vec<PodView> =
        world.pods.iter().filter(|pod| is_it(&pod.metadata)).map(|pod| pod_view(pod, holders)).collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    TierView {
        name: tier.to_owned(),
        instance: instance.to_owned(),
        shared_with: Vec::new(),
        replicas: deployment.and_then(|deployment| deployment.spec.as_ref()?.replicas).unwrap_or_default(),
        ready: i32::try_from(pods.iter().filter(|pod| pod.ready).count()).unwrap_or(i32::MAX),
        pods,
        stage,
    }
}

fn pod_view(pod: &Pod, holders: &[Holder]) -> PodView {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready =
        !terminating && conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let waiting = containers.iter().find_map(|container| {
        let state = container.state.as_ref()?;
        let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone());
        waiting.or_else(|| state.terminated.as_ref().and_then(|terminated| terminated.reason.clone()))
    });
    let state = if terminating {
        "Terminating".to_owned()
    } else if ready {
        "Ready".to_owned()
    } else {
        let phase = status.and_then(|status| status.phase.clone()).unwrap_or_else(|| "Pending".into());
        waiting.unwrap_or(if phase == "Running" { "NotReady".into() } else { phase })
    };
    let members = pod.metadata.labels.iter().flatten().filter(|(_, value)| *value == labels::MEMBER);
    let name = pod.metadata.name.clone().unwrap_or_default();
    PodView {
        holder: holders.iter().find(|holder| holder.pod == name).cloned(),
        name,
        ready,
        state,
        restarts: containers.iter().map(|container| container.restart_count).sum(),
        ip: status.and_then(|status| status.pod_ip.clone()),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        stages: members.filter_map(|(key, _)| key.strip_prefix(labels::MEMBER_PREFIX)).map(str::to_owned).collect(),
    }
}
