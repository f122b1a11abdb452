//! Pods whose connections are counted now, as a plan names them, and how they are asked.

use rainbow_api::IgnoredPeer;
use rainbow_plan::{InstanceName, Plan, Time};
use std::{collections::BTreeMap, sync::Arc};

use crate::{
    cache::App,
    count::{CountMethod, Counter, NO_COUNTER, Source, Target},
    effective::Effective,
    key::Key,
    messages,
};

/// Pods that are asked now.
#[derive(Default)]
pub(crate) struct Counting {
    asked: Vec<Target>,
    /// Peers whose connections hold no pod.
    ignore: Vec<IgnoredPeer>,
}

impl Counting {
    /// Asks for the connections that the plan wants to know. Returns whether something is known now without a question.
    pub(crate) fn follow(
        &mut self,
        key: &Key,
        app: &mut App,
        effective: &Effective,
        plan: &Plan,
        with: &Counter,
        now: Time,
    ) -> bool {
        let (targets, pods) = targets(app, effective, plan);
        let pods = pods.iter().map(|(name, uid, how)| (name.as_str(), uid.as_str(), how.clone()));
        let drain = &effective.rainbow.spec.drain;
        let mut news = app.known.ask(pods, drain.settle.0, now);
        if drain.ignore != self.ignore {
            news |= app.known.count_others(now);
        }
        if targets != self.asked || (drain.ignore != self.ignore && !targets.is_empty()) {
            with.order(key, targets.clone(), &drain.ignore);
            self.asked = targets;
        }
        self.ignore.clone_from(&drain.ignore);
        news
    }

    /// Stops all questions.
    pub(crate) fn stop(&mut self, key: &Key, counter: &Counter) {
        if !self.asked.is_empty() {
            self.asked = Vec::new();
            counter.order(key, Vec::new(), &[]);
        }
    }
}

/// Returns the pods to ask by a plan, and for each pod of interest the name, the uid, and how its connections can be known.
fn targets(app: &App, effective: &Effective, plan: &Plan) -> (Vec<Target>, Vec<(String, String, CountMethod)>) {
    if plan.count.is_empty() {
        return Default::default();
    }
    let mut sources: BTreeMap<&InstanceName, Result<Arc<Source>, &'static str>> = BTreeMap::new();
    for instance in &plan.count {
        sources.insert(instance, source(app, effective, instance).map(Arc::new));
    }
    let deadlines = deadlines(app, plan);
    let (mut asked, mut all) = (Vec::new(), Vec::new());
    for (name, pod) in app.pods.iter().filter(|(_, pod)| !pod.finished) {
        let instance = pod.instance();
        let how = match sources.get(&instance) {
            None => continue,
            Some(Err(why)) => CountMethod::Never(why),
            // A pod gets an address before its first container starts, and keeps it to the end.
            Some(Ok(_)) if pod.address.is_none() && !pod.ready => CountMethod::Unreachable,
            Some(Ok(source)) => {
                asked.push(Target {
                    pod: name.to_string(),
                    uid: pod.meta.uid.to_string(),
                    address: pod.address,
                    source: Arc::clone(source),
                    deadline: deadlines.get(&instance).copied(),
                    settle: effective.rainbow.spec.drain.settle.0,
                });
                CountMethod::Asked
            }
        };
        all.push((name.to_string(), pod.meta.uid.to_string(), how));
    }
    (asked, all)
}

/// Returns how an instance's pods are asked.
fn source(app: &App, effective: &Effective, instance: &InstanceName) -> Result<Source, &'static str> {
    let color = effective.speaker(app, instance).ok_or(messages::NO_TIER)?;
    let tier = color.spec.tiers.iter().find(|tier| tier.name == *instance.tier).ok_or(messages::NO_TIER)?;
    Source::of(&effective.rainbow.spec, effective.describes(color), color, tier).unwrap_or(Err(NO_COUNTER))
}

/// Returns the time at which the connections of each instance are cut.
fn deadlines(app: &App, plan: &Plan) -> BTreeMap<InstanceName, Time> {
    let mut all = BTreeMap::<InstanceName, Time>::new();
    for report in &plan.report.colors {
        let Some(deadline) = report.drain.as_ref().and_then(|drain| drain.deadline) else { continue };
        let color = app.colors.values().filter(|color| color.spec.color == report.name);
        for instance in color.flat_map(|color| &color.spec.instances) {
            let is_of = |name: &&InstanceName| *name.tier == *instance.tier && *name.color == *instance.color;
            for name in plan.count.iter().filter(is_of) {
                let known = all.entry(name.clone()).or_insert(deadline);
                *known = deadline.min(*known);
            }
        }
    }
    all
}
