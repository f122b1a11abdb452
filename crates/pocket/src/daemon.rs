//! Daemon of the cluster, from its hidden argument to its end.

use std::{
    fs,
    future::Future,
    io::{self, Write},
    path::PathBuf,
    pin::Pin,
    time::Duration,
};

use pocket_node::namespaces::{Entered, Inside, enter};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    arguments::{Arguments, HIDDEN},
    cluster::Cluster,
    files::{self, Files},
    lock::{self, Lock, Record},
    progress::{Audience, Message},
};

/// Number of threads of the runtime that serves the API. The load of a development cluster is small, and each thread costs memory.
const WORKERS: usize = 2;
const MAX_BLOCKING: usize = 8;

/// Inputs of a program that runs in the daemon beside the cluster.
#[derive(Clone)]
pub struct Context {
    /// Client of the cluster, inside the process.
    pub client: kube::Client,
    /// Token that is cancelled when the cluster ends.
    pub shutdown: CancellationToken,
    /// State directory of the cluster.
    pub state_dir: PathBuf,
    /// [`Options::proxy_delay`](crate::Options::proxy_delay) of this cluster.
    pub proxy_delay: Duration,
}

/// Second part of an [`Extra`]: runs until it ends or the cluster ends.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Program beside the cluster, in two parts. The first part installs things; the cluster counts as ready only after it. The
/// future that it returns is the second part, which continues to run. An error of the first part stops the cluster with its text.
pub type Extra = fn(Context) -> Pin<Box<dyn Future<Output = Result<Running, String>> + Send>>;

/// Runs no program beside the cluster.
pub fn nothing_else(_: Context) -> Pin<Box<dyn Future<Output = Result<Running, String>> + Send>> {
    Box::pin(async { Ok(Box::pin(async {}) as Running) })
}

/// Becomes the cluster's daemon if this process was started as one, and does not return then. Otherwise does nothing.
///
/// Must be the first call in `main`: the daemon forks, which is possible only while the process has one thread.
pub fn entry(extra: Extra) {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != HIDDEN) {
        return;
    }
    let parsed = arguments.next().and_then(|text| serde_json::from_str(text.to_str()?).ok());
    let Some(arguments) = parsed else {
        eprintln!("{HIDDEN} is for internal use");
        std::process::exit(2);
    };
    let code = run(&arguments, extra);
    // Exit instead of return: running tasks end with the process, and its pods with it.
    std::process::exit(code.into())
}

/// Exit code of the daemon.
type Code = u8;

fn run(arguments: &Arguments, extra: Extra) -> Code {
    match start(arguments, extra) {
        Ok(code) => code,
        Err(message) => {
            // Standard error is the log or the terminal. The disk of the log may be full, so the write may fail.
            let _ = writeln!(io::stderr(), "error: {message}");
            if arguments.audience == Audience::Program {
                let _ = arguments.audience.send(&Message::Failed(message));
            }
            1
        }
    }
}

fn start(arguments: &Arguments, extra: Extra) -> Result<Code, String> {
    let files = Files::new(&arguments.state_dir);
    if arguments.audience == Audience::Program {
        // A session of its own lets the daemon outlive the terminal in which it was started.
        let _ = rustix::process::setsid();
    }
    // The receiver of the message adds that the cluster cannot start.
    let text = |error: Error| match error {
        Error::Failed { message, .. } => message,
        other => other.to_string(),
    };
    files.create().map_err(text)?;
    let Some(lock) = lock::take(&files).map_err(text)? else {
        let _ = arguments.audience.send(&Message::Already);
        return Ok(0);
    };
    let record = Record { pid: std::process::id(), server: None, started: jiff::Timestamp::now() };
    record.write(&files).map_err(text)?;
    let _ = std::env::set_current_dir("/");
    match enter().map_err(|error| error.to_string())? {
        Entered::Outside(code) => {
            let _ = fs::remove_file(files.record());
            Ok(code)
        }
        Entered::Inside(inside) => {
            log(arguments.audience);
            Server { files, record, inside, lock, extra }.run(arguments).map_err(text)
        }
    }
}

/// Sends log messages to standard error, which is the log file or the terminal.
fn log(audience: Audience) {
    let level = match std::env::var("POCKET_LOG").ok().and_then(|level| level.parse().ok()) {
        Some(level) => level,
        None if audience == Audience::Person => tracing::Level::WARN,
        None => tracing::Level::INFO,
    };
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(audience == Audience::Person)
        .try_init();
}

/// Inner process before it runs.
struct Server {
    files: Files,
    record: Record,
    inside: Inside,
    lock: Lock,
    extra: Extra,
}

impl Server {
    fn run(self, arguments: &Arguments) -> Result<Code, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(MAX_BLOCKING)
            .enable_all()
            .build()
            .map_err(Error::file("start threads for", self.files.dir()))?;
        runtime.block_on(self.serve(arguments))
    }

    async fn serve(self, arguments: &Arguments) -> Result<Code, Error> {
        let Self { files, record, inside, lock, extra } = self;
        let audience = arguments.audience;
        let shutdown = stop_signals(&files)?;
        // When the waiting `up` has given up, the cluster is of no use and ends.
        let send = |message: Message| {
            if audience.send(&message).is_err() {
                shutdown.cancel();
            }
        };
        let step = |step: &str| send(Message::Step(step.to_owned()));
        let cluster = tokio::select! {
            started = Cluster::start(&files, arguments, inside, &shutdown, &step) => started,
            () = shutdown.cancelled() => return Ok(0),
        };
        let mut cluster = cluster?;
        let context = Context {
            client: cluster.client(),
            shutdown: shutdown.clone(),
            state_dir: files.dir().to_owned(),
            proxy_delay: arguments.proxy_delay,
        };
        let running = tokio::select! {
            running = extra(context) => running,
            () = shutdown.cancelled() => Ok(Box::pin(async {}) as Running),
        };
        let running =
            running.map_err(|message| Error::Failed { message, log_tail: String::new(), log: files.log() })?;
        let running = tokio::spawn(running);

        let ready = Record { server: Some(cluster.server()), ..record };
        ready.write(&files)?;
        send(Message::Ready(ready));
        if audience == Audience::Program {
            forget_output();
        }
        tracing::info!("ready");

        let code = tokio::select! {
            () = shutdown.cancelled() => 0,
            why = cluster.failed() => {
                tracing::error!("{why}");
                1
            }
        };
        tracing::info!("ending");
        shutdown.cancel();
        cluster.end().await;
        running.abort();
        let _ = files::remove_all(&files.containers());
        // The lock is held until here, so the next holder finds no leftovers of this daemon.
        drop(lock);
        Ok(code)
    }
}

/// Returns a token that is cancelled by the signals that ask a daemon to end.
fn stop_signals(files: &Files) -> Result<CancellationToken, Error> {
    let token = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).map_err(Error::file("listen to signals for", files.dir()))?;
        let token = token.clone();
        tokio::spawn(async move {
            signals.recv().await;
            token.cancel();
        });
    }
    Ok(token)
}

/// Closes the pipe to the waiting `up`.
fn forget_output() {
    let null = fs::File::options().write(true).open("/dev/null");
    if let Ok(null) = null {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}
