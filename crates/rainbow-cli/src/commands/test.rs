//! `rainbow test`: runs a command against a stage, and lets the stage continue or go back by the command's exit code.

use std::{net::SocketAddr, process::ExitStatus};

use rainbow_api::{HumanDuration, Promote, Rainbow, Stage, names, stage_tier};
use tokio::process;

use super::{
    promote::{Goal, MoveOptions, move_stage},
    rollback,
};
use crate::{
    args::{StageArgs, WaitArgs},
    context::{Cluster, Context},
    error::{Error, Result},
    hold, live,
    patch::{self, Change},
    reach, stage,
    view::State,
    wait::{self, Progress},
};

/// Arguments of `rainbow test`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "rainbow test [OPTIONS] <NAME> -- <COMMAND>...")]
pub(crate) struct Args {
    #[command(flatten)]
    stage: StageArgs,
    /// Longest time for the stage to have something to test, such as 90s or 10m; 0 is no limit
    #[arg(long, value_name = "TIME", default_value = "10m")]
    timeout: HumanDuration,
    /// Leave the stage where it is when the command fails
    #[arg(long)]
    keep: bool,
    /// Program and arguments. In its environment: RAINBOW_NAME, RAINBOW_STAGE, RAINBOW_COLOR, RAINBOW_TIER (the tier that has moved last),
    /// ADDRESS and URL of the stage, and the address of each tier under its name in upper case
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let rainbow = cluster.rainbow(&args.stage.name).await?;
    let chosen = stage::choose(&rainbow, args.stage.stage.as_deref())?.name.clone();
    until_testable(context, &cluster, &rainbow, &chosen, args.timeout).await?;
    let rainbow = cluster.rainbow(&args.stage.name).await?;
    let stage = stage::choose(&rainbow, Some(&chosen))?;
    let tested = Tested::of(&rainbow, stage)?;
    let status = execute(context, &cluster, &rainbow, stage, &tested, &args.command).await?;
    let name = &args.stage.name;
    if status.success() {
        return go_on(context, &cluster, name, &chosen, &tested).await;
    }
    let what = match status.code() {
        Some(code) => format!("ended with exit code {code}"),
        None => "was ended by a signal".to_owned(),
    };
    let failed = format!("stage {chosen} of {name} at {}: the test {what}", tested.color);
    if args.keep {
        return Err(Error::Failed(format!("{failed}; the stage stays where it is, as --keep says")));
    }
    let of = StageArgs { stage: Some(chosen), ..args.stage };
    let how = MoveOptions { what: "rolled back", message: None, skip: None, wait: &WaitArgs::default() };
    move_stage(context, &cluster, &of, how, |rainbow, stage| rollback::before(rainbow, stage).map(Goal::Back))
        .await
        .map_err(|error| Error::Failed(format!("{failed}; {error}")))?;
    Err(Error::Failed(failed))
}

/// Subject of a test.
struct Tested {
    /// Color that the stage serves, or is moving to.
    color: String,
    /// Tier that has moved last; the entry tier when all have moved.
    tier: String,
    /// Whether tiers have yet to follow.
    is_step: bool,
}

impl Tested {
    fn of(rainbow: &Rainbow, stage: &Stage) -> Result<Self> {
        let status = stage::status(rainbow, &stage.name)?;
        let entry = stage_tier(&rainbow.spec, stage).unwrap_or_default().to_owned();
        match stage::steps(rainbow, stage).pop() {
            Some(step) => Ok(Self { color: step.color, tier: step.tier, is_step: true }),
            None => Ok(Self { color: status.color.clone().unwrap_or_default(), tier: entry, is_step: false }),
        }
    }
}

/// Waits until the stage waits between two tiers, or serves the color that it should serve.
async fn until_testable(
    context: &Context,
    cluster: &Cluster,
    rainbow: &Rainbow,
    chosen: &str,
    timeout: HumanDuration,
) -> Result {
    let name = rainbow.metadata.name.clone().unwrap_or_default();
    let generation = rainbow.metadata.generation;
    wait::until(context, cluster, &name, timeout, |world, view| {
        let observed = world.rainbow.status.as_ref().and_then(|status| status.observed_generation);
        let seen = view.stages.iter().find(|known| known.name == chosen);
        let (Some(seen), true) = (seen, observed >= generation) else { return Progress::Unseen };
        let found = world.rainbow.spec.stages.iter().find(|known| known.name == chosen);
        if found.is_some_and(|found| !stage::steps(&world.rainbow, found).is_empty()) {
            return Progress::Done;
        }
        let moves = seen.shift.is_some() || seen.tiers.iter().any(|tier| tier.shift.is_some());
        let expected = found.and_then(|found| expected(&world.rainbow, found));
        let has_arrived = seen.color.as_deref().is_some_and(|color| expected.is_none_or(|expected| expected == color));
        match &seen.message {
            _ if !moves && has_arrived && seen.color == seen.target => Progress::Done,
            Some(message) if view.state == State::Stalled => Progress::Never(format!("{chosen}: {message}")),
            Some(message) => Progress::Waiting(format!("{chosen}: {message}")),
            None => Progress::Waiting(format!("{chosen}: {}", view.message.as_deref().unwrap_or("it moves"))),
        }
    })
    .await
}

/// Returns the color that the stage is to serve. The status may not show a release yet that was applied a moment ago.
fn expected<'a>(rainbow: &'a Rainbow, stage: &'a Stage) -> Option<&'a str> {
    let newest = || rainbow.spec.color.as_deref().or(rainbow.status.as_ref()?.color.as_deref());
    stage::told(rainbow, stage).or_else(|| match stage.promote {
        Promote::Auto => newest(),
        Promote::Manual => None,
    })
}

/// Runs the command with the stage's addresses in its environment. Tunnels to them live as long as the command.
async fn execute(
    context: &Context,
    cluster: &Cluster,
    rainbow: &Rainbow,
    stage: &Stage,
    tested: &Tested,
    command: &[String],
) -> Result<ExitStatus> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| Error::Usage("no command: write it behind `--`".into()))?;
    let entry = reach::stage(context, cluster, rainbow, &stage.name, &reach::Way::default()).await?;
    let mut ways = Vec::new();
    for tier in &stage::status(rainbow, &stage.name)?.tiers {
        ways.push((names::default_env(&tier.tier), reach::tier(context, cluster, rainbow, &stage.name, tier).await?));
    }
    let address = |address: SocketAddr| address.to_string();
    let mut child = process::Command::new(program);
    child.args(arguments).kill_on_drop(true);
    // From here on the terminal belongs to the program.
    live::clear();
    if let Some(tier) = stage_tier(&rainbow.spec, stage) {
        child.env(names::default_env(tier), address(entry.target.address()));
    }
    for (variable, way) in &ways {
        child.env(variable, address(way.target.address()));
    }
    child
        .env("RAINBOW_NAME", rainbow.metadata.name.as_deref().unwrap_or_default())
        .env("RAINBOW_STAGE", &stage.name)
        .env("RAINBOW_COLOR", &tested.color)
        .env("RAINBOW_TIER", &tested.tier)
        .env("ADDRESS", address(entry.target.address()))
        .env("URL", format!("http://{}/", entry.target.address()));
    context.printer.progress(format_args!("testing {} of {} in stage {}", tested.tier, tested.color, stage.name));
    let mut running = child
        .spawn()
        .map_err(|error| Error::Usage(format!("cannot run `{program}`: {error}: name a program that exists")))?;
    running.wait().await.map_err(|error| Error::failed("cannot wait for the command", error))
}

/// Lets the stage continue after a test that has passed: the tiers that call the tested one follow.
async fn go_on(context: &Context, cluster: &Cluster, name: &str, chosen: &str, tested: &Tested) -> Result {
    if !tested.is_step {
        context.printer.line(format_args!("stage {chosen} of {name} serves {}: the test passed", tested.color));
        return Ok(());
    }
    let by = hold::author(cluster).await;
    let (_, written) = patch::change(cluster, name, |rainbow| {
        let stage = stage::choose(rainbow, Some(chosen))?;
        let mut change = Change::default();
        // Another release may have begun since the test.
        let steps = stage::steps(rainbow, stage).into_iter().filter(|step| step.color == tested.color).collect();
        hold::pass(&mut change, rainbow, steps, by.as_ref());
        Ok(change)
    })
    .await?;
    let what = if written { "goes on" } else { "has gone on meanwhile" };
    context
        .printer
        .line(format_args!("stage {chosen} of {name} {what}: the test of {} {} passed", tested.tier, tested.color));
    Ok(())
}
