//! How everything goes when the Rainbow is deleted: clients first, then entry tiers, then what they needed.

use std::collections::BTreeSet;

use crate::{
    Action, ChainKey, ColorPhase, ColorReport, InstanceName, Plan, Report, Scaler, StageKey, StageReport, StageService,
    Waiting, adopt, dag::Dependents, draft::Draft, history::exists, marks, scalers, view::View,
};

pub(crate) fn plan(view: &View<'_>) -> Plan {
    let mut draft = Draft::default();
    next(view, &mut draft);
    draft.into_plan(view.now, report(view))
}

fn next(view: &View<'_>, draft: &mut Draft) {
    if !quiet(view) {
        // A crash may lose who left the stages when. The colors' clocks tell, if they are known to start after this.
        if view.colors.iter().any(|color| color.released.is_some()) {
            draft.wake(view.now);
            return;
        }
        for (stage, _) in our_stages(view) {
            draft.act(ChainKey::Stage(stage.clone()), Action::DeleteStage { stage: stage.clone() });
        }
        return;
    }
    // The stages are gone, but the data plane may not know it yet, and still send to where they pointed.
    let released = view.colors.iter().map(|color| color.released.unwrap_or(view.now));
    let left = view.world.pods.iter().flat_map(|pod| pod.left.values()).copied();
    let until = released.chain(left).max().map_or(view.now, |since| view.forgotten(since));
    if view.colors.iter().any(|color| color.released.is_none()) || until > view.now {
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
        if dependents.of(instance).any(|caller| exists(view, caller) || !view.count(caller).gone) {
            continue;
        }
        if matches!(view.scaler(instance), Scaler::Ours { .. }) {
            let end = ChainKey::End(instance.color.to_string());
            draft.act(end, Action::DeleteScaler { instance: instance.clone() });
        }
        if scalers::may_scale(view, instance) {
            continue;
        }
        if there {
            let end = ChainKey::End(instance.color.to_string());
            draft.act(end, Action::DeleteInstance { instance: instance.clone() });
        }
        adopt::remove(view, instance, draft);
    }
    if remains {
        return;
    }
    marks::unguard(view, draft);
    for color in view.colors.iter().rev() {
        draft.act(ChainKey::End(color.name.clone()), Action::DeleteColor { color: color.name.clone() });
    }
    if view.colors.is_empty() {
        draft.act(ChainKey::Release, Action::Release);
    }
}

fn our_stages<'a>(view: &View<'a>) -> impl Iterator<Item = (&'a StageKey, &'a StageService)> {
    view.world.stages.iter().filter(|(_, service)| matches!(service, StageService::Ours { .. }))
}

/// No stage has a Service or an endpoint any more.
fn quiet(view: &View<'_>) -> bool {
    our_stages(view).next().is_none() && view.world.pods.iter().all(|pod| pod.endpoint.is_empty())
}

fn report(view: &View<'_>) -> Report {
    let stages = view.spec.stages.iter().map(|stage| StageReport {
        name: stage.name.clone(),
        color: None,
        target: None,
        previous: None,
        since: None,
        shift: None,
        degraded: None,
        rejected: None,
        hold: None,
        waiting: Some(Waiting::ForDeletion),
    });
    let colors = view.colors.iter().map(|color| ColorReport {
        name: color.name.clone(),
        phase: ColorPhase::Draining,
        ready: color.instances.values().map(|instance| view.ready(instance)).fold(0, u32::saturating_add),
        wanted: 0,
        stages: Vec::new(),
        released: quiet(view).then(|| color.released.unwrap_or(view.now)),
        retired: color.retired,
        entries: color.entries.clone(),
        demoted: color.demoted,
        sizes: color.sizes.clone(),
        served: color.served.clone(),
        connections: None,
        drain: None,
        waiting: Some(Waiting::ForDeletion),
    });
    Report {
        stages: stages.collect(),
        colors: colors.collect(),
        problems: Vec::new(),
        described: view.last_described(),
        progressing: true,
    }
}
