//! `GateTemplate`s of the cluster: watched from when the first gate uses one.

use futures::{StreamExt, stream::BoxStream};
use kube::Client;
use rainbow_api::{GateArgument, GateTemplateSpec, TemplateUse};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

use crate::{change::Change, live::ShownCustom, messages, watch};

/// Templates as they are known now, shared between the task that watches them and the loop that decides.
#[derive(Clone, Default)]
pub(super) struct Templates {
    known: Arc<Mutex<Known>>,
    /// Signal that the first gate uses a template.
    wanted: Arc<Notify>,
}

#[derive(Default)]
struct Known {
    /// Specs, or why they cannot be read, by name.
    specs: BTreeMap<String, Result<Arc<GateTemplateSpec>, String>>,
    /// Names that the list under way has shown.
    listing: BTreeSet<String>,
    list: List,
}

#[derive(Default)]
enum List {
    /// The first list is not complete yet.
    #[default]
    Awaited,
    Complete,
    /// The first list failed: the cluster has no such kind, or the operator has no right to read it.
    Failed(String),
}

/// Reason why a gate cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The gate is not known yet.
    Unread,
    /// The gate is not one that can be measured.
    Invalid(String),
}

impl Templates {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the template that a gate uses, with the values of its arguments.
    pub(super) fn resolve(&self, used: &TemplateUse) -> Result<(Arc<GateTemplateSpec>, Vec<GateArgument>), Obstacle> {
        self.wanted.notify_one();
        let known = self.lock();
        let name = used.name.as_str();
        let spec = match (known.specs.get(name), &known.list) {
            (Some(Ok(spec)), _) => Arc::clone(spec),
            (Some(Err(why)), _) => return Err(Obstacle::Invalid(messages::unreadable_template(name, why))),
            (None, List::Awaited) => return Err(Obstacle::Unread),
            (None, List::Complete) => return Err(Obstacle::Invalid(messages::unknown_template(name))),
            (None, List::Failed(why)) => return Err(Obstacle::Invalid(messages::no_templates(name, why))),
        };
        drop(known);
        let args = arguments(&spec.args, &used.args).map_err(Obstacle::Invalid)?;
        Ok((spec, args))
    }

    /// Takes in a change, and returns whether a gate may mean something else now.
    fn change(&self, change: Change<ShownCustom>) -> bool {
        let mut known = self.lock();
        match change {
            Change::Restarted => {
                known.listing.clear();
                false
            }
            Change::Listed(shown) => {
                known.listing.insert(name_of(&shown));
                known.put(shown);
                // The end of the list is the change.
                false
            }
            Change::Complete => {
                let shown = std::mem::take(&mut known.listing);
                known.specs.retain(|name, _| shown.contains(name));
                known.list = List::Complete;
                true
            }
            Change::Seen(shown) => {
                known.put(shown);
                true
            }
            Change::Gone(shown) => known.specs.remove(&name_of(&shown)).is_some(),
            Change::Failed(error) => {
                // What was known stays, as for all other kinds.
                let is_first = matches!(known.list, List::Awaited);
                if is_first {
                    tracing::warn!(%error, "GateTemplates cannot be listed; gates that use one are not measured");
                }
                if !matches!(known.list, List::Complete) {
                    known.list = List::Failed(error.to_string());
                }
                is_first
            }
        }
    }

    /// Watches the templates, from when the first gate uses one. `changed` is called after each change.
    pub(super) async fn watch(self, client: Client, changed: impl Fn() + Send + 'static) {
        self.wanted.notified().await;
        let mut changes: BoxStream<'static, Change<ShownCustom>> = watch::gate_templates(&client);
        while let Some(change) = changes.next().await {
            if self.change(change) {
                changed();
            }
        }
    }
}

impl Known {
    fn put(&mut self, shown: ShownCustom) {
        let name = name_of(&shown);
        let spec = serde_json::from_value::<GateTemplateSpec>(shown.into_spec());
        self.specs.insert(name, spec.map(Arc::new).map_err(|error| error.to_string()));
    }
}

fn name_of(shown: &ShownCustom) -> String {
    use crate::live::Shown;
    shown.metadata().name.clone().unwrap_or_default()
}

/// Returns the arguments of a template, with the values of its use before its own.
fn arguments(own: &[GateArgument], given: &[GateArgument]) -> Result<Vec<GateArgument>, String> {
    let has_value = |argument: &&GateArgument| argument.value.is_some() || argument.value_from.is_some();
    let mut all: Vec<GateArgument> = given.iter().filter(has_value).cloned().collect();
    for argument in own {
        if all.iter().any(|known| known.name == argument.name) {
            continue;
        }
        if !has_value(&argument) {
            return Err(messages::no_value(&argument.name));
        }
        all.push(argument.clone());
    }
    if let Some(empty) = given.iter().find(|argument| all.iter().all(|known| known.name != argument.name)) {
        return Err(messages::no_value(&empty.name));
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn shown(name: &str, spec: Value) -> ShownCustom {
        serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap()
    }

    fn used(name: &str, args: Value) -> TemplateUse {
        serde_json::from_value(json!({ "name": name, "args": args })).unwrap()
    }

    fn spec() -> Value {
        json!({
            "args": [{ "name": "service" }, { "name": "limit", "value": "0.05" }],
            "prometheus": { "address": "http://p:9090", "query": "up{service=\"{{args.service}}\"}" },
        })
    }

    #[test]
    fn values_of_the_use_come_before_those_of_the_template() {
        let templates = Templates::default();
        for change in [Change::Restarted, Change::Listed(shown("errors", spec())), Change::Complete] {
            templates.change(change);
        }
        let args = |given: Value| {
            let found = templates.resolve(&used("errors", given))?;
            Ok(found.1.into_iter().map(|one| (one.name, one.value.unwrap())).collect::<Vec<_>>())
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let shop = json!({ "name": "service", "value": "shop" });
        assert_eq!(args(json!([shop])), Ok(vec![pair("limit", "0.05"), pair("service", "shop")]));
        let limit = json!({ "name": "limit", "value": "1" });
        assert_eq!(args(json!([shop, limit])), Ok(vec![pair("limit", "1"), pair("service", "shop")]));
        let missing = Obstacle::Invalid("argument `service` has no value".into());
        assert_eq!(args(json!([limit])), Err(missing.clone()));
        assert_eq!(args(json!([{ "name": "service" }])), Err(missing));
    }

    #[test]
    fn a_template_that_is_not_there_has_a_reason() {
        let templates = Templates::default();
        let resolve = |name: &str| templates.resolve(&used(name, json!([]))).map(|_| ());
        assert_eq!(resolve("errors"), Err(Obstacle::Unread));
        let refused = || kube::Error::Service("no such kind".into());
        assert!(templates.change(Change::Failed(refused())));
        assert!(!templates.change(Change::Failed(refused())), "it has been reported");
        let Err(Obstacle::Invalid(why)) = resolve("errors") else { panic!() };
        assert!(why.starts_with("GateTemplate `errors` cannot be read: ") && why.contains("no such kind"), "{why}");
        templates.change(Change::Restarted);
        templates.change(Change::Listed(shown("bad", json!({ "interval": 5 }))));
        templates.change(Change::Complete);
        assert_eq!(resolve("errors"), Err(Obstacle::Invalid("GateTemplate `errors` does not exist".into())));
        let Err(Obstacle::Invalid(why)) = resolve("bad") else { panic!() };
        assert!(why.starts_with("GateTemplate `bad` cannot be read: "), "{why}");
        templates.change(Change::Seen(shown("bad", json!({ "web": { "url": "http://a" } }))));
        assert_eq!(resolve("bad"), Ok(()));
        templates.change(Change::Failed(refused()));
        assert_eq!(resolve("bad"), Ok(()), "what was known stays");
        templates.change(Change::Gone(shown("bad", json!({}))));
        assert!(resolve("bad").is_err());
    }
}
