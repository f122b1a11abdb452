//! `rainbow poll`: sends one request after the other to a stage, and counts the replies.

pub(crate) mod replies;

use std::{fmt::Write, io::IsTerminal, ops::RangeInclusive, sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use rainbow_api::HumanDuration;
use traffic::{Load, Outcome, Pattern, ReplyTally, Report, Traffic, Verdict};

use crate::{
    args::StageArgs,
    context::Context,
    error::{Error, Result},
    printer::{BAD, DIM, GOOD, Printer, Screen},
    reach, stage,
    terminal::{Charset, Room, cut, width},
};

use replies::Judge;

/// Range of useful rates, in new connections a second: from one in about a quarter of an hour to more than one process can open.
const RATES: RangeInclusive<f64> = 0.001..=100_000.0;
/// Rate in requests a second above which single replies are not printed, and a histogram is drawn instead.
const READABLE: f64 = 5.0;
/// Time between two drawings of the histogram.
const REDRAW: Duration = Duration::from_millis(500);
/// Time between two lines where nothing can be drawn over.
const LINES: Duration = Duration::from_secs(5);
/// Longest time for the stage to serve anything before the first request.
const PATIENCE: HumanDuration = HumanDuration::from_secs(60);
/// Number of cells of the longest bar, where there is room for them.
const BAR: u64 = 40;
/// Least number of cells of a bar and of columns of a reply, no matter how much the other needs.
const LEAST_BAR: usize = 10;
/// Number of columns where there is no terminal.
const COLUMNS: usize = 80;

/// Arguments of `rainbow poll`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    stage: StageArgs,
    /// New connections per second, not slowed by slow replies
    #[arg(long, value_name = "N", conflicts_with = "every")]
    rate: Option<f64>,
    /// Time from one request to the next
    #[arg(long, default_value = "1s", value_name = "TIME")]
    every: HumanDuration,
    /// How long (default: until Ctrl-C)
    #[arg(long = "for", value_name = "TIME")]
    duration: Option<HumanDuration>,
    /// Clients with a kept connection beside it
    #[arg(long, default_value_t = 0, value_name = "N")]
    keep_alive: usize,
    #[command(flatten)]
    way: reach::Way,
    /// Shape of a good reply, such as `frontend:{v} - backend:{v}`: equal names must stand for equal texts, but for a callee that the Rainbow
    /// lets be newer than its caller
    #[arg(long)]
    pattern: Option<Pattern>,
    /// Print the report as JSON at the end, and nothing before
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let rate = match args.rate {
        Some(rate) if RATES.contains(&rate) => rate,
        Some(_) => return Err(Error::Usage(format!("--rate must be from {} to {}", RATES.start(), RATES.end()))),
        None if args.every.0.is_zero() => return Err(Error::Usage("--every must be above 0".into())),
        None => 1.0 / args.every.0.as_secs_f64(),
    };
    let printer = context.printer;
    // Ctrl-C before the first request ends the command; later it asks for the summary.
    let (reached, judge) = tokio::select! {
        reached = reach(context, &args) => reached?,
        _ = tokio::signal::ctrl_c() => return Err(Error::Interrupted),
    };
    traffic::raise_file_limit();
    let mut load = Load::new(reached.target.clone());
    load.rate = rate;
    load.keep_alive = args.keep_alive;
    load.duration = args.duration.map(|duration| duration.0);
    load.check = Some(judge.check(args.pattern.clone()));
    let readable = rate <= READABLE && args.keep_alive == 0;
    if readable && !args.json {
        load.listener = Some(Arc::new(move |outcome| printer.line(line(outcome))));
    }
    printer.progress(format_args!(
        "{DIM}{} every {:?}; Ctrl-C ends it{DIM:#}",
        reached.target,
        Duration::from_secs_f64(1.0 / rate)
    ));
    let traffic = Traffic::start(load);
    let mut screen = Screen::default();
    let redraws = !readable && !args.json;
    let pause = if std::io::stdout().is_terminal() { REDRAW } else { LINES };
    loop {
        tokio::select! {
            () = traffic.finished() => break,
            _ = tokio::signal::ctrl_c() => break,
            () = tokio::time::sleep(pause), if redraws => {
                let report = traffic.report();
                if printer.can_redraw() {
                    screen.draw(printer, &histogram(&report, columns()));
                } else {
                    printer.line(one_line(&report));
                }
            }
        }
    }
    let report = traffic.stop().await;
    if args.json {
        printer.line(crate::output::json(&report)?);
    } else if redraws && printer.can_redraw() {
        screen.draw(printer, &histogram(&report, columns()));
    } else {
        printer.drawn(&format!("\n{}", histogram(&report, columns())));
    }
    verdict(printer, &report)
}

async fn reach(context: &Context, args: &Args) -> Result<(reach::Reached, Judge)> {
    let cluster = context.cluster().await?;
    let rainbow = cluster.rainbow(&args.stage.name).await?;
    let stage = stage::choose(&rainbow, args.stage.stage.as_deref())?;
    let reached = reach::when_ready(context, &cluster, &rainbow, &stage.name, &args.way, PATIENCE).await?;
    Ok((reached, Judge::start(&cluster, &args.stage.name).await?))
}

fn columns() -> usize {
    Room::of_stdout().columns.unwrap_or(COLUMNS)
}

fn verdict(printer: Printer, report: &Report) -> Result {
    let Report { requests, failed, mixed, skipped, .. } = report;
    if report.is_clean() {
        printer.progress(format_args!("{GOOD}no request failed{GOOD:#}"));
        return Ok(());
    }
    if *requests == 0 {
        return Ok(());
    }
    let skipped =
        if *skipped > 0 { format!(", {skipped} not sent: too many waited for a reply") } else { String::new() };
    Err(Error::Failed(format!("of {requests} requests {failed} failed, {mixed} had a mixed reply{skipped}")))
}

fn clock(at_ms: i64) -> String {
    let time = Timestamp::from_millisecond(at_ms).unwrap_or_default().to_zoned(TimeZone::system());
    time.strftime("%H:%M:%S").to_string()
}

fn line(outcome: &Outcome) -> String {
    let time = clock(outcome.at_ms);
    match &outcome.result {
        Ok(body) => format!("{time}  {body}{}", mark(outcome.verdict)),
        Err(failure) => format!("{time}  {BAD}FAILED{BAD:#} {failure}"),
    }
}

/// Returns the mark of a reply in its line.
fn mark(verdict: Verdict) -> String {
    match verdict {
        Verdict::Good | Verdict::Unexpected => String::new(),
        Verdict::Compatible => format!("  {DIM}compatible{DIM:#}"),
        Verdict::Mixed => format!("  {BAD}MIXED{BAD:#}"),
    }
}

/// Returns the mark of all replies with one body.
fn tally_mark(tally: &ReplyTally) -> String {
    mark(match (tally.mixed, tally.compatible) {
        (true, _) => Verdict::Mixed,
        (false, true) => Verdict::Compatible,
        (false, false) => Verdict::Good,
    })
}

/// Formats a report as `requests=1200 failed=0 mixed=0 compatible=0  frontend:v1 - backend:v1: 900  frontend:v2 - backend:v2: 300`.
fn one_line(report: &Report) -> String {
    let mut text = counts(report);
    for (body, tally) in &report.replies {
        let _ = write!(text, "  {body}: {}", tally.count);
    }
    text
}

fn counts(report: &Report) -> String {
    let Report { requests, failed, mixed, compatible, .. } = report;
    format!("requests={requests} failed={failed} mixed={mixed} compatible={compatible}")
}

/// Draws one bar per reply, with the times of the first and the last; then the failures, then the latencies. No line is longer than `columns`.
fn histogram(report: &Report, columns: usize) -> String {
    let most = report.replies.values().map(|tally| tally.count).max().unwrap_or(1).max(1);
    let times = |first, last| format!("{}–{}", clock(first), clock(last));
    // The room is reduced by the number, the spaces between the columns, the times, and the longest mark.
    let room = columns.saturating_sub(9 + 2 + 2 + 2 + 17 + 12);
    let longest = report.replies.keys().map(|body| width(body.lines().next().unwrap_or_default())).max().unwrap_or(0);
    let body_room = longest.min(room.saturating_sub(LEAST_BAR)).max(LEAST_BAR);
    let bar_room = u64::try_from(room.saturating_sub(body_room)).unwrap_or(BAR).clamp(1, BAR);
    let mut text = String::new();
    for (body, tally) in &report.replies {
        let body = cut(body.lines().next().unwrap_or_default(), body_room, Charset::of_locale());
        let gap = " ".repeat(longest.min(body_room).saturating_sub(width(&body)));
        let cells = (tally.count * bar_room).div_ceil(most);
        let bar = "█".repeat(usize::try_from(cells).unwrap_or_default());
        let mark = tally_mark(tally);
        let times = times(tally.first_ms, tally.last_ms);
        let _ = writeln!(text, "{:>9}  {body}{gap}  {GOOD}{bar}{GOOD:#}  {DIM}{times}{DIM:#}{mark}", tally.count);
    }
    for (kind, tally) in &report.failures {
        let detail = tally.samples.first().map(|sample| sample.detail.as_str()).unwrap_or_default();
        let times = times(tally.first_ms, tally.last_ms);
        let _ = writeln!(text, "{:>9}  {BAD}FAILED{BAD:#} {kind}  {DIM}{times}{DIM:#}  {detail}", tally.count);
    }
    let latency = if report.latency.count > 0 { &report.latency } else { &report.latency_kept };
    let ms = |us: u64| us as f64 / 1000.0;
    let _ = writeln!(
        text,
        "{}\nper_second={:.1} p50={:.1}ms p99={:.1}ms max={:.1}ms",
        counts(report),
        report.per_second(),
        ms(latency.p50_us),
        ms(latency.p99_us),
        ms(latency.max_us)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use traffic::{FailureKind, FailureTally};

    #[test]
    fn the_summary_tells_replies_and_failures() {
        let mut report = Report { requests: 13, failed: 1, mixed: 2, compatible: 3, ..Report::default() };
        report.replies.insert("a".into(), ReplyTally { count: 10, ..ReplyTally::default() });
        report.replies.insert("b".into(), ReplyTally { count: 2, mixed: true, ..ReplyTally::default() });
        report.replies.insert("c".into(), ReplyTally { count: 3, compatible: true, ..ReplyTally::default() });
        report.failures.insert(FailureKind::Reset, FailureTally { count: 1, ..FailureTally::default() });
        let at = |report: &Report, columns| anstream::adapter::strip_str(&histogram(report, columns)).to_string();
        let text = at(&report, 120);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with(&format!("       10  a  {}  ", "█".repeat(40))), "{text}");
        assert!(lines[1].starts_with("        2  b  ████████  ") && lines[1].ends_with("MIXED"), "{text}");
        assert!(lines[2].starts_with("        3  c  ") && lines[2].ends_with("  compatible"), "{text}");
        assert!(lines[3].starts_with("        1  FAILED connection reset  "), "{text}");
        assert_eq!(lines[4], "requests=13 failed=1 mixed=2 compatible=3");
        assert!(lines[5].starts_with("per_second="), "{text}");
        assert_eq!(one_line(&report), "requests=13 failed=1 mixed=2 compatible=3  a: 10  b: 2  c: 3");
    }

    #[test]
    fn the_summary_fits_the_terminal() {
        let mut report = Report::default();
        for (body, count) in [("a", 10), ("frontend:v1 - backend:v1, and all that it says", 1000)] {
            report.replies.insert(body.into(), ReplyTally { count, mixed: count > 10, ..ReplyTally::default() });
        }
        for columns in [80, 100, 120] {
            let text = anstream::adapter::strip_str(&histogram(&report, columns)).to_string();
            assert!(text.lines().all(|line| width(line) <= columns), "{columns}: {text}");
            assert!(text.contains("██████████"), "{columns}: {text}");
        }
    }
}
