//! `rainbow history`: the colors there are and were.

use jiff::Timestamp;
use rainbow_api::{Color, ColorInstance};
use serde::Serialize;

use crate::{
    context::Context,
    error::Result,
    output::{self, Format},
    paint::Painted,
    printer::table,
    view::sharers,
    words,
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
    /// Connections last known. None while nobody asks.
    connections: Option<i64>,
    /// Pods whose connections cannot be read.
    unknown_pods: i32,
    /// Connections that its deadline ended.
    cut: i64,
    /// Tiers whose instance other colors have, too.
    shared: Vec<Shared>,
    created: Option<String>,
    released_at: Option<String>,
    retired_at: Option<String>,
    images: Vec<String>,
}

/// A tier whose instance other colors have, too.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shared {
    tier: String,
    /// The color that introduced the instance.
    instance: String,
    /// The others.
    with: Vec<String>,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    cluster.rainbow(&args.name).await?;
    let colors = cluster.colors(&args.name).await?;
    let lines: Vec<Line> = colors.iter().map(|color| line(color, &colors)).collect();
    let names = lines.iter().map(|line| line.color.clone());
    if output::print(context.printer, args.output, &lines, names)? {
        return Ok(());
    }
    let wide = args.output == Some(Format::Wide);
    let mut header = vec!["REVISION", "COLOR", "PHASE", "READY", "STAGES", "CONNECTIONS", "SHARED", "AGE"];
    if wide {
        header.extend(["RELEASED", "RETIRED", "CUT", "IMAGES"]);
    }
    let now = Timestamp::now();
    let rows: Vec<Vec<String>> = lines.iter().map(|line| row(line, wide, now)).collect();
    context.printer.text(table(&header, &rows));
    Ok(())
}

fn line(color: &Color, all: &[Color]) -> Line {
    let status = color.status.clone().unwrap_or_default();
    let containers = color.spec.tiers.iter().filter_map(|tier| tier.template.pointer("/spec/containers")?.as_array());
    let images = containers.flatten().filter_map(|container| container.get("image")?.as_str().map(str::to_owned));
    let drain = status.drain.as_ref();
    Line {
        connections: status.connections,
        unknown_pods: drain.map(|drain| drain.unknown_pods).unwrap_or_default(),
        cut: drain.map(|drain| drain.cut.iter().filter_map(|cut| cut.connections).sum()).unwrap_or_default(),
        shared: color.spec.instances.iter().filter_map(|instance| shared(color, instance, all)).collect(),
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

fn shared(color: &Color, instance: &ColorInstance, all: &[Color]) -> Option<Shared> {
    let with = sharers(all, &color.spec.color, &instance.tier, &instance.color);
    let is_shared = !with.is_empty() || instance.color != color.spec.color;
    is_shared.then(|| Shared { tier: instance.tier.clone(), instance: instance.color.clone(), with })
}

fn row(line: &Line, wide: bool, now: Timestamp) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let connections = match (line.connections, line.unknown_pods) {
        (None, 0) => "-".to_owned(),
        (known, 0) => known.unwrap_or_default().to_string(),
        (known, unknown) => {
            format!("{}, {} unknown", known.unwrap_or_default(), words::count(unknown.into(), "pod"))
        }
    };
    let shared = line.shared.iter().map(|shared| match shared.instance == line.color {
        true => format!("{} with {}", shared.tier, shared.with.join("+")),
        false => format!("{} of {}", shared.tier, shared.instance),
    });
    let shared = Some(shared.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty());
    let ago = |time: &Option<String>| {
        time.as_deref().and_then(|time| words::age(time, now)).unwrap_or_else(|| "-".to_owned())
    };
    let mut row = vec![
        line.revision.to_string(),
        Painted(&line.color).to_string(),
        line.phase.map_or_else(|| "-".into(), |phase| format!("{phase:?}")),
        or_dash(&line.ready),
        or_dash(&line.stages),
        connections,
        or_dash(&shared),
        ago(&line.created),
    ];
    if wide {
        row.extend([ago(&line.released_at), ago(&line.retired_at), line.cut.to_string(), line.images.join(",")]);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_tells_the_life_of_a_color() {
        let color = |value| serde_json::from_value::<Color>(value).unwrap();
        let colors = [
            color(json!({
                "metadata": { "name": "shop-000000", "creationTimestamp": "2026-01-01T00:00:00Z" },
                "spec": {
                    "rainbow": "shop", "color": "000000", "revision": 2,
                    "tiers": [{ "name": "a", "template": { "spec": { "containers": [{ "name": "a", "image": "a:2" }] } } }],
                    "instances": [
                        { "tier": "a", "color": "000000", "identity": "2" }, { "tier": "b", "color": "v1", "identity": "1" },
                    ],
                },
                "status": {
                    "phase": "Draining", "ready": "2/2", "connections": 7, "releasedAt": "2026-01-01T00:01:00Z",
                    "drain": {
                        "since": "2026-01-01T00:01:00Z", "connections": 7, "unknownPods": 2, "pods": 3,
                        "cut": [{ "pod": "p", "connections": 3 }, { "pod": "q" }],
                    },
                },
            })),
            color(json!({
                "metadata": { "name": "shop-v1" },
                "spec": {
                    "rainbow": "shop", "color": "v1", "revision": 1, "tiers": [],
                    "instances": [{ "tier": "b", "color": "v1", "identity": "1" }],
                },
            })),
        ];
        let now = "2026-01-01T00:02:30Z".parse().unwrap();
        let shown = |color| row(&line(color, &colors), true, now);
        let first = shown(&colors[0]).plain();
        assert_eq!(
            first,
            ["2", "000000", "Draining", "2/2", "-", "7, 2 pods unknown", "b of v1", "2m", "90s", "-", "3", "a:2"]
        );
        assert_eq!(shown(&colors[1]).plain()[..7], ["1", "v1", "-", "-", "-", "-", "b with 000000"]);
    }

    trait Plain {
        fn plain(self) -> Vec<String>;
    }

    impl Plain for Vec<String> {
        fn plain(self) -> Vec<String> {
            self.iter().map(|cell| anstream::adapter::strip_str(cell).to_string()).collect()
        }
    }
}
