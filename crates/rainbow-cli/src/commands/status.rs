//! `rainbow status`: shows one application as a tree, or lists all of them.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    commands::list,
    context::Context,
    error::{Error, Result},
    observe::{Observer, Resizes},
    output::{self, Format},
    printer::Screen,
    terminal::Room,
    tree::{self, Look},
    view::View,
    which,
};

/// Shortest time between two drawings.
const REDRAW: Duration = Duration::from_millis(100);
/// Time between two drawings without any event: countdowns change by themselves.
const TICK: Duration = Duration::from_secs(1);

/// Arguments of `rainbow status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the Rainbow (default: all, as `rainbow list`)
    #[arg(value_parser = which::rainbow_name, add = crate::complete::rainbows())]
    name: Option<String>,
    /// All pods, also those to which nothing happens
    #[arg(long, requires = "name")]
    pods: bool,
    #[command(flatten)]
    list: list::Args,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let Some(name) = args.name else { return list::run(context, args.list).await };
    list::only_of_all(&args.list)?;
    let output = args.list.output;
    let cluster = context.cluster().await?;
    let mut observer = Observer::start(&cluster, &name).await?;
    let mut resized = Resizes::new()?;
    let mut screen = Screen::default();
    let mut last = String::new();
    loop {
        let Some(world) = observer.world() else {
            return Err(Error::NotFound(format!("rainbow `{name}` was deleted")));
        };
        let view = View::new(&world);
        let stages = view.stages.iter();
        let names = stages.map(|stage| format!("{}={}", stage.name, stage.color.as_deref().unwrap_or("")));
        let printed = match output {
            Some(Format::Json | Format::Yaml | Format::Name) => {
                let text = output::json(&view)?;
                text == last || {
                    last = text;
                    output::print(context.printer, output, &view, names)?
                }
            }
            Some(Format::Wide) | None => false,
        };
        if !printed {
            let room = Room::of_stdout();
            let look = Look { wide: output == Some(Format::Wide), pods: args.pods, room };
            let text = tree::draw(&view, &look, Timestamp::now());
            if !args.list.watch {
                context.printer.drawn(&text);
            } else if resized.is_new() || text != last {
                screen.draw(context.printer, &text);
                last = text;
            }
        }
        if !args.list.watch {
            return Ok(());
        }
        tokio::time::sleep(REDRAW).await;
        tokio::select! {
            changed = observer.changed() => changed?,
            () = resized.next() => screen.resized(),
            () = tokio::time::sleep(TICK), if context.printer.can_redraw() => {}
        }
    }
}
