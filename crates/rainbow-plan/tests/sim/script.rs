//! Recorded walks: what users and pods do (`>`), and what the planner writes in response.
//!
//! After a command come the writes. Each group stands under the second in which it happened (`@`), and equal writes in a row are
//! counted; `|` and `!` are the report. `WALKS=write` writes the files again.

use std::{fmt::Write as _, time::Duration};

use rainbow_plan::*;

use super::{operator::Run, spec, *};

/// Runs a walk and compares the result with the recorded one.
#[track_caller]
pub fn check(name: &str) {
    let path = format!("{}/tests/walks/{name}.walk", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(&path).unwrap();
    let commands = expected.lines().filter_map(|line| line.strip_prefix("> "));
    let sim = Sim::new(spec::spec("v1", Vec::new(), Vec::new()));
    let mut walk = Walk { start: sim.now, sim, out: String::new(), last: -1, counted: false };
    walk.sim.tracing = true;
    for command in commands {
        writeln!(walk.out, "> {command}").unwrap();
        walk.last = -1;
        walk.command(command);
    }
    if std::env::var_os("WALKS").is_some_and(|value| value == "write") {
        std::fs::write(path, walk.out).unwrap();
    } else {
        assert!(walk.out == expected, "found:\n{}\nexpected:\n{expected}", walk.out);
    }
}

struct Walk {
    sim: Sim,
    out: String,
    start: i64,
    last: i64,
    /// Connections of all tiers are counted from now on.
    counted: bool,
}

impl Walk {
    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let sim = &mut self.sim;
        if spec::set(&mut sim.spec, &words) {
            if self.counted {
                sim.spec.tiers.iter_mut().for_each(|tier| tier.counted = true);
            }
            return;
        }
        match words.as_slice() {
            // Releases a version in which these tiers change, and with them all tiers that call them.
            ["release", color, changed @ ..] => {
                sim.spec.color = (*color).into();
                let mut changed: Vec<String> = changed.iter().map(|tier| (*tier).to_owned()).collect();
                while let Some(tier) = changed.pop() {
                    for known in &mut sim.spec.tiers {
                        let calls = known.needs.contains(&tier);
                        if (known.name == tier || calls) && !known.identity.ends_with(&format!("@{color}")) {
                            known.identity = format!("{}@{color}", known.name);
                            changed.push(known.name.clone());
                        }
                    }
                }
            }
            ["counted"] => self.counted = true,
            ["drain", color, deadline] => {
                sim.colors.get_mut(*color).unwrap().deadline = Some(match *deadline {
                    "now" => Deadline::Now,
                    "never" => Deadline::Never,
                    seconds => Deadline::After(Duration::from_secs(seconds.parse().unwrap())),
                });
            }
            ["connect", name, count] => {
                sim.on_pods(name, usize::MAX, |pod| pod.connections += count.parse::<u32>().unwrap())
            }
            ["connect", name, count, "on", pods] => {
                sim.on_pods(name, pods.parse().unwrap(), |pod| pod.connections += count.parse::<u32>().unwrap());
            }
            ["disconnect", name] => sim.on_pods(name, usize::MAX, |pod| pod.connections = 0),
            ["disconnect", name, "on", pods] => sim.on_pods(name, pods.parse().unwrap(), |pod| pod.connections = 0),
            ["dumb", name, "on", pods] => sim.on_pods(name, pods.parse().unwrap(), |pod| pod.dumb = true),
            ["answers", name] => sim.on_pods(name, usize::MAX, |pod| pod.dumb = false),
            ["unready", name, "on", pods] => {
                sim.on_pods(name, pods.parse().unwrap(), |pod| pod.stuck = true);
            }
            ["ready", name] => sim.on_pods(name, usize::MAX, |pod| pod.stuck = false),
            // Gives the stage's Service another name in the spec. The observer then sees the old Service under this key.
            ["rename", "service", stage] => {
                sim.disturb();
                let old = sim.stages.remove(*stage).unwrap();
                sim.stages.insert(format!("{stage}/old"), old);
                sim.rename_seen(stage, &format!("{stage}/old"));
            }
            ["unpin", stage] => self.stage(stage).color = None,
            ["force", "delete", "color", color] => {
                sim.disturb();
                sim.colors.remove(*color);
            }
            ["remove", "stage", name] => sim.spec.stages.retain(|known| known.name != *name),
            ["promote", stage, color] => self.stage(stage).color = Some((*color).into()),
            // Lets the stage go on after a tier, as its user does.
            ["go", "on", stage, tier, color] => {
                if let Between::Pause { passed, .. } = &mut self.stage(stage).between {
                    passed.insert(PassedTier { tier: (*tier).into(), color: (*color).into() });
                }
            }
            ["pause", stage] => self.stage(stage).paused = true,
            ["resume", stage] => self.stage(stage).paused = false,
            // The same as `rainbow rollback`, with the revision of the newest color.
            ["rollback", stage, color] => {
                let revision = sim.colors.values().map(|color| color.revision).max();
                let hold = Hold { id: (*color).into(), color: Some((*color).into()), paused: false, revision };
                self.stage(stage).hold = Some(hold);
            }
            ["replicas", tier, number] => {
                sim.disturb();
                let found = sim.spec.tiers.iter_mut().find(|known| known.name == *tier).unwrap();
                found.replicas = number.parse().unwrap();
            }
            ["retire", color] => sim.colors.get_mut(*color).unwrap().retire = true,
            ["delete", "color", color] => sim.colors.get_mut(*color).unwrap().deleting = true,
            ["delete"] => sim.spec.deleting = true,
            ["break", name] => {
                sim.broken.insert(spec::named(name));
            }
            ["mend", name] => {
                sim.broken.remove(&spec::named(name));
            }
            ["foreign", "deployment", name] => {
                sim.deps.insert(spec::named(name), Dep::foreign(3));
            }
            ["foreign", "service", name] => {
                sim.svcs.insert(spec::named(name), Svc::Foreign);
            }
            // An older version made the instance.
            ["older", name] => {
                sim.unlabeled.insert(spec::named(name));
            }
            ["foreign", "guard"] => sim.guard = Presence::Foreign,
            ["foreign", "budget", stage] => {
                sim.budgets.insert((*stage).into(), StageBudget::Foreign);
            }
            ["foreign", "stage", name] => {
                sim.stages.insert((*name).into(), Svc::Foreign);
            }
            ["foreign", "shadow", stage] => {
                sim.stages.insert(service_name(&StageKey::shadow(*stage)), Svc::Foreign);
            }
            ["free", "stage", name] => {
                sim.stages.remove(*name);
            }
            ["scale", name, replicas] => {
                let dep = sim.deps.get_mut(&spec::named(name)).unwrap();
                dep.replicas = replicas.parse().unwrap();
                dep.observed = false;
                dep.down = super::Cause::Theirs;
            }
            ["kill", name] => {
                let instance = spec::named(name);
                let victim = sim.pods.iter().find(|(_, pod)| pod.instance == instance && pod.ready && !pod.terminating);
                let victim = victim.unwrap().0.clone();
                sim.terminate(&victim, super::Cause::Theirs, super::Cause::Theirs);
            }
            ["kill", name, "member", stage] => {
                let instance = spec::named(name);
                let victim =
                    sim.pods.iter().find(|(_, pod)| pod.instance == instance && pod.member.contains_key(*stage));
                let victim = victim.unwrap().0.clone();
                sim.terminate(&victim, super::Cause::Theirs, super::Cause::Theirs);
            }
            ["edit", stage] => {
                sim.disturb();
                sim.stages.insert((*stage).into(), Svc::ours(None));
                let now = sim.now;
                sim.stage_dirty.insert((*stage).into(), now);
            }
            ["forget"] => sim.memory = Memory::default(),
            ["crash"] => sim.crash(),
            ["settle"] => {
                self.settle();
            }
            ["pass", seconds] => {
                let end = self.sim.now + seconds.parse::<i64>().unwrap() * 1_000;
                self.until(end);
            }
            ["status"] => {
                self.status();
            }
            // Any other line is an event of a random history.
            _ => {
                let event = line.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
                sim.happen(&event);
                // The event is written as a command already.
                sim.trace.retain(|line| !line.starts_with("> "));
            }
        }
    }

    fn stage(&mut self, name: &str) -> &mut Stage {
        self.sim.spec.stages.iter_mut().find(|stage| stage.name == name).unwrap()
    }

    fn settle(&mut self) {
        self.until(i64::MAX);
    }

    fn until(&mut self, end: i64) {
        let horizon = self.sim.now + 40_000_000;
        for _ in 0..5_000 {
            self.sim.calm();
            let (wrote, wake) = self.sim.reconcile(Run::Whole);
            self.flush();
            if wrote {
                continue;
            }
            let next = wake.map_or(i64::MAX, |wake| wake.0).min(end);
            if next > horizon || self.sim.now >= end {
                return;
            }
            let now = self.sim.now;
            self.sim.tick((next - now).max(1));
        }
        panic!("never at rest\n{}", self.out);
    }

    fn flush(&mut self) {
        let lines = std::mem::take(&mut self.sim.trace);
        let second = (self.sim.now - self.start) / 1_000;
        if !lines.is_empty() && second != self.last {
            writeln!(self.out, "@{second}").unwrap();
            self.last = second;
        }
        let mut lines = lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            let mut count = 1;
            while lines.next_if_eq(&line).is_some() {
                count += 1;
            }
            let times = if count > 1 { format!(" x{count}") } else { String::new() };
            writeln!(self.out, "{line}{times}").unwrap();
        }
    }

    fn status(&mut self) {
        self.sim.calm();
        let world = self.sim.world();
        let report = plan(&world, Time(self.sim.now)).report;
        let inner = |stage: &StageReport| stage.tiers.iter().map(|tier| tier.report.clone()).collect::<Vec<_>>();
        let stages = report.stages.iter().flat_map(|stage| inner(stage).into_iter().chain([stage.clone()]));
        for stage in stages.collect::<Vec<_>>() {
            write!(self.out, "| {}={}", stage.name, stage.color.as_deref().unwrap_or("-")).unwrap();
            if stage.target != stage.color {
                write!(self.out, " target={}", stage.target.as_deref().unwrap_or("-")).unwrap();
            }
            if let Some(previous) = &stage.previous {
                write!(self.out, " previous={previous}").unwrap();
            }
            if let Some(shift) = &stage.shift {
                write!(self.out, " {:?} {}→{} {}/{}", shift.phase, shift.from, shift.to, shift.moved, shift.of)
                    .unwrap();
            }
            if let Some(waiting) = &stage.waiting {
                write!(self.out, " ({})", words::waiting(waiting)).unwrap();
            }
            self.out.push('\n');
        }
        for color in &report.colors {
            write!(self.out, "| {} {:?} {}/{}", color.name, color.phase, color.ready, color.wanted).unwrap();
            if !color.stages.is_empty() {
                write!(self.out, " in {}", color.stages.join(",")).unwrap();
            }
            if let Some(waiting) = &color.waiting {
                write!(self.out, " ({})", words::waiting(waiting)).unwrap();
            }
            if let Some(drain) = &color.drain {
                let connections = color.connections.map_or("-".into(), |count| count.to_string());
                write!(self.out, ": {connections} connections, {} pods hold, {} unknown", drain.pods, drain.unknown)
                    .unwrap();
                let deadline = drain.deadline.map(|deadline| (deadline.0 - self.start) / 1_000);
                write!(self.out, ", cut {}", deadline.map_or("never".into(), |at| format!("@{at}"))).unwrap();
            }
            self.out.push('\n');
        }
        for problem in &report.problems {
            writeln!(self.out, "! {}", words::problem(problem)).unwrap();
        }
        if report.progressing {
            self.out.push_str("| progressing\n");
        }
    }
}
