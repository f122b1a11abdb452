//! Waiting, with a line of progress for every change.

use std::{pin::pin, time::Duration};

use rainbow_api::{ColorPhase, ConditionType, HumanDuration, Rainbow, Reason, ShiftPhase, ShiftStatus as Shift};

use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
    observe::Observer,
    stage,
    view::{State, View, World},
};

/// An operator that runs has seen a change long before this.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether what is waited for has come.
pub(crate) enum Progress {
    /// It has.
    Done,
    /// Not yet; what to show.
    Waiting(String),
    /// The operator has not seen the newest spec yet. Usually it has a moment later.
    Unseen,
    /// It will not come by itself.
    Never(String),
    /// The awaited state does not come before its user lets it.
    Held(String),
}

/// Waits until `check` says that it is done. Every new text of progress is printed once.
pub(crate) async fn until(
    context: &Context,
    cluster: &Cluster,
    name: &str,
    timeout: HumanDuration,
    mut check: impl FnMut(&World, &View) -> Progress,
) -> Result {
    let mut shown = String::new();
    let waiting = async {
        let mut observer = Observer::start(cluster, name).await?;
        let mut unseen = pin!(tokio::time::sleep(PATIENCE));
        loop {
            let Some(world) = observer.world() else {
                return Err(Error::NotFound(format!("rainbow `{name}` was deleted meanwhile")));
            };
            match check(&world, &View::new(&world)) {
                Progress::Done => return Ok(()),
                Progress::Never(why) => return Err(Error::Failed(why)),
                Progress::Held(why) => return Err(Error::Held(why)),
                Progress::Waiting(text) if text != shown => {
                    context.printer.progress(&text);
                    shown = text;
                }
                Progress::Waiting(_) => {}
                Progress::Unseen => {
                    tokio::select! {
                        changed = observer.changed() => changed?,
                        () = &mut unseen, if !unseen.is_elapsed() => {
                            shown = "waiting for the operator; is one running?".into();
                            context.printer.progress(&shown);
                        }
                    }
                    continue;
                }
            }
            observer.changed().await?;
        }
    };
    limit(timeout, waiting).await.unwrap_or_else(|| {
        let last = if shown.is_empty() { String::new() } else { format!(": {shown}") };
        Err(Error::TimedOut(format!("not done after {timeout}{last}")))
    })
}

/// Runs something with a limit; 0 is none. `None` when the time has passed.
pub(crate) async fn limit<T>(timeout: HumanDuration, work: impl Future<Output = T>) -> Option<T> {
    if timeout.0 == Duration::ZERO {
        return Some(work.await);
    }
    tokio::time::timeout(timeout.0, work).await.ok()
}

/// Until the whole application is as its spec, at least that of the given generation, says.
pub(crate) async fn ready(context: &Context, cluster: &Cluster, rainbow: &Rainbow, timeout: HumanDuration) -> Result {
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
            State::Paused => Progress::Held(format!("{name}: {}", view.message.as_deref().unwrap_or("it is paused"))),
            State::Stalled => {
                Progress::Never(format!("{name}: {}", view.message.as_deref().unwrap_or("it is stalled")))
            }
            State::Reconciling | State::Unobserved => match missing_config(&world.rainbow) {
                Some(message) => Progress::Waiting(format!("{name}: {message}")),
                None => Progress::Waiting(summary(&name, view)),
            },
        }
    })
    .await
}

/// What the operator says of a ConfigMap or a Secret that a new color waits for.
fn missing_config(rainbow: &Rainbow) -> Option<&str> {
    let conditions = &rainbow.status.as_ref()?.conditions;
    let reconciling = ConditionType::Reconciling.find_true(conditions)?;
    (Reason::of(reconciling) == Some(Reason::ConfigMissing)).then_some(reconciling.message.as_str())
}

/// `seamless: v2 7/10 pods ready; smoke=v1, active=v1→v2 2/5`; where pods do not start, with what the operator says of them:
/// `seamless: v2 backend 0/1 ready (backend-v2-x: …); …`.
fn summary(name: &str, view: &View) -> String {
    let color = view.color.as_deref().and_then(|color| view.color(color));
    let color = color.map(|color| {
        let (ready, wanted) =
            color.tiers.iter().fold((0, 0), |(ready, wanted), tier| (ready + tier.ready, wanted + tier.replicas));
        match (color.phase, &color.message) {
            (Some(ColorPhase::Starting | ColorPhase::Stalled), Some(message)) if ready < wanted => {
                format!(" {} {message};", color.name)
            }
            _ => format!(" {} {ready}/{wanted} pods ready;", color.name),
        }
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
    format!("{name}:{} {}", color.unwrap_or_default(), stages.join(", "))
}

/// Until a stage serves a color and nothing of it moves any more.
pub(crate) async fn serves(
    context: &Context,
    cluster: &Cluster,
    rainbow: &Rainbow,
    stage: &str,
    color: &str,
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
            let Shift { from, to, moved, of, .. } = shift;
            return Progress::Waiting(match shift.phase {
                ShiftPhase::Finishing => format!("{stage}: all pods of {to} serve"),
                ShiftPhase::Paused => format!("{stage}: {from} → {to} {moved}/{of}, paused"),
                ShiftPhase::Preparing | ShiftPhase::Shifting => format!("{stage}: {from} → {to} {moved}/{of}"),
            });
        }
        let behind = seen.tiers.iter().find(|tier| tier.target.as_deref() == Some(color) && tier.color != tier.target);
        let moving = seen.tiers.iter().find_map(|tier| Some((tier, tier.shift.as_ref()?)));
        if let Some((tier, Shift { from, to, moved, of, .. })) = moving {
            return Progress::Waiting(format!("{stage}: {} {from} → {to} {moved}/{of}", tier.tier));
        }
        match (seen.color.as_deref() == Some(color), behind) {
            (true, None) => return Progress::Done,
            // On the way back, callers come first.
            (true, Some(tier)) => {
                let why = tier.message.as_deref().unwrap_or("it has yet to move");
                return Progress::Waiting(format!("{stage}: {}: {why}", tier.tier));
            }
            (false, _) => {}
        }
        // A pause that ends by itself is waited for.
        let found = world.rainbow.spec.stages.iter().find(|known| known.name == stage);
        let waits = |found: &rainbow_api::Stage| {
            let pause = found.shift.as_ref()?.tiers.as_ref()?.pause.as_ref()?;
            (pause.duration.is_none() && !stage::steps(&world.rainbow, found).is_empty()).then_some(())
        };
        if found.and_then(waits).is_some() {
            return Progress::Held(format!(
                "{stage}: {}",
                seen.message.as_deref().unwrap_or("it waits between two tiers")
            ));
        }
        match &seen.message {
            Some(message) if view.state == State::Stalled => Progress::Never(format!("{stage}: {message}")),
            Some(message) => Progress::Waiting(format!("{stage}: {message}")),
            None => Progress::Waiting(format!("{stage}: {} → {color}", seen.color.as_deref().unwrap_or("nothing"))),
        }
    })
    .await
}

/// Until a stage serves anything at all. When the time has passed, the caller goes on: what it does then says what is wrong.
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
