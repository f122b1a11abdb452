//! `rainbow demo`: plays a whole story on a cluster of its own, and checks everything that clients see.

mod backward;
mod colors;
mod example;
mod pods;
mod seamless;
mod shell;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use tempfile::TempDir;

use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
};
use shell::Shell;

/// Arguments of `rainbow demo`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    story: Option<Story>,
    #[command(flatten)]
    seamless: example::Args,
}

/// Stories other than the first.
#[derive(Debug, clap::Subcommand)]
enum Story {
    /// One tier, three colors named by git, long connections: each stays with its color until it ends by itself
    Colors(colors::Args),
    /// Two tiers, of which the inner one may be newer: each version goes tier by tier, and each step is tested
    Backward(example::Args),
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    match args.story {
        None => seamless::run(context, args.seamless).await,
        Some(Story::Colors(args)) => colors::run(context, args).await,
        Some(Story::Backward(args)) => backward::run(context, args).await,
    }
}

/// Plays a story, cleans up, and prints one line with the result. The story returns the figures of that line.
async fn play(
    context: &Context,
    shell: Shell,
    files: TempDir,
    keep: bool,
    story: impl AsyncFnOnce(&Shell) -> Result<String>,
) -> Result {
    let started = Instant::now();
    let result = tokio::select! {
        result = story(&shell) => result,
        _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
    };
    let cleaned = if keep { Ok(String::new()) } else { shell.run("local down --purge").await };
    let elapsed = started.elapsed().as_secs();
    if keep {
        let home = shell.home().display().to_string();
        // The directory stays where it is, because the cluster's state is in it.
        let _ = files.keep();
        context.printer.line(format_args!("\nthe cluster stays: export RAINBOW_HOME={home}"));
        context.printer.line(format_args!(
            "end it with: RAINBOW_HOME={home} rainbow local down --purge; rm -r {}",
            shell.dir().display()
        ));
    }
    match result.and_then(|figures| cleaned.map(|_| figures)) {
        Ok(figures) => {
            context.printer.line(format_args!("\ndemo: ok {figures} elapsed={elapsed}s"));
            Ok(())
        }
        Err(Error::Interrupted) => Err(Error::Interrupted),
        Err(error) => {
            context.printer.line(format_args!("\ndemo: FAILED {error} elapsed={elapsed}s"));
            Err(Error::Reported)
        }
    }
}

/// Starts a cluster for the story alone.
async fn cluster_of_its_own(context: &Context, shell: &Shell) -> Result<(Context, Cluster)> {
    shell.say("A cluster: Kubernetes in one process, without root, without Docker.");
    shell.run("local up --api-port 0").await?;
    let kubeconfig = PathBuf::from(shell.quietly("local kubeconfig").await?.trim());
    let context = Context { kubeconfig: Some(kubeconfig), context: None, namespace: None, ..context.clone() };
    let cluster = context.cluster().await?;
    Ok((context, cluster))
}

/// Finds the directory of the programs that the story needs: the given one, or that of this program.
fn programs(given: Option<&PathBuf>, names: &[&str]) -> Result<PathBuf> {
    let own = || std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    let dir = given.cloned().or_else(own).unwrap_or_default();
    for name in names {
        if !dir.join(name).is_file() {
            return Err(Error::Usage(format!(
                "the example's program `{name}` is not in {}: `make build` builds it, or --apps says where it is",
                dir.display()
            )));
        }
    }
    Ok(dir)
}
