//! Cuts of a plan: the connections of pods that end because of their deadline.

use rainbow_api::{Color, Cut};
use rainbow_plan::{Action, ColorPhase, Connections, InstanceName, Plan, Time, Why};
use std::collections::BTreeMap;

use crate::cache::App;

/// Returns what the plan's actions cut, as far as it is known, by name of the color.
pub(crate) fn cuts(plan: &Plan, app: &App, now: Time) -> BTreeMap<String, Vec<Cut>> {
    let mut all = BTreeMap::<String, Vec<Cut>>::new();
    for name in plan.actions().flat_map(past_their_time) {
        let Some(pod) = app.pods.get(name) else { continue };
        let instance = pod.instance();
        let owners = owners(app, plan, &instance);
        // The pods of an inner tier are asked when its callers are gone. If their deadline passes before that, they have no clients left to
        // cut.
        if !app.known.was_asked(name) && owners.iter().all(|color| is_inner(color, &pod.tier)) {
            continue;
        }
        let cut = of_pod(app, name, now);
        for color in owners.iter().filter(|_| !cut.is_empty()) {
            all.entry(color.spec.color.clone()).or_default().extend(cut.iter().cloned());
        }
    }
    all
}

fn past_their_time(action: &Action) -> Vec<&str> {
    match action {
        Action::ApplyDeployment { ends, .. } => {
            ends.iter().filter(|(_, why)| *why == Why::Deadline).map(|(pod, _)| pod.as_str()).collect()
        }
        Action::EndPod { pod, why: Why::Deadline } => vec![pod],
        Action::EndPod { .. }
        | Action::CreateColor { .. }
        | Action::CreateCopy { .. }
        | Action::DeleteCopy { .. }
        | Action::ApplyScaler { .. }
        | Action::DeleteScaler { .. }
        | Action::OrphanDeployment { .. }
        | Action::DeleteReplicaSets { .. }
        | Action::Adopt { .. }
        | Action::Disown { .. }
        | Action::ApplyService { .. }
        | Action::ApplyStage { .. }
        | Action::Join { .. }
        | Action::Leave { .. }
        | Action::TakeOut { .. }
        | Action::PutBack { .. }
        | Action::Mark { .. }
        | Action::ApplyGuard
        | Action::DeleteGuard
        | Action::ApplyBudget { .. }
        | Action::DeleteBudget { .. }
        | Action::ClearRetire { .. }
        | Action::ApplyShadow { .. }
        | Action::DeleteStage { .. }
        | Action::DeleteInstance { .. }
        | Action::DeleteColor { .. }
        | Action::Release => Vec::new(),
    }
}

fn of_pod(app: &App, pod: &str, now: Time) -> Vec<Cut> {
    if matches!(app.known.connections(pod, now), Connections::Idle { .. }) {
        return Vec::new();
    }
    let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let cut = |port, connections, oldest_seconds| Cut { pod: pod.to_owned(), port, connections, oldest_seconds };
    match app.known.reading(pod) {
        None => vec![cut(None, None, None)],
        Some(reading) if reading.ports.is_empty() => vec![cut(None, Some(long(reading.count)), None)],
        Some(reading) => {
            let ports = reading.ports.iter().filter(|port| port.count > 0);
            ports.map(|port| cut(Some(port.port), Some(long(port.count)), port.oldest_seconds.map(long))).collect()
        }
    }
}

/// Returns the colors that the connections of an instance belong to: those that drain or, where none does, all that have it.
fn owners<'a>(app: &'a App, plan: &Plan, instance: &InstanceName) -> Vec<&'a Color> {
    let has = |color: &&Color| {
        color.spec.instances.iter().any(|known| known.tier == *instance.tier && known.color == *instance.color)
    };
    let all: Vec<&Color> = app.colors.values().map(AsRef::as_ref).filter(has).collect();
    let drains = |color: &Color| {
        let mut reports = plan.report.colors.iter();
        reports.any(|report| report.name == color.spec.color && report.phase == ColorPhase::Draining)
    };
    let draining: Vec<&Color> = all.iter().copied().filter(|color| drains(color)).collect();
    if draining.is_empty() { all } else { draining }
}

/// Returns whether another tier of the color calls the tier.
fn is_inner(color: &Color, tier: &str) -> bool {
    color.spec.tiers.iter().any(|other| other.needs.iter().any(|need| need.tier == tier))
}
