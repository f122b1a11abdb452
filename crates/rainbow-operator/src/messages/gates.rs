//! Gates and steps: what a stage waits for, and why it was taken back.

use rainbow_plan::{Check, CheckOutcome, Moment, Time};

use super::{plural, to_the_second};

/// Describes a stage that waits at a step that is a pause. `index` counts from 0.
pub(crate) fn at_pause(index: u32, color: &str, until: Option<Time>) -> String {
    let step = index.saturating_add(1);
    match until {
        Some(until) => format!("pauses at step {step} on its way to `{color}` until {}", to_the_second(until)),
        None => format!(
            "pauses at step {step} on its way to `{color}`, as shift.steps says, for `rainbow resume` or `rainbow promote`"
        ),
    }
}

/// Describes a stage that waits for a gate.
pub(crate) fn for_gate(check: &Check, outcome: Option<CheckOutcome>, rainbow: &str) -> String {
    let gate = format!("gate `{}` of color `{}` {}", check.gate, check.color, moment(&check.moment));
    let skip = || {
        let stage = check.stage.split('.').next().unwrap_or_default();
        format!("`rainbow promote {rainbow} --stage {stage} --skip-gate {} --reason …` goes on without it", check.gate)
    };
    match outcome {
        None | Some(CheckOutcome::Passed) => format!("waits for {gate}"),
        Some(CheckOutcome::Failed) => format!("does not go on: {gate} has failed; {}", skip()),
        Some(CheckOutcome::Inconclusive) => format!("waits for a person: {gate} is inconclusive; {}", skip()),
        Some(CheckOutcome::NoData) => format!("waits: {gate} has no data; {}", skip()),
    }
}

fn moment(moment: &Moment) -> String {
    match moment {
        Moment::Before => "before it moves".to_owned(),
        Moment::During { moved: 1 } => "with 1 pod".to_owned(),
        Moment::During { moved } => format!("with {moved} pods"),
        Moment::Step { index } => format!("at step {}", index.saturating_add(1)),
        Moment::Between { tier } => format!("after tier `{tier}`"),
        Moment::After => "after it has moved".to_owned(),
        Moment::Watch => "while it moves".to_owned(),
    }
}

/// Returns why a color was rejected.
pub(crate) fn cause(gate: Option<&str>) -> String {
    match gate {
        None => "which was unhealthy".to_owned(),
        Some(gate) => format!("which failed gate `{gate}`"),
    }
}

/// Describes a container that was killed for its memory, as one of `kills`.
pub(crate) fn pod_killed(pod: &str, at: Time, kills: u32, allowed: i32) -> String {
    let killed = format!("pod `{pod}` was killed for its memory (OOMKilled) at {}", to_the_second(at));
    if kills == 1 { killed } else { format!("{killed}, one of {kills}, and {}", are_allowed(allowed)) }
}

/// Describes restarts of a color's containers. `most`: the pod with most of them.
pub(crate) fn pods_restarted(color: &str, restarts: u32, allowed: i32, (_, most): (u32, &str)) -> String {
    let times = plural(restarts.into(), "time");
    format!(
        "containers of color `{color}` have restarted {times}, most of them in pod `{most}`, and {}",
        are_allowed(allowed)
    )
}

fn are_allowed(limit: i32) -> String {
    match limit {
        0 => "none is allowed".to_owned(),
        1 => "1 is allowed".to_owned(),
        _ => format!("{limit} are allowed"),
    }
}

/// Describes a pod that has been not ready for too long.
pub(crate) fn pod_not_ready(pod: &str, since: Time) -> String {
    format!("pod `{pod}` has not been ready since {}", to_the_second(since))
}
