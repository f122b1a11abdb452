//! Owners of names. Names of instances are made of tier and color, names of stages' Services of tier and stage, and names of their shadows
//! of these. A user may also name a Service. Two of them may have one name, and an object has one purpose.

use rainbow_api::Color;
use rainbow_plan::InstanceName;
use std::{collections::BTreeMap, sync::Arc};

use crate::{
    cache::App,
    domain::{self, Owner},
    kind::Kind,
    manifests::Scope,
};

/// Purpose of each object by name: existing objects first, then those that the colors should have.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    services: BTreeMap<String, Owner>,
    deployments: BTreeMap<String, Owner>,
}

impl Claims {
    pub(crate) fn of(app: &App, scope: &Scope<'_>) -> Self {
        let services = app.services.iter().filter(|(_, found)| found.says_what_for()).map(|(name, found)| {
            let stage = (!found.stage.is_empty()).then(|| Owner::Stage(found.stage.to_string()));
            let shadow = || (!found.shadow_of.is_empty()).then(|| Owner::Shadow(found.shadow_of.to_string()));
            (name.to_string(), stage.or_else(shadow).unwrap_or_else(|| Owner::Instance(found.instance())))
        });
        let deployments =
            app.deployments.iter().map(|(name, found)| (name.to_string(), Owner::Instance(found.instance())));
        let mut claims = Self { services: services.collect(), deployments: deployments.collect() };
        // The color that introduced an instance claims its name, older colors first.
        let mut colors: Vec<_> = app.colors.values().collect();
        colors.sort_by_key(|color| color.spec.revision);
        let stages: Vec<&str> = app.root.iter().flat_map(|root| domain::user_stages(&root.rainbow.spec)).collect();
        let instances = |color: &Arc<Color>| domain::instances(&color.spec, stages.iter().copied());
        for instance in colors.into_iter().flat_map(instances) {
            let name = domain::object_name(scope.prefix, &instance);
            for all in [&mut claims.services, &mut claims.deployments] {
                if !all.contains_key(&name) {
                    all.insert(name.clone(), Owner::Instance(instance.clone()));
                }
            }
        }
        claims
    }

    /// Returns the purpose of the object of a kind and a name.
    pub(crate) fn owner(&self, kind: Kind, name: &str) -> Option<&Owner> {
        match kind {
            Kind::Service => self.services.get(name),
            Kind::Deployment => self.deployments.get(name),
            // An autoscaler has the name of its Deployment.
            Kind::Rainbow
            | Kind::Color
            | Kind::Pod
            | Kind::EndpointSlice
            | Kind::PodDisruptionBudget
            | Kind::HorizontalPodAutoscaler
            | Kind::ConfigMap
            | Kind::Secret => None,
        }
    }

    /// Returns the other owner of the name of an instance's object, if there is one.
    pub(crate) fn other(&self, kind: Kind, name: &str, instance: &InstanceName) -> Option<&Owner> {
        self.owner(kind, name).filter(|owner| match owner {
            Owner::Instance(known) => known != instance,
            Owner::Stage(_) | Owner::Shadow(_) | Owner::Rainbow(_) => true,
        })
    }
}

/// Owners of the names of Services, with the stages of the spec, which are added one after the other.
pub(crate) struct StageClaims<'a> {
    claims: &'a Claims,
    stages: BTreeMap<String, Owner>,
}

impl<'a> StageClaims<'a> {
    pub(crate) fn new(claims: &'a Claims) -> Self {
        Self { claims, stages: BTreeMap::new() }
    }

    fn owner(&self, name: &str) -> Option<&Owner> {
        self.stages.get(name).or_else(|| self.claims.services.get(name))
    }

    /// Returns the purpose of a name that a stage's shadow Service needs, if the name has another purpose. The shadow of a stage that
    /// `is_gone` gives way.
    pub(crate) fn other_than_shadow(&self, name: &str, stage: &str, is_gone: impl Fn(&str) -> bool) -> Option<&Owner> {
        self.owner(name).filter(|owner| match owner {
            Owner::Shadow(other) => other != stage && !is_gone(other),
            Owner::Instance(_) | Owner::Stage(_) | Owner::Rainbow(_) => true,
        })
    }

    /// Gives a stage the name of its Service, unless the name is taken; fails with its owner. The Service of a stage that `is_gone` serves
    /// the stage that has its name now.
    pub(crate) fn claim(&mut self, name: &str, stage: &str, is_gone: impl Fn(&str) -> bool) -> Result<(), Owner> {
        match self.owner(name) {
            Some(Owner::Stage(other)) if other == stage || is_gone(other) => {}
            Some(other) => return Err(other.clone()),
            None => {}
        }
        self.stages.insert(name.to_owned(), Owner::Stage(stage.to_owned()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{Live, Object, Templates};
    use serde_json::json;
    use std::sync::LazyLock;

    fn scope() -> Scope<'static> {
        static NONE: LazyLock<Templates> = LazyLock::new(Templates::default);
        Scope { namespace: "default", rainbow: "shop", prefix: None, templates: &NONE }
    }

    fn app() -> App {
        let mut app = App::default();
        let color = json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Color",
            "metadata": { "name": "shop-v1", "namespace": "default", "labels": { "rainbow.dev/rainbow": "shop" } },
            "spec": { "rainbow": "shop", "color": "v1", "revision": 1, "tiers": [{ "name": "api", "template": {} }],
                      "instances": [{ "tier": "api", "color": "v1", "identity": "x" }] },
        });
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "front", "namespace": "default",
                          "labels": { "rainbow.dev/rainbow": "shop", "rainbow.dev/stage": "active", "rainbow.dev/tier": "web" } },
        });
        let color = Object::color(serde_json::from_value(color).unwrap());
        let service = Object::service(serde_json::from_value(service).unwrap());
        for object in [color, service] {
            let name = Box::from(object.name.as_str());
            match object.live {
                Live::Color(Some(color)) => drop(app.colors.insert(name, color.into())),
                Live::Service(service) => drop(app.services.insert(name, service)),
                _ => unreachable!(),
            }
        }
        app
    }

    #[test]
    fn a_name_has_one_owner() {
        let app = app();
        let named = Claims::of(&app, &scope());
        let mut claims = StageClaims::new(&named);
        let instance = InstanceName::shared("api", "v1");
        let stays = |_: &str| false;
        assert_eq!(
            claims.claim("api-v1", "v1", stays),
            Err(Owner::Instance(instance.clone())),
            "before the object is made"
        );
        assert_eq!(named.other(Kind::Service, "api-v1", &instance), None);
        assert_eq!(claims.claim("front", "active", stays), Ok(()));
        assert_eq!(claims.claim("front", "live", stays), Err(Owner::Stage("active".into())));
        assert_eq!(claims.claim("front", "live", |stage| stage == "active"), Ok(()), "a stage that was renamed");
        assert_eq!(claims.claim("new", "one", stays), Ok(()));
        assert_eq!(claims.claim("new", "two", stays), Err(Owner::Stage("one".into())));
        assert_eq!(claims.other_than_shadow("front-shadow", "active", stays), None, "no object has the name");
        assert_eq!(claims.other_than_shadow("api-v1", "v1", stays), Some(&Owner::Instance(instance.clone())));
        // Tier `a` of color `b-c` and tier `a-b` of color `c`.
        let other = InstanceName::shared("api-v1", "x");
        assert_eq!(named.other(Kind::Deployment, "api-v1", &other), Some(&Owner::Instance(instance)));
    }
}
