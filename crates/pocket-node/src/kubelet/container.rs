//! Task of one container: start, probes, restarts with backoff, graceful termination.

mod id;
mod start;
mod watcher;

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container as ContainerDef;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use self::{start::Started, watcher::Watcher};
use super::{
    backoff::CrashLoop,
    lifecycle, logs,
    pod_context::PodContext,
    prepare::Prepared,
    status::RestartPolicy,
    termination::{Order, Termination},
    tracker::{Ended, Place, RunState, Slot},
};
use crate::{
    events::Severity,
    probes::{Kind, Prober},
    runtime::{Container, Exit, Runtime, Sandbox},
    sync::lock,
};

/// Role of a container in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Init container: runs to its end before the next container starts.
    Init,
    /// Native sidecar: an init container that runs beside the others.
    Sidecar,
    /// Ordinary container.
    App,
}

pub(super) struct Actor<R: Runtime> {
    pub(super) context: Arc<PodContext<R>>,
    pub(super) sandbox: Arc<R::Sandbox>,
    pub(super) place: Place,
    pub(super) role: Role,
    /// Deadline for the container to exit, set when termination begins.
    pub(super) stop: watch::Receiver<Option<Instant>>,
    /// Containers that end before this one.
    pub(super) order: Order,
    /// Cancelled when the first attempt to start is over, hook included: the next container may start.
    pub(super) begun: CancellationToken,
}

struct Run<C> {
    container: Arc<C>,
    definition: ContainerDef,
    since: Instant,
    started: Timestamp,
    id: String,
    prepared: Prepared,
}

/// Reason to terminate a running container.
enum Trouble {
    Hook(String),
    Probe(Kind, Option<Duration>),
}

impl<R: Runtime> Actor<R> {
    /// Runs the container until it will not be started again, or until it is stopped.
    pub(super) async fn run(mut self) {
        // Other tasks wait for these, so both fire on every way out.
        let _begun = self.begun.clone().drop_guard();
        let _ended = self.order.ended.clone().drop_guard();
        let policy = self.policy();
        let (restarts, former) = self.peek(|slot| {
            let former = match &slot.state {
                RunState::Ended(end) => Some(end.clone()),
                _ => slot.last.clone(),
            };
            (slot.restarts, former)
        });
        // The container may have ended before the node was restarted.
        if let Some(end) = former
            && !(policy.restarts(end.code) || self.role == Role::Init && end.code == 0)
        {
            return self.slot(|slot| record_end(slot, end));
        }
        let mut crash = CrashLoop::resume(restarts);
        loop {
            let (end, ran, stopped) = match self.start().await {
                Started::Stopped => return self.stopped(),
                Started::Failed(end) => (end, Duration::ZERO, false),
                Started::Running(run) => self.attend(run).await,
            };
            if stopped || !policy.restarts(end.code) {
                return self.slot(|slot| record_end(slot, end));
            }
            let delay = crash.delay(ran);
            if delay.is_zero() {
                self.slot(|slot| record_end(slot, end));
            } else if !self.back_off(end, delay).await {
                return self.stopped();
            }
        }
    }

    fn policy(&self) -> RestartPolicy {
        match self.role {
            Role::Sidecar => RestartPolicy::Always,
            Role::App => RestartPolicy::of(&self.context.pod()),
            // An init container that has succeeded is not run again.
            Role::Init => match RestartPolicy::of(&self.context.pod()) {
                RestartPolicy::Always => RestartPolicy::OnFailure,
                other => other,
            },
        }
    }

    fn slot<T: Default>(&self, change: impl FnOnce(&mut Slot) -> T) -> T {
        self.context.tracker.slot(self.place, change).unwrap_or_default()
    }

    fn peek<T: Default>(&self, read: impl FnOnce(&Slot) -> T) -> T {
        self.context.tracker.read().slot(self.place).map(|slot| read(slot)).unwrap_or_default()
    }

    fn event(&self, severity: Severity, reason: &'static str, message: impl Into<String>) {
        let name = self.peek(|slot| slot.name.clone());
        let about = self.context.container_reference(&name, self.place);
        self.context.node.events.record(about, severity, reason, message);
    }

    /// Stops a waiting container: the end of its last run becomes its state.
    fn stopped(&self) {
        self.slot(|slot| {
            if let (RunState::Waiting { .. }, Some(end)) = (&slot.state, slot.last.clone()) {
                slot.last = None;
                slot.state = RunState::Ended(end);
            }
        });
    }

    /// Waits before the next start; returns `false` if the container is stopped instead.
    async fn back_off(&mut self, end: Ended, delay: Duration) -> bool {
        let name = self.peek(|slot| slot.name.clone());
        let pod = format!("{}_{}({})", self.context.key.name, self.context.key.namespace, self.context.uid);
        let message = format!("back-off {} restarting failed container={name} pod={pod}", in_words(delay));
        self.event(Severity::Warning, "BackOff", format!("Back-off restarting failed container {name} in pod {pod}"));
        self.slot(|slot| {
            record_end(slot, end.clone());
            slot.last = Some(end);
            slot.state = RunState::Waiting { reason: "CrashLoopBackOff".into(), message: Some(message) };
        });
        tokio::select! {
            () = sleep(delay) => true,
            _ = wait_for_stop(&mut self.stop) => false,
        }
    }

    /// Attends a running container to its end. Returns the end, the duration of the run, and whether the pod's end asked for the exit.
    async fn attend(&mut self, run: Box<Run<R::Container>>) -> (Ended, Duration, bool) {
        let container = run.container.clone();
        let net = self.context.node.net.clone();
        let prober = Prober { net: &net, ip: self.sandbox.ip(), container: &*container, spec: &run.definition };
        let watcher = Watcher { context: &self.context, place: self.place, name: &run.definition.name };
        let started = CancellationToken::new();
        // Readiness probes continue during termination, so that a pod that still serves is reported as ready.
        let readiness = async {
            started.cancelled().await;
            prober.readiness(&watcher).await;
        };
        let (exit, stopped) = tokio::select! {
            biased;
            ended = self.follow(&run, &prober, &watcher, &started) => ended,
            () = readiness => std::future::pending().await,
        };
        lock(&self.context.running).remove(&run.definition.name);
        let message = last_words(&run, exit);
        let end = Ended::new(exit, run.started, Timestamp::now(), run.id, message);
        (end, run.since.elapsed(), stopped)
    }

    /// Follows a container from its start to its exit. Returns the exit, and whether the pod's end asked for it.
    async fn follow(
        &self,
        run: &Run<R::Container>,
        prober: &Prober<'_, R::Container>,
        watcher: &Watcher<'_, R>,
        started: &CancellationToken,
    ) -> (Exit, bool) {
        enum Next {
            Ended(Exit),
            Stop(Instant),
            Trouble(Trouble),
        }
        let container = &run.container;
        let name = &run.definition.name;
        let lifecycle = run.definition.lifecycle.clone().unwrap_or_default();
        let health = async {
            if let Some(hook) = &lifecycle.post_start
                && let Err(why) = lifecycle::run(hook, prober).await
            {
                return Trouble::Hook(why);
            }
            self.begun.cancel();
            if self.role == Role::Init {
                return std::future::pending().await;
            }
            if let Err(unhealthy) = prober.startup(watcher).await {
                return Trouble::Probe(unhealthy.kind, unhealthy.grace);
            }
            watcher.started();
            started.cancel();
            let unhealthy = prober.liveness(watcher).await;
            Trouble::Probe(unhealthy.kind, unhealthy.grace)
        };
        let mut stop = self.stop.clone();
        let next = tokio::select! {
            biased;
            exit = container.wait() => Next::Ended(exit),
            deadline = wait_for_stop(&mut stop) => Next::Stop(deadline),
            trouble = health => Next::Trouble(trouble),
        };
        self.begun.cancel();
        let (deadline, turn) = match next {
            Next::Ended(exit) => return (exit, false),
            Next::Stop(deadline) => {
                self.event(Severity::Normal, "Killing", format!("Stopping container {name}"));
                (deadline, Some(&self.order))
            }
            Next::Trouble(trouble) => {
                let (message, grace) = match trouble {
                    Trouble::Hook(why) => {
                        self.event(Severity::Warning, "FailedPostStartHook", format!("PostStartHook failed: {why}"));
                        (format!("FailedPostStartHook: container {name} will be restarted"), None)
                    }
                    Trouble::Probe(kind, grace) => {
                        let probe = kind.as_str().to_lowercase();
                        (format!("Container {name} failed {probe} probe, will be restarted"), grace)
                    }
                };
                self.event(Severity::Normal, "Killing", message);
                (Instant::now() + grace.unwrap_or_else(|| self.grace()), None)
            }
        };
        let termination = Termination {
            prober,
            pre_stop: lifecycle.pre_stop.as_ref(),
            order: turn,
            stop: self.stop.clone(),
            deadline,
            hook_failed: &|why| {
                self.event(Severity::Warning, "FailedPreStopHook", format!("PreStopHook failed: {why}"));
            },
        };
        (termination.run().await, turn.is_some())
    }

    fn grace(&self) -> Duration {
        let pod = self.context.pod();
        let seconds = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

/// Records on its slot that a container has ended.
fn record_end(slot: &mut Slot, end: Ended) {
    slot.ready = false;
    slot.started = false;
    slot.container_id.clone_from(&end.container_id);
    slot.state = RunState::Ended(end);
}

/// Returns whether the container was started before, so that the next start is a restart.
fn has_run(slot: &Slot) -> bool {
    slot.last.is_some() || matches!(slot.state, RunState::Ended(_))
}

/// Waits until the container must end. Returns the deadline.
async fn wait_for_stop(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    match stop.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_else(Instant::now),
        // The pod's task is gone, so no deadline will come.
        Err(_) => Instant::now(),
    }
}

/// Returns the container's termination message, or the end of its log.
fn last_words<C>(run: &Run<C>, exit: Exit) -> Option<String> {
    let words = read_end(&run.prepared.last_words, 4096).filter(|words| !words.is_empty());
    let fall_back = run.definition.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if words.is_none() && fall_back && exit.code() != 0 {
        return logs::tail(&run.prepared.spec.log, 80, 2048);
    }
    words
}

fn read_end(path: &Path, most: usize) -> Option<String> {
    let text = std::fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&text[text.len().saturating_sub(most)..]).into_owned())
}

/// Formats a duration as Go does: `10s`, `2m40s`, `5m0s`.
fn in_words(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}
