//! Container runtime: pods and containers as the kubelet sees them.

use std::{
    collections::HashMap,
    fs, io,
    net::Ipv4Addr,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::{oneshot, watch};

use super::{
    Config, exec,
    forker::descriptors,
    identity::Ids,
    images, logs,
    process::{Process, Requests},
    protocol::{ExecRequest, Failure, Program, Report, Request, Root, SandboxRequest, StartRequest},
};
use crate::{
    network::{Addresses, Lease, POD_RANGE},
    runtime::{
        Container, ContainerSpec, ExecSession, ExecSpec, Exit, ImageDefaults, Runtime, RuntimeError, Sandbox,
        SandboxSpec,
    },
};

/// Limit of the wait for the last log lines of a container that has ended.
const LAST_LINES: Duration = Duration::from_secs(2);
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs pods in Linux namespaces. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Namespaces {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    requests: Requests,
    ids: Ids,
    config: Config,
    addresses: Addresses,
    /// Counter for names that were never used.
    counter: AtomicU32,
    /// Mount point of containers' roots; always empty outside the containers.
    target: PathBuf,
}

#[derive(Debug)]
pub struct PodSandbox {
    lease: Lease,
    hostname: String,
    user: OwnedFd,
    network: OwnedFd,
    host_name: OwnedFd,
    ipc: OwnedFd,
    /// Directory of the files that the pod's containers write.
    dir: PathBuf,
    /// Containers whose end has not been seen.
    running: Arc<Mutex<HashMap<u32, Running>>>,
}

impl Sandbox for PodSandbox {
    fn ip(&self) -> Ipv4Addr {
        self.lease.ip
    }
}

/// Running container. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Running {
    process: Process,
    exit: watch::Receiver<Option<Exit>>,
    program: Arc<Program>,
    runtime: Arc<Inner>,
}

impl Namespaces {
    pub(crate) fn new(requests: OwnedFd, ids: Ids, config: Config) -> io::Result<Self> {
        // Removes the leftovers of an earlier run that was killed.
        remove_all(&config.dir)?;
        let target = config.dir.join("root");
        fs::create_dir_all(&target)?;
        let requests = Requests::new(requests)?;
        let addresses = Addresses::new(POD_RANGE);
        Ok(Self { inner: Arc::new(Inner { requests, ids, config, addresses, counter: AtomicU32::new(0), target }) })
    }
}

impl Inner {
    fn number(&self) -> u32 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    async fn image(&self, image: &str) -> Result<images::PreparedImage, RuntimeError> {
        let (store, image) = (self.config.images.clone(), image.to_owned());
        blocking("read an image", move || images::prepare(&store, &image)).await?
    }
}

impl Runtime for Namespaces {
    type Sandbox = PodSandbox;
    type Container = Running;

    async fn sandbox(&self, spec: SandboxSpec) -> Result<PodSandbox, RuntimeError> {
        let inner = &self.inner;
        let lease = inner.addresses.take().ok_or_else(|| {
            Failure::node(format!("give pod {} an address of {POD_RANGE}", spec.pod))(io::Error::other(
                "all are in use",
            ))
        })?;
        let number = inner.number();
        let dir = inner.config.dir.join(&spec.uid);
        fs::create_dir_all(&dir).map_err(Failure::node(format!("make the directory {}", dir.display())))?;
        let hostname = spec.hostname;
        let request = SandboxRequest { hostname: hostname.clone(), ip: lease.ip, interface: format!("veth{number:x}") };
        let reports = inner.requests.send(&Request::Sandbox(request), &[]).await?;
        while let Some((report, fds)) = reports.next().await? {
            match report {
                Report::Sandbox => {
                    let [user, network, host_name, ipc] = descriptors(fds)?;
                    return Ok(PodSandbox {
                        lease,
                        hostname,
                        user,
                        network,
                        host_name,
                        ipc,
                        dir,
                        running: Arc::default(),
                    });
                }
                Report::Failed(failure) => return Err(failure.into()),
                Report::Ready | Report::Started | Report::Orphaned => {}
            }
        }
        let died = io::Error::other("the process that should make them has died");
        Err(Failure::node(format!("make the namespaces of pod {}", spec.pod))(died).into())
    }

    async fn start(&self, sandbox: &PodSandbox, spec: ContainerSpec) -> Result<Running, RuntimeError> {
        let inner = self.inner.clone();
        let number = inner.number();
        let image = inner.image(&spec.image).await?;
        let dir = sandbox.dir.join(format!("{}-{number}", spec.name));
        let (upper, work) = (dir.join("upper"), dir.join("work"));
        for path in [&upper, &work] {
            fs::create_dir_all(path).map_err(Failure::node(format!("make the directory {}", path.display())))?;
        }
        let mut env = spec.env;
        env.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
        env.entry("HOSTNAME".to_owned()).or_insert_with(|| sandbox.hostname.clone());
        let home = if spec.uid == 0 { "/root" } else { "/" };
        env.entry("HOME".to_owned()).or_insert_with(|| home.to_owned());
        let program = Program { argv: spec.argv, env, working_dir: spec.working_dir, uid: spec.uid, gid: spec.gid };

        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(Failure::call("make a pipe for the log"));
        let (out_read, out_write) = pipe()?;
        let (err_read, err_write) = pipe()?;
        if inner.ids == Ids::Range && (program.uid, program.gid) != (0, 0) {
            // Lets the container's user open `/dev/stdout`.
            let (uid, gid) = (rustix::fs::Uid::from_raw(program.uid), rustix::fs::Gid::from_raw(program.gid));
            for fd in [&out_write, &err_write] {
                let _ = rustix::fs::fchown(fd, Some(uid), Some(gid));
            }
        }
        let request = Request::Start(StartRequest {
            program: program.clone(),
            root: Root {
                layers: image.layers,
                upper,
                work,
                target: inner.target.clone(),
                read_only: spec.read_only_root,
            },
            mounts: spec.mounts.into_iter().map(Into::into).collect(),
        });
        let fds = [
            sandbox.user.as_fd(),
            sandbox.network.as_fd(),
            sandbox.host_name.as_fd(),
            sandbox.ipc.as_fd(),
            out_write.as_fd(),
            err_write.as_fd(),
        ];
        let reports = inner.requests.send(&request, &fds).await?;
        drop((out_write, err_write));
        let process = match reports.process().await {
            Ok(process) => process,
            Err(error) => {
                let _ = remove_all(&dir);
                return Err(error);
            }
        };

        let (ended, exit) = watch::channel(None);
        let container = Running { process: process.clone(), exit, program: Arc::new(program), runtime: inner };
        lock(&sandbox.running).insert(number, container.clone());
        let log = tokio::spawn(logs::write(spec.log, out_read, err_read));
        let running = sandbox.running.clone();
        tokio::spawn(async move {
            let exit = process.wait().await.unwrap_or_else(|error| {
                tracing::error!(%error, "the end of a container is unknown");
                Exit::Code(255)
            });
            // A caller that learns of the end may read the log at once.
            let _ = tokio::time::timeout(LAST_LINES, log).await;
            lock(&running).remove(&number);
            let _ = ended.send(Some(exit));
            let _ = blocking("remove a container's files", move || remove_all(&dir)).await;
        });
        Ok(container)
    }

    async fn remove(&self, sandbox: PodSandbox) {
        let running: Vec<Running> = lock(&sandbox.running).values().cloned().collect();
        for container in &running {
            container.process.kill();
        }
        for container in running {
            container.wait().await;
        }
        let dir = sandbox.dir.clone();
        // The address becomes free, and the interfaces go, when the last descriptor is closed.
        drop(sandbox);
        let removed = blocking("remove a pod's files", move || remove_all(&dir)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "a pod's files stay");
        }
    }

    async fn image(&self, image: &str) -> Result<ImageDefaults, RuntimeError> {
        Ok(self.inner.image(image).await?.defaults)
    }
}

impl Container for Running {
    async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.unwrap_or(Exit::Code(255)),
            // The task that waits is gone: the server is shutting down.
            Err(_) => Exit::Signal(9),
        }
    }

    fn signal(&self, signal: i32) {
        // Until the process has been waited for, its number cannot belong to another process.
        if self.exit.borrow().is_none() {
            self.process.signal(signal);
        }
    }

    async fn exec(&self, spec: ExecSpec) -> Result<ExecSession, RuntimeError> {
        if self.exit.borrow().is_some() {
            return Err(RuntimeError::CannotRun("the container is not running".to_owned()));
        }
        let (ended, exit) = oneshot::channel();
        let (theirs, session) =
            exec::streams(spec.stdin, spec.tty, exit).map_err(Failure::node("make the streams of a program"))?;
        let mut program = Program { argv: spec.argv, ..(*self.program).clone() };
        if spec.tty {
            program.env.entry("TERM".to_owned()).or_insert_with(|| "xterm".to_owned());
        }
        let request = Request::Exec(ExecRequest { program, tty: spec.tty });
        let fds = [self.process.fd(), theirs.stdin.as_fd(), theirs.stdout.as_fd(), theirs.stderr.as_fd()];
        let reports = self.runtime.requests.send(&request, &fds).await?;
        drop(theirs);
        let process = reports.process().await?;
        tokio::spawn(async move {
            let mut ended = ended;
            let exit = tokio::select! {
                exit = process.wait() => exit,
                // The caller has dropped the session: without a reader the program would only block.
                () = ended.closed() => {
                    process.signal(1);
                    process.wait().await
                }
            };
            let _ = ended.send(exit.unwrap_or(Exit::Code(255)));
        });
        Ok(session)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn blocking<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, RuntimeError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| RuntimeError::Node { what: what.to_owned(), source: io::Error::other(error) })
}

/// Removes a directory with its content, if it exists.
fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
