//! Which color a command is about.

use rainbow_api::{Color, Rainbow};

use crate::{
    context::Cluster,
    error::{Error, Result, hint},
};

/// A color, and which application it is of.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ColorArgs {
    /// Name of the Rainbow, which may be left out where only one has such a color, and name of the color
    #[arg(value_names = ["NAME", "COLOR"], num_args = 1..=2, required = true, add = crate::complete::rainbows_and_colors())]
    names: Vec<String>,
}

/// A color with its application.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rainbow: Rainbow,
    pub(crate) color: Color,
    /// All colors of the application, newest first.
    pub(crate) colors: Vec<Color>,
}

impl Found {
    /// Name of the application.
    pub(crate) fn name(&self) -> &str {
        &self.color.spec.rainbow
    }

    /// Name of the color.
    pub(crate) fn color(&self) -> &str {
        &self.color.spec.color
    }

    /// Name of the color's object.
    pub(crate) fn object(&self) -> &str {
        self.color.metadata.name.as_deref().unwrap_or_default()
    }

    /// The stages that point at it, or are about to.
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
    /// Finds it in the cluster.
    pub(crate) async fn find(&self, cluster: &Cluster) -> Result<Found> {
        let (name, color) = match self.names.as_slice() {
            [name, color] => (name.clone(), color),
            [color] => (rainbow_of(cluster, &[color]).await?, color),
            _ => return Err(Error::Usage("give a color".into())),
        };
        let rainbow = cluster.rainbow(&name).await?;
        let colors = cluster.colors(&name).await?;
        let color = pick(&name, &colors, color)?.clone();
        Ok(Found { rainbow, color, colors })
    }
}

/// The one application that has all these colors.
pub(crate) async fn rainbow_of(cluster: &Cluster, colors: &[&str]) -> Result<String> {
    let all = cluster.all_colors().await?;
    only(&cluster.namespace, &all, colors)
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

/// A color of an application by name.
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
