//! Report of a stage: where it is, the shift under way, and the reason why it does not move although it should.

use super::{Pace, Permission, Progress, Shifter, pace};
use crate::{
    Promote, ShiftReport, StageReport, Waiting,
    colors::Role,
    situation::{Goal, ServiceTarget, Situation, has_ready},
    sizes::{Sizes, lacking},
    view::ColorId,
};

impl Shifter<'_, '_> {
    pub(super) fn report(&self, progress: &Progress, sizes: &Sizes<'_>, roles: &[Role]) -> StageReport {
        let Situation { stage, memory, serving, .. } = self.situation;
        let name = |color: ColorId| self.view.colors[color].name.clone();
        let color = serving.map(name);
        // Only a color that has served and that still exists is worth going back to. A color that has ready pods now counts as
        // served, even where the status does not say so yet.
        let is_up =
            |name: &str| self.view.color_in(&stage.name, name).is_some_and(|color| has_ready(self.view, stage, color));
        let previous = match (&memory.color, &color) {
            (Some(before), Some(now)) if before != now && (memory.since.is_some() || is_up(before)) => {
                Some(before.clone())
            }
            _ => memory.previous.clone(),
        };
        let blocked = self.situation.block.as_ref().map(|block| block.color);
        let target = blocked.or(self.target.color).or(self.target.wanted);
        let shift = serving.and_then(|serving| self.shift(progress, serving, previous.as_deref()));
        StageReport {
            name: stage.name.clone(),
            target: target.map(name),
            previous: previous
                .filter(|previous| self.view.color(previous).is_some() && Some(previous) != color.as_ref()),
            since: self.since(),
            shift,
            degraded: None,
            rejected: None,
            approved: None,
            hold: None,
            waiting: self.waiting(sizes, roles),
            color,
            tiers: Vec::new(),
        }
    }

    /// Returns the report of the shift under way. The origin of the shift is kept until its last label is gone, so that the way
    /// back stays known.
    fn shift(&self, progress: &Progress, serving: ColorId, previous: Option<&str>) -> Option<ShiftReport> {
        // A Service that another writer has pointed elsewhere is reverted, which moves nothing.
        if self.target.color == Some(serving) && !progress.ended && self.situation.points != ServiceTarget::Members {
            return None;
        }
        let name = |color: ColorId| self.view.colors[color].name.clone();
        let memory = self.situation.memory.shift.as_ref();
        let (from, to) = if progress.ended {
            let to = name(serving);
            let from = memory.filter(|shift| shift.to == to && shift.from != to).map(|shift| shift.from.clone());
            (from.or_else(|| previous.map(str::to_owned)).unwrap_or_else(|| to.clone()), to)
        } else {
            let to = self.target.color.or(self.target.wanted).or(progress.to)?;
            (name(progress.from.unwrap_or(serving)), name(to))
        };
        Some(ShiftReport {
            from,
            to,
            phase: progress.phase?,
            moved: progress.moved.min(self.of),
            of: self.of,
            started: memory.map(|shift| shift.started).or_else(|| self.last_joined()).unwrap_or(self.view.now),
            next_step: progress.next_step,
            step: progress.step,
            // A way back has no steps.
            steps: if self.permission == Permission::whole() { 0 } else { pace::steps(self.situation.stage) },
        })
    }

    /// Returns the reason why the stage must not go further: it has been taken back, or its user has pinned it to another color
    /// than the newest, which it follows by default.
    fn pinned(&self, wanted: ColorId) -> Option<Waiting> {
        if let Some(rejected) = self.situation.rejected {
            let color = self.view.colors[rejected].name.clone();
            return Some(Waiting::RolledBack { color, gate: self.situation.rejecting_gate(self.view) });
        }
        let stage = self.situation.stage;
        let newest =
            self.view.described.filter(|newest| self.view.colors[*newest].name != self.view.colors[wanted].name)?;
        let is_pinned = stage.promote == Promote::Auto && stage.color.is_some();
        let name = |color: ColorId| self.view.colors[color].name.clone();
        is_pinned.then(|| Waiting::Pinned { color: name(wanted), newest: name(newest) })
    }

    /// Returns the reason to wait when all pods that the surge allows have moved, and pods of the color that the stage comes from
    /// have yet to end.
    fn waits_for_room(&self, wanted: ColorId) -> Option<Waiting> {
        let serving = self.situation.serving.filter(|_| self.situation.points == ServiceTarget::Members)?;
        self.situation.shares.get(&wanted)?;
        let target = self.target.instance.filter(|_| self.target.color == Some(wanted))?;
        let stage = &self.situation.stage.name;
        let pods = self.view.pods(target);
        let has_moved = pods.iter().all(|pod| pod.member.contains_key(stage));
        let is_part = pods.len() < self.of as usize;
        (has_moved && is_part).then(|| Waiting::ForRoom { color: self.view.colors[serving].name.clone() })
    }

    /// Returns the reason to wait when all pods of the color have moved, and the writer that scales it keeps it from having as
    /// many as the stage should have.
    fn waits_for_scaler(&self, wanted: ColorId) -> Option<Waiting> {
        let color = self.view.colors[wanted];
        let target = self.target.instance.filter(|_| self.target.color == Some(wanted))?;
        self.situation.begins(self.view, color, &target.tier)?;
        let stage = &self.situation.stage.name;
        let pods = self.view.pods(target);
        let moved = pods.iter().filter(|pod| pod.member.contains_key(stage) && !pod.terminating).count();
        let moved = u32::try_from(moved).unwrap_or(u32::MAX);
        let has_moved = self.situation.points == ServiceTarget::Members && moved >= self.view.full(color, &target.tier);
        let waiting = Waiting::ForScaler { color: color.name.clone(), moved, wanted: self.of };
        (has_moved && moved < self.of).then_some(waiting)
    }

    /// Returns the reason why the stage does not move although it should.
    fn waiting(&self, sizes: &Sizes<'_>, roles: &[Role]) -> Option<Waiting> {
        let Situation { stage, points, goal, .. } = self.situation;
        let name = |color: ColorId| self.view.colors[color].name.clone();
        match (points, goal) {
            (ServiceTarget::Foreign, _) => return Some(Waiting::ForeignService),
            (_, Goal::Unknown(color)) => return Some(Waiting::ForMissingColor { color: (*color).to_owned() }),
            (_, Goal::Deleting(color)) => return Some(Waiting::ForDeletedColor { color: name(*color) }),
            (_, Goal::Color(_) | Goal::Stay) => {}
        }
        if let Some(block) = &self.situation.block {
            return Some(block.waiting.clone());
        }
        let wanted = self.target.wanted?;
        let color = self.view.colors[wanted];
        if let Role::Waiting { .. } = roles[wanted] {
            return Some(Waiting::ForColorWithoutSlot { color: name(wanted) });
        }
        if self.situation.instance(self.view, wanted).is_none() {
            return Some(Waiting::ForMissingTier { color: name(wanted), tier: stage.tier.clone() });
        }
        if self.target.held_by_pause && !matches!(self.target.pace, Pace::AtOnce) {
            return Some(if stage.invalid { Waiting::ForValidStage } else { Waiting::Paused });
        }
        if let Some(waiting) = &self.permission.waiting {
            return Some(waiting.clone());
        }
        if self.target.ready || (self.situation.serving == Some(wanted) && matches!(points, ServiceTarget::Instance(_)))
        {
            let waits = || self.waits_for_room(wanted).or_else(|| self.waits_for_scaler(wanted));
            return self.pinned(wanted).or_else(waits);
        }
        let lacks = lacking(self.view, color, |tier, instance| {
            self.situation.asks(self.view, wanted, tier).max(sizes.of(instance).unwrap_or(0))
        });
        // A color that lacks nothing waits until its Deployments have observed that they must keep all its pods.
        (!lacks.is_empty()).then(|| Waiting::ForColor { color: name(wanted), lacks })
    }
}
