//! `rainbow pause` and `rainbow resume`: hold a stage where it is, and let it continue.

use rainbow_api::PassedStep;

use crate::{
    args::StageArgs,
    context::Context,
    error::{Error, Result},
    gates,
    hold::{self, Lift},
    patch::{self, Change},
    stage,
};

/// Arguments of `rainbow pause` and `rainbow resume`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    stage: StageArgs,
}

pub(crate) async fn run(context: &Context, args: Args, paused: bool) -> Result {
    let cluster = context.cluster().await?;
    let by = hold::author(&cluster).await;
    let (mut chosen, mut lifted, mut passed) = (String::new(), None, Vec::new());
    let mut step: Option<PassedStep> = None;
    let (rainbow, written) = patch::change(&cluster, &args.stage.name, |rainbow| {
        let stage = stage::choose(rainbow, args.stage.stage.as_deref())?;
        chosen.clone_from(&stage.name);
        let (name, mut change) = (&stage.name, Change::default());
        let (is_paused, held) = (stage::is_paused(rainbow, name), rainbow.spec.hold(name));
        match (paused, is_paused) {
            (true, true) => {}
            (true, false) => hold::write(&mut change, rainbow, name, Some(hold::paused(rainbow, name, by.clone()))),
            (false, true) => {
                hold::write(&mut change, rainbow, name, hold::lifted(held, Lift::Pause));
                change.stage(rainbow, name, "paused", None);
            }
            // A stage that waits between two tiers continues.
            (false, false) if !stage::steps(rainbow, stage).is_empty() => {
                passed = stage::steps(rainbow, stage);
                hold::pass(&mut change, rainbow, passed.clone(), by.as_ref());
            }
            // A stage that waits at a pause of its steps continues.
            (false, false) if gates::pause_step(rainbow, stage).is_some() => {
                step = gates::pause_step(rainbow, stage);
                if let Some(step) = step.clone() {
                    hold::pass_step(&mut change, rainbow, step, by.as_ref());
                }
            }
            // A stage that was taken back goes where the spec says.
            (false, false) => {
                lifted = hold::color(rainbow, name).map(str::to_owned);
                hold::write(&mut change, rainbow, name, hold::lifted(held, Lift::Color));
            }
        }
        Ok(change)
    })
    .await?;
    let what = match (paused, written) {
        (true, true) => "paused",
        (true, false) => "is paused already",
        (false, true) => "resumed",
        // A resume that changes nothing fails, like `abort` without a shift: the stage was not paused.
        (false, false) => {
            let gate = gates::blocking(&rainbow, &chosen).into_iter().next();
            let remedy = gate.and_then(|gate| {
                let remedy = gates::remedies(&rainbow, &chosen, gate).into_iter().next()?;
                Some(format!("; it waits for gate `{}`: {remedy}", gate.name))
            });
            return Err(Error::Failed(format!(
                "stage {chosen} of {} is not paused: there is nothing to resume{}",
                args.stage.name,
                remedy.unwrap_or_default()
            )));
        }
    };
    let what = match &lifted {
        _ if let Some(step) = step.as_ref().filter(|_| written) => {
            format!("goes on: the pause at step {} of its shift to {} is passed", step.step, step.color)
        }
        _ if written && !passed.is_empty() => {
            let tiers: Vec<&str> = passed.iter().map(|step| step.tier.as_str()).collect();
            format!("goes on: the callers of {} follow to {}", tiers.join(", "), passed[0].color)
        }
        Some(color) if written => format!("is no longer held at {color}"),
        Some(_) | None => what.to_owned(),
    };
    context.printer.line(format_args!("stage {chosen} of {} {what}", args.stage.name));
    // A hold and a pause of the steps are two things: lifting one leaves the other.
    let stage = stage::choose(&rainbow, Some(&chosen))?;
    if let Some(left) = gates::pause_step(&rainbow, stage).filter(|_| !paused && step.is_none()) {
        context.printer.warning(format_args!(
            "it still waits at step {} of its shift, a pause that shift.steps asks for: `rainbow resume {} --stage {chosen}` again passes that",
            left.step, args.stage.name
        ));
    }
    Ok(())
}
