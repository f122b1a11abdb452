//! Start of a container, tried until it runs.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{Actor, Run, has_run, id::Id, wait_for_stop};
use crate::{
    events::Severity,
    kubelet::{
        backoff::Doubling,
        prepare::{self, Obstacle, Prepared},
        tracker::{Ended, RunState},
    },
    runtime::{Runtime, RuntimeError},
    sync::lock,
};

/// Outcome of the attempts to start a container.
pub(super) enum Started<C> {
    Running(Box<Run<C>>),
    Failed(Ended),
    Stopped,
}

impl<R: Runtime> Actor<R> {
    /// Tries to start the container until it runs, fails in a way that counts as an end, or is stopped.
    pub(super) async fn start(&mut self) -> Started<R::Container> {
        let mut images = Doubling::image();
        let mut others = Doubling::setup();
        let mut tries = 0;
        loop {
            if self.stop.borrow().is_some() {
                return Started::Stopped;
            }
            let changes = self.context.node.changes.subscribe();
            let attempt = self.peek(|slot| slot.restarts + i32::from(has_run(slot)));
            let (obstacle, pause) = match prepare::prepare(&self.context, self.place, attempt).await {
                Ok(prepared) => match self.execute(prepared, attempt).await {
                    Ok(started) => return started,
                    Err(obstacle) => (obstacle, others.delay()),
                },
                Err(obstacle @ (Obstacle::NoImage(_) | Obstacle::NeverPull)) => (obstacle, images.delay()),
                Err(obstacle) => (obstacle, others.delay()),
            };
            self.report(&obstacle, tries, images.is_longest());
            self.begun.cancel();
            tries += 1;
            let context = self.context.clone();
            tokio::select! {
                () = sleep(pause) => {}
                () = context.object_changed(changes) => {}
                _ = wait_for_stop(&mut self.stop) => return Started::Stopped,
            }
        }
    }

    /// Reports in the tracker, and in an event, why the container does not start. An unchanged reason is not repeated.
    fn report(&self, obstacle: &Obstacle, tries: u32, settled: bool) {
        let image = self.peek(|slot| slot.image.clone());
        let (reason, message) = match obstacle {
            Obstacle::NeverPull => {
                ("ErrImageNeverPull", format!("Container image \"{image}\" is not present with pull policy of Never"))
            }
            Obstacle::NoImage(why) if tries == 0 => ("ErrImagePull", why.clone()),
            Obstacle::NoImage(why) => {
                ("ImagePullBackOff", format!("Back-off pulling image \"{image}\": ErrImagePull: {why}"))
            }
            Obstacle::Config(why) => ("CreateContainerConfigError", why.clone()),
            Obstacle::Node(why) => ("CreateContainerError", why.clone()),
        };
        if !settled {
            match obstacle {
                Obstacle::NoImage(why) if tries == 0 => {
                    self.event(Severity::Warning, "Failed", format!("Failed to pull image \"{image}\": {why}"));
                    self.event(Severity::Warning, "Failed", "Error: ErrImagePull");
                }
                Obstacle::NoImage(_) => {
                    self.event(Severity::Normal, "BackOff", format!("Back-off pulling image \"{image}\""));
                }
                Obstacle::NeverPull => self.event(Severity::Warning, "ErrImageNeverPull", message.clone()),
                Obstacle::Config(why) | Obstacle::Node(why) => {
                    self.event(Severity::Warning, "Failed", format!("Error: {why}"));
                }
            }
        }
        let state = RunState::Waiting { reason: reason.into(), message: Some(message) };
        let before = self.context.tracker.read().slot(self.place).map(|slot| slot.state.clone());
        if before.as_ref() != Some(&state) {
            self.slot(|slot| slot.state = state);
        }
    }

    async fn execute(&mut self, prepared: Prepared, attempt: i32) -> Result<Started<R::Container>, Obstacle> {
        let name = prepared.spec.name.clone();
        let image = prepared.spec.image.clone();
        self.event(Severity::Normal, "Pulled", format!("Container image \"{image}\" already present on machine"));
        let answer = self.context.node.runtime.start(&self.sandbox, prepared.spec.clone()).await;
        let started = Timestamp::now();
        let id = format!("pocket://{:064x}", Id::random());
        let image_id = prepared.image_id.clone();
        match answer {
            Ok(container) => {
                let container = Arc::new(container);
                lock(&self.context.running).insert(name.clone(), container.clone());
                self.slot(|slot| {
                    if let RunState::Ended(end) = &slot.state {
                        slot.last = Some(end.clone());
                    }
                    slot.restarts = attempt;
                    slot.state = RunState::Running { since: started };
                    slot.image_id = image_id;
                    slot.container_id = Some(id.clone());
                });
                self.event(Severity::Normal, "Created", format!("Created container: {name}"));
                self.event(Severity::Normal, "Started", format!("Started container {name}"));
                let definition = self.context.definition(self.place).unwrap_or_default();
                Ok(Started::Running(Box::new(Run {
                    container,
                    definition,
                    since: Instant::now(),
                    started,
                    id,
                    prepared,
                })))
            }
            Err(RuntimeError::ImageNotFound(image)) => {
                Err(Obstacle::NoImage(RuntimeError::ImageNotFound(image).to_string()))
            }
            Err(RuntimeError::CannotRun(why)) => {
                self.event(Severity::Warning, "Failed", format!("Error: {why}"));
                self.slot(|slot| {
                    slot.restarts = attempt;
                    slot.image_id = image_id;
                });
                Ok(Started::Failed(Ended {
                    code: 128,
                    signal: None,
                    reason: "StartError".into(),
                    message: Some(why),
                    started: Some(started),
                    finished: started,
                    container_id: Some(id),
                }))
            }
            Err(error @ RuntimeError::Node { .. }) => Err(Obstacle::Node(error.to_string())),
        }
    }
}
