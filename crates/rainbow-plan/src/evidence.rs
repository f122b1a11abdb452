//! What is known of a pod's connections, and what follows from it for the pod's end.

use crate::{Color, Connections, Deadline, Pod, Time, Why, view::View};

/// When a color's pods, or those of an instance of several colors, may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// When the last color that has it left its last stage.
    pub(crate) released: Time,
    /// When connections are cut; `None`: never.
    pub(crate) deadline: Option<Time>,
}

impl Clock {
    pub(crate) fn of(view: &View<'_>, color: &Color, released: Time) -> Self {
        let deadline = match color.deadline {
            // Who deletes a color wants it gone.
            _ if color.deleting => Some(released),
            Some(Deadline::Now) => Some(released),
            Some(Deadline::After(after)) => Some(released.after(after)),
            Some(Deadline::Never) => None,
            None => Some(released.after(view.spec().drain.deadline)),
        };
        Self { released, deadline }
    }

    /// Of something that both have: it goes with the later one.
    pub(crate) fn later(self, other: Self) -> Self {
        let deadline = self.deadline.zip(other.deadline).map(|(one, other)| one.max(other));
        Self { released: self.released.max(other.released), deadline }
    }

    fn is_over(&self, view: &View<'_>) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= view.now)
    }
}

/// What the evidence says about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may go.
    Goes(Why),
    /// It has no connections, but has not had none for long enough: it may go at this time.
    Settles(Time),
    /// It has connections, or nobody knows whether it has any.
    Holds,
}

/// What the evidence says about a pod that no client is sent to any more. Unknown is not drained.
pub(crate) fn verdict(view: &View<'_>, clock: &Clock, pod: &Pod) -> Verdict {
    let verdict = match pod.connections {
        Connections::Uncounted => Verdict::Goes(Why::Time),
        Connections::Unknown { .. } | Connections::Busy { .. } => Verdict::Holds,
        Connections::Idle { since } => {
            // From when on no client can be sent to it. What was counted before says little.
            let until = since.max(view.forgotten(clock.released)).after(view.spec().drain.settle);
            if until <= view.now { Verdict::Goes(Why::Idle) } else { Verdict::Settles(until) }
        }
    };
    match verdict {
        Verdict::Settles(_) if clock.is_over(view) => Verdict::Goes(Why::Idle),
        Verdict::Holds if clock.is_over(view) => Verdict::Goes(Why::Deadline),
        Verdict::Settles(until) => Verdict::Settles(clock.deadline.map_or(until, |deadline| deadline.min(until))),
        other => other,
    }
}

/// From when on the pod is worth telling people and autoscalers about: it has connections, or has been asked in vain for a
/// while. At first nobody has been asked yet, and an answer may be lost now and then. `None`: it is not.
pub(crate) fn held_from(view: &View<'_>, clock: &Clock, pod: &Pod) -> Option<Time> {
    match pod.connections {
        Connections::Busy { .. } => Some(clock.released),
        Connections::Unknown { since } => Some(view.forgotten(since.max(clock.released))),
        Connections::Uncounted | Connections::Idle { .. } => None,
    }
}

/// It is that by now.
pub(crate) fn is_held(view: &View<'_>, clock: &Clock, pod: &Pod) -> bool {
    held_from(view, clock, pod).is_some_and(|from| from <= view.now)
}
