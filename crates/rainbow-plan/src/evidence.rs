//! What is known of a pod's connections, and what follows from it for the pod's end.

use crate::{Color, Connections, Deadline, Place, Pod, Time, Why, draft::Draft, view::View};

/// When a color's pods, or those of an instance of several colors, may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// When the last color that has it left its last stage.
    pub(crate) released: Time,
    /// When connections are cut; `None`: never.
    pub(crate) deadline: Option<Time>,
    /// Clients of a stage may have reached it.
    pub(crate) served: bool,
}

impl Clock {
    pub(crate) fn of(view: &View<'_>, color: &Color, released: Time) -> Self {
        let deadline = match color.deadline {
            // Who deletes a color wants it gone.
            _ if color.deleting => Some(released),
            Some(Deadline::Now) => Some(released),
            Some(Deadline::After(after)) => Some(released.after(after)),
            Some(Deadline::Never) => None,
            None => Some(released.after(view.spec.drain.deadline)),
        };
        let served = color.served.as_ref().is_none_or(|stages| !stages.is_empty());
        Self { released, deadline, served }
    }

    /// Of something that both have: it goes with the later one.
    pub(crate) fn later(self, other: Self) -> Self {
        let deadline = self.deadline.zip(other.deadline).map(|(one, other)| one.max(other));
        Self { released: self.released.max(other.released), deadline, served: self.served || other.served }
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
    /// It has had no connections for long enough, as far as counts say; the last one is older than the end of that time.
    Confirms,
    /// It has connections, or nobody knows whether it has any.
    Holds,
    /// Clients may be sent to it: it is not asked to go.
    Serves,
}

/// What the evidence says about a pod that no client is sent to any more. Unknown is not drained.
pub(crate) fn verdict(view: &View<'_>, clock: &Clock, pod: &Pod) -> Verdict {
    let verdict = match pod.connections {
        Connections::Uncounted => Verdict::Goes(Why::Time),
        // A person may have forwarded a port to a pod that no stage has had. One that is not ready does not answer, whoever asks.
        Connections::Idle { .. } if !clock.served => Verdict::Goes(Why::NeverServed),
        Connections::Unknown { .. } if !clock.served && !pod.ready => Verdict::Goes(Why::NeverServed),
        Connections::Unknown { .. } | Connections::Busy { .. } => Verdict::Holds,
        Connections::Idle { since, counted } => {
            let settle = view.spec.drain.settle;
            // From when on no client can be sent to it. What was counted before says little.
            let until = since.max(view.forgotten(clock.released)).after(settle);
            if until > view.now {
                Verdict::Settles(until)
            } else if counted < since.after(settle) {
                // A connection may have come and gone since the last count: the one at the end of the time decides.
                Verdict::Confirms
            } else {
                Verdict::Goes(Why::Idle)
            }
        }
    };
    match verdict {
        Verdict::Settles(_) | Verdict::Confirms if clock.is_over(view) => Verdict::Goes(Why::Idle),
        Verdict::Holds if clock.is_over(view) => Verdict::Goes(Why::Deadline),
        Verdict::Settles(until) => Verdict::Settles(clock.deadline.map_or(until, |deadline| deadline.min(until))),
        other => other,
    }
}

/// What the evidence says about a pod of an instance that becomes smaller, and the pod's own clock.
///
/// A pod that was taken out of its Services drains as those of a draining color do. The endpoints of inner Services are not
/// observed: of those, the time since the label was taken off is the evidence.
pub(crate) fn verdict_of_fewer(view: &View<'_>, pod: &Pod, draft: &mut Draft) -> (Clock, Verdict) {
    let unset = Clock { released: view.now, deadline: None, served: true };
    let Place::Out { since: Some(since) } = pod.place else { return (unset, Verdict::Serves) };
    let deadline = since.after(view.spec.drain.deadline);
    let released = pod.left.values().copied().chain([since]).max().unwrap_or(since);
    let clock = Clock { released, deadline: Some(deadline), served: true };
    if !pod.endpoint.is_empty() {
        return (clock, Verdict::Serves);
    }
    let forgotten = view.forgotten(released);
    if forgotten > view.now {
        draft.wake(forgotten);
        return (clock, Verdict::Serves);
    }
    let time = since.after(view.spec.drain.settle).min(deadline);
    match pod.connections {
        Connections::Uncounted if time > view.now => (clock, Verdict::Settles(time)),
        Connections::Uncounted | Connections::Unknown { .. } | Connections::Busy { .. } | Connections::Idle { .. } => {
            (clock, verdict(view, &clock, pod))
        }
    }
}

/// The pod has not been ready for so long that it may go as one that was taken out of its Services.
pub(crate) fn has_drained(view: &View<'_>, pod: &Pod, draft: &mut Draft) -> bool {
    let clock = Clock { released: pod.ready_since, deadline: None, served: true };
    let until = view.forgotten(pod.ready_since).max(pod.ready_since.after(view.spec.drain.settle));
    if until > view.now {
        draft.wake(until);
    }
    !pod.ready && pod.endpoint.is_empty() && until <= view.now && matches!(verdict(view, &clock, pod), Verdict::Goes(_))
}

/// From when on the pod is worth telling people and autoscalers about: it has connections, or has been asked in vain for a
/// while. At first nobody has been asked yet, and an answer may be lost now and then. `None`: it is not.
pub(crate) fn held_from(view: &View<'_>, clock: &Clock, pod: &Pod) -> Option<Time> {
    match pod.connections {
        Connections::Busy { .. } => Some(clock.released),
        Connections::Unknown { since } => Some(view.forgotten_in_cluster(since.max(clock.released))),
        Connections::Uncounted | Connections::Idle { .. } => None,
    }
}

/// It is that by now.
pub(crate) fn is_held(view: &View<'_>, clock: &Clock, pod: &Pod) -> bool {
    held_from(view, clock, pod).is_some_and(|from| from <= view.now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InstanceName, Spec, World};
    use std::time::Duration;

    const fn seconds(seconds: i64) -> Time {
        Time(seconds * 1_000)
    }

    /// Settles in 30 s, and the data plane forgets in 2 s.
    fn world() -> World {
        let mut spec = Spec::new("v2", Vec::new(), Vec::new());
        (spec.drain.deadline, spec.drain.settle) = (Duration::from_secs(600), Duration::from_secs(30));
        World::new(spec)
    }

    fn pod(connections: Connections) -> Pod {
        let instance = InstanceName::shared("a", "v1");
        Pod { connections, ..Pod::new("a-v1-1", instance) }
    }

    #[track_caller]
    fn check(connections: Connections, deadline: Option<i64>, now: i64, expected: Verdict) {
        let clock = Clock { released: seconds(100), deadline: deadline.map(seconds), served: true };
        let world = world();
        assert_eq!(verdict(&View::new(&world, &world.spec, seconds(now)), &clock, &pod(connections)), expected);
    }

    #[test]
    fn idle_goes_when_it_has_settled() {
        let idle = |since| Connections::Idle { since: seconds(since), counted: seconds(1_000) };
        check(idle(200), Some(700), 229, Verdict::Settles(seconds(230)));
        check(idle(200), Some(700), 230, Verdict::Goes(Why::Idle));
        // From before no client could be sent to it.
        check(idle(50), Some(700), 131, Verdict::Settles(seconds(132)));
        check(idle(50), Some(700), 132, Verdict::Goes(Why::Idle));
        // The deadline is sooner, and cuts nothing.
        check(idle(200), Some(210), 209, Verdict::Settles(seconds(210)));
        check(idle(200), Some(210), 210, Verdict::Goes(Why::Idle));
    }

    /// The settle rule: the counts at the beginning and at the end of `settle` found no connection, and none in between did.
    #[test]
    fn the_last_count_is_from_the_end_of_the_time() {
        let idle = |counted| Connections::Idle { since: seconds(200), counted: seconds(counted) };
        check(idle(229), None, 229, Verdict::Settles(seconds(230)));
        check(idle(229), None, 230, Verdict::Confirms);
        check(idle(229), None, 1_000, Verdict::Confirms);
        check(idle(230), None, 230, Verdict::Goes(Why::Idle));
        check(idle(229), Some(230), 230, Verdict::Goes(Why::Idle));
    }

    #[test]
    fn busy_and_unknown_hold_until_the_deadline() {
        for held in [Connections::Busy { count: 1, since: seconds(0) }, Connections::Unknown { since: seconds(0) }] {
            check(held, Some(700), 699, Verdict::Holds);
            check(held, Some(700), 700, Verdict::Goes(Why::Deadline));
            check(held, None, 1_000_000, Verdict::Holds);
        }
        check(Connections::Uncounted, Some(700), 100, Verdict::Goes(Why::Time));
    }

    #[test]
    fn unknown_is_told_only_after_a_while() {
        let world = world();
        let clock = Clock { released: seconds(100), deadline: None, served: true };
        let held = |connections, now| is_held(&View::new(&world, &world.spec, seconds(now)), &clock, &pod(connections));
        assert!(held(Connections::Busy { count: 1, since: seconds(0) }, 100));
        assert!(!held(Connections::Unknown { since: seconds(0) }, 101));
        assert!(held(Connections::Unknown { since: seconds(0) }, 102));
        assert!(!held(Connections::Unknown { since: seconds(200) }, 201));
        assert!(!held(Connections::Idle { since: seconds(0), counted: seconds(200) }, 200));
    }

    #[test]
    fn what_several_colors_have_goes_with_the_last() {
        let clock = |released, deadline: Option<i64>| Clock {
            released: seconds(released),
            deadline: deadline.map(seconds),
            served: true,
        };
        assert_eq!(clock(1, Some(5)).later(clock(2, Some(3))), clock(2, Some(5)));
        assert_eq!(clock(1, None).later(clock(2, Some(3))), clock(2, None));
    }
}
