//! The planner's actions as writes to the API server. Pure: what is written is decided here, and seen by tests.

use rainbow_api::{Rainbow, Sidecar, labels, names};
use rainbow_plan::{Action, Deployment, InstanceName, Time};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::{
    build::{self, PodLabels, Scope},
    cache::App,
    live::Kind,
    observe::{self, Observed},
};

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    /// Makes an object that must not exist yet.
    Create { kind: Kind, name: String, body: Value },
    /// Applies an object that is ours, or makes one where nothing is. `uid` is that of the object as it was seen.
    Apply { kind: Kind, name: String, uid: Option<String>, body: Value, hash: String },
    /// Sets labels and annotations of a pod.
    Label { name: String, body: Value },
    /// Changes fields of the very object that was seen that are its user's as well.
    Amend { kind: Kind, name: String, version: u64, body: Value },
    /// Deletes the very object that was seen.
    Delete { kind: Kind, name: String, uid: String, version: u64 },
    /// Sets the finalizers of the very object that was seen.
    Finalizers { kind: Kind, name: String, version: u64, finalizers: Vec<String> },
    /// Replaces the status of the very object that was seen.
    Status { kind: Kind, name: String, uid: Option<String>, status: Value },
}

impl Operation {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Create { kind, .. }
            | Self::Apply { kind, .. }
            | Self::Amend { kind, .. }
            | Self::Delete { kind, .. }
            | Self::Finalizers { kind, .. }
            | Self::Status { kind, .. } => *kind,
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
            | Self::Finalizers { name, .. }
            | Self::Status { name, .. } => name,
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

/// The writes for a plan's actions, in their order.
pub(crate) fn compile(actions: &[Action], basis: Basis<'_>) -> Vec<Batch> {
    let mut compiler = Compiler { basis, pods: BTreeMap::new() };
    let mut batches: Vec<Batch> = Vec::new();
    let mut pending = BTreeMap::new();
    for (index, action) in actions.iter().enumerate() {
        let Some(turn) = Turn::of(action) else {
            batches.extend(compiler.one(action).into_iter().map(|operation| vec![operation]));
            continue;
        };
        // A run of joins (or of leaves, or of marks) is one batch, and one write a pod however many stages it is about.
        if let Some(operation) = compiler.label(action) {
            pending.insert(operation.name().to_owned(), operation);
        }
        if actions.get(index + 1).and_then(Turn::of) != Some(turn) && !pending.is_empty() {
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
pub(crate) fn hold(rainbow: &Rainbow) -> Option<Operation> {
    let finalizers = rainbow.metadata.finalizers.clone().unwrap_or_default();
    if rainbow.metadata.deletion_timestamp.is_some() || finalizers.iter().any(|f| f == labels::FINALIZER) {
        return None;
    }
    Some(Operation::Finalizers {
        kind: Kind::Rainbow,
        name: rainbow.metadata.name.clone().unwrap_or_default(),
        version: crate::live::version(&rainbow.metadata),
        finalizers: finalizers.into_iter().chain([labels::FINALIZER.to_owned()]).collect(),
    })
}

struct Compiler<'a> {
    basis: Basis<'a>,
    /// What is said of pods as the writes so far leave it.
    pods: BTreeMap<String, PodLabels>,
}

impl Compiler<'_> {
    fn one(&self, action: &Action) -> Vec<Operation> {
        let Basis { app, scope, rainbow, observed, sidecar, .. } = self.basis;
        match action {
            Action::CreateColor { color, revision, instances } => vec![Operation::Create {
                kind: Kind::Color,
                name: names::color_object(scope.rainbow, color),
                body: build::color(scope, rainbow, color, *revision, instances, |tier, instance| {
                    build::counter(app, rainbow, tier, instance, sidecar)
                }),
            }],
            Action::ApplyDeployment { instance, replicas, .. } => {
                if let Some(scale) = self.scale_down(instance, *replicas) {
                    return vec![scale];
                }
                let body = observe::source(app, instance)
                    .map(|(color, tier)| build::deployment(scope, rainbow, color, tier, instance, *replicas));
                body.map(|body| self.apply(Kind::Deployment, body)).into_iter().collect()
            }
            Action::ApplyService { instance } => {
                let body =
                    observe::source(app, instance).map(|(_, tier)| build::service(scope, rainbow, tier, instance));
                body.map(|body| self.apply(Kind::Service, body)).into_iter().collect()
            }
            Action::ApplyStage { stage, selects } => {
                let found = rainbow.spec.stages.iter().find(|known| known.name == *stage);
                let body = found.and_then(|found| build::stage(scope, rainbow, found)).map(|mut body| {
                    build::select(scope, stage, &mut body, selects);
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
            Action::ApplyGuard => vec![self.apply(Kind::PodDisruptionBudget, build::guard(scope, rainbow))],
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
        let hash = build::seal(&mut body);
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
            version: crate::live::version(meta),
            finalizers,
        })
    }

    /// Takes back what was asked about a color's end. Both fields are their user's, so they are changed and not applied.
    fn clear_retire(&self, color: &str) -> Option<Operation> {
        let (name, found) = self.color(color)?;
        Some(Operation::Amend {
            kind: Kind::Color,
            name: name.to_owned(),
            version: crate::live::version(&found.metadata),
            body: json!({ "spec": { "retire": null, "drain": null } }),
        })
    }

    fn color(&self, color: &str) -> Option<(&str, &rainbow_api::Color)> {
        let found = self.basis.app.colors.iter().find(|(_, found)| found.spec.color == color);
        found.map(|(name, found)| (name.as_str(), found.as_ref()))
    }

    /// One write about one pod, with everything that is said of it.
    fn label(&mut self, action: &Action) -> Option<Operation> {
        let (Action::Join { pod, .. } | Action::Leave { pod, .. } | Action::Mark { pod, .. }) = action else {
            return None;
        };
        let Basis { app, scope, now, .. } = self.basis;
        let found = app.pods.get(pod)?;
        let said = self.pods.entry(pod.clone()).or_insert_with(|| found.said.clone());
        match action {
            Action::Join { stage, .. } => drop(said.member.insert(stage.clone(), Some(now))),
            Action::Leave { stage, .. } => drop(said.member.remove(stage)),
            Action::Mark { mark, .. } => said.mark = *mark,
            _ => return None,
        }
        Some(Operation::Label { name: pod.clone(), body: build::pod(scope, pod, &found.meta.uid, said) })
    }
}
