//! Leader of one pod through its life: sandbox, init containers, containers, termination.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as ContainerDef, ObjectReference, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
};
use tokio::{
    sync::{
        Notify,
        broadcast::{self, error::RecvError},
        watch,
    },
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    backoff::Doubling,
    board::{Board, Place, State, View},
    container::{Actor, Role},
    status::RestartPolicy,
    termination::Order,
    token, writer,
};
use crate::{
    downward::NodeFacts,
    env::Source,
    events::{Severity, pod_reference},
    hosts,
    proxy::host_port::{Host, HostPorts},
    runtime::{Runtime, Sandbox, SandboxSpec},
    scheduler,
    sync::lock,
    volumes,
    watch::Key,
};

/// Latest state of a pod's object.
#[derive(Clone, Debug)]
pub(super) struct Update {
    pub(super) pod: Arc<Pod>,
    /// Object no longer exists.
    pub(super) gone: bool,
}

/// State that the tasks of one pod share.
pub(crate) struct PodContext<R: Runtime> {
    pub(super) node: Arc<Shared<R>>,
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) board: Board,
    latest: Mutex<Arc<Pod>>,
    /// Pod as it is run, with the kubelet's additions.
    effective: Mutex<Arc<Pod>>,
    /// Running containers by name.
    pub(super) running: Mutex<HashMap<String, Arc<R::Container>>>,
    /// Directory of each volume on the node.
    pub(super) volumes: Mutex<BTreeMap<String, PathBuf>>,
    /// Host ports, while the sandbox exists.
    host_ports: Mutex<Option<HostPorts>>,
    /// Notified when the object was seen again.
    seen: Notify,
    /// Cancelled when no status may be written any more.
    silent: CancellationToken,
}

impl<R: Runtime> PodContext<R> {
    pub(super) fn new(node: Arc<Shared<R>>, key: Key, pod: Arc<Pod>) -> Self {
        Self {
            node,
            key,
            uid: pod.uid().unwrap_or_default(),
            board: Board::new(&pod, Timestamp::now()),
            latest: Mutex::new(pod.clone()),
            effective: Mutex::new(pod),
            running: Mutex::default(),
            volumes: Mutex::default(),
            host_ports: Mutex::default(),
            seen: Notify::new(),
            silent: CancellationToken::new(),
        }
    }

    /// Returns the object as last seen.
    pub(super) fn pod(&self) -> Arc<Pod> {
        lock(&self.latest).clone()
    }

    /// Stores the object as seen now.
    pub(super) fn latest(&self, pod: Arc<Pod>) {
        *lock(&self.latest) = pod;
        self.board.changed.notify_one();
        self.seen.notify_one();
    }

    pub(super) fn is_silent(&self) -> bool {
        // A shutdown ends containers but not pods: they start again with the node. So their end is not written to the status.
        self.silent.is_cancelled() || self.node.shutdown.is_cancelled()
    }

    /// Returns the pod as it is run.
    pub(super) fn effective(&self) -> Arc<Pod> {
        lock(&self.effective).clone()
    }

    /// Returns a container's definition.
    pub(super) fn definition(&self, place: Place) -> Option<ContainerDef> {
        let pod = self.effective();
        let spec = pod.spec.as_ref()?;
        match place {
            Place::Init(index) => spec.init_containers.as_ref()?.get(index).cloned(),
            Place::App(index) => spec.containers.get(index).cloned(),
        }
    }

    /// Returns the directory of the pod's volumes and files.
    pub(super) fn dir(&self) -> PathBuf {
        self.node.config.state_dir.join("pods").join(&self.uid)
    }

    /// Returns the directory with a log directory for each container.
    pub(super) fn log_dir(&self) -> PathBuf {
        let name = format!("{}_{}_{}", self.key.namespace, self.key.name, self.uid);
        self.node.config.state_dir.join("logs").join(name)
    }

    pub(super) fn facts(&self) -> NodeFacts {
        NodeFacts {
            host_ip: self.node.net.node_ip,
            pod_ip: self.board.read().ip,
            cpus: self.node.config.cpus,
            memory: self.node.config.memory,
        }
    }

    pub(super) fn event(&self, severity: Severity, reason: &'static str, message: impl Into<String>) {
        self.node.events.record(pod_reference(&self.pod(), None), severity, reason, message);
    }

    /// Builds the reference for events about a container.
    pub(super) fn container_reference(&self, name: &str, place: Place) -> ObjectReference {
        pod_reference(&self.pod(), Some((name, matches!(place, Place::Init(_)))))
    }

    /// Returns the pod's host name.
    pub(super) fn hostname(&self) -> String {
        let pod = self.effective();
        let spec = pod.spec.as_ref();
        let mut name = spec.and_then(|spec| spec.hostname.clone()).unwrap_or_else(|| self.key.name.clone());
        // Linux takes 63 bytes at most, and a name is ASCII.
        name.truncate(63);
        name.trim_end_matches(['-', '.']).to_owned()
    }

    fn policy(&self) -> RestartPolicy {
        RestartPolicy::of(&self.pod())
    }

    /// Waits until a ConfigMap or Secret of the pod's namespace has changed: a missing object may exist now.
    pub(super) async fn object_changed(&self, mut changes: broadcast::Receiver<(String, Source)>) {
        loop {
            match changes.recv().await {
                Ok((namespace, _)) if namespace != self.key.namespace => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}

/// Reason why a pod must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Object is being deleted: it is removed when the pod has ended.
    Deleted,
    /// Object no longer exists.
    Gone,
    /// Node shuts down.
    Shutdown,
    /// Pod has run for longer than `activeDeadlineSeconds`.
    Deadline,
}

/// Request to end a pod, with the deadline.
#[derive(Clone, Copy, Debug)]
struct Stop {
    cause: Cause,
    deadline: Instant,
}

/// Sources of the request to end.
struct Reins {
    updates: watch::Receiver<Update>,
    shutdown: CancellationToken,
    shutdown_grace: Duration,
    active_deadline: Option<Instant>,
    /// Shortest grace period requested, and the time at which the request was first seen.
    asked: Option<(Duration, Instant)>,
    /// Node shuts down.
    ending: bool,
}

impl Reins {
    /// Waits until the pod must end. Returns at once if it must end already.
    async fn asked(&mut self) -> Stop {
        loop {
            if let Some(stop) = self.look() {
                return stop;
            }
            self.news().await;
        }
    }

    /// Waits until the deadline becomes earlier than `than`.
    async fn sooner(&mut self, than: Instant) -> Stop {
        loop {
            self.news().await;
            if let Some(stop) = self.look()
                && stop.deadline < than
            {
                return stop;
            }
        }
    }

    /// Waits until there is something new to look at.
    async fn news(&mut self) {
        if self.ending {
            return std::future::pending().await;
        }
        tokio::select! {
            // Without the dispatcher there is no node.
            changed = self.updates.changed() => self.ending |= changed.is_err(),
            () = self.shutdown.cancelled() => self.ending = true,
            () = at(self.active_deadline) => {}
        }
    }

    fn look(&mut self) -> Option<Stop> {
        let now = Instant::now();
        self.ending |= self.shutdown.is_cancelled();
        let update = self.updates.borrow_and_update().clone();
        if update.gone {
            return Some(Stop { cause: Cause::Gone, deadline: now });
        }
        // The node's shutdown does not wait longer than this, whatever grace period a pod has.
        let latest = now + self.shutdown_grace;
        if update.pod.metadata.deletion_timestamp.is_some() {
            let grace = update.pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
            let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
            // A later look at the same request does not prolong it, and a shorter grace period also counts from the first one.
            let (former, since) = self.asked.unwrap_or((grace, now));
            let grace = former.min(grace);
            self.asked = Some((grace, since));
            let deadline = since + grace;
            let deadline = if self.ending { deadline.min(latest) } else { deadline };
            return Some(Stop { cause: Cause::Deleted, deadline });
        }
        if self.ending {
            return Some(Stop { cause: Cause::Shutdown, deadline: latest.min(now + grace_of(&update.pod)) });
        }
        if self.active_deadline.is_some_and(|deadline| deadline <= now) {
            self.active_deadline = None;
            return Some(Stop { cause: Cause::Deadline, deadline: now + grace_of(&update.pod) });
        }
        None
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn grace_of(pod: &Pod) -> Duration {
    let seconds = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Runs the task of a pod.
pub(super) async fn run<R: Runtime>(context: Arc<PodContext<R>>, updates: watch::Receiver<Update>) {
    let finished = CancellationToken::new();
    let leading = async {
        let cause = lead(&context, updates).await;
        if matches!(cause, Cause::Gone | Cause::Shutdown) {
            context.silent.cancel();
        }
        finished.cancel();
        cause
    };
    let (cause, ()) = tokio::join!(leading, writer::run(&context, &finished));
    if cause == Cause::Deleted {
        delete(&context).await;
    }
    if cause != Cause::Shutdown {
        remove_dir(&context.dir());
        remove_dir(&context.log_dir());
    }
    let mut pods = lock(&context.node.pods);
    if pods.get(&context.key).is_some_and(|other| other.uid == context.uid) {
        pods.remove(&context.key);
    }
}

/// Removes the object after the pod has ended.
async fn delete<R: Runtime>(context: &PodContext<R>) {
    let pods: Api<Pod> = Api::namespaced(context.node.client.clone(), &context.key.namespace);
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(context.uid.clone()), resource_version: None }),
        ..DeleteParams::default()
    };
    let mut delay = Doubling::setup();
    loop {
        match pods.delete(&context.key.name, &now).await {
            Ok(_) => return,
            Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => return,
            Err(error) => {
                tracing::warn!(pod = %context.key, %error, "the pod has ended, but its object cannot be deleted");
                tokio::select! {
                    () = sleep(delay.delay()) => {}
                    () = context.node.shutdown.cancelled() => return,
                }
            }
        }
    }
}

/// Removes a directory with its content. A missing directory is no error.
pub(super) fn remove_dir(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "leftovers cannot be removed");
    }
}

async fn lead<R: Runtime>(context: &Arc<PodContext<R>>, updates: watch::Receiver<Update>) -> Cause {
    let pod = context.pod();
    let active = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds).and_then(|s| u64::try_from(s).ok());
    let mut reins = Reins {
        updates,
        shutdown: context.node.shutdown.clone(),
        shutdown_grace: context.node.config.shutdown_grace,
        active_deadline: active.map(|seconds| {
            let since = context.board.read().start_time.map(|start| Timestamp::now().duration_since(start));
            let passed = since.and_then(|passed| Duration::try_from(passed).ok()).unwrap_or_default();
            Instant::now() + Duration::from_secs(seconds).saturating_sub(passed)
        }),
        asked: None,
        ending: false,
    };
    if let Some(why) = pod.spec.as_ref().and_then(scheduler::unsupported) {
        let message = format!("Pod was rejected: {why}");
        context.event(Severity::Warning, "UnsupportedPod", message.clone());
        context.board.update(|view| {
            view.failed = Some(("UnsupportedPod".into(), message));
            view.over = true;
        });
    }
    settle_former(context);
    if !context.board.read().over {
        if let Some(stop) = reins.look() {
            // The pod was asked to end before it began.
            context.board.update(|view| view.over = true);
            return finish(context, &mut reins, stop).await;
        }
        if let Some(stop) = live(context, &mut reins).await {
            return finish(context, &mut reins, stop).await;
        }
    }
    // The pod has ended by itself. Its object stays until it is deleted.
    loop {
        let stop = reins.asked().await;
        if stop.cause != Cause::Deadline {
            return stop.cause;
        }
    }
}

/// Finishes after the containers have ended for this cause. After a mere deadline, waits for the deletion.
async fn finish<R: Runtime>(context: &Arc<PodContext<R>>, reins: &mut Reins, stop: Stop) -> Cause {
    if stop.cause != Cause::Deadline {
        return stop.cause;
    }
    context.board.update(|view| {
        let message = "Pod was active on the node longer than the specified deadline";
        view.failed = Some(("DeadlineExceeded".into(), message.into()));
    });
    loop {
        let stop = reins.asked().await;
        if stop.cause != Cause::Deadline {
            return stop.cause;
        }
    }
}

/// Settles the state left by a former run of the node: a pod that had ended stays ended, as do containers that are not to be restarted.
fn settle_former<R: Runtime>(context: &PodContext<R>) {
    let policy = context.policy();
    let pod = context.pod();
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    let terminal = matches!(phase.as_str(), "Succeeded" | "Failed");
    context.board.update(|view| {
        for slot in &mut view.apps {
            let former = match &slot.state {
                State::Ended(_) => continue,
                _ => slot.last.clone(),
            };
            if let Some(end) = former
                && (terminal || !policy.restarts(end.code))
            {
                slot.last = None;
                slot.state = State::Ended(end);
            }
        }
        let all_ended = !view.apps.is_empty()
            && view.apps.iter().all(|slot| matches!(&slot.state, State::Ended(end) if !policy.restarts(end.code)));
        if terminal || all_ended {
            view.initialized = true;
            view.over = true;
        }
    });
}

/// Runs the pod from the sandbox to the end of all containers. `None` means that they ended by themselves.
async fn live<R: Runtime>(context: &Arc<PodContext<R>>, reins: &mut Reins) -> Option<Stop> {
    let mut delay = Doubling::setup();
    let mut sandbox = None;
    let renew = loop {
        let changes = context.node.changes.subscribe();
        match set_up(context, &mut sandbox).await {
            Ok(renew) => break renew,
            Err((reason, message)) => {
                context.event(Severity::Warning, reason, message);
                tokio::select! {
                    () = sleep(delay.delay()) => {}
                    () = context.object_changed(changes) => {}
                    stop = reins.asked() => {
                        tear_down(context, sandbox).await;
                        return Some(stop);
                    }
                }
            }
        }
    };
    let sandbox = Arc::new(sandbox?);
    let mut crew = Crew::new(context.clone(), sandbox.clone());
    let stop = tokio::select! {
        () = crew.work() => None,
        stop = reins.asked() => Some(stop),
        () = refresh(context, renew) => None,
    };
    let until =
        stop.unwrap_or_else(|| Stop { cause: Cause::Deadline, deadline: Instant::now() + grace_of(&context.pod()) });
    crew.end(until, reins).await;
    drop(crew);
    context.board.update(|view| view.over = true);
    tear_down(context, Arc::into_inner(sandbox)).await;
    stop
}

async fn tear_down<R: Runtime>(context: &PodContext<R>, sandbox: Option<R::Sandbox>) {
    let ports = lock(&context.host_ports).take();
    if let Some(ports) = ports {
        ports.close().await;
    }
    if let Some(sandbox) = sandbox {
        context.node.runtime.remove(sandbox).await;
    }
    context.board.update(|view| {
        view.sandbox = false;
        view.over = true;
    });
}

type Trouble = (&'static str, String);

/// Sets up volumes, the network and its files, and keeps what exists already. Returns when tokens must be renewed.
async fn set_up<R: Runtime>(
    context: &Arc<PodContext<R>>,
    sandbox: &mut Option<R::Sandbox>,
) -> Result<Option<Duration>, Trouble> {
    let node = &context.node;
    let pod = token::with_token(&node.client, &context.pod()).await.map_err(|error| ("FailedMount", error))?;
    let pod = Arc::new(pod);
    *lock(&context.effective) = pod.clone();
    let facts = context.facts();
    let dir = context.dir().join("volumes");
    let volumes = volumes::set_up(&node.client, &pod, &facts, &dir);
    let (volumes, made) = match sandbox {
        Some(_) => (volumes.await, None),
        None => {
            let spec =
                SandboxSpec { uid: context.uid.clone(), pod: context.key.to_string(), hostname: context.hostname() };
            let (volumes, made) = tokio::join!(volumes, node.runtime.sandbox(spec));
            (volumes, Some(made))
        }
    };
    match made {
        Some(Ok(made)) => {
            let ip = made.ip();
            *sandbox = Some(made);
            write_files(context, &pod, ip).map_err(|error| {
                ("FailedCreatePodSandBox", format!("Failed to write the pod's network files: {error}"))
            })?;
            context.board.update(|view| {
                view.ip = Some(ip);
                view.sandbox = true;
            });
        }
        Some(Err(error)) => return Err(("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {error}"))),
        None => {}
    }
    if let Some(sandbox) = sandbox {
        open_host_ports(context, sandbox.ip())
            .await
            .map_err(|why| ("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {why}")))?;
    }
    let volumes = volumes.map_err(|(name, error)| {
        ("FailedMount", format!("MountVolume.SetUp failed for volume \"{name}\" : {error}"))
    })?;
    *lock(&context.volumes) = volumes.paths;
    Ok(volumes.renew)
}

/// Opens the pod's host ports unless they are open already.
async fn open_host_ports<R: Runtime>(context: &PodContext<R>, ip: Ipv4Addr) -> Result<(), String> {
    let wanted = context.pod().spec.as_ref().map(scheduler::host_ports).unwrap_or_default();
    if wanted.is_empty() || lock(&context.host_ports).is_some() {
        return Ok(());
    }
    let host = Host { net: &context.node.net, ip: context.node.config.host_ip };
    let opened = HostPorts::open(&host, ip, &wanted).await?;
    *lock(&context.host_ports) = Some(opened);
    Ok(())
}

fn write_files<R: Runtime>(context: &PodContext<R>, pod: &Pod, ip: Ipv4Addr) -> std::io::Result<()> {
    let config = &context.node.config;
    let dir = context.dir();
    std::fs::create_dir_all(&dir)?;
    let spec = pod.spec.clone().unwrap_or_default();
    let namespace = &context.key.namespace;
    let hostname = context.hostname();
    let hosts = hosts::hosts(&spec, ip, &hostname, namespace, &config.cluster_domain);
    let resolv =
        hosts::resolv_conf(&spec, namespace, &config.cluster_domain, config.cluster_dns, &config.host_resolv_conf);
    std::fs::write(dir.join("hosts"), hosts)?;
    std::fs::write(dir.join("hostname"), format!("{hostname}\n"))?;
    std::fs::write(dir.join("resolv.conf"), resolv)
}

/// Keeps the files of volumes up to date, indefinitely.
async fn refresh<R: Runtime>(context: &Arc<PodContext<R>>, renew: Option<Duration>) {
    let mut renew = renew.map(|after| Instant::now() + after);
    let effective = context.effective();
    let shown = volumes::references(&effective);
    let fields = volumes::shows_fields(&effective);
    if shown.is_empty() && renew.is_none() && !fields {
        return std::future::pending().await;
    }
    let mut changes = context.node.changes.subscribe();
    let mut delay = Doubling::setup();
    let mut known = labels(&context.pod());
    loop {
        tokio::select! {
            () = at(renew) => {}
            change = changes.recv() => match change {
                Ok((namespace, source)) if !concerns(context, &shown, &namespace, &source) => continue,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return std::future::pending().await,
            },
            () = relabelled(context, &known), if fields => known = labels(&context.pod()),
        }
        // Labels and annotations are the current ones, volumes those of the setup.
        let mut pod = (*context.effective()).clone();
        pod.metadata = context.pod().metadata.clone();
        let dir = context.dir().join("volumes");
        match volumes::set_up(&context.node.client, &pod, &context.facts(), &dir).await {
            Ok(volumes) => {
                renew = volumes.renew.map(|after| Instant::now() + after);
                delay = Doubling::setup();
            }
            // As with the kubelet, files stay as they are when an object is deleted.
            Err((name, error)) => {
                context.event(
                    Severity::Warning,
                    "FailedMount",
                    format!("MountVolume.SetUp failed for volume \"{name}\" : {error}"),
                );
                renew = Some(Instant::now() + delay.delay().max(Duration::from_secs(10)));
            }
        }
    }
}

fn concerns<R: Runtime>(context: &PodContext<R>, shown: &BTreeSet<Source>, namespace: &str, source: &Source) -> bool {
    namespace == context.key.namespace && shown.contains(source)
}

type Labels = (Option<BTreeMap<String, String>>, Option<BTreeMap<String, String>>);

fn labels(pod: &Pod) -> Labels {
    (pod.metadata.labels.clone(), pod.metadata.annotations.clone())
}

/// Waits until labels or annotations differ from `known`.
async fn relabelled<R: Runtime>(context: &PodContext<R>, known: &Labels) {
    while labels(&context.pod()) == *known {
        context.seen.notified().await;
    }
}

/// Container tasks of a pod.
struct Crew<R: Runtime> {
    context: Arc<PodContext<R>>,
    sandbox: Arc<R::Sandbox>,
    /// Init containers and containers.
    regular: JoinSet<()>,
    /// Native sidecars.
    sidecars: JoinSet<()>,
    /// Deadline for all tasks to end, set when the pod must end.
    stop: watch::Sender<Option<Instant>>,
    /// Order in which sidecars and containers end.
    orders: HashMap<Place, Order>,
    /// Places whose task was started.
    spawned: HashSet<Place>,
}

impl<R: Runtime> Crew<R> {
    fn new(context: Arc<PodContext<R>>, sandbox: Arc<R::Sandbox>) -> Self {
        let orders = orders(&context.board.read());
        Self {
            context,
            sandbox,
            regular: JoinSet::new(),
            sidecars: JoinSet::new(),
            stop: watch::Sender::new(None),
            orders,
            spawned: HashSet::new(),
        }
    }

    /// Starts the task of a container. Returns the token that is cancelled when the next container may start.
    fn spawn(&mut self, place: Place, role: Role) -> CancellationToken {
        let begun = CancellationToken::new();
        let actor = Actor {
            context: self.context.clone(),
            sandbox: self.sandbox.clone(),
            place,
            role,
            stop: self.stop.subscribe(),
            order: self.orders.get(&place).cloned().unwrap_or_default(),
            begun: begun.clone(),
        };
        let tasks = if role == Role::Sidecar { &mut self.sidecars } else { &mut self.regular };
        tasks.spawn(actor.run());
        self.spawned.insert(place);
        begun
    }

    /// Starts all containers in order, and waits until none of them will run again (sidecars may).
    ///
    /// Dropping the future leaves the containers to `end`.
    async fn work(&mut self) {
        let (init, apps) = {
            let view = self.context.board.read();
            (view.init.iter().map(|slot| slot.sidecar).collect::<Vec<_>>(), view.apps.len())
        };
        for (index, sidecar) in init.into_iter().enumerate() {
            let place = Place::Init(index);
            if sidecar {
                self.spawn(place, Role::Sidecar);
                self.until_started(index).await;
            } else {
                self.spawn(place, Role::Init);
                while self.regular.join_next().await.is_some() {}
                let through = self
                    .context
                    .board
                    .read()
                    .init
                    .get(index)
                    .is_some_and(|slot| matches!(&slot.state, State::Ended(end) if end.code == 0));
                if !through {
                    return;
                }
            }
        }
        self.context.board.update(|view| {
            view.initialized = true;
            for slot in &mut view.apps {
                if let State::Waiting { reason, .. } = &mut slot.state {
                    *reason = "ContainerCreating".into();
                }
            }
        });
        for index in 0..apps {
            // Containers start one after the other, hooks included; a container that cannot start delays no other one.
            self.spawn(Place::App(index), Role::App).cancelled().await;
        }
        while self.regular.join_next().await.is_some() {}
    }

    async fn until_started(&self, index: usize) {
        loop {
            if self.context.board.read().init.get(index).is_none_or(|slot| slot.started) {
                return;
            }
            self.context.board.progressed.notified().await;
        }
    }

    /// Ends the running containers. The deadline may become earlier meanwhile, for example by a deletion.
    async fn end(&mut self, stop: Stop, reins: &mut Reins) {
        // No sidecar waits for a container that was never started.
        for (place, order) in &self.orders {
            if !self.spawned.contains(place) {
                order.ended.cancel();
            }
        }
        let mut deadline = stop.deadline;
        self.stop.send_replace(Some(deadline));
        let (regular, sidecars, stop) = (&mut self.regular, &mut self.sidecars, &self.stop);
        let all = async {
            while regular.join_next().await.is_some() {}
            while sidecars.join_next().await.is_some() {}
        };
        let mut all = pin!(all);
        loop {
            tokio::select! {
                () = &mut all => return,
                sooner = reins.sooner(deadline) => {
                    deadline = sooner.deadline;
                    stop.send_replace(Some(deadline));
                }
            }
        }
    }
}

/// Returns the order in which the containers of a pod end: first the containers, then the sidecars from the last to the first.
fn orders(view: &View) -> HashMap<Place, Order> {
    let mut orders: HashMap<Place, Order> =
        (0..view.apps.len()).map(|index| (Place::App(index), Order::default())).collect();
    let containers: Vec<CancellationToken> = orders.values().map(|order| order.ended.clone()).collect();
    let mut later = None;
    for (index, _) in view.init.iter().enumerate().rev().filter(|(_, slot)| slot.sidecar) {
        let after = containers.iter().cloned().chain(later).collect();
        let order = Order { ended: CancellationToken::new(), after };
        later = Some(order.ended.clone());
        orders.insert(Place::Init(index), order);
    }
    orders
}
