//! Goals for which commands wait.

use std::time::Duration;

use jiff::Timestamp;
use rainbow_api::{
    ColorPhase, ConditionType, GateMoment, GateStatus, HumanDuration, Rainbow, Reason, ShiftPhase,
    ShiftStatus as Shift, Stage,
};

use super::{Progress, interruptible, until};
use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
    gates::{self, Step},
    pace, stage,
    view::{ColorView, StageView, State, View},
    words,
};

/// Waits until the whole application is as its spec, of at least the given generation, says.
pub(crate) async fn ready(context: &Context, cluster: &Cluster, rainbow: &Rainbow, timeout: HumanDuration) -> Result {
    let name = rainbow.metadata.name.clone().unwrap_or_default();
    let goes_on = format!(
        "the release of {name} goes on: `rainbow status {name} --watch` shows it, `rainbow pause {name} --stage STAGE` holds a stage, \
         `rainbow rollback {name} --stage STAGE` takes it back"
    );
    interruptible(context, &goes_on, is_ready(context, cluster, rainbow, timeout)).await
}

async fn is_ready(context: &Context, cluster: &Cluster, rainbow: &Rainbow, timeout: HumanDuration) -> Result {
    let name = rainbow.metadata.name.clone().unwrap_or_default();
    let generation = rainbow.metadata.generation;
    until(context, cluster, &name, timeout, |world, view| {
        let status = world.rainbow.status.as_ref();
        if status.and_then(|status| status.observed_generation) < generation {
            return Progress::Unseen;
        }
        // A color that starts is awaited first: gates are asked for when its pods are ready.
        if !starts(&world.rainbow, view) {
            let ends = world.rainbow.spec.stages.iter().find_map(|stage| ended(&world.rainbow, stage, None));
            if let Some(ended) = ends {
                return ended;
            }
        }
        match view.state {
            State::Ready => match stage::pinned(&world.rainbow).next() {
                None => {
                    let stages = world.rainbow.spec.stages.iter();
                    let mut open = stages.filter_map(|stage| Some((&stage.name, after(&world.rainbow, stage)?)));
                    match open.next() {
                        Some((stage, open)) => Progress::Waiting(format!("{name}: stage {stage}: {open}")),
                        None => Progress::Done,
                    }
                }
                Some((stage, color)) => Progress::Held(format!("{name}: stage {} stays at {color}", stage.name)),
            },
            // A color that starts is awaited as long as it takes: a paused stage is no reason to end the wait before.
            State::Paused if starts(&world.rainbow, view) => counting(summary(&world.rainbow, view), view),
            State::Paused => Progress::Held(format!("{name}: {}", view.message.as_deref().unwrap_or("it is paused"))),
            // Colors that drain make room, unless their users decide otherwise.
            State::Stalled if waits_for_room(&world.rainbow) => {
                Progress::Waiting(format!("{name}: {}", view.message.as_deref().unwrap_or("waits for a slot")))
            }
            State::Stalled => {
                Progress::Never(format!("{name}: {}", view.message.as_deref().unwrap_or("it is stalled")))
            }
            State::Deleting => Progress::Never(format!("{name}: it is being deleted")),
            State::Reconciling | State::Unobserved => match missing_config(&world.rainbow) {
                Some(message) => Progress::Waiting(format!("{name}: {message}")),
                None => counting(summary(&world.rainbow, view), view),
            },
        }
    })
    .await
}

/// Adds the countdown of the first stage that moves.
fn counting(text: String, view: &View) -> Progress {
    let now = Timestamp::now();
    let countdown = view.stages.iter().find_map(|stage| pace::countdown(stage.pace, stage.shift.as_ref()?, now));
    match countdown {
        Some(countdown) => Progress::Counting(text, countdown),
        None => Progress::Waiting(text),
    }
}

/// Returns whether the color that the spec describes is not made yet, or its pods are starting.
fn starts(rainbow: &Rainbow, view: &View) -> bool {
    let is_named = rainbow.spec.color.is_none() || rainbow.spec.color == view.color;
    let color = view.color.as_deref().and_then(|color| view.color(color));
    !is_named || color.is_none_or(|color| matches!(color.phase, None | Some(ColorPhase::Starting)))
}

/// Returns whether the largest number of colors live, and a new one waits until one of them ends.
fn waits_for_room(rainbow: &Rainbow) -> bool {
    let conditions = rainbow.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let stalled = ConditionType::Stalled.find_true(conditions);
    stalled.is_some_and(|stalled| Reason::of(stalled) == Some(Reason::TooManyColors))
}

/// Returns the operator's message about a ConfigMap or a Secret that a new color waits for.
fn missing_config(rainbow: &Rainbow) -> Option<&str> {
    let conditions = &rainbow.status.as_ref()?.conditions;
    let reconciling = ConditionType::Reconciling.find_true(conditions)?;
    (Reason::of(reconciling) == Some(Reason::ConfigMissing)).then_some(reconciling.message.as_str())
}

/// Returns the progress of a color's pods; where they do not start, the reason.
fn progress(color: &ColorView) -> String {
    let (ready, wanted) = color.pods();
    match (color.phase, &color.message) {
        (Some(ColorPhase::Starting | ColorPhase::Stalled), Some(message)) if ready < wanted => {
            format!(" {} {message};", color.name)
        }
        _ => format!(" {} {ready}/{wanted} pods ready;", color.name),
    }
}

/// Returns `seamless: v2 7/10 pods ready; smoke=v1, active=v1→v2 2/5`; where pods do not start, with the operator's message about them:
/// `seamless: v2 backend 0/1 ready (backend-v2-x: …); …`.
fn summary(rainbow: &Rainbow, view: &View) -> String {
    // The color that the spec names may not have been made yet.
    let described = rainbow.spec.color.as_deref().or(view.color.as_deref());
    let color = described.map(|name| match view.color(name) {
        Some(color) => progress(color),
        None => format!(" {name} is being made;"),
    });
    let stages: Vec<String> = view
        .stages
        .iter()
        .map(|stage| match (&stage.shift, &stage.color) {
            (Some(shift), Some(color)) if shift.phase == ShiftPhase::Finishing => format!("{}={color}", stage.name),
            (Some(shift), _) => format!("{}={}→{} {}/{}", stage.name, shift.from, shift.to, shift.moved, shift.of),
            (None, color) => format!("{}={}", stage.name, color.as_deref().unwrap_or("-")),
        })
        .collect();
    format!("{}:{} {}", view.name, color.unwrap_or_default(), stages.join(", "))
}

/// Waits until a stage serves a color and nothing of it moves any more. `back` says whether the stage moves back: the message after Ctrl-C names
/// the command that undoes the move.
pub(crate) async fn serves(
    context: &Context,
    cluster: &Cluster,
    rainbow: &Rainbow,
    (stage, color): (&str, &str),
    back: bool,
    timeout: HumanDuration,
) -> Result {
    let name = rainbow.metadata.name.as_deref().unwrap_or_default();
    let undo = if back { "promote" } else { "abort" };
    let goes_on = format!(
        "stage {stage} of {name} goes on to {color}: `rainbow pause {name} --stage {stage}` holds it, `rainbow {undo} {name} --stage {stage}` \
         turns it round"
    );
    interruptible(context, &goes_on, is_served(context, cluster, rainbow, (stage, color), timeout)).await
}

async fn is_served(
    context: &Context,
    cluster: &Cluster,
    rainbow: &Rainbow,
    (stage, color): (&str, &str),
    timeout: HumanDuration,
) -> Result {
    let name = rainbow.metadata.name.clone().unwrap_or_default();
    let generation = rainbow.metadata.generation;
    until(context, cluster, &name, timeout, |world, view| {
        let status = world.rainbow.status.as_ref();
        let seen = view.stages.iter().find(|other| other.name == stage);
        let (Some(seen), true) = (seen, status.and_then(|status| status.observed_generation) >= generation) else {
            return Progress::Unseen;
        };
        let spec = world.rainbow.spec.stages.iter().find(|known| known.name == stage);
        if let Some(ended) = spec.and_then(|spec| ended(&world.rainbow, spec, Some(color))) {
            return ended;
        }
        if let Some(shift) = &seen.shift {
            return shifts(stage, seen, shift, view);
        }
        let behind = seen.tiers.iter().find(|tier| tier.target.as_deref() == Some(color) && tier.color != tier.target);
        let moving = seen.tiers.iter().find_map(|tier| Some((tier, tier.shift.as_ref()?)));
        if let Some((tier, Shift { from, to, moved, of, .. })) = moving {
            return Progress::Waiting(format!("stage {stage}: tier {} {from} → {to}, {moved} of {of} pods", tier.tier));
        }
        match (seen.color.as_deref() == Some(color), behind) {
            (true, None) => {
                return match spec.and_then(|spec| after(&world.rainbow, spec)) {
                    Some(open) => Progress::Waiting(format!("stage {stage}: serves {color}, {open}")),
                    None => Progress::Done,
                };
            }
            // On the way back, callers come first.
            (true, Some(tier)) => {
                let why = tier.message.as_deref().unwrap_or("it has yet to move");
                return Progress::Waiting(format!("stage {stage}: tier {}: {why}", tier.tier));
            }
            (false, _) => {}
        }
        // A pause that ends by itself is awaited.
        let found = world.rainbow.spec.stages.iter().find(|known| known.name == stage);
        let waits = |found: &Stage| {
            let pause = found.shift.as_ref()?.tiers.as_ref()?.pause.as_ref()?;
            (pause.duration.is_none() && !stage::steps(&world.rainbow, found).is_empty()).then_some(())
        };
        if found.and_then(waits).is_some() {
            return Progress::Held(format!(
                "stage {stage}: {}",
                seen.message.as_deref().unwrap_or("it waits between two tiers")
            ));
        }
        match &seen.message {
            Some(message) if view.state == State::Stalled && !waits_for_room(&world.rainbow) => {
                Progress::Never(format!("stage {stage}: {message}"))
            }
            Some(message) => Progress::Waiting(format!("stage {stage}: {}", message)),
            None => {
                Progress::Waiting(format!("stage {stage}: {} → {color}", seen.color.as_deref().unwrap_or("nothing")))
            }
        }
    })
    .await
}

/// Returns the end of a wait for a stage that does not go on by itself: a gate has rejected the color, or the stage waits for a person, at a pause
/// of its steps or at a gate. `awaited`: color that the wait is for, or any.
fn ended(rainbow: &Rainbow, stage: &Stage, awaited: Option<&str>) -> Option<Progress> {
    let is_awaited = |color: &str| awaited.is_none_or(|awaited| awaited == color);
    let (name, status) = (&stage.name, gates::status(rainbow, &stage.name)?);
    if let (Some(color), Some(gate)) = (status.rejected.as_ref().filter(|color| is_awaited(color)), &status.rejected_by)
    {
        let known = status.gates.iter().rfind(|known| known.name == *gate && known.color == *color);
        let why = known.and_then(|known| known.message.as_deref()).map(|why| format!(": {why}")).unwrap_or_default();
        return Some(Progress::Never(format!("stage {name}: {color} failed gate {gate}{why}")));
    }
    let named = format!("{} --stage {name}", rainbow.metadata.name.as_deref().unwrap_or_default());
    let shift =
        status.shift.as_ref().map(|shift| format!("{} of {} pods, ", shift.moved, shift.of)).unwrap_or_default();
    let shifts = status.tiers.iter().filter_map(|tier| tier.shift.as_ref()).chain(&status.shift);
    if let Some(step) = gates::pause_step(rainbow, stage).filter(|step| is_awaited(&step.color)) {
        let mut at = shifts.filter(|shift| shift.started_at == step.shift).filter_map(|shift| Step::of(stage, shift));
        if at.any(|at| at.is_open_pause()) {
            let to = &step.color;
            return Some(Progress::Held(format!(
                "stage {name} to {to}: {shift}pauses at step {}, as shift.steps says: `rainbow resume {named}` lets it go on, \
                 `rainbow abort {named}` goes back",
                step.step
            )));
        }
    }
    let blocking = gates::blocking(rainbow, name);
    let gate = blocking.into_iter().find(|gate| is_awaited(&gate.color) && gates::needs_person(rainbow, gate))?;
    let why = gates::reason(rainbow, gate).map(|why| format!(": {why}")).unwrap_or_default();
    let remedies = gates::remedies(rainbow, name, gate).join(", ");
    let (color, progress) = (&gate.color, gates::progress(rainbow, gate));
    Some(Progress::Held(format!("stage {name} to {color}: {shift}gate {} {progress}{why}: {remedies}", gate.name)))
}

/// Describes the gates that the color of a stage must still pass after the stage has moved. `None`: there are none.
fn after(rainbow: &Rainbow, stage: &Stage) -> Option<String> {
    let status = gates::status(rainbow, &stage.name)?;
    let color = status.color.as_ref().filter(|color| status.approved.as_ref() != Some(*color))?;
    // The first color of a stage was not moved to, and is not asked for gates.
    status.previous.as_ref()?;
    let is_skipped = |name: &String| {
        let mut skipped = rainbow.spec.skipped_gates.iter();
        skipped.any(|skip| (&skip.stage, &skip.gate, &skip.color) == (&stage.name, name, color))
    };
    let decides = |name: &&String| {
        let found = rainbow.spec.gates.iter().find(|gate| gate.name == **name);
        found.is_some_and(|gate| !gate.check.dry_run) && !is_skipped(name)
    };
    let words = |name: &String| {
        let is_it = |gate: &&GateStatus| gate.name == *name && gate.moment == GateMoment::After && gate.color == *color;
        let known = status.gates.iter().rfind(is_it);
        known.map_or_else(|| format!("gate {name}"), |gate| format!("gate {name} {}", gates::progress(rainbow, gate)))
    };
    let open: Vec<String> = stage.gates.after.iter().filter(decides).map(words).collect();
    (!open.is_empty()).then(|| format!("checked after the move: {}", open.join(", ")))
}

/// Returns the progress of a stage in a shift: its pods, its reason to wait, and its time.
fn shifts(stage: &str, seen: &StageView, shift: &Shift, view: &View) -> Progress {
    let Shift { from, to, moved, of, .. } = shift;
    let way = format!("stage {stage}: {from} → {to}");
    match shift.phase {
        ShiftPhase::Finishing => Progress::Waiting(format!("stage {stage}: all pods of {to} serve")),
        ShiftPhase::Paused => Progress::Waiting(format!("{way}, {moved} of {of} pods, paused")),
        ShiftPhase::Preparing => {
            let (ready, wanted) = view.color(to).map(ColorView::pods).unwrap_or_default();
            let takes = seen.pace.map(|pace| pace.takes(*of)).filter(|takes| !takes.is_zero());
            let takes = takes.map(|takes| format!("; its steps take about {}", words::seconds(whole(takes))));
            let what = if ready < wanted { "waits for its pods" } else { "prepares" };
            Progress::Waiting(format!("{way}, {what}: {ready} of {wanted} ready{}", takes.unwrap_or_default()))
        }
        ShiftPhase::Shifting | ShiftPhase::Waiting => {
            let step = seen.step.as_ref().map(|step| format!(", {step}")).unwrap_or_default();
            let text = format!("{way}, {moved} of {of} pods{step}");
            match (pace::countdown(seen.pace, shift, Timestamp::now()), &seen.message) {
                (Some(countdown), _) => Progress::Counting(text, countdown),
                (None, Some(message)) => Progress::Waiting(format!("{text}: {message}")),
                (None, None) => Progress::Waiting(text),
            }
        }
    }
}

fn whole(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Waits until a Rainbow that is being deleted is gone, with all that was made for it.
pub(crate) async fn gone(context: &Context, cluster: &Cluster, name: &str, timeout: HumanDuration) -> Result {
    let goes_on =
        format!("the deletion of {name} goes on and cannot be undone: `rainbow status {name}` shows what is left");
    let waited = until(context, cluster, name, timeout, |world, _| {
        let pods = i64::try_from(world.pods.len()).unwrap_or(i64::MAX);
        Progress::Waiting(match pods {
            0 => format!("{name}: its last objects go"),
            pods => format!("{name}: {} left; entry tiers end first, then what they needed", words::count(pods, "pod")),
        })
    });
    match interruptible(context, &goes_on, waited).await {
        Err(Error::NotFound(_)) => Ok(()),
        other => other,
    }
}

/// Waits until a stage serves anything. After the time limit the caller continues, and its own next step reports the problem.
pub(crate) async fn serving(
    context: &Context,
    cluster: &Cluster,
    name: &str,
    stage: &str,
    timeout: HumanDuration,
) -> Result {
    let waited = until(context, cluster, name, timeout, |_, view| {
        let serves = view.stages.iter().find(|other| other.name == stage).and_then(|stage| stage.color.as_deref());
        let Some(serves) = serves else { return Progress::Unseen };
        match view.color(serves) {
            Some(color) if color.tiers.iter().all(|tier| tier.ready > 0) => Progress::Done,
            _ => Progress::Waiting(format!("{stage}: no pod of {serves} is ready yet")),
        }
    });
    match waited.await {
        Err(Error::TimedOut(_)) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::tests::{at_step, gate};
    use serde_json::{Value, json};

    fn end(step: i32, gates: Value, change: impl FnOnce(&mut Rainbow)) -> String {
        let mut rainbow = at_step(step, gates);
        change(&mut rainbow);
        match ended(&rainbow, &rainbow.spec.stages[0], Some("v2")) {
            None => "goes on".into(),
            Some(Progress::Held(why)) => format!("held: {why}"),
            Some(Progress::Never(why)) => format!("failed: {why}"),
            Some(_) => "waits".into(),
        }
    }

    #[test]
    fn a_wait_ends_where_a_person_is_needed() {
        assert_eq!(
            end(2, json!([]), |_| {}),
            "held: stage active to v2: 1 of 5 pods, pauses at step 2, as shift.steps says: `rainbow resume shop --stage active` lets it \
             go on, `rainbow abort shop --stage active` goes back"
        );
        // A pause that ends by itself is awaited, and so is a gate that is measured.
        assert_eq!(end(4, json!([]), |_| {}), "goes on");
        assert_eq!(end(3, json!([gate("errors", "Step", "Running", 1)]), |_| {}), "goes on");
        let release = end(3, json!([gate("release", "Step", "Running", 0)]), |_| {});
        let said = "held: stage active to v2: 1 of 5 pods, gate release waits for an approval: `rainbow approve shop --stage active --gate \
                    release` lets it pass, ";
        assert!(release.starts_with(said), "{release}");
        let none = end(3, json!([gate("errors", "Step", "NoData", 0)]), |_| {});
        let said = "held: stage active to v2: 1 of 5 pods, gate errors no data: `rainbow promote shop --stage active --to v2 --skip-gate \
                    errors --reason …` goes on without it, ";
        assert!(none.starts_with(said), "{none}");
    }

    #[test]
    fn a_wait_ends_after_the_gates() {
        let mut rainbow = at_step(6, json!([gate("errors", "After", "Running", 2)]));
        rainbow.spec.stages[0].gates.after = vec!["errors".into()];
        let stage = &mut rainbow.status.as_mut().unwrap().stages[0];
        (stage.shift, stage.color, stage.previous) = (None, Some("v2".into()), Some("v1".into()));
        let open = |rainbow: &Rainbow| after(rainbow, &rainbow.spec.stages[0]);
        assert_eq!(open(&rainbow).as_deref(), Some("checked after the move: gate errors 2 of 3 good"));
        let skipped = json!([{ "stage": "active", "gate": "errors", "color": "v2", "reason": "known" }]);
        rainbow.spec.skipped_gates = serde_json::from_value(skipped).unwrap();
        assert_eq!(open(&rainbow), None);
        rainbow.spec.skipped_gates.clear();
        rainbow.status.as_mut().unwrap().stages[0].approved = Some("v2".into());
        assert_eq!(open(&rainbow), None);
    }

    #[test]
    fn a_rejected_color_ends_a_wait() {
        let rejected = |rainbow: &mut Rainbow| {
            let stage = &mut rainbow.status.as_mut().unwrap().stages[0];
            (stage.shift, stage.rejected, stage.rejected_by) = (None, Some("v2".into()), Some("errors".into()));
            stage.gates[0].message = Some("4 of 5 measurements were bad".into());
        };
        assert_eq!(
            end(3, json!([gate("errors", "Step", "Failed", 1)]), rejected),
            "failed: stage active: v2 failed gate errors: 4 of 5 measurements were bad"
        );
    }
}
