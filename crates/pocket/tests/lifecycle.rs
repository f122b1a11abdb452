//! Life of a cluster, from the outside: up, down, two at a time, killed. The test has a `main` of its own: the daemon is
//! this same binary, executed again, which must fork while it has one thread.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::ExitCode};

use base64::Engine;
use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, TokenRequest},
    core::v1::{ConfigMap, Node, Pod, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, LogParams, ObjectMeta, PostParams},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use pocket::{Down, Options, Status, down, kubeconfig_path, purge, status, stop, up};
use pocket_image::{FileToAdd, ImageStore, QuickBuild};
use serde_json::json;

type Test = (&'static str, fn(&Path));

fn main() -> ExitCode {
    pocket::entry(extra);
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let [argument, state] = wanted.as_slice()
        && argument == ON_A_SMALL_DISK
    {
        on_a_small_disk(Path::new(state));
        return ExitCode::SUCCESS;
    }
    if wanted == [IN_A_POD] {
        in_a_pod();
        return ExitCode::SUCCESS;
    }
    let all: [Test; 8] = [
        ("up_and_down", up_and_down),
        ("stopped", stopped),
        ("two_at_a_time", two_at_a_time),
        ("killed", killed),
        ("full_disk", full_disk),
        ("pods_reach_the_api", pods_reach_the_api),
        ("extra_that_fails", extra_that_fails),
        ("mistakes", mistakes),
    ];
    let mut failed = false;
    for (name, test) in all {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let ok = std::panic::catch_unwind(|| test(&state)).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        if !ok {
            eprintln!("{}", fs::read_to_string(state.join("pocket.log")).unwrap_or_default());
        }
        failed |= !ok;
        let _ = purge(&state);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Writes an object, which proves that `up` waits for the first part.
fn extra(context: pocket::Context) -> std::pin::Pin<Box<dyn Future<Output = Result<pocket::Running, String>> + Send>> {
    Box::pin(async move {
        if context.state_dir.join("fail").exists() {
            return Err("the extra does not like it here".to_owned());
        }
        let maps = Api::<ConfigMap>::namespaced(context.client, "default");
        let mut map = ConfigMap::default();
        map.metadata.name = Some("extra".to_owned());
        match maps.create(&PostParams::default(), &map).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.to_string()),
        }
        Ok(Box::pin(std::future::pending()) as pocket::Running)
    })
}

fn options(state: &Path) -> Options {
    Options::new(state)
}

/// Runs `work` with a client that has only the kubeconfig.
fn with_client<T>(state: &Path, work: impl AsyncFnOnce(Client) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(kubeconfig_path(state)).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        work(Client::try_from(config).unwrap()).await
    })
}

fn up_and_down(state: &Path) {
    assert!(matches!(status(state).unwrap(), Status::Down));
    assert_eq!(down(state).unwrap(), Down::WasDown);
    let mut steps = Vec::new();
    let began = std::time::Instant::now();
    let first = up(&options(state), &mut |step| steps.push(step.to_owned())).unwrap();
    println!("up after {:?}", began.elapsed());
    assert!(!first.already && !steps.is_empty());
    assert_eq!(fs::metadata(&first.kubeconfig).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(state).unwrap().permissions().mode() & 0o777, 0o700);
    let Status::Up(seen) = status(state).unwrap() else { panic!("it is up") };
    assert_eq!((seen.pid, &seen.server), (first.pid, &first.server));
    let second = up(&options(state), &mut |_| {}).unwrap();
    assert!(second.already);
    assert_eq!(second.pid, first.pid);

    with_client(state, async |client| {
        let node = Api::<Node>::all(client.clone()).get("pocket").await.unwrap();
        let conditions = node.status.unwrap().conditions.unwrap();
        assert!(conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"));
        Api::<ConfigMap>::namespaced(client, "default").get("extra").await.unwrap();
    });
    with_client(state, async |client| service_account(state, client).await);
    print_memory(first.pid);
    let processes = descendants(first.pid);
    assert!(processes.len() >= 3);
    assert_eq!(down(state).unwrap(), Down::Ended);
    assert!(matches!(status(state).unwrap(), Status::Down));
    for pid in processes {
        assert!(!alive(pid), "process {pid} is left");
    }
    assert!(!state.join("cluster").exists() && !state.join("containers").exists());
    assert_eq!(purge(state).unwrap(), Down::WasDown);
    assert!(!state.exists());
}

/// A cluster that is stopped keeps what is in it. Its address is its own, so that the ports of another cluster are no matter.
fn stopped(state: &Path) {
    let options = || Options { address: [127, 9, 8, 7].into(), name: "elsewhere".to_owned(), ..options(state) };
    let first = up(&options(), &mut |_| {}).unwrap();
    assert!(first.server.starts_with("https://127.9.8.7:"), "{}", first.server);
    with_client(state, async |client| {
        let map = ConfigMap {
            metadata: ObjectMeta { name: Some("kept".to_owned()), ..ObjectMeta::default() },
            ..ConfigMap::default()
        };
        Api::<ConfigMap>::namespaced(client, "default").create(&PostParams::default(), &map).await.unwrap();
    });
    assert_eq!(stop(state).unwrap(), Down::Ended);
    assert!(matches!(status(state).unwrap(), Status::Stopped));
    assert_eq!(stop(state).unwrap(), Down::WasDown);
    let again = up(&options(), &mut |_| {}).unwrap();
    assert!(!again.already && again.server == first.server);
    with_client(state, async |client| {
        Api::<ConfigMap>::namespaced(client.clone(), "default").get("kept").await.unwrap();
        let node = Api::<Node>::all(client).get("pocket").await.unwrap();
        let addresses = node.status.unwrap().addresses.unwrap();
        assert!(addresses.iter().any(|address| address.address == "127.9.8.7"), "{addresses:?}");
    });
    let kubeconfig = Kubeconfig::read_from(kubeconfig_path(state)).unwrap();
    assert_eq!(kubeconfig.current_context.as_deref(), Some("elsewhere"));
    assert_eq!(down(state).unwrap(), Down::Ended);
}

/// Checks that a client with a service account's token acts under the account's name, with the certificate that every namespace has.
async fn service_account(state: &Path, client: Client) {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), "default");
    let maps = Api::<ConfigMap>::namespaced(client, "default");
    let root = loop {
        // Controllers create both objects; the start of the cluster does not wait for them.
        if let (Some(map), Some(_)) =
            (maps.get_opt("kube-root-ca.crt").await.unwrap(), accounts.get_opt("default").await.unwrap())
        {
            break map.data.unwrap()["ca.crt"].clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    let token =
        accounts.create_token_request("default", &PostParams::default(), &TokenRequest::default()).await.unwrap();
    let mut config = Kubeconfig::read_from(kubeconfig_path(state)).unwrap();
    let cluster = config.clusters[0].cluster.as_mut().unwrap();
    cluster.certificate_authority_data = Some(base64::engine::general_purpose::STANDARD.encode(root));
    let ask = async |token: String| {
        let mut config = config.clone();
        config.auth_infos[0].auth_info = Some(AuthInfo { token: Some(token.into()), ..AuthInfo::default() });
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        let reviews = Api::<SelfSubjectReview>::all(Client::try_from(config).unwrap());
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
        Ok::<_, kube::Error>(review.status.unwrap().user_info.unwrap().username.unwrap())
    };
    let token = token.status.unwrap().token;
    assert_eq!(ask(token.clone()).await.unwrap(), "system:serviceaccount:default:default");
    let refused = ask(format!("{token}x")).await.unwrap_err().to_string();
    assert!(refused.contains("Unauthorized"), "{refused}");
}

/// Puts the state on a file system of a few megabytes, which needs a mount namespace: so the rest runs in a process there.
fn full_disk(state: &Path) {
    let dir = state.parent().unwrap();
    let script = "mount -t tmpfs -o size=8m tmpfs \"$1\" && exec \"$0\" \"$2\" \"$1/state\"";
    let inner = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(dir)
        .arg(ON_A_SMALL_DISK)
        .status();
    assert!(inner.unwrap().success());
}

/// Argument with which the test executes itself.
const ON_A_SMALL_DISK: &str = "on-a-small-disk";

fn on_a_small_disk(state: &Path) {
    up(&options(state), &mut |_| {}).unwrap();
    let map = |name: &str| {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let data = [("text".to_owned(), "x".repeat(200 << 10))].into();
        ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
    };
    let filler = state.with_file_name("filler");
    let fill = || {
        let mut file = fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    };
    let made = with_client(state, async |client| {
        let maps = Api::<ConfigMap>::namespaced(client, "default");
        let mut made = Vec::new();
        for round in 0..3 {
            fill();
            let refused = loop {
                let name = format!("m{}", made.len());
                match maps.create(&PostParams::default(), &map(&name)).await {
                    Ok(_) => made.push(name),
                    Err(error) => break error,
                }
            };
            let kube::Error::Api(answer) = refused else { panic!("{refused}") };
            assert_eq!(answer.code, 507, "{answer:?}");
            assert!(
                answer.message.starts_with("the write was not made because it could not be stored: "),
                "{answer:?}"
            );
            assert!(answer.message.ends_with(": free some disk space and try again"), "{answer:?}");
            // Reads continue to work, and nothing of the write is visible.
            let refused = format!("m{}", made.len());
            assert!(maps.get_opt(&refused).await.unwrap().is_none(), "round {round}");
            fs::remove_file(&filler).unwrap();
            maps.create(&PostParams::default(), &map(&refused)).await.unwrap();
            made.push(refused);
            for name in made.split_off(1) {
                maps.delete(&name, &DeleteParams::default()).await.unwrap();
            }
        }
        made
    });
    // After a crash, exactly the confirmed writes are there.
    let Status::Up(seen) = status(state).unwrap() else { panic!("it is up") };
    let pid = rustix::process::Pid::from_raw(i32::try_from(seen.pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    while alive(seen.pid) {
        std::thread::yield_now();
    }
    up(&options(state), &mut |_| {}).unwrap();
    with_client(state, async |client| {
        let maps = Api::<ConfigMap>::namespaced(client, "default").list(&ListParams::default()).await.unwrap();
        let names: Vec<_> = maps.items.iter().map(ResourceExt::name_any).filter(|name| name.starts_with('m')).collect();
        assert_eq!(names, made);
    });
    assert_eq!(down(state).unwrap(), Down::Ended);
}

fn two_at_a_time(state: &Path) {
    let ups: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| up(&options(state), &mut |_| {}).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(ups.iter().filter(|up| !up.already).count(), 1);
    assert!(ups.iter().all(|up| up.pid == ups[0].pid));
    assert_eq!(down(state).unwrap(), Down::Ended);
}

fn killed(state: &Path) {
    let first = up(&options(state), &mut |_| {}).unwrap();
    with_client(state, async |client| {
        let mut map = ConfigMap::default();
        map.metadata.name = Some("kept".to_owned());
        Api::<ConfigMap>::namespaced(client, "default").create(&PostParams::default(), &map).await.unwrap();
    });
    let processes = descendants(first.pid);
    let pid = rustix::process::Pid::from_raw(i32::try_from(first.pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    while alive(first.pid) {
        std::thread::yield_now();
    }
    // The second `up` starts at once: it waits until the kernel has ended the rest.
    let second = up(&options(state), &mut |_| {}).unwrap();
    assert!(!second.already);
    assert!(processes.iter().all(|pid| !alive(*pid)), "nothing is left of the first one");
    assert_eq!(second.server, first.server, "the port stays, so copies of the kubeconfig stay good");
    with_client(state, async |client| {
        Api::<ConfigMap>::namespaced(client, "default").get("kept").await.unwrap();
    });
    assert_eq!(down(state).unwrap(), Down::Ended);
    // After `down` the objects are gone.
    up(&options(state), &mut |_| {}).unwrap();
    with_client(state, async |client| {
        let maps = Api::<ConfigMap>::namespaced(client, "default");
        assert!(maps.get_opt("kept").await.unwrap().is_none());
        maps.get("extra").await.unwrap();
    });
}

/// A program in a pod finds the API server and authenticates as its service account, with the files that every pod has.
fn pods_reach_the_api(state: &Path) {
    up(&options(state), &mut |_| {}).unwrap();
    let images = ImageStore::open(pocket::image_store_path(state)).unwrap();
    let files = vec![(FileToAdd::Bytes(Vec::new()), "/nothing".to_owned(), 0o644)];
    QuickBuild { reference: "nothing:v1".to_owned(), files, ..QuickBuild::default() }.build(&images).unwrap();
    // The program is this test binary; its libraries are the host's.
    let exe = std::env::current_exe().unwrap();
    let shown = ["/lib", "/lib64", "/usr/lib"].into_iter().filter(|path| Path::new(path).exists());
    let files: Vec<_> = shown.map(|path| (path, path)).chain([(exe.to_str().unwrap(), "/test")]).collect();
    let mounts = (0..)
        .zip(&files)
        .map(|(n, file)| json!({"name": format!("v{n}"), "mountPath": file.1, "readOnly": true}))
        .collect::<Vec<_>>();
    let volumes = (0..).zip(&files).map(|(n, file)| json!({"name": format!("v{n}"), "hostPath": {"path": file.0}}));
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "asks"}, "spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "nothing:v1", "command": ["/test", IN_A_POD], "volumeMounts": mounts}],
        "volumes": volumes.collect::<Vec<_>>(),
    }}))
    .unwrap();
    let said = with_client(state, async |client| {
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), "default");
        let there = kube::runtime::wait::await_condition(accounts, "default", |account: Option<&ServiceAccount>| {
            account.is_some()
        });
        there.await.unwrap();
        let pods = Api::<Pod>::namespaced(client, "default");
        pods.create(&PostParams::default(), &pod).await.unwrap();
        let ended = |pod: Option<&Pod>| {
            let phase = pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed"))
        };
        kube::runtime::wait::await_condition(pods.clone(), "asks", ended).await.unwrap();
        pods.logs("asks", &LogParams::default()).await.unwrap()
    });
    assert_eq!(said.trim(), "system:serviceaccount:default:default");
    assert_eq!(down(state).unwrap(), Down::Ended);
}

/// Argument with which the test executes itself in a pod.
const IN_A_POD: &str = "in-a-pod";

fn in_a_pod() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::try_from(kube::Config::incluster().unwrap()).unwrap();
        let review = SelfSubjectReview::default();
        let review = Api::<SelfSubjectReview>::all(client).create(&PostParams::default(), &review).await.unwrap();
        println!("{}", review.status.unwrap().user_info.unwrap().username.unwrap());
    });
}

fn extra_that_fails(state: &Path) {
    fs::create_dir(state).unwrap();
    fs::write(state.join("fail"), "").unwrap();
    let error = up(&options(state), &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "the cluster cannot start: the extra does not like it here");
    // Files of the parts that had started before the failure are kept for the next start.
    assert!(matches!(status(state).unwrap(), Status::Stopped));
    assert_eq!(down(state).unwrap(), Down::WasDown);
    assert!(matches!(status(state).unwrap(), Status::Down));
}

fn mistakes(state: &Path) {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = up(&Options { api_port: port, ..options(state) }, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains(&format!("port {port} of 127.0.0.1 cannot be used")), "{error}");

    fs::write(state.join("cluster"), "no directory").unwrap_or_else(|_| {
        fs::remove_dir_all(state.join("cluster")).unwrap();
        fs::write(state.join("cluster"), "no directory").unwrap();
    });
    let error = up(&options(state), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("cluster"), "{error}");
    assert!(up(&Options::new("relative"), &mut |_| {}).is_err());
}

fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Returns a process and all processes below it.
fn descendants(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        for task in fs::read_dir(format!("/proc/{}/task", found[at])).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        at += 1;
    }
    found
}

/// Prints the resources that the processes use. Nothing depends on the output.
fn print_memory(root: u32) {
    for pid in descendants(root) {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            line.split_whitespace().nth(1).unwrap_or_default().to_owned()
        };
        println!(
            "{}: resident {} kB, private {} kB, threads {}",
            fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim(),
            field("status", "VmRSS"),
            field("smaps_rollup", "Private_Dirty"),
            field("status", "Threads"),
        );
    }
}
