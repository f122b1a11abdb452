//! Holders: the pods that a drain waits for, for the report.

use crate::{
    Connections, DrainReport, Holder, MAX_HOLDERS,
    drain::Ending,
    evidence::{Clock, Verdict, is_held},
    health::{Warmth, WayBack},
    release::{EndingInstance, LeavingPod},
    view::{ColorId, View},
};

/// Facts about a color's connections, for the report.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionFacts {
    /// Connections at the last count; `None` where none are counted.
    pub(crate) connections: Option<u64>,
    pub(crate) drain: Option<DrainReport>,
    /// Some pods are idle, and must be idle for a while longer.
    pub(crate) waits_idle: bool,
    /// Some pods have been asked and have not answered.
    pub(crate) asked: bool,
    /// Pods that a living color waits for while it becomes smaller, at most [`MAX_HOLDERS`].
    pub(crate) fewer: Option<Vec<String>>,
}

/// Returns the facts about every color, by its index.
pub(crate) fn connection_facts(view: &View<'_>, ends: &[Ending], going: &[EndingInstance<'_>]) -> Vec<ConnectionFacts> {
    let mut all: Vec<ConnectionFacts> = (0..ends.len()).map(|id| holding(view, id, ends)).collect();
    // Only exposed instances count: the connections of those behind them come from the color's own pods.
    for one in going.iter().filter(|one| one.exposed) {
        match one.lives {
            true => add_fewer(view, one, &mut all[one.color]),
            false => add(view, one, &mut all[one.color]),
        }
    }
    for drain in all.iter_mut().filter_map(|holding| holding.drain.as_mut()) {
        let order = |holder: &Holder| match holder.connections {
            Connections::Busy { count, .. } => u64::from(u32::MAX - count) + 1,
            _ => 0,
        };
        drain.holders.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.pod.cmp(&b.pod)));
        drain.holders.truncate(MAX_HOLDERS);
    }
    all
}

fn holding(view: &View<'_>, id: ColorId, ends: &[Ending]) -> ConnectionFacts {
    let (Ending::StaysWhole { released, .. } | Ending::KeptWarm { released, .. } | Ending::Drains { released }) =
        ends[id]
    else {
        return ConnectionFacts::default();
    };
    let color = view.colors[id];
    let deadline = Clock::of(view, color, released).deadline;
    // Where no connections are counted, time alone decides.
    let counted = color.tiers.iter().any(|tier| tier.counted);
    let alone = if color.retire { released } else { released.after(view.spec.drain.settle) };
    // A load balancer may send clients for longer than that.
    let alone = if view.has_overlap() { alone.max(view.forgotten(released)) } else { alone };
    let (alone, deadline) = match ends[id] {
        Ending::KeptWarm { way: WayBack { warmth: Warmth::Until(until), .. }, .. } => (alone.max(until), deadline),
        // As long as the new color is unhealthy or judged, no connection is cut.
        Ending::KeptWarm { way: WayBack { warmth: Warmth::WhileUnhealthy | Warmth::WhileJudged, .. }, .. } => {
            return ConnectionFacts { drain: Some(DrainReport::new(released, None)), ..ConnectionFacts::default() };
        }
        Ending::Lives | Ending::StaysWhole { .. } | Ending::Drains { .. } | Ending::Retired { .. } => (alone, deadline),
    };
    let deadline = if counted { deadline } else { Some(deadline.map_or(alone, |deadline| deadline.min(alone))) };
    ConnectionFacts { drain: Some(DrainReport::new(released, deadline)), ..ConnectionFacts::default() }
}

fn add_fewer(view: &View<'_>, one: &EndingInstance<'_>, holding: &mut ConnectionFacts) {
    let fewer = holding.fewer.get_or_insert_default();
    let holds = |leaver: &&LeavingPod<'_>| leaver.verdict == Verdict::Holds && is_held(view, &leaver.clock, leaver.pod);
    fewer.extend(one.pods.iter().filter(holds).map(|leaver| leaver.pod.name.to_string()));
    fewer.truncate(MAX_HOLDERS);
}

fn add(view: &View<'_>, one: &EndingInstance<'_>, holding: &mut ConnectionFacts) {
    let Some(drain) = &mut holding.drain else { return };
    for LeavingPod { pod, clock, .. } in &one.pods {
        if pod.connections != Connections::Uncounted {
            let count = match pod.connections {
                Connections::Busy { count, .. } => u64::from(count),
                _ => 0,
            };
            holding.connections = Some(holding.connections.unwrap_or(0).saturating_add(count));
        }
        holding.waits_idle |= matches!(pod.connections, Connections::Idle { .. });
        holding.asked |= matches!(pod.connections, Connections::Unknown { .. });
        if !is_held(view, clock, pod) {
            continue;
        }
        drain.pods = drain.pods.saturating_add(1);
        if let Connections::Unknown { since } = pod.connections {
            drain.unknown = drain.unknown.saturating_add(1);
            drain.unknown_since = Some(drain.unknown_since.map_or(since, |known| known.min(since)));
        }
        drain.holders.push(Holder {
            pod: pod.name.to_string(),
            tier: one.instance.tier.to_string(),
            connections: pod.connections,
        });
    }
}
