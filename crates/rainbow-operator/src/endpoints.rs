//! Since when pods are endpoints of the stages' Services, and since when they no longer are.
//!
//! The cluster does not say it, so it is remembered here, and it is safe to forget: after a restart everything counts as
//! having happened just now, which costs one more wait for the data plane and nothing else.

use rainbow_plan::Time;
use std::collections::{BTreeMap, BTreeSet};

/// By name of the Service, then of the pod. A Service that is gone is still known by who was its endpoint.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    present: BTreeMap<String, BTreeMap<String, Time>>,
    /// Under `None`: Services that were gone before the operator started, if there were any.
    left: BTreeMap<Option<String>, BTreeMap<String, Time>>,
}

impl Endpoints {
    /// Takes in all slices as they are now: names of their Services and of ready pods.
    pub(crate) fn update<'a>(&mut self, slices: impl Iterator<Item = (&'a str, &'a [String])>, now: Time) {
        let mut current: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (service, ready) in slices {
            current.entry(service).or_default().extend(ready.iter().map(String::as_str));
        }
        for (service, pods) in &mut self.present {
            let still = current.get(service.as_str());
            let left = self.left.entry(Some(service.clone())).or_default();
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
                if let Some(left) = self.left.get_mut(&Some(service.to_owned())) {
                    left.remove(pod);
                }
            }
        }
        self.present.retain(|_, pods| !pods.is_empty());
        self.left.retain(|_, pods| !pods.is_empty());
    }

    /// Every pod that is no endpoint is seen to be none for the first time: what happened before is unknown. `None` stands for
    /// Services that are gone.
    pub(crate) fn start<'a>(&mut self, service: Option<&str>, pods: impl Iterator<Item = &'a str>, now: Time) {
        let present = service.and_then(|service| self.present.get(service));
        for pod in pods {
            if present.is_none_or(|present| !present.contains_key(pod)) {
                let left = self.left.entry(service.map(str::to_owned)).or_default();
                left.entry(pod.to_owned()).or_insert(now);
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
    pub(crate) fn since<'a>(&'a self, pod: &'a str) -> impl Iterator<Item = (&'a str, Time)> {
        self.present.iter().filter_map(move |(service, pods)| Some((service.as_str(), *pods.get(pod)?)))
    }

    /// The Services whose endpoint the pod is no longer, and since when that has been seen.
    pub(crate) fn left<'a>(&'a self, pod: &'a str) -> impl Iterator<Item = (Option<&'a str>, Time)> {
        self.left.iter().filter_map(move |(service, pods)| Some((service.as_deref(), *pods.get(pod)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(endpoints: &mut Endpoints, pods: &[&str], now: i64) {
        let ready: Vec<String> = pods.iter().map(|pod| (*pod).to_owned()).collect();
        endpoints.update([("s", ready.as_slice())].into_iter(), Time(now));
    }

    fn since<'a>(endpoints: &'a Endpoints, pod: &'a str) -> Vec<(&'a str, Time)> {
        endpoints.since(pod).collect()
    }

    fn left<'a>(endpoints: &'a Endpoints, pod: &'a str) -> Vec<(&'a str, Time)> {
        endpoints.left(pod).map(|(service, since)| (service.unwrap_or_default(), since)).collect()
    }

    #[test]
    fn remembers_since_when() {
        let mut endpoints = Endpoints::default();
        update(&mut endpoints, &["a", "b"], 1);
        update(&mut endpoints, &["b", "c"], 2);
        assert_eq!(since(&endpoints, "b"), [("s", Time(1))]);
        assert_eq!(since(&endpoints, "c"), [("s", Time(2))]);
        assert_eq!((since(&endpoints, "a"), left(&endpoints, "a")), (vec![], vec![("s", Time(2))]));
        update(&mut endpoints, &["a"], 3);
        assert_eq!((since(&endpoints, "a"), left(&endpoints, "a")), (vec![("s", Time(3))], vec![]));
        endpoints.update(std::iter::empty(), Time(4));
        assert_eq!(left(&endpoints, "a"), [("s", Time(4))], "the Service is gone, and was there");
        endpoints.forget("a");
        assert_eq!(left(&endpoints, "a"), []);
    }

    #[test]
    fn at_the_start_everything_may_just_have_left() {
        let mut endpoints = Endpoints::default();
        update(&mut endpoints, &["a"], 1);
        endpoints.start(Some("s"), ["a", "b"].into_iter(), Time(1));
        assert_eq!((left(&endpoints, "a"), left(&endpoints, "b")), (vec![], vec![("s", Time(1))]));
    }
}
