//! `rainbow logs`: prints the logs of an application's pods, each line behind the name of its pod.

mod choice;
mod stream;

use std::collections::HashSet;

use rainbow_api::HumanDuration;

use crate::{
    complete,
    context::{Cluster, Context},
    error::{Error, Result},
    observe::Observer,
    paint::Tinted,
    which,
};
use choice::{Choice, Source};
use stream::{Log, Options, Streams};

/// Number of lines of each container with which a followed log begins.
const FOLLOWED: i64 = 10;

/// Arguments of `rainbow logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the Rainbow
    #[arg(value_parser = which::rainbow_name, add = complete::rainbows())]
    name: String,
    /// Pods of the colors that this stage serves
    #[arg(long, value_name = "STAGE", conflicts_with = "color", add = complete::stages())]
    stage: Option<String>,
    /// Pods of this color
    #[arg(long, value_name = "COLOR", add = complete::colors())]
    color: Option<String>,
    /// Pods of this tier
    #[arg(long, value_name = "TIER", add = complete::tiers(""))]
    tier: Option<String>,
    /// Go on as lines are written, and with pods that are new
    #[arg(short, long)]
    follow: bool,
    /// Only lines of this last time, such as 5m
    #[arg(long, value_name = "TIME")]
    since: Option<HumanDuration>,
    /// Only as many of the last lines of each container (default: all; with --follow 10)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32))]
    tail: Option<u32>,
    /// Only containers of this name (default: all but the counter of connections)
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Of containers that were restarted, the log of the one before
    #[arg(short, long, conflicts_with = "follow")]
    previous: bool,
    /// Each line behind the time when it was written
    #[arg(long)]
    timestamps: bool,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let observer = Observer::start(&cluster, &args.name).await?;
    let world = observer.world().ok_or_else(|| gone(&args.name))?;
    let choice = Choice { stage: args.stage, color: args.color, tier: args.tier, container: args.container };
    choice.check(&world)?;
    let tail = args.tail.map(i64::from).or(args.follow.then_some(FOLLOWED).filter(|_| args.since.is_none()));
    let options = Options { since: args.since, tail, previous: args.previous, timestamps: args.timestamps };
    let sources = choice.sources(&world);
    if args.follow {
        return follow(context, &cluster, observer, &choice, options).await;
    }
    if sources.is_empty() {
        return Err(Error::NotFound(format!("rainbow `{}` has no pods{}", args.name, choice.said())));
    }
    one_by_one(context, &cluster, &sources, &options).await
}

fn gone(name: &str) -> Error {
    Error::NotFound(format!("rainbow `{name}` was deleted"))
}

async fn one_by_one(context: &Context, cluster: &Cluster, sources: &[Source], options: &Options) -> Result {
    for source in sources {
        if let Some(why) = source.has_no_log(options.previous) {
            context.printer.progress(format_args!("{}: {why}", source.named()));
            continue;
        }
        let printed = async {
            let mut log = Log::open(cluster, source, options, false).await?;
            while let Some(line) = log.line().await? {
                context.printer.raw(prefix(source), &line);
            }
            Ok::<_, Error>(())
        };
        // The log of one pod may be gone while those of others exist.
        if let Err(error) = printed.await {
            context.printer.warning(format_args!("{}: {error}", source.named()));
        }
    }
    Ok(())
}

/// Returns the prefix `[frontend-v2-x/frontend] `, in the color of the pod's color.
fn prefix(source: &Source) -> String {
    format!("[{}/{}] ", Tinted { text: &source.pod, color: &source.color }, source.container)
}

async fn follow(
    context: &Context,
    cluster: &Cluster,
    mut observer: Observer,
    choice: &Choice,
    options: Options,
) -> Result {
    let mut streams = Streams::new(cluster.clone());
    let (mut opened, mut waits) = (HashSet::new(), HashSet::new());
    let mut is_first = true;
    loop {
        let world = observer.world();
        for source in world.iter().flat_map(|world| choice.sources(world)) {
            if let Some(why) = source.has_no_log(false) {
                if waits.insert(source.key()) {
                    context.printer.progress(format_args!("{}: {why}", source.named()));
                }
            } else if opened.insert(source.key()) {
                // All lines of a new pod are new.
                streams.open(source, if is_first { options.clone() } else { options.of_new() });
            }
        }
        is_first = false;
        if world.is_none() && streams.is_empty() {
            return Ok(());
        }
        tokio::select! {
            changed = observer.changed(), if world.is_some() => changed?,
            Some(event) = streams.next() => match event {
                stream::Event::Line(source, line) => context.printer.raw(prefix(&source), &line),
                stream::Event::Failed(source, error) => {
                    context.printer.warning(format_args!("{}: {error}", source.named()));
                }
                stream::Event::Ended => {}
            },
        }
    }
}
