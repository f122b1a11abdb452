//! `traffic URL`: sends load to a URL, checks every reply, and prints a report at the end.

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use traffic::{Compatible, Load, Order, Pattern, Report, Rule, Target, Traffic};

/// Sends HTTP requests, checks every reply, and reports. Exits with 1 if any request failed or any reply was mixed.
#[derive(Parser)]
#[command(name = "traffic", version)]
struct Args {
    /// URL to call: http://host[:port]/path
    url: String,
    /// New connections per second, not slowed by slow replies
    #[arg(long, default_value_t = 0.0, value_name = "N")]
    rate: f64,
    /// Clients that open a new connection as soon as they have their reply
    #[arg(long, default_value_t = 0, value_name = "N")]
    closed: usize,
    /// Clients that keep their connection
    #[arg(long, default_value_t = 0, value_name = "N")]
    keep_alive: usize,
    /// Pause of a keep-alive client between two requests, in milliseconds
    #[arg(long, default_value_t = 10, value_name = "MS")]
    pause: u64,
    /// Age at which a keep-alive client opens a new connection, in milliseconds (default: when the server closes it)
    #[arg(long, value_name = "MS")]
    max_age: Option<u64>,
    /// Longest time for a request, in milliseconds
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    timeout: u64,
    /// Seconds to run (default: until SIGINT or SIGTERM)
    #[arg(long = "for", value_name = "S")]
    seconds: Option<f64>,
    /// Shape of a good reply, such as `frontend:{v} - backend:{v}`: equal names must stand for equal texts
    #[arg(long)]
    pattern: Option<Pattern>,
    /// Versions that equal names of the pattern may stand for, where a caller stands before its callee: the same, or with `backward` a newer one
    /// in the callee
    #[arg(long, value_enum, default_value_t, value_name = "KIND", requires = "pattern")]
    compatible: Compatible,
    /// Versions from the oldest to the newest, such as `3c3fdc,9a01be` (default: by text, with numbers by value: v1, v2, v10)
    #[arg(long, value_name = "VERSIONS", requires = "compatible")]
    order: Option<Order>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let json = args.json;
    match run(args).await {
        Ok(report) => {
            print(&report, json);
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

async fn run(args: Args) -> Result<Report, String> {
    if !(args.rate >= 0.0 && args.rate.is_finite()) {
        return Err("--rate must be a number of at least 0".into());
    }
    if args.rate == 0.0 && args.closed == 0 && args.keep_alive == 0 {
        return Err("nothing to do: give --rate, --closed or --keep-alive".into());
    }
    let duration = args.seconds.map(Duration::try_from_secs_f64).transpose();
    let duration = duration.map_err(|error| format!("--for: {error}"))?;
    let target = Target::resolve(&args.url).await.map_err(|error| error.to_string())?;
    traffic::raise_file_limit();
    let mut load = Load::new(target);
    load.rate = args.rate;
    load.closed = args.closed;
    load.keep_alive = args.keep_alive;
    load.pause = Duration::from_millis(args.pause);
    load.max_age = args.max_age.map(Duration::from_millis);
    load.timeout = Duration::from_millis(args.timeout);
    load.connect_timeout = load.connect_timeout.min(load.timeout);
    load.duration = duration;
    if let Some(pattern) = args.pattern {
        let rule = Rule { pattern, compatible: args.compatible, order: args.order.unwrap_or_default() };
        load.check = Some(Arc::new(move |reply| rule.judge(reply)));
    }
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| format!("cannot listen to signals: {error}"))?;
    let traffic = Traffic::start(load);
    tokio::select! {
        () = traffic.finished() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    Ok(traffic.stop().await)
}

fn print(report: &Report, json: bool) {
    if json {
        // A report holds text and numbers only, which always have a JSON form.
        println!("{}", serde_json::to_string_pretty(report).unwrap_or_default());
        return;
    }
    let Report { requests, failed, mixed, compatible, skipped, .. } = report;
    println!(
        "requests={requests} failed={failed} mixed={mixed} compatible={compatible} skipped={skipped} per_second={:.1}",
        report.per_second()
    );
    for (body, tally) in &report.replies {
        let mark = match (tally.mixed, tally.compatible) {
            (true, _) => "  MIXED",
            (false, true) => "  compatible",
            (false, false) => "",
        };
        println!("{:>10}  {body}{mark}", tally.count);
    }
    for (kind, tally) in &report.failures {
        println!("{:>10}  FAILED: {kind}", tally.count);
        for sample in &tally.samples {
            println!("{:>12}{:+} ms: {}", "", sample.at_ms - report.started_ms, sample.detail);
        }
    }
    for (name, latency) in [("new", &report.latency), ("kept", &report.latency_kept)] {
        if latency.count > 0 {
            let ms = |us: u64| us as f64 / 1000.0;
            println!(
                "latency {name}: p50={:.2} ms p90={:.2} ms p99={:.2} ms p99.9={:.2} ms max={:.2} ms",
                ms(latency.p50_us),
                ms(latency.p90_us),
                ms(latency.p99_us),
                ms(latency.p999_us),
                ms(latency.max_us)
            );
        }
    }
}
