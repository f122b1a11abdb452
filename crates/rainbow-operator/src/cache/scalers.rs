//! Autoscalers that are not Rainbow's, by namespace. Most scale something else, so little is kept of each.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::place::{AppIndex, NameHash};
use crate::{kind::Kind, live::Scaler};

/// Autoscalers of a namespace, by name.
pub(crate) type InNamespace = BTreeMap<Box<str>, Foreign>;

/// Target of an autoscaler of another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// Name of the Deployment. `None`: the target is something else.
    pub(crate) deployment: Option<Box<str>>,
    pub(crate) most: u32,
}

/// Autoscalers of other owners, by namespace.
#[derive(Debug, Default)]
pub(super) struct Scalers(HashMap<Box<str>, Arc<InNamespace>>);

impl Scalers {
    pub(super) fn of(&self, namespace: &str) -> Arc<InNamespace> {
        self.0.get(namespace).cloned().unwrap_or_default()
    }

    /// Takes in an autoscaler. Returns the Deployments that it scales now or has scaled, where that has changed.
    pub(super) fn put(&mut self, namespace: &str, name: &str, scaler: &Scaler) -> Vec<Box<str>> {
        let new = Foreign { deployment: scaler.deployment.clone(), most: scaler.most };
        let all = Arc::make_mut(self.0.entry(namespace.into()).or_default());
        let before = all.insert(name.into(), new.clone());
        if before.as_ref() == Some(&new) {
            return Vec::new();
        }
        before.into_iter().chain([new]).filter_map(|one| one.deployment).collect()
    }

    /// Forgets an autoscaler. Returns the Deployment that it has scaled.
    pub(super) fn remove(&mut self, namespace: &str, name: &str) -> Option<Box<str>> {
        let all = self.0.get_mut(namespace)?;
        let gone = Arc::make_mut(all).remove(name);
        if all.is_empty() {
            self.0.remove(namespace);
        }
        gone?.deployment
    }

    /// Returns namespace and name of the autoscalers that a list has not shown.
    pub(super) fn not_shown(&self, places: &AppIndex, shown: &HashSet<NameHash>) -> Vec<(Box<str>, Box<str>)> {
        let all =
            self.0.iter().flat_map(|(namespace, all)| all.keys().map(move |name| (namespace.clone(), name.clone())));
        let is_shown =
            |namespace: &str, name: &str| shown.contains(&places.of(Kind::HorizontalPodAutoscaler, namespace, name));
        all.filter(|(namespace, name)| !is_shown(namespace, name)).collect()
    }
}
