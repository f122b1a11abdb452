//! Teardown: how everything ends when the Rainbow is deleted. Clients lose their stages first, then entry tiers end, then the
//! tiers that these needed.

use std::collections::BTreeSet;

use crate::{
    Action, Address, ChainKey, ColorPhase, ColorReport, InstanceName, Part, Plan, Pod, Report, Scaler, StageKey,
    StageReport, StageService, Waiting, adopt, dag::Dependents, draft::Draft, history::exists, marks,
    report::of_whole_colors, scalers, view::View,
};

pub(crate) fn plan(view: &View<'_>) -> Plan {
    let mut draft = Draft::default();
    next(view, &mut draft);
    draft.into_plan(view.now, report(view))
}

fn next(view: &View<'_>, draft: &mut Draft) {
    if !quiet(view) {
        // A crash may lose the times at which pods left the stages. The colors' clocks tell instead, if they are known to start
        // after this.
        if view.colors.iter().any(|color| color.released.is_some()) {
            draft.wake(view.now);
            return;
        }
        for (stage, _) in our_stages(view).filter(|(stage, _)| !has_callers(view, stage)) {
            draft.act(ChainKey::Stage(stage.clone()), Action::DeleteStage { stage: stage.clone() });
        }
        return;
    }
    // The stages are gone, but the data plane may not know it yet, and may still send clients to where they pointed.
    let released = view.colors.iter().map(|color| color.released.unwrap_or(view.now));
    let left = view.world.pods.iter().flat_map(|pod| pod.left.values()).copied();
    let until = released.chain(left).max().map_or(view.now, |since| view.forgotten(since));
    if view.colors.iter().any(|color| color.released.is_none()) || until > view.now {
        draft.wake(until);
        return;
    }
    let dependents = Dependents::with_calls(view);
    let named: BTreeSet<&InstanceName> =
        view.colors.iter().flat_map(|color| color.instances.values()).chain(view.world.instances.keys()).collect();
    let mut remains = false;
    for instance in named {
        let count = view.count(instance);
        let there = exists(view, instance);
        remains |= there || !count.gone;
        // A deleted Deployment's pods end in the background: its callers are gone when none of their pods is seen.
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
    for color in view.colors.iter().rev().filter(|color| color.part == Part::Shared) {
        draft.act(ChainKey::End(color.name.clone()), Action::DeleteColor { color: color.name.clone() });
    }
    if view.colors.is_empty() {
        draft.act(ChainKey::Release, Action::Release);
    }
}

fn our_stages<'a>(view: &View<'a>) -> impl Iterator<Item = (&'a StageKey, &'a StageService)> {
    view.world.stages.iter().filter(|(_, service)| matches!(service, StageService::Ours { .. }))
}

/// Returns whether no stage has a Service or an endpoint any more, except for those that the application's own tiers use.
fn quiet(view: &View<'_>) -> bool {
    let mut stages = our_stages(view);
    let is_endpoint = |pod: &Pod| pod.endpoint.keys().any(|stage| !has_callers(view, stage));
    stages.all(|(stage, _)| has_callers(view, stage)) && !view.world.pods.iter().any(is_endpoint)
}

/// Returns whether pods of the application reach other tiers through the Service of the stage: it ends after them.
fn has_callers(view: &View<'_>, stage: &StageKey) -> bool {
    // An inner address that no pod uses does not count as a stage: see `parts`.
    view.spec.stages.iter().any(|known| {
        let Address::Inner { stage: user } = &known.address else { return false };
        stage.is(&known.name) && view.instances_of(user).any(|instance| !view.count(instance).gone)
    })
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
        approved: None,
        hold: None,
        tiers: Vec::new(),
        waiting: Some(Waiting::ForDeletion),
    });
    let colors = view.colors.iter().enumerate().map(|(id, color)| ColorReport {
        name: color.name.clone(),
        phase: ColorPhase::Draining,
        ready: color.instances.values().map(|instance| view.ready(instance)).fold(0, u32::saturating_add),
        wanted: 0,
        stages: Vec::new(),
        released: quiet(view).then(|| color.released.unwrap_or(view.now)),
        retired: color.retired,
        entries: view.entries(id),
        demoted: color.demoted,
        sizes: color.sizes.clone(),
        served: color.served.clone(),
        rejected_by: color.rejected_by.clone(),
        connections: None,
        drain: None,
        waiting: Some(Waiting::ForDeletion),
        parts: Vec::new(),
    });
    Report {
        stages: stages.collect(),
        colors: of_whole_colors(view, colors.collect()),
        problems: Vec::new(),
        described: view.last_described(),
        progressing: true,
    }
}
