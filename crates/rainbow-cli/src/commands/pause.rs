//! `rainbow pause` and `rainbow resume`: hold a stage where it is, and let it continue.

use crate::{
    args::StageArgs,
    context::Context,
    error::{Error, Result},
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
    let (_, written) = patch::change(&cluster, &args.stage.name, |rainbow| {
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
            return Err(Error::Failed(format!(
                "stage {chosen} of {} is not paused: there is nothing to resume",
                args.stage.name
            )));
        }
    };
    let what = match &lifted {
        _ if written && !passed.is_empty() => {
            let tiers: Vec<&str> = passed.iter().map(|step| step.tier.as_str()).collect();
            format!("goes on: the callers of {} follow to {}", tiers.join(", "), passed[0].color)
        }
        Some(color) if written => format!("is no longer held at {color}"),
        Some(_) | None => what.to_owned(),
    };
    context.printer.line(format_args!("stage {chosen} of {} {what}", args.stage.name));
    Ok(())
}
