//! Start of the daemon, and its state.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use crate::{
    Error, Options,
    arguments::{Arguments, HIDDEN},
    files::Files,
    lock::{self, Record},
    progress::{Audience, Message},
};

/// Interval in which a second `up` checks whether the first one's cluster is ready. Only that case polls.
const LOOK: Duration = Duration::from_millis(20);

/// Cluster that is up.
#[derive(Clone, Debug)]
pub struct Up {
    /// Whether the cluster was up before.
    pub already: bool,
    /// Path of the kubeconfig.
    pub kubeconfig: PathBuf,
    /// Address of the API server, such as `https://127.0.0.1:6443`.
    pub server: String,
    /// Process of the daemon.
    pub pid: u32,
    /// Time at which the daemon started.
    pub started: jiff::Timestamp,
}

/// State of a cluster.
#[derive(Clone, Debug)]
pub enum Status {
    /// Ready cluster.
    Up(Up),
    /// Daemon that is not ready, or is ending.
    Starting {
        /// Process of the daemon, if it is known.
        pid: Option<u32>,
    },
    /// No daemon runs, and what is in the cluster is kept for the next one.
    Stopped,
    /// No daemon runs, and nothing is in the cluster.
    Down,
}

/// Returns whether a cluster is up.
///
/// # Errors
/// Fails when the state directory cannot be read.
pub fn status(state_dir: &std::path::Path) -> Result<Status, Error> {
    let files = Files::new(state_dir);
    if !lock::is_held(&files)? {
        return Ok(if files.cluster().exists() { Status::Stopped } else { Status::Down });
    }
    Ok(match Record::read(&files) {
        // A killed daemon may still be ending.
        Some(Record { pid, server: Some(server), started }) if lock::is_alive(pid) => {
            Status::Up(Up { already: true, kubeconfig: files.kubeconfig(), server, pid, started })
        }
        record => Status::Starting { pid: record.map(|record| record.pid) },
    })
}

/// Starts the cluster unless it is up, and waits until its API answers and its node is ready. Reports the steps to `progress`.
///
/// With [`Options::foreground`] this process becomes the daemon, and the call returns only if it fails.
///
/// # Errors
/// Fails when the daemon cannot start or is not ready in time; the message has the end of its log.
pub fn up(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Up, Error> {
    let files = Files::new(options.checked_dir()?);
    files.create()?;
    let deadline = Instant::now() + options.timeout;
    loop {
        match status(files.dir())? {
            Status::Up(up) => return Ok(up),
            Status::Starting { .. } => {
                wait_for_other(&files, options, deadline, progress)?;
                continue;
            }
            Status::Stopped | Status::Down => {}
        }
        if let Some(up) = start(&files, options, deadline, progress)? {
            return Ok(up);
        }
    }
}

/// Starts the daemon; returns `None` if another one was faster.
fn start(
    files: &Files,
    options: &Options,
    deadline: Instant,
    progress: &mut dyn FnMut(&str),
) -> Result<Option<Up>, Error> {
    let log = files.open_log()?;
    let log_start = log.metadata().map_or(0, |meta| meta.len());
    let arguments = |audience| Arguments {
        state_dir: files.dir().to_owned(),
        name: options.name.clone(),
        address: options.address,
        api_port: options.api_port,
        proxy_delay: options.proxy_delay,
        audience,
    };
    let daemon = |audience| -> Result<Command, Error> {
        let arguments = serde_json::to_string(&arguments(audience))
            .map_err(|error| Error::file("name", files.dir())(error.into()))?;
        // The same program, even if its file was replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("pocket").arg(HIDDEN).arg(arguments);
        // Each arena of the allocator costs memory that an idle cluster does not need.
        command.env("MALLOC_ARENA_MAX", "2");
        Ok(command)
    };
    let cannot_run = |error| Error::file("execute", "/proc/self/exe")(error);
    if options.foreground {
        return Err(cannot_run(daemon(Audience::Person)?.stdin(Stdio::null()).exec()));
    }
    let child = daemon(Audience::Program)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(cannot_run)?;
    Starting { files, options, deadline, log_start }.wait(child, progress)
}

/// Daemon that was started here.
struct Starting<'a> {
    files: &'a Files,
    options: &'a Options,
    deadline: Instant,
    log_start: u64,
}

impl Starting<'_> {
    fn wait(self, mut child: Child, progress: &mut dyn FnMut(&str)) -> Result<Option<Up>, Error> {
        let messages = messages(child.stdout.take());
        let mut step = "starting".to_owned();
        loop {
            match messages.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
                Ok(Message::Step(next)) => {
                    progress(&next);
                    step = next;
                }
                Ok(Message::Ready(record)) => {
                    return Ok(Some(Up {
                        already: false,
                        kubeconfig: self.files.kubeconfig(),
                        server: record.server.unwrap_or_default(),
                        pid: record.pid,
                        started: record.started,
                    }));
                }
                Ok(Message::Already) => {
                    let _ = child.wait();
                    return Ok(None);
                }
                Ok(Message::Failed(message)) => {
                    let _ = child.wait();
                    // The message is complete, so the end of the log, which may contain earlier steps, is left out.
                    return Err(self.failed(message, String::new()));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let how = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                    let tail = self.files.log_tail(self.log_start);
                    return Err(self.failed(format!("its process ended ({how}) after the step: {step}"), tail));
                }
                Err(RecvTimeoutError::Timeout) => {
                    // No one would know of this daemon, so it is killed with everything that it has started.
                    let _ = child.kill();
                    let _ = child.wait();
                    let log_tail = self.files.log_tail(self.log_start);
                    return Err(Error::Timeout { after: self.options.timeout, step, log_tail, log: self.files.log() });
                }
            }
        }
    }

    fn failed(&self, message: String, log_tail: String) -> Error {
        Error::Failed { message, log_tail, log: self.files.log() }
    }
}

/// Returns messages from a pipe, until it closes.
fn messages(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Message> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = pipe.map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok);
        for message in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
            if sender.send(message).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Waits while another daemon is starting or ending. A cluster that another `up` has started is as good as a new one.
fn wait_for_other(
    files: &Files,
    options: &Options,
    deadline: Instant,
    progress: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    let step = "waiting for another `up` or `down`";
    progress(step);
    while let Status::Starting { .. } = status(files.dir())? {
        if Instant::now() > deadline {
            let log_tail = files.log_tail(0);
            return Err(Error::Timeout { after: options.timeout, step: step.to_owned(), log_tail, log: files.log() });
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
