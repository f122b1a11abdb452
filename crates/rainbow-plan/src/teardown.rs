//! How everything goes when the Rainbow is deleted: clients first, then entry tiers, then what they needed.

use std::collections::BTreeSet;

use crate::{
    Action, ColorPhase, ColorReport, InstanceName, Plan, Report, StageReport, StageService, dag::Dependents,
    draft::Draft, history::exists, view::View,
};

pub(crate) fn plan(view: &View<'_>) -> Plan {
    let mut draft = Draft::default();
    next(view, &mut draft);
    draft.into_plan(view.now, report(view))
}

fn next(view: &View<'_>, draft: &mut Draft) {
    let ours = view.world.stages.iter().filter(|(_, service)| matches!(service, StageService::Ours { .. }));
    for (stage, _) in ours {
        draft.act(Action::DeleteStage { stage: stage.clone() });
    }
    if !draft.actions.is_empty() {
        return;
    }
    // The stages are gone, but the data plane may not know it yet, or may still send to where they pointed.
    let pods = || view.world.pods.iter();
    if pods().any(|pod| !pod.endpoint.is_empty() && !pod.terminating) {
        return;
    }
    let left = pods().flat_map(|pod| pod.left.values()).map(|left| left.after(view.spec().propagation)).max();
    if let Some(until) = left.filter(|until| *until > view.now) {
        draft.wake(until);
        return;
    }
    let dependents = Dependents::new(view);
    let named: BTreeSet<&InstanceName> =
        view.colors.iter().flat_map(|color| color.instances.values()).chain(view.world.instances.keys()).collect();
    let mut remains = false;
    for instance in named {
        let count = view.count(instance);
        let there = exists(view, instance);
        remains |= there || !count.gone;
        // Deleting a Deployment ends its pods in the background: its callers are gone when no pod of theirs is seen.
        if there && dependents.of(instance).all(|caller| !exists(view, caller) && view.count(caller).gone) {
            draft.act(Action::DeleteInstance { instance: instance.clone() });
        }
    }
    if remains {
        return;
    }
    for color in view.colors.iter().rev() {
        draft.act(Action::DeleteColor { color: color.name.clone() });
    }
    if view.colors.is_empty() {
        draft.act(Action::Release);
    }
}

fn report(view: &View<'_>) -> Report {
    let stages = view.spec().stages.iter().map(|stage| StageReport {
        name: stage.name.clone(),
        color: None,
        target: None,
        previous: None,
        since: None,
        shift: None,
        message: Some("the Rainbow is being deleted".into()),
    });
    let colors = view.colors.iter().map(|color| ColorReport {
        name: color.name.clone(),
        phase: ColorPhase::Draining,
        ready: color.instances.values().map(|instance| view.ready(instance)).sum(),
        wanted: 0,
        stages: Vec::new(),
        released: color.released.or(Some(view.now)),
        retired: color.retired,
        message: Some("the Rainbow is being deleted".into()),
    });
    Report { stages: stages.collect(), colors: colors.collect(), problems: Vec::new(), progressing: true }
}
