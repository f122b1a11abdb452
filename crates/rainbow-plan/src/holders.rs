//! What a drain waits for, to be told.

use crate::{
    Connections, DrainReport, Holder, MAX_HOLDERS,
    drain::End,
    evidence::{Clock, is_held},
    release::Going,
    view::{ColorId, View},
};

/// What is told of a color's connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holding {
    /// As they were counted last; `None` where none are counted.
    pub(crate) connections: Option<u64>,
    pub(crate) drain: Option<DrainReport>,
    /// Some pods have none, and have to have none for a while longer.
    pub(crate) settles: bool,
    /// Some pods are being asked.
    pub(crate) asked: bool,
}

/// What holds each color, by its index.
pub(crate) fn holdings(view: &View<'_>, ends: &[End], going: &[Going<'_>]) -> Vec<Holding> {
    let mut all: Vec<Holding> = (0..ends.len()).map(|id| holding(view, id, ends)).collect();
    // Only of exposed instances: behind those, connections are of the color's own pods.
    for one in going.iter().filter(|one| one.exposed) {
        add(view, one, &mut all[one.color]);
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

fn holding(view: &View<'_>, id: ColorId, ends: &[End]) -> Holding {
    let (End::Settles { released, .. } | End::Ends { released }) = ends[id] else { return Holding::default() };
    let color = view.colors[id];
    let deadline = Clock::of(view, color, released).deadline;
    // Where nothing is counted, time alone decides.
    let counted = color.tiers.iter().any(|tier| tier.counted);
    let alone = if color.retire { released } else { released.after(view.spec().drain.settle) };
    let drain = DrainReport {
        since: released,
        deadline: if counted { deadline } else { Some(deadline.map_or(alone, |deadline| deadline.min(alone))) },
        pods: 0,
        unknown: 0,
        unknown_since: None,
        holders: Vec::new(),
    };
    Holding { drain: Some(drain), ..Holding::default() }
}

fn add(view: &View<'_>, one: &Going<'_>, holding: &mut Holding) {
    let Some(drain) = &mut holding.drain else { return };
    for (pod, _) in &one.pods {
        if pod.connections != Connections::Uncounted {
            let count = match pod.connections {
                Connections::Busy { count, .. } => u64::from(count),
                _ => 0,
            };
            holding.connections = Some(holding.connections.unwrap_or(0).saturating_add(count));
        }
        holding.settles |= matches!(pod.connections, Connections::Idle { .. });
        holding.asked |= matches!(pod.connections, Connections::Unknown { .. });
        if !is_held(view, &one.clock, pod) {
            continue;
        }
        drain.pods = drain.pods.saturating_add(1);
        if let Connections::Unknown { since } = pod.connections {
            drain.unknown = drain.unknown.saturating_add(1);
            drain.unknown_since = Some(drain.unknown_since.map_or(since, |known| known.min(since)));
        }
        drain.holders.push(Holder {
            pod: pod.name.clone(),
            tier: one.instance.tier.clone(),
            connections: pod.connections,
        });
    }
}
