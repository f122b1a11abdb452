//! Tests of gates before a stage moves: while one has not passed, no client reaches the new color.

use anyhow::{Context, Result, ensure};
use e2e::{App, Pace, Scope, eventually, web::WebServer};
use k8s_openapi::api::{
    core::v1::{Secret, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use super::{gate, gated, has_verdict, stays_at, with_variable};

const PATTERN: &str = r"frontend:(\S+) - backend:(\S+)";

fn flips() -> App {
    App { pace: Pace::Flip, ..App::two_tiers(1) }
}

/// Builds the fields of an active stage that should serve a color, behind a gate.
fn behind(gate: &str, color: &str) -> Value {
    json!({ "color": color, "gates": { "before": [gate] } })
}

/// Checks requests to a web server: what is sent, a value in the answer, a failure, and another release that passes.
pub(crate) async fn a_web_server_decides(scope: &mut Scope) -> Result<()> {
    let server = WebServer::start(json!({ "data": { "ok": false } })).await?;
    let secret = json!({ "metadata": { "name": "web" }, "stringData": { "token": "s3cret" } });
    scope.api::<Secret>().create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    let app = flips();
    let release = |version: &str| {
        let gate = json!({
            "name": "check", "interval": "1s", "successCondition": "result == true",
            "web": {
                "url": server.url("/check/{{color}}?tier={{tier}}"), "method": "POST", "body": "{{stage}}", "jsonPath": "{$.data.ok}",
                "authentication": { "bearer": { "secretKeyRef": { "name": "web", "key": "token" } } },
            },
        });
        scope.apply_manifest(&gated(&app, version, json!([gate]), behind("check", version)))
    };
    scope.deploy(&app, "v1", "active").await?;
    let traffic = scope.load("frontend-active").await?;
    release("v2")?;
    let failed = has_verdict(scope, &app, "check", "v2", "Failed").await?;
    ensure!(failed["moment"] == "Before" && !failed.to_string().contains("s3cret"), "{failed}");
    let seen = server.seen();
    let first = seen.iter().find(|seen| seen.line.contains("v2")).context("no request for v2")?;
    ensure!(first.line == "POST /check/v2?tier=frontend" && first.body == "active", "{first:?}");
    ensure!(first.authorization.as_deref() == Some("Bearer s3cret"), "{first:?}");
    stays_at(scope, &app, "v1").await?;
    ensure!(!traffic.report().replies.keys().any(|reply| reply.contains("v2")), "clients have seen v2");

    server.answer(json!({ "data": { "ok": true } }));
    release("v3")?;
    scope.serves(&app, "active", "v3").await?;
    scope.answers("frontend-active", &app.reply("v3")).await?;
    traffic.clean().await?;
    Ok(())
}

/// Checks Jobs that test the candidate: one that cannot start holds the stage, one that fails keeps it, and one that succeeds lets it go.
pub(crate) async fn a_job_decides(scope: &mut Scope) -> Result<()> {
    let app = flips();
    let job = |image: &str| {
        // A reply that does not name the same version twice makes the program fail.
        let pattern = "frontend:{v} - backend:{v}";
        let arguments = ["http://$(CANDIDATE)/", "--closed", "1", "--for", "0.5", "--pattern", pattern];
        let container = json!({ "name": "test", "image": image, "imagePullPolicy": "IfNotPresent", "args": arguments });
        json!([{ "name": "test", "interval": "1s", "job": { "template": { "spec": { "containers": [container] } } } }])
    };
    let failing = |manifest: Value| with_variable(manifest, "frontend", "FAIL_PERCENT", "50");
    scope.deploy(&app, "v1", "active").await?;
    let traffic = scope.load("frontend-active").await?;
    scope.apply_manifest(&failing(gated(&app, "v2", job("traffic:v1"), behind("test", "v2"))))?;
    has_verdict(scope, &app, "test", "v2", "Failed").await?;
    stays_at(scope, &app, "v1").await?;

    let mut missing = job("missing:v1");
    missing[0]["consecutiveErrorLimit"] = json!(0);
    scope.apply_manifest(&gated(&app, "v3", missing, behind("test", "v3")))?;
    let held = has_verdict(scope, &app, "test", "v3", "Inconclusive").await?;
    ensure!(held["message"].as_str().is_some_and(|message| message.contains("missing:v1")), "{held}");
    stays_at(scope, &app, "v1").await?;
    ensure!(scope.stage(&app, "active").await?["rejected"].is_null(), "an inconclusive gate rejects no color");
    scope.apply_manifest(&gated(&app, "v3", job("traffic:v1"), behind("test", "v3")))?;
    scope.serves(&app, "active", "v3").await?;
    scope.answers("frontend-active", &app.reply("v3")).await?;
    traffic.clean().await?;
    Ok(())
}

/// Checks requests that Rainbow sends itself: failing and mixed replies of a candidate are seen before any client gets them.
pub(crate) async fn own_requests_decide(scope: &mut Scope) -> Result<()> {
    let app = flips();
    let gates = json!([{ "name": "own", "interval": "1s", "traffic": { "requests": 40, "pattern": PATTERN } }]);
    let release = |color: &str, version: &str| {
        let mut manifest = gated(&app, version, gates.clone(), behind("own", color));
        manifest["spec"]["color"] = json!(color);
        manifest
    };
    scope.deploy(&app, "v1", "active").await?;
    let traffic = scope.load("frontend-active").await?;
    scope.apply_manifest(&with_variable(release("failing", "v2"), "frontend", "FAIL_PERCENT", "10"))?;
    let failed = has_verdict(scope, &app, "own", "failing", "Failed").await?;
    let value = failed["measurements"][0]["value"].as_str().unwrap_or_default();
    let value: Value = serde_json::from_str(value)?;
    ensure!(value["requests"] == 40 && value["failed"] == 4 && value["mixed"] == 0, "{failed}");
    let mut mixed = release("mixed", "v2");
    for tier in mixed["spec"]["tiers"].as_array_mut().into_iter().flatten().filter(|tier| tier["name"] == "backend") {
        tier["template"]["spec"]["containers"][0]["image"] = json!("backend:v1");
    }
    scope.apply_manifest(&mixed)?;
    let failed = has_verdict(scope, &app, "own", "mixed", "Failed").await?;
    ensure!(failed.to_string().contains("mixed"), "{failed}");
    stays_at(scope, &app, "v1").await?;
    ensure!(!traffic.report().replies.keys().any(|reply| reply.contains("v2")), "clients have seen v2");
    scope.apply_manifest(&release("good", "v2"))?;
    scope.serves(&app, "active", "good").await?;
    scope.answers("frontend-active", &app.reply("v2")).await?;
    traffic.clean().await?;
    Ok(())
}

/// Checks that a stage waits for a person, and that an approval says who and why.
pub(crate) async fn a_person_approves(scope: &mut Scope) -> Result<()> {
    let app = flips();
    let gates = json!([{ "name": "release", "manual": { "message": "Is the release note out?" } }]);
    scope.deploy(&app, "v1", "active").await?;
    let traffic = scope.load("frontend-active").await?;
    scope.apply_manifest(&gated(&app, "v2", gates, behind("release", "v2")))?;
    eventually("the stage waits for a person", || async {
        let gate = gate(scope, &app, "release", "v2").await?;
        ensure!(gate["verdict"] != "Passed" && gate["message"].is_string(), "{gate}");
        Ok(())
    })
    .await?;
    stays_at(scope, &app, "v1").await?;
    scope
        .cli
        .run(&["approve", app.name, "--stage", "active", "--gate", "release", "--reason", "tested by hand"])
        .await?;
    scope.serves(&app, "active", "v2").await?;
    let passed = gate(scope, &app, "release", "v2").await?;
    ensure!(passed["message"].as_str().is_some_and(|message| message.contains("tested by hand")), "{passed}");
    traffic.clean().await?;
    Ok(())
}

/// Checks that the right to approve is one of its own: an account that has it, and no other, lets a color pass and cannot edit a Rainbow. The
/// embedded cluster grants every right to each client, so the test runs on others only.
pub(crate) async fn approving_is_a_right_of_its_own(scope: &mut Scope) -> Result<()> {
    let app = flips();
    let gates = json!([{ "name": "release", "manual": {} }]);
    scope.deploy(&app, "v1", "active").await?;
    scope.apply_manifest(&gated(&app, "v2", gates, behind("release", "v2")))?;
    let by = format!("system:serviceaccount:{}:approver", scope.namespace);
    make_approver(scope).await?;
    eventually("the stage waits for a person", || gate(scope, &app, "release", "v2")).await?;

    let mut config = scope.config().await?;
    config.auth_info.impersonate = Some(by.clone());
    let client = Client::try_from(config)?;
    let create = async |kind: &str, object: Value| -> Result<kube::Result<DynamicObject>> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("rainbow.dev", "v1alpha1", kind));
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), &scope.namespace, &resource);
        Ok(api.create(&PostParams::default(), &serde_json::from_value(object)?).await)
    };
    let rainbow = json!({ "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow", "metadata": { "name": "other" }, "spec": app.at("v1")["spec"] });
    let refused = create("Rainbow", rainbow).await?;
    ensure!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 403), "{refused:?}");
    let approval = json!({
        "apiVersion": "rainbow.dev/v1alpha1", "kind": "Approval", "metadata": { "name": "by-account" },
        "spec": { "rainbow": app.name, "color": "v2", "gate": "release", "by": by },
    });
    create("Approval", approval).await??;
    scope.serves(&app, "active", "v2").await
}

/// Makes a ServiceAccount that may create approvals and nothing else.
async fn make_approver(scope: &Scope) -> Result<()> {
    let post = PostParams::default();
    let name = json!({ "name": "approver" });
    let account = serde_json::from_value(json!({ "metadata": name }))?;
    scope.api::<ServiceAccount>().create(&post, &account).await?;
    let rule = json!({ "apiGroups": ["rainbow.dev"], "resources": ["approvals"], "verbs": ["create"] });
    let role = serde_json::from_value(json!({ "metadata": name, "rules": [rule] }))?;
    scope.api::<Role>().create(&post, &role).await?;
    let binding = json!({
        "metadata": name,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "approver" },
        "subjects": [{ "kind": "ServiceAccount", "name": "approver", "namespace": scope.namespace }],
    });
    scope.api::<RoleBinding>().create(&post, &serde_json::from_value(binding)?).await?;
    Ok(())
}
