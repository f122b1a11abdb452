//! Tests of bad input: a clear sentence that names the field, an exit code, and nothing half-applied.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use e2e::{App, Cli, Cluster, Scope, eventually};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{
    Api,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams, ValidationDirective},
};
use serde_json::{Value, json};

/// Exit code for bad input and wrong usage.
const USAGE: i32 = 2;

/// Spoilt manifest, and the parts that the message must contain.
struct Case {
    what: &'static str,
    spoil: fn(&mut Value),
    expect: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        what: "a cycle in needs",
        spoil: |rainbow| rainbow["spec"]["tiers"][1]["needs"] = json!([{ "tier": "frontend" }]),
        expect: &["spec.tiers[frontend].needs", "frontend -> backend -> frontend"],
    },
    Case {
        what: "an unknown tier",
        spoil: |rainbow| rainbow["spec"]["tiers"][0]["needs"][0]["tier"] = json!("bakend"),
        expect: &["spec.tiers[frontend].needs[bakend].tier", "use one of backend"],
    },
    Case {
        what: "duplicate tiers",
        spoil: |rainbow| {
            let tier = rainbow["spec"]["tiers"][1].clone();
            if let Some(tiers) = rainbow["spec"]["tiers"].as_array_mut() {
                tiers.push(tier);
            }
        },
        expect: &["spec.tiers[backend]", "twice"],
    },
    Case {
        what: "two entry tiers and a stage without a tier",
        spoil: |rainbow| rainbow["spec"]["tiers"][0]["needs"] = json!([]),
        expect: &["spec.stages[smoke].tier", "frontend", "backend"],
    },
    Case {
        what: "a color that is no DNS label",
        spoil: |rainbow| rainbow["spec"]["color"] = json!("V_2"),
        expect: &["spec.color", "V_2"],
    },
    Case {
        what: "a color that YAML took for a number",
        spoil: |rainbow| rainbow["spec"]["color"] = json!(123_456),
        expect: &["spec.color", "put it in quotes"],
    },
    Case {
        what: "a port clash",
        spoil: |rainbow| {
            let ports = json!([{ "name": "http", "port": 80 }, { "name": "more", "port": 80 }]);
            rainbow["spec"]["tiers"][1]["ports"] = ports;
        },
        expect: &["spec.tiers[backend].ports[more].port", "80", "http"],
    },
    Case {
        what: "a template without containers",
        spoil: |rainbow| rainbow["spec"]["tiers"][1]["template"] = json!({ "spec": { "containers": [] } }),
        expect: &["spec.tiers[backend].template.spec.containers", "at least one"],
    },
    Case {
        what: "negative replicas",
        spoil: |rainbow| rainbow["spec"]["tiers"][1]["replicas"] = json!(-1),
        expect: &["spec.tiers[backend].replicas", "-1"],
    },
    Case {
        what: "a misspelt field of a pod",
        spoil: |rainbow| container(rainbow)["readinesProbe"] = json!({ "httpGet": { "port": 8080 } }),
        expect: &["spec.tiers[backend].template.spec.containers[0].readinesProbe", "did you mean `readinessProbe`?"],
    },
    Case {
        what: "an empty image",
        spoil: |rainbow| container(rainbow)["image"] = json!(""),
        expect: &["spec.tiers[backend].template.spec.containers[0].image", "is empty"],
    },
    Case {
        what: "a bad quantity",
        spoil: |rainbow| container(rainbow)["resources"] = json!({ "limits": { "memory": "64MB" } }),
        expect: &["spec.tiers[backend].template.spec.containers[0].resources.limits.memory", "64MB"],
    },
    Case {
        what: "a text where a number is needed",
        spoil: |rainbow| container(rainbow)["ports"] = json!([{ "containerPort": "8080" }]),
        expect: &["spec.tiers[backend].template.spec.containers[0].ports[0].containerPort", "without quotes"],
    },
    Case {
        what: "an unknown field",
        spoil: |rainbow| rainbow["spec"]["tiers"][1]["replica"] = json!(1),
        expect: &["spec.tiers[backend].replica", "no such field", "`replicas` is there already"],
    },
];

/// Returns the container of the inner tier.
fn container(rainbow: &mut Value) -> &mut Value {
    &mut rainbow["spec"]["tiers"][1]["template"]["spec"]["containers"][0]
}

/// Checks the errors that the command finds before it contacts a cluster.
pub(crate) fn refused_before_anything_is_sent(cluster: &Cluster) -> Result<()> {
    let app = App::two_tiers(1);
    for case in CASES {
        let mut manifest = app.at("v1");
        (case.spoil)(&mut manifest);
        // A valid object comes first: nothing of the input may be applied when a later document is bad.
        let sound = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "half" }, "data": {} });
        let input = format!("{sound}\n---\n{manifest}\n");
        let output = cluster.cli().output_with_input(&["apply", "-f", "-"], &input)?;
        ensure!(output.code == USAGE, "{}: ended with {}: {}", case.what, output.code, output.stderr);
        for part in case.expect {
            ensure!(output.stderr.contains(part), "{}: `{part}` is missing in: {}", case.what, output.stderr);
        }
    }
    let output = cluster.cli().output_with_input(&["apply", "-f", "-"], "kind: [Rainbow\n")?;
    ensure!(output.code == USAGE && output.stderr.contains("<stdin>:1: `[` has no `]`"), "no YAML: {}", output.stderr);
    let output = cluster.cli().output(&["apply", "-f", "/nonexistent/v1.yaml"])?;
    ensure!(output.code == USAGE && output.stderr.contains("/nonexistent/v1.yaml"), "no file: {}", output.stderr);
    Ok(())
}

/// Checks the errors for a missing cluster, an unreadable kubeconfig, and one without the needed permission bits.
pub(crate) fn no_cluster(cluster: &Cluster) -> Result<()> {
    let home = cluster.dir().join("no-cluster");
    std::fs::create_dir_all(&home)?;
    let kubeconfig = home.join("kubeconfig");
    let cli = Cli::new(cluster.cli().program()).with("RAINBOW_HOME", &home).with("HOME", &home);

    let output = cli.output(&["status", "seamless"])?;
    ensure!(output.code == 1 && output.stderr.contains("rainbow local up"), "no kubeconfig: {}", output.stderr);

    let nowhere = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": "https://127.0.0.1:1" } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "users": [{ "name": "u", "user": {} }],
    });
    std::fs::write(&kubeconfig, nowhere.to_string())?;
    let cli = cli.with("KUBECONFIG", &kubeconfig);
    let output = cli.output(&["status", "seamless"])?;
    ensure!(output.code == 1 && output.stderr.contains("127.0.0.1:1"), "nobody listens: {}", output.stderr);

    std::fs::write(&kubeconfig, "clusters: [")?;
    let output = cli.output(&["status", "seamless"])?;
    let named = output.stderr.contains(&*kubeconfig.to_string_lossy());
    ensure!(output.code != 0 && named, "no YAML: {}", output.stderr);

    std::fs::set_permissions(&kubeconfig, std::fs::Permissions::from_mode(0o000))?;
    let output = cli.output(&["status", "seamless"])?;
    ensure!(output.code != 0, "unreadable: {}", output.stderr);
    ensure!(output.stderr.lines().count() <= 3, "more than a sentence: {}", output.stderr);
    Ok(())
}

/// Checks errors that only the cluster can find: the status reports them, and running versions continue.
pub(crate) async fn refused_by_the_cluster(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(1);
    scope.deploy(&app, "v1", "active").await?;

    // A used color name with other tiers, by a client that does not check first.
    let image =
        json!([{ "op": "replace", "path": "/spec/tiers/1/template/spec/containers/0/image", "value": "backend:v2" }]);
    let image: Patch<()> = Patch::Json(serde_json::from_value(image)?);
    scope.custom("Rainbow").patch(app.name, &PatchParams::default(), &image).await?;
    said(scope, &app, &["`v1`", "spec.color"]).await?;
    ensure!(scope.stage(&app, "active").await?["color"] == "v1");
    scope.apply(&app, "v1")?;

    // A stage pinned to a color that does not exist.
    let output = scope.cli.output(&["promote", "seamless", "--to", "v9"])?;
    ensure!(output.code != 0 && output.stderr.contains("v9"), "{}", output.stderr);
    let mut pinned = app.at("v1");
    pinned["spec"]["stages"][1]["color"] = json!("v9");
    scope.apply_manifest(&pinned)?;
    said(scope, &app, &["v9", "active"]).await?;
    scope.apply(&app, "v1")?;

    // An image that does not exist: the new color stays out.
    let mut missing = app.at("v2");
    missing["spec"]["tiers"][1]["template"]["spec"]["containers"][0]["image"] = json!("missing:v2");
    missing["spec"]["progressDeadlineSeconds"] = json!(1);
    scope.apply_manifest(&missing)?;
    said(scope, &app, &["`v2`", "backend"]).await?;
    ensure!(scope.stage(&app, "smoke").await?["color"] == "v1");
    ensure!(scope.stage(&app, "active").await?["color"] == "v1");
    Ok(())
}

/// Checks refusals of commands after a look at the cluster, and of the API server: nothing is written.
pub(crate) async fn refused_before_anything_is_written(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(1);
    scope.deploy(&app, "v1", "active").await?;
    let generation = async || anyhow::Ok(scope.rainbow(&app).await?.metadata.generation);
    let before = generation().await?;

    let refused = |args: &[&str], input: &str, parts: &[&str]| {
        let output = scope.cli.output_with_input(args, input)?;
        ensure!(output.code == USAGE, "{args:?} ended with {}: {}{}", output.code, output.stdout, output.stderr);
        for part in parts {
            ensure!(output.stderr.contains(part), "{args:?}: `{part}` is missing in: {}", output.stderr);
        }
        Ok(())
    };
    // A used color name.
    let mut other = app.at("v1");
    container(&mut other)["image"] = json!("backend:v2");
    let used: &[&str] = &["spec.color", "`v1` exists with other tiers"];
    refused(&["apply", "-f", "-"], &other.to_string(), used)?;
    refused(&["apply", "-f", "-", "--dry-run"], &other.to_string(), used)?;
    refused(&["deploy", app.name, "--color", "v1", "--image", "backend=backend:v2"], "", used)?;
    // An empty image.
    let empty = ["deploy", app.name, "--color", "v2", "--image", "backend="];
    refused(&empty, "", &["spec.tiers[backend].template.spec.containers[0].image", "is empty"])?;
    // A check of pods that only the API server makes.
    let mut unmounted = app.at("v2");
    container(&mut unmounted)["volumeMounts"] = json!([{ "name": "data", "mountPath": "/data" }]);
    let mount = "spec.tiers[backend].template.spec.containers[0].volumeMounts[0].name";
    refused(&["apply", "-f", "-", "--dry-run"], &unmounted.to_string(), &[mount, "data"])?;
    refused(&["apply", "-f", "-"], &unmounted.to_string(), &[mount, "data"])?;

    // At admission, for any client.
    type Change = fn(&mut Value);
    let admission: [(Change, &str); 4] = [
        (|container| container["readinesProbe"] = json!({ "httpGet": { "port": 8080 } }), "readinesProbe"),
        (|container| container["image"] = json!(""), "image"),
        (|container| container["resources"] = json!({ "limits": { "memory": "64MB" } }), "memory"),
        (|container| container["ports"] = json!([{ "containerPort": "8080" }]), "containerPort"),
    ];
    for (spoil, field) in admission {
        let mut manifest = app.at("v2");
        spoil(container(&mut manifest));
        let object: DynamicObject = serde_json::from_value(manifest)?;
        let params = PatchParams {
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::apply("another-client").force()
        };
        match scope.custom("Rainbow").patch(app.name, &params, &Patch::Apply(&object)).await {
            Err(kube::Error::Api(status)) => ensure!(status.message.contains(field), "{field}: {}", status.message),
            other => anyhow::bail!("{field}: {other:?}"),
        }
    }
    ensure!(generation().await? == before, "something was written");
    ensure!(scope.custom("Color").list(&ListParams::default()).await?.items.len() == 1, "a color was made");
    Ok(())
}

/// Creates two Rainbows with the same tiers and stages in one namespace: the second is refused, and its replies never appear at another's stage.
pub(crate) async fn two_of_the_same_names(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(1);
    scope.deploy(&app, "v1", "active").await?;
    let mut solo = app.at("v2");
    solo["metadata"]["name"] = json!("solo");
    for args in [&["apply", "-f", "-", "--dry-run"][..], &["apply", "-f", "-"]] {
        let output = scope.cli.output_with_input(args, &solo.to_string())?;
        let parts = ["`solo`", "`seamless`", "`frontend-active`", "spec.namePrefix"];
        ensure!(output.code == USAGE, "ended with {}: {}", output.code, output.stderr);
        ensure!(parts.iter().all(|part| output.stderr.contains(part)), "{}", output.stderr);
    }
    ensure!(scope.custom("Rainbow").get_opt("solo").await?.is_none(), "it was written");
    // Created by a client that does not check first.
    scope.custom("Rainbow").create(&PostParams::default(), &serde_json::from_value(solo.clone())?).await?;
    eventually("the condition names the sibling", || async {
        let conditions = scope.custom("Rainbow").get("solo").await?.data["status"]["conditions"].to_string();
        ensure!(conditions.contains("Rainbow `seamless`"), "{conditions}");
        Ok(())
    })
    .await?;
    let output = scope.cli.output(&["query", "solo", "--stage", "active", "--timeout", "1s"])?;
    ensure!(output.code != 0 && output.stdout.is_empty(), "another's reply: {}", output.stdout);
    ensure!(output.stderr.contains("that of rainbow `seamless`"), "{}", output.stderr);
    scope.cli.run(&["delete", "solo", "--wait"]).await?;
    solo["spec"]["namePrefix"] = json!("solo-");
    scope.apply_manifest(&solo)?;
    scope.answers("frontend-active", &app.reply("v1")).await
}

/// Waits until the conditions contain all of the parts.
async fn said(scope: &Scope, app: &App, parts: &[&str]) -> Result<()> {
    eventually(&format!("the status says {parts:?}"), || async {
        let conditions = scope.rainbow(app).await?.data["status"]["conditions"].to_string();
        ensure!(parts.iter().all(|part| conditions.contains(part)), "{conditions}");
        Ok(())
    })
    .await
}

/// Checks that foreign objects with needed names lead to a condition, and that not one byte of them changes.
pub(crate) async fn foreign_objects_stay_untouched(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(1);
    let service: Service = serde_json::from_value(json!({
        "metadata": { "name": "frontend-active" },
        "spec": { "selector": { "app": "mine" }, "ports": [{ "port": 80, "protocol": "TCP" }] },
    }))?;
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": { "name": "backend-v1" },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": "mine" } },
            "template": {
                "metadata": { "labels": { "app": "mine" } },
                "spec": { "containers": [{ "name": "mine", "image": "backend:v1" }] },
            },
        },
    }))?;
    let services: Api<Service> = scope.api();
    let deployments: Api<Deployment> = scope.api();
    let service = services.create(&PostParams::default(), &service).await?;
    deployments.create(&PostParams::default(), &deployment).await?;

    scope.apply(&app, "v1")?;
    said(scope, &app, &["frontend-active"]).await?;
    said(scope, &app, &["backend-v1"]).await?;
    let found = services.get("frontend-active").await?;
    ensure!(found.metadata.resource_version == service.metadata.resource_version, "the Service was written to");
    let found = deployments.get("backend-v1").await?;
    let managers = format!("{:?}", found.metadata.managed_fields);
    ensure!(!managers.contains("\"rainbow\""), "the Deployment was written to: {managers}");

    // Deleting the Rainbow leaves them, too.
    scope.cli.run(&["delete", "seamless", "--wait"]).await?;
    ensure!(
        services.list(&ListParams::default()).await?.items.iter().any(|item| item.metadata.uid == service.metadata.uid)
    );
    deployments.get("backend-v1").await?;
    Ok(())
}
