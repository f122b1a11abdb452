//! Number of new pods that may serve now: what the steps and the gates of a shift allow.

use crate::{
    Moment, PassedStep, Shift, Step, StepMemory, Time, Waiting,
    gates::Checks,
    situation::Situation,
    view::{ColorId, View},
};

/// Part of a shift that is allowed now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Permission {
    /// New pods that may serve at most.
    pub(crate) limit: u32,
    /// All steps are done, and no gate is closed: the Service may select the new color as a whole.
    pub(crate) is_whole: bool,
    pub(crate) step: StepMemory,
    /// Reason why the shift does not go further. `None`: it does, as far as steps and gates are concerned.
    pub(crate) waiting: Option<Waiting>,
    /// Time when a pause ends.
    pub(crate) until: Option<Time>,
    pub(crate) checks: Checks,
}

/// State of a shift, as far as its steps depend on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moving {
    /// Color that the stage moves to.
    pub(crate) color: ColorId,
    /// Pods of the color that serve, or are about to.
    pub(crate) moved: u32,
    /// Pods that the stage wants to have.
    pub(crate) of: u32,
    /// Pods of both colors can serve side by side. Otherwise all pods move in one write, and steps that move some of them do nothing.
    pub(crate) is_gradual: bool,
    /// Time since when clients reach the new pods that serve. `None`: some of them have yet to be known to those who send clients.
    pub(crate) reached: Option<Time>,
    /// The color has begun to serve the stage, or no client of the stage would notice.
    pub(crate) has_begun: bool,
    /// The color is ready for the stage to move to.
    pub(crate) is_ready: bool,
}

impl Permission {
    /// Returns permission for everything.
    pub(crate) fn whole() -> Self {
        Self { limit: u32::MAX, is_whole: true, ..Self::default() }
    }
}

/// Returns how far a stage may move now.
pub(crate) fn permission(view: &View<'_>, situation: &Situation<'_>, moving: Moving) -> Permission {
    let Moving { color, moved, of, .. } = moving;
    let stage = situation.stage;
    let mut permission = Permission::default();
    if !moving.has_begun && !stage.gates.before.is_empty() {
        let since = started(view, situation, color).unwrap_or(view.now);
        let may_ask = moving.is_ready || has_outcome(view, stage, color);
        let gates = if may_ask { stage.gates.before.as_slice() } else { &[] };
        let has_passed = permission.checks.ask(view, situation, gates, color, &Moment::Before, since);
        if !has_passed || !may_ask {
            permission.waiting = permission.checks.holds.clone().map(crate::gates::Hold::waiting);
            return permission;
        }
    }
    match &stage.shift {
        Shift::Steps { steps, .. } => step(view, situation, moving, steps, &mut permission),
        Shift::Flip | Shift::Rolling { .. } => (permission.limit, permission.is_whole) = (u32::MAX, true),
    }
    // Between two steps, the gates must have passed with the pods that serve now.
    let is_between = 0 < moved && moved < of && moving.is_gradual;
    if is_between && !stage.gates.during.is_empty() {
        let has_passed = moving.reached.is_some_and(|since| {
            permission.checks.ask(view, situation, &stage.gates.during, color, &Moment::During { moved }, since)
        });
        if !has_passed {
            (permission.limit, permission.is_whole) = (permission.limit.min(moved), false);
            let hold = permission.checks.holds.clone().map(crate::gates::Hold::waiting);
            permission.waiting = hold.or(permission.waiting);
        }
    }
    permission
}

/// Returns whether a check before the shift has an outcome, so that it is still asked for while a pod of the color is not ready.
fn has_outcome(view: &View<'_>, stage: &crate::Stage, color: ColorId) -> bool {
    let name = &view.colors[color].name;
    view.world
        .checks
        .keys()
        .any(|check| check.moment == Moment::Before && check.color == *name && check.stage == stage.user_name())
}

/// Goes through the steps that are done, to the one that is under way.
fn step(view: &View<'_>, situation: &Situation<'_>, moving: Moving, steps: &[Step], permission: &mut Permission) {
    let Moving { color, moved, of, is_gradual, reached, .. } = moving;
    let name = &view.colors[color].name;
    let memory = situation.memory.shift.as_ref().filter(|shift| shift.to == *name);
    let remembered = memory.map(|shift| shift.step).unwrap_or_default();
    let count = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    let mut index = remembered.index.min(count);
    // A step that was reached is not taken back when later ones are: fewer pods than it asks for are only ever a gap.
    let before = &steps[..index as usize];
    let mut limit = before.iter().filter_map(|step| pods(step, of)).max().unwrap_or(0);
    while let Some(step) = steps.get(index as usize) {
        let known_since = remembered.since.filter(|_| remembered.index == index);
        match step {
            Step::Pods(_) | Step::Percent(_) => {
                limit = limit.max(pods(step, of).unwrap_or(0));
                let is_done = !is_gradual || (moved >= limit && reached.is_some());
                if !is_done {
                    permission.step = StepMemory { index, since: None };
                    permission.limit = limit;
                    return;
                }
            }
            Step::Pause { after } => {
                let started = memory.map(|shift| shift.started);
                let passed = started.map(|started| PassedStep { index, color: name.clone(), started });
                let is_passed = passed.is_some_and(|passed| is_passed(situation, &passed));
                let since = known_since.or(reached.or((moved == 0).then_some(view.now)));
                let until = after.and_then(|after| Some(since?.after(after)));
                if !is_passed && until.is_none_or(|until| until > view.now) {
                    permission.step = StepMemory { index, since };
                    permission.waiting = Some(Waiting::AtPause { index, color: name.clone(), until });
                    (permission.until, permission.limit) = (until, limit);
                    return;
                }
            }
            Step::Gate(gate) => {
                let since = known_since.or(reached.or((moved == 0).then_some(view.now)));
                let gates = std::slice::from_ref(gate);
                let has_passed = since.is_some_and(|since| {
                    permission.checks.ask(view, situation, gates, color, &Moment::Step { index }, since)
                });
                if !has_passed {
                    permission.step = StepMemory { index, since };
                    permission.waiting = permission.checks.holds.clone().map(crate::gates::Hold::waiting);
                    permission.limit = limit;
                    return;
                }
            }
        }
        index += 1;
    }
    permission.step = StepMemory { index, since: None };
    (permission.limit, permission.is_whole) = (u32::MAX, true);
}

/// Returns the new pods that serve after a step. `None`: the step moves none.
fn pods(step: &Step, of: u32) -> Option<u32> {
    match step {
        Step::Pods(pods) => Some((*pods).min(of)),
        Step::Percent(percent) => {
            let pods = u64::from(of).saturating_mul(u64::from(*percent)).div_ceil(100);
            Some(u32::try_from(pods).unwrap_or(u32::MAX).min(of))
        }
        Step::Pause { .. } | Step::Gate(_) => None,
    }
}

fn is_passed(situation: &Situation<'_>, step: &PassedStep) -> bool {
    match &situation.stage.shift {
        Shift::Steps { passed, .. } => passed.contains(step),
        Shift::Flip | Shift::Rolling { .. } => false,
    }
}

/// Returns when the shift to the color began.
pub(super) fn started(view: &View<'_>, situation: &Situation<'_>, color: ColorId) -> Option<Time> {
    let shift = situation.memory.shift.as_ref()?;
    (shift.to == view.colors[color].name).then_some(shift.started)
}
