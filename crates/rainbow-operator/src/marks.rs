//! Since when pods carry their marks. As with endpoints the cluster does not say it, and it is safe to forget: after a
//! restart a mark counts as having been seen just now.

use rainbow_plan::{Mark, Time};
use std::collections::HashMap;

/// By name of the pod; only of those that carry or carried a mark.
#[derive(Debug, Default)]
pub(crate) struct Marks(HashMap<String, (Mark, Time)>);

impl Marks {
    /// Takes in a pod's mark as it is now.
    pub(crate) fn see(&mut self, pod: &str, mark: Mark, now: Time) {
        match self.0.get_mut(pod) {
            Some((known, _)) if *known == mark => {}
            Some(known) => *known = (mark, now),
            None if mark == Mark::None => {}
            None => drop(self.0.insert(pod.to_owned(), (mark, now))),
        }
    }

    /// The pod is gone.
    pub(crate) fn forget(&mut self, pod: &str) {
        self.0.remove(pod);
    }

    /// Since when the pod carries its mark; one that never had any has had none for ever.
    pub(crate) fn since(&self, pod: &str) -> Time {
        self.0.get(pod).map_or(Time(0), |(_, since)| *since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_since_when() {
        let mut marks = Marks::default();
        marks.see("p", Mark::None, Time(1));
        assert!(marks.0.is_empty(), "most pods never have one");
        marks.see("p", Mark::Leaving, Time(2));
        marks.see("p", Mark::Leaving, Time(3));
        assert_eq!(marks.since("p"), Time(2));
        marks.see("p", Mark::None, Time(4));
        assert_eq!(marks.since("p"), Time(4));
        marks.forget("p");
        assert_eq!(marks.since("p"), Time(0));
    }
}
