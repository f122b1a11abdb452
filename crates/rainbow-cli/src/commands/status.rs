//! `rainbow status`: the application as a tree.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    context::Context,
    error::{Error, Result},
    observe::Observer,
    output::{self, Format},
    printer::Screen,
    tree,
    view::View,
};

/// Shortest time between two drawings.
const REDRAW: Duration = Duration::from_millis(100);
/// Countdowns go on without any event.
const TICK: Duration = Duration::from_secs(1);

/// Arguments of `rainbow status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the Rainbow
    #[arg(add = crate::complete::rainbows())]
    name: String,
    /// Go on showing it as it changes
    #[arg(short, long)]
    watch: bool,
    /// Form of the answer
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let mut observer = Observer::start(&cluster, &args.name).await?;
    let mut screen = Screen::default();
    let mut last = String::new();
    loop {
        let Some(world) = observer.world() else {
            return Err(Error::NotFound(format!("rainbow `{}` was deleted", args.name)));
        };
        let view = View::new(&world);
        let stages = view.stages.iter();
        let names = stages.map(|stage| format!("{}={}", stage.name, stage.color.as_deref().unwrap_or("")));
        let printed = match args.output {
            Some(Format::Json | Format::Yaml | Format::Name) => {
                let text = output::json(&view)?;
                text == last || {
                    last = text;
                    output::print(context.printer, args.output, &view, names)?
                }
            }
            Some(Format::Wide) | None => false,
        };
        if !printed {
            let text = tree::draw(&view, args.output == Some(Format::Wide), Timestamp::now());
            if text != last {
                screen.draw(context.printer, &text);
                last = text;
            }
        }
        if !args.watch {
            return Ok(());
        }
        tokio::time::sleep(REDRAW).await;
        tokio::select! {
            changed = observer.changed() => changed?,
            () = tokio::time::sleep(TICK), if context.printer.can_redraw() => {}
        }
    }
}
