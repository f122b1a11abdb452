//! An HTTP load client that knows nothing of what it calls, and checks every reply.
//!
//! It can do three kinds of load at once, each as real clients do it:
//!
//! - new connections at a fixed rate, whatever the replies take (an open loop: a slow server does not slow the load);
//! - clients that each open a new connection as soon as they have their reply (a closed loop: the highest rate there is);
//! - clients that keep their connection and send request after request on it.
//!
//! Every reply is counted by its body, with the times of the first and the last; every failure by its kind. A
//! [`Pattern`] finds replies that contradict themselves, such as a frontend of one version with a backend of another. A [`Rule`] also knows
//! callees that may be newer than their callers.

mod connection;
mod failure;
mod pattern;
mod recorder;
mod report;
mod rule;
mod target;
mod versions;
mod workers;

use std::{sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use failure::{Failure, FailureKind};
pub use pattern::{Pattern, PatternError, Verdict};
pub use report::{FailureTally, Latency, ReplyTally, Report, Sample};
pub use rule::Rule;
pub use target::{Target, TargetError};
pub use versions::{Compatible, Order};

use recorder::Recorder;

/// Judges the body of a reply whose status was 2xx.
pub type Check = Arc<dyn Fn(&str) -> Verdict + Send + Sync>;
/// Hears of every request as it ends.
pub type Listener = Arc<dyn Fn(&Outcome) + Send + Sync>;

/// How a request ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When it ended, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// From when it was due to its end.
    pub took: Duration,
    /// The body of the reply, or why there is none.
    pub result: Result<String, Failure>,
    /// What the check thought of the body.
    pub verdict: Verdict,
}

/// What to send.
#[derive(Clone)]
pub struct Load {
    /// Where to.
    pub target: Target,
    /// New connections per second, in an open loop. 0: none.
    pub rate: f64,
    /// Clients in a closed loop, each with a new connection per request.
    pub closed: usize,
    /// Clients that keep their connection.
    pub keep_alive: usize,
    /// Pause of a keep-alive client between a reply and its next request.
    pub pause: Duration,
    /// A keep-alive client opens a new connection when its own is this old. `None`: only when the server closes it.
    pub max_age: Option<Duration>,
    /// Longest time for a connection to open.
    pub connect_timeout: Duration,
    /// Longest time for a request, connecting included.
    pub timeout: Duration,
    /// Ends the load. `None`: [`Traffic::stop`] does.
    pub duration: Option<Duration>,
    /// Judges replies. `None`: all 2xx are good.
    pub check: Option<Check>,
    /// Hears of every request.
    pub listener: Option<Listener>,
}

impl Load {
    /// No load yet, with timeouts of 5 s (connecting) and 10 s (in all).
    pub fn new(target: Target) -> Self {
        Self {
            target,
            rate: 0.0,
            closed: 0,
            keep_alive: 0,
            pause: Duration::from_millis(10),
            max_age: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            duration: None,
            check: None,
            listener: None,
        }
    }
}

/// A load under way.
pub struct Traffic {
    recorder: Arc<Recorder>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Traffic {
    /// Starts a load on the current tokio runtime.
    pub fn start(load: Load) -> Self {
        let recorder = Arc::new(Recorder::new(load.check.clone(), load.listener.clone()));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        workers::spawn(Arc::new(load), &recorder, &stop, &tasks);
        tasks.close();
        Self { recorder, stop, tasks }
    }

    /// What was seen so far.
    pub fn report(&self) -> Report {
        self.recorder.report()
    }

    /// Waits until the load ends by itself, as its duration says.
    pub async fn finished(&self) {
        self.tasks.wait().await;
    }

    /// Starts nothing new, waits for the replies still under way, and tells everything that was seen.
    pub async fn stop(self) -> Report {
        self.stop.cancel();
        self.tasks.wait().await;
        self.recorder.report()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Sends one request on a connection of its own and tells the body of the reply.
///
/// # Errors
/// Every reply that is no 2xx, and every way to get none, is a [`Failure`].
pub async fn get(target: &Target, timeout: Duration) -> Result<String, Failure> {
    connection::get_once(target, timeout, timeout).await
}

/// Lets this process open as many sockets as the system allows it to: the usual soft limit of 1024 is too small for a load.
/// It tries only: a load that needs more than it gets reports [`FailureKind::Local`].
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}
