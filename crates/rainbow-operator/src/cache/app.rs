//! Everything that the watches have said of one application.

use rainbow_api::{Color, Tier, names as object_names};
use rainbow_plan::{InstanceName, Selection, Time};
use std::{collections::BTreeMap, sync::Arc};

use super::names::Names;
use crate::{
    count::Known,
    drift::{Answers, Content, Epoch},
    endpoints::Endpoints,
    kind::Kind,
    live::{Budget, Deployment, Live, Pod, Root, Service, Slice, version},
    manifests,
    marks::Marks,
};

/// Objects of a kind by name. Boxed, because a tree has room for more than it holds.
type ByName<T> = BTreeMap<Box<str>, Box<T>>;

/// Everything known of one application.
#[derive(Debug, Default)]
pub(crate) struct App {
    pub(crate) root: Option<Root>,
    pub(crate) colors: BTreeMap<Box<str>, Arc<Color>>,
    /// By name of a color's object: digests of what a Service says of the ports of each of its tiers, in their order.
    ports: BTreeMap<Box<str>, Box<[u64]>>,
    pub(crate) deployments: ByName<Deployment>,
    pub(crate) services: ByName<Service>,
    pub(crate) pods: ByName<Pod>,
    pub(crate) slices: ByName<Slice>,
    pub(crate) budgets: ByName<Budget>,
    /// Since when pods are endpoints of stages.
    pub(crate) endpoints: Endpoints,
    /// Since when pods carry their marks.
    pub(crate) marks: Marks,
    /// What is known of the connections of those pods that are asked.
    pub(crate) known: Known,
    /// What was answered to applies, until the watches show it.
    pub(crate) answers: Answers,
    /// Advances when objects are to be rendered again: when a spec changes, or what stands before their names.
    pub(crate) epoch: Epoch,
    /// Names of tiers and colors, which all pods share.
    names: Names,
}

impl App {
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
            && self.colors.is_empty()
            && self.deployments.is_empty()
            && self.services.is_empty()
            && self.pods.is_empty()
            && self.slices.is_empty()
            && self.budgets.is_empty()
    }

    /// What stands before the names of the Deployments that were made; `None` where there is none.
    pub(crate) fn prefix(&self) -> Option<&str> {
        self.deployments.iter().find_map(|(name, found)| {
            let plain = object_names::instance(None, &found.tier, &found.color);
            if found.tier.is_empty() || found.color.is_empty() { None } else { name.strip_suffix(plain.as_str()) }
        })
    }

    /// Where an instance's template is written down: any color that has the instance has the same tier.
    pub(crate) fn source(&self, instance: &InstanceName) -> Option<(&Arc<Color>, &Tier)> {
        let names_it = |color: &&Arc<Color>| {
            color.spec.instances.iter().any(|i| i.tier == instance.tier && i.color == instance.color)
        };
        // The color that introduced the instance, if it is still there: its objects belong to it.
        let color = self.colors.values().filter(names_it).max_by_key(|color| color.spec.color == instance.color)?;
        Some((color, color.spec.tiers.iter().find(|tier| tier.name == instance.tier)?))
    }

    /// Digest of what a Service says of the ports of a color's tier.
    pub(crate) fn ports(&self, color: &Color, tier: &str) -> Option<u64> {
        let name = object_names::color_object(&color.spec.rainbow, &color.spec.color);
        let index = color.spec.tiers.iter().position(|known| known.name == tier)?;
        self.ports.get(name.as_str())?.get(index).copied()
    }

    /// The tier whose ports a stage's Service has: that of the pods that it selects. `None` where that is unknown.
    pub(crate) fn selected_tier(&self, stage: &str, selects: &Selection) -> Option<&Tier> {
        let tier = |tier: &str, color: &str| {
            let instance = InstanceName { tier: tier.to_owned(), color: color.to_owned() };
            self.source(&instance).map(|(_, tier)| tier)
        };
        match selects {
            Selection::Instance(instance) => tier(&instance.tier, &instance.color),
            // Members have equal ports.
            Selection::Members => {
                let mut members = self.pods.values().filter(|pod| pod.said.member.contains_key(stage));
                members.find_map(|pod| tier(&pod.tier, &pod.color))
            }
            Selection::Other => None,
        }
    }

    /// A color and the name of its object.
    pub(crate) fn color(&self, color: &str) -> Option<(&str, &Arc<Color>)> {
        let found = self.colors.iter().find(|(_, found)| found.spec.color == color);
        found.map(|(name, found)| (&**name, found))
    }

    /// Uid and resource version of an object as last seen.
    pub(crate) fn find(&self, kind: Kind, name: &str) -> Option<(&str, u64)> {
        match kind {
            Kind::Rainbow => {
                let meta = self.root.as_ref()?.meta();
                Some((meta.uid.as_deref().unwrap_or_default(), version(meta)))
            }
            Kind::Color => {
                let meta = &self.colors.get(name)?.metadata;
                Some((meta.uid.as_deref().unwrap_or_default(), version(meta)))
            }
            Kind::Deployment => self.deployments.get(name).map(|found| found.meta.identity()),
            Kind::Service => self.services.get(name).map(|found| found.meta.identity()),
            Kind::Pod => self.pods.get(name).map(|found| found.meta.identity()),
            Kind::EndpointSlice => self.slices.get(name).map(|found| found.meta.identity()),
            Kind::PodDisruptionBudget => self.budgets.get(name).map(|found| found.meta.identity()),
        }
    }

    /// Names of all objects of a kind.
    pub(super) fn names_of(&self, kind: Kind) -> Vec<Box<str>> {
        match kind {
            Kind::Rainbow => self.root.iter().filter_map(|root| root.meta().name.as_deref().map(Box::from)).collect(),
            Kind::Color => self.colors.keys().cloned().collect(),
            Kind::Deployment => self.deployments.keys().cloned().collect(),
            Kind::Service => self.services.keys().cloned().collect(),
            Kind::Pod => self.pods.keys().cloned().collect(),
            Kind::EndpointSlice => self.slices.keys().cloned().collect(),
            Kind::PodDisruptionBudget => self.budgets.keys().cloned().collect(),
        }
    }

    pub(super) fn update_endpoints(&mut self, now: Time) {
        let slices = self.slices.values();
        self.endpoints.update(slices.map(|slice| (&*slice.service, &*slice.ready)), now);
    }

    pub(super) fn put(&mut self, name: &str, live: Live, now: Time) {
        let key: Box<str> = Box::from(name);
        match live {
            Live::Rainbow(root) => {
                let spec = |root: &Root| (root.meta().uid.clone(), root.meta().generation);
                if self.root.as_ref().map(spec) != Some(spec(&root)) {
                    self.epoch.advance();
                }
                self.root = Some(root);
            }
            Live::Color(Some(color)) => {
                let spec = |color: &Arc<Color>| (color.metadata.uid.clone(), color.metadata.generation);
                let known = self.colors.insert(key.clone(), Arc::clone(&color));
                if known.as_ref().map(spec) != Some(spec(&color)) {
                    self.epoch.advance();
                    self.ports.insert(key, color.spec.tiers.iter().map(manifests::ports_digest).collect());
                }
            }
            Live::Color(None) => self.remove(Kind::Color, name),
            Live::Deployment(mut deployment) => {
                // The first one says what stands before all names.
                if self.deployments.is_empty() {
                    self.epoch.advance();
                }
                if let Some(known) = self.deployments.remove(name) {
                    inherit(&mut deployment.content, &deployment.meta.uid, known.content, &known.meta.uid);
                }
                self.deployments.insert(key, deployment);
            }
            Live::Service(mut service) => {
                // What a stage's Service should be depends on what it selects.
                let known = self.services.remove(name);
                if let Some(known) = known.filter(|known| known.selects == service.selects) {
                    inherit(&mut service.content, &service.meta.uid, known.content, &known.meta.uid);
                }
                self.services.insert(key, service);
            }
            Live::Budget(mut budget) => {
                if let Some(known) = self.budgets.remove(name) {
                    inherit(&mut budget.content, &budget.meta.uid, known.content, &known.meta.uid);
                }
                self.budgets.insert(key, budget);
            }
            Live::Pod(mut pod) => {
                self.marks.see(name, pod.said.mark, now);
                let same = |known: &&Pod| known.meta.uid == pod.meta.uid && known.ready == pod.ready;
                let known = self.pods.get(name).map(AsRef::as_ref);
                pod.ready_since = known.filter(same).map_or(now, |known| known.ready_since);
                self.names.share(&mut pod.tier);
                self.names.share(&mut pod.color);
                self.pods.insert(key, pod);
            }
            Live::Slice(slice) => {
                self.slices.insert(key, slice);
                self.update_endpoints(now);
                let pods = &self.pods;
                self.endpoints.prune(|pod| pods.contains_key(pod));
            }
        }
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &str) {
        let uid = match kind {
            Kind::Rainbow => {
                self.root = None;
                None
            }
            Kind::Color => {
                self.ports.remove(name);
                if self.colors.remove(name).is_some() {
                    self.epoch.advance();
                }
                None
            }
            Kind::Deployment => {
                let gone = self.deployments.remove(name);
                if self.deployments.is_empty() {
                    self.epoch.advance();
                }
                gone.map(|gone| gone.meta.uid)
            }
            Kind::Service => self.services.remove(name).map(|gone| gone.meta.uid),
            Kind::Pod => {
                self.pods.remove(name);
                None
            }
            Kind::EndpointSlice => {
                self.slices.remove(name);
                None
            }
            Kind::PodDisruptionBudget => self.budgets.remove(name).map(|gone| gone.meta.uid),
        };
        if let Some(uid) = uid {
            self.answers.forget(&uid);
        }
    }
}

/// Another object of the same name inherits nothing.
fn inherit(content: &mut Content, uid: &str, before: Content, uid_before: &str) {
    if uid == uid_before {
        content.inherit(before);
    }
}
