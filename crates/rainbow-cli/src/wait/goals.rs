//! Goals for which commands wait.

use std::time::Duration;

use jiff::Timestamp;
use rainbow_api::{ColorPhase, ConditionType, HumanDuration, Rainbow, Reason, ShiftPhase, ShiftStatus as Shift};

use super::{Progress, interruptible, until};
use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
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
        match view.state {
            State::Ready => match stage::pinned(&world.rainbow).next() {
                None => Progress::Done,
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
        if let Some(shift) = &seen.shift {
            return shifts(stage, seen, shift, view);
        }
        let behind = seen.tiers.iter().find(|tier| tier.target.as_deref() == Some(color) && tier.color != tier.target);
        let moving = seen.tiers.iter().find_map(|tier| Some((tier, tier.shift.as_ref()?)));
        if let Some((tier, Shift { from, to, moved, of, .. })) = moving {
            return Progress::Waiting(format!("stage {stage}: tier {} {from} → {to}, {moved} of {of} pods", tier.tier));
        }
        match (seen.color.as_deref() == Some(color), behind) {
            (true, None) => return Progress::Done,
            // On the way back, callers come first.
            (true, Some(tier)) => {
                let why = tier.message.as_deref().unwrap_or("it has yet to move");
                return Progress::Waiting(format!("stage {stage}: tier {}: {why}", tier.tier));
            }
            (false, _) => {}
        }
        // A pause that ends by itself is awaited.
        let found = world.rainbow.spec.stages.iter().find(|known| known.name == stage);
        let waits = |found: &rainbow_api::Stage| {
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
            let text = format!("{way}, {moved} of {of} pods");
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
