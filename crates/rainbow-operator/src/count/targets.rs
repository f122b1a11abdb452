//! Which pods are to be asked, and how.

use rainbow_api::Rainbow;
use rainbow_plan::{InstanceName, Plan, Time};
use std::{collections::BTreeMap, sync::Arc};

use super::{
    How,
    reading::{NO_COUNTER, Source},
    task::Target,
};
use crate::{cache::App, observe};

/// Why nothing is known of pods of whose tier nothing is written down any more.
const NO_TIER: &str = "no color has the pod's tier any more";

/// The pods to ask as a plan says; and of each pod of interest the name, the uid, and how its connections can be known.
pub(crate) fn targets(app: &App, rainbow: &Rainbow, plan: &Plan) -> (Vec<Target>, Vec<(String, String, How)>) {
    if plan.count.is_empty() {
        return Default::default();
    }
    let mut sources: BTreeMap<&InstanceName, Result<Arc<Source>, &'static str>> = BTreeMap::new();
    for instance in &plan.count {
        sources.insert(instance, source(app, rainbow, instance).map(Arc::new));
    }
    let deadlines = deadlines(app, plan);
    let (mut asked, mut all) = (Vec::new(), Vec::new());
    for pod in app.pods.values().filter(|pod| !pod.finished) {
        let instance = InstanceName { tier: pod.tier.clone(), color: pod.color.clone() };
        let how = match sources.get(&instance) {
            None => continue,
            Some(Err(why)) => How::Never(why),
            // It gets one before its first container starts, and keeps it to the end.
            Some(Ok(_)) if pod.address.is_none() && !pod.ready => How::Unreachable,
            Some(Ok(source)) => {
                asked.push(Target {
                    pod: pod.meta.name.clone(),
                    uid: pod.meta.uid.clone(),
                    address: pod.address,
                    source: Arc::clone(source),
                    deadline: deadlines.get(&instance).copied(),
                    settle: rainbow.spec.drain.settle.0,
                });
                How::Asked
            }
        };
        all.push((pod.meta.name.clone(), pod.meta.uid.clone(), how));
    }
    (asked, all)
}

/// How an instance's pods are asked.
fn source(app: &App, rainbow: &Rainbow, instance: &InstanceName) -> Result<Source, &'static str> {
    let (color, tier) = observe::source(app, instance).ok_or(NO_TIER)?;
    Source::of(&rainbow.spec, color, tier).unwrap_or(Err(NO_COUNTER))
}

/// When the connections of instances are cut.
fn deadlines(app: &App, plan: &Plan) -> BTreeMap<InstanceName, Time> {
    let mut all = BTreeMap::<InstanceName, Time>::new();
    for report in &plan.report.colors {
        let Some(deadline) = report.drain.as_ref().and_then(|drain| drain.deadline) else { continue };
        let color = app.colors.values().filter(|color| color.spec.color == report.name);
        for instance in color.flat_map(|color| &color.spec.instances) {
            let name = InstanceName { tier: instance.tier.clone(), color: instance.color.clone() };
            let known = all.entry(name).or_insert(deadline);
            *known = deadline.min(*known);
        }
    }
    all
}
