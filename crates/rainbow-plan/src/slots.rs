//! Who holds the slots that a color waits for, and what would free one.

use crate::{
    ColorPhase, ColorReport, Problem, Time,
    colors::{Role, Waiting},
    draft::Draft,
    situation::Situation,
    view::{ColorId, View},
};

/// Tells of every color that waits.
pub(crate) fn tell(
    view: &View<'_>,
    situations: &[Situation<'_>],
    roles: &[Role],
    colors: &[ColorReport],
    waiting: &[Waiting],
    draft: &mut Draft,
) {
    for Waiting { color, living } in waiting {
        let holders = living.iter().map(|id| holder(view, situations, roles, *id, &colors[*id]));
        draft.problem(Problem::TooManyColors {
            color: view.colors[*color].name.clone(),
            live: u32::try_from(living.len()).unwrap_or(u32::MAX),
            held_by: holders.collect::<Vec<_>>().join(", "),
        });
    }
}

fn holder(view: &View<'_>, situations: &[Situation<'_>], roles: &[Role], id: ColorId, report: &ColorReport) -> String {
    let name = &view.colors[id].name;
    match &roles[id] {
        Role::Held { stages } if !stages.is_empty() => {
            let names: Vec<&str> = stages.iter().map(|index| situations[*index].stage.name.as_str()).collect();
            format!("{name} (stage {})", names.join(", "))
        }
        Role::Held { .. } => format!("{name} (a removed stage)"),
        Role::Candidate | Role::Waiting { .. } => format!("{name} (the spec's color)"),
        Role::Leaving => format!("{name} ({})", draining(report)),
    }
}

/// `draining: 12 connections on 3 pods, unknown on 1 of them, cut at 2026-11-22T10:00:00Z`.
fn draining(report: &ColorReport) -> String {
    let Some(drain) = report.drain.as_ref().filter(|_| report.phase == ColorPhase::Draining) else {
        return "draining".into();
    };
    let mut parts = Vec::new();
    if drain.pods > drain.unknown {
        let connections = plural(report.connections.unwrap_or(0), "connection");
        parts.push(format!("{connections} on {}", plural(u64::from(drain.pods - drain.unknown), "pod")));
    }
    if let Some(since) = drain.unknown_since {
        let pods = plural(u64::from(drain.unknown), "pod");
        parts.push(format!("connections of {pods} unknown since {}", text(since)));
    }
    if parts.is_empty() {
        return "draining: goes by itself".into();
    }
    parts.push(drain.deadline.map_or_else(|| "no deadline".into(), |deadline| format!("cut at {}", text(deadline))));
    format!("draining: {}", parts.join(", "))
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// To the second, in RFC 3339.
fn text(time: Time) -> String {
    jiff::Timestamp::from_second(time.0.div_euclid(1_000))
        .map_or_else(|_| "the end of time".into(), |time| time.to_string())
}
