//! Waiting: what for is said on the terminal in one line that is written over, elsewhere in a line for each change.

mod goals;
mod line;

use std::{pin::pin, time::Duration};

use jiff::Timestamp;
use rainbow_api::HumanDuration;

use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
    observe::Observer,
    view::{View, World},
    words,
};

pub(crate) use goals::{gone, ready, serves, serving};
pub(crate) use line::Line;

/// An operator that runs has seen a change long before this.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time from one countdown to the next.
const TICK: Duration = Duration::from_secs(1);

/// Whether what is waited for has come.
pub(crate) enum Progress {
    /// It has.
    Done,
    /// Not yet; what to show.
    Waiting(String),
    /// Not yet; what to show, and how long it takes from now on. The latter alone is no news.
    Counting(String, String),
    /// The operator has not seen the newest spec yet. Usually it has a moment later.
    Unseen,
    /// It will not come by itself.
    Never(String),
    /// The awaited state does not come before its user lets it.
    Held(String),
}

/// Waits until `check` says that it is done.
pub(crate) async fn until(
    context: &Context,
    cluster: &Cluster,
    name: &str,
    timeout: HumanDuration,
    mut check: impl FnMut(&World, &View) -> Progress,
) -> Result {
    let mut line = Line::new(context.printer);
    let waiting = async {
        let mut observer = Observer::start(cluster, name).await?;
        let mut unseen = pin!(tokio::time::sleep(PATIENCE));
        loop {
            let Some(world) = observer.world() else {
                return Err(Error::NotFound(format!("rainbow `{name}` was deleted meanwhile")));
            };
            match check(&world, &View::new(&world)) {
                Progress::Done => return Ok(()),
                Progress::Never(why) => return Err(Error::Stalled(words::aged(&why, Timestamp::now()))),
                Progress::Held(why) => return Err(Error::Held(words::aged(&why, Timestamp::now()))),
                Progress::Waiting(text) => line.show(&text, ""),
                Progress::Counting(text, countdown) => line.show(&text, &countdown),
                Progress::Unseen if unseen.is_elapsed() => line.show("waiting for the operator; is one running?", ""),
                Progress::Unseen => {}
            }
            tokio::select! {
                changed = observer.changed() => changed?,
                () = &mut unseen, if !unseen.is_elapsed() => {}
                () = tokio::time::sleep(TICK), if context.printer.is_live() => {}
            }
        }
    };
    limit(timeout, waiting).await.unwrap_or_else(|| {
        let last = words::aged(line.last(), Timestamp::now());
        let last = if last.is_empty() { String::new() } else { format!(": {last}") };
        Err(Error::TimedOut(format!("not done after {timeout}{last}")))
    })
}

/// Runs something with a limit; 0 is none. `None` when the time has passed.
pub(crate) async fn limit<T>(timeout: HumanDuration, work: impl Future<Output = T>) -> Option<T> {
    if timeout.0 == Duration::ZERO {
        return Some(work.await);
    }
    tokio::time::timeout(timeout.0, work).await.ok()
}

/// Waits until Ctrl-C at the longest. What goes on without this command, and how to stop it, is said then.
pub(crate) async fn interruptible(context: &Context, goes_on: &str, work: impl Future<Output = Result>) -> Result {
    tokio::select! {
        biased;
        result = work => result,
        _ = tokio::signal::ctrl_c() => {
            context.printer.progress(goes_on);
            Err(Error::Interrupted)
        }
    }
}
