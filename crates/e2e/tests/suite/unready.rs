//! Tests of pods that do not become ready: the condition, `--wait` and `why` report the reason, and the stage stays where it is.

use anyhow::{Result, ensure};
use e2e::{App, Scope, eventually, load::Clients};
use k8s_openapi::api::{core::v1::Pod, discovery::v1::EndpointSlice};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use std::time::Duration;

/// Exit code of a wait that timed out.
const TIMED_OUT: i32 = 4;

/// Version that does not start.
struct Case {
    color: &'static str,
    /// Changes the inner tier's container.
    spoil: fn(&mut Value),
    /// Words of the reason.
    expect: &'static [&'static str],
    /// Words of a warning that `why` quotes.
    warning: &'static str,
}

const CASES: &[Case] = &[
    Case {
        color: "lost",
        spoil: |container| container["image"] = json!("missing:v2"),
        expect: &["missing:v2", "Image"],
        warning: "missing:v2",
    },
    Case {
        color: "crash",
        spoil: |container| set(container, "PORT", "none"),
        expect: &["ended with code 1", "PORT: invalid digit"],
        warning: "",
    },
    Case {
        color: "huge",
        spoil: |container| container["resources"] = json!({ "requests": { "cpu": "100000" } }),
        expect: &["not scheduled", "Insufficient cpu"],
        warning: "FailedScheduling",
    },
    Case {
        color: "deaf",
        spoil: |container| set(container, "READY_AFTER_MS", "86400000"),
        expect: &["has not passed its readiness probe"],
        // Only the kubelet knows the reply to the probe.
        warning: "Readiness probe failed",
    },
    Case {
        color: "blind",
        spoil: |container| container["envFrom"] = json!([{ "configMapRef": { "name": "no-such-settings" } }]),
        expect: &["no-such-settings"],
        warning: "no-such-settings",
    },
];

fn set(container: &mut Value, name: &str, value: &str) {
    if let Some(variables) = container["env"].as_array_mut() {
        variables.retain(|variable| variable["name"] != name);
        variables.push(json!({ "name": name, "value": value }));
    }
}

pub(crate) async fn pods_that_do_not_start_say_why(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(1);
    scope.deploy(&app, "v1", "active").await?;
    for case in CASES {
        let mut manifest = app.at("v1");
        manifest["spec"]["color"] = json!(case.color);
        (case.spoil)(&mut manifest["spec"]["tiers"][1]["template"]["spec"]["containers"][0]);
        scope.apply_manifest(&manifest)?;
        let has_all = |text: &str| case.expect.iter().all(|part| text.contains(part));
        eventually(&format!("the conditions of {} say {:?}", case.color, case.expect), || async {
            let color = scope.custom("Color").get(&format!("seamless-{}", case.color)).await?;
            let conditions = color.data["status"]["conditions"].to_string();
            ensure!(has_all(&conditions), "the color: {conditions}");
            let conditions = scope.rainbow(&app).await?.data["status"]["conditions"].to_string();
            ensure!(has_all(&conditions), "the Rainbow: {conditions}");
            Ok(())
        })
        .await?;
        // The reason varies while a node tries again, so a check may fall between two tries.
        eventually(&format!("a wait for {} says why", case.color), || async {
            let output =
                scope.cli.output(&["deploy", "seamless", "--color", case.color, "--wait", "--timeout", "2s"])?;
            ensure!(output.code == TIMED_OUT && has_all(&output.stderr), "{}: {}", output.code, output.stderr);
            let why = scope.cli.output(&["why", "seamless", case.color])?;
            let is_quoted = why.stdout.contains(case.warning);
            ensure!(why.code == 0 && has_all(&why.stdout) && is_quoted, "why: {}{}", why.stdout, why.stderr);
            Ok(())
        })
        .await?;
        ensure!(scope.stage(&app, "active").await?["color"] == "v1");
    }
    scope.answers("frontend-active", &app.reply("v1")).await
}

/// Condition of a pod that a controller of load balancers sets.
const GATE: &str = "lb.example.com/registered";

/// Acts as a controller of load balancers, such as that of AWS: registers the pods of a Service, ready or not, and sets the condition in each of
/// them. Never returns without an error.
async fn register(scope: &Scope, service: &str) -> Result<()> {
    let slices = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    let pods = scope.api::<Pod>();
    loop {
        let found = scope.api::<EndpointSlice>().list(&slices).await?;
        let targets = found
            .items
            .iter()
            .flat_map(|slice| &slice.endpoints)
            .filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.as_deref());
        for name in targets {
            let condition = json!({ "type": GATE, "status": "True" });
            let status = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
            // A pod that has gone meanwhile needs no condition.
            if let Some(pod) = pods.get_opt(name).await? {
                pods.patch_status(&pod.name_any(), &PatchParams::default(), &status).await?;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Checks that a readiness gate that opens when a pod is behind a Service holds no release up: the color's own Service has its pods from the
/// start. If the gate is never opened, the condition names pod and gate.
pub(crate) async fn a_readiness_gate_opens_by_the_own_service(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(2);
    scope.deploy(&app, "v1", "active").await?;
    let mut v2 = app.at("v2");
    v2["spec"]["tiers"][0]["template"]["spec"]["readinessGates"] = json!([{ "conditionType": GATE }]);
    scope.apply_manifest(&v2)?;
    eventually("the color says which gate its pods wait for", || async {
        let color = scope.custom("Color").get("seamless-v2").await?;
        let conditions = color.data["status"]["conditions"].to_string();
        ensure!(conditions.contains("frontend-v2-") && conditions.contains(GATE), "{conditions}");
        Ok(())
    })
    .await?;
    let traffic = scope.load_by("frontend-active", Clients::New).await?;
    let released = async {
        scope.serves(&app, "smoke", "v2").await?;
        scope.cli.run(&["promote", app.name, "--wait", "--timeout", "120s"]).await?;
        scope.serves(&app, "active", "v2").await
    };
    tokio::select! {
        done = released => done?,
        broken = register(scope, "frontend-v2") => return broken,
    }
    traffic.clean().await?;
    Ok(())
}
