//! Evidence of a pod's connections, and what follows from it for the pod's end.

use crate::{Color, Connections, Deadline, Place, Pod, Time, Why, draft::Draft, view::View};

/// Clock of the pods of a color, or of an instance that several colors share: when the pods may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Time when the last color that has the pods left its last stage.
    pub(crate) released: Time,
    /// Time when connections are cut; `None`: never.
    pub(crate) deadline: Option<Time>,
    /// A stage may have sent clients to the pods.
    pub(crate) served: bool,
}

impl Clock {
    pub(crate) fn of(view: &View<'_>, color: &Color, released: Time) -> Self {
        let deadline = match color.deadline {
            // A user who deletes a color wants it gone.
            _ if color.deleting => Some(released),
            Some(Deadline::Now) => Some(released),
            Some(Deadline::After(after)) => Some(released.after(after)),
            Some(Deadline::Never) => None,
            None => Some(released.after(view.spec.drain.deadline)),
        };
        let served = color.served.as_ref().is_none_or(|stages| !stages.is_empty());
        Self { released, deadline, served }
    }

    /// Returns the clock of something that both have: it ends with the later one.
    pub(crate) fn later(self, other: Self) -> Self {
        let deadline = self.deadline.zip(other.deadline).map(|(one, other)| one.max(other));
        Self { released: self.released.max(other.released), deadline, served: self.served || other.served }
    }

    fn is_over(&self, view: &View<'_>) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= view.now)
    }
}

/// Verdict of the evidence on a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The pod may end.
    Goes(Why),
    /// The pod has no connections, but has not been idle for long enough: it may end at this time.
    Settles(Time),
    /// The pod has been idle for long enough, as far as counts say, but the last count is older than the end of that time.
    Confirms,
    /// The pod has connections, or it is unknown whether it has any.
    Holds,
    /// Clients may be sent to the pod: it is not to end.
    Serves,
}

/// Returns the verdict on a pod that no client is sent to any more. Unknown is not drained.
pub(crate) fn verdict(view: &View<'_>, clock: &Clock, pod: &Pod) -> Verdict {
    let verdict = match pod.connections {
        Connections::Uncounted => Verdict::Goes(Why::Time),
        // A user may have forwarded a port to a pod that no stage has had. A pod that is not ready does not answer any client.
        Connections::Idle { .. } if !clock.served => Verdict::Goes(Why::NeverServed),
        Connections::Unknown { .. } if !clock.served && !pod.ready => Verdict::Goes(Why::NeverServed),
        Connections::Unknown { .. } | Connections::Busy { .. } => Verdict::Holds,
        Connections::Idle { since, counted } => {
            let settle = view.spec.drain.settle;
            // No client can be sent to the pod after this time. An earlier count says little.
            let until = since.max(view.forgotten(clock.released)).after(settle);
            if until > view.now {
                Verdict::Settles(until)
            } else if counted < since.after(settle) {
                // A connection may have come and gone since the last count: the count at the end of the time decides.
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

/// Returns the verdict on a pod of an instance that becomes smaller, and the pod's own clock.
///
/// A pod that was taken out of its Services drains as a pod of a draining color does. The endpoints of inner Services are not
/// observed: for these, the time since the label was taken off is the evidence.
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

/// Returns whether the pod has been not ready for so long that it may end like a pod that was taken out of its Services.
pub(crate) fn has_drained(view: &View<'_>, pod: &Pod, draft: &mut Draft) -> bool {
    let clock = Clock { released: pod.ready_since, deadline: None, served: true };
    let until = view.forgotten(pod.ready_since).max(pod.ready_since.after(view.spec.drain.settle));
    if until > view.now {
        draft.wake(until);
    }
    !pod.ready && pod.endpoint.is_empty() && until <= view.now && matches!(verdict(view, &clock, pod), Verdict::Goes(_))
}

/// Returns the time from which on the pod counts as held, for reports and for autoscalers: it has connections, or has been asked
/// in vain for a while. At first no pod has been asked yet, and an answer may be lost now and then. `None`: the pod is not held.
pub(crate) fn held_from(view: &View<'_>, clock: &Clock, pod: &Pod) -> Option<Time> {
    match pod.connections {
        Connections::Busy { .. } => Some(clock.released),
        Connections::Unknown { since } => Some(view.forgotten_in_cluster(since.max(clock.released))),
        Connections::Uncounted | Connections::Idle { .. } => None,
    }
}

/// Returns whether the pod counts as held by now.
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

    /// Returns a world that settles in 30 s, and whose data plane forgets in 2 s.
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
        // Idle since before the time after which no client could be sent to it.
        check(idle(50), Some(700), 131, Verdict::Settles(seconds(132)));
        check(idle(50), Some(700), 132, Verdict::Goes(Why::Idle));
        // The deadline is sooner, and cuts nothing.
        check(idle(200), Some(210), 209, Verdict::Settles(seconds(210)));
        check(idle(200), Some(210), 210, Verdict::Goes(Why::Idle));
    }

    /// Tests the settle rule: the counts at the beginning and at the end of `settle` found no connection, and none in between
    /// did.
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
