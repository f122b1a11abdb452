//! Reasons why a stage waits, since when, and what ends the wait.

use jiff::Timestamp;
use rainbow_api::{GateStatus, GateVerdict, Rainbow, ShiftPhase, Stage, StageStatus};
use serde::Serialize;

use crate::{
    gates, hold, pace, stage,
    view::{ColorView, StageView, View},
    words,
};

/// Position of a stage, and the reasons why it is not elsewhere.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StageWhy {
    pub(super) stage: String,
    /// Activity of the stage, such as `serves v1`.
    pub(super) does: String,
    /// Time of the last change (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    /// Events that the stage waits for. Empty: none.
    pub(super) waits: Vec<String>,
    /// Events or commands that end the wait.
    pub(super) ends: Vec<String>,
}

/// Explains one stage.
pub(super) fn explain(rainbow: &Rainbow, stage: &Stage, view: &View, now: Timestamp) -> StageWhy {
    let name = stage.name.clone();
    let status = rainbow.status.as_ref().and_then(|status| status.stages.iter().find(|known| known.name == name));
    let seen = view.stages.iter().find(|seen| seen.name == name);
    let Some((status, seen)) = status.zip(seen) else {
        let waits = vec!["the operator to see it".to_owned()];
        let ends = vec![NO_OPERATOR.to_owned()];
        return StageWhy { stage: name, does: "serves nothing yet".into(), since: None, waits, ends };
    };
    let mut why = StageWhy { stage: name, does: does(status), since: since(status), ..StageWhy::default() };
    let observed = rainbow.status.as_ref().and_then(|status| status.observed_generation);
    if observed < rainbow.metadata.generation {
        why.waits.push("the operator to see the last change: what follows is older".into());
        why.ends.push(NO_OPERATOR.into());
    }
    let about = About { rainbow, stage, status, seen, view, now };
    let all = [about.paused(), about.held(), about.rejected(), about.between_tiers(), about.at_pause()];
    let mut found: Vec<Wait> = all.into_iter().flatten().chain(about.gates()).collect();
    if found.is_empty() {
        found.extend(about.shifts().or_else(|| about.follows()).or_else(|| about.serves_nothing()));
        found.extend(about.degraded());
    }
    if found.is_empty() {
        found.extend(about.pinned().or_else(|| about.says()));
    }
    for wait in found {
        why.waits.push(wait.waits);
        let new: Vec<String> = wait.ends.into_iter().filter(|end| !why.ends.contains(end)).collect();
        why.ends.extend(new);
    }
    why
}

const NO_OPERATOR: &str = "it ends by itself within seconds, where an operator runs";

fn does(status: &StageStatus) -> String {
    match (&status.shift, &status.color) {
        (Some(shift), _) if shift.phase == ShiftPhase::Finishing => {
            format!("serves {}, and finishes its shift", shift.to)
        }
        (Some(shift), _) => format!("moves from {} to {}, {} of {} pods", shift.from, shift.to, shift.moved, shift.of),
        (None, Some(color)) => format!("serves {color}"),
        (None, None) => "serves nothing yet".to_owned(),
    }
}

fn since(status: &StageStatus) -> Option<String> {
    let shift = status.shift.as_ref().map(|shift| shift.started_at.clone());
    shift.or_else(|| status.since.clone()).filter(|since| !since.is_empty())
}

struct Wait {
    waits: String,
    ends: Vec<String>,
}

/// Stage, with everything that is known of it.
#[derive(Clone, Copy)]
struct About<'a> {
    rainbow: &'a Rainbow,
    stage: &'a Stage,
    status: &'a StageStatus,
    seen: &'a StageView,
    view: &'a View,
    now: Timestamp,
}

impl About<'_> {
    /// Returns the stage as arguments of a command: `shop --stage active`.
    fn named(&self) -> String {
        format!("{} --stage {}", self.rainbow.metadata.name.as_deref().unwrap_or_default(), self.stage.name)
    }

    fn message(&self) -> Option<String> {
        self.status.message.as_deref().map(|message| words::aged(message, self.now))
    }

    fn paused(&self) -> Option<Wait> {
        let named = self.named();
        if !stage::is_paused(self.rainbow, &self.stage.name) {
            return None;
        }
        let hold = self.rainbow.spec.hold(&self.stage.name).filter(|hold| hold.paused);
        let origin = hold.map(|hold| words::aged(&hold.origin(), self.now)).filter(|origin| !origin.is_empty());
        let origin = origin.map(|origin| format!(" {origin}")).unwrap_or_else(|| " by its spec".into());
        let back =
            self.status.shift.as_ref().map(|shift| format!("`rainbow abort {named}` goes back to {}", shift.from));
        let ends = [Some(format!("`rainbow resume {named}` lets it go on")), back].into_iter().flatten().collect();
        Some(Wait { waits: format!("its user: it was paused{origin}"), ends })
    }

    fn held(&self) -> Option<Wait> {
        let color = hold::color(self.rainbow, &self.stage.name)?;
        let hold = self.rainbow.spec.hold(&self.stage.name)?;
        let origin = words::aged(&hold.origin(), self.now);
        let origin = if origin.is_empty() { origin } else { format!(" {origin}") };
        let later = hold.revision.map(|_| "a later release".to_owned());
        let promote = format!("`rainbow promote {}` moves it on", self.named());
        let waits = format!("its user: it is held at {color}, to which it was taken back{origin}");
        Some(Wait { waits, ends: later.into_iter().chain([promote]).collect() })
    }

    fn rejected(&self) -> Option<Wait> {
        let color = self.status.rejected.as_ref()?;
        let another = "a release of another color".to_owned();
        let Some(gate) = &self.status.rejected_by else {
            let waits = format!("another version: it was taken back from {color}, which was unhealthy for too long");
            return Some(Wait { waits, ends: vec![another] });
        };
        let measured = self.status.gates.iter().rfind(|known| known.name == *gate && known.color == *color);
        let why = measured.and_then(|known| known.message.as_deref()).map(|why| words::aged(why, self.now));
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        let skip = format!(
            "`rainbow promote {} --to {color} --skip-gate {gate} --reason …` takes it all the same",
            self.named()
        );
        Some(Wait { waits: format!("another version: {color} failed gate {gate}{why}"), ends: vec![another, skip] })
    }

    /// Returns the wait of a stage at a pause of its steps, which is no hold of a user.
    fn at_pause(&self) -> Option<Wait> {
        let step = gates::pause_step(self.rainbow, self.stage)?;
        let by_itself = self.status.shift.as_ref().filter(|shift| shift.started_at == step.shift);
        let by_itself = by_itself.and_then(|shift| words::seconds_since(shift.next_step_at.as_deref()?, self.now));
        let by_itself = by_itself.map(|since| format!("it goes on by itself in {}", words::seconds(-since)));
        let resume = format!("`rainbow resume {}` lets it go on", self.named());
        let back = format!("`rainbow abort {}` goes back", self.named());
        let who = if by_itself.is_some() { "the end of" } else { "its user:" };
        let waits = format!(
            "{who} step {} on the way to {}, a pause that shift.steps asks for (no hold)",
            step.step, step.color
        );
        Some(Wait { waits, ends: by_itself.into_iter().chain([resume, back]).collect() })
    }

    /// Returns the waits for gates.
    fn gates(&self) -> Vec<Wait> {
        let wait = |gate: &GateStatus| {
            let name = &gate.name;
            let why = gates::reason(self.rainbow, gate).map(|why| format!(": {}", words::aged(why, self.now)));
            let why = why.unwrap_or_default();
            let progress = gates::progress(self.rainbow, gate);
            let waits = format!("gate {name} of {} {}: {progress}{why}", gate.color, gates::moment(gate));
            let by_itself = !gates::needs_person(self.rainbow, gate);
            let by_itself = by_itself.then(|| "it goes on by itself when the gate passes".to_owned());
            let no_data = (gate.verdict == GateVerdict::NoData).then(|| "a value, once there is one".to_owned());
            let remedies = gates::remedies(self.rainbow, &self.stage.name, gate);
            Wait { waits, ends: by_itself.into_iter().chain(no_data).chain(remedies).collect() }
        };
        gates::blocking(self.rainbow, &self.stage.name).into_iter().map(wait).collect()
    }

    fn between_tiers(&self) -> Option<Wait> {
        let steps = stage::steps(self.rainbow, self.stage);
        let step = steps.last()?;
        let pause = self.stage.shift.as_ref()?.tiers.as_ref()?.pause.as_ref()?;
        let by_itself = pause.duration.map(|after| {
            let status = self.status.tiers.iter().find(|tier| tier.tier == step.tier);
            let since =
                status.and_then(|tier| words::seconds_since(tier.since.as_deref()?, self.now)).unwrap_or_default();
            let left = i64::try_from(after.0.as_secs()).unwrap_or(i64::MAX).saturating_sub(since);
            format!("it goes on by itself in {}", words::seconds(left))
        });
        let resume = format!("`rainbow resume {}` lets it go on", self.named());
        let back = format!("`rainbow rollback {}` takes it back", self.named());
        Some(Wait {
            waits: format!("its user: tier {} has moved to {}, and the tiers that call it wait", step.tier, step.color),
            ends: by_itself.into_iter().chain([resume, back]).collect(),
        })
    }

    fn shifts(&self) -> Option<Wait> {
        let shift = self.status.shift.as_ref()?;
        let named = self.named();
        let lacking = self.view.color(&shift.to).map(ColorView::pods).filter(|(ready, wanted)| ready < wanted);
        let waits = match (lacking, pace::countdown(self.seen.pace, shift, self.now), self.message()) {
            (_, Some(countdown), _) => format!("its {countdown}"),
            (_, None, Some(message)) => message,
            (Some((ready, wanted)), None, None) => format!("pods of {}: {ready} of {wanted} ready", shift.to),
            (None, None, None) if shift.phase == ShiftPhase::Finishing => {
                "the data plane to follow the Service".to_owned()
            }
            (None, None, None) => "its next step".to_owned(),
        };
        let ends = vec![
            "it goes on by itself".to_owned(),
            format!("`rainbow pause {named}` holds it"),
            format!("`rainbow abort {named}` goes back to {}", shift.from),
        ];
        Some(Wait { waits, ends })
    }

    /// Returns the wait of a stage that will serve another color and has not begun to move.
    fn follows(&self) -> Option<Wait> {
        let target = self.status.target.as_ref().filter(|target| Some(*target) != self.status.color.as_ref())?;
        let color = self.view.color(target);
        let lacks = color.and_then(|color| color.message.clone()).filter(|message| !message.is_empty());
        let lacks = lacks.map(|lacks| format!(": {}", words::aged(&lacks, self.now))).unwrap_or_default();
        let waits = self.message().unwrap_or_else(|| format!("color {target}{lacks}"));
        Some(Wait { waits, ends: vec!["it moves by itself as soon as it can".into()] })
    }

    fn serves_nothing(&self) -> Option<Wait> {
        if self.status.color.is_some() {
            return None;
        }
        let newest = self.view.color.as_deref().unwrap_or("a color");
        let waits = self.message().unwrap_or_else(|| format!("{newest} to be ready"));
        Some(Wait { waits, ends: vec!["it serves as soon as a color is ready".into()] })
    }

    fn degraded(&self) -> Option<Wait> {
        let age = words::age(self.status.degraded_since.as_deref()?, self.now)?;
        let color = self.status.degraded_color.as_deref().or(self.status.color.as_deref())?;
        let previous = self.status.previous.as_ref();
        let back = previous.map(|color| format!("`rainbow rollback {}` goes back to {color}", self.named()));
        let waits = format!("{color} to be healthy: it has lacked pods for {age}");
        Some(Wait { waits, ends: back.into_iter().collect() })
    }

    /// Returns the wait of a stage that a user moved elsewhere, and that does not follow the newest color.
    fn pinned(&self) -> Option<Wait> {
        let (_, color) = stage::pinned(self.rainbow).find(|(stage, _)| stage.name == self.stage.name)?;
        let ends = vec![format!("`rainbow promote {}` lets it follow again", self.named())];
        Some(Wait { waits: format!("its user: it stays at {color}, to which it was moved by hand"), ends })
    }

    fn says(&self) -> Option<Wait> {
        Some(Wait { waits: self.message()?, ends: Vec::new() })
    }
}
