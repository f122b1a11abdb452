//! Time since when pods carry their marks and their membership labels, by this operator's clock.
//!
//! The cluster does not record the time of a mark, and the time that is written beside a membership label is by the clock of the operator
//! that wrote it. Both times may be lost: after a restart, marks and labels count as having been seen just now.

use rainbow_plan::{Mark, Time};
use std::collections::{BTreeSet, HashMap};

use crate::live::PodLabels;

/// Marks and labels of a pod, with the time since when it carries them.
#[derive(Debug)]
struct MarkTimes {
    mark: Mark,
    marked: Time,
    stages: BTreeSet<String>,
    labelled: Time,
}

/// Marks and labels by name of the pod, only of pods that carry or carried any.
#[derive(Debug, Default)]
pub(crate) struct PodMarks(HashMap<String, MarkTimes>);

impl PodMarks {
    /// Takes in what a pod carries now.
    pub(crate) fn see(&mut self, pod: &str, labels: &PodLabels, now: Time) {
        let Some(seen) = self.0.get_mut(pod) else {
            if labels.mark != Mark::None || !labels.member.is_empty() {
                let stages = labels.member.keys().cloned().collect();
                self.0.insert(pod.to_owned(), MarkTimes { mark: labels.mark, marked: now, stages, labelled: now });
            }
            return;
        };
        if seen.mark != labels.mark {
            (seen.mark, seen.marked) = (labels.mark, now);
        }
        if !seen.stages.iter().eq(labels.member.keys()) {
            seen.stages = labels.member.keys().cloned().collect();
            seen.labelled = now;
        }
    }

    /// Forgets a pod that is gone.
    pub(crate) fn forget(&mut self, pod: &str) {
        self.0.remove(pod);
    }

    /// Returns the time since when the pod carries its mark. A pod that never had one has always had none.
    pub(crate) fn marked(&self, pod: &str) -> Time {
        self.0.get(pod).map_or(Time(0), |seen| seen.marked)
    }

    /// Returns the time since when the pod carries its membership labels.
    pub(crate) fn labelled(&self, pod: &str) -> Time {
        self.0.get(pod).map_or(Time(0), |seen| seen.labelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rainbow_plan::Place;

    fn labels(mark: Mark, stages: &[&str]) -> PodLabels {
        PodLabels { mark, place: Place::In, member: stages.iter().map(|stage| ((*stage).to_owned(), None)).collect() }
    }

    #[test]
    fn remembers_since_when() {
        let mut marks = PodMarks::default();
        marks.see("p", &labels(Mark::None, &[]), Time(1));
        assert!(marks.0.is_empty(), "most pods never have one");
        marks.see("p", &labels(Mark::Leaving, &[]), Time(2));
        marks.see("p", &labels(Mark::Leaving, &[]), Time(3));
        assert_eq!((marks.marked("p"), marks.labelled("p")), (Time(2), Time(2)));
        marks.see("p", &labels(Mark::None, &[]), Time(4));
        marks.see("p", &labels(Mark::None, &["active"]), Time(5));
        marks.see("p", &labels(Mark::None, &["active"]), Time(6));
        assert_eq!((marks.marked("p"), marks.labelled("p")), (Time(4), Time(5)));
        marks.forget("p");
        assert_eq!(marks.marked("p"), Time(0));
    }
}
