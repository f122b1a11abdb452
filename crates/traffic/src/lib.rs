//! HTTP load client that knows nothing of the server it calls, and checks every reply.
//!
//! Entry point: [`Traffic::start`] runs a [`Load`], and [`Traffic::stop`] returns its [`Report`]. A load consists of three kinds
//! of clients at once, each as real clients behave:
//!
//! - new connections at a fixed rate, however long the replies take (an open loop: a slow server does not slow the load);
//! - clients that each open a new connection as soon as they have their reply (a closed loop: the highest rate there is);
//! - clients that keep their connection and send request after request on it.
//!
//! Every reply is counted by its body, with the times of the first and the last; every failure by its kind. A
//! [`Pattern`] finds replies that contradict themselves, such as a frontend of one version with a backend of another. A [`Rule`] also knows
//! callees that may be newer than their callers.
//!
//! | module | subject |
//! |---|---|
//! | `connection` | one connection, and requests on it |
//! | `failure` | kinds of failed requests |
//! | `pattern` | shape of a good reply |
//! | `recorder` | counts of all workers |
//! | `report` | result of a load |
//! | `rule` | pattern and versions by which replies are judged |
//! | `target` | address of the server |
//! | `versions` | order of versions, and which may serve one request together |
//! | `workers` | the three kinds of load |

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

/// Check that judges the body of a reply with a 2xx status.
pub type Check = Arc<dyn Fn(&str) -> Verdict + Send + Sync>;
/// Callback for every request as it ends.
pub type Listener = Arc<dyn Fn(&Outcome) + Send + Sync>;

/// Outcome of a request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// End of the request, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Time from when the request was due to its end.
    pub took: Duration,
    /// Body of the reply, or the reason why there is none.
    pub result: Result<String, Failure>,
    /// Verdict of the check on the body.
    pub verdict: Verdict,
}

/// Description of a load.
#[derive(Clone)]
pub struct Load {
    /// Server to call.
    pub target: Target,
    /// New connections per second, in an open loop. 0 means none.
    pub rate: f64,
    /// Clients in a closed loop, each with a new connection per request.
    pub closed: usize,
    /// Clients that keep their connection.
    pub keep_alive: usize,
    /// Pause of a keep-alive client between a reply and its next request.
    pub pause: Duration,
    /// Age at which a keep-alive client opens a new connection. With `None` it does so only when the server closes the old one.
    pub max_age: Option<Duration>,
    /// Longest time for a connection to open.
    pub connect_timeout: Duration,
    /// Longest time for a request, connecting included.
    pub timeout: Duration,
    /// Duration of the load. With `None`, [`Traffic::stop`] ends it.
    pub duration: Option<Duration>,
    /// Check of replies. With `None`, every 2xx is good.
    pub check: Option<Check>,
    /// Callback for every request.
    pub listener: Option<Listener>,
}

impl Load {
    /// Creates a load without clients yet, with timeouts of 5 s (connecting) and 10 s (in all).
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

/// Running load.
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

    /// Returns a report of everything seen so far.
    pub fn report(&self) -> Report {
        self.recorder.report()
    }

    /// Waits until the load ends by itself, after its duration.
    pub async fn finished(&self) {
        self.tasks.wait().await;
    }

    /// Starts no new request, waits for the outstanding replies, and returns the final report.
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

/// Sends one request on a connection of its own and returns the body of the reply.
///
/// # Errors
/// When the reply is no 2xx, or none arrives.
pub async fn get(target: &Target, timeout: Duration) -> Result<String, Failure> {
    connection::get_once(target, timeout, timeout).await
}

/// Raises this process's limit of open files to the highest allowed: the usual soft limit of 1024 is too small for a load.
/// A failure is ignored: a load that needs more files than allowed reports [`FailureKind::Local`].
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}
