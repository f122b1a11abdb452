//! `rainbow open`: opens the address of a stage in the browser.

use std::{
    env,
    io::{self, IsTerminal},
    process::Stdio,
};

use tokio::process::Command;

use crate::{
    args::StageArgs,
    context::Context,
    error::{Error, Result},
    reach::{self, Way},
    stage,
};

/// Arguments of `rainbow open`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    stage: StageArgs,
    #[command(flatten)]
    way: Way,
    /// Only print the address
    #[arg(long)]
    print: bool,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let rainbow = cluster.rainbow(&args.stage.name).await?;
    let stage = stage::choose(&rainbow, args.stage.stage.as_deref())?;
    let reached = reach::stage(context, &cluster, &rainbow, &stage.name, &args.way).await?;
    let shows = io::stdout().is_terminal() && !args.print;
    if reached.is_tunnel() && !shows {
        let service = &stage::status(&rainbow, &stage.name)?.service;
        return Err(Error::Failed(format!(
            "stage `{}` has no address that this machine reaches: in a terminal `rainbow open {}` keeps a tunnel to it, and \
             `kubectl port-forward service/{service}` another",
            stage.name, args.stage.name
        )));
    }
    context.printer.line(&reached.url);
    if !shows {
        return Ok(());
    }
    if let Some(program) = browser() {
        let mut command = Command::new(program);
        command.arg(&reached.url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.status().await {
            Ok(status) if status.success() => {}
            Ok(_) => context.printer.warning(format_args!("`{program}` has not opened it: open it yourself")),
            Err(error) => context.printer.warning(format_args!("cannot run `{program}`: {error}; open it yourself")),
        }
    }
    if reached.is_tunnel() {
        context.printer.progress("through the API; Ctrl-C ends it");
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Returns the program that opens an address in the user's browser. `None`: there is no screen.
fn browser() -> Option<&'static str> {
    let has = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    match cfg!(target_os = "macos") {
        true => Some("open"),
        false => ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER"].into_iter().any(has).then_some("xdg-open"),
    }
}
