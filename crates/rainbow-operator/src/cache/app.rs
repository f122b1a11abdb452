//! State of one application, as the watches have shown it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rainbow_api::{Color, ConfigKind, ConfigName, Tier, names as object_names};
use rainbow_plan::{InstanceName, Place, Selection, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::names::Names;
use crate::{
    config::Config,
    count::Known,
    domain,
    drift::{AwaitedContents, Content, Epoch},
    endpoints::Endpoints,
    kind::Kind,
    live::{Budget, Copied, Deployment, Live, Meta, Pod, Root, Scaler, Service, Slice, SliceOf, Templates},
    manifests,
    marks::PodMarks,
    named::Named,
    uid::Uid,
};

/// Objects of a kind by name. Boxed, because a list has room for more than it holds.
type ByName<T, K = Box<str>> = Named<Box<T>, K>;

/// Everything that is known of one application.
#[derive(Debug, Default)]
pub(crate) struct App {
    pub(crate) root: Option<Arc<Root>>,
    pub(crate) colors: Named<Arc<Color>>,
    /// Names of colors that cannot be read. Nothing is planned for them.
    pub(crate) unreadable_colors: BTreeSet<Box<str>>,
    /// Pod templates of the Rainbow and of all colors.
    pub(crate) templates: Arc<Templates>,
    /// Digests of what a Service says of the ports of each tier of a color, in the order of the tiers, by name of the color's object.
    ports: Named<Box<[u64]>>,
    pub(crate) deployments: ByName<Deployment>,
    pub(crate) services: ByName<Service>,
    /// Pods share their names with the endpoints.
    pub(crate) pods: ByName<Pod, Arc<str>>,
    pub(crate) slices: ByName<Slice>,
    pub(crate) budgets: ByName<Budget>,
    pub(crate) scalers: ByName<Scaler>,
    /// Copies of ConfigMaps.
    pub(crate) config_maps: ByName<Copied>,
    pub(crate) secrets: ByName<Copied>,
    /// Objects that are copied.
    pub(crate) config: Config,
    /// Time since when pods are endpoints of stages and of their shadows.
    pub(crate) endpoints: Endpoints,
    /// Time since when pods carry their marks and membership labels.
    pub(crate) marks: PodMarks,
    /// Connections of the pods that are asked.
    pub(crate) known: Known,
    /// Answers to applies, until the watches show them.
    pub(crate) answers: AwaitedContents,
    /// Advances when objects must be rendered again: when a spec changes, or the prefix of names.
    pub(crate) epoch: Epoch,
    /// Number of changes that a decision may depend on. A new resource version of an object with the same content is none.
    pub(crate) changes: u64,
    /// Names of tiers and colors, which all pods share.
    names: Names,
}

impl App {
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
            && self.colors.is_empty()
            && self.unreadable_colors.is_empty()
            && self.deployments.is_empty()
            && self.services.is_empty()
            && self.pods.is_empty()
            && self.slices.is_empty()
            && self.budgets.is_empty()
            && self.scalers.is_empty()
            && self.config_maps.is_empty()
            && self.secrets.is_empty()
    }

    /// Returns the prefix of the names of existing Deployments. `None`: there is no Deployment of an instance.
    pub(crate) fn prefix(&self) -> Option<&str> {
        self.deployments.iter().find_map(|(name, found)| {
            let plain = domain::object_name(None, &found.instance());
            if found.tier.is_empty() || found.color.is_empty() { None } else { name.strip_suffix(plain.as_str()) }
        })
    }

    /// Returns the color and the tier that hold an instance's template. Every color that has the instance has the same tier.
    pub(crate) fn source(&self, instance: &InstanceName) -> Option<(&Arc<Color>, &Tier)> {
        let names_it = |color: &&Arc<Color>| {
            color.spec.instances.iter().any(|i| i.tier == *instance.tier && i.color == *instance.color)
        };
        // The color that introduced the instance, if it still exists: its objects belong to it.
        let color = self.colors.values().filter(names_it).max_by_key(|color| color.spec.color == *instance.color)?;
        Some((color, color.spec.tiers.iter().find(|tier| tier.name == *instance.tier)?))
    }

    /// Returns whether the instance's pods carry a label that its Services ask for.
    pub(crate) fn is_labeled(&self, instance: &InstanceName) -> bool {
        let found = self.source(instance).map(|(color, _)| &color.spec.instances);
        let mut known = found.into_iter().flatten();
        known.any(|known| known.tier == *instance.tier && known.color == *instance.color && known.serving_label)
    }

    /// Returns the pods that are listed among the ready endpoints of their instances' own Services.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &str> {
        let slices = self.slices.values().filter(|slice| slice.of == SliceOf::Instance);
        slices.flat_map(|slice| slice.ready.iter().map(AsRef::as_ref))
    }

    /// Returns the digest of what a Service says of the ports of a color's tier.
    pub(crate) fn ports(&self, color: &Color, tier: &str) -> Option<u64> {
        let name = object_names::color_object(&color.spec.rainbow, &color.spec.color);
        let index = color.spec.tiers.iter().position(|known| known.name == tier)?;
        self.ports.get(name.as_str())?.get(index).copied()
    }

    /// Returns the tier whose ports a stage's Service has: the tier of the pods that it selects. `None`: unknown.
    pub(crate) fn selected_tier(&self, stage: &str, selects: &Selection) -> Option<&Tier> {
        let tier = |instance: &InstanceName| self.source(instance).map(|(_, tier)| tier);
        match selects {
            Selection::Instance(instance) => tier(instance),
            // Members have equal ports.
            Selection::Members => {
                let mut members = self.pods.values().filter(|pod| pod.said.member.contains_key(stage));
                members.find_map(|pod| tier(&pod.instance()))
            }
            Selection::Other => None,
        }
    }

    /// Returns a color and the name of its object.
    pub(crate) fn color(&self, color: &str) -> Option<(&str, &Arc<Color>)> {
        let found = self.colors.iter().find(|(_, found)| found.spec.color == color);
        found.map(|(name, found)| (&**name, found))
    }

    /// Returns the copies of a kind.
    pub(crate) fn copies(&self, kind: ConfigKind) -> &ByName<Copied> {
        match kind {
            ConfigKind::ConfigMap => &self.config_maps,
            ConfigKind::Secret => &self.secrets,
        }
    }

    pub(crate) fn copies_mut(&mut self, kind: ConfigKind) -> &mut ByName<Copied> {
        match kind {
            ConfigKind::ConfigMap => &mut self.config_maps,
            ConfigKind::Secret => &mut self.secrets,
        }
    }

    /// Returns whether the application names no ConfigMap and no Secret, and has no copy of one.
    pub(crate) fn has_no_config(&self) -> bool {
        self.config.names().next().is_none() && self.config_maps.is_empty() && self.secrets.is_empty()
    }

    /// Returns the ConfigMaps and Secrets that the spec names or that colors have copies of.
    pub(super) fn configured(&self) -> BTreeSet<ConfigName> {
        let spec = self.root.iter().flat_map(|root| root.config.values().flat_map(BTreeMap::keys).cloned());
        let colors = self.colors.values().flat_map(|color| &color.spec.config);
        spec.chain(colors.map(|one| ConfigName { kind: one.kind, name: one.name.clone() })).collect()
    }

    /// Returns the uid and the resource version of an object as last seen.
    pub(crate) fn find(&self, kind: Kind, name: &str) -> Option<(Uid, u64)> {
        self.meta(kind, name).map(|meta| (meta.uid, meta.version))
    }

    /// Returns whether an object is being deleted, as last seen.
    pub(crate) fn is_deleting(&self, kind: Kind, name: &str) -> bool {
        self.meta(kind, name).is_some_and(|meta| meta.deleting)
    }

    /// Returns the metadata of an object as last seen.
    fn meta(&self, kind: Kind, name: &str) -> Option<Meta> {
        Some(match kind {
            Kind::Rainbow => Meta::of(self.root.as_ref()?.meta()),
            Kind::Color => Meta::of(&self.colors.get(name)?.metadata),
            Kind::Deployment => self.deployments.get(name)?.meta.clone(),
            Kind::Service => self.services.get(name)?.meta.clone(),
            Kind::Pod => self.pods.get(name)?.meta.clone(),
            Kind::EndpointSlice => self.slices.get(name)?.meta.clone(),
            Kind::PodDisruptionBudget => self.budgets.get(name)?.meta.clone(),
            Kind::HorizontalPodAutoscaler => self.scalers.get(name)?.meta.clone(),
            Kind::ConfigMap => self.config_maps.get(name)?.meta.clone(),
            Kind::Secret => self.secrets.get(name)?.meta.clone(),
        })
    }

    /// Returns the names of all objects of a kind.
    pub(super) fn names_of(&self, kind: Kind) -> Vec<Box<str>> {
        match kind {
            Kind::Rainbow => self.root.iter().filter_map(|root| root.meta().name.as_deref().map(Box::from)).collect(),
            Kind::Color => self.colors.keys().chain(&self.unreadable_colors).cloned().collect(),
            Kind::Deployment => self.deployments.keys().cloned().collect(),
            Kind::Service => self.services.keys().cloned().collect(),
            Kind::Pod => self.pods.keys().map(|name| Box::from(&**name)).collect(),
            Kind::EndpointSlice => self.slices.keys().cloned().collect(),
            Kind::PodDisruptionBudget => self.budgets.keys().cloned().collect(),
            Kind::HorizontalPodAutoscaler => self.scalers.keys().cloned().collect(),
            Kind::ConfigMap => self.config_maps.keys().cloned().collect(),
            Kind::Secret => self.secrets.keys().cloned().collect(),
        }
    }

    pub(super) fn update_endpoints(&mut self, now: Time) {
        let of = |of: SliceOf| {
            let slices = self.slices.values().filter(move |slice| slice.of == of);
            slices.map(|slice| (&*slice.service, &*slice.ready))
        };
        self.endpoints.update(of(SliceOf::Stage), now);
        self.endpoints.update_shadows(of(SliceOf::Shadow), now);
    }

    pub(super) fn put(&mut self, name: &str, live: Live, now: Time) {
        if self.repeats(name, &live) {
            return;
        }
        self.changes += 1;
        let key: Box<str> = Box::from(name);
        match live {
            Live::Rainbow(mut root) => {
                if let Some(tiers) = root.tiers_mut() {
                    Arc::make_mut(&mut self.templates).pack(tiers);
                }
                let changed = self.root.as_ref().map(|known| generation(known.meta())) != Some(generation(root.meta()));
                if let Some(before) = &self.root {
                    root.inherit(before);
                }
                self.root = Some(Arc::new(root));
                if changed {
                    self.epoch.advance();
                    self.forget_templates();
                }
            }
            Live::Color(Some(mut color)) => {
                let known = self.colors.get(name).map(|known| generation(&known.metadata));
                let changed = known != Some(generation(&color.metadata));
                if changed {
                    let ports = color.spec.tiers.iter().map(manifests::ports_digest).collect();
                    self.ports.insert(key.clone(), ports);
                    self.epoch.advance();
                }
                let templates = Arc::make_mut(&mut self.templates);
                templates.pack(&mut color.spec.tiers);
                let counters = color.spec.instances.iter_mut().filter_map(|instance| instance.sidecar.as_mut());
                counters.for_each(|sidecar| templates.pack_container(&mut sidecar.container));
                self.unreadable_colors.remove(name);
                self.colors.insert(key, Arc::from(color));
                if changed {
                    self.forget_templates();
                }
            }
            Live::Color(None) => {
                self.remove(Kind::Color, name);
                self.unreadable_colors.insert(key);
            }
            Live::Deployment(mut deployment) => {
                self.names.share(&mut deployment.tier);
                self.names.share(&mut deployment.color);
                self.names.share(&mut deployment.belongs_to);
                // The first Deployment shows the prefix of all names.
                if self.deployments.is_empty() {
                    self.epoch.advance();
                }
                if let Some(known) = self.deployments.remove(name) {
                    inherit(&mut deployment.content, &deployment.meta.uid, known.content, &known.meta.uid);
                }
                self.deployments.insert(key, deployment);
            }
            Live::Service(mut service) => {
                for name in [&mut service.tier, &mut service.color, &mut service.stage, &mut service.shadow_of] {
                    self.names.share(name);
                }
                // The desired Service of a stage depends on what the Service selects, and on what it cannot change.
                let known = self.services.remove(name);
                let ports_before = known.as_ref().map_or(&[][..], |known| &known.node_ports);
                // A node port that one Service gives up is free for another one.
                if *ports_before != *service.node_ports {
                    self.epoch.advance();
                }
                let same = |known: &Service| {
                    let Service { selects, asks, fixed, .. } = known;
                    (selects, asks, fixed) == (&service.selects, &service.asks, &service.fixed)
                };
                if let Some(known) = known.filter(|known| same(known)) {
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
            Live::Scaler(mut scaler) => {
                self.names.share(&mut scaler.tier);
                self.names.share(&mut scaler.color);
                self.names.share(&mut scaler.belongs_to);
                // The desired autoscaler is compared with the floor that the autoscaler has.
                if let Some(known) = self.scalers.remove(name).filter(|known| known.least == scaler.least) {
                    inherit(&mut scaler.content, &scaler.meta.uid, known.content, &known.meta.uid);
                }
                self.scalers.insert(key, scaler);
            }
            Live::Config(kind, copy) => {
                let copies = self.copies_mut(kind);
                let known = copies.remove(name);
                if let Some(mut copy) = copy {
                    // A copy is immutable: what a check has found stays true.
                    if let Some(known) = known.filter(|known| known.meta.uid == copy.meta.uid) {
                        copy.check = known.check;
                    }
                    copies.insert(key, copy);
                }
            }
            Live::Pod(mut pod) => {
                self.marks.see(name, &pod.said, now);
                let is_in = |pod: &Pod| pod.said.place == Place::In;
                let same = |known: &&Pod| {
                    known.meta.uid == pod.meta.uid && known.ready == pod.ready && is_in(known) == is_in(&pod)
                };
                let known = self.pods.get(name).map(AsRef::as_ref);
                pod.ready_since = known.filter(same).map_or(now, |known| known.ready_since);
                let known = known.filter(|known| known.meta.uid == pod.meta.uid);
                if let (Some(faults), Some(known)) = (&mut pod.faults, known.and_then(|known| known.faults.as_deref()))
                {
                    faults.add_known(known);
                }
                self.names.share(&mut pod.tier);
                self.names.share(&mut pod.color);
                self.names.share(&mut pod.belongs_to);
                let name = self.pod_name(name);
                self.pods.insert(name, pod);
            }
            Live::Slice(mut slice) => {
                slice.ready = slice.ready.iter().map(|pod| self.pod_name(pod)).collect();
                self.slices.insert(key, slice);
                self.update_endpoints(now);
                let pods = &self.pods;
                self.endpoints.prune(|pod| pods.contains(pod));
            }
        }
    }

    /// Takes in a state of an object that says the same as the one before, and returns whether it does. Most states do: kubelets and the
    /// endpoint controller write a lot that no decision depends on.
    fn repeats(&mut self, name: &str, live: &Live) -> bool {
        let (known, new) = match live {
            Live::Pod(pod) => match self.pods.get_mut(name).filter(|known| known.is_repeated_by(pod)) {
                Some(known) => (&mut known.meta, &pod.meta),
                None => return false,
            },
            Live::Slice(slice) => match self.slices.get_mut(name).filter(|known| known.is_repeated_by(slice)) {
                Some(known) => (&mut known.meta, &slice.meta),
                None => return false,
            },
            // The autoscaler's controller writes its status all the time.
            Live::Scaler(scaler) => match self.scalers.get_mut(name).filter(|known| known.is_repeated_by(scaler)) {
                Some(known) => (&mut known.meta, &scaler.meta),
                None => return false,
            },
            Live::Rainbow(_)
            | Live::Color(_)
            | Live::Deployment(_)
            | Live::Service(_)
            | Live::Budget(_)
            | Live::Config(..) => {
                return false;
            }
        };
        known.version = new.version;
        true
    }

    /// Returns the name of a pod as it is already kept, or a new one.
    fn pod_name(&self, name: &str) -> Arc<str> {
        let known = self.pods.entry(name).map(|(known, _)| known);
        let ready = || self.slices.values().flat_map(|slice| &slice.ready).find(|known| ***known == *name);
        known.or_else(ready).map_or_else(|| name.into(), Arc::clone)
    }

    /// Forgets the templates that nothing uses any more.
    fn forget_templates(&mut self) {
        let root = self.root.iter().flat_map(|root| root.tiers());
        let tiers = root.chain(self.colors.values().flat_map(|color| &color.spec.tiers));
        let instances = self.colors.values().flat_map(|color| &color.spec.instances);
        let containers = instances.filter_map(|instance| instance.sidecar.as_ref()?.container.as_ref());
        Arc::make_mut(&mut self.templates).retain(tiers, containers);
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &str) {
        self.changes += 1;
        let uid = match kind {
            Kind::Rainbow => {
                self.root = None;
                None
            }
            Kind::Color => {
                self.ports.remove(name);
                self.unreadable_colors.remove(name);
                if self.colors.remove(name).is_some() {
                    self.epoch.advance();
                    self.forget_templates();
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
            Kind::Service => {
                let gone = self.services.remove(name);
                if gone.as_ref().is_some_and(|gone| !gone.node_ports.is_empty()) {
                    self.epoch.advance();
                }
                gone.map(|gone| gone.meta.uid)
            }
            Kind::Pod => {
                self.pods.remove(name);
                None
            }
            Kind::EndpointSlice => {
                self.slices.remove(name);
                None
            }
            Kind::PodDisruptionBudget => self.budgets.remove(name).map(|gone| gone.meta.uid),
            Kind::HorizontalPodAutoscaler => self.scalers.remove(name).map(|gone| gone.meta.uid),
            Kind::ConfigMap => {
                self.config_maps.remove(name);
                None
            }
            Kind::Secret => {
                self.secrets.remove(name);
                None
            }
        };
        if let Some(uid) = uid {
            self.answers.forget(&uid);
        }
    }
}

/// Identity of a spec among those of all objects of one name.
fn generation(meta: &ObjectMeta) -> (Option<String>, Option<i64>) {
    (meta.uid.clone(), meta.generation)
}

/// Inherits the content of the same object. Another object of the same name inherits nothing.
fn inherit(content: &mut Content, uid: &Uid, before: Content, uid_before: &Uid) {
    if uid == uid_before {
        content.inherit(before);
    }
}
