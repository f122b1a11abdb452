//! Since when pods are endpoints of the stages' Services, and since when they no longer are.
//!
//! The cluster does not say it, so it is remembered here, and it is safe to forget: after a restart everything counts as
//! having happened just now, which costs one more wait for the data plane and nothing else.

use rainbow_plan::Time;
use std::collections::{BTreeMap, BTreeSet};

use crate::live::Slice;

/// By name of the Service, then of the pod.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    present: BTreeMap<String, BTreeMap<String, Time>>,
    left: BTreeMap<String, BTreeMap<String, Time>>,
}

impl Endpoints {
    /// Takes in the slices as they are now.
    pub(crate) fn update(&mut self, slices: &BTreeMap<String, Slice>, now: Time) {
        let mut current: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for slice in slices.values() {
            current.entry(&slice.service).or_default().extend(slice.ready.iter().map(String::as_str));
        }
        for (service, pods) in &mut self.present {
            let still = current.get(service.as_str());
            let left = self.left.entry(service.clone()).or_default();
            pods.retain(|pod, _| {
                let stays = still.is_some_and(|all| all.contains(pod.as_str()));
                if !stays {
                    left.insert(pod.clone(), now);
                }
                stays
            });
        }
        for (service, pods) in current {
            let present = self.present.entry(service.to_owned()).or_default();
            for pod in pods {
                present.entry(pod.to_owned()).or_insert(now);
                if let Some(left) = self.left.get_mut(service) {
                    left.remove(pod);
                }
            }
        }
        self.present.retain(|_, pods| !pods.is_empty());
        self.left.retain(|_, pods| !pods.is_empty());
    }

    /// What happened before the start is unknown: every pod that is no endpoint may have been one until just now.
    pub(crate) fn start<'a>(&mut self, service: &str, pods: impl Iterator<Item = &'a str>, now: Time) {
        for pod in pods {
            if self.present.get(service).is_none_or(|present| !present.contains_key(pod)) {
                self.left.entry(service.to_owned()).or_default().entry(pod.to_owned()).or_insert(now);
            }
        }
    }

    /// Forgets what left and is gone.
    pub(crate) fn prune(&mut self, exists: impl Fn(&str) -> bool) {
        for left in self.left.values_mut() {
            left.retain(|pod, _| exists(pod));
        }
    }

    /// The pod is gone.
    pub(crate) fn forget(&mut self, pod: &str) {
        for left in self.left.values_mut() {
            left.remove(pod);
        }
    }

    /// Since when the pod is an endpoint of the Service.
    pub(crate) fn since(&self, service: &str, pod: &str) -> Option<Time> {
        self.present.get(service)?.get(pod).copied()
    }

    /// Since when it no longer is.
    pub(crate) fn left(&self, service: &str, pod: &str) -> Option<Time> {
        self.left.get(service)?.get(pod).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Meta;

    fn slices(pods: &[&str]) -> BTreeMap<String, Slice> {
        let slice = Slice {
            meta: Meta::default(),
            service: "s".into(),
            ready: pods.iter().map(|pod| (*pod).to_owned()).collect(),
        };
        [("s-1".to_owned(), slice)].into()
    }

    #[test]
    fn remembers_since_when() {
        let mut endpoints = Endpoints::default();
        endpoints.update(&slices(&["a", "b"]), Time(1));
        endpoints.update(&slices(&["b", "c"]), Time(2));
        assert_eq!(endpoints.since("s", "b"), Some(Time(1)));
        assert_eq!(endpoints.since("s", "c"), Some(Time(2)));
        assert_eq!((endpoints.since("s", "a"), endpoints.left("s", "a")), (None, Some(Time(2))));
        endpoints.update(&slices(&["a"]), Time(3));
        assert_eq!((endpoints.since("s", "a"), endpoints.left("s", "a")), (Some(Time(3)), None));
        endpoints.update(&BTreeMap::new(), Time(4));
        assert_eq!(endpoints.left("s", "a"), Some(Time(4)));
        endpoints.forget("a");
        assert_eq!(endpoints.left("s", "a"), None);
    }

    #[test]
    fn at_the_start_everything_may_just_have_left() {
        let mut endpoints = Endpoints::default();
        endpoints.update(&slices(&["a"]), Time(1));
        endpoints.start("s", ["a", "b"].into_iter(), Time(1));
        assert_eq!((endpoints.left("s", "a"), endpoints.left("s", "b")), (None, Some(Time(1))));
    }
}
