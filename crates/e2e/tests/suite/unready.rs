//! Pods that do not become ready: the condition, `--wait` and `why` say the reason, and the stage stays where it is.

use anyhow::{Result, ensure};
use e2e::{App, Scope, eventually};
use serde_json::{Value, json};

/// Exit code of a wait whose time has passed.
const TIMED_OUT: i32 = 4;

/// A version that does not start.
struct Case {
    color: &'static str,
    /// Changes the inner tier's container.
    spoil: fn(&mut Value),
    /// Words that the reason has.
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
        // The kubelet alone knows what the probe was answered.
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
        // The reason varies while a node tries again, so a look may come between two tries.
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
