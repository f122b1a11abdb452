//! `rainbow delete`: deletes an application with everything that was made for it.

use kube::api::DeleteParams;
use rainbow_api::Rainbow;

use crate::{
    args::WaitArgs,
    context::Context,
    error::{Error, Result},
    pace, wait,
};

/// Arguments of `rainbow delete`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("wait", |arg| arg.help("Wait until it is gone, with all its pods")))]
pub(crate) struct Args {
    /// Name of the Rainbow
    #[arg(value_parser = crate::which::rainbow_name, add = crate::complete::rainbows())]
    name: String,
    /// It is fine if there is no such Rainbow
    #[arg(long)]
    ignore_not_found: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    match cluster.rainbow(&args.name).await {
        Ok(_) => {}
        Err(Error::NotFound(_)) if args.ignore_not_found => return Ok(()),
        Err(error) => return Err(error),
    }
    match cluster.api::<Rainbow>().delete(&args.name, &DeleteParams::default()).await {
        Ok(_) => {}
        // Another client has deleted the Rainbow between the two requests.
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(cluster.error(&error)),
    }
    if args.wait.wait {
        let limit = args.wait.timeout.unwrap_or_else(pace::usual);
        wait::gone(context, &cluster, &args.name, limit).await?;
        context.printer.line(format_args!("rainbow.rainbow.dev/{} deleted", args.name));
    } else {
        context.printer.line(format_args!("rainbow.rainbow.dev/{} is being deleted", args.name));
    }
    Ok(())
}
