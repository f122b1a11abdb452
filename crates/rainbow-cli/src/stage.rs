//! Choice of the stage that a command is about, and the state of that stage.

use rainbow_api::{Passed, Promote, Rainbow, Stage, StageStatus, TierStatus};

use crate::{
    context::Context,
    error::{Error, Result, hint},
    hold,
};

/// Finds a stage by name; without one `active`, else the only stage, else the only one that is promoted manually.
pub(crate) fn choose<'a>(rainbow: &'a Rainbow, wanted: Option<&str>) -> Result<&'a Stage> {
    let name = rainbow.metadata.name.as_deref().unwrap_or_default();
    let stages = &rainbow.spec.stages;
    let names: Vec<String> = stages.iter().map(|stage| stage.name.clone()).collect();
    if let Some(wanted) = wanted {
        return stages.iter().find(|stage| stage.name == wanted).ok_or_else(|| {
            Error::NotFound(format!("rainbow `{name}` has no stage `{wanted}`{}", hint(wanted, &names)))
        });
    }
    let mut manual = stages.iter().filter(|stage| stage.promote == Promote::Manual);
    match (stages.iter().find(|stage| stage.name == "active"), stages.as_slice(), (manual.next(), manual.next())) {
        (Some(active), _, _) => Ok(active),
        (None, [only], _) => Ok(only),
        (None, _, (Some(only), None)) => Ok(only),
        (None, [], _) => Err(Error::NotFound(format!("rainbow `{name}` has no stages: add one under spec.stages"))),
        _ => Err(Error::Usage(format!(
            "rainbow `{name}` has several stages: say which with --stage: {}",
            names.join(", ")
        ))),
    }
}

/// Returns the color that a stage must serve: the one that it is held at, else the one in the spec.
pub(crate) fn told<'a>(rainbow: &'a Rainbow, stage: &'a Stage) -> Option<&'a str> {
    hold::color(rainbow, &stage.name).or(stage.color.as_deref())
}

/// Returns whether the stage is paused, by its spec or by a hold.
pub(crate) fn is_paused(rainbow: &Rainbow, stage: &str) -> bool {
    rainbow.spec.stages.iter().any(|other| other.name == stage && other.paused)
        || rainbow.spec.hold(stage).is_some_and(|hold| hold.paused)
}

/// Returns the tiers of a stage that have moved to its target color, and after which it waits for its user.
pub(crate) fn steps(rainbow: &Rainbow, stage: &Stage) -> Vec<Passed> {
    let tiers = stage.shift.as_ref().and_then(|shift| shift.tiers.as_ref());
    let Some(pause) = tiers.and_then(|tiers| tiers.pause.as_ref()) else { return Vec::new() };
    let status = rainbow.status.as_ref().and_then(|status| status.stages.iter().find(|known| known.name == stage.name));
    let Some((status, target)) = status.and_then(|status| Some((status, status.target.as_ref()?))) else {
        return Vec::new();
    };
    // A stage whose pause ends by itself waits for its user as well, until the pause ends.
    if status.color.as_ref() == Some(target) || pause.duration.is_some_and(|after| after.0.is_zero()) {
        return Vec::new();
    }
    let has_moved = |tier: &&TierStatus| tier.color.as_ref() == Some(target) && tier.previous.is_some();
    let step = |tier: &TierStatus| Passed {
        stage: stage.name.clone(),
        tier: tier.tier.clone(),
        color: target.clone(),
        by: None,
        at: None,
    };
    let is_passed = |step: &Passed| {
        let mut known = rainbow.spec.passed.iter();
        known.any(|known| (&known.stage, &known.tier, &known.color) == (&step.stage, &step.tier, &step.color))
    };
    status.tiers.iter().filter(has_moved).map(step).filter(|step| !is_passed(step)).collect()
}

/// Returns the stages that do not follow a release, each with the color that it stays at: stages that follow the newest color but are set to
/// another one, and stages that were taken back.
pub(crate) fn pinned(rainbow: &Rainbow) -> impl Iterator<Item = (&Stage, &str)> {
    let newest = rainbow.spec.color.as_deref().or_else(|| rainbow.status.as_ref()?.color.as_deref());
    rainbow.spec.stages.iter().filter_map(move |stage| {
        let held = hold::color(rainbow, &stage.name).filter(|_| !may_end(rainbow, &stage.name));
        let would = match stage.promote {
            Promote::Auto => stage.color.as_deref().or(newest),
            Promote::Manual => stage.color.as_deref(),
        };
        let pin = stage.color.as_deref().filter(|color| stage.promote == Promote::Auto && Some(*color) != newest);
        Some((
            stage,
            held.filter(|color| would.is_some_and(|would| would != *color)).or(pin.filter(|_| held.is_none()))?,
        ))
    })
}

/// Returns whether the spec may describe a later color, which would end the stage's hold, that the operator has not seen yet.
fn may_end(rainbow: &Rainbow, stage: &str) -> bool {
    let status = rainbow.status.as_ref();
    let is_seen = status.and_then(|status| status.observed_generation) == rainbow.metadata.generation;
    let is_known = rainbow.spec.color.is_some() && rainbow.spec.color.as_ref() == status.and_then(|s| s.color.as_ref());
    rainbow.spec.hold(stage).is_some_and(|hold| hold.revision.is_some()) && !is_seen && !is_known
}

/// Warns of the stages that do not follow a release.
pub(crate) fn warn_of_pinned(context: &Context, rainbow: &Rainbow) {
    let name = rainbow.metadata.name.as_deref().unwrap_or_default();
    for (stage, color) in pinned(rainbow) {
        let stage = &stage.name;
        let why = match rainbow.spec.hold(stage).filter(|_| hold::color(rainbow, stage).is_some()) {
            Some(hold) => format!("to which it was taken back {}", hold.origin()),
            None => "to which it was moved by hand".to_owned(),
        };
        let why = why.trim_end();
        context.printer.warning(format_args!(
            "stage {stage} stays at {color}, {why}: `rainbow promote {name} --stage {stage}` lets it follow again"
        ));
    }
}

/// Returns the operator's status of a stage.
pub(crate) fn status<'a>(rainbow: &'a Rainbow, stage: &str) -> Result<&'a StageStatus> {
    let status = rainbow.status.as_ref().and_then(|status| status.stages.iter().find(|other| other.name == stage));
    status.ok_or_else(|| {
        let name = rainbow.metadata.name.as_deref().unwrap_or_default();
        Error::Failed(format!(
            "nothing is known of stage `{stage}` yet: no operator has seen rainbow `{name}`; \
             `rainbow local up` or `rainbow install` runs one"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rainbow(stages: serde_json::Value) -> Rainbow {
        serde_json::from_value(json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow",
            "metadata": { "name": "shop" }, "spec": { "tiers": [], "stages": stages },
        }))
        .unwrap()
    }

    #[test]
    fn chooses() {
        let name = |rainbow: &Rainbow, wanted| {
            choose(rainbow, wanted).map(|stage| stage.name.clone()).map_err(|e| e.to_string())
        };
        let usual = rainbow(json!([{ "name": "smoke", "promote": "Auto" }, { "name": "active" }, { "name": "x" }]));
        assert_eq!(name(&usual, None).unwrap(), "active");
        assert_eq!(name(&usual, Some("smoke")).unwrap(), "smoke");
        assert_eq!(
            name(&usual, Some("smok")).unwrap_err(),
            "rainbow `shop` has no stage `smok`; did you mean `smoke`?"
        );
        assert_eq!(name(&rainbow(json!([{ "name": "only", "promote": "Auto" }])), None).unwrap(), "only");
        let one_manual = rainbow(json!([{ "name": "a", "promote": "Auto" }, { "name": "b" }]));
        assert_eq!(name(&one_manual, None).unwrap(), "b");
        assert_eq!(
            name(&rainbow(json!([{ "name": "a" }, { "name": "b" }])), None).unwrap_err(),
            "rainbow `shop` has several stages: say which with --stage: a, b"
        );
        assert_eq!(
            name(&rainbow(json!([])), None).unwrap_err(),
            "rainbow `shop` has no stages: add one under spec.stages"
        );
    }
}
