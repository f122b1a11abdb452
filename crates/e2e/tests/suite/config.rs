//! ConfigMaps and Secrets as part of a version: a changed one is a release, and never reaches the color that serves.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e::{App, Scope, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

/// Name of the object that the inner tier reads.
const NAME: &str = "settings";
/// Annotation of copies.
const COPY_OF: &str = "rainbow.dev/copy-of";

/// Kind of the object that the inner tier reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    ConfigMap,
    Secret,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    fn api(self, scope: &Scope) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", self.name()));
        Api::namespaced_with(scope.client.clone(), &scope.namespace, &resource)
    }

    /// Writes the object as its user does.
    async fn write(self, scope: &Scope, value: &str) -> Result<()> {
        let field = if self == Self::Secret { "stringData" } else { "data" };
        let object = json!({
            "apiVersion": "v1", "kind": self.name(), "metadata": { "name": NAME }, field: { "version": value },
        });
        self.api(scope).patch(NAME, &PatchParams::apply("user").force(), &Patch::Apply(&object)).await?;
        Ok(())
    }

    /// Returns the names of the copies.
    async fn copies(self, scope: &Scope) -> Result<BTreeSet<String>> {
        let all = self.api(scope).list(&ListParams::default()).await?;
        let is_copy = |object: &&DynamicObject| object.annotations().get(COPY_OF).is_some_and(|of| of == NAME);
        Ok(all.iter().filter(is_copy).map(ResourceExt::name_any).collect())
    }

    /// Builds the application, whose inner tier replies with the value that it reads. The version is named after its hash.
    fn app(self, app: &App) -> Value {
        let mut rainbow = app.at("v1");
        let spec = &mut rainbow["spec"];
        spec["config"] = json!("Versioned");
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("color");
        }
        spec["keep"] = json!({ "history": 1, "warm": "1s" });
        let field = if self == Self::Secret { "secretKeyRef" } else { "configMapKeyRef" };
        let variable = json!({ "name": "VERSION", "valueFrom": { field: { "name": NAME, "key": "version" } } });
        if let Some(variables) = spec["tiers"][1]["template"]["spec"]["containers"][0]["env"].as_array_mut() {
            variables.push(variable);
        }
        rainbow
    }
}

fn app() -> App {
    App { settle: "1s", ..App::two_tiers(1) }
}

fn reply(value: &str) -> String {
    format!("frontend:v1 - backend:{value}")
}

/// Waits for a newest color that is none of `not`.
async fn newest(scope: &Scope, app: &App, not: &[&str]) -> Result<String> {
    eventually("there is a new color", || async {
        let status = scope.rainbow(app).await?.data["status"].clone();
        let color = status["color"].as_str().context("no color yet")?.to_owned();
        ensure!(!not.contains(&color.as_str()), "the newest color is {color}");
        Ok(color)
    })
    .await
}

/// Waits until a color is retired.
async fn retired(scope: &Scope, color: &str) -> Result<()> {
    eventually(&format!("{color} is retired"), || async {
        let found = scope.custom("Color").get(&format!("seamless-{color}")).await?;
        ensure!(found.data["status"]["phase"] == "Retired", "{}", found.data["status"]);
        Ok(())
    })
    .await
}

/// Deletes all pods of a color, and waits for their replacements.
async fn restart(scope: &Scope, color: &str) -> Result<()> {
    let before = scope.pod_uids().await?;
    let pods: Api<Pod> = scope.api();
    for pod in scope.pods(color).await?.into_values().flatten() {
        pods.delete(&pod.name_any(), &DeleteParams::default()).await?;
    }
    eventually(&format!("{color} has other pods"), || async {
        for (tier, pods) in scope.pods(color).await? {
            let is_new = |pod: &Pod| pod.uid().is_some_and(|uid| !before.contains(&uid));
            let is_ready = |pod: &Pod| {
                let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
                conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
            };
            ensure!(pods.iter().any(|pod| is_new(pod) && is_ready(pod)), "{tier} has no new pod");
        }
        Ok(())
    })
    .await
}

async fn releases(scope: &mut Scope, source: Source) -> Result<()> {
    let app = app();
    source.write(scope, "one").await?;
    scope.apply_manifest(&source.app(&app))?;
    let first = newest(scope, &app, &[]).await?;
    scope.serves(&app, "active", &first).await?;
    scope.answers("frontend-active", &reply("one")).await?;

    source.write(scope, "two").await?;
    let second = newest(scope, &app, &[&first]).await?;
    scope.serves(&app, "smoke", &second).await?;
    scope.answers("frontend-smoke", &reply("two")).await?;
    restart(scope, &first).await?;
    scope.answers("frontend-active", &reply("one")).await?;
    ensure!(scope.stage(&app, "active").await?["color"] == first.as_str(), "the stage waits to be promoted");
    let difference = scope.cli.output(&["diff", app.name, &first, &second])?;
    ensure!(difference.stdout.contains(&format!("{} {NAME}", source.name())), "diff: {}", difference.stdout);

    scope.cli.run(&["promote", app.name, "--wait"]).await?;
    scope.answers("frontend-active", &reply("two")).await?;
    retired(scope, &first).await?;
    scope.cli.run(&["rollback", app.name, "--to", &first, "--wait"]).await?;
    scope.answers("frontend-active", &reply("one")).await?;

    source.write(scope, "three").await?;
    let third = newest(scope, &app, &[&first, &second]).await?;
    scope.serves(&app, "smoke", &third).await?;
    scope.cli.run(&["promote", app.name, "--wait"]).await?;
    scope.answers("frontend-active", &reply("three")).await?;
    // Of the two others, `keep.history` keeps one.
    eventually("there are the copies of two colors", || async {
        let colors = scope.custom("Color").list(&ListParams::default()).await?;
        let read = |color: &DynamicObject| color.data["spec"]["config"][0]["copy"].as_str().map(str::to_owned);
        let read: BTreeSet<String> = colors.iter().filter_map(read).collect();
        let copies = source.copies(scope).await?;
        ensure!(colors.items.len() == 2 && copies == read, "{} colors read {read:?} of {copies:?}", colors.items.len());
        Ok(())
    })
    .await?;

    scope.cli.run(&["delete", app.name, "--wait"]).await?;
    eventually("no copy is left", || async {
        let copies = source.copies(scope).await?;
        ensure!(copies.is_empty(), "{copies:?}");
        Ok(())
    })
    .await
}

pub(crate) async fn a_changed_config_map_is_a_release(scope: &mut Scope) -> Result<()> {
    releases(scope, Source::ConfigMap).await
}

pub(crate) async fn a_changed_secret_is_a_release(scope: &mut Scope) -> Result<()> {
    releases(scope, Source::Secret).await
}

pub(crate) async fn a_used_color_name_is_refused(scope: &mut Scope) -> Result<()> {
    let (app, source) = (app(), Source::ConfigMap);
    let named = |color: &str| {
        let mut rainbow = source.app(&app);
        rainbow["spec"]["color"] = json!(color);
        rainbow
    };
    scope.apply_manifest(&named("v1"))?;
    says(scope, &app, "Reconciling", "ConfigMap `settings` does not exist").await?;
    source.write(scope, "one").await?;
    scope.serves(&app, "active", "v1").await?;
    scope.answers("frontend-active", &reply("one")).await?;
    source.write(scope, "two").await?;
    says(scope, &app, "Stalled", "color `v1` exists with other content of ConfigMap `settings`").await?;
    scope.answers("frontend-active", &reply("one")).await?;
    scope.apply_manifest(&named("v2"))?;
    scope.serves(&app, "smoke", "v2").await?;
    scope.answers("frontend-smoke", &reply("two")).await
}

/// Checks the condition of a Rainbow whose operator was installed without the right to read the objects.
pub(crate) async fn without_the_right_it_is_told(scope: &mut Scope) -> Result<()> {
    let app = app();
    scope.operator.restart_without_config()?;
    Source::Secret.write(scope, "one").await?;
    scope.apply_manifest(&Source::Secret.app(&app))?;
    says(scope, &app, "Stalled", "`rainbow install --versioned-config all`").await
}

/// Waits until a condition is True and its message contains a text.
async fn says(scope: &Scope, app: &App, condition: &str, text: &str) -> Result<()> {
    eventually(&format!("{condition} says {text}"), || async {
        let status = scope.rainbow(app).await?.data["status"].clone();
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        let found = conditions.find(|one| one["type"] == condition).context("no such condition")?;
        let message = found["message"].as_str().unwrap_or_default();
        ensure!(found["status"] == "True" && message.contains(text), "{found}");
        Ok(())
    })
    .await
}
