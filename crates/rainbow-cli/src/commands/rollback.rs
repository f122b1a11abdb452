//! `rainbow rollback` and `rainbow abort`: move a stage back in one write.

use rainbow_api::{Hold, Rainbow, Stage};

use super::promote::{Goal, MoveOptions, move_stage};
use crate::{
    args::{MessageArgs, StageArgs, WaitArgs},
    context::Context,
    error::{Error, Result},
    hold,
    patch::{self, Change},
    stage, wait,
};

/// Arguments of `rainbow rollback`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("wait", |arg| arg.help("Wait until the stage is back and nothing of it moves any more")))]
pub(crate) struct Args {
    #[command(flatten)]
    stage: StageArgs,
    /// Color to take the stage back to (default: in a shift the one that it comes from, else the one that it served before)
    #[arg(long, value_name = "COLOR", add = crate::complete::colors())]
    to: Option<String>,
    #[command(flatten)]
    message: MessageArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Arguments of `rainbow abort`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("wait", |arg| arg.help("Wait until the stage is back at the color that the shift began with")))]
pub(crate) struct AbortArgs {
    #[command(flatten)]
    stage: StageArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let message = args.message.message.as_deref();
    let how = MoveOptions { what: "rolled back", message, skip: None, wait: &args.wait };
    move_stage(context, &cluster, &args.stage, how, |rainbow, stage| match &args.to {
        Some(color) => Ok(Goal::Back(color.clone())),
        None => before(rainbow, stage).map(Goal::Back),
    })
    .await
}

/// Returns the color that a rollback goes to.
pub(super) fn before(rainbow: &Rainbow, stage: &Stage) -> Result<String> {
    let status = stage::status(rainbow, &stage.name)?;
    if let Some(shift) = &status.shift {
        return Ok(shift.from.clone());
    }
    // A release of which only inner tiers have moved is taken back to the color that serves.
    if let (Some(target), Some(serving)) = (&status.target, &status.color)
        && target != serving
        && !status.tiers.is_empty()
    {
        return Ok(serving.clone());
    }
    // A shift that is requested and has not begun is taken back, too.
    if let (Some(wanted), Some(serving)) = (stage::told(rainbow, stage), &status.color)
        && wanted != *serving
    {
        return Ok(serving.clone());
    }
    status
        .previous
        .clone()
        .ok_or_else(|| Error::Failed(format!("stage `{}` has served no other color: name one with --to", stage.name)))
}

pub(crate) async fn abort(context: &Context, args: AbortArgs) -> Result {
    let cluster = context.cluster().await?;
    let (colors, by) = (cluster.colors(&args.stage.name).await?, hold::author(&cluster).await);
    let mut aborted = (String::new(), String::new());
    let (rainbow, _) = patch::change(&cluster, &args.stage.name, |rainbow| {
        let stage = stage::choose(rainbow, args.stage.stage.as_deref())?;
        let status = stage::status(rainbow, &stage.name)?;
        let from = match (&status.shift, stage::told(rainbow, stage), &status.color) {
            (Some(shift), _, _) => shift.from.clone(),
            (None, Some(wanted), Some(serving)) if wanted != *serving => serving.clone(),
            _ => {
                return Err(Error::Failed(format!(
                    "stage {} of {} is not moving: there is nothing to abort; `rainbow rollback {} --stage {}` goes back after a shift",
                    stage.name, args.stage.name, args.stage.name, stage.name
                )));
            }
        };
        let mut change = Change::default();
        let held = Hold { paused: false, ..hold::at(rainbow, &stage.name, &from, &colors, by.clone()) };
        hold::write(&mut change, rainbow, &stage.name, Some(held));
        change.stage(rainbow, &stage.name, "paused", None);
        aborted = (stage.name.clone(), from);
        Ok(change)
    })
    .await?;
    let (stage, from) = aborted;
    context.printer.line(format_args!("shift of stage {stage} of {} aborted: back to {from}", args.stage.name));
    if args.wait.wait {
        let limit = args.wait.limit(&rainbow);
        wait::serves(context, &cluster, &rainbow, (&stage, &from), true, limit).await?;
        context.printer.line(format_args!("stage {stage} of {} serves {from}", args.stage.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn goes_to(stage: serde_json::Value, status: serde_json::Value) -> Result<String> {
        let rainbow: Rainbow = serde_json::from_value(json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow", "metadata": { "name": "shop" },
            "spec": { "tiers": [], "stages": [stage] }, "status": { "stages": [status] },
        }))
        .unwrap();
        before(&rainbow, &rainbow.spec.stages[0])
    }

    #[test]
    fn goes_back_to_where_it_came_from() {
        let after = json!({ "name": "active", "service": "s", "color": "v2", "previous": "v1" });
        assert_eq!(goes_to(json!({ "name": "active", "color": "v2" }), after).unwrap(), "v1");

        let shift = json!({ "from": "v2", "to": "v3", "phase": "Shifting", "moved": 1, "of": 5, "startedAt": "" });
        let during = json!({ "name": "active", "service": "s", "color": "v2", "previous": "v1", "shift": shift });
        assert_eq!(goes_to(json!({ "name": "active", "color": "v3" }), during).unwrap(), "v2");

        let asked = json!({ "name": "active", "service": "s", "color": "v2", "previous": "v1" });
        assert_eq!(goes_to(json!({ "name": "active", "color": "v3" }), asked).unwrap(), "v2");

        let first = json!({ "name": "active", "service": "s", "color": "v1" });
        assert_eq!(
            goes_to(json!({ "name": "active" }), first).unwrap_err().to_string(),
            "stage `active` has served no other color: name one with --to"
        );
    }
}
