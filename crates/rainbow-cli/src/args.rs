//! Arguments of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use rainbow_api::{SidecarSettings, validate_sidecar};
use serde_json::Value;

use crate::{
    commands, complete,
    error::{EXIT_CODES, Error},
    printer::ColorWhen,
};

/// Releases multi-tier applications on Kubernetes so that nobody notices.
#[derive(Debug, Parser)]
#[command(
    name = "rainbow",
    version,
    disable_help_subcommand = false,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110,
    after_long_help = EXIT_CODES
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Kubeconfig file (default: $KUBECONFIG, ~/.kube/config, the local cluster)
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", add = complete::contexts())]
    pub(crate) context: Option<String>,
    /// Namespace (default: the context's)
    #[arg(short, long, global = true, value_name = "NAME", env = "RAINBOW_NAMESPACE", add = complete::namespaces())]
    pub(crate) namespace: Option<String>,
    /// When to use colors
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) ansi: ColorWhen,
    /// Say nothing but the answer
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// Subcommands of `rainbow`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The embedded cluster on this machine
    Local(commands::local::Args),
    /// Images, without Docker
    Image(commands::image::Args),
    /// Install Rainbow in a cluster
    Install(commands::install::Args),
    /// Take Rainbow out of a cluster
    Uninstall(commands::uninstall::Args),
    /// Run Rainbow's operator here, against any cluster
    Operator(commands::operator::Args),
    /// Apply manifests; nothing is written unless all of them are valid
    Apply(commands::apply::Args),
    /// Check manifests without a cluster
    Lint(commands::lint::Args),
    /// Change how many pods tiers have
    Scale(commands::scale::Args),
    /// Release a new version: a color and its images
    Deploy(commands::deploy::Args),
    /// Move a stage to a color, by default to the newest
    Promote(commands::promote::Args),
    /// Move a stage back, in the middle of a shift or after it
    Rollback(commands::rollback::Args),
    /// Hold a stage where it is
    Pause(commands::pause::Args),
    /// Let a held stage go on
    Resume(commands::pause::Args),
    /// End a shift by going back to where it came from
    Abort(commands::rollback::AbortArgs),
    /// Checks of a release: what was measured, what it waits for, and what has failed
    Gates(commands::gates::Args),
    /// Approve a color at a manual gate
    Approve(commands::approve::Args),
    /// Change how long a color may drain
    Drain(commands::drain::Args),
    /// Do not keep a color as a way back; with --force end its connections, too
    Retire(commands::retire::Args),
    /// Stages, colors, tiers and pods of an application; without a name all applications
    Status(commands::status::Args),
    /// All applications, one line each; `rainbow ls` is the same
    #[command(visible_alias = "ls")]
    List(commands::list::Args),
    /// Logs of an application's pods, each line behind the name of its pod
    Logs(commands::logs::Args),
    /// Open a stage in the browser
    Open(commands::open::Args),
    /// Why an application does not move or is not ready; of a color, what holds it, and what would free it
    Why(commands::why::Args),
    /// How two colors differ, tier by tier
    Diff(commands::diff::Args),
    /// Send requests to a stage and print the replies
    Query(commands::query::Args),
    /// Go on sending requests to a stage; a summary at the end
    Poll(commands::poll::Args),
    /// Run a command against a stage; by its exit code the stage goes on, or back
    Test(commands::test::Args),
    /// The colors there are and were: with which images, by whom, and why
    History(commands::history::Args),
    /// Delete an application with everything that was made for it
    Delete(commands::delete::Args),
    /// Show the whole story on a cluster of its own: two tiers, two versions, one upgrade under load
    Demo(commands::demo::Args),
    /// Print a completion script for a shell
    Completion(commands::completion::Args),
    /// Write manual pages
    Man(commands::man::Args),
    /// Print versions
    Version(commands::version::Args),
    /// What exit codes mean
    #[command(hide = true, long_about = EXIT_CODES)]
    ExitCodes,
    /// Print the reference of all commands as Markdown
    #[command(hide = true)]
    Docs,
}

/// Name of an application, and one of its stages.
#[derive(Clone, Debug, Args)]
pub(crate) struct StageArgs {
    /// Name of the Rainbow
    #[arg(value_parser = crate::which::rainbow_name, add = complete::rainbows())]
    pub(crate) name: String,
    /// Name of the stage (default: `active`, or the only one it can be)
    #[arg(long, value_name = "STAGE", add = complete::stages())]
    pub(crate) stage: Option<String>,
}

/// Settings of the counter's container for applications that have none of their own in `spec.drain.sidecar`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SidecarArgs {
    /// Requests and limits of the counter, such as `{limits: {memory: 32Mi}}` (default: small ones that fit the pod and the namespace)
    #[arg(long, value_name = "YAML", value_parser = object)]
    tally_resources: Option<Object>,
    /// Security context of the counter's container, such as `{runAsUser: 1000}` (default: what Pod Security `restricted` asks for)
    #[arg(long, value_name = "YAML", value_parser = object)]
    tally_security_context: Option<Object>,
    /// Whether the counter is a native sidecar or a plain container (default: true)
    #[arg(long, value_name = "BOOL")]
    tally_native: Option<bool>,
}

/// Map of fields.
#[derive(Clone, Debug)]
struct Object(Value);

fn object(text: &str) -> Result<Object, String> {
    match serde_saphyr::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(Object(value)),
        Ok(_) | Err(_) => Err("it is no map of fields: write YAML or JSON, such as `{limits: {memory: 32Mi}}`".into()),
    }
}

impl SidecarArgs {
    /// Returns the settings, or fails with the first error in them.
    pub(crate) fn settings(self) -> Result<SidecarSettings, Error> {
        let settings = SidecarSettings {
            resources: self.tally_resources.map(|Object(value)| value),
            security_context: self.tally_security_context.map(|Object(value)| value),
            native: self.tally_native,
        };
        match validate_sidecar("--tally", &settings).into_iter().next() {
            Some(error) => Err(Error::Usage(error.to_string())),
            None => Ok(settings),
        }
    }
}

/// Whether and how long a command waits.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct WaitArgs {
    /// Wait until it is done, and say what for
    #[arg(long)]
    pub(crate) wait: bool,
    /// Longest wait, such as 90s or 10m; 0 is no limit (default: 10m, or twice the time that the slowest stage's own steps take)
    #[arg(long, value_name = "TIME", requires = "wait")]
    pub(crate) timeout: Option<rainbow_api::HumanDuration>,
}

impl WaitArgs {
    /// Returns the longest wait for an application.
    pub(crate) fn limit(&self, rainbow: &rainbow_api::Rainbow) -> rainbow_api::HumanDuration {
        self.timeout.unwrap_or_else(|| crate::pace::patience(rainbow))
    }
}

/// Reason that a user gives for a change.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct MessageArgs {
    /// Why, in a sentence that `rainbow history` shows
    #[arg(short, long, value_name = "TEXT", value_parser = crate::cause::message)]
    pub(crate) message: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Fails where an argument of a command has the id of a global one: clap finds arguments by their id.
    fn check(command: &clap::Command, global: &[String]) {
        for child in command.get_subcommands() {
            for argument in child.get_arguments() {
                let id = argument.get_id().as_str();
                assert!(!global.iter().any(|other| other == id), "`{id}` of `{}` is global", child.get_name());
            }
            check(child, global);
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        let command = Cli::command();
        let global: Vec<String> = command.get_arguments().map(|argument| argument.get_id().to_string()).collect();
        assert!(global.iter().any(|id| id == "context"));
        check(&command, &global);
        command.debug_assert();
    }
}
