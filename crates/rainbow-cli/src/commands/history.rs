//! `rainbow history`: lists the colors that exist or existed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rainbow_api::{Color, ColorInstance, labels};
use serde::Serialize;

use crate::{
    cause::{self, Moved},
    context::Context,
    error::Result,
    output::{self, Format},
    paint::Painted,
    printer::table_within,
    terminal::Room,
    view::{self, sharers},
    words,
};

/// Arguments of `rainbow history`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the Rainbow
    #[arg(value_parser = crate::which::rainbow_name, add = crate::complete::rainbows())]
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
    /// Connections at the last count. `None` while the operator does not ask the pods.
    connections: Option<i64>,
    /// Pods whose connections cannot be read.
    unknown_pods: i32,
    /// Connections that the color's deadline ended.
    cut: i64,
    /// Tiers whose instance other colors have, too.
    shared: Vec<Shared>,
    created: Option<String>,
    released_at: Option<String>,
    retired_at: Option<String>,
    /// Images by tier, in the order of containers.
    images: Vec<Image>,
    /// User who released the color, where that is known.
    by: Option<String>,
    /// Reason of the release.
    cause: Option<String>,
    /// Reasons for moves of stages to the color, by stage.
    moves: BTreeMap<String, Moved>,
}

/// Image of a container of a tier.
#[derive(Debug, Serialize)]
struct Image {
    tier: String,
    image: String,
}

/// Tier whose instance other colors have, too.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shared {
    tier: String,
    /// Color that introduced the instance.
    instance: String,
    /// Other colors that have the instance.
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
    let room = Room::of_stdout();
    let text = draw(&lines, wide, Room { columns: room.columns.filter(|_| !wide), ..room }, Timestamp::now());
    // `-o wide` prints everything, so no line is cut.
    context.printer.text(if wide { room.charset.write(&text).into_owned() } else { room.cut(&text) });
    Ok(())
}

fn draw(lines: &[Line], wide: bool, room: Room, now: Timestamp) -> String {
    let mut header = vec!["REV", "COLOR", "PHASE", "STAGES", "AGE", "IMAGES", "BY", "WHY"];
    if wide {
        header.extend(["READY", "CONNECTIONS", "SHARED", "RELEASED", "RETIRED", "CUT"]);
    }
    let rows: Vec<Vec<String>> = lines.iter().map(|line| row(line, wide, now)).collect();
    // Indexes of the columns with images, users and reasons.
    let flexible = [5, 6, 7];
    table_within(&header, &rows, &flexible, room)
}

fn line(color: &Color, all: &[Color]) -> Line {
    let status = color.status.clone().unwrap_or_default();
    let annotation = |key: &str| color.metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned();
    let images = view::images(&color.spec.tiers).into_iter().map(|(tier, image)| Image { tier, image });
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
        by: annotation(labels::RELEASED_BY),
        cause: annotation(labels::CHANGE_CAUSE),
        moves: cause::moves(color),
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
        or_dash(&line.stages),
        ago(&line.created),
        or_dash(&Some(images(&line.images, wide)).filter(|text| !text.is_empty())),
        or_dash(&line.by),
        or_dash(&Some(why(line, now)).filter(|text| !text.is_empty())),
    ];
    if wide {
        let (released, retired) = (ago(&line.released_at), ago(&line.retired_at));
        row.extend([or_dash(&line.ready), connections, or_dash(&shared), released, retired, line.cut.to_string()]);
    }
    row
}

/// Lists images as `backend:v2 frontend:v2`: without registries, and with the tier's name where the image has another.
fn images(images: &[Image], wide: bool) -> String {
    let one = |Image { tier, image }: &Image| {
        let short = image.rsplit('/').next().unwrap_or(image);
        let short = short.split_once("@sha256:").map_or(short.to_owned(), |(name, digest)| {
            format!("{name}@{}", digest.chars().take(7).collect::<String>())
        });
        match (wide, short.split([':', '@']).next() == Some(tier)) {
            (true, _) => format!("{tier}={image}"),
            (false, true) => short,
            (false, false) => format!("{tier}={short}"),
        }
    };
    images.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Says why the color was released, and why stages were moved to it.
fn why(line: &Line, now: Timestamp) -> String {
    let moved = |(stage, moved): (&String, &Moved)| {
        let by = moved.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let age = words::age(&moved.at, now).map(|age| format!(" {age} ago")).unwrap_or_default();
        format!("{stage} {}{by}{age}: {}", moved.what, moved.message)
    };
    line.cause.iter().cloned().chain(line.moves.iter().map(moved)).collect::<Vec<_>>().join("; ")
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
            [
                "2",
                "000000",
                "Draining",
                "-",
                "2m30s",
                "a=a:2",
                "-",
                "-",
                "2/2",
                "7, 2 pods unknown",
                "b of v1",
                "1m30s",
                "-",
                "3"
            ]
        );
        let second = shown(&colors[1]).plain();
        assert_eq!(second[..8], ["1", "v1", "-", "-", "-", "-", "-", "-"]);
        assert_eq!(second[10], "b with 000000");
    }

    #[test]
    fn who_released_what_and_why_at_every_width() {
        let color = |name: &str, revision: i64, phase: &str, stages: &str, annotations: serde_json::Value| -> Color {
            let tier = |tier: &str, image: &str| json!({ "name": tier, "template": { "spec": { "containers": [{ "name": tier, "image": image }] } } });
            let backend = format!("registry.example.com:5000/shop/backend:{name}");
            serde_json::from_value(json!({
                "metadata": {
                    "name": format!("shop-{name}"), "annotations": annotations,
                    "creationTimestamp": format!("2026-01-01T0{}:00:00Z", revision),
                },
                "spec": {
                    "rainbow": "shop", "color": name, "revision": revision, "instances": [],
                    "tiers": [tier("backend", &backend), tier("frontend", "web@sha256:0123456789abcdef")],
                },
                "status": { "phase": phase, "ready": "10/10", "stages": stages },
            }))
            .unwrap()
        };
        let moved =
            json!({ "what": "rolled back", "by": "bob", "at": "2026-01-01T03:30:00Z", "message": "checkout is slow" });
        let colors = [
            color(
                "v3",
                3,
                "Serving",
                "smoke",
                json!({ "kubernetes.io/change-cause": "new prices", "rainbow.dev/released-by": "ann" }),
            ),
            color("v2", 2, "Serving", "active", json!({ "moved.rainbow.dev/active": moved.to_string() })),
            color("v1", 1, "Retired", "", json!(null)),
        ];
        let lines: Vec<Line> = colors.iter().map(|it| line(it, &colors)).collect();
        let now = "2026-01-01T04:00:00Z".parse().unwrap();
        crate::golden::check_with("history", |room| room.cut(&draw(&lines, false, room, now)));
        crate::golden::check_whole(
            "history-wide",
            &draw(&lines, true, Room { columns: None, ..crate::golden::room(80) }, now),
        );
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
