//! Writer of the results of probes.

use crate::{
    events::Severity,
    kubelet::{
        pod_context::PodContext,
        tracker::{Place, Slot},
    },
    probes::{Kind, Observer},
    runtime::Runtime,
};

/// Writes the results of probes to the tracker.
pub(super) struct Watcher<'a, R: Runtime> {
    pub(super) context: &'a PodContext<R>,
    pub(super) place: Place,
    pub(super) name: &'a str,
}

impl<R: Runtime> Watcher<'_, R> {
    /// Records that the container has passed its hook and its startup probe.
    pub(super) fn started(&self) {
        self.set(|slot| !slot.started, |slot| slot.started = true);
    }

    fn set(&self, differs: impl Fn(&Slot) -> bool, change: impl FnOnce(&mut Slot)) {
        let needed = self.context.tracker.read().slot(self.place).is_some_and(|slot| differs(slot));
        if needed {
            self.context.tracker.slot(self.place, change);
        }
    }
}

impl<R: Runtime> Observer for Watcher<'_, R> {
    fn ready(&self, ready: bool) {
        self.set(|slot| slot.ready != ready, |slot| slot.ready = ready);
    }

    fn failed(&self, kind: Kind, message: &str) {
        let about = self.context.container_reference(self.name, self.place);
        let message = format!("{} probe failed: {message}", kind.as_str());
        self.context.node.events.record(about, Severity::Warning, "Unhealthy", message);
    }
}
