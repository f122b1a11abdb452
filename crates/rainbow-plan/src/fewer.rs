//! Pods of a living color that are too many, and pods that were taken out and come back.
//!
//! A pod that serves does not end because fewer pods are wanted. The pods with the fewest connections are taken out of their
//! Services first, by a label that the Services ask for. From then on they drain as pods of a leaving color do (`release`). Pods
//! are taken out only when those that stay are as many as are wanted and are known to serve. When the size is raised again in the
//! meantime, pods that were taken out come back before new ones start.

use std::cmp::Reverse;

use crate::{
    Action, ChainKey, Connections, Controller, Deployment, InstanceName, Mark, Place, Pod, Presence, Selection,
    StageKey, StageService, Time,
    colors::Role,
    draft::Draft,
    evidence::{Verdict, verdict_of_fewer},
    hash::NameSet,
    release::{EndingInstance, LeavingPod},
    situation::{ServiceTarget, Situation},
    sizes::Sizes,
    view::{ColorId, View, is_out, serves},
};

/// Returns all instances of living colors that become smaller.
pub(crate) fn fewer<'a>(
    view: &View<'a>,
    situations: &[Situation<'a>],
    roles: &[Role],
    sizes: &Sizes<'a>,
    draft: &mut Draft,
) -> Vec<EndingInstance<'a>> {
    let mut done: NameSet<&InstanceName> = NameSet::default();
    let mut all = Vec::new();
    for (id, _) in roles.iter().enumerate().filter(|(_, role)| role.enforced()) {
        let color = view.colors[id];
        for tier in &color.tiers {
            let Some(instance) = color.instances.get(&tier.name) else { continue };
            let Some(wanted) = sizes.of(instance).filter(|_| done.insert(instance)) else { continue };
            if !view.is_labeled(instance) || !matches!(view.deployment(instance), Deployment::Ours { .. }) {
                continue;
            }
            let one = Fewer { view, situations, instance, wanted: wanted as usize };
            all.extend(one.decide(id, tier.counted, draft));
        }
    }
    all
}

/// Instance whose size is enforced.
struct Fewer<'s, 'a> {
    view: &'s View<'a>,
    situations: &'s [Situation<'a>],
    instance: &'a InstanceName,
    wanted: usize,
}

impl<'a> Fewer<'_, 'a> {
    /// Puts pods back or takes pods out. Returns the instance's pods, where there are more than wanted.
    fn decide(&self, color: ColorId, counted: bool, draft: &mut Draft) -> Option<EndingInstance<'a>> {
        let mut pods: Vec<&Pod> = self.view.alive(self.instance).collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        let back = self.put_back(&pods, draft);
        // The writer that scales the instance makes it smaller, too, and a ReplicaSet chooses the pods.
        if self.view.is_scaled(self.instance) {
            return None;
        }
        if pods.len() <= self.wanted {
            self.ask_for_no_more(pods.len(), draft);
            return None;
        }
        let mut leaver = |pod: &'a Pod| {
            let (clock, verdict) = verdict_of_fewer(self.view, pod, draft);
            let verdict = if back.contains(&*pod.name) { Verdict::Serves } else { verdict };
            LeavingPod { pod, clock, verdict }
        };
        let leavers = pods.iter().map(|pod| leaver(pod)).collect();
        let keeps = self.wanted;
        let going = EndingInstance {
            instance: self.instance,
            color,
            exposed: true,
            open: true,
            lives: true,
            keeps,
            pods: leavers,
        };
        going.count(self.view, counted, draft);
        if back.is_empty() {
            self.take_out(&pods, draft);
        }
        Some(going)
    }

    /// Puts back pods that were taken out, where they are wanted again or where a pod that stayed no longer serves. Pods that are
    /// not marked as the next to end come first, then ready ones, then those with most connections. A marked pod loses its mark
    /// before it comes back. Returns all pods that come back.
    fn put_back(&self, pods: &[&'a Pod], draft: &mut Draft) -> NameSet<&'a str> {
        let inside = pods.iter().filter(|pod| !is_out(pod));
        let serving = inside.clone().filter(|pod| serves(pod)).count();
        let is_marked = |pod: &Pod| pod.mark == Mark::Leaving;
        let mut out: Vec<&Pod> = pods.iter().copied().filter(|pod| is_out(pod)).collect();
        out.sort_by_key(|pod| (is_marked(pod), !pod.ready, Reverse(connections(pod)), &*pod.name));
        let ready = out.iter().filter(|pod| pod.ready).count();
        let lacking = self.wanted.saturating_sub(inside.count());
        let count = lacking.max(self.wanted.saturating_sub(serving).min(ready));
        let back: NameSet<&str> = out.into_iter().take(count).map(|pod| &*pod.name).collect();
        for pod in pods.iter().filter(|pod| back.contains(&*pod.name) && !is_marked(pod)) {
            draft.act(ChainKey::Start(self.instance.color.to_string()), Action::PutBack { pod: pod.name.to_string() });
        }
        back
    }

    /// Asks for fewer pods, and ends none, where the Deployment asks for more pods than there are and for more than are wanted.
    fn ask_for_no_more(&self, pods: usize, draft: &mut Draft) {
        let Deployment::Ours { current: true, replicas, observed: true, pods: known } =
            *self.view.deployment(self.instance)
        else {
            return;
        };
        if replicas as usize > self.wanted && known as usize <= pods {
            let replicas = u32::try_from(self.wanted).unwrap_or(u32::MAX);
            let action = Action::ApplyDeployment { instance: self.instance.clone(), replicas, ends: Vec::new() };
            draft.act(ChainKey::End(self.instance.color.to_string()), action);
        }
    }

    /// Takes out as many pods as there are too many: first those that are no members, then those that no ReplicaSet has adopted,
    /// then those that do not serve, then those with the fewest connections.
    fn take_out(&self, pods: &[&'a Pod], draft: &mut Draft) {
        let mut inside: Vec<&Pod> = pods.iter().copied().filter(|pod| !is_out(pod)).collect();
        // A ReplicaSet whose Deployment asks for fewer pods than there are chooses at this moment.
        let is_shrinking = (self.view.asked(self.instance) as usize) < pods.len();
        if inside.len() < self.wanted || self.is_about_to_move(pods) || is_shrinking {
            return;
        }
        // The Deployment does not count a pod that no ReplicaSet has adopted.
        let is_adopted = |pod: &Pod| pod.controller == Controller::ReplicaSet;
        let is_member = |pod: &Pod| !pod.member.is_empty();
        inside.sort_by_key(|pod| (is_member(pod), is_adopted(pod), serves(pod), connections(pod), &*pod.name));
        let stay = inside.split_off(inside.len() - self.wanted);
        // A shift chooses among its members itself, and clients are still sent to a pod that has only just left it.
        inside.retain(|pod| !is_member(pod) && !draft.joins(&pod.name));
        let may_serve_less = self.is_known_to_serve(&stay, draft) && self.is_counted(&inside, &stay, draft);
        let leaving = inside.into_iter().filter(|pod| may_serve_less || !pod.ready);
        // Another writer took the label off: the time is written now, so that it is known from here on.
        let unknown = pods.iter().copied().filter(|pod| pod.place == Place::Out { since: None });
        for pod in unknown.chain(leaving) {
            draft.act(ChainKey::End(self.instance.color.to_string()), Action::TakeOut { pod: pod.name.to_string() });
        }
    }

    /// Returns whether a stage has labels on the instance's pods that do not select yet, or no longer.
    fn is_about_to_move(&self, pods: &[&Pod]) -> bool {
        self.situations.iter().filter(|situation| situation.points != ServiceTarget::Members).any(|situation| {
            let stage = &situation.stage.name;
            pods.iter().any(|pod| pod.member.contains_key(stage))
        })
    }

    /// Returns whether the pods serve, and every node knows that they do.
    fn is_known_to_serve(&self, pods: &[&Pod], draft: &mut Draft) -> bool {
        let view = self.view;
        let mut since: Vec<Time> = Vec::new();
        for (key, _) in self.services() {
            let Some(endpoints) = pods.iter().map(|pod| pod.endpoint.get(key)).collect::<Option<Vec<_>>>() else {
                return false;
            };
            since.extend(endpoints.into_iter().map(|at| view.sent_to_at(key, *at)));
        }
        match view.service(self.instance) {
            Presence::NotNeeded => {}
            Presence::Current => since.extend(pods.iter().map(|pod| view.forgotten_in_cluster(pod.ready_since))),
            Presence::Absent | Presence::Foreign | Presence::Outdated => return false,
        }
        let known = since.into_iter().max().filter(|known| *known > view.now);
        if let Some(known) = known {
            draft.wake(known);
        }
        known.is_none() && pods.iter().all(|pod| serves(pod)) && self.services().all(|(_, current)| current)
    }

    /// Returns the stages' Services that select the instance, and whether each asks for the label.
    fn services(&self) -> impl Iterator<Item = (&'a StageKey, bool)> {
        self.view.world.stages.iter().filter_map(|(key, service)| match service {
            StageService::Ours { selects: Selection::Instance(selected), current, .. } if selected == self.instance => {
                Some((key, *current))
            }
            StageService::Ours { .. } | StageService::Foreign => None,
        })
    }

    /// Returns whether the connections of all pods are known, or have been unknown for a while.
    fn is_counted(&self, leaving: &[&Pod], stay: &[&Pod], draft: &mut Draft) -> bool {
        let asked = leaving.iter().chain(stay).filter_map(|pod| match pod.connections {
            Connections::Unknown { since } => Some(self.view.forgotten_in_cluster(since)),
            Connections::Uncounted | Connections::Busy { .. } | Connections::Idle { .. } => None,
        });
        let until = asked.max().filter(|until| *until > self.view.now);
        if let Some(until) = until {
            draft.wake(until);
        }
        until.is_none()
    }
}

/// Returns the number of the pod's connections, as far as it is known; unknown counts as most.
fn connections(pod: &Pod) -> u64 {
    match pod.connections {
        Connections::Uncounted | Connections::Idle { .. } => 0,
        Connections::Busy { count, .. } => u64::from(count),
        Connections::Unknown { .. } => u64::MAX,
    }
}
