//! `rainbow local`: the embedded cluster.

use pocket::{Down, Status};
use rainbow_api::HumanDuration;

use crate::{
    context::Context,
    error::{Error, Result},
    local::{self, Up},
    words,
};

/// What to do with the local cluster.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Start it, with Rainbow's operator in it
    Up(UpArgs),
    /// End it with everything in it; images stay
    Down {
        /// Remove its images and certificates, too
        #[arg(long)]
        purge: bool,
    },
    /// Whether it runs
    Status,
    /// Print the path of its kubeconfig
    Kubeconfig,
}

/// Arguments of `rainbow local up`.
#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    /// Stay, and end the cluster on Ctrl-C
    #[arg(long)]
    foreground: bool,
    /// Port of its API on 127.0.0.1; 0 is the one it had before, else 6443, else any that is free
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    api_port: u16,
    /// Without Rainbow's operator: run it yourself with `rainbow operator`
    #[arg(long)]
    no_operator: bool,
    /// Least time between two looks of the Service proxy at what has changed: 1s is what kube-proxy does
    #[arg(long, value_name = "TIME", default_value = "0s", hide = true)]
    proxy_delay: HumanDuration,
}

const NOT_RUNNING: &str = "the local cluster is not running: start it with `rainbow local up`";

pub(crate) async fn run(context: &Context, command: Command) -> Result {
    let printer = context.printer;
    match command {
        Command::Up(args) => {
            let options = Up { api_port: args.api_port, operator: !args.no_operator, proxy_delay: args.proxy_delay.0 };
            let up = local::up(options, args.foreground, printer).await?;
            let state = if up.already { "is up already" } else { "is up" };
            printer.progress(format_args!("the local cluster {state} at {}", up.server));
            printer.line(format_args!("export KUBECONFIG={}", up.kubeconfig.display()));
            Ok(())
        }
        Command::Down { purge } => {
            let found = local::down(purge).await?;
            printer.progress(match (found, purge) {
                (Down::Ended, false) => "the local cluster is down; its images stay",
                (Down::Ended, true) => "the local cluster is down, and nothing of it is left",
                (Down::WasDown, false) => "the local cluster was not running",
                (Down::WasDown, true) => "the local cluster was not running; nothing of it is left",
            });
            Ok(())
        }
        Command::Status => match local::status()? {
            Status::Up(up) => {
                let now = jiff::Timestamp::now();
                let age = words::age(&up.started.to_string(), now).unwrap_or_else(|| "an unknown time".into());
                printer.line(format_args!("up at {}, process {}, for {age}", up.server, up.pid));
                printer.line(format_args!("kubeconfig {}", up.kubeconfig.display()));
                Ok(())
            }
            Status::Starting { .. } => {
                Err(Error::NoCluster("the local cluster is starting or ending: ask again".into()))
            }
            Status::Down => Err(Error::NoCluster(NOT_RUNNING.into())),
        },
        Command::Kubeconfig => match local::kubeconfig() {
            Some(path) => {
                printer.line(path.display());
                Ok(())
            }
            None => Err(Error::NoCluster(NOT_RUNNING.into())),
        },
    }
}
