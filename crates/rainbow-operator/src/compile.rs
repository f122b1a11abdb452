//! The planner's actions as writes to the API server. Pure: what is written is decided here.

use rainbow_api::{Connections, Rainbow, Sidecar, Tier, labels, names};
use rainbow_plan::{Action, Chain, ChainKey, Deployment, InstanceName, Plan, Time};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::{
    cache::App,
    domain, drift,
    kind::Kind,
    live::{PodLabels, version},
    manifests::{self, Scope},
    observe::Observed,
};

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    /// Makes an object that must not exist yet.
    Create { kind: Kind, name: String, body: Value },
    /// Applies an object that is ours, or makes one where nothing is. `uid` is that of the object as it was seen.
    Apply { kind: Kind, name: String, uid: Option<String>, body: Value, hash: String },
    /// Changes labels and annotations of a pod.
    Label { name: String, body: Value },
    /// Changes fields of the very object that was seen that are its user's as well.
    Amend { kind: Kind, name: String, version: u64, body: Value },
    /// Deletes the very object that was seen.
    Delete { kind: Kind, name: String, uid: String, version: u64 },
    /// Sets the finalizers of the very object that was seen.
    Finalizers { kind: Kind, name: String, version: u64, finalizers: Vec<String> },
}

impl Operation {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Create { kind, .. }
            | Self::Apply { kind, .. }
            | Self::Amend { kind, .. }
            | Self::Delete { kind, .. }
            | Self::Finalizers { kind, .. } => *kind,
            Self::Label { .. } => Kind::Pod,
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Create { name, .. }
            | Self::Apply { name, .. }
            | Self::Label { name, .. }
            | Self::Amend { name, .. }
            | Self::Delete { name, .. }
            | Self::Finalizers { name, .. } => name,
        }
    }
}

/// Writes that may run at the same time; the next batch waits for all of them.
pub(crate) type Batch = Vec<Operation>;

/// What writes are made of.
#[derive(Clone, Copy)]
pub(crate) struct Basis<'a> {
    pub(crate) app: &'a App,
    pub(crate) scope: &'a Scope<'a>,
    pub(crate) rainbow: &'a Rainbow,
    pub(crate) observed: &'a Observed,
    /// The counter that new pods get.
    pub(crate) sidecar: Option<&'a Sidecar>,
    pub(crate) now: Time,
}

/// The writes of a plan.
pub(crate) struct Work {
    /// Comes before all others: the Rainbow gets its finalizer.
    pub(crate) hold: Option<Operation>,
    /// In the order of the plan's chains.
    pub(crate) chains: Vec<ChainWrites>,
}

/// The writes of a chain, one batch after the other.
pub(crate) struct ChainWrites {
    pub(crate) key: ChainKey,
    pub(crate) batches: Vec<Batch>,
}

impl Work {
    /// Nothing to write.
    pub(crate) const NONE: Self = Self { hold: None, chains: Vec::new() };

    /// Leaves out everything but the moves of stages.
    pub(crate) fn keep_stages(&mut self) {
        self.hold = None;
        self.chains.retain(ChainWrites::is_stage);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hold.is_none() && self.chains.is_empty()
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

/// The writes of each chain of a plan, in the order of its actions.
pub(crate) fn compile(plan: &Plan, basis: Basis<'_>) -> Work {
    let chains = plan.chains.iter().map(|chain| ChainWrites { key: chain.key.clone(), batches: batches(chain, basis) });
    Work { hold: hold(basis.rainbow), chains: chains.filter(|chain| !chain.batches.is_empty()).collect() }
}

fn batches(chain: &Chain, basis: Basis<'_>) -> Vec<Batch> {
    let mut compiler = Compiler { basis, pods: BTreeMap::new() };
    let mut batches: Vec<Batch> = Vec::new();
    let mut pending = BTreeMap::new();
    for (index, action) in chain.actions.iter().enumerate() {
        let Some(turn) = Turn::of(action) else {
            batches.extend(compiler.one(action).into_iter().map(|operation| vec![operation]));
            continue;
        };
        // A run of joins (or of leaves, or of marks) is one batch.
        if let Some(operation) = compiler.label(action) {
            pending.insert(operation.name().to_owned(), operation);
        }
        if chain.actions.get(index + 1).and_then(Turn::of) != Some(turn) && !pending.is_empty() {
            batches.push(std::mem::take(&mut pending).into_values().collect());
        }
    }
    batches
}

/// What is said of pods at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Join,
    Leave,
    Mark,
}

impl Turn {
    fn of(action: &Action) -> Option<Self> {
        match action {
            Action::Join { .. } => Some(Self::Join),
            Action::Leave { .. } => Some(Self::Leave),
            Action::Mark { .. } => Some(Self::Mark),
            _ => None,
        }
    }
}

/// Keeps the Rainbow until what was made for it has gone in order.
fn hold(rainbow: &Rainbow) -> Option<Operation> {
    let finalizers = rainbow.metadata.finalizers.clone().unwrap_or_default();
    if rainbow.metadata.deletion_timestamp.is_some() || finalizers.iter().any(|f| f == labels::FINALIZER) {
        return None;
    }
    Some(Operation::Finalizers {
        kind: Kind::Rainbow,
        name: rainbow.metadata.name.clone().unwrap_or_default(),
        version: version(&rainbow.metadata),
        finalizers: finalizers.into_iter().chain([labels::FINALIZER.to_owned()]).collect(),
    })
}

struct Compiler<'a> {
    basis: Basis<'a>,
    /// What is said of pods as the chain's writes so far leave it.
    pods: BTreeMap<String, PodLabels>,
}

impl Compiler<'_> {
    fn one(&self, action: &Action) -> Vec<Operation> {
        let Basis { app, scope, rainbow, observed, sidecar, .. } = self.basis;
        match action {
            Action::CreateColor { color, revision, instances } => vec![Operation::Create {
                kind: Kind::Color,
                name: names::color_object(scope.rainbow, color),
                body: manifests::color(scope, rainbow, color, *revision, instances, |tier, instance| {
                    counter(app, rainbow, tier, instance, sidecar)
                }),
            }],
            Action::ApplyDeployment { instance, replicas, .. } => {
                if let Some(scale) = self.scale_down(instance, *replicas) {
                    return vec![scale];
                }
                let body = app
                    .source(instance)
                    .map(|(color, tier)| manifests::deployment(scope, rainbow, color, tier, instance, *replicas));
                body.map(|body| self.apply(Kind::Deployment, body)).into_iter().collect()
            }
            Action::ApplyService { instance } => {
                let body = app.source(instance).map(|(_, tier)| manifests::service(scope, rainbow, tier, instance));
                body.map(|body| self.apply(Kind::Service, body)).into_iter().collect()
            }
            Action::ApplyStage { stage, selects } => {
                let found = rainbow.spec.stages.iter().find(|known| known.name == *stage);
                let body = found.and_then(|found| manifests::stage(scope, rainbow, found)).map(|mut body| {
                    manifests::select(scope, stage, &mut body, selects);
                    body
                });
                body.map(|body| self.apply(Kind::Service, body)).into_iter().collect()
            }
            Action::DeleteStage { stage } => {
                let name = observed.stage_services.get(stage);
                name.and_then(|name| self.delete(Kind::Service, name)).into_iter().collect()
            }
            Action::DeleteInstance { instance } => {
                let name = names::instance(scope.prefix, &instance.tier, &instance.color);
                [self.delete(Kind::Deployment, &name), self.delete(Kind::Service, &name)]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Action::ApplyGuard => vec![self.apply(Kind::PodDisruptionBudget, manifests::guard(scope, rainbow))],
            Action::DeleteGuard => {
                self.delete(Kind::PodDisruptionBudget, &names::guard(scope.rainbow)).into_iter().collect()
            }
            Action::ClearRetire { color } => self.clear_retire(color).into_iter().collect(),
            Action::DeleteColor { color } => self.delete_color(color),
            Action::Release => self.let_go(Kind::Rainbow, scope.rainbow, &rainbow.metadata).into_iter().collect(),
            Action::Join { .. } | Action::Leave { .. } | Action::Mark { .. } => Vec::new(),
        }
    }

    /// Fewer pods of a Deployment that is not as it shall be, and nothing else: mending its template in the same write would
    /// restart the pods that stay, and cut their connections.
    fn scale_down(&self, instance: &InstanceName, replicas: u32) -> Option<Operation> {
        let Deployment::Ours { current: false, replicas: now, .. } =
            self.basis.observed.world.instances.get(instance)?.deployment
        else {
            return None;
        };
        let name = names::instance(self.basis.scope.prefix, &instance.tier, &instance.color);
        let (_, version) = self.basis.app.find(Kind::Deployment, &name).filter(|_| replicas < now)?;
        Some(Operation::Amend {
            kind: Kind::Deployment,
            name,
            version,
            body: json!({ "spec": { "replicas": replicas } }),
        })
    }

    fn apply(&self, kind: Kind, mut body: Value) -> Operation {
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let hash = drift::seal(&mut body);
        let uid = self.basis.app.find(kind, &name).map(|(uid, _)| uid.to_owned());
        if let Some(uid) = &uid {
            body["metadata"]["uid"] = json!(uid);
        }
        Operation::Apply { kind, name, uid, body, hash }
    }

    fn delete(&self, kind: Kind, name: &str) -> Option<Operation> {
        let (uid, version) = self.basis.app.find(kind, name)?;
        Some(Operation::Delete { kind, name: name.to_owned(), uid: uid.to_owned(), version })
    }

    /// Asks for the deletion, then lets go: in this order a crash in between leaves a color that is being deleted.
    fn delete_color(&self, color: &str) -> Vec<Operation> {
        let Some((name, found)) = self.color(color) else { return Vec::new() };
        if found.metadata.deletion_timestamp.is_none() {
            // What comes back through the watch is a color that is being deleted; the next plan lets it go.
            return self.delete(Kind::Color, name).into_iter().collect();
        }
        self.let_go(Kind::Color, name, &found.metadata).into_iter().collect()
    }

    fn let_go(
        &self,
        kind: Kind,
        name: &str,
        meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    ) -> Option<Operation> {
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

    /// Takes back what was asked about a color's end. Both fields are their user's, so they are changed and not applied.
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

    /// One write about one pod, with everything that is said of it.
    fn label(&mut self, action: &Action) -> Option<Operation> {
        let (Action::Join { pod, .. } | Action::Leave { pod, .. } | Action::Mark { pod, .. }) = action else {
            return None;
        };
        let Basis { app, now, .. } = self.basis;
        let found = app.pods.get(pod)?;
        let said = self.pods.entry(pod.clone()).or_insert_with(|| found.said.clone());
        match action {
            Action::Join { stage, .. } => drop(said.member.insert(stage.clone(), Some(now))),
            Action::Leave { stage, .. } => drop(said.member.remove(stage)),
            Action::Mark { mark, .. } => said.mark = *mark,
            _ => return None,
        }
        Some(Operation::Label { name: pod.clone(), body: manifests::relabel(&found.meta.uid, &found.said, said) })
    }
}

/// The counter of an instance that a new color has: that of the instance where it is there already, so that its pods stay
/// as they are, else the one that is put into new pods.
fn counter(
    app: &App,
    rainbow: &Rainbow,
    tier: &Tier,
    instance: &InstanceName,
    new: Option<&Sidecar>,
) -> Option<Sidecar> {
    let known = app.colors.values().flat_map(|color| &color.spec.instances);
    if let Some(shared) = known.into_iter().find(|known| known.tier == instance.tier && known.color == instance.color) {
        return shared.sidecar.clone();
    }
    let wanted = domain::evidence(&rainbow.spec, tier) == Connections::Sidecar && !tier.tcp_ports().is_empty();
    new.filter(|_| wanted).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        Sidecar { image: "tally:1".into(), native }
    }

    #[test]
    fn a_counter_is_chosen_once() {
        const SCOPE: Scope<'_> = Scope { namespace: "default", rainbow: "shop", prefix: None };
        let backend = || InstanceName { tier: "backend".into(), color: "v1".into() };
        let mut rainbow = rainbow();
        let tier = |rainbow: &Rainbow| rainbow.spec.tiers[0].clone();
        let mut app = App::default();
        let choose =
            |app: &App, rainbow: &Rainbow| counter(app, rainbow, &tier(rainbow), &backend(), Some(&tally(true)));
        assert_eq!(choose(&app, &rainbow), Some(tally(true)));
        rainbow.spec.tiers[0].connections = Some(rainbow_api::Connections::None);
        assert_eq!(choose(&app, &rainbow), None, "the tier opts out");
        rainbow.spec.tiers[0].connections = None;
        let ports = std::mem::take(&mut rainbow.spec.tiers[0].ports);
        assert_eq!(choose(&app, &rainbow), None, "there is nothing to count");
        rainbow.spec.tiers[0].ports = ports;
        // An instance that is there already keeps what it has, whatever the operator and the cluster have become.
        let instances = [("backend".to_owned(), backend())];
        let old = manifests::color(&SCOPE, &rainbow, "v1", 1, &instances, |_, _| Some(tally(false)));
        app.colors.insert("shop-v1".into(), std::sync::Arc::new(serde_json::from_value(old).unwrap()));
        assert_eq!(choose(&app, &rainbow), Some(tally(false)));
    }
}
