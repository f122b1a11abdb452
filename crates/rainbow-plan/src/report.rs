//! Report: facts about stages, colors and problems.

use crate::{
    ColorPhase, ColorReport, DrainReport, InstanceName, MAX_HOLDERS, Part, PartMemory, Problem, RejectedBy, Rejection,
    Report, Scaler, ShiftPhase, StageReport, Version, Waiting,
    colors::{Role, SlotQueueEntry, is_cleared, is_demoted},
    draft::Draft,
    drain::Ending,
    gates,
    health::{self, Warmth, WayBack},
    holders::ConnectionFacts,
    situation::{Goal, ServiceTarget, Situation, has_ready},
    sizes::{Sizes, complete, lacking},
    slots,
    view::{ColorId, View},
};

/// Results of the other modules.
pub(crate) struct ReportInput<'s, 'a> {
    pub(crate) situations: &'s [Situation<'a>],
    pub(crate) roles: &'s [Role],
    pub(crate) sizes: &'s Sizes<'a>,
    pub(crate) ends: &'s [Ending],
    pub(crate) waiting: &'s [SlotQueueEntry],
}

pub(crate) fn report(
    view: &View<'_>,
    input: &ReportInput<'_, '_>,
    connection_facts: &[ConnectionFacts],
    stages: Vec<StageReport>,
    draft: &mut Draft,
) -> Report {
    let known = || view.colors.iter().map(|color| color.name.clone()).collect();
    for situation in input.situations {
        if let Goal::Unknown(color) = situation.goal {
            let (stage, color) = (situation.stage.user_name().to_owned(), color.to_owned());
            draft.problem(Problem::UnknownColor { stage, color, known: known() });
        }
    }
    let ReportInput { situations, roles, sizes, ends, waiting } = *input;
    let reporter = Reporter { view, situations, roles, sizes, ends, connection_facts };
    let mut colors: Vec<ColorReport> = (0..view.colors.len()).map(|id| reporter.color(id, draft)).collect();
    let frees_itself = slots::report(view, situations, roles, &mut colors, waiting, draft);
    let mut colors = of_whole_colors(view, colors);
    reject(situations, &stages, &mut colors);
    let coming = |color: &ColorReport| {
        matches!(color.phase, ColorPhase::Starting | ColorPhase::Serving) && color.ready < color.wanted
    };
    let moving = |stage: &StageReport| {
        // While a color is prepared, it is the color that is coming; a stalled color is not.
        let shifts = |phase| matches!(phase, ShiftPhase::Shifting | ShiftPhase::Finishing);
        stage.shift.as_ref().is_some_and(|shift| shifts(shift.phase))
            || (stage.color.is_none() && stage.waiting.is_none())
    };
    let to_be_made = view.spec.version == Version::Valid && view.color(&view.spec.color).is_none();
    Report {
        progressing: to_be_made || frees_itself || colors.iter().any(coming) || stages.iter().any(moving),
        stages,
        colors,
        described: view.last_described(),
        problems: std::mem::take(&mut draft.problems),
    }
}

/// Notes the gate that has rejected a color in the color's report.
fn reject(situations: &[Situation<'_>], stages: &[StageReport], colors: &mut [ColorReport]) {
    for (situation, stage) in situations.iter().zip(stages) {
        let Some(Rejection { color, gate: Some(gate) }) = &stage.rejected else { continue };
        let by = RejectedBy { stage: situation.stage.user_name().to_owned(), gate: gate.clone() };
        for found in colors.iter_mut().filter(|found| found.name == *color) {
            found.rejected_by.get_or_insert_with(|| by.clone());
        }
    }
}

/// Merges the reports of a color's parts into one report a color. The shared part comes before the parts that belong to stages.
pub(crate) fn of_whole_colors(view: &View<'_>, reports: Vec<ColorReport>) -> Vec<ColorReport> {
    let mut all: Vec<ColorReport> = Vec::with_capacity(reports.len());
    for (id, report) in reports.into_iter().enumerate() {
        match (part(view, id, &report), all.last_mut()) {
            (Some(part), Some(whole)) => add_part(whole, report, part),
            (None, _) | (_, None) => all.push(report),
        }
    }
    all
}

/// Returns the memory of a part that belongs to a stage, for the status.
fn part(view: &View<'_>, id: ColorId, report: &ColorReport) -> Option<PartMemory> {
    match &view.colors[id].part {
        Part::Shared => None,
        Part::Own { key, .. } => Some(PartMemory {
            key: key.clone(),
            released: report.released,
            retired: report.retired,
            demoted: report.demoted,
            sizes: report.sizes.clone(),
            served: report.served.clone(),
        }),
    }
}

/// Adds the report of a part. The phase of the color is that of its most important part, and so is the reason why it waits.
fn add_part(whole: &mut ColorReport, report: ColorReport, part: PartMemory) {
    let rank = |phase| match phase {
        ColorPhase::Serving => 0,
        ColorPhase::Stalled => 1,
        ColorPhase::Starting => 2,
        ColorPhase::Ready => 3,
        ColorPhase::Draining => 4,
        ColorPhase::Retired => 5,
    };
    let is_more_important = rank(report.phase) < rank(whole.phase);
    if is_more_important {
        whole.phase = report.phase;
    }
    whole.waiting = match is_more_important {
        true => report.waiting.or(whole.waiting.take()),
        false => whole.waiting.take().or(report.waiting),
    };
    whole.rejected_by = whole.rejected_by.take().or(report.rejected_by);
    whole.ready = whole.ready.saturating_add(report.ready);
    whole.wanted = whole.wanted.saturating_add(report.wanted);
    let more = report.stages.into_iter().filter(|stage| !whole.stages.contains(stage)).collect::<Vec<_>>();
    whole.stages.extend(more);
    if let Some(connections) = report.connections {
        whole.connections = Some(whole.connections.unwrap_or(0).saturating_add(connections));
    }
    whole.drain = match (whole.drain.take(), report.drain) {
        (Some(one), Some(other)) => Some(both(one, other)),
        (one, other) => one.or(other),
    };
    whole.parts.push(part);
}

/// Merges the drains of two parts of a color.
fn both(mut one: DrainReport, other: DrainReport) -> DrainReport {
    one.since = one.since.min(other.since);
    one.deadline = one.deadline.zip(other.deadline).map(|(one, other)| one.max(other));
    one.pods = one.pods.saturating_add(other.pods);
    one.unknown = one.unknown.saturating_add(other.unknown);
    one.unknown_since = match (one.unknown_since, other.unknown_since) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    one.holders.extend(other.holders);
    one.holders.truncate(MAX_HOLDERS);
    one
}

/// Returns the names of stages as users know them, in the order of the spec.
pub(crate) fn stage_names(situations: &[Situation<'_>], stages: &[usize]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for stage in stages.iter().map(|index| situations[*index].stage.user_name()) {
        if !names.iter().any(|known| known == stage) {
            names.push(stage.to_owned());
        }
    }
    names
}

struct Reporter<'s, 'a> {
    view: &'s View<'a>,
    situations: &'s [Situation<'a>],
    roles: &'s [Role],
    sizes: &'s Sizes<'a>,
    ends: &'s [Ending],
    connection_facts: &'s [ConnectionFacts],
}

impl Reporter<'_, '_> {
    fn color(&self, id: ColorId, draft: &mut Draft) -> ColorReport {
        let color = self.view.colors[id];
        let instances = || color.instances.values();
        let retired = match self.ends[id] {
            Ending::Retired { retired, .. } => Some(retired),
            Ending::Lives | Ending::StaysWhole { .. } | Ending::KeptWarm { .. } | Ending::Drains { .. } => None,
        };
        let ConnectionFacts { connections, drain, .. } = self.connection_facts[id].clone();
        // A retired color's instances may live on with another color that shares them.
        let instances = || instances().filter(|_| retired.is_none());
        let wanted = |instance| self.sizes.of(instance).unwrap_or_else(|| self.view.asked(instance));
        let (phase, waiting) = self.phase(id, draft);
        ColorReport {
            name: color.name.clone(),
            phase,
            ready: instances().map(|instance| self.view.ready(instance)).fold(0, u32::saturating_add),
            wanted: instances().map(wanted).fold(0, u32::saturating_add),
            stages: stage_names(self.situations, self.roles[id].stages()),
            released: self.ends[id].released().or(color.released.filter(|_| is_cleared(&color.name, draft))),
            retired,
            entries: self.view.entries(id),
            demoted: is_demoted(self.view, self.situations, id),
            sizes: self.view.sizes(color, |tier| self.begins(color, tier)),
            served: health::served(self.view, self.situations, draft, id),
            rejected_by: gates::rejected_by(self.view, id).cloned(),
            connections,
            drain,
            waiting,
            parts: Vec::new(),
        }
    }

    fn phase(&self, id: ColorId, draft: &mut Draft) -> (ColorPhase, Option<Waiting>) {
        let color = self.view.colors[id];
        match self.ends[id] {
            Ending::StaysWhole { .. } if color.retire || color.deleting => {
                return (ColorPhase::Draining, Some(Waiting::ForDataPlane));
            }
            Ending::StaysWhole { .. } => return (ColorPhase::Draining, Some(Waiting::WholeForReturn)),
            Ending::KeptWarm { way, .. } => return (ColorPhase::Draining, Some(self.kept_warm(way))),
            Ending::Drains { .. } => return (ColorPhase::Draining, Some(self.draining(id))),
            Ending::Retired { .. } => return (ColorPhase::Retired, None),
            Ending::Lives => {}
        }
        if let Role::Waiting { .. } = self.roles[id] {
            return (ColorPhase::Starting, Some(Waiting::ForSlot { living: Vec::new() }));
        }
        let held = self.held(id);
        let complete = complete(self.view, self.sizes, id);
        let lacks = || lacking(self.view, color, |_, instance| self.sizes.of(instance).unwrap_or(0));
        let for_pods = || match complete {
            false => Some(Waiting::ForPods { lacks: lacks() }),
            true => self.fewer(id).or_else(|| self.scaled(id)),
        };
        if self.situations.iter().any(|situation| self.serves(situation, id)) {
            return (ColorPhase::Serving, held.or_else(for_pods));
        }
        if complete {
            return (ColorPhase::Ready, held.or_else(for_pods));
        }
        let after = self.view.spec.progress_deadline;
        let deadline = self.started(id).after(after);
        if deadline <= self.view.now && color.retired.is_none() {
            draft.problem(Problem::Stalled { color: color.name.clone(), after, lacks: lacks() });
            return (ColorPhase::Stalled, held.or_else(for_pods));
        }
        draft.wake(deadline);
        (ColorPhase::Starting, held.or_else(for_pods))
    }

    fn kept_warm(&self, way: WayBack) -> Waiting {
        let situation = &self.situations[way.stage];
        let color = situation.serving.map(|id| self.view.colors[id].name.clone()).unwrap_or_default();
        let stage = situation.stage.user_name().to_owned();
        match way.warmth {
            Warmth::WhileUnhealthy => Waiting::KeptWarm { stage, color, is_unhealthy: true },
            Warmth::Until(_) => Waiting::KeptWarm { stage, color, is_unhealthy: false },
            Warmth::WhileJudged => Waiting::KeptForGates { stage, color },
        }
    }

    /// Returns the pods with which a color that another writer scales begins to serve: the most that any stage asks for that is
    /// about to move to it.
    fn begins(&self, color: &crate::Color, tier: &str) -> Option<u32> {
        self.situations.iter().filter_map(|situation| situation.begins(self.view, color, tier)).max()
    }

    /// Returns the reason to wait when an autoscaler of another owner scales a tier of the color.
    fn scaled(&self, id: ColorId) -> Option<Waiting> {
        self.view.colors[id].instances.values().find_map(|instance| match self.view.scaler(instance) {
            Scaler::Foreign { name, .. } => {
                Some(Waiting::Scaled { tier: instance.tier.to_string(), scaler: name.clone() })
            }
            Scaler::Absent | Scaler::Taken | Scaler::Ours { .. } | Scaler::Deleting => None,
        })
    }

    /// Returns the reason to wait when the color has more pods than it should have.
    fn fewer(&self, id: ColorId) -> Option<Waiting> {
        if let Some(holders) = &self.connection_facts[id].fewer {
            return Some(Waiting::ForFewerPods { holders: holders.clone() });
        }
        let cannot = |instance: &InstanceName| {
            let (pods, wanted) = (self.view.count(instance).replicas, self.sizes.of(instance)?);
            let tier = instance.tier.to_string();
            (pods > wanted && !self.view.is_labeled(instance)).then_some(Waiting::CannotShrink { tier, pods, wanted })
        };
        self.view.colors[id].instances.values().find_map(cannot)
    }

    /// Returns the reason why a drain waits, without numbers: these have their own fields and change all the time.
    fn draining(&self, id: ColorId) -> Waiting {
        let ConnectionFacts { drain, waits_idle, asked, .. } = &self.connection_facts[id];
        match drain {
            Some(drain) if drain.pods > drain.unknown => Waiting::ForConnections,
            Some(drain) if drain.unknown > 0 => Waiting::ForUnknownConnections,
            _ if *asked => Waiting::ForCounts,
            _ if *waits_idle => Waiting::ForIdleTime,
            _ => Waiting::ForCallers,
        }
    }

    /// Returns the reason to wait when a user deletes a color that stages need.
    fn held(&self, id: ColorId) -> Option<Waiting> {
        let stages = self.roles[id].stages();
        if !self.view.colors[id].deleting || stages.is_empty() {
            return None;
        }
        Some(Waiting::HeldByStages { stages: stage_names(self.situations, stages) })
    }

    /// Returns whether clients of the stage reach the color. A Service that was made before its first color was ready serves no
    /// client yet.
    fn serves(&self, situation: &Situation<'_>, id: ColorId) -> bool {
        match situation.points {
            ServiceTarget::Instance(instance) => {
                let ever = situation.memory.since.is_some() && situation.serving == Some(id);
                situation.owner(self.view, instance) == Some(id) && (ever || has_ready(self.view, situation.stage, id))
            }
            ServiceTarget::Members => situation.members.iter().any(|pod| situation.is_of(self.view, pod, id)),
            ServiceTarget::Nowhere | ServiceTarget::Foreign | ServiceTarget::Other => false,
        }
    }

    /// Returns when the color was last asked to come up: when it was made, or when a stage was to go to it.
    fn started(&self, id: ColorId) -> crate::Time {
        let asked = self.situations.iter().filter(|situation| situation.goal == Goal::Color(id));
        let shifts = asked.filter_map(|situation| Some(situation.memory.shift.as_ref()?.started));
        shifts.chain([self.view.colors[id].created]).max().unwrap_or(self.view.now)
    }
}
