//! Since when pods are endpoints of the stages' Services, and since when they no longer are.
//!
//! The cluster does not say it, so it is remembered here, and it is safe to forget: after a restart everything counts as
//! having happened just now, which costs one more wait for the data plane and nothing else.

use rainbow_plan::Time;
use std::collections::{BTreeMap, BTreeSet};

use crate::live::Slice;

/// In place of the name of a Service that was gone before the operator started, if there was one.
pub(crate) const GONE: &str = "";

/// By name of the Service, then of the pod. A Service that is gone is still known by who was its endpoint.
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

    /// The Services whose endpoint the pod is, and since when.
    pub(crate) fn since(&self, pod: &str) -> impl Iterator<Item = (&str, Time)> {
        times(&self.present, pod)
    }

    /// The Services whose endpoint it no longer is, and since when.
    pub(crate) fn left(&self, pod: &str) -> impl Iterator<Item = (&str, Time)> {
        times(&self.left, pod)
    }
}

fn times<'a>(
    services: &'a BTreeMap<String, BTreeMap<String, Time>>,
    pod: &str,
) -> impl Iterator<Item = (&'a str, Time)> {
    services.iter().filter_map(move |(service, pods)| Some((service.as_str(), *pods.get(pod)?)))
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

    fn since<'a>(endpoints: &'a Endpoints, pod: &str) -> Vec<(&'a str, Time)> {
        endpoints.since(pod).collect()
    }

    fn left<'a>(endpoints: &'a Endpoints, pod: &str) -> Vec<(&'a str, Time)> {
        endpoints.left(pod).collect()
    }

    #[test]
    fn remembers_since_when() {
        let mut endpoints = Endpoints::default();
        endpoints.update(&slices(&["a", "b"]), Time(1));
        endpoints.update(&slices(&["b", "c"]), Time(2));
        assert_eq!(since(&endpoints, "b"), [("s", Time(1))]);
        assert_eq!(since(&endpoints, "c"), [("s", Time(2))]);
        assert_eq!((since(&endpoints, "a"), left(&endpoints, "a")), (vec![], vec![("s", Time(2))]));
        endpoints.update(&slices(&["a"]), Time(3));
        assert_eq!((since(&endpoints, "a"), left(&endpoints, "a")), (vec![("s", Time(3))], vec![]));
        endpoints.update(&BTreeMap::new(), Time(4));
        assert_eq!(left(&endpoints, "a"), [("s", Time(4))], "the Service is gone, and was there");
        endpoints.forget("a");
        assert_eq!(left(&endpoints, "a"), []);
    }

    #[test]
    fn at_the_start_everything_may_just_have_left() {
        let mut endpoints = Endpoints::default();
        endpoints.update(&slices(&["a"]), Time(1));
        endpoints.start("s", ["a", "b"].into_iter(), Time(1));
        assert_eq!((left(&endpoints, "a"), left(&endpoints, "b")), (vec![], vec![("s", Time(1))]));
    }
}
