//! Since when pods are endpoints of the stages' Services, and since when they no longer are.
//!
//! The cluster does not say it, so it is remembered here, and it is safe to forget: after a restart everything counts as
//! having happened just now, which costs one more wait for the data plane and nothing else.

use rainbow_plan::Time;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// By name of the Service, then of the pod. A Service that is gone is still known by the pods that were its endpoints.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    present: BTreeMap<Box<str>, BTreeMap<Box<str>, Time>>,
    left: BTreeMap<Box<str>, BTreeMap<Box<str>, Time>>,
    /// When everything was seen for the first time. Any pod may have left any Service just before, also one that is gone.
    started: Option<Time>,
}

impl Endpoints {
    /// Takes in all slices as they are now: names of their Services and of ready pods.
    pub(crate) fn update<'a>(&mut self, slices: impl Iterator<Item = (&'a str, &'a [Box<str>])>, now: Time) {
        let mut current: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (service, ready) in slices {
            current.entry(service).or_default().extend(ready.iter().map(AsRef::as_ref));
        }
        for (service, pods) in &mut self.present {
            let still = current.get(&**service);
            let left = self.left.entry(service.clone()).or_default();
            pods.retain(|pod, _| {
                let stays = still.is_some_and(|all| all.contains(&**pod));
                if !stays {
                    left.insert(pod.clone(), now);
                }
                stays
            });
        }
        for (service, pods) in current {
            let present = self.present.entry(service.into()).or_default();
            for pod in pods {
                present.entry(pod.into()).or_insert(now);
                if let Some(left) = self.left.get_mut(service) {
                    left.remove(pod);
                }
            }
        }
        self.present.retain(|_, pods| !pods.is_empty());
        self.left.retain(|_, pods| !pods.is_empty());
    }

    /// Every pod that is no endpoint is seen to be none for the first time: what happened before is unknown.
    pub(crate) fn start(&mut self, now: Time) {
        self.started = Some(now);
    }

    /// Forgets what the whole data plane knows by now: nothing is decided on it any more. `propagation` is the lag of those
    /// who compute endpoints, and of those who use them.
    pub(crate) fn expire(&mut self, now: Time, propagation: Duration) {
        let known = |since: Time| since.after(propagation.saturating_mul(2)) <= now;
        self.started = self.started.filter(|since| !known(*since));
        for left in self.left.values_mut() {
            left.retain(|_, since| !known(*since));
        }
        self.left.retain(|_, pods| !pods.is_empty());
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
        self.present.iter().filter_map(move |(service, pods)| Some((&**service, *pods.get(pod)?)))
    }

    /// The Services whose endpoint the pod is no longer, and since when that has been seen. `None` stands for all Services
    /// that the pod may have left before the operator started.
    pub(crate) fn left<'a>(&'a self, pod: &'a str) -> impl Iterator<Item = (Option<&'a str>, Time)> {
        let left = self.left.iter().filter_map(move |(service, pods)| Some((Some(&**service), *pods.get(pod)?)));
        left.chain(self.started.map(|since| (None, since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(endpoints: &mut Endpoints, pods: &[&str], now: i64) {
        let ready: Vec<Box<str>> = pods.iter().map(|pod| (*pod).into()).collect();
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
    fn at_the_start_every_pod_may_just_have_left() {
        let mut endpoints = Endpoints::default();
        update(&mut endpoints, &["a"], 1);
        endpoints.start(Time(1));
        for pod in ["a", "b"] {
            assert_eq!(left(&endpoints, pod), [("", Time(1))]);
        }
    }

    #[test]
    fn what_the_data_plane_knows_is_forgotten() {
        let mut endpoints = Endpoints::default();
        endpoints.start(Time(1));
        update(&mut endpoints, &["a", "b"], 1);
        update(&mut endpoints, &["b"], 2);
        for (now, expected) in [(20, vec![("s", Time(2)), ("", Time(1))]), (21, vec![("s", Time(2))]), (22, vec![])] {
            endpoints.expire(Time(now), Duration::from_millis(10));
            assert_eq!(left(&endpoints, "a"), expected);
        }
        assert!(endpoints.left.is_empty());
    }
}
