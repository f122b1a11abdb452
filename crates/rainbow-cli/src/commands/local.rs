//! `rainbow local`: manages embedded clusters.

use jiff::Timestamp;
use pocket::{Down, Status};
use rainbow_api::HumanDuration;
use serde::Serialize;

use crate::{
    context::Context,
    error::{Error, Result},
    local::{Home, ProfileArgs, Up},
    output::{self, Format},
    printer::table,
    words,
};

/// Arguments of `rainbow local`.
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    profile: ProfileArgs,
    #[command(subcommand)]
    command: Command,
}

/// Subcommands of `rainbow local`.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Start it, with Rainbow's operator in it; one that was stopped goes on with what it had
    Up(UpArgs),
    /// End it with everything in it; images stay
    Down {
        /// Remove its images and certificates, too
        #[arg(long)]
        purge: bool,
    },
    /// End its processes and keep what is in it: objects, volumes and images
    Stop,
    /// Start one that was stopped: its pods are started again
    Start(StartArgs),
    /// Whether it runs
    Status,
    /// List local clusters
    #[command(visible_alias = "ls")]
    List {
        /// Form of the answer
        #[arg(short, long, value_enum)]
        output: Option<Format>,
    },
    /// Print the path of its kubeconfig
    Kubeconfig,
}

/// Arguments of `rainbow local up`.
#[derive(Debug, clap::Args)]
struct UpArgs {
    #[command(flatten)]
    start: StartArgs,
    /// Without Rainbow's operator: run it yourself with `rainbow operator`
    #[arg(long)]
    no_operator: bool,
}

/// Options of a start.
#[derive(Debug, clap::Args)]
struct StartArgs {
    /// Stay, and end the cluster on Ctrl-C
    #[arg(long)]
    foreground: bool,
    /// Port of its API at the cluster's address; 0 is the one it had before, else 6443, else any that is free
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    api_port: u16,
    /// Least time between two looks of the Service proxy at what has changed: 1s is what kube-proxy does
    #[arg(long, value_name = "TIME", default_value = "0s", hide = true)]
    proxy_delay: HumanDuration,
}

/// Local cluster as one line of the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    profile: String,
    state: &'static str,
    /// Address on which the cluster's node ports and load balancers listen.
    address: Option<String>,
    server: Option<String>,
    started: Option<Timestamp>,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let (printer, home) = (context.printer, args.profile.home()?);
    let shown = home.shown();
    match args.command {
        Command::Up(args) => start(context, &home, args.start, !args.no_operator).await,
        Command::Start(args) => match home.status()? {
            Status::Down => Err(Error::Failed(format!(
                "{shown} has nothing to go on with: make one with `rainbow local up{}`",
                home.option()
            ))),
            Status::Up(_) | Status::Starting { .. } | Status::Stopped => {
                let operator = home.has_operator();
                start(context, &home, args, operator).await
            }
        },
        Command::Stop => {
            let found = home.stop().await?;
            printer.progress(match (found, home.status()?) {
                (Down::Ended, _) => {
                    format!("{shown} is stopped; `rainbow local start{}` goes on with what is in it", home.option())
                }
                (Down::WasDown, Status::Stopped) => format!("{shown} is stopped already"),
                (Down::WasDown, _) => format!("{shown} was not running"),
            });
            Ok(())
        }
        Command::Down { purge } => {
            let before = home.status()?;
            let found = home.down(purge).await?;
            let was = match (found, before) {
                (Down::Ended, _) => "is down",
                (Down::WasDown, Status::Stopped) => "was stopped, and is down",
                (Down::WasDown, _) => "was not running",
            };
            printer.progress(match (found, purge) {
                (Down::Ended, false) => format!("{shown} {was}; its images stay"),
                (Down::Ended, true) => format!("{shown} {was}, and nothing of it is left"),
                (Down::WasDown, false) => format!("{shown} {was}"),
                (Down::WasDown, true) => format!("{shown} {was}; nothing of it is left"),
            });
            Ok(())
        }
        Command::Status => match home.status()? {
            Status::Up(up) => {
                let age = words::age(&up.started.to_string(), Timestamp::now()).unwrap_or_default();
                printer.line(format_args!("up at {}, process {}, for {age}", up.server, up.pid));
                printer.line(format_args!("kubeconfig {}", up.kubeconfig.display()));
                Ok(())
            }
            _ => Err(not_running(&home)),
        },
        Command::List { output } => list(context, output),
        Command::Kubeconfig => match home.kubeconfig() {
            Some(path) => {
                printer.line(path.display());
                Ok(())
            }
            None => Err(not_running(&home)),
        },
    }
}

async fn start(context: &Context, home: &Home, args: StartArgs, operator: bool) -> Result {
    let options = Up { api_port: args.api_port, operator, proxy_delay: args.proxy_delay.0 };
    let was_stopped = matches!(home.status()?, Status::Stopped);
    let up = home.up(options, args.foreground, context.printer).await?;
    let state = match (up.already, was_stopped) {
        (true, _) => "is up already",
        (false, true) => "is up again",
        (false, false) => "is up",
    };
    context.printer.progress(format_args!("{} {state} at {}", home.shown(), up.server));
    context.printer.line(format_args!("export KUBECONFIG={}", up.kubeconfig.display()));
    Ok(())
}

fn not_running(home: &Home) -> Error {
    let (shown, option) = (home.shown(), home.option());
    Error::NoCluster(match home.status() {
        Ok(Status::Stopped) => format!("{shown} is stopped: start it with `rainbow local start{option}`"),
        Ok(Status::Starting { .. }) => format!("{shown} is starting or ending: ask again"),
        Ok(Status::Up(_) | Status::Down) | Err(_) => {
            format!("{shown} is not running: start it with `rainbow local up{option}`")
        }
    })
}

fn list(context: &Context, format: Option<Format>) -> Result {
    let mut lines = Vec::new();
    for name in Home::profiles()? {
        let home = Home::of(Some(&name))?;
        let (state, up) = match home.status()? {
            Status::Up(up) => ("Up", Some(up)),
            Status::Starting { .. } => ("Starting", None),
            Status::Stopped => ("Stopped", None),
            Status::Down => ("Down", None),
        };
        lines.push(Line {
            profile: home.name().to_owned(),
            state,
            address: home.known_address().map(|address| address.to_string()),
            server: up.as_ref().map(|up| up.server.clone()),
            started: up.as_ref().map(|up| up.started),
        });
    }
    let names: Vec<String> = lines.iter().map(|line| line.profile.clone()).collect();
    if output::print(context.printer, format, &lines, names)? {
        return Ok(());
    }
    let now = Timestamp::now();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = lines
        .into_iter()
        .map(|line| {
            let age = line.started.and_then(|started| words::age(&started.to_string(), now));
            vec![line.profile, line.state.to_owned(), or_dash(line.address), or_dash(line.server), or_dash(age)]
        })
        .collect();
    context.printer.text(table(&["PROFILE", "STATE", "ADDRESS", "SERVER", "AGE"], &rows));
    Ok(())
}
