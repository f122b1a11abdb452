//! The planner's actions as writes to the API server. Pure: this module decides what is written.

mod late;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use rainbow_api::{
    ColorInstance, ConfigName, Connections, Rainbow, ServiceLinks, Sidecar, SidecarSettings, TerminationMessages, Tier,
    labels, names,
};
use rainbow_plan::{
    Action, Cascade, Chain, ChainKey, Deployment, InstanceName, Place, Plan, Scaler, Selection, StageKey, Time, Version,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(crate) use late::ON_ITS_WAY;

use crate::{
    cache::App,
    content::ContentKey,
    domain::{self, NewSidecar},
    drift::{self, Fingerprint},
    effective::Effective,
    kind::{Kind, kind_of},
    live::{PodLabels, version},
    manifests::{self, NewColor, PodAdditions, Scope},
    node_ports::NodePorts,
    observe::Observed,
};

/// Version of an object that is not there. An apply with a version that no object has creates an object where none exists, and is refused
/// where one does: the API server compares versions with those of objects that exist (tried on 1.37). No object has the first version of a
/// store.
const NOT_THERE: &str = "1";

/// Write to the API server, with everything that it needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    /// Creates an object that must not exist yet.
    Create { kind: Kind, name: String, body: Value, counters: SidecarResources },
    /// Creates a copy of a ConfigMap or a Secret, whose content is read when the copy is created.
    Copy { kind: Kind, name: String, source: ConfigName, body: Value, key: Option<ContentKey> },
    /// Applies an object that is ours, or creates one where none exists. `uid` is the uid of the object as it was seen.
    Apply { kind: Kind, name: String, uid: Option<String>, body: Value, hash: Fingerprint },
    /// Changes labels and annotations of a pod.
    Label { name: String, body: Value },
    /// Changes fields, of exactly the object that was seen, that its user may write as well.
    Amend { kind: Kind, name: String, version: u64, body: Value },
    /// Deletes exactly the object that was seen.
    Delete { kind: Kind, name: String, uid: String, version: u64, cascade: Cascade },
    /// Changes an object, so that a write that was meant for its previous version is refused.
    Touch { kind: Kind, name: String, body: Value },
    /// Deletes the ReplicaSets with these labels that no Deployment owns. `name` is the name of the Deployment that made them.
    DeleteReplicaSets { name: String, labels: Map<String, Value>, cascade: Cascade },
    /// Deletes the same ReplicaSets, with their pods, of an instance that is removed for good, whether or not a Deployment has the name.
    SweepReplicaSets { name: String, labels: Map<String, Value> },
    /// Makes an object the controller of a pod that has none, or removes that owner reference.
    Control { name: String, uid: String, owner: OwnerReference, controls: bool },
    /// Sets the finalizers of exactly the object that was seen.
    Finalizers { kind: Kind, name: String, version: u64, finalizers: Vec<String> },
}

/// Resources of the counters that a new color records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SidecarResources {
    /// Rainbow's own, which must fit the namespace's limit ranges.
    Fitted,
    /// Given by a setting.
    Given,
}

impl Operation {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Create { kind, .. }
            | Self::Copy { kind, .. }
            | Self::Apply { kind, .. }
            | Self::Amend { kind, .. }
            | Self::Delete { kind, .. }
            | Self::Touch { kind, .. }
            | Self::Finalizers { kind, .. } => *kind,
            Self::Label { .. } | Self::Control { .. } => Kind::Pod,
            Self::DeleteReplicaSets { .. } | Self::SweepReplicaSets { .. } => Kind::Deployment,
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Create { name, .. }
            | Self::Copy { name, .. }
            | Self::Apply { name, .. }
            | Self::Label { name, .. }
            | Self::Amend { name, .. }
            | Self::Delete { name, .. }
            | Self::Touch { name, .. }
            | Self::DeleteReplicaSets { name, .. }
            | Self::SweepReplicaSets { name, .. }
            | Self::Control { name, .. }
            | Self::Finalizers { name, .. } => name,
        }
    }
}

/// Writes that may run concurrently. The next batch waits for all of them.
pub(crate) type Batch = Vec<Operation>;

/// Input of a compilation.
#[derive(Clone, Copy)]
pub(crate) struct CompileInput<'a> {
    pub(crate) app: &'a App,
    pub(crate) scope: &'a Scope<'a>,
    pub(crate) rainbow: &'a Rainbow,
    pub(crate) effective: &'a Effective,
    pub(crate) observed: &'a Observed,
    /// Counter that new pods get.
    pub(crate) sidecar: Option<&'a NewSidecar>,
    pub(crate) now: Time,
    /// Time until which a write may arrive that was sent before this operator led, or that was not answered.
    pub(crate) late_until: Time,
}

/// Writes of a plan.
pub(crate) struct PlanWrites {
    /// Finalizer of the Rainbow. Written before everything else.
    pub(crate) hold: Option<Operation>,
    /// Finalizers that colors get back. Colors are made with them, and `rainbow uninstall --keep-rainbows` removes them.
    pub(crate) color_holds: Vec<Operation>,
    /// Writes of each chain, in the order of the plan's chains.
    pub(crate) chains: Vec<ChainWrites>,
}

/// Writes of a chain, one batch after the other.
pub(crate) struct ChainWrites {
    pub(crate) key: ChainKey,
    pub(crate) batches: Vec<Batch>,
}

impl PlanWrites {
    /// Leaves out the finalizer of the Rainbow and all chains but those of stages.
    pub(crate) fn keep_stages(&mut self) {
        self.hold = None;
        self.chains.retain(ChainWrites::is_stage);
    }

    /// Returns the number of writes.
    pub(crate) fn writes(&self) -> usize {
        let batches = self.chains.iter().flat_map(|chain| &chain.batches);
        usize::from(self.hold.is_some()) + self.color_holds.len() + batches.map(Vec::len).sum::<usize>()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hold.is_none() && self.color_holds.is_empty() && self.chains.is_empty()
    }
}

impl ChainWrites {
    pub(crate) fn is_stage(&self) -> bool {
        matches!(self.key, ChainKey::Stage(_))
    }

    pub(crate) fn is_end(&self) -> bool {
        matches!(self.key, ChainKey::End(_))
    }
}

/// Returns the writes of each chain of a plan, in the order of its actions.
pub(crate) fn compile(plan: &Plan, basis: CompileInput<'_>) -> PlanWrites {
    let chains = plan.chains.iter().map(|chain| ChainWrites { key: chain.key.clone(), batches: batches(chain, basis) });
    let chains: Vec<ChainWrites> = chains.filter(|chain| !chain.batches.is_empty()).collect();
    // Nothing has been made of a spec that was invalid from the first write on.
    let nothing_made = basis.app.colors.is_empty() && basis.observed.world.spec.version == Version::Invalid;
    let root = &basis.rainbow.metadata;
    let is_held = root.deletion_timestamp.is_none() && !(nothing_made && chains.is_empty());
    let colors = basis.app.colors.iter().filter(|_| is_held);
    PlanWrites {
        hold: hold(Kind::Rainbow, basis.scope.rainbow, root).filter(|_| is_held),
        color_holds: colors.filter_map(|(name, color)| hold(Kind::Color, name, &color.metadata)).collect(),
        chains,
    }
}

fn batches(chain: &Chain, basis: CompileInput<'_>) -> Vec<Batch> {
    let mut compiler = Compiler { basis, pods: BTreeMap::new() };
    let mut batches: Vec<Batch> = vec![late::precautions(chain, basis)];
    let mut pending = BTreeMap::new();
    for (index, action) in chain.actions.iter().enumerate() {
        let Some(turn) = PodWrite::of(action) else {
            batches.extend(compiler.one(action).into_iter().map(|operation| vec![operation]));
            continue;
        };
        // A run of joins (or of leaves, of marks, …) is one batch.
        if let Some(operation) = compiler.of_pod(action) {
            pending.insert(operation.name().to_owned(), operation);
        }
        if chain.actions.get(index + 1).and_then(PodWrite::of) != Some(turn) && !pending.is_empty() {
            batches.push(std::mem::take(&mut pending).into_values().collect());
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

/// Writes about single pods, each about another one, that run concurrently.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PodWrite {
    Join,
    Leave,
    Mark,
    TakeOut,
    PutBack,
    Adopt,
    Disown,
    End,
}

impl PodWrite {
    fn of(action: &Action) -> Option<Self> {
        match action {
            Action::Join { .. } => Some(Self::Join),
            Action::Leave { .. } => Some(Self::Leave),
            Action::Mark { .. } => Some(Self::Mark),
            Action::TakeOut { .. } => Some(Self::TakeOut),
            Action::PutBack { .. } => Some(Self::PutBack),
            Action::Adopt { .. } => Some(Self::Adopt),
            Action::Disown { .. } => Some(Self::Disown),
            Action::EndPod { .. } => Some(Self::End),
            Action::CreateColor { .. }
            | Action::CreateCopy { .. }
            | Action::DeleteCopy { .. }
            | Action::ApplyDeployment { .. }
            | Action::ApplyScaler { .. }
            | Action::DeleteScaler { .. }
            | Action::OrphanDeployment { .. }
            | Action::DeleteReplicaSets { .. }
            | Action::ApplyService { .. }
            | Action::ApplyStage { .. }
            | Action::ApplyGuard
            | Action::DeleteGuard
            | Action::ApplyBudget { .. }
            | Action::DeleteBudget { .. }
            | Action::ClearRetire { .. }
            | Action::ApplyShadow { .. }
            | Action::DeleteStage { .. }
            | Action::DeleteInstance { .. }
            | Action::DeleteColor { .. }
            | Action::Release => None,
        }
    }
}

/// Puts the finalizer on an object that lacks it. The Rainbow stays until everything that was made for it has been deleted in order, a
/// color until its pods have been.
fn hold(kind: Kind, name: &str, meta: &ObjectMeta) -> Option<Operation> {
    let finalizers = meta.finalizers.clone().unwrap_or_default();
    if meta.deletion_timestamp.is_some() || finalizers.iter().any(|known| known == labels::FINALIZER) {
        return None;
    }
    Some(Operation::Finalizers {
        kind,
        name: name.to_owned(),
        version: version(meta),
        finalizers: finalizers.into_iter().chain([labels::FINALIZER.to_owned()]).collect(),
    })
}

struct Compiler<'a> {
    basis: CompileInput<'a>,
    /// Labels and annotations of pods after the chain's writes so far.
    pods: BTreeMap<String, PodLabels>,
}

impl Compiler<'_> {
    fn one(&self, action: &Action) -> Vec<Operation> {
        let CompileInput { app, scope, rainbow, effective, observed, sidecar, .. } = self.basis;
        match action {
            Action::CreateColor { color, revision, instances, entries } => vec![Operation::Create {
                kind: Kind::Color,
                name: names::color_object(scope.rainbow, color),
                body: {
                    let made = |tier: &_, instance: &_| made(app, scope, rainbow, tier, instance, sidecar);
                    let (version, config) = (effective.version.as_ref(), &effective.config);
                    let new = NewColor { name: color, revision: *revision, instances, entries, version, config };
                    manifests::color(scope, rainbow, &new, made)
                },
                counters: match sidecar.is_some_and(|sidecar| settings(rainbow, sidecar).resources.is_some()) {
                    true => SidecarResources::Given,
                    false => SidecarResources::Fitted,
                },
            }],
            Action::CreateCopy { copy } => self.copy(copy).into_iter().collect(),
            Action::DeleteCopy { copy } => {
                self.delete(domain::kind_of_config(copy.kind), &copy.name).into_iter().collect()
            }
            Action::ApplyDeployment { instance, replicas, .. } => {
                if let Some(scale) = self.scale_down(instance, *replicas) {
                    return vec![scale];
                }
                let Some((color, tier)) = app.source(instance) else { return Vec::new() };
                let mut body = manifests::deployment(scope, rainbow, color, tier, instance, *replicas);
                if self.may_end_pods(instance, *replicas) {
                    self.only_as_seen(Kind::Deployment, &mut body);
                }
                vec![self.apply(Kind::Deployment, body)]
            }
            Action::ApplyScaler { instance, least } => self.scaler(instance, *least).into_iter().collect(),
            Action::DeleteScaler { instance } => {
                let name = domain::object_name(scope.prefix, instance);
                self.delete(Kind::HorizontalPodAutoscaler, &name).into_iter().collect()
            }
            Action::ApplyService { instance } => {
                let mut body = app
                    .source(instance)
                    .map(|(_, tier)| manifests::service(scope, rainbow, tier, instance, app.is_labeled(instance)));
                let name = domain::object_name(scope.prefix, instance);
                if let Some((body, live)) = body.as_mut().zip(app.services.get(name.as_str())) {
                    live.fixed.keep_added_family(body);
                }
                body.map(|body| self.apply(Kind::Service, body)).into_iter().collect()
            }
            Action::ApplyStage { stage, selects, serves } => {
                let serves = serves.as_deref();
                let found = rainbow.spec.stages.iter().find(|known| known.name == *stage);
                let name = observed.stage_services.get(&StageKey::of(stage));
                let label = self.label_of(stage);
                let parts = found.zip(name).zip(app.selected_tier(label, selects));
                let Some(((found, name), tier)) = parts else { return Vec::new() };
                if let Some(amend) = self.reselect(stage, name, tier, (selects, serves)) {
                    return vec![amend];
                }
                let mut possible = NodePorts::of(app, rainbow).possible(found, name);
                if let Some(live) = app.services.get(name.as_str()) {
                    possible = live.fixed.possible(possible).0;
                }
                let mut body = manifests::stage(scope, rainbow, &possible, name, tier);
                manifests::select(scope, label, &mut body, selects, |instance| app.is_labeled(instance));
                manifests::say(&mut body, serves);
                self.only_as_seen(Kind::Service, &mut body);
                vec![self.apply(Kind::Service, body)]
            }
            Action::ApplyShadow { stage } => {
                let name = observed.stage_services.get(&StageKey::of(stage));
                let own = name.and_then(|name| Some((name, app.services.get(name.as_str())?)));
                let tier = own.and_then(|(_, own)| app.selected_tier(stage, &own.selects));
                let body = own.zip(tier).map(|((name, own), tier)| {
                    manifests::shadow(scope, rainbow, stage, &names::shadow(name), tier, own.fixed.families())
                });
                body.map(|body| self.apply(Kind::Service, body)).into_iter().collect()
            }
            Action::DeleteStage { stage } => {
                let name = observed.stage_services.get(stage);
                name.and_then(|name| self.delete(Kind::Service, name)).into_iter().collect()
            }
            Action::DeleteInstance { instance } => {
                let name = domain::object_name(scope.prefix, instance);
                let kinds = [Kind::HorizontalPodAutoscaler, Kind::Deployment, Kind::Service];
                kinds.into_iter().filter_map(|kind| self.delete(kind, &name)).collect()
            }
            Action::OrphanDeployment { instance } => {
                let name = domain::object_name(scope.prefix, instance);
                self.delete_with(Kind::Deployment, &name, Cascade::Orphan).into_iter().collect()
            }
            Action::DeleteReplicaSets { instance, cascade } => vec![Operation::DeleteReplicaSets {
                name: domain::object_name(scope.prefix, instance),
                labels: manifests::instance_labels(scope, instance),
                cascade: *cascade,
            }],
            Action::Adopt { pod } => self.control(pod, true).into_iter().collect(),
            Action::Disown { pod } => self.control(pod, false).into_iter().collect(),
            Action::EndPod { pod, .. } => self.delete(Kind::Pod, pod).into_iter().collect(),
            Action::ApplyGuard => vec![self.apply(Kind::PodDisruptionBudget, manifests::guard(scope, rainbow))],
            Action::DeleteGuard => {
                self.delete(Kind::PodDisruptionBudget, &names::guard(scope.rainbow)).into_iter().collect()
            }
            Action::ApplyBudget { stage, least } => {
                vec![self.apply(
                    Kind::PodDisruptionBudget,
                    manifests::stage_budget(scope, rainbow, stage, self.label_of(stage), *least),
                )]
            }
            Action::DeleteBudget { stage } => {
                let name = names::stage_budget(scope.rainbow, stage);
                self.delete(Kind::PodDisruptionBudget, &name).into_iter().collect()
            }
            Action::ClearRetire { color } => self.clear_retire(color).into_iter().collect(),
            Action::DeleteColor { color } => self.delete_color(color),
            Action::Release => self.let_go(Kind::Rainbow, scope.rainbow, &rainbow.metadata).into_iter().collect(),
            Action::Join { .. }
            | Action::Leave { .. }
            | Action::Mark { .. }
            | Action::TakeOut { .. }
            | Action::PutBack { .. } => Vec::new(),
        }
    }

    /// Makes a copy that a color or the spec's version has.
    fn copy(&self, copy: &rainbow_plan::ConfigName) -> Option<Operation> {
        let CompileInput { app, scope, rainbow, effective, .. } = self.basis;
        let kind = domain::kind_of_config(copy.kind);
        let mut all = app.colors.values().flat_map(|color| &color.spec.config).chain(&effective.config);
        let known = all.find(|known| kind_of(known.kind) == kind && known.copy == copy.name)?;
        let source = ConfigName { kind: known.kind, name: known.name.clone() };
        let body = manifests::copy(scope, rainbow, &source, &copy.name);
        Some(Operation::Copy { kind, name: copy.name.clone(), source, body, key: app.config.key.clone() })
    }

    /// Scales down a Deployment that is not up to date, and changes nothing else. Fixing its template in the same write would restart the
    /// pods that stay, and cut their connections.
    fn scale_down(&self, instance: &InstanceName, replicas: u32) -> Option<Operation> {
        let Deployment::Ours { current: false, replicas: now, .. } =
            self.basis.observed.world.instances.get(instance)?.deployment
        else {
            return None;
        };
        let name = domain::object_name(self.basis.scope.prefix, instance);
        let (_, version) = self.basis.app.find(Kind::Deployment, &name).filter(|_| replicas < now)?;
        Some(Operation::Amend {
            kind: Kind::Deployment,
            name,
            version,
            body: json!({ "spec": { "replicas": replicas } }),
        })
    }

    /// Returns whether an apply of this size may end pods. An apply that asks for more pods ends none, however late it arrives, but an
    /// autoscaler may have asked for even more since.
    fn may_end_pods(&self, instance: &InstanceName, replicas: u32) -> bool {
        let Some(found) = self.basis.observed.world.instances.get(instance) else { return false };
        match (&found.deployment, &found.scaler) {
            (Deployment::Ours { replicas: now, .. }, Scaler::Absent | Scaler::Taken) => replicas <= *now,
            (Deployment::Ours { .. }, _) => true,
            (Deployment::Absent | Deployment::Foreign | Deployment::Deleting, _) => false,
        }
    }

    /// Applies the autoscaler of an instance, by the policy of the color that decides.
    fn scaler(&self, instance: &InstanceName, least: u32) -> Option<Operation> {
        let CompileInput { app, scope, rainbow, effective, .. } = self.basis;
        let color = effective.speaker(app, instance)?;
        let tier = color.spec.tiers.iter().find(|tier| tier.name == *instance.tier)?;
        let policy = domain::scaling(&rainbow.spec, effective.describes(color), color, tier).autoscale?;
        let body = manifests::scaler(scope, rainbow, instance, &policy, least);
        Some(self.apply(Kind::HorizontalPodAutoscaler, body))
    }

    /// Returns the stage after which the membership labels of a stage's pods are named.
    fn label_of<'s>(&'s self, stage: &'s str) -> &'s str {
        self.basis.observed.labeled_as.get(stage).map_or(stage, String::as_str)
    }

    /// Changes only the selector of the Service of an invalid stage, since the API server could refuse the rest. A Service whose ports must
    /// change with its selector is applied as a whole.
    fn reselect(
        &self,
        stage: &str,
        name: &str,
        tier: &Tier,
        (selects, serves): (&Selection, Option<&str>),
    ) -> Option<Operation> {
        let CompileInput { app, scope, observed, .. } = self.basis;
        let is_invalid = observed.world.spec.stages.iter().any(|known| known.name == stage && known.invalid);
        let live = app.services.get(name).filter(|_| is_invalid)?;
        let label = self.label_of(stage);
        let same_ports = app
            .selected_tier(label, &live.selects)
            .is_some_and(|before| manifests::ports_digest(before) == manifests::ports_digest(tier));
        let asks = match selects {
            Selection::Instance(instance) => app.is_labeled(instance),
            Selection::Members | Selection::Other => false,
        };
        let mut body =
            manifests::reselect(scope, label, (&live.selects, live.asks), (selects, asks)).filter(|_| same_ports)?;
        manifests::say(&mut body, serves);
        let version = live.meta.version;
        Some(Operation::Amend { kind: Kind::Service, name: name.to_owned(), version, body })
    }

    fn apply(&self, kind: Kind, mut body: Value) -> Operation {
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let hash = drift::seal(&mut body);
        let uid = self.basis.app.find(kind, &name).map(|(uid, _)| uid.to_string());
        match &uid {
            Some(uid) => body["metadata"]["uid"] = json!(uid),
            None => body["metadata"]["resourceVersion"] = json!(NOT_THERE),
        }
        Operation::Apply { kind, name, uid, body, hash }
    }

    /// Restricts an apply to the object as it was seen. A late write of an operator that no longer leads must not change what another
    /// operator has changed. An object that was not seen is restricted by [`NOT_THERE`].
    fn only_as_seen(&self, kind: Kind, body: &mut Value) {
        let found = body["metadata"]["name"].as_str().and_then(|name| self.basis.app.find(kind, name));
        if let Some((_, version)) = found {
            body["metadata"]["resourceVersion"] = json!(version.to_string());
        }
    }

    fn delete(&self, kind: Kind, name: &str) -> Option<Operation> {
        self.delete_with(kind, name, Cascade::Background)
    }

    /// Deletes an object, unless it is being deleted already: while its finalizers are pending, another deletion changes nothing, and the
    /// expected change would never come.
    fn delete_with(&self, kind: Kind, name: &str, cascade: Cascade) -> Option<Operation> {
        let app = self.basis.app;
        let (uid, version) = app.find(kind, name).filter(|_| !app.is_deleting(kind, name))?;
        Some(Operation::Delete { kind, name: name.to_owned(), uid: uid.to_string(), version, cascade })
    }

    /// Makes the Rainbow a pod's controller, or removes it as such.
    fn control(&self, pod: &str, controls: bool) -> Option<Operation> {
        let CompileInput { app, scope, rainbow, .. } = self.basis;
        let (uid, _) = app.find(Kind::Pod, pod)?;
        let owner = manifests::controller(scope, rainbow);
        Some(Operation::Control { name: pod.to_owned(), uid: uid.to_string(), owner, controls })
    }

    /// Asks for the deletion first and removes the finalizer later. In this order a crash in between leaves a color that is being deleted.
    fn delete_color(&self, color: &str) -> Vec<Operation> {
        let Some((name, found)) = self.color(color) else { return Vec::new() };
        if found.metadata.deletion_timestamp.is_none() {
            // The watch then shows a color that is being deleted. The next plan removes its finalizer.
            return self.delete(Kind::Color, name).into_iter().collect();
        }
        let Some(release) = self.let_go(Kind::Color, name, &found.metadata) else { return Vec::new() };
        let mut operations = self.sweep_replica_sets(color, found);
        operations.push(release);
        operations
    }

    /// Deletes the ReplicaSets that orphaned Deployments have left of the instances that only this color has. ReplicaSets are not watched,
    /// and the planner knows of one by its pods: no plan sees one that was scaled to 0 when its Deployment was deleted.
    fn sweep_replica_sets(&self, color: &str, found: &rainbow_api::Color) -> Vec<Operation> {
        let app = self.basis.app;
        let is_shared = |instance: &ColorInstance| {
            let mut others = app.colors.values().filter(|other| other.spec.color != color);
            others.any(|other| {
                other.spec.instances.iter().any(|known| known.tier == instance.tier && known.color == instance.color)
            })
        };
        let is_own = |instance: &InstanceName| {
            let mut known = found.spec.instances.iter();
            known.any(|known| *known.tier == *instance.tier && *known.color == *instance.color && !is_shared(known))
        };
        let scope = self.basis.scope;
        let sweep = |instance: InstanceName| Operation::SweepReplicaSets {
            name: domain::object_name(scope.prefix, &instance),
            labels: manifests::instance_labels(scope, &instance),
        };
        let all = domain::instances(&found.spec, domain::user_stages(&self.basis.rainbow.spec));
        all.into_iter().filter(is_own).map(sweep).collect()
    }

    fn let_go(&self, kind: Kind, name: &str, meta: &ObjectMeta) -> Option<Operation> {
        let mut finalizers = meta.finalizers.clone()?;
        let before = finalizers.len();
        finalizers.retain(|finalizer| finalizer != labels::FINALIZER);
        (finalizers.len() < before).then(|| Operation::Finalizers {
            kind,
            name: name.to_owned(),
            version: version(meta),
            finalizers,
        })
    }

    /// Clears the request to end a color. Both fields are their user's, so they are changed and not applied.
    fn clear_retire(&self, color: &str) -> Option<Operation> {
        let (name, found) = self.color(color)?;
        Some(Operation::Amend {
            kind: Kind::Color,
            name: name.to_owned(),
            version: version(&found.metadata),
            body: json!({ "spec": { "retire": null, "drain": null } }),
        })
    }

    fn color(&self, color: &str) -> Option<(&str, &rainbow_api::Color)> {
        self.basis.app.color(color).map(|(name, found)| (name, found.as_ref()))
    }

    /// Returns the write of an action about one pod. `None`: the pod is gone.
    fn of_pod(&mut self, action: &Action) -> Option<Operation> {
        self.label(action).or_else(|| self.one(action).pop())
    }

    /// Returns one write about one pod, with all its labels and annotations that change.
    fn label(&mut self, action: &Action) -> Option<Operation> {
        let (Action::Join { pod, .. }
        | Action::Leave { pod, .. }
        | Action::Mark { pod, .. }
        | Action::TakeOut { pod }
        | Action::PutBack { pod }) = action
        else {
            return None;
        };
        let CompileInput { app, now, .. } = self.basis;
        let found = app.pods.get(pod.as_str())?;
        let labeled_as = |stage: &str| self.label_of(stage).to_owned();
        let label = match action {
            Action::Join { stage, .. } | Action::Leave { stage, .. } => labeled_as(stage),
            _ => String::new(),
        };
        let said = self.pods.entry(pod.clone()).or_insert_with(|| found.said.clone());
        match action {
            Action::Join { .. } => drop(said.member.insert(label, Some(now))),
            Action::Leave { .. } => drop(said.member.remove(&label)),
            Action::Mark { mark, .. } => said.mark = *mark,
            Action::TakeOut { .. } => {
                said.member.clear();
                said.place = Place::Out { since: Some(now) };
            }
            Action::PutBack { .. } => said.place = Place::In,
            _ => return None,
        }
        Some(Operation::Label {
            name: pod.clone(),
            body: manifests::relabel(&found.meta.uid.to_string(), &found.said, said),
        })
    }
}

/// Returns the additions to the pods of an instance of a new color: those of the existing instance, so that its pods stay as they are,
/// otherwise those for new pods.
fn made(
    app: &App,
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    tier: &Tier,
    instance: &InstanceName,
    new: Option<&NewSidecar>,
) -> PodAdditions {
    let known = app.colors.values().flat_map(|color| &color.spec.instances);
    if let Some(shared) = known.into_iter().find(|known| known.tier == *instance.tier && known.color == *instance.color)
    {
        let unpacked = |sidecar: &Sidecar| {
            let container = sidecar.container.as_ref().and_then(|container| scope.templates.container(container));
            Sidecar { container, ..sidecar.clone() }
        };
        return PodAdditions {
            sidecar: shared.sidecar.as_ref().map(unpacked),
            serving_label: shared.serving_label,
            service_links: shared.service_links,
            termination_messages: shared.termination_messages,
        };
    }
    let wanted = rainbow_api::connections(&rainbow.spec, tier) == Connections::Sidecar && !tier.tcp_ports().is_empty();
    let recorded = |sidecar: &NewSidecar| {
        manifests::recorded(tier, &scope.templates.template(tier), &sidecar.image, &settings(rainbow, sidecar))
    };
    PodAdditions {
        sidecar: new.filter(|_| wanted).map(recorded),
        serving_label: true,
        service_links: ServiceLinks::Off,
        termination_messages: TerminationMessages::Logs,
    }
}

/// Returns the settings of the counters of an application's new instances.
fn settings(rainbow: &Rainbow, sidecar: &NewSidecar) -> SidecarSettings {
    rainbow.spec.drain.sidecar.as_ref().map_or_else(|| sidecar.defaults.clone(), |own| own.or(&sidecar.defaults))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Templates;

    fn rainbow() -> Rainbow {
        serde_json::from_value(json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow",
            "metadata": { "name": "shop", "namespace": "default", "uid": "root" },
            "spec": { "tiers": [{
                "name": "backend", "ports": [{ "name": "http", "port": 80 }],
                "template": { "spec": { "containers": [{ "name": "b", "image": "b:1" }] } },
            }] },
        }))
        .unwrap()
    }

    fn tally(native: bool) -> Sidecar {
        Sidecar { image: "tally:1".into(), native, container: None }
    }

    #[test]
    fn what_is_added_to_pods_is_chosen_once() {
        let scope = Scope { namespace: "default", rainbow: "shop", prefix: None, templates: &Templates::default() };
        let backend = || InstanceName::shared("backend", "v1");
        let mut rainbow = rainbow();
        let tier = |rainbow: &Rainbow| rainbow.spec.tiers[0].clone();
        let mut app = App::default();
        let new = |sidecar| PodAdditions {
            sidecar,
            serving_label: true,
            service_links: ServiceLinks::Off,
            termination_messages: TerminationMessages::Logs,
        };
        let older = || PodAdditions { sidecar: Some(tally(false)), ..PodAdditions::default() };
        let usual = NewSidecar { image: "tally:1".into(), defaults: SidecarSettings::default() };
        let choose =
            |app: &App, rainbow: &Rainbow| made(app, &scope, rainbow, &tier(rainbow), &backend(), Some(&usual));
        let template = rainbow.spec.tiers[0].template.clone();
        let chosen = choose(&app, &rainbow);
        let settings = SidecarSettings::default();
        assert_eq!(chosen, new(Some(manifests::recorded(&tier(&rainbow), &template, "tally:1", &settings))));
        assert!(chosen.sidecar.and_then(|sidecar| sidecar.container).is_some(), "it is written down as a whole");
        rainbow.spec.tiers[0].connections = Some(rainbow_api::Connections::None);
        assert_eq!(choose(&app, &rainbow), new(None), "the tier opts out");
        rainbow.spec.tiers[0].connections = None;
        let ports = std::mem::take(&mut rainbow.spec.tiers[0].ports);
        assert_eq!(choose(&app, &rainbow), new(None), "there is nothing to count");
        rainbow.spec.tiers[0].ports = ports;
        // An existing instance keeps what it has, however the operator and the cluster have changed.
        let instances = [("backend".to_owned(), backend())];
        let new = NewColor {
            name: "v1",
            revision: 1,
            instances: &instances,
            entries: &BTreeMap::new(),
            version: None,
            config: &[],
        };
        let old = manifests::color(&scope, &rainbow, &new, |_, _| older());
        app.colors.insert("shop-v1".into(), std::sync::Arc::new(serde_json::from_value(old).unwrap()));
        assert_eq!(choose(&app, &rainbow), older());
    }
}
