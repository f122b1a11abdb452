//! Tests of the command as users see it: exit codes and exact messages, without a cluster.
#![allow(clippy::unwrap_used, reason = "a test fails by it, helpers included")]

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use tempfile::TempDir;

struct Output {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs the command in a home of its own.
fn rainbow_in(home: &Path, args: &[&str], input: &str, env: &[(&str, &str)]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rainbow"))
        .args(args)
        .env_clear()
        .env("HOME", home)
        .env("RAINBOW_HOME", home.join("rainbow"))
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early closes its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn rainbow(args: &[&str]) -> Output {
    let home = TempDir::new().unwrap();
    rainbow_in(home.path(), args, "", &[])
}

#[track_caller]
fn fails(output: &Output, code: i32, message: &str) {
    assert_eq!(
        (output.code, output.stderr.as_str()),
        (code, format!("error: {message}\n").as_str()),
        "{}",
        output.stdout
    );
}

const VERSION: &str = r#"{"major":"1","minor":"MINOR","gitVersion":"VERSION"}"#;

const KUBECONFIG: &str = r#"
apiVersion: v1
kind: Config
current-context: here
clusters: [{ name: here, cluster: { server: "SERVER" } }]
contexts: [{ name: here, context: { cluster: here, user: me } }, { name: there, context: { cluster: here, user: me } }]
users: [{ name: me, user: {} }]
"#;

#[test]
fn wrong_usage_is_2() {
    for args in
        [&["frobnicate"][..], &["promote"], &["status", "x", "-o", "xml"], &["promote", "x", "--timeout", "30"], &[]]
    {
        let output = rainbow(args);
        assert_eq!(output.code, 2, "{args:?}: {}", output.stderr);
        assert_eq!(output.stdout, "", "{args:?}");
    }
    assert!(rainbow(&["promte", "x"]).stderr.contains("'promote'"));
    fails(&rainbow(&["deploy", "x"]), 2, "nothing to release: give --color, --image or --env");
    fails(
        &rainbow(&["deploy", "x", "--color", "V_2"]),
        2,
        "`V_2` is no color name: use 1 to 63 lower case letters, digits and `-`, such as v2 or 3c3fdc",
    );
    for rate in ["0", "1e-300", "1e300", "NaN"] {
        fails(&rainbow(&["poll", "x", "--rate", rate]), 2, "--rate must be from 0.001 to 100000");
    }
}

/// Other characters would make the name another path of the API: `shop/status` exists.
#[test]
fn what_is_no_name_is_asked_of_no_cluster() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("config");
    fs::write(&file, KUBECONFIG.replace("SERVER", "http://127.0.0.1:1")).unwrap();
    let env = [("KUBECONFIG", file.to_str().unwrap())];
    let run = |args: &[&str]| rainbow_in(home.path(), args, "", &env);
    for name in ["shop/status", "", "shop?x", "Shop", ".."] {
        for command in [&["status", name][..], &["delete", name], &["history", name], &["why", name, "v1"]] {
            let output = run(command);
            let expected = format!("error: `{name}` is no name of a Rainbow: ");
            assert!(output.code == 2 && output.stderr.starts_with(&expected), "{command:?}: {}", output.stderr);
        }
    }
    for namespace in ["", "a/b", "A"] {
        let output = run(&["status", "shop", "-n", namespace]);
        let expected = format!("error: `{namespace}` is no name of a namespace: ");
        assert!(output.code == 2 && output.stderr.starts_with(&expected), "{}", output.stderr);
    }
}

/// An answer that could not be written is an error.
#[test]
fn an_answer_that_is_lost_is_an_error_and_one_that_nobody_reads_is_not() {
    let run = |to: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rainbow"));
        command.args(["install", "--dry-run"]).env_clear().stdout(to).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let (code, said) = run(full.into());
    assert!(code == Some(1) && said.starts_with("error: cannot write the answer to standard output: "), "{said}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(run(writer.into()), (Some(0), String::new()));
}

#[test]
fn git_names_a_color_or_says_why_not() {
    let home = TempDir::new().unwrap();
    let dir = home.path().canonicalize().unwrap();
    let run = |path: &str, args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_rainbow"))
            .args(args)
            .current_dir(&dir)
            .env_clear()
            .envs([("HOME", dir.to_str().unwrap()), ("PATH", path)])
            .output()
            .unwrap();
        Output {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    };
    let path = std::env::var("PATH").unwrap();
    let deploy = ["deploy", "x", "--color", "git"];
    fails(
        &run(&path, &deploy),
        2,
        &format!("--color git: {} is in no git repository: go into one, or name the color", dir.display()),
    );
    fails(&run("/nonexistent", &deploy), 1, "--color git: git is not installed: install it, or name the color");
    fails(
        &run(&path, &["deploy", "x", "--image", "a=a:{color}"]),
        2,
        "--image a=a:{color}: `a:{color}` holds {color}: say which with --color",
    );
    fails(
        &run(&path, &["image", "build", "-t", "a:{color}", "."]),
        2,
        "--tag: `a:{color}` holds {color}: say which with --color",
    );
}

#[test]
fn a_manifest_with_a_place_for_the_color_needs_one() {
    let home = TempDir::new().unwrap();
    let manifest = "apiVersion: rainbow.dev/v1alpha1\nkind: Rainbow\nmetadata: { name: x }\nspec:\n  tiers:\n  - name: a\n    \
                    template: { spec: { containers: [{ name: a, image: \"a:{color}\" }] } }\n";
    let apply = |args: &[&str]| rainbow_in(home.path(), &[&["apply", "-f", "-"], args].concat(), manifest, &[]);
    fails(
        &apply(&[]),
        2,
        "<stdin>:7: rainbow `x`: spec.tiers[a].template.spec.containers[0].image: `a:{color}` holds {color}: say which with \
         --color",
    );
    // The file is valid with a color, in any form of its name: only the cluster is missing then.
    for color in ["123456", "123e45", "000000", "1e1000"] {
        let output = apply(&["--color", color]);
        assert!(output.stderr.starts_with("error: no cluster: "), "{}", output.stderr);
    }
}

#[test]
fn diff_tells_trouble_from_a_difference() {
    assert_eq!(rainbow(&["diff", "a", "b"]).code, 2);
    assert_eq!(rainbow(&["diff", "a"]).code, 2);
    assert_eq!(rainbow(&["why", "a"]).code, 1);
    let soon = rainbow(&["drain", "a", "--deadline", "soon"]);
    assert_eq!(soon.code, 2);
    assert!(soon.stderr.contains("such as 30s or 1h30m; or write now or never"), "{}", soon.stderr);
}

#[test]
fn help_and_versions_need_no_cluster() {
    for args in [
        &["--help"][..],
        &["help", "promote"],
        &["promote", "--help"],
        &["completion", "bash"],
        &["help", "exit-codes"],
    ] {
        let output = rainbow(args);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{args:?}");
        assert!(!output.stdout.is_empty());
    }
    assert!(rainbow(&["help", "exit-codes"]).stdout.contains("130  ended by Ctrl-C"));
    let version = rainbow(&["version", "--client", "-o", "json"]);
    assert_eq!(version.stdout, format!("{{\n  \"client\": \"{}\"\n}}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(rainbow(&["install", "--dry-run"]).stdout.matches("kind: CustomResourceDefinition").count(), 4);
}

#[test]
fn as_a_plugin_it_calls_itself_as_the_user_did() {
    let home = TempDir::new().unwrap();
    let link = home.path().join("kubectl-rainbow");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rainbow"), &link).unwrap();
    let output = Command::new(&link).args(["promote", "--help"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("Usage: kubectl rainbow promote"));
}

#[test]
fn no_cluster() {
    fails(
        &rainbow(&["status", "x"]),
        1,
        "no cluster: there is no --kubeconfig, $KUBECONFIG, ~/.kube/config or local cluster; \
         start one with `rainbow local up`",
    );
    fails(&rainbow(&["local", "status"]), 1, "the local cluster is not running: start it with `rainbow local up`");
    fails(&rainbow(&["local", "kubeconfig"]), 1, "the local cluster is not running: start it with `rainbow local up`");
    let down = rainbow(&["local", "down"]);
    assert_eq!((down.code, down.stderr.as_str()), (0, "the local cluster was not running\n"));
}

#[test]
fn kubeconfigs_that_are_of_no_use() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("config");
    let shown = path.display().to_string();
    let run = |args: &[&str]| rainbow_in(home.path(), &[args, &["--kubeconfig", &shown]].concat(), "", &[]);

    fails(&run(&["status", "x"]), 2, &format!("cannot read {shown}: there is no such file"));
    fs::write(&path, "clusters: [").unwrap();
    fails(
        &run(&["status", "x"]),
        1,
        &format!("cannot use the kubeconfig {shown}: it is no kubeconfig, line 1: get a new one"),
    );

    fs::write(&path, KUBECONFIG.replace("SERVER", "http://127.0.0.1:1")).unwrap();
    fails(
        &run(&["status", "x", "--context", "ther"]),
        1,
        &format!("{shown} has no context `ther`; did you mean `there`?"),
    );
    let output = run(&["status", "x"]);
    fails(
        &output,
        1,
        &format!("cannot reach the cluster at http://127.0.0.1:1/ (from {shown}): Connection refused; is it running?"),
    );
    fs::write(&path, KUBECONFIG.replace("current-context: here\n", "").replace("SERVER", "http://127.0.0.1:1"))
        .unwrap();
    fails(
        &run(&["status", "x"]),
        1,
        &format!("cannot use the kubeconfig {shown}: it sets no current-context: choose one with --context"),
    );
}

/// Starts an API server that answers everything with one status.
fn api(code: u16, message: &'static str) -> String {
    let status = status(code, message);
    serve(move |_| (code, status.clone()))
}

fn status(code: u16, message: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"{message}","reason":"X","code":{code}}}"#
    )
}

/// Starts an API server that answers each request by its first line.
fn serve(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> String {
    serve_whole(move |request| answer(request.lines().next().unwrap_or_default()))
}

/// Starts an API server that answers each request by its head.
fn serve_whole(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]);
            let (code, body) = answer(&request);
            let head = format!(
                "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    format!("http://{address}")
}

/// `install` and `operator` refuse a cluster that is too old, and write nothing.
#[test]
fn an_old_cluster_is_refused() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("config");
    let shown = path.display().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&asked);
    let server = serve(move |request| {
        requests.lock().unwrap().push(request.to_owned());
        (200, VERSION.replace("VERSION", "v1.27.3-gke.100").replace("MINOR", "27"))
    });
    fs::write(&path, KUBECONFIG.replace("SERVER", &server)).unwrap();
    let run = |args: &[&str]| rainbow_in(home.path(), args, "", &[("KUBECONFIG", &shown), ("RUST_LOG", "off")]);
    let expected = "this cluster runs Kubernetes 1.27.3-gke.100, and Rainbow needs 1.30 or later";
    for args in [&["install"][..], &["install", "--crds-only"], &["operator"], &["operator", "--leader-elect"]] {
        fails(&run(args), 5, expected);
    }
    let asked = asked.lock().unwrap().clone();
    assert!(asked.iter().all(|request| request == "GET /version HTTP/1.1"), "{asked:?}");
    let printed = run(&["install", "--dry-run"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    assert!(printed.stdout.contains("kind: CustomResourceDefinition"));
}

/// Audit logs must tell the operator's requests from those of people.
#[test]
fn every_request_says_who_sends_it() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("config");
    let agents = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&agents);
    let server = serve_whole(move |request| {
        let agent =
            request.lines().find_map(|line| line.to_lowercase().strip_prefix("user-agent: ").map(str::to_owned));
        seen.lock().unwrap().push(agent.unwrap_or_default());
        (200, VERSION.replace("VERSION", "v1.27.3").replace("MINOR", "27"))
    });
    fs::write(&path, KUBECONFIG.replace("SERVER", &server)).unwrap();
    for (command, expected) in [("install", "rainbow"), ("operator", "rainbow-operator")] {
        rainbow_in(home.path(), &[command], "", &[("KUBECONFIG", path.to_str().unwrap()), ("RUST_LOG", "off")]);
        let agents = std::mem::take(&mut *agents.lock().unwrap());
        let expected = format!("{expected}/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(agents.last(), Some(&expected), "{command}: {agents:?}");
        assert!(agents.iter().all(|agent| agent.starts_with("rainbow")), "{agents:?}");
    }
}

/// A build without a version number is not taken for an old one.
#[test]
fn a_cluster_of_no_version_is_installed_to() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("config");
    let shown = path.display().to_string();
    let server = serve(|request| match request {
        "GET /version HTTP/1.1" => (200, VERSION.replace("VERSION", "v0.0.0-master").replace("MINOR", "")),
        _ => (403, status(403, "you may not")),
    });
    fs::write(&path, KUBECONFIG.replace("SERVER", &server)).unwrap();
    let output = rainbow_in(home.path(), &["install"], "", &[("KUBECONFIG", &shown)]);
    assert_eq!(output.code, 5);
    assert_eq!(
        output.stderr,
        "warning: the cluster says `v0.0.0-master` for its version, which has no number: it is taken for Kubernetes 1.30 or \
         later\nerror: the cluster refused: you may not\n"
    );
}

#[test]
fn what_the_api_server_says() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("config");
    let shown = path.display().to_string();
    for (code, message, exit, expected) in [
        (
            401,
            "Unauthorized",
            1,
            "the cluster at SERVER/ does not accept the credentials in FILE: they may have expired; get a new kubeconfig",
        ),
        (403, "you may not", 5, "the cluster refused: you may not"),
        (
            404,
            "the server could not find the requested resource",
            1,
            "Rainbow is not installed in this cluster: run `rainbow install`",
        ),
        (500, "oops", 1, "the cluster answered 500: oops"),
    ] {
        let server = api(code, message);
        fs::write(&path, KUBECONFIG.replace("SERVER", &server)).unwrap();
        let output = rainbow_in(home.path(), &["status", "x"], "", &[("KUBECONFIG", &shown)]);
        let expected = expected.replace("SERVER", &server).replace("FILE", "$KUBECONFIG");
        fails(&output, exit, &expected);
    }
}

#[test]
fn bad_manifests_are_told_before_anything_is_asked() {
    let home = TempDir::new().unwrap();
    let apply = |input: &str| rainbow_in(home.path(), &["apply", "-f", "-"], input, &[]);
    fails(&apply(""), 2, "there is no object in <stdin>");
    fails(&apply("just text"), 2, "<stdin>:1: no Kubernetes object: write a map with apiVersion, kind and metadata");
    fails(&apply("a: 1\nb: [\n"), 2, "<stdin>:2: `[` has no `]`: close it");
    fails(
        &apply(
            "apiVersion: rainbow.dev/v1alpha1\nkind: Rainbow\nmetadata: { name: x }\nspec: { color: 123456, tiers: [] }\n",
        ),
        2,
        "<stdin>:4: rainbow `x`: spec.color: `123456` is a number in YAML: put it in quotes: \"123456\"\n\
         <stdin>:4: rainbow `x`: spec.tiers: is empty: an application has at least one tier",
    );
    fails(
        &rainbow(&["apply", "-f", "/nonexistent/v1.yaml"]),
        2,
        "cannot read /nonexistent/v1.yaml: there is no such file",
    );
}

/// Makes a ConfigMap.
fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\n")
}

#[test]
fn manifests_come_from_many_places() {
    let home = TempDir::new().unwrap();
    let dir = home.path().join("m");
    fs::create_dir_all(dir.join("deep")).unwrap();
    for (file, name) in [("a.yaml", "one"), ("b.yaml", "two"), ("deep/c.yaml", "three")] {
        fs::write(dir.join(file), map(name)).unwrap();
    }
    let path = |file: &str| dir.join(file).display().to_string();
    let dry =
        |args: &[&str]| rainbow_in(home.path(), &[&["apply", "--dry-run=client"], args].concat(), &map("in"), &[]);
    let said = |args: &[&str]| {
        let output = dry(args);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{args:?}");
        output.stdout.replace("configmap/", "").replace(" is valid (dry run)\n", " ")
    };
    let (a, b) = (path("a.yaml"), path("b.yaml"));
    assert_eq!(said(&["-f", &format!("{a},{b}")]), "one two ");
    assert_eq!(said(&["-f", &b, "-f", &a, "-f", "-"]), "two one in ");
    assert_eq!(said(&["-f", &path("")]), "one two ");
    assert_eq!(said(&["-R", "-f", &path("")]), "one two three ");
    fails(
        &dry(&["-f", &path("deep"), "-f", &path("nothing")]),
        2,
        &format!("cannot read {}: there is no such file", path("nothing")),
    );
    fails(
        &dry(&["-f", &a, "-f", &path("")]),
        2,
        &format!("{a}:1: configmap `one`: it is in {a}:1 as well: keep one of them"),
    );
    fails(&dry(&[]), 2, "nothing to read: give -f FILE, -f DIR, -f - or -k DIR");
    fails(
        &dry(&["-f", "https://example.com/a.yaml"]),
        2,
        "https://example.com/a.yaml is a URL, which is not fetched: pipe it in\n\
         hint: curl -fsSL https://example.com/a.yaml | rainbow apply -f -",
    );
    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let empty = empty.display().to_string();
    fails(&dry(&["-f", &empty]), 2, &format!("directory {empty} has no .yaml, .yml or .json file"));
}

#[test]
fn a_kustomization_is_built_by_whatever_can() {
    let home = TempDir::new().unwrap();
    let (dir, programs) = (home.path().join("k"), home.path().join("bin"));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&programs).unwrap();
    let shown = dir.display().to_string();
    let path = programs.display().to_string();
    let dry = |dir: &str| rainbow_in(home.path(), &["apply", "--dry-run=client", "-k", dir], "", &[("PATH", &path)]);
    fails(
        &dry(&shown),
        2,
        &format!(
            "-k {shown}: neither kubectl nor kustomize is on the PATH: install one of them, or give the files with -f"
        ),
    );
    fails(&dry("/nonexistent"), 2, "-k /nonexistent: there is no such directory");
    let program = |name: &str, script: &str| {
        use std::os::unix::fs::PermissionsExt;
        let file = programs.join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    };
    program(
        "kustomize",
        "[ \"$1\" = build ] && printf '%s' 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: built }'",
    );
    let output = dry(&shown);
    assert_eq!((output.code, output.stdout.as_str()), (0, "configmap/built is valid (dry run)\n"), "{}", output.stderr);
    program("kubectl", "echo 'error: unable to find one of kustomization.yaml' >&2; exit 1");
    fails(&dry(&shown), 2, &format!("-k {shown}: kubectl failed: unable to find one of kustomization.yaml"));
}

#[test]
fn lint_finds_what_a_cluster_would() {
    let home = TempDir::new().unwrap();
    let rainbow = |name: &str, stages: &str| {
        format!(
            "apiVersion: rainbow.dev/v1alpha1\nkind: Rainbow\nmetadata: {{ name: {name} }}\nspec:\n  stages: {stages}\n  tiers:\n  \
             - name: web\n    ports: [{{ name: http, port: 80 }}]\n    template: {{ spec: {{ containers: [{{ name: web, image: web:1 }}] }} }}\n"
        )
    };
    let lint = |args: &[&str], input: &str| rainbow_in(home.path(), &[&["lint"], args].concat(), input, &[]);
    let good = lint(&["-"], &rainbow("shop", "[{ name: live }]"));
    assert_eq!(
        (good.code, good.stdout.as_str(), good.stderr.as_str()),
        (0, "", "1 object checked: nothing is wrong\n")
    );
    let bad = lint(&["-f", "-"], &rainbow("shop", "[{ name: live, promot: Auto }]"));
    assert_eq!(
        (bad.code, bad.stdout.as_str(), bad.stderr.as_str()),
        (
            2,
            "<stdin>:5: rainbow `shop`: spec.stages[live].promot: there is no such field: did you mean `promote`?\n",
            ""
        )
    );
    let bad = lint(&["-", "-o", "json"], &rainbow("shop", "[{ name: live, promot: Auto }]"));
    assert_eq!(bad.code, 2);
    let report: serde_json::Value = serde_json::from_str(&bad.stdout).unwrap();
    assert_eq!(
        report,
        serde_json::json!({ "objects": 1, "findings": [{
            "file": "<stdin>", "line": 5, "column": 26, "object": "rainbow `shop`", "path": "spec.stages[live].promot",
            "message": "there is no such field: did you mean `promote`?",
        }] })
    );
    let clash =
        lint(&["-"], &format!("{}---\n{}", rainbow("shop", "[{ name: live }]"), rainbow("solo", "[{ name: live }]")));
    assert_eq!(clash.code, 2);
    assert!(
        clash
            .stdout
            .starts_with("<stdin>:11: rainbow `solo` needs the names of rainbow `shop` in the same namespace: "),
        "{}",
        clash.stdout
    );
    fails(&lint(&["/nonexistent.yaml"], ""), 2, "cannot read /nonexistent.yaml: there is no such file");
}

#[test]
fn shells_are_answered_at_once_and_without_a_word_of_error() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("config");
    // The address never answers.
    fs::write(&file, KUBECONFIG.replace("SERVER", "http://192.0.2.1:1")).unwrap();
    let complete = |words: &[&str], env: &[(&str, &str)]| {
        let index = (words.len() - 1).to_string();
        let env = [&[("RAINBOW_COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", &index), ("_CLAP_IFS", " ")], env].concat();
        let began = std::time::Instant::now();
        let output = rainbow_in(home.path(), &[&["--"], words].concat(), "", &env);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{words:?}");
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{words:?}: {:?}", began.elapsed());
        output.stdout
    };
    let config = [("KUBECONFIG", file.to_str().unwrap())];
    assert_eq!(complete(&["rainbow", "promo"], &[]), "promote");
    // Where there are no names, options are offered.
    assert!(complete(&["rainbow", "status", ""], &[]).split(' ').any(|word| word == "--watch"));
    assert_eq!(complete(&["rainbow", "promote", "shop", "--to", ""], &config), "");
    assert_eq!(complete(&["rainbow", "status", "--context", "t"], &config), "there");
    let script = rainbow(&["completion", "bash"]);
    assert!(script.stdout.contains("RAINBOW_COMPLETE"), "{}", script.stdout);

    let plugin = home.path().join("kubectl_complete-rainbow");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rainbow"), &plugin).unwrap();
    let output = Command::new(&plugin).args(["promo"]).env_clear().env("HOME", home.path()).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.starts_with("promote") && stdout.ends_with("\n:4\n"), "{stdout}");
    assert!(output.stderr.is_empty());
}

/// Names come from the cluster, and belong to the application that is named before.
#[test]
fn names_are_completed() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("config");
    let rainbow = |name: &str, stage: &str| {
        serde_json::json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow", "metadata": { "name": name, "namespace": "default" },
            "spec": { "tiers": [{ "name": format!("{name}-web"), "template": {} }], "stages": [{ "name": stage }] },
        })
    };
    let color = |rainbow: &str, color: &str| {
        serde_json::json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Color", "metadata": { "name": format!("{rainbow}-{color}") },
            "spec": { "rainbow": rainbow, "color": color, "revision": 1, "tiers": [], "instances": [] },
        })
    };
    let list = |kind: &str, items: Vec<serde_json::Value>| {
        serde_json::json!({ "apiVersion": "rainbow.dev/v1alpha1", "kind": kind, "metadata": {}, "items": items })
            .to_string()
    };
    let rainbows = list("RainbowList", vec![rainbow("blog", "live"), rainbow("shop", "active")]);
    let colors = list("ColorList", vec![color("blog", "3c3fdc"), color("shop", "v1"), color("shop", "v2")]);
    let server = serve(move |request| match request {
        _ if request.contains("/rainbows") => (200, rainbows.clone()),
        _ if request.contains("/colors") => (200, colors.clone()),
        _ => (404, status(404, "nothing")),
    });
    fs::write(&file, KUBECONFIG.replace("SERVER", &server)).unwrap();
    let complete = |words: &[&str]| {
        let index = (words.len() - 1).to_string();
        let env = [
            ("RAINBOW_COMPLETE", "bash"),
            ("_CLAP_COMPLETE_INDEX", &index),
            ("_CLAP_IFS", " "),
            ("KUBECONFIG", file.to_str().unwrap()),
        ];
        rainbow_in(home.path(), &[&["--"], words].concat(), "", &env).stdout
    };
    assert_eq!(complete(&["rainbow", "delete", "s"]), "shop");
    assert_eq!(complete(&["rainbow", "promote", "shop", "--to", ""]), "v1 v2");
    assert_eq!(complete(&["rainbow", "promote", "blog", "--stage", ""]), "live");
    assert_eq!(complete(&["rainbow", "promote", "--stage", ""]), "active live");
    assert_eq!(complete(&["rainbow", "scale", "shop", ""]), "shop-web=");
    assert_eq!(complete(&["rainbow", "drain", "shop", ""]), "v1 v2");
}

#[test]
fn manual_pages_are_written() {
    let home = TempDir::new().unwrap();
    let dir = home.path().join("man");
    let shown = dir.display().to_string();
    let output = rainbow(&["man", &shown]);
    assert!(
        output.code == 0 && output.stdout.ends_with(&format!(" manual pages written to {shown}\n")),
        "{}",
        output.stdout
    );
    assert!(fs::read_to_string(dir.join("rainbow-promote.1")).unwrap().contains("rainbow promote shop"));
    fails(&rainbow(&["man", "/proc/nothing"]), 2, "cannot write manual pages to /proc/nothing: there is no such file");
}

#[test]
fn profiles_are_clusters_of_their_own() {
    let home = TempDir::new().unwrap();
    let run = |args: &[&str], env: &[(&str, &str)]| rainbow_in(home.path(), args, "", env);
    fails(
        &run(&["local", "status", "--profile", "ci"], &[]),
        1,
        "the local cluster `ci` is not running: start it with `rainbow local up --profile ci`",
    );
    fails(
        &run(&["local", "start"], &[("RAINBOW_PROFILE", "ci")]),
        1,
        "the local cluster `ci` has nothing to go on with: make one with `rainbow local up --profile ci`",
    );
    fails(
        &run(&["local", "stop", "--profile", "../ci"], &[]),
        2,
        "`../ci` is no name of a profile: use 1 to 40 lower case letters, digits and `-`",
    );
    assert_eq!(run(&["local", "list", "-o", "name"], &[]).stdout, "default\n");
    assert_eq!(
        run(&["local", "list"], &[]).stdout,
        "PROFILE   STATE   ADDRESS     SERVER   AGE\ndefault   Down    127.0.0.1   -        -\n"
    );
}

/// A message never prints the file itself.
#[test]
fn what_is_no_image_is_refused_in_a_sentence() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("x.yaml");
    fs::write(&file, map("one").repeat(40)).unwrap();
    let shown = file.display().to_string();
    let run = |args: &[&str]| rainbow_in(home.path(), args, "", &[]);
    fails(
        &run(&["image", "load", &shown]),
        2,
        &format!(
            "{shown}: not an image archive: it is no tar file; expected what `docker save` or `rainbow image save` writes"
        ),
    );
    let dir = home.path().display().to_string();
    fails(
        &run(&["image", "build", "-t", "a:1", &dir]),
        2,
        &format!("cannot read {dir}/Dockerfile: there is no such file"),
    );
}

#[test]
fn images_are_built_listed_tagged_and_removed() {
    let home = TempDir::new().unwrap();
    let context = home.path().join("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("app"), "x").unwrap();
    fs::write(
        context.join("Dockerfile"),
        "FROM scratch\nARG VERSION\nENV VERSION=$VERSION\nCOPY app /app\nENTRYPOINT [\"/app\"]\n",
    )
    .unwrap();
    let context = context.display().to_string();
    let run = |args: &[&str]| rainbow_in(home.path(), args, "", &[]);

    let built = run(&["image", "build", "-t", "app:v1", "--build-arg", "VERSION=v1", &context]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert!(built.stdout.starts_with("app:v1 built ("), "{}", built.stdout);
    assert_eq!(run(&["image", "ls", "-o", "name"]).stdout, "app:v1\n");
    assert_eq!(run(&["image", "tag", "app:v1", "app:v2"]).stdout, "app:v2 is app:v1\n");
    fails(&run(&["image", "rm", "ap:v1"]), 3, "image `ap:v1` is not in the local store; did you mean `app:v1`?");

    let archive = home.path().join("app.tar").display().to_string();
    assert_eq!(run(&["image", "save", "-o", &archive, "app:v1"]).code, 0);
    assert_eq!(run(&["image", "rm", "app:v1", "app:v2"]).stdout, "app:v1 removed\napp:v2 removed\n");
    assert_eq!(run(&["image", "load", &archive]).stdout, "app:v1 loaded\n");
    assert!(run(&["image", "ls"]).stdout.starts_with("IMAGE    ID"));

    fs::write(format!("{context}/Dockerfile"), "FROM scratch\nRUN make\n").unwrap();
    let refused = run(&["image", "build", "-t", "app:v3", &context]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("Dockerfile:2: "), "{}", refused.stderr);
    fails(&run(&["image", "load", "/nonexistent.tar"]), 2, "cannot read /nonexistent.tar: there is no such file");
}
