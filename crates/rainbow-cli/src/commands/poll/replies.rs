//! Versions in replies, judged by the tiers of a Rainbow.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rainbow_api::{Color, Compatible, Rainbow, Tier};
use tokio::task::JoinHandle;
use traffic::{Order, Pattern, Verdict};

use crate::{context::Cluster, error::Result};

/// Time between two reads of the colors: a color that is made in between takes longer to serve.
const REFRESH: Duration = Duration::from_secs(2);

/// Colors of a Rainbow, as far as replies tell them apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Needs of the spec, used where no color knows the version of a caller.
    needs: Needs,
    colors: Vec<KnownColor>,
}

/// Compatibility of needs, by caller and callee.
type Needs = BTreeMap<(String, String), Compatible>;

#[derive(Clone, Debug)]
struct KnownColor {
    revision: i64,
    needs: Needs,
    /// Texts by which a tier may name its version in a reply: the color that introduced its instance, and the tags of its images.
    names: BTreeMap<String, BTreeSet<String>>,
}

impl Known {
    pub(crate) fn new(rainbow: &Rainbow, colors: &[Color]) -> Self {
        let colors = colors.iter().map(|color| KnownColor {
            revision: color.spec.revision,
            needs: needs(&color.spec.tiers),
            names: color.spec.tiers.iter().map(|tier| (tier.name.clone(), names(color, tier))).collect(),
        });
        Self { needs: needs(&rainbow.spec.tiers), colors: colors.collect() }
    }

    /// Reads a Rainbow and its colors. Where the user may not list colors, no version is known.
    pub(crate) async fn read(cluster: &Cluster, name: &str) -> Result<Self> {
        let colors = cluster.colors(name).await.unwrap_or_default();
        Ok(Self::new(&cluster.rainbow(name).await?, &colors))
    }

    /// Returns whether a newer callee may serve a caller. Without such a need a reply is judged by its text alone.
    fn is_tiered(&self) -> bool {
        let all = self.colors.iter().map(|color| &color.needs).chain([&self.needs]);
        all.flat_map(BTreeMap::values).any(|compatible| *compatible == Compatible::Backward)
    }

    /// Judges a reply by the texts `<tier>:<version>` in it. With a pattern the reply must match the pattern, and versions that no color knows
    /// are compared by [`Order::Natural`]; without one such versions are not judged.
    pub(crate) fn judge(&self, reply: &str, pattern: Option<&Pattern>) -> Verdict {
        let by_text = pattern.map_or(Verdict::Good, |pattern| pattern.judge(reply));
        if by_text == Verdict::Unexpected || !self.is_tiered() {
            return by_text;
        }
        let pairs: BTreeSet<&(String, String)> =
            self.colors.iter().map(|color| &color.needs).chain([&self.needs]).flat_map(BTreeMap::keys).collect();
        let mut verdicts = Vec::new();
        for (caller, callee) in pairs {
            for version in versions(reply, caller) {
                let of_callee = versions(reply, callee);
                verdicts.extend(of_callee.into_iter().map(|other| {
                    let known = self.known(caller, callee, version, other);
                    known.or_else(|| pattern.map(|_| self.guessed(caller, callee, version, other)))
                }));
            }
        }
        let verdicts: Vec<Verdict> = verdicts.into_iter().flatten().collect();
        if verdicts.is_empty() {
            by_text
        } else if verdicts.contains(&Verdict::Mixed) {
            Verdict::Mixed
        } else if verdicts.contains(&Verdict::Compatible) {
            Verdict::Compatible
        } else {
            Verdict::Good
        }
    }

    /// Judges a caller and its callee by the colors that have their versions. `None`: one of the versions belongs to no color.
    fn known(&self, caller: &str, callee: &str, version: &str, other: &str) -> Option<Verdict> {
        let with = |tier: &str, version: &str| -> Vec<&KnownColor> {
            let has = |color: &&KnownColor| color.names.get(tier).is_some_and(|names| names.contains(version));
            self.colors.iter().filter(has).collect()
        };
        let (callers, callees) = (with(caller, version), with(callee, other));
        let newest = callees.iter().map(|color| color.revision).max()?;
        if callers.is_empty() {
            return None;
        }
        if callers.iter().any(|color| callees.iter().any(|other| other.revision == color.revision)) {
            return Some(Verdict::Good);
        }
        let need = (caller.to_owned(), callee.to_owned());
        let may = |color: &KnownColor| color.needs.get(&need) == Some(&Compatible::Backward) && color.revision < newest;
        Some(if callers.into_iter().any(may) { Verdict::Compatible } else { Verdict::Mixed })
    }

    /// Judges a caller and its callee by the texts of their versions.
    fn guessed(&self, caller: &str, callee: &str, version: &str, other: &str) -> Verdict {
        let need = self.needs.get(&(caller.to_owned(), callee.to_owned()));
        match need {
            _ if version == other => Verdict::Good,
            Some(Compatible::Backward) if Order::Natural.is_newer(other, version) => Verdict::Compatible,
            Some(Compatible::Backward | Compatible::Same) | None => Verdict::Mixed,
        }
    }
}

fn needs(tiers: &[Tier]) -> Needs {
    let of = |tier: &Tier| -> Vec<((String, String), Compatible)> {
        tier.needs.iter().map(|need| ((tier.name.clone(), need.tier.clone()), need.compatible)).collect()
    };
    tiers.iter().flat_map(of).collect()
}

fn names(color: &Color, tier: &Tier) -> BTreeSet<String> {
    let introduced = color.spec.instances.iter().filter(|instance| instance.tier == tier.name);
    let containers = tier.template["spec"]["containers"].as_array().into_iter().flatten();
    let images = containers.filter_map(|container| container["image"].as_str());
    introduced.map(|instance| instance.color.clone()).chain(images.filter_map(tag).map(str::to_owned)).collect()
}

/// Returns the tag of an image: `v1` of `host:5000/backend:v1@sha256:…`.
fn tag(image: &str) -> Option<&str> {
    let name = image.split('@').next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    name.split_once(':').map(|(_, tag)| tag)
}

/// Returns the versions of a tier in a reply: the text after each `<tier>:` that is not part of a longer name.
fn versions<'a>(reply: &'a str, tier: &str) -> Vec<&'a str> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || "-._".contains(char);
    let mut found = Vec::new();
    for (at, name) in reply.match_indices(tier) {
        let (before, after) = (&reply[..at], &reply[at + name.len()..]);
        let Some(after) = after.strip_prefix(':') else { continue };
        let version = &after[..after.find(|char| !is_part(char)).unwrap_or(after.len())];
        if !before.ends_with(is_part) && !version.is_empty() {
            found.push(version);
        }
    }
    found
}

/// Judge of replies that follows the colors of a Rainbow meanwhile.
pub(crate) struct Judge {
    known: Arc<RwLock<Known>>,
    task: JoinHandle<()>,
}

impl Judge {
    pub(crate) async fn start(cluster: &Cluster, name: &str) -> Result<Self> {
        let known = Arc::new(RwLock::new(Known::read(cluster, name).await?));
        let (cluster, name, shared) = (cluster.clone(), name.to_owned(), known.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(REFRESH).await;
                // The known colors stay valid while the API server does not answer.
                if let Ok(known) = Known::read(&cluster, &name).await {
                    *shared.write().unwrap_or_else(PoisonError::into_inner) = known;
                }
            }
        });
        Ok(Self { known, task })
    }

    /// Returns the check of replies for a load.
    pub(crate) fn check(&self, pattern: Option<Pattern>) -> traffic::Check {
        let known = self.known.clone();
        Arc::new(move |reply| known.read().unwrap_or_else(PoisonError::into_inner).judge(reply, pattern.as_ref()))
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn tiers(compatible: &str, backend: &str, frontend: &str) -> Value {
        let template = |image: &str| json!({ "spec": { "containers": [{ "name": "app", "image": image }] } });
        json!([
            { "name": "backend", "template": template(&format!("registry:5000/backend:{backend}")) },
            { "name": "frontend", "template": template(&format!("frontend:{frontend}")),
              "needs": [{ "tier": "backend", "compatible": compatible }] },
        ])
    }

    /// Makes the colors from versions of the backend and of the frontend, oldest first.
    fn known(compatible: &str, colors: &[(&str, &str)]) -> Known {
        let spec = |at: usize| tiers(compatible, colors[at].0, colors[at].1);
        let rainbow = json!({ "metadata": { "name": "shop" }, "spec": { "tiers": spec(colors.len() - 1) } });
        let color = |at: usize| -> Color {
            let spec = json!({ "rainbow": "shop", "color": format!("c{at}"), "revision": at, "tiers": spec(at), "instances": [] });
            serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap()
        };
        let colors: Vec<Color> = (0..colors.len()).map(color).collect();
        Known::new(&serde_json::from_value(rainbow).unwrap(), &colors)
    }

    #[test]
    fn the_colors_say_which_version_is_newer() {
        // Hashes have no order of their own.
        let known = known("Backward", &[("f00d", "f00d"), ("3c3f", "3c3f"), ("9a01", "3c3f")]);
        for (reply, verdict) in [
            ("frontend:f00d - backend:f00d", Verdict::Good),
            ("frontend:f00d - backend:3c3f", Verdict::Compatible),
            ("frontend:f00d - backend:9a01", Verdict::Compatible),
            ("frontend:3c3f - backend:9a01", Verdict::Good),
            ("frontend:3c3f - backend:3c3f", Verdict::Good),
            ("frontend:3c3f - backend:f00d", Verdict::Mixed),
            ("my-frontend:3c3f - backend:f00d", Verdict::Good),
            ("frontend:3c3f, no other tier", Verdict::Good),
            ("frontend:3c3f calls backend:8080", Verdict::Good),
        ] {
            assert_eq!(known.judge(reply, None), verdict, "{reply}");
        }
    }

    #[test]
    fn a_release_of_the_caller_alone_is_no_mixture() {
        let known = known("Backward", &[("v1", "v1"), ("v1", "v2")]);
        assert_eq!(known.judge("frontend:v2 - backend:v1", None), Verdict::Good);
    }

    #[test]
    fn a_pattern_compares_versions_that_no_color_knows() {
        let known = known("Backward", &[("v1", "v1")]);
        let pattern: Pattern = "frontend:{v} - backend:{v}".parse().unwrap();
        for (reply, verdict) in [
            ("frontend:1.9 - backend:1.10", Verdict::Compatible),
            ("frontend:1.10 - backend:1.9", Verdict::Mixed),
            ("frontend:1.9 - backend:1.9", Verdict::Good),
            ("frontend:1.9", Verdict::Unexpected),
        ] {
            assert_eq!(known.judge(reply, Some(&pattern)), verdict, "{reply}");
        }
    }

    #[test]
    fn strict_needs_are_judged_by_the_pattern_alone() {
        let known = known("Same", &[("v1", "v1"), ("v2", "v2")]);
        let pattern: Pattern = "frontend:{v} - backend:{v}".parse().unwrap();
        assert_eq!(known.judge("frontend:v1 - backend:v2", None), Verdict::Good);
        assert_eq!(known.judge("frontend:v1 - backend:v2", Some(&pattern)), Verdict::Mixed);
        assert_eq!(known.judge("frontend:v2 - backend:v2", Some(&pattern)), Verdict::Good);
    }
}
