//! `rainbow history`: the colors there are and were.

use jiff::Timestamp;
use rainbow_api::Color;
use serde::Serialize;

use crate::{
    context::Context,
    error::Result,
    output::{self, Format},
    printer::table,
};

/// Arguments of `rainbow history`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the Rainbow
    name: String,
    /// Form of the answer
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    revision: i64,
    color: String,
    phase: Option<rainbow_api::ColorPhase>,
    ready: Option<String>,
    stages: Option<String>,
    created: Option<String>,
    released_at: Option<String>,
    retired_at: Option<String>,
    images: Vec<String>,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    cluster.rainbow(&args.name).await?;
    let lines: Vec<Line> = cluster.colors(&args.name).await?.iter().map(line).collect();
    let names = lines.iter().map(|line| line.color.clone());
    if output::print(context.printer, args.output, &lines, names)? {
        return Ok(());
    }
    let wide = args.output == Some(Format::Wide);
    let mut header = vec!["REVISION", "COLOR", "PHASE", "READY", "STAGES", "AGE"];
    if wide {
        header.extend(["RELEASED", "RETIRED", "IMAGES"]);
    }
    let now = Timestamp::now();
    let rows: Vec<Vec<String>> = lines.iter().map(|line| row(line, wide, now)).collect();
    context.printer.text(table(&header, &rows));
    Ok(())
}

fn line(color: &Color) -> Line {
    let status = color.status.clone().unwrap_or_default();
    let containers = color.spec.tiers.iter().filter_map(|tier| tier.template.pointer("/spec/containers")?.as_array());
    let images = containers.flatten().filter_map(|container| container.get("image")?.as_str().map(str::to_owned));
    Line {
        revision: color.spec.revision,
        color: color.spec.color.clone(),
        phase: status.phase,
        ready: status.ready,
        stages: status.stages.filter(|stages| !stages.is_empty()),
        created: color.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()),
        released_at: status.released_at,
        retired_at: status.retired_at,
        images: images.collect(),
    }
}

fn row(line: &Line, wide: bool, now: Timestamp) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let mut row = vec![
        line.revision.to_string(),
        line.color.clone(),
        line.phase.map_or_else(|| "-".into(), |phase| format!("{phase:?}")),
        or_dash(&line.ready),
        or_dash(&line.stages),
        line.created.as_deref().and_then(|time| age(time, now)).unwrap_or_else(|| "-".into()),
    ];
    if wide {
        row.extend([or_dash(&line.released_at), or_dash(&line.retired_at), line.images.join(",")]);
    }
    row
}

/// As kubectl writes ages: `42s`, `5m`, `3h`, `2d`.
fn age(time: &str, now: Timestamp) -> Option<String> {
    let time: Timestamp = time.parse().ok()?;
    let seconds = (now.as_second() - time.as_second()).max(0);
    Some(match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let now = "2026-01-03T00:00:00Z".parse().unwrap();
        for (time, expected) in [
            ("2026-01-02T23:59:18Z", "42s"),
            ("2026-01-02T23:55:00Z", "5m"),
            ("2026-01-02T20:59:00Z", "3h"),
            ("2026-01-01T00:00:00Z", "2d"),
            ("2027-01-01T00:00:00Z", "0s"),
        ] {
            assert_eq!(age(time, now).unwrap(), expected);
        }
        assert_eq!(age("yesterday", now), None);
    }
}
