//! View of an application, as `rainbow status` shows it: made from its objects, without any input or output.

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::api::ObjectMeta;
use rainbow_api::{
    Color, ColorPhase, ConditionType, DrainStatus, Holder, Rainbow, Reason, ShiftPhase, Stage, StageStatus, Tier,
    bound_tiers, labels,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    gates::{self, Step},
    pace::Pace,
};

/// Objects of an application.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) rainbow: Rainbow,
    pub(crate) colors: Vec<Color>,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) pods: Vec<Pod>,
}

/// Current state of an application.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// Newest color.
    pub(crate) color: Option<String>,
    pub(crate) state: State,
    /// Reason for the state.
    pub(crate) message: Option<String>,
    pub(crate) created: Option<String>,
    pub(crate) stages: Vec<StageView>,
    /// Colors, the newest first.
    pub(crate) colors: Vec<ColorView>,
}

/// State of an application as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum State {
    /// Everything is as the spec says.
    Ready,
    /// Changes are under way.
    Reconciling,
    /// A stage is held in the middle of a shift, and nothing else is under way.
    Paused,
    /// A user has to fix something.
    Stalled,
    /// The operator has not seen the newest spec yet: the status is older than the last command.
    Unobserved,
    /// The Rainbow is being deleted.
    Deleting,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StageView {
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) color: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) previous: Option<String>,
    /// Time since which the stage serves its color.
    pub(crate) since: Option<String>,
    pub(crate) shift: Option<rainbow_api::ShiftStatus>,
    pub(crate) message: Option<String>,
    /// Color that was taken back, and the gate that has rejected it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rejected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rejected_by: Option<String>,
    /// Gates of the latest release.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) gates: Vec<rainbow_api::GateStatus>,
    /// Gates that keep the stage from going on, in words: `gate errors  2 of 3 good, at step 3`.
    #[serde(skip)]
    pub(crate) waits_for: Vec<String>,
    /// Step of the shift, in words.
    #[serde(skip)]
    pub(crate) step: Option<String>,
    /// Share that each color has of the stage, beginning with the color that the stage comes from.
    pub(crate) shares: Vec<Share>,
    /// Pace of the stage, where it moves by steps.
    #[serde(skip)]
    pub(crate) pace: Option<Pace>,
    /// Tiers that move on their own, inner tiers first.
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
    /// Whether the color, or its Rainbow, is being deleted.
    pub(crate) deleting: bool,
    pub(crate) message: Option<String>,
    pub(crate) created: Option<String>,
    /// Time at which the color left its last stage.
    pub(crate) released_at: Option<String>,
    /// Time at which the color was scaled to zero.
    pub(crate) retired_at: Option<String>,
    /// Connections at the last count. `None` while the operator does not ask the pods.
    pub(crate) connections: Option<i64>,
    /// Gate that has rejected the color, as `stage/gate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rejected_by: Option<String>,
    /// Drain of the color: under way, or with the connections that it ended.
    pub(crate) drain: Option<DrainStatus>,
    /// Time since which some of the color's connections cannot be read.
    pub(crate) unknown_since: Option<String>,
    pub(crate) tiers: Vec<TierView>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TierView {
    pub(crate) name: String,
    /// Color that introduced the instance.
    pub(crate) instance: String,
    /// Stage that has the pods for itself. `None`: all stages share them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<String>,
    /// Other colors that have the same instance.
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
    /// `Ready`, `Terminating`, or the reason why the pod is neither.
    pub(crate) state: String,
    pub(crate) restarts: i32,
    pub(crate) ip: Option<String>,
    pub(crate) node: Option<String>,
    /// Stages whose membership label the pod carries, which it has only while they shift.
    pub(crate) stages: Vec<String>,
    /// Connections by which the pod holds a draining color.
    pub(crate) holder: Option<Holder>,
}

impl View {
    pub(crate) fn new(world: &World) -> Self {
        let status = world.rainbow.status.clone().unwrap_or_default();
        let (state, message) = state(&world.rainbow, &status.conditions);
        let mut colors: Vec<&Color> = world.colors.iter().collect();
        colors.sort_by_key(|color| std::cmp::Reverse(color.spec.revision));
        let stages = status.stages.into_iter().map(|stage| StageView {
            shares: shares(&stage, &members(world, &stage)),
            pace: pace(world, &stage),
            step: step(world, &stage),
            waits_for: waits_for(world, &stage.name),
            rejected: stage.rejected,
            rejected_by: stage.rejected_by,
            gates: stage.gates,
            since: stage.since,
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
            created: world.rainbow.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()),
            stages: stages.collect(),
            colors: colors.into_iter().map(|color| color_view(color, world)).collect(),
        }
    }

    /// Finds a color by name.
    pub(crate) fn color(&self, name: &str) -> Option<&ColorView> {
        self.colors.iter().find(|color| color.name == name)
    }
}

impl ColorView {
    /// Returns the numbers of ready pods and of wanted pods.
    pub(crate) fn pods(&self) -> (i32, i32) {
        self.tiers.iter().fold((0, 0), |(ready, wanted), tier| (ready + tier.ready, wanted + tier.replicas))
    }
}

/// Returns the state by the conditions, as kstatus reads them. A status that is older than the spec says nothing about the newest spec.
pub(crate) fn state(rainbow: &Rainbow, conditions: &[Condition]) -> (State, Option<String>) {
    let of = |type_: ConditionType| type_.find_true(conditions);
    let said = |condition: &Condition| Some(condition.message.clone()).filter(|message| !message.is_empty());
    let observed = rainbow.status.as_ref().and_then(|status| status.observed_generation);
    if rainbow.metadata.deletion_timestamp.is_some() {
        let stalled = of(ConditionType::Stalled).and_then(said);
        return (State::Deleting, Some(stalled.unwrap_or_else(|| "pods end, entry tiers first".to_owned())));
    }
    if observed.is_none() {
        return (State::Unobserved, None);
    }
    if observed < rainbow.metadata.generation {
        return (State::Unobserved, Some("what follows is older than the last change".to_owned()));
    }
    if let Some(stalled) = of(ConditionType::Stalled) {
        return (State::Stalled, said(stalled));
    }
    match (of(ConditionType::Ready), of(ConditionType::Reconciling)) {
        (Some(_), None) => (State::Ready, None),
        (_, Some(paused)) if Reason::of(paused) == Some(Reason::Paused) => (State::Paused, said(paused)),
        (_, Some(reconciling)) => (State::Reconciling, said(reconciling)),
        (None, None) => (State::Reconciling, None),
    }
}

fn pace(world: &World, stage: &StageStatus) -> Option<Pace> {
    Pace::of(spec_of(world, &stage.name)?, stage.shift.as_ref())
}

fn spec_of<'a>(world: &'a World, stage: &str) -> Option<&'a Stage> {
    world.rainbow.spec.stages.iter().find(|known| known.name == stage)
}

/// Describes the step of a shift, where the stage moves step by step.
fn step(world: &World, stage: &StageStatus) -> Option<String> {
    let shift = stage.shift.as_ref().filter(|shift| shift.phase != ShiftPhase::Finishing)?;
    Step::of(spec_of(world, &stage.name)?, shift).map(|step| step.words())
}

/// Describes the gates that keep a stage from going on.
fn waits_for(world: &World, stage: &str) -> Vec<String> {
    let rainbow = &world.rainbow;
    let words = |gate: &rainbow_api::GateStatus| {
        format!("gate {}  {}, {}", gate.name, gates::progress(rainbow, gate), gates::moment(gate))
    };
    gates::blocking(rainbow, stage).into_iter().map(words).collect()
}

/// Counts the ready pods in a stage that moves, by color, without those of the colors between which it moves.
fn members(world: &World, stage: &StageStatus) -> BTreeMap<String, i32> {
    let key = format!("{}{}", labels::MEMBER_PREFIX, stage.name);
    let ends: Vec<&str> = stage.shift.iter().flat_map(|shift| [shift.from.as_str(), shift.to.as_str()]).collect();
    let is_of_ends = |tier: &str, instance: &str| {
        let ends = world.colors.iter().filter(|color| ends.contains(&color.spec.color.as_str()));
        ends.flat_map(|color| &color.spec.instances).any(|it| it.tier == tier && it.color == instance)
    };
    let mut members = BTreeMap::new();
    for pod in world.pods.iter().filter(|pod| label(&pod.metadata, &key) == Some(labels::MEMBER) && is_ready(pod)) {
        let (Some(tier), Some(color)) = (label(&pod.metadata, labels::TIER), label(&pod.metadata, labels::COLOR))
        else {
            continue;
        };
        if !ends.contains(&color) && !is_of_ends(tier, color) {
            *members.entry(color.to_owned()).or_default() += 1;
        }
    }
    members
}

/// Returns the share that each color has of the stage. `members` are pods of colors other than the two ends of the shift.
fn shares(stage: &StageStatus, members: &BTreeMap<String, i32>) -> Vec<Share> {
    let share = |color: &str, percent| Share { color: color.to_owned(), percent };
    let Some(shift) = &stage.shift else {
        return stage.color.iter().map(|color| share(color, 100)).collect();
    };
    if shift.phase == ShiftPhase::Finishing || shift.from == shift.to {
        return vec![share(&shift.to, 100)];
    }
    let part = |pods: i32, of: i32| (pods.saturating_mul(100) / of.max(1)).clamp(0, 100);
    let to = if shift.phase == ShiftPhase::Preparing { 0 } else { part(shift.moved, shift.of) };
    // A stage whose target changed in the middle of a shift still has pods of the previous color.
    let all = shift.of.max(1).saturating_add(members.values().sum());
    let others: Vec<Share> = members.iter().map(|(color, pods)| share(color, part(*pods, all))).collect();
    let from = 100 - to - others.iter().map(|share| share.percent).sum::<i32>();
    let ends = [share(&shift.from, from.max(0)), share(&shift.to, to)];
    ends.into_iter().chain(others).collect()
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
        // Instances of a stage that has none of the color are left out.
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
        deleting: [&color.metadata, &world.rainbow.metadata].iter().any(|meta| meta.deletion_timestamp.is_some()),
        message: message.map(|condition| condition.message.clone()).filter(|message| !message.is_empty()),
        created: color.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()),
        released_at: status.released_at.clone(),
        retired_at: status.retired_at.clone(),
        connections: status.connections,
        rejected_by: status.rejected_by.clone(),
        unknown_since: unknown(&status.conditions).map(|condition| condition.last_transition_time.0.to_string()),
        tiers: tiers.collect(),
        drain: status.drain,
    }
}

/// Returns the images of tiers in the order of their containers, each with the name of its tier.
pub(crate) fn images(tiers: &[Tier]) -> Vec<(String, String)> {
    let of_tier = |tier: &Tier| {
        let containers = tier.template.pointer("/spec/containers").and_then(|containers| containers.as_array());
        let images = containers.into_iter().flatten().filter_map(|container| container.get("image")?.as_str());
        images.map(|image| (tier.name.clone(), image.to_owned())).collect::<Vec<_>>()
    };
    tiers.iter().flat_map(of_tier).collect()
}

/// Returns the condition that reports unreadable connections.
pub(crate) fn unknown(conditions: &[Condition]) -> Option<&Condition> {
    ConditionType::ConnectionsUnknown.find_true(conditions)
}

/// Returns the colors other than `color` that have an instance, oldest first.
pub(crate) fn sharers(colors: &[Color], color: &str, tier: &str, instance: &str) -> Vec<String> {
    let mut found: Vec<&Color> = colors
        .iter()
        .filter(|other| other.spec.color != color)
        .filter(|other| other.spec.instances.iter().any(|it| it.tier == tier && it.color == instance))
        .collect();
    found.sort_by_key(|color| color.spec.revision);
    found.into_iter().map(|color| color.spec.color.clone()).collect()
}

/// Returns the stages that have an instance's pods, or a Deployment that asks for some, for themselves.
fn stages_with(world: &World, tier: &str, instance: &str) -> BTreeSet<String> {
    let is_it = |metadata: &ObjectMeta| {
        label(metadata, labels::TIER) == Some(tier) && label(metadata, labels::COLOR) == Some(instance)
    };
    let asks = |deployment: &&Deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1) > 0;
    let deployments = world.deployments.iter().filter(asks).map(|deployment| &deployment.metadata);
    let all = deployments.chain(world.pods.iter().map(|pod| &pod.metadata)).filter(|metadata| is_it(metadata));
    all.filter_map(|metadata| label(metadata, labels::BELONGS_TO)).map(str::to_owned).collect()
}

pub(crate) fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
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

/// Returns whether the pod takes requests, and is not about to end.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn pod_view(pod: &Pod, holders: &[Holder]) -> PodView {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let ready = is_ready(pod);
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
