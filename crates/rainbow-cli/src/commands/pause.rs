//! `rainbow pause` and `rainbow resume`.

use serde_json::Value;

use crate::{
    args::StageArgs,
    context::Context,
    error::Result,
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
    let mut chosen = String::new();
    let (_, written) = patch::change(&cluster, &args.stage.name, |rainbow| {
        let stage = stage::choose(rainbow, args.stage.stage.as_deref())?;
        chosen.clone_from(&stage.name);
        let mut change = Change::default();
        change.stage(rainbow, &stage.name, "paused", paused.then_some(Value::Bool(true)));
        Ok(change)
    })
    .await?;
    let what = match (paused, written) {
        (true, true) => "paused",
        (true, false) => "is paused already",
        (false, true) => "resumed",
        (false, false) => "is not paused",
    };
    context.printer.line(format_args!("stage {chosen} of {} {what}", args.stage.name));
    Ok(())
}
