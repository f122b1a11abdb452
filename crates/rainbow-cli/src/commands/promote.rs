//! `rainbow promote`: moves a stage, by default to the newest color.

use rainbow_api::{Color, ColorPhase, Promote, Rainbow, Stage};
use serde_json::json;

use crate::{
    args::{MessageArgs, StageArgs, WaitArgs},
    cause::{self, Moved},
    context::{Cluster, Context},
    error::{Error, Result, hint},
    gates::{self, Skip},
    hold::{self, Lift},
    patch::{self, Change},
    stage, wait,
};

/// Arguments of `rainbow promote`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("wait", |arg| arg.help("Wait until the stage serves the color and nothing of it moves any more")))]
pub(crate) struct Args {
    #[command(flatten)]
    stage: StageArgs,
    /// Color to move the stage to (default: the newest, which a stage that is `promote: Auto` then follows again)
    #[arg(long, value_name = "COLOR", add = crate::complete::colors())]
    to: Option<String>,
    /// Gate that the color need not pass, also where it has been rejected by it; can be given several times
    #[arg(long, value_name = "GATE", requires = "reason", add = crate::complete::gates())]
    skip_gate: Vec<String>,
    /// Why the gates are skipped
    #[arg(long, value_name = "TEXT", requires = "skip_gate", value_parser = cause::message)]
    reason: Option<String>,
    #[command(flatten)]
    message: MessageArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let colors = cluster.colors(&args.stage.name).await?;
    let skip = args.reason.clone().map(|reason| Skip { gates: args.skip_gate.clone(), reason });
    let message = args.message.message.as_deref();
    let how = MoveOptions { what: "promoted", message, skip: skip.as_ref(), wait: &args.wait };
    move_stage(context, &cluster, &args.stage, how, |rainbow, stage| match &args.to {
        Some(color) => Ok(Goal::Color(color.clone())),
        None => forward(rainbow, stage, &colors),
    })
    .await
}

/// Returns the goal of a promotion that names no color.
fn forward(rainbow: &Rainbow, stage: &Stage, colors: &[Color]) -> Result<Goal> {
    let newest = newest(rainbow, colors)?;
    Ok(match stage.promote {
        // A stage that follows the newest color by itself must not get a color written, because that color would hold it at the next release.
        Promote::Auto => Goal::Newest(newest),
        Promote::Manual => Goal::Color(newest),
    })
}

/// Description of a move.
#[derive(Clone, Copy)]
pub(crate) struct MoveOptions<'a> {
    /// Verb of the move, such as `promoted`.
    pub(crate) what: &'a str,
    /// Reason that the user gives.
    pub(crate) message: Option<&'a str>,
    /// Gates that the color need not pass.
    pub(crate) skip: Option<&'a Skip>,
    pub(crate) wait: &'a WaitArgs,
}

/// Goal of a move.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The stage moves to a color, and stays there.
    Color(String),
    /// The stage moves back to a color, and is held there.
    Back(String),
    /// The stage moves to the newest color, which is this one now, and follows the newest from then on.
    Newest(String),
}

/// Returns the newest color: the spec's, else the one that the operator names, else the one with the highest revision. A color that is being
/// deleted is never chosen, because its pods are about to end.
fn newest(rainbow: &Rainbow, colors: &[Color]) -> Result<String> {
    let name = rainbow.metadata.name.as_deref().unwrap_or_default();
    let known = rainbow.status.as_ref().and_then(|status| status.color.clone());
    // A color that the spec names may not exist yet; the stage waits for it.
    let named = rainbow.spec.color.clone().or(known);
    let newest = named
        .or_else(|| colors.first().map(|color| color.spec.color.clone()))
        .ok_or_else(|| Error::Failed(format!("rainbow `{name}` has no color yet: no operator has seen it")))?;
    let is_going = |color: &&Color| color.metadata.deletion_timestamp.is_some();
    if !colors.iter().filter(is_going).any(|color| color.spec.color == newest) {
        return Ok(newest);
    }
    let others: Vec<&str> =
        colors.iter().filter(|color| !is_going(color)).map(|color| color.spec.color.as_str()).collect();
    let remedy = match others.as_slice() {
        [] => "wait until it is gone and release another one".to_owned(),
        others => format!("name another one with --to: {}", others.join(", ")),
    };
    Err(Error::Failed(format!("the newest color of rainbow `{name}`, {newest}, is being deleted: {remedy}")))
}

/// Writes the color that a stage must serve, and waits if the arguments ask for that. `choose` returns the goal.
pub(crate) async fn move_stage(
    context: &Context,
    cluster: &Cluster,
    args: &StageArgs,
    how: MoveOptions<'_>,
    choose: impl Fn(&Rainbow, &Stage) -> Result<Goal>,
) -> Result {
    let colors = cluster.colors(&args.name).await?;
    let by = hold::author(cluster).await;
    let mut moved = (String::new(), String::new(), false);
    let (rainbow, written) = patch::change(cluster, &args.name, |rainbow| {
        let stage = stage::choose(rainbow, args.stage.as_deref())?;
        let (goal, mut change) = (choose(rainbow, stage)?, Change::default());
        let (Goal::Color(color) | Goal::Back(color) | Goal::Newest(color)) = &goal;
        let color = color.clone();
        // A user who promotes the color that the stage is moving to does not want the stage to wait between two tiers.
        let steps = match &goal {
            Goal::Color(_) | Goal::Newest(_) => stage::steps(rainbow, stage),
            Goal::Back(_) => Vec::new(),
        };
        if steps.iter().any(|step| step.color == color) {
            hold::pass(&mut change, rainbow, steps, by.as_ref());
        }
        // The same holds for a pause of the shift's steps.
        let pause = gates::pause_step(rainbow, stage).filter(|_| !matches!(goal, Goal::Back(_)));
        if let Some(step) = pause.filter(|step| step.color == color) {
            hold::pass_step(&mut change, rainbow, step, by.as_ref());
        }
        exists(rainbow, &color, &colors)?;
        if let Some(skip) = how.skip {
            are_gates(rainbow, stage, &skip.gates)?;
            gates::skip(&mut change, rainbow, (&stage.name, &color), skip, by.as_ref());
        }
        let is_back = matches!(goal, Goal::Back(_));
        let lifted = || hold::lifted(rainbow.spec.hold(&stage.name), Lift::Color);
        match goal {
            // A second rollback to the same color changes nothing, not even the time of the hold.
            Goal::Back(_) if hold::color(rainbow, &stage.name) == Some(&color) => {}
            Goal::Back(_) => {
                let held = hold::at(rainbow, &stage.name, &color, &colors, by.clone());
                hold::write(&mut change, rainbow, &stage.name, Some(held));
            }
            Goal::Color(_) => {
                hold::write(&mut change, rainbow, &stage.name, lifted());
                change.stage(rainbow, &stage.name, "color", Some(json!(color)));
            }
            Goal::Newest(_) => {
                hold::write(&mut change, rainbow, &stage.name, lifted());
                change.stage(rainbow, &stage.name, "color", None);
            }
        }
        moved = (stage.name.clone(), color, is_back);
        Ok(change)
    })
    .await?;
    let (stage, color, is_back) = moved;
    let what = if written { format!("{} to {color}", how.what) } else { format!("set to {color} already") };
    context.printer.line(format_args!("stage {stage} of {} {what}", args.name));
    let skipped = how.skip.map(|skip| format!("without gate {}: {}", skip.gates.join(", "), skip.reason));
    let message = [how.message.map(str::to_owned), skipped].into_iter().flatten().collect::<Vec<_>>().join("; ");
    if !message.is_empty() {
        let at = hold::now();
        let moved = Moved { what: how.what.to_owned(), by, at, message };
        cause::record(context, cluster, &args.name, &color, &stage, &moved).await;
    }
    if let Some(phase) =
        colors.iter().find(|other| other.spec.color == color).and_then(|color| color.status.as_ref()?.phase)
        && phase == ColorPhase::Retired
    {
        context.printer.progress(format_args!("color {color} is retired: its pods are started first"));
    }
    if stage::is_paused(&rainbow, &stage) {
        context.printer.warning(format_args!(
            "stage {stage} is paused: it moves after `rainbow resume {} --stage {stage}`",
            args.name
        ));
        if how.wait.wait {
            context.printer.progress("waiting for it nevertheless");
        }
    }
    if how.wait.wait {
        let limit = how.wait.limit(&rainbow);
        wait::serves(context, cluster, &rainbow, (&stage, &color), is_back, limit).await?;
        context.printer.line(format_args!("stage {stage} of {} serves {color}", args.name));
    }
    Ok(())
}

/// Fails where the stage does not ask for a gate that is to be skipped.
fn are_gates(rainbow: &Rainbow, stage: &Stage, names: &[String]) -> Result {
    let known = gates::names(stage);
    match names.iter().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Error::NotFound(format!(
            "stage `{}` of rainbow `{}` has no gate `{name}`{}",
            stage.name,
            rainbow.metadata.name.as_deref().unwrap_or_default(),
            hint(name, &known)
        ))),
    }
}

/// Fails where the color does not exist: a typing error must not leave a stage waiting for a color that never comes.
fn exists(rainbow: &Rainbow, color: &str, colors: &[Color]) -> Result {
    if colors.iter().any(|other| other.spec.color == color) || rainbow.spec.color.as_deref() == Some(color) {
        return Ok(());
    }
    let name = rainbow.metadata.name.as_deref().unwrap_or_default();
    let names: Vec<String> = colors.iter().map(|color| color.spec.color.clone()).collect();
    Err(Error::NotFound(format!("rainbow `{name}` has no color `{color}`{}", hint(color, &names))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_follows_is_not_pinned() {
        let rainbow: Rainbow = serde_json::from_value(json!({
            "metadata": { "name": "shop" },
            "spec": { "color": "v2", "tiers": [], "stages": [
                { "name": "smoke", "promote": "Auto", "color": "v1" }, { "name": "active" },
            ] },
        }))
        .unwrap();
        let goal = |stage: usize| forward(&rainbow, &rainbow.spec.stages[stage], &[]).unwrap();
        assert_eq!(goal(0), Goal::Newest("v2".into()));
        assert_eq!(goal(1), Goal::Color("v2".into()));
    }

    #[test]
    fn a_color_that_is_being_deleted_is_not_chosen() {
        let rainbow: Rainbow = serde_json::from_value(json!({
            "metadata": { "name": "shop" }, "spec": { "color": "v2", "tiers": [], "stages": [{ "name": "active" }] },
        }))
        .unwrap();
        let color = |name: &str, deleted: Option<&str>| -> Color {
            serde_json::from_value(json!({
                "metadata": { "name": name, "deletionTimestamp": deleted },
                "spec": { "rainbow": "shop", "color": name, "revision": 1, "tiers": [], "instances": [] },
            }))
            .unwrap()
        };
        let going = color("v2", Some("2026-12-01T10:00:00Z"));
        let message = |colors: &[Color]| forward(&rainbow, &rainbow.spec.stages[0], colors).unwrap_err().to_string();
        assert_eq!(
            message(&[going.clone(), color("v1", None)]),
            "the newest color of rainbow `shop`, v2, is being deleted: name another one with --to: v1"
        );
        assert_eq!(
            message(&[going]),
            "the newest color of rainbow `shop`, v2, is being deleted: wait until it is gone and release another one"
        );
    }
}
