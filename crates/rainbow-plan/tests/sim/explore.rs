//! Exploration: runs a property over random histories, and makes a history that fails as short as it can be.
//!
//! `cargo test` has the same histories each time: a green property stays green until the code changes. With `EXPLORE=100000` in
//! the environment each property has that many, spread evenly over its classes of events, in parts of a thousand with a seed each
//! (`make explore`). In `EXPLORE_DIR`, one file for each property says how many parts were clean, so that an exploration that was
//! stopped continues where it was. Another file has the script of the history that failed. Parts that another build found clean
//! are tried again.

use std::{
    cell::Cell,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Once,
    time::{Duration, Instant},
};

use proptest::{
    strategy::{Strategy, ValueTree as _},
    test_runner::{Config, RngSeed, TestRunner},
};
use rainbow_plan::*;

use super::history::History;

/// Histories of a part, which one seed makes.
const PART: u32 = 1_000;
/// Most trials, and longest time, to make a history that fails shorter.
const SHRINK_TRIALS: u32 = 4_000;
const SHRINK_FOR: Duration = Duration::from_secs(30);

/// Histories of a property that one test has.
pub struct Share {
    /// Histories in `cargo test`.
    pub cases: u32,
    /// Tests that share the histories of an exploration.
    pub classes: usize,
}

/// Runs the property over `cases` histories, or over the test's share of the number in the environment.
pub fn explore(name: &str, share: Share, histories: impl Strategy<Value = History>, holds: impl Fn(&History)) {
    let Some(total) = std::env::var("EXPLORE").ok().map(|total| total.parse::<u32>().unwrap()) else {
        return sample(share.cases, histories, holds);
    };
    let total = total.div_ceil(share.classes as u32);
    let file = |end: &str| Some(PathBuf::from(std::env::var_os("EXPLORE_DIR")?).join(name.replace("::", "-") + end));
    let (clean, red) = (file(".clean"), file(".red"));
    let written = |file: &PathBuf| std::fs::metadata(file).ok()?.modified().ok();
    let built = std::env::current_exe().ok().as_ref().and_then(written);
    let read = |file: &PathBuf| {
        let of_this_build = written(file) >= built;
        of_this_build.then(|| std::fs::read_to_string(file).ok()?.trim().parse().ok())?
    };
    let done: u32 = clean.as_ref().and_then(read).unwrap_or(0);
    for number in done..total.div_ceil(PART) {
        if let Err(found) = part(u64::from(number) + 1, PART.min(total - number * PART), &histories, &holds) {
            write(red.as_ref(), &found);
            panic!("{found}");
        }
        write(clean.as_ref(), &format!("{}\n", number + 1));
        // Written past the captured output of the test: an exploration takes long.
        let mut terminal = std::io::stderr();
        writeln!(terminal, "{name}: {} of {total} histories clean", total.min((number + 1) * PART)).unwrap();
    }
    if let Some(red) = red.filter(|red| red.exists()) {
        std::fs::remove_file(red).unwrap();
    }
}

/// Runs the property over the histories of `cargo test`, also in an exploration: another property explores the same.
pub fn sample(cases: u32, histories: impl Strategy<Value = History>, holds: impl Fn(&History)) {
    part(0, cases, &histories, &holds).unwrap_or_else(|red| panic!("{red}"));
}

fn write(file: Option<&PathBuf>, text: &str) {
    if let Some(file) = file {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
}

/// Runs the histories of a seed. The error has the shortest history found that fails, as a script, and why it does.
fn part(
    seed: u64,
    cases: u32,
    histories: &impl Strategy<Value = History>,
    holds: &impl Fn(&History),
) -> Result<(), String> {
    let config = Config { rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    for _ in 0..cases {
        let history = histories.new_tree(&mut runner).unwrap().current();
        if fails(&history, holds).is_none() {
            continue;
        }
        let shortest = shrink(history, holds);
        // A history that fails only once shows that the planner is not deterministic.
        let why = fails(&shortest, holds).unwrap_or_else(|| "it does not fail again".into());
        return Err(format!("seed {seed}:\n\n{shortest}\n{why}"));
    }
    Ok(())
}

/// Runs a printed history that failed, and checks whether the property holds now.
pub fn script(text: &str, holds: impl Fn(&History)) {
    holds(&History::read(text));
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Returns why the property does not hold.
fn fails(history: &History, holds: &impl Fn(&History)) -> Option<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| holds(history)));
    QUIET.set(false);
    let cause = result.err()?;
    let text = cause.downcast_ref::<String>().cloned();
    Some(text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}

/// Returns the shortest history that is found to fail, too.
fn shrink(mut history: History, holds: &impl Fn(&History)) -> History {
    let (until, trials) = (Instant::now() + SHRINK_FOR, Cell::new(0));
    let worse = |candidate: &History| {
        trials.set(trials.get() + 1);
        trials.get() < SHRINK_TRIALS && Instant::now() < until && fails(candidate, holds).is_some()
    };
    loop {
        let before = history.clone();
        history = without_events(history, &worse);
        history = simpler_spec(history, &worse);
        history = simpler_events(history, &worse);
        if history == before {
            return history;
        }
    }
}

/// Removes as many events as possible, in ever smaller runs of them, the last first.
fn without_events(mut history: History, worse: &impl Fn(&History) -> bool) -> History {
    for second in [false, true] {
        let length = |history: &History| if second { history.then.len() } else { history.events.len() };
        let mut run = length(&history).max(1);
        while run > 0 {
            let mut end = length(&history);
            while end > 0 {
                let mut candidate = history.clone();
                let events = if second { &mut candidate.then } else { &mut candidate.events };
                events.drain(end.saturating_sub(run)..end);
                if worse(&candidate) {
                    history = candidate;
                }
                end = end.saturating_sub(run).min(length(&history));
            }
            run /= 2;
        }
    }
    history
}

/// Makes the numbers in the events smaller.
fn simpler_events(mut history: History, worse: &impl Fn(&History) -> bool) -> History {
    for index in 0..history.events.len() + history.then.len() {
        let event = |history: &History| {
            let mut all = history.events.iter().chain(&history.then);
            all.nth(index).unwrap().to_string()
        };
        for word in 1..event(&history).split_whitespace().count() {
            for number in ["0", "1", "2", "3", "1000"] {
                let line = event(&history);
                let mut words: Vec<&str> = line.split_whitespace().collect();
                let smaller = words[word].parse::<i64>().is_ok_and(|now| now > number.parse().unwrap());
                words[word] = number;
                let Some(simpler) = words.join(" ").parse().ok().filter(|_| smaller) else { continue };
                let mut candidate = history.clone();
                let split = candidate.events.len();
                match index.checked_sub(split) {
                    Some(index) => candidate.then[index] = simpler,
                    None => candidate.events[index] = simpler,
                }
                if worse(&candidate) {
                    history = candidate;
                    break;
                }
            }
        }
    }
    history
}

/// Change that makes an application smaller.
type Simplification = Box<dyn Fn(&mut Spec)>;

/// Makes the application smaller.
fn simpler_spec(mut history: History, worse: &impl Fn(&History) -> bool) -> History {
    let mut candidates: Vec<Simplification> = Vec::new();
    for stage in 0..history.spec.stages.len() {
        candidates.push(Box::new(move |spec| {
            if spec.stages.len() > 1 && stage < spec.stages.len() {
                spec.stages.remove(stage);
            }
        }));
    }
    for tier in (1..history.spec.tiers.len()).rev() {
        candidates.push(Box::new(move |spec| {
            let name = spec.tiers.remove(tier).name;
            for tier in &mut spec.tiers {
                tier.needs.retain(|need| *need != name);
                tier.calls.retain(|call| *call != name);
            }
        }));
    }
    for tier in 0..history.spec.tiers.len() {
        candidates.push(Box::new(move |spec| spec.tiers.iter_mut().skip(tier).take(1).for_each(|t| t.needs.clear())));
        candidates.push(Box::new(move |spec| spec.tiers.iter_mut().skip(tier).take(1).for_each(|t| t.calls.clear())));
        candidates.push(Box::new(move |spec| spec.tiers.iter_mut().skip(tier).take(1).for_each(|t| t.counted = false)));
        for replicas in [1, 2] {
            candidates.push(Box::new(move |spec| {
                let tier = spec.tiers.iter_mut().skip(tier).take(1);
                tier.for_each(|tier| tier.replicas = tier.replicas.min(replicas));
            }));
        }
    }
    for stage in 0..history.spec.stages.len() {
        candidates
            .push(Box::new(move |spec| spec.stages.iter_mut().skip(stage).take(1).for_each(|s| s.replicas = None)));
        candidates.push(Box::new(move |spec| {
            spec.stages.iter_mut().skip(stage).take(1).for_each(|stage| stage.shift = Shift::Flip);
        }));
        candidates
            .push(Box::new(move |spec| spec.stages.iter_mut().skip(stage).take(1).for_each(|s| s.overlap = None)));
        candidates.push(Box::new(move |spec| {
            spec.stages.iter_mut().skip(stage).take(1).for_each(|stage| stage.promote = Promote::Manual);
        }));
        candidates.push(Box::new(move |spec| {
            spec.stages.iter_mut().skip(stage).take(1).for_each(|stage| stage.between = Between::Nothing);
        }));
    }
    candidates.push(Box::new(|spec| spec.swap = Swap::Overlap));
    candidates.push(Box::new(|spec| spec.keep = Spec::new("", Vec::new(), Vec::new()).keep));
    candidates.push(Box::new(|spec| spec.drain.settle = Duration::from_secs(30)));
    candidates.push(Box::new(|spec| spec.progress_deadline = Duration::from_secs(600)));
    for simplify in candidates {
        let mut candidate = history.clone();
        simplify(&mut candidate.spec);
        if candidate != history && worse(&candidate) {
            history = candidate;
        }
    }
    history
}

/// Tests of a property, one for each class of events. `prefix` distinguishes the histories that an exploration keeps.
macro_rules! classes {
    (
        $prefix:literal, $histories:path;
        $(#[$doc:meta])* $name:ident = $holds:expr; $($(#[$attribute:meta])* $class:ident)+
    ) => {
        $(#[$doc])*
        mod $name {
            use super::*;

            const CLASSES: usize = [$(stringify!($class)),+].len();

            $(
                #[test]
                #[allow(non_snake_case, reason = "named like the class")]
                $(#[$attribute])*
                fn $class() {
                    let name = concat!($prefix, stringify!($name), "::", stringify!($class));
                    let share = sim::explore::Share { cases: CASES, classes: CLASSES };
                    sim::explore::explore(name, share, $histories(Class::$class), $holds);
                }
            )+
        }
    };
}

/// Tests of a property that another one tries, too: an exploration has its histories there.
macro_rules! samples {
    ($histories:path; $(#[$doc:meta])* $name:ident = $holds:expr; $($class:ident)+) => {
        $(#[$doc])*
        mod $name {
            use super::*;

            $(
                #[test]
                #[allow(non_snake_case, reason = "named like the class")]
                fn $class() {
                    sim::explore::sample(CASES, $histories(Class::$class), $holds);
                }
            )+
        }
    };
}
