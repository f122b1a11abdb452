//! The `rainbow` command, also known to kubectl as `kubectl rainbow`: installs Rainbow, releases applications, and shows what they do.
//!
//! The entry point is `main`: it reads the arguments (`args`), makes a `context::Context`, and runs the command's module in `commands`.
//!
//! | module | subject |
//! |---|---|
//! | `args` | arguments of the command line |
//! | `cause` | reasons of releases and moves, in annotations |
//! | `commands` | commands, one module for each |
//! | `complete` | completion of names in a shell |
//! | `context` | basis of every command: the printer, and the way to the cluster |
//! | `docs` | reference of all commands as Markdown |
//! | `error` | errors and exit codes |
//! | `evidence` | connections of pods, asked for now |
//! | `examples` | examples in the help |
//! | `gates` | gates and steps of a stage: what a shift waits for, and what ends that |
//! | `git` | color names from git |
//! | `golden` | golden files of tests |
//! | `hold` | holds of stages |
//! | `live` | line of the terminal that shows the current activity |
//! | `local` | embedded cluster: the only user of pocket beside the commands `local` and `image` |
//! | `manifest` | manifests: read, split and checked |
//! | `observe` | watches of one application |
//! | `operators` | operators that act in a cluster |
//! | `output` | answers for programs (`-o`) |
//! | `ownership` | managed fields that `apply` and `deploy` write |
//! | `pace` | time that a stage takes to move |
//! | `paint` | terminal colors of color names |
//! | `patch` | patches of single fields of a Rainbow |
//! | `printer` | output, styles and tables |
//! | `reach` | ways to a stage from this machine |
//! | `refusal` | refusals of a release, found before it is written |
//! | `release` | name of a release, and its placeholder |
//! | `stage` | choice of a stage, and its state |
//! | `terminal` | size and characters of the terminal |
//! | `tree` | drawing of an application |
//! | `view` | state of an application, from its objects |
//! | `wait` | waits of `--wait` |
//! | `which` | choice of a color |
//! | `words` | numbers and times in sentences |

mod args;
mod cause;
mod commands;
mod complete;
mod context;
mod docs;
mod error;
mod evidence;
mod examples;
mod gates;
mod git;
#[cfg(test)]
mod golden;
mod hold;
mod live;
mod local;
mod manifest;
mod observe;
mod operators;
mod output;
mod ownership;
mod pace;
mod paint;
mod patch;
mod printer;
mod reach;
mod refusal;
mod release;
mod stage;
mod terminal;
mod tree;
mod view;
mod wait;
mod which;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command};
use context::Context;
use error::{EXIT_CODES, Error, Result};
use printer::Printer;

fn main() -> ExitCode {
    // The local cluster's processes are this program again, and do not return from this call.
    local::entry();
    complete::answer();
    let matches = command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let printer = Printer::new(cli.global.ansi, cli.global.quiet, cli.global.verbose);
    let result = run(cli, printer);
    live::clear();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A user who pressed Ctrl-C knows why the command has ended.
            if ![Error::Reported, Error::Found, Error::Interrupted].contains(&error) {
                printer.error(&error);
            }
            ExitCode::from(error.code())
        }
    }
}

/// Returns the command line, under the name by which it was called: kubectl runs its plugin `rainbow` as `kubectl-rainbow`.
fn command() -> clap::Command {
    let command = examples::added(Cli::command());
    let called = std::env::args_os().next().map(std::path::PathBuf::from);
    let called = called.as_ref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
    if called == Some("kubectl-rainbow") { command.bin_name("kubectl rainbow") } else { command }
}

fn run(cli: Cli, printer: Printer) -> Result {
    let context = Context {
        printer,
        kubeconfig: cli.global.kubeconfig,
        context: cli.global.context,
        namespace: cli.global.namespace,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::failed("cannot start", error))?;
    runtime.block_on(async {
        // The activity has a task of its own, because some commands do their work without waiting for anything.
        tokio::spawn(live::watch());
        // A command that has to clean up listens to Ctrl-C itself; any other command ends by it.
        match cli.command {
            Command::Local(args) => commands::local::run(&context, args).await,
            Command::Operator(args) => commands::operator::run(&context, args).await,
            Command::Poll(args) => commands::poll::run(&context, args).await,
            Command::Demo(args) => commands::demo::run(&context, args).await,
            other => tokio::select! {
                // The command is polled first: Ctrl-C before its first wait, such as while it reads standard input, must end the process by the
                // signal itself. From the first wait on this program handles the signal, and only a waiting command can be ended.
                biased;
                result = short(&context, other) => result,
                _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
            },
        }
    })
}

async fn short(context: &Context, command: Command) -> Result {
    match command {
        Command::Image(args) => commands::image::run(context, args).await,
        Command::Install(args) => commands::install::run(context, args).await,
        Command::Uninstall(args) => commands::uninstall::run(context, args).await,
        Command::Apply(args) => commands::apply::run(context, args).await,
        Command::Lint(args) => commands::lint::run(context, args).await,
        Command::Scale(args) => commands::scale::run(context, args).await,
        Command::Deploy(args) => commands::deploy::run(context, args).await,
        Command::Promote(args) => commands::promote::run(context, args).await,
        Command::Rollback(args) => commands::rollback::run(context, args).await,
        Command::Abort(args) => commands::rollback::abort(context, args).await,
        Command::Pause(args) => commands::pause::run(context, args, true).await,
        Command::Resume(args) => commands::pause::run(context, args, false).await,
        Command::Gates(args) => commands::gates::run(context, args).await,
        Command::Approve(args) => commands::approve::run(context, args).await,
        Command::Drain(args) => commands::drain::run(context, args).await,
        Command::Retire(args) => commands::retire::run(context, args).await,
        Command::List(args) => commands::list::run(context, args).await,
        Command::Status(args) => commands::status::run(context, args).await,
        Command::Query(args) => commands::query::run(context, args).await,
        Command::Logs(args) => commands::logs::run(context, args).await,
        Command::Open(args) => commands::open::run(context, args).await,
        Command::Why(args) => commands::why::run(context, args).await,
        Command::Diff(args) => commands::diff::run(context, args).await,
        Command::Test(args) => commands::test::run(context, args).await,
        Command::History(args) => commands::history::run(context, args).await,
        Command::Delete(args) => commands::delete::run(context, args).await,
        Command::Completion(args) => commands::completion::run(context, &args),
        Command::Man(args) => commands::man::run(context, &args),
        Command::Version(args) => commands::version::run(context, args).await,
        Command::ExitCodes => {
            context.printer.line(EXIT_CODES);
            Ok(())
        }
        Command::Docs => {
            context.printer.text(docs::markdown(self::command()));
            Ok(())
        }
        // Commands that handle Ctrl-C themselves are started in `run`.
        Command::Local(_) | Command::Operator(_) | Command::Poll(_) | Command::Demo(_) => Ok(()),
    }
}
