//! The planner's actions as writes to the API server. Pure: what is written is decided here, and seen by tests.

use rainbow_api::{Rainbow, labels, names};
use rainbow_plan::{Action, Time};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::{
    build::{self, Scope},
    cache::App,
    domain,
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
    /// Deletes the very object that was seen.
    Delete { kind: Kind, name: String, uid: String, version: u64 },
    /// Sets the finalizers of the very object that was seen.
    Finalizers { kind: Kind, name: String, version: u64, finalizers: Vec<String> },
    /// Applies a status.
    Status { kind: Kind, name: String, body: Value },
}

impl Operation {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Create { kind, .. }
            | Self::Apply { kind, .. }
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
            | Self::Delete { name, .. }
            | Self::Finalizers { name, .. }
            | Self::Status { name, .. } => name,
        }
    }
}

/// Writes that may run at the same time; the next batch waits for all of them.
pub(crate) type Batch = Vec<Operation>;

/// The writes for a plan's actions, in their order.
pub(crate) fn compile(
    actions: &[Action],
    app: &App,
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    observed: &Observed,
    now: Time,
) -> Vec<Batch> {
    let mut compiler = Compiler { app, scope, rainbow, observed, now, members: BTreeMap::new() };
    let mut batches: Vec<Batch> = Vec::new();
    let mut pending = BTreeMap::new();
    for (index, action) in actions.iter().enumerate() {
        match action {
            // A run of joins (or of leaves) is one batch, and one write a pod however many stages it is about.
            Action::Join { stage, pod } | Action::Leave { stage, pod } => {
                let join = matches!(action, Action::Join { .. });
                if let Some(operation) = compiler.membership(stage, pod, join) {
                    pending.insert(pod.clone(), operation);
                }
                let next = actions.get(index + 1).map(|next| matches!(next, Action::Join { .. }));
                let same = match actions.get(index + 1) {
                    Some(Action::Join { .. } | Action::Leave { .. }) => next == Some(join),
                    _ => false,
                };
                if !same && !pending.is_empty() {
                    batches.push(std::mem::take(&mut pending).into_values().collect());
                }
            }
            other => batches.extend(compiler.one(other).into_iter().map(|operation| vec![operation])),
        }
    }
    batches
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
    app: &'a App,
    scope: &'a Scope<'a>,
    rainbow: &'a Rainbow,
    observed: &'a Observed,
    now: Time,
    /// Memberships as the writes so far leave them.
    members: BTreeMap<String, BTreeMap<String, Option<Time>>>,
}

impl Compiler<'_> {
    fn one(&self, action: &Action) -> Vec<Operation> {
        match action {
            Action::CreateColor { color, revision, instances } => vec![Operation::Create {
                kind: Kind::Color,
                name: names::color_object(self.scope.rainbow, color),
                body: build::color(self.scope, self.rainbow, color, *revision, instances),
            }],
            Action::ApplyDeployment { instance, replicas, .. } => {
                let deadline = domain::progress_deadline(&self.rainbow.spec);
                let body = observe::source(self.app, instance)
                    .map(|(color, tier)| build::deployment(self.scope, color, tier, instance, *replicas, deadline));
                body.map(|body| self.apply(Kind::Deployment, body)).into_iter().collect()
            }
            Action::ApplyService { instance } => {
                let body = observe::source(self.app, instance)
                    .map(|(color, tier)| build::service(self.scope, color, tier, instance));
                body.map(|body| self.apply(Kind::Service, body)).into_iter().collect()
            }
            Action::ApplyStage { stage, selects } => {
                let found = self.rainbow.spec.stages.iter().find(|known| known.name == *stage);
                let body = found.and_then(|found| build::stage(self.scope, self.rainbow, found)).map(|mut body| {
                    build::select(self.scope, stage, &mut body, selects);
                    body
                });
                body.map(|body| self.apply(Kind::Service, body)).into_iter().collect()
            }
            Action::DeleteStage { stage } => {
                let name = self.observed.stage_services.get(stage);
                name.and_then(|name| self.delete(Kind::Service, name)).into_iter().collect()
            }
            Action::DeleteInstance { instance } => {
                let name = names::instance(self.scope.prefix, &instance.tier, &instance.color);
                [self.delete(Kind::Deployment, &name), self.delete(Kind::Service, &name)]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Action::DeleteColor { color } => self.delete_color(color),
            Action::Release => self.release().into_iter().collect(),
            Action::Join { .. }
            | Action::Leave { .. }
            | Action::Mark { .. }
            | Action::EndPod { .. }
            | Action::ApplyGuard
            | Action::DeleteGuard
            | Action::ClearRetire { .. } => Vec::new(),
        }
    }

    fn apply(&self, kind: Kind, mut body: Value) -> Operation {
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let hash = build::seal(&mut body);
        let uid = self.app.find(kind, &name).map(|(uid, _)| uid.to_owned());
        if let Some(uid) = &uid {
            body["metadata"]["uid"] = json!(uid);
        }
        Operation::Apply { kind, name, uid, body, hash }
    }

    fn delete(&self, kind: Kind, name: &str) -> Option<Operation> {
        let (uid, version) = self.app.find(kind, name)?;
        Some(Operation::Delete { kind, name: name.to_owned(), uid: uid.to_owned(), version })
    }

    /// Asks for the deletion, then lets go: in this order a crash in between leaves a color that is being deleted.
    fn delete_color(&self, color: &str) -> Vec<Operation> {
        let Some((name, found)) = self.app.colors.iter().find(|(_, found)| found.spec.color == color) else {
            return Vec::new();
        };
        if found.metadata.deletion_timestamp.is_none() {
            // What comes back through the watch is a color that is being deleted; the next plan lets it go.
            return self.delete(Kind::Color, name).into_iter().collect();
        }
        self.let_go(Kind::Color, name, &found.metadata).into_iter().collect()
    }

    fn release(&self) -> Option<Operation> {
        self.let_go(Kind::Rainbow, self.scope.rainbow, &self.rainbow.metadata)
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

    fn membership(&mut self, stage: &str, pod: &str, join: bool) -> Option<Operation> {
        let found = self.app.pods.get(pod)?;
        let members = self.members.entry(pod.to_owned()).or_insert_with(|| found.member.clone());
        if join {
            members.insert(stage.to_owned(), Some(self.now));
        } else {
            members.remove(stage);
        }
        Some(Operation::Label { name: pod.to_owned(), body: build::pod(self.scope, pod, &found.meta.uid, members) })
    }
}
