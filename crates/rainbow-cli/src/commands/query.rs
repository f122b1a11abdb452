//! `rainbow query`: shows what a client of the stage would see.

use std::time::Duration;

use rainbow_api::HumanDuration;
use traffic::Verdict;

use crate::{
    args::StageArgs,
    commands::poll::replies::Known,
    context::{Cluster, Context},
    error::{Error, Result},
    reach, stage,
};

/// Arguments of `rainbow query`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    stage: StageArgs,
    /// Requests to send, each on a connection of its own
    #[arg(short, long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    #[command(flatten)]
    way: reach::Way,
    /// Longest time for a reply
    #[arg(long, default_value = "10s", value_name = "TIME")]
    timeout: HumanDuration,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let rainbow = cluster.rainbow(&args.stage.name).await?;
    let stage = stage::choose(&rainbow, args.stage.stage.as_deref())?;
    let timeout = if args.timeout.0.is_zero() { Duration::from_secs(10) } else { args.timeout.0 };
    let reached =
        reach::when_ready(context, &cluster, &rainbow, &stage.name, &args.way, HumanDuration(timeout)).await?;
    let mut replies = Vec::new();
    for _ in 0..args.count {
        match traffic::get(&reached.target, timeout).await {
            Ok(body) => {
                context.printer.line(&body);
                replies.push(body);
            }
            Err(failure) => {
                return Err(Error::Failed(format!("stage {} at {}: {failure}", stage.name, reached.target)));
            }
        }
    }
    judge(context, &cluster, &args.stage.name, &replies).await
}

/// Reports how many replies have two versions that may serve together, and fails where one has versions that must not.
async fn judge(context: &Context, cluster: &Cluster, name: &str, replies: &[String]) -> Result {
    // Colors are read after the replies, so that every color that has served by then is known.
    let known = Known::read(cluster, name).await?;
    let of = |verdict: Verdict| replies.iter().filter(|reply| known.judge(reply, None) == verdict).collect::<Vec<_>>();
    let (compatible, mixed) = (of(Verdict::Compatible), of(Verdict::Mixed));
    if let Some(first) = mixed.first() {
        return Err(Error::Failed(format!(
            "of {} replies {} mix versions, such as `{first}`",
            replies.len(),
            mixed.len()
        )));
    }
    if !compatible.is_empty() {
        context.printer.progress(format_args!("replies={} compatible={} mixed=0", replies.len(), compatible.len()));
    }
    Ok(())
}
