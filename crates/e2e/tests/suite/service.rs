//! Tests of the fields of Services that users set, as clients and the cluster's data plane see them.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use e2e::{App, Pace, Place, Scope, eventually, load};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// Number of equal consecutive replies that occur by chance once in 10^12 times, where two pods answer.
const IN_A_ROW: usize = 40;

/// Builds the application, with a Service of the stage `active` that has these fields.
fn with(app: &App, version: &str, service: Value) -> Value {
    let mut rainbow = app.at(version);
    rainbow["spec"]["stages"][1]["service"] = service;
    rainbow
}

async fn stage_service(scope: &Scope) -> Result<Value> {
    Ok(json!(scope.api::<Service>().get("frontend-active").await?))
}

/// Checks that in the middle of a shift each client stays with one color. Fields that others put on the Service stay on it through all of the
/// shift, and fields that leave the spec leave the Service.
pub(crate) async fn affinity_through_a_shift(scope: &mut Scope) -> Result<()> {
    let mut app = App { pace: Pace::HELD, ..App::two_tiers(2) };
    let sticky = json!({
        "type": "NodePort", "sessionAffinity": "ClientIP", "labels": { "team": "x" }, "annotations": { "example.com/a": "b" },
    });
    scope.apply_manifest(&with(&app, "v1", sticky.clone()))?;
    scope.serves(&app, "active", "v1").await?;
    scope.answers("frontend-active", &app.reply("v1")).await?;
    let others =
        json!({ "metadata": { "labels": { "cloud": "a" }, "annotations": { "cloud.example.com/id": "lb-1" } } });
    let services = scope.api::<Service>();
    services.patch("frontend-active", &PatchParams::default(), &Patch::Merge(others)).await?;

    scope.apply_manifest(&with(&app, "v2", sticky))?;
    scope.serves(&app, "smoke", "v2").await?;
    let traffic = scope.load("frontend-active").await?;
    scope.cli.run(&["promote", app.name]).await?;
    scope.has_moved(&app, 1).await?;
    // A pod of each color serves, so replies would differ but for the affinity.
    for place in scope.places("frontend-active").await? {
        eventually(&format!("the client of {place} stays with a color"), || async {
            let first = load::query(&place.to_string()).await?;
            for _ in 0..IN_A_ROW {
                let reply = load::query(&place.to_string()).await?;
                ensure!(reply == first, "{first}, then {reply}");
            }
            Ok(())
        })
        .await?;
    }
    app.pace = Pace::BRISK;
    scope.apply_manifest(&with(&app, "v2", json!({ "type": "NodePort" })))?;
    scope.serves(&app, "active", "v2").await?;
    scope.answers("frontend-active", &app.reply("v2")).await?;
    traffic.clean().await?;
    let found = stage_service(scope).await?;
    let (labels, annotations) = (&found["metadata"]["labels"], &found["metadata"]["annotations"]);
    ensure!(labels["cloud"] == "a" && annotations["cloud.example.com/id"] == "lb-1", "{found:#}");
    ensure!(labels["team"].is_null() && annotations["example.com/a"].is_null(), "{found:#}");
    ensure!(
        found["spec"]["sessionAffinity"] == "None" && found["spec"]["sessionAffinityConfig"].is_null(),
        "{found:#}"
    );
    Ok(())
}

/// Checks that a flip under the policy `Local` loses nothing on nodes that have pods of both colors, and that old and new pods overlap.
pub(crate) async fn local_traffic_through_a_flip(scope: &mut Scope) -> Result<()> {
    let app = App { pace: Pace::Flip, ..App::two_tiers(4) };
    let at = |version: &str| {
        let mut rainbow = with(&app, version, json!({ "type": "NodePort", "externalTrafficPolicy": "Local" }));
        // All pods of a version exist before the stage moves.
        rainbow["spec"]["stages"][0]["replicas"] = json!(4);
        let labels = json!({ "rainbow.dev/tier": "frontend", "rainbow.dev/color": version });
        rainbow["spec"]["tiers"][0]["template"]["spec"]["topologySpreadConstraints"] = json!([{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": labels },
        }]);
        rainbow
    };
    scope.apply_manifest(&at("v1"))?;
    scope.serves(&app, "active", "v1").await?;
    scope.apply_manifest(&at("v2"))?;
    scope.serves(&app, "smoke", "v2").await?;
    scope.wait_until_scaled("v2", 4).await?;
    let places = places_of(scope, &["v1", "v2"]).await?;
    ensure!(!places.is_empty(), "no node has pods of both colors");
    answers(&places, &app.reply("v1")).await?;
    let traffic = scope.load_at(&places).await?;
    scope.cli.run(&["promote", app.name, "--wait"]).await?;
    let status = scope.stage(&app, "active").await?;
    ensure!(status["overlap"].is_string(), "the stage moves as where every node sends clients to all pods: {status}");
    answers(&places, &app.reply("v2")).await?;
    traffic.clean().await?;
    let found = stage_service(scope).await?;
    ensure!(found["spec"]["externalTrafficPolicy"] == "Local", "{found:#}");
    Ok(())
}

/// Returns the places where the stage answers, on nodes that have a pod of the entry tier of each of these colors.
async fn places_of(scope: &Scope, colors: &[&str]) -> Result<Vec<Place>> {
    let mut places = scope.places("frontend-active").await?;
    for color in colors {
        let pods = scope.pods(color).await?.remove("frontend").unwrap_or_default();
        let nodes: BTreeSet<String> = pods.into_iter().filter_map(|pod| pod.spec?.node_name).collect();
        places.retain(|place| place.node.as_ref().is_none_or(|node| nodes.contains(node)));
    }
    Ok(places)
}

async fn answers(places: &[Place], expected: &str) -> Result<()> {
    eventually(&format!("all nodes answer {expected}"), || async {
        for place in places {
            for _ in 0..IN_A_ROW {
                let reply = load::query(&place.to_string()).await?;
                ensure!(reply == expected, "{place} answers {reply}");
            }
        }
        Ok(())
    })
    .await
}
