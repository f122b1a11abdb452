//! `rainbow diff`: shows how two colors differ, tier by tier.

mod changes;

use std::{collections::BTreeMap, fmt::Write};

use rainbow_api::{Color, ConfigName, Tier, config_of};
use serde::Serialize;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use crate::{
    context::Context,
    error::{Error, Result},
    output::{self, Format},
    paint::Painted,
    printer::{BAD, DIM, GOOD, NAME},
    which::{pick, rainbow_of},
};
use changes::Change;

/// Number of equal lines that are shown around a difference.
const CONTEXT: usize = 3;

/// Arguments of `rainbow diff`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "rainbow diff [OPTIONS] [NAME] <A> <B>",
    after_help = "Exit code: 0 where all tiers are equal, 1 where they differ, above 1 where it did not work; as diff(1)."
)]
pub(crate) struct Args {
    /// Name of the Rainbow, which may be left out where only one has both colors, and names of the colors
    #[arg(value_names = ["NAME", "A", "B"], num_args = 2..=3, required = true, value_parser = crate::which::rainbow_name, add = crate::complete::rainbows_and_colors())]
    names: Vec<String>,
    /// Form of the answer
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// Difference between two colors.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    rainbow: String,
    a: String,
    b: String,
    tiers: Vec<TierDifference>,
}

/// Difference between two colors in one tier.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TierDifference {
    tier: String,
    kind: Kind,
    /// Color whose instance serves the tier in `a`; `instance_b` is that in `b`.
    instance_a: Option<String>,
    instance_b: Option<String>,
    /// Differences in the template, the ports, the needs and the fields of the Service.
    changes: Vec<Change>,
    /// Needed tiers that differ.
    because_of: Vec<String>,
    #[serde(skip)]
    diff: String,
}

/// Result of comparing the two instances of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Kind {
    /// Both colors have the same instance, with the same pods.
    Shared,
    /// The instances are equal all the way down, but are two.
    Equal,
    /// The tier itself is equal, but a tier that it needs differs.
    Needs,
    Differs,
    /// Only the first color has the tier.
    OnlyA,
    /// Only the second color has the tier.
    OnlyB,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    compare(context, args).await.map_err(|error| match error {
        // Exit code 1 means that the colors differ, so a failure needs another one.
        Error::Failed(message) | Error::NoCluster(message) => Error::Trouble(message),
        other => other,
    })
}

async fn compare(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let (name, a, b) = match args.names.as_slice() {
        [name, a, b] => (name.clone(), a, b),
        [a, b] => (rainbow_of(&cluster, &[a, b]).await?, a, b),
        _ => return Err(Error::Usage("give two colors".into())),
    };
    cluster.rainbow(&name).await?;
    let colors = cluster.colors(&name).await?;
    let difference = difference(pick(&name, &colors, a)?, pick(&name, &colors, b)?)?;
    let differing = difference.tiers.iter().filter(|tier| !matches!(tier.kind, Kind::Shared | Kind::Equal));
    let names: Vec<String> = differing.map(|tier| tier.tier.clone()).collect();
    let differs = !names.is_empty();
    if !output::print(context.printer, args.output, &difference, names)? {
        context.printer.text(draw(&difference));
    }
    if differs { Err(Error::Reported) } else { Ok(()) }
}

fn difference(a: &Color, b: &Color) -> Result<Difference> {
    let mut names: Vec<&str> = b.spec.tiers.iter().map(|tier| tier.name.as_str()).collect();
    names.extend(
        a.spec
            .tiers
            .iter()
            .map(|tier| tier.name.as_str())
            .filter(|name| b.spec.tiers.iter().all(|it| it.name != *name)),
    );
    let (ids_a, ids_b) = (identities(a), identities(b));
    let tiers = names.into_iter().map(|name| {
        let find = |color: &Color| color.spec.tiers.iter().find(|tier| tier.name == name).cloned();
        let instance = |color: &Color| {
            let instance = color.spec.instances.iter().find(|instance| instance.tier == name);
            instance.map(|instance| instance.color.clone())
        };
        let (tier_a, tier_b) = (find(a), find(b));
        let (instance_a, instance_b) = (instance(a), instance(b));
        let (content_a, content_b) = (content(a, tier_a.as_ref()), content(b, tier_b.as_ref()));
        let changes = changes::between(&content_a, &content_b);
        let kind = match (&tier_a, &tier_b) {
            (None, _) => Kind::OnlyB,
            (_, None) => Kind::OnlyA,
            _ if instance_a.is_some() && instance_a == instance_b => Kind::Shared,
            _ if ids_a.get(name) == ids_b.get(name) => Kind::Equal,
            _ if changes.is_empty() => Kind::Needs,
            _ => Kind::Differs,
        };
        let needs = tier_b.iter().flat_map(|tier| &tier.needs).map(|need| need.tier.clone());
        let diff = match kind {
            Kind::Differs => unified(
                (&output::yaml(&content_a)?, &format!("{name} of {}", a.spec.color)),
                (&output::yaml(&content_b)?, &format!("{name} of {}", b.spec.color)),
            ),
            _ => String::new(),
        };
        Ok(TierDifference {
            tier: name.to_owned(),
            kind,
            instance_a,
            instance_b,
            changes: if kind == Kind::Differs { changes } else { Vec::new() },
            because_of: needs.filter(|need| ids_a.get(need) != ids_b.get(need)).collect(),
            diff,
        })
    });
    Ok(Difference {
        rainbow: a.spec.rainbow.clone(),
        a: a.spec.color.clone(),
        b: b.spec.color.clone(),
        tiers: tiers.collect::<Result<_>>()?,
    })
}

/// Returns the identity of each tier's instance, as it was when the color was made.
fn identities(color: &Color) -> BTreeMap<String, String> {
    color.spec.instances.iter().map(|instance| (instance.tier.clone(), instance.identity.clone())).collect()
}

/// Returns the content of a tier's identity, without the tiers that it needs. Configuration is given by the names of its copies, which show
/// whether the content is the same.
fn content(color: &Color, tier: Option<&Tier>) -> Value {
    let Some(tier) = tier else { return Value::Null };
    let mut content = json!({ "ports": tier.ports, "needs": tier.needs, "template": tier.template });
    if !tier.service.is_plain() {
        content["service"] = json!(tier.service);
    }
    let named = config_of(&tier.template);
    for known in &color.spec.config {
        let name = ConfigName { kind: known.kind, name: known.name.clone() };
        if named.contains_key(&name) {
            content["config"][known.kind.to_string()][&known.name] = json!(known.copy);
        }
    }
    content
}

fn unified((a, name_a): (&str, &str), (b, name_b): (&str, &str)) -> String {
    let diff = TextDiff::from_lines(a, b);
    let mut text = format!("{NAME}--- {name_a}\n+++ {name_b}{NAME:#}\n");
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        let _ = writeln!(text, "{DIM}{}{DIM:#}", hunk.header());
        for change in hunk.iter_changes() {
            let line = change.value().trim_end_matches('\n');
            let _ = match change.tag() {
                ChangeTag::Equal => writeln!(text, " {line}"),
                ChangeTag::Delete => writeln!(text, "{BAD}-{line}{BAD:#}"),
                ChangeTag::Insert => writeln!(text, "{GOOD}+{line}{GOOD:#}"),
            };
        }
    }
    text
}

fn draw(difference: &Difference) -> String {
    let mut text = String::new();
    for tier in &difference.tiers {
        let of = |instance: &Option<String>| instance.clone().unwrap_or_else(|| "?".into());
        let (a, b) = (of(&tier.instance_a), of(&tier.instance_b));
        let what = match tier.kind {
            Kind::Shared => format!("{GOOD}shared{GOOD:#}: one instance, that of {}", Painted(&a)),
            Kind::Equal => format!("{GOOD}equal{GOOD:#}, in an instance each"),
            Kind::Needs => format!("equal itself, but {} differs", tier.because_of.join(", ")),
            Kind::Differs => {
                let mut aspects: Vec<&str> = tier.changes.iter().map(|change| change.aspect.as_str()).collect();
                aspects.dedup();
                format!("{BAD}differs{BAD:#}: {}", aspects.join(", "))
            }
            Kind::OnlyA => format!("{BAD}only in{BAD:#} {}", Painted(&difference.a)),
            Kind::OnlyB => format!("{BAD}only in{BAD:#} {}", Painted(&difference.b)),
        };
        let shown = match tier.kind {
            Kind::Differs if a != difference.a || b != difference.b => {
                format!("{what}  {DIM}({a} and {b} introduced them){DIM:#}")
            }
            _ => what,
        };
        let _ = writeln!(text, "{NAME}{}{NAME:#}  {shown}", tier.tier);
        text.push_str(&tier.diff);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a color the identities that its tiers make.
    fn identified(mut color: Color) -> Color {
        let identities = rainbow_api::identities(&color.spec.tiers);
        for instance in &mut color.spec.instances {
            instance.identity.clone_from(&identities[&instance.tier]);
        }
        color
    }

    fn color(name: &str, backend: &str, backend_of: &str, env: &str) -> Color {
        let color = serde_json::from_value(json!({
            "metadata": { "name": format!("shop-{name}") },
            "spec": {
                "rainbow": "shop", "color": name, "revision": 1,
                "tiers": [
                    { "name": "backend", "template": { "spec": { "containers": [
                        { "name": "backend", "image": backend, "env": [{ "name": "COLOR", "value": env }] },
                    ] } } },
                    { "name": "frontend", "needs": [{ "tier": "backend" }], "template": { "spec": { "containers": [
                        { "name": "frontend", "image": "frontend:1" },
                    ] } } },
                ],
                "instances": [
                    { "tier": "backend", "color": backend_of, "identity": "" },
                    { "tier": "frontend", "color": name, "identity": "" },
                ],
            },
        }))
        .unwrap();
        identified(color)
    }

    fn kinds(difference: &Difference) -> Vec<Kind> {
        difference.tiers.iter().map(|tier| tier.kind).collect()
    }

    #[test]
    fn says_what_differs_and_why() {
        let (a, b) = (color("123456", "backend:1", "123456", "x"), color("v2", "backend:2", "v2", "z"));
        let difference = difference(&a, &b).unwrap();
        assert_eq!(kinds(&difference), [Kind::Differs, Kind::Needs]);
        assert_eq!(
            anstream::adapter::strip_str(&draw(&difference)).to_string(),
            "\
backend  differs: env COLOR, image
--- backend of 123456
+++ backend of v2
@@ -5,6 +5,6 @@
     containers:
     - env:
       - name: COLOR
-        value: x
-      image: backend:1
+        value: z
+      image: backend:2
       name: backend
frontend  equal itself, but backend differs
"
        );
    }

    #[test]
    fn another_service_is_a_difference() {
        let (a, mut b) = (color("v1", "b", "v1", "x"), color("v2", "b", "v2", "x"));
        b.spec.tiers[0].service.session_affinity = Some("ClientIP".into());
        let difference = difference(&a, &identified(b)).unwrap();
        assert_eq!(kinds(&difference), [Kind::Differs, Kind::Needs]);
        let paths: Vec<&str> = difference.tiers[0].changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["service"]);
    }

    #[test]
    fn equal_and_shared_are_no_difference() {
        let same = difference(&color("v1", "b", "v1", "x"), &color("v2", "b", "v2", "x")).unwrap();
        assert_eq!(kinds(&same), [Kind::Equal, Kind::Equal]);
        let shared = difference(&color("v1", "b", "v1", "x"), &color("v2", "b", "v1", "x")).unwrap();
        assert_eq!(kinds(&shared), [Kind::Shared, Kind::Equal]);
        let mut fewer = color("v2", "b", "v2", "x");
        fewer.spec.tiers.remove(1);
        assert_eq!(kinds(&difference(&color("v1", "b", "v1", "x"), &fewer).unwrap()), [Kind::Equal, Kind::OnlyA]);
    }
}
