//! Waiting for a state: the goal is shown on the terminal in one line that is drawn over, elsewhere in a line for each change.

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

/// Time after which the line asks whether an operator runs: one that runs has seen a change long before.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time from one countdown to the next.
const TICK: Duration = Duration::from_secs(1);

/// Progress of a wait.
pub(crate) enum Progress {
    /// The awaited state has come.
    Done,
    /// The state has not come yet; the text to show.
    Waiting(String),
    /// The state has not come yet; the text to show, and the remaining time. A change of the latter alone is no news.
    Counting(String, String),
    /// The operator has not seen the newest spec yet, which usually takes a moment.
    Unseen,
    /// The state does not come by itself.
    Never(String),
    /// The state does not come before its user allows it.
    Held(String),
}

/// Waits until `check` returns that the state has come.
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

/// Runs a future with a time limit; 0 is none. `None`: the time has passed.
pub(crate) async fn limit<T>(timeout: HumanDuration, work: impl Future<Output = T>) -> Option<T> {
    if timeout.0 == Duration::ZERO {
        return Some(work.await);
    }
    tokio::time::timeout(timeout.0, work).await.ok()
}

/// Waits until Ctrl-C at the longest. On Ctrl-C, says what continues without this command, and how to stop it.
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
