//! Choice of the color that a command is about.

use rainbow_api::{Color, Rainbow};

use crate::{
    context::Cluster,
    error::{Error, Result, hint},
};

/// Name of a color, and of its application.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ColorArgs {
    /// Name of the Rainbow, which may be left out where only one has such a color, and name of the color
    #[arg(value_names = ["NAME", "COLOR"], num_args = 1..=2, required = true, value_parser = rainbow_name, add = crate::complete::rainbows_and_colors())]
    names: Vec<String>,
}

/// Reads the name of a Rainbow as it is given: alone, or in kubectl's form `rb/shop`, `rainbow/shop`.
pub(crate) fn rainbow_name(given: &str) -> Result<String, std::convert::Infallible> {
    let name = given.split_once('/').filter(|(kind, _)| KINDS.contains(&kind.to_lowercase().as_str()));
    Ok(name.map_or(given, |(_, name)| name).to_owned())
}

/// Words for the kind of a Rainbow.
const KINDS: [&str; 6] =
    ["rb", "rainbow", "rainbows", "rainbow.rainbow.dev", "rainbows.rainbow.dev", "rainbows.v1alpha1.rainbow.dev"];

/// Color with its application.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rainbow: Rainbow,
    pub(crate) color: Color,
    /// All colors of the application, newest first.
    pub(crate) colors: Vec<Color>,
}

impl Found {
    /// Returns the name of the application.
    pub(crate) fn name(&self) -> &str {
        &self.color.spec.rainbow
    }

    /// Returns the name of the color.
    pub(crate) fn color(&self) -> &str {
        &self.color.spec.color
    }

    /// Returns the name of the color's object.
    pub(crate) fn object(&self) -> &str {
        self.color.metadata.name.as_deref().unwrap_or_default()
    }

    /// Returns the stages that point at the color, or are about to.
    pub(crate) fn stages(&self) -> Vec<&str> {
        let is_it = |other: &Option<String>| other.as_deref() == Some(self.color());
        let stages = self.rainbow.status.iter().flat_map(|status| &status.stages);
        stages
            .filter(|stage| {
                let shifts = stage.shift.as_ref().is_some_and(|shift| shift.to == self.color());
                is_it(&stage.color) || is_it(&stage.target) || shifts
            })
            .map(|stage| stage.name.as_str())
            .collect()
    }
}

impl ColorArgs {
    /// Finds the color in the cluster.
    pub(crate) async fn find(&self, cluster: &Cluster) -> Result<Found> {
        match self.names.as_slice() {
            [name, color] => Found::find(cluster, name.clone(), color).await,
            [color] => Found::find(cluster, rainbow_of(cluster, &[color]).await?, color).await,
            _ => Err(Error::Usage("give a color".into())),
        }
    }
}

impl Found {
    /// Finds a color of an application.
    pub(crate) async fn find(cluster: &Cluster, name: String, color: &str) -> Result<Self> {
        let rainbow = cluster.rainbow(&name).await?;
        let colors = cluster.colors(&name).await?;
        let color = pick(&name, &colors, color)?.clone();
        Ok(Self { rainbow, color, colors })
    }
}

/// Returns the one application that has all these colors.
pub(crate) async fn rainbow_of(cluster: &Cluster, colors: &[&str]) -> Result<String> {
    let all = cluster.all_colors().await?;
    let found = only(&cluster.namespace, &all, colors);
    // A color may have been forgotten behind the name of the application.
    if let (Err(Error::NotFound(_)), Some(first)) = (&found, colors.first())
        && let Some(rainbow) = cluster.find_rainbow(first).await?
    {
        return Err(forgotten(&rainbow, &all, colors));
    }
    found
}

/// Returns the error for a missing color, where the first of the names is that of an application.
fn forgotten(rainbow: &Rainbow, all: &[Color], names: &[&str]) -> Error {
    let name = rainbow.metadata.name.as_deref().unwrap_or_default();
    let mut colors: Vec<&Color> = all.iter().filter(|color| color.spec.rainbow == name).collect();
    colors.sort_by_key(|color| std::cmp::Reverse(color.spec.revision));
    let given = names.get(1..).unwrap_or_default();
    let rest = colors.iter().map(|color| color.spec.color.as_str()).filter(|color| !given.contains(color));
    let rest: Vec<&str> = rest.collect();
    let what = match (given, rest.as_slice()) {
        (_, []) => "it has no color to choose".to_owned(),
        ([], rest) => format!("name one of its colors behind it: {}", rest.join(", ")),
        (given, rest) => format!("name one more of its colors beside `{}`: {}", given.join("`, `"), rest.join(", ")),
    };
    Error::Usage(format!("`{name}` is a rainbow, not a color: {what}"))
}

fn only(namespace: &str, all: &[Color], colors: &[&str]) -> Result<String> {
    let has =
        |rainbow: &str, name: &str| all.iter().any(|color| color.spec.rainbow == rainbow && color.spec.color == name);
    let mut rainbows: Vec<&str> = all.iter().map(|color| color.spec.rainbow.as_str()).collect();
    rainbows.sort_unstable();
    rainbows.dedup();
    let known: Vec<String> = all.iter().map(|color| color.spec.color.clone()).collect();
    if let Some(color) = colors.iter().find(|color| !known.iter().any(|known| known == *color)) {
        return Err(Error::NotFound(format!("namespace `{namespace}` has no color `{color}`{}", hint(color, &known))));
    }
    rainbows.retain(|rainbow| colors.iter().all(|color| has(rainbow, color)));
    match rainbows.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(Error::NotFound(format!(
            "no rainbow in namespace `{namespace}` has both colors {}",
            colors.join(" and ")
        ))),
        several => Err(Error::Usage(format!(
            "several rainbows have color `{}`: write the name of one before it: {}",
            colors.join("` and `"),
            several.join(", ")
        ))),
    }
}

/// Finds a color of an application by name.
pub(crate) fn pick<'a>(rainbow: &str, colors: &'a [Color], name: &str) -> Result<&'a Color> {
    colors.iter().find(|color| color.spec.color == name).ok_or_else(|| {
        let names: Vec<String> = colors.iter().map(|color| color.spec.color.clone()).collect();
        Error::NotFound(format!("rainbow `{rainbow}` has no color `{name}`{}", hint(name, &names)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rainbow_is_named_as_kubectl_names_it() {
        for given in ["shop", "rb/shop", "rainbow/shop", "Rainbow/shop", "rainbows.rainbow.dev/shop"] {
            assert_eq!(rainbow_name(given).unwrap(), "shop", "{given}");
        }
        assert_eq!(rainbow_name("pod/shop").unwrap(), "pod/shop");
    }

    #[test]
    fn a_forgotten_color_is_missed() {
        let rainbow =
            serde_json::from_value(json!({ "metadata": { "name": "shop" }, "spec": { "tiers": [] } })).unwrap();
        let color = |color: &str, revision: i64| -> Color {
            serde_json::from_value(json!({
                "metadata": { "name": format!("shop-{color}") },
                "spec": { "rainbow": "shop", "color": color, "revision": revision, "tiers": [], "instances": [] },
            }))
            .unwrap()
        };
        let all = [color("v7", 7), color("v8", 8), color("v6", 6)];
        let said = |names: &[&str]| forgotten(&rainbow, &all, names).to_string();
        assert_eq!(said(&["shop"]), "`shop` is a rainbow, not a color: name one of its colors behind it: v8, v7, v6");
        assert_eq!(
            said(&["shop", "v8"]),
            "`shop` is a rainbow, not a color: name one more of its colors beside `v8`: v7, v6"
        );
    }

    #[test]
    fn a_color_finds_its_rainbow() {
        let color = |rainbow: &str, color: &str| {
            serde_json::from_value(json!({
                "metadata": { "name": format!("{rainbow}-{color}") },
                "spec": { "rainbow": rainbow, "color": color, "revision": 1, "tiers": [], "instances": [] },
            }))
            .unwrap()
        };
        let all = [color("shop", "v1"), color("shop", "v2"), color("blog", "v1"), color("blog", "3c3fdc")];
        let found = |colors: &[&str]| only("default", &all, colors).map_err(|error| error.to_string());
        assert_eq!(found(&["v2"]).unwrap(), "shop");
        assert_eq!(found(&["v1", "v2"]).unwrap(), "shop");
        assert_eq!(
            found(&["v1"]).unwrap_err(),
            "several rainbows have color `v1`: write the name of one before it: blog, shop"
        );
        assert_eq!(
            found(&["3c3fdd"]).unwrap_err(),
            "namespace `default` has no color `3c3fdd`; did you mean `3c3fdc`?"
        );
        assert_eq!(
            found(&["v2", "3c3fdc"]).unwrap_err(),
            "no rainbow in namespace `default` has both colors v2 and 3c3fdc"
        );
    }
}
