//! `rainbow gates`: the checks of a release, and how they stand.

use std::time::Duration;

use jiff::Timestamp;
use rainbow_api::{GateCounts, GateMoment, GateStatus, GateVerdict, Measurement, Rainbow};
use serde::Serialize;

use crate::{
    context::Context,
    error::{Error, Result},
    gates,
    observe::{Observer, Resizes},
    output::{self, Format},
    paint::Painted,
    printer::{BAD, BUSY, DIM, GOOD, Screen, table_within},
    stage,
    terminal::Room,
    which, words,
};

/// Time between two drawings without any event: ages grow by themselves.
const TICK: Duration = Duration::from_secs(1);

/// Arguments of `rainbow gates`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the Rainbow
    #[arg(value_parser = which::rainbow_name, add = crate::complete::rainbows())]
    name: String,
    /// Name of the stage (default: all)
    #[arg(long, value_name = "STAGE", add = crate::complete::stages())]
    stage: Option<String>,
    /// Go on showing it as it changes
    #[arg(short, long)]
    watch: bool,
    /// Form of the answer
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// Gate at one moment of a stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    gate: String,
    stage: String,
    moment: GateMoment,
    /// Moment in words.
    #[serde(skip)]
    when: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<String>,
    /// Color that is checked. `None`: the stage has not asked for the gate yet.
    color: Option<String>,
    verdict: Option<GateVerdict>,
    dry_run: bool,
    counts: GateCounts,
    /// Time since which measurements count.
    since: Option<String>,
    decided_at: Option<String>,
    measurements: Vec<Measurement>,
    message: Option<String>,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let mut observer = Observer::start(&cluster, &args.name).await?;
    let mut resized = Resizes::new()?;
    let (mut screen, mut last) = (Screen::default(), String::new());
    let wide = args.output == Some(Format::Wide);
    loop {
        let Some(world) = observer.world() else {
            return Err(Error::NotFound(format!("rainbow `{}` was deleted", args.name)));
        };
        let lines = lines(&world.rainbow, args.stage.as_deref())?;
        if args.watch && !matches!(args.output, Some(Format::Wide) | None) {
            let text = output::json(&lines)?;
            if text != last {
                output::print(context.printer, args.output, &lines, names(&lines))?;
                last = text;
            }
        } else if !output::print(context.printer, args.output, &lines, names(&lines))? {
            if lines.is_empty() {
                context
                    .printer
                    .progress(format_args!("rainbow `{}` has no gates: add some under spec.gates", args.name));
            }
            let room = Room::of_stdout();
            let text = draw(&lines, wide, Room { columns: room.columns.filter(|_| !wide), ..room }, Timestamp::now());
            if !args.watch {
                context.printer.text(if wide { room.charset.write(&text).into_owned() } else { room.cut(&text) });
            } else if resized.is_new() || text != last {
                screen.draw(context.printer, &text);
                last = text;
            }
        }
        if !args.watch {
            return Ok(());
        }
        tokio::select! {
            changed = observer.changed() => changed?,
            () = resized.next() => screen.resized(),
            () = tokio::time::sleep(TICK), if context.printer.can_redraw() => {}
        }
    }
}

fn names(lines: &[Line]) -> Vec<String> {
    let mut names: Vec<String> = lines.iter().map(|line| line.gate.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// Returns the gates of the latest release, stage by stage, then those that the stage has not asked for.
fn lines(rainbow: &Rainbow, wanted: Option<&str>) -> Result<Vec<Line>> {
    if wanted.is_some() {
        stage::choose(rainbow, wanted)?;
    }
    let mut lines = Vec::new();
    for stage in rainbow.spec.stages.iter().filter(|stage| wanted.is_none_or(|wanted| wanted == stage.name)) {
        let known = gates::status(rainbow, &stage.name).map(|status| status.gates.as_slice()).unwrap_or_default();
        lines.extend(known.iter().map(|gate| asked(gate, &stage.name)));
        let is_known = |moment, name: &str| known.iter().any(|gate| gate.moment == moment && gate.name == name);
        let open = gates::asked(stage).into_iter().filter(|(moment, name)| !is_known(*moment, name));
        lines.extend(open.map(|(moment, name)| Line {
            gate: name.to_owned(),
            stage: stage.name.clone(),
            moment,
            when: open_moment(moment).to_owned(),
            tier: None,
            color: None,
            verdict: None,
            dry_run: rainbow.spec.gates.iter().any(|gate| gate.name == name && gate.check.dry_run),
            counts: GateCounts::default(),
            since: None,
            decided_at: None,
            measurements: Vec::new(),
            message: None,
        }));
    }
    Ok(lines)
}

fn open_moment(moment: GateMoment) -> &'static str {
    match moment {
        GateMoment::Before => "before",
        GateMoment::During => "between steps",
        GateMoment::Step => "at a step",
        GateMoment::Between => "between tiers",
        GateMoment::After => "after",
        GateMoment::Watch => "all along",
    }
}

fn asked(gate: &GateStatus, stage: &str) -> Line {
    Line {
        gate: gate.name.clone(),
        stage: stage.to_owned(),
        moment: gate.moment,
        when: gates::moment(gate),
        tier: gate.tier.clone(),
        color: Some(gate.color.clone()),
        verdict: Some(gate.verdict),
        dry_run: gate.dry_run,
        counts: gate.counts,
        since: Some(gate.since.clone()),
        decided_at: gate.decided_at.clone(),
        measurements: gate.measurements.clone(),
        message: gate.message.clone(),
    }
}

fn draw(lines: &[Line], wide: bool, room: Room, now: Timestamp) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut header = vec!["GATE", "STAGE", "COLOR", "MOMENT", "VERDICT", "COUNTS", "VALUE", "AGE", "MESSAGE"];
    if wide {
        header.push("QUERY");
    }
    let rows: Vec<Vec<String>> = lines.iter().map(|line| row(line, wide, now)).collect();
    // Indexes of the columns with values and messages.
    table_within(&header, &rows, &[6, 8], room)
}

fn row(line: &Line, wide: bool, now: Timestamp) -> Vec<String> {
    let or_dash = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".into());
    let newest = line.measurements.last();
    let style = match line.verdict {
        None => DIM,
        Some(GateVerdict::Running | GateVerdict::Inconclusive | GateVerdict::NoData) => BUSY,
        Some(GateVerdict::Passed) => GOOD,
        Some(GateVerdict::Failed) => BAD,
    };
    let verdict = line.verdict.map_or("-", gates::verdict_word);
    let dry = if line.dry_run { ", dry run" } else { "" };
    let at = newest.map(|measurement| measurement.at.as_str()).or(line.since.as_deref());
    let message = line.message.as_deref().or(newest.and_then(|measurement| measurement.message.as_deref()));
    let mut row = vec![
        line.gate.clone(),
        line.stage.clone(),
        or_dash(line.color.as_deref().map(|color| Painted(color).to_string())),
        line.when.clone(),
        format!("{style}{verdict}{style:#}{dry}"),
        or_dash(Some(counts(&line.counts))),
        or_dash(newest.and_then(|measurement| measurement.value.clone())),
        or_dash(at.and_then(|time| words::age(time, now))),
        or_dash(message.map(|message| words::aged(message, now))),
    ];
    if wide {
        row.push(or_dash(newest.and_then(|measurement| measurement.query.clone())));
    }
    row
}

/// Counts measurements as `3 good, 1 bad`.
fn counts(counts: &GateCounts) -> String {
    let all = [
        (counts.passed, "good"),
        (counts.failed, "bad"),
        (counts.inconclusive, "inconclusive"),
        (counts.no_data, "no data"),
        (counts.errors, "no answer"),
    ];
    let all = all.into_iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}"));
    all.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::tests::{at_step, gate};
    use serde_json::json;

    #[test]
    fn gates_at_every_width() {
        let mut errors = gate("errors", "Step", "Running", 2);
        errors["counts"]["failed"] = json!(1);
        errors["measurements"] = json!([{
            "at": "2026-01-01T00:01:50Z", "outcome": "Passed", "value": "[0.0021]", "query": "sum(rate(errors{color=\"v2\"}[90s]))",
        }]);
        let mut release = gate("release", "Before", "Passed", 1);
        release["message"] = json!("approved by ann since 2026-01-01T00:00:30Z: tested by hand");
        let mut pods = gate("pods", "Watch", "Failed", 4);
        pods["message"] = json!("pod web-v2-x was killed for its memory");
        pods["counts"]["failed"] = json!(1);
        let mut rainbow = at_step(3, json!([release, errors, pods]));
        rainbow.spec.stages[0].gates.after = vec!["errors".into()];
        let lines = lines(&rainbow, None).unwrap();
        let now = "2026-01-01T00:02:00Z".parse().unwrap();
        crate::golden::check_with("gates", |room| room.cut(&draw(&lines, false, room, now)));
        crate::golden::check_whole(
            "gates-wide",
            &draw(&lines, true, Room { columns: None, ..crate::golden::room(80) }, now),
        );
        assert!(super::lines(&rainbow, Some("activ")).is_err());
    }
}
