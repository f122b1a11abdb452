//! Time since when pods are endpoints of the stages' Services, and since when they no longer are.
//!
//! The cluster does not tell these times, so they are remembered here. Losing them is safe: after a restart everything counts as having
//! happened just now, which costs only one more wait for the data plane.

use rainbow_plan::Time;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::named::Named;

/// Endpoints by name of the Service, then of the pod. A Service that is gone is still known by the pods that were its endpoints.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    present: Named<Pods>,
    left: Named<Pods>,
    /// Endpoints of the stages' shadow Services. No client is sent to them, so it does not matter which pods have left.
    shadows: Named<Pods>,
    /// Time at which everything was seen for the first time. Any pod, even one that is gone, may have left any Service just before.
    started: Option<Time>,
}

/// Time since when, by pod. The names are those under which the pods are kept.
type Pods = Named<Time, Arc<str>>;

impl Endpoints {
    /// Takes in all current slices: names of their Services and of ready pods.
    pub(crate) fn update<'a>(&mut self, slices: impl Iterator<Item = (&'a str, &'a [Arc<str>])>, now: Time) {
        let current = by_service(slices);
        for (service, pod) in replace(&mut self.present, &current, now) {
            self.left.or_default(&service).insert(pod, now);
        }
        for (service, pods) in current {
            if let Some(left) = self.left.get_mut(service) {
                left.retain(|pod, _| !pods.contains(pod));
            }
        }
        self.left.retain(|_, pods| !pods.is_empty());
    }

    /// Takes in all current slices of shadow Services.
    pub(crate) fn update_shadows<'a>(&mut self, slices: impl Iterator<Item = (&'a str, &'a [Arc<str>])>, now: Time) {
        replace(&mut self.shadows, &by_service(slices), now);
    }

    /// Records that everything is seen for the first time: what happened before is unknown.
    pub(crate) fn start(&mut self, now: Time) {
        self.started = Some(now);
    }

    /// Forgets times that everything that sends clients to pods knows by now, since no decision depends on them any more. `lag` is the sum
    /// for the endpoint controller and the slowest user of endpoints.
    pub(crate) fn expire(&mut self, now: Time, lag: Duration) {
        let known = |since: Time| since.after(lag) <= now;
        self.started = self.started.filter(|since| !known(*since));
        for (_, left) in self.left.iter_mut() {
            left.retain(|_, since| !known(*since));
        }
        self.left.retain(|_, pods| !pods.is_empty());
    }

    /// Forgets pods that have left and are gone.
    pub(crate) fn prune(&mut self, exists: impl Fn(&str) -> bool) {
        for (_, left) in self.left.iter_mut() {
            left.retain(|pod, _| exists(pod));
        }
    }

    /// Forgets a pod that is gone.
    pub(crate) fn forget(&mut self, pod: &str) {
        for (_, left) in self.left.iter_mut() {
            left.remove(pod);
        }
    }

    /// Returns the endpoints of Services: Service, pod, and since when.
    pub(crate) fn present(&self) -> impl Iterator<Item = (&str, &str, Time)> {
        all(&self.present)
    }

    /// Returns the endpoints of shadow Services.
    pub(crate) fn in_shadows(&self) -> impl Iterator<Item = (&str, &str, Time)> {
        all(&self.shadows)
    }

    /// Returns the pods that are no longer endpoints of Services, with the time since when that has been seen.
    pub(crate) fn left(&self) -> impl Iterator<Item = (&str, &str, Time)> {
        all(&self.left)
    }

    /// Returns the time at which everything was seen for the first time, until every client knows the state before it. Any pod may have
    /// left any Service just before that time.
    pub(crate) fn started(&self) -> Option<Time> {
        self.started
    }
}

fn all(services: &Named<Pods>) -> impl Iterator<Item = (&str, &str, Time)> {
    services.iter().flat_map(|(service, pods)| pods.iter().map(|(pod, since)| (&**service, &**pod, *since)))
}

/// Ready pods by name of the Service.
type Current<'a> = BTreeMap<&'a str, BTreeSet<&'a Arc<str>>>;

fn by_service<'a>(slices: impl Iterator<Item = (&'a str, &'a [Arc<str>])>) -> Current<'a> {
    let mut current = Current::new();
    for (service, ready) in slices {
        current.entry(service).or_default().extend(ready);
    }
    current
}

/// Replaces the previous endpoints by the current ones. A pod that stays keeps its time. Returns the pods that are gone, each with its
/// Service.
fn replace(present: &mut Named<Pods>, current: &Current<'_>, now: Time) -> Vec<(Box<str>, Arc<str>)> {
    let mut gone = Vec::new();
    for (service, pods) in present.iter_mut() {
        let still = current.get(&**service);
        pods.retain(|pod, _| {
            let stays = still.is_some_and(|all| all.contains(pod));
            if !stays {
                gone.push((service.clone(), Arc::clone(pod)));
            }
            stays
        });
    }
    for (service, pods) in current {
        let present = present.or_default(service);
        for pod in pods {
            if !present.contains(pod) {
                present.insert(Arc::clone(pod), now);
            }
        }
    }
    present.retain(|_, pods| !pods.is_empty());
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(endpoints: &mut Endpoints, pods: &[&str], now: i64) {
        let ready: Vec<Arc<str>> = pods.iter().map(|pod| (*pod).into()).collect();
        endpoints.update([("s", ready.as_slice())].into_iter(), Time(now));
    }

    fn since<'a>(endpoints: &'a Endpoints, pod: &'a str) -> Vec<(&'a str, Time)> {
        of(endpoints.present(), pod).collect()
    }

    fn left<'a>(endpoints: &'a Endpoints, pod: &'a str) -> Vec<(&'a str, Time)> {
        of(endpoints.left(), pod).chain(endpoints.started().map(|since| ("", since))).collect()
    }

    fn of<'a>(all: impl Iterator<Item = (&'a str, &'a str, Time)>, pod: &str) -> impl Iterator<Item = (&'a str, Time)> {
        all.filter(move |(_, found, _)| *found == pod).map(|(service, _, since)| (service, since))
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
    fn no_pod_leaves_a_shadow() {
        let mut endpoints = Endpoints::default();
        let pod: [Arc<str>; 1] = ["a".into()];
        endpoints.update_shadows([("s", pod.as_slice())].into_iter(), Time(1));
        endpoints.update_shadows([("s", pod.as_slice())].into_iter(), Time(2));
        assert_eq!(of(endpoints.in_shadows(), "a").collect::<Vec<_>>(), [("s", Time(1))]);
        assert_eq!((since(&endpoints, "a"), left(&endpoints, "a")), (vec![], vec![]), "no client is sent to it");
        endpoints.update_shadows(std::iter::empty(), Time(3));
        assert_eq!((endpoints.in_shadows().count(), left(&endpoints, "a")), (0, vec![]));
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
            endpoints.expire(Time(now), Duration::from_millis(20));
            assert_eq!(left(&endpoints, "a"), expected);
        }
        assert!(endpoints.left.is_empty());
    }
}
