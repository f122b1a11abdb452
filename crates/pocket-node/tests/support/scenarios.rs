//! Scenarios of the namespace tests.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use pocket_node::{
    namespaces::{Namespaces, PodSandbox, Running},
    net::NodeNet,
    runtime::{Container, ContainerSpec, ExecSpec, Exit, Mount, Runtime, RuntimeError, Sandbox, SandboxSpec},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) const ALL: [&str; 9] =
    ["network", "gateway", "ends", "surroundings", "users", "exec", "mistakes", "leaves_nothing", "ten_pods"];

pub(crate) struct World {
    pub(crate) namespaces: Namespaces,
    pub(crate) net: NodeNet,
    pub(crate) dir: PathBuf,
    pub(crate) all_ids: bool,
}

pub(crate) async fn run(name: &str, world: World) {
    match name {
        "network" => network(&world).await,
        "gateway" => gateway(&world).await,
        "ends" => ends(&world).await,
        "surroundings" => surroundings(&world).await,
        "users" => users(&world).await,
        "exec" => exec(&world).await,
        "mistakes" => mistakes(&world).await,
        "leaves_nothing" => leaves_nothing(&world).await,
        "ten_pods" => ten_pods(&world).await,
        "serve_until_killed" => serve_until_killed(&world).await,
        other => panic!("no scenario {other}"),
    }
}

impl World {
    async fn sandbox(&self, name: &str) -> PodSandbox {
        let spec =
            SandboxSpec { uid: format!("uid-{name}"), pod: format!("default/{name}"), hostname: name.to_owned() };
        self.namespaces.sandbox(spec).await.unwrap()
    }

    fn spec(&self, command: &[&str]) -> ContainerSpec {
        ContainerSpec {
            name: "main".to_owned(),
            image: "app:v1".to_owned(),
            argv: ["/bin/app", "app"].iter().chain(command).map(|text| (*text).to_owned()).collect(),
            env: BTreeMap::from([("COLOR".to_owned(), "blue".to_owned())]),
            working_dir: "/".to_owned(),
            uid: 0,
            gid: 0,
            read_only_root: false,
            mounts: Vec::new(),
            log: self.log(),
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.join("logs/main.log")
    }

    async fn start(&self, sandbox: &PodSandbox, command: &[&str]) -> Running {
        self.namespaces.start(sandbox, self.spec(command)).await.unwrap()
    }

    /// Runs a program to its end and returns what it wrote.
    async fn output(&self, sandbox: &PodSandbox, spec: ContainerSpec) -> Vec<String> {
        let _ = std::fs::remove_file(&spec.log);
        let log = spec.log.clone();
        let running = self.namespaces.start(sandbox, spec).await.unwrap();
        assert_eq!(running.wait().await, Exit::Code(0), "{:?}", lines(&log));
        lines(&log)
    }

    /// Returns the answer of a server in the pods, asked from the node's network.
    async fn ask(&self, address: std::net::Ipv4Addr, port: u16) -> String {
        let answer = self.net.handle.spawn(async move {
            loop {
                if let Ok(mut stream) = TcpStream::connect((address, port)).await {
                    let mut text = String::new();
                    stream.read_to_string(&mut text).await.unwrap();
                    return text;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        answer.await.unwrap()
    }
}

/// Returns the lines of a log, without their times.
fn lines(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

async fn network(world: &World) {
    let (one, two) = (world.sandbox("one").await, world.sandbox("two").await);
    assert_ne!(one.ip(), two.ip());
    let _one = world.start(&one, &["serve", "80", "first"]).await;
    let _two = world.start(&two, &["serve", "80", "second"]).await;
    assert_eq!(world.ask(one.ip(), 80).await, "first");
    assert_eq!(world.ask(two.ip(), 80).await, "second");
    // From pod to pod.
    let found = world.output(&two, world.spec(&["connect", &format!("{}:80", one.ip())])).await;
    assert_eq!(found, ["stdout F first"]);
    // Containers of one pod share its loopback.
    let found = world.output(&one, world.spec(&["connect", "127.0.0.1:80"])).await;
    assert_eq!(found, ["stdout F first"]);
    // The node listens on an address of a Service, and a pod reaches it.
    let listener = world.net.handle.spawn(async {
        let listener = tokio::net::TcpListener::bind("10.96.7.7:80").await.unwrap();
        tokio::spawn(async move {
            let (mut stream, from) = listener.accept().await.unwrap();
            stream.write_all(from.ip().to_string().as_bytes()).await.unwrap();
        });
    });
    listener.await.unwrap();
    let found = world.output(&two, world.spec(&["connect", "10.96.7.7:80"])).await;
    assert_eq!(found, [format!("stdout F {}", two.ip())]);
    // The host's network is another one.
    assert!(tokio::net::TcpListener::bind("10.96.7.7:80").await.is_err());
}

/// Checks that the gateway keeps its hardware address while pods come: an old pod would send to one that no longer exists.
async fn gateway(world: &World) {
    let listener = world.net.run(tokio::net::TcpListener::bind("10.96.7.7:80")).await.unwrap().unwrap();
    let _accepting = tokio_util::task::AbortOnDropHandle::new(world.net.handle.spawn(async move {
        loop {
            let _ = listener.accept().await;
        }
    }));
    let mut pods = Vec::new();
    let mut found = std::collections::BTreeSet::new();
    for number in 0..8 {
        let pod = world.sandbox(&format!("gateway-{number}")).await;
        found.extend(world.output(&pod, world.spec(&["gateway", "10.96.7.7:80", "10.244.0.1 "])).await);
        pods.push(pod);
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["stdout F 02:00:0a:f4:00:01"]);
}

async fn ends(world: &World) {
    let pod = world.sandbox("ends").await;
    let running = world.start(&pod, &["exit", "42"]).await;
    assert_eq!(running.wait().await, Exit::Code(42));
    assert_eq!(running.wait().await.code(), 42, "any number of callers may wait");
    running.signal(15);

    let running = world.start(&pod, &["serve", "80", "x"]).await;
    running.signal(9);
    assert_eq!(running.wait().await, Exit::Signal(9));
    assert_eq!(running.wait().await.code(), 137);

    // Process 1 ignores signals without a handler, as everywhere on Kubernetes.
    let running = world.start(&pod, &["serve", "81", "alive"]).await;
    running.signal(15);
    assert_eq!(world.ask(pod.ip(), 81).await, "alive");

    let found = world.output(&pod, world.spec(&["print", "out", "err"])).await;
    assert!(found.contains(&"stdout F out".to_owned()) && found.contains(&"stderr F err".to_owned()), "{found:?}");
    world.namespaces.remove(pod).await;
    assert_eq!(running.wait().await, Exit::Signal(9), "removing a pod ends what runs in it");
}

async fn surroundings(world: &World) {
    let pod = world.sandbox("my-pod").await;
    let source = world.dir.join("volume");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "from the node").unwrap();
    let mounts = vec![Mount { source: source.clone(), target: "/mounted".to_owned(), read_only: true }];
    let look = |read_only_root| ContainerSpec {
        mounts: mounts.clone(),
        working_dir: "/work/deep".to_owned(),
        read_only_root,
        ..world.spec(&["look"])
    };
    let found = world.output(&pod, look(false)).await;
    for expected in [
        "pid=1",
        "uid=0 gid=0",
        // chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod,
        // audit_write, setfcap: the default set of containerd.
        "caps=00000000a80425fb bound=00000000a80425fb nnp=1",
        "hostname=my-pod",
        "cwd=/work/deep",
        "env=COLOR,HOME,HOSTNAME,PATH",
        "mounted=from the node",
        "mounted-write=read-only filesystem or storage medium",
        "root-write=ok",
        "core-pattern-write=read-only filesystem or storage medium",
        "hidden=true",
        "null=ok",
        "shm=ok",
        "processes=1",
    ] {
        assert!(found.contains(&format!("stdout F {expected}")), "{expected} is not in {found:#?}");
    }
    let root = found.iter().find(|line| line.starts_with("stdout F root=")).unwrap();
    assert!(!root.contains("tmp") && !root.contains("home"), "nothing of the host is seen: {root}");
    // Files that one container writes are invisible to another, and the image does not change.
    let found = world.output(&pod, look(true)).await;
    assert!(found.contains(&"stdout F root-write=read-only filesystem or storage medium".to_owned()), "{found:#?}");
    assert!(!found.iter().any(|line| line.contains("written")), "{found:#?}");
}

async fn users(world: &World) {
    let image = world.namespaces.image("app:v1").await.unwrap();
    assert_eq!(image.user, "101:102", "names are looked up in the image");
    assert!(image.id.starts_with("sha256:"));
    let pod = world.sandbox("users").await;
    let found = world.output(&pod, ContainerSpec { uid: 101, gid: 102, ..world.spec(&["look"]) }).await;
    for expected in ["uid=101 gid=102", "root-write=permission denied", "shm=ok"] {
        if expected.starts_with("root") && !world.all_ids {
            // The single id owns everything.
            continue;
        }
        assert!(found.contains(&format!("stdout F {expected}")), "{expected} is not in {found:#?}");
    }
    let caps = found.iter().find(|line| line.contains("caps=")).unwrap();
    assert!(caps.contains("caps=0000000000000000"), "{caps}");
    // A further program in the container has the same user.
    let running = world
        .namespaces
        .start(&pod, ContainerSpec { uid: 101, gid: 102, ..world.spec(&["serve", "8080", "x"]) })
        .await
        .unwrap();
    let (text, exit) = exec_output(&running, &["/bin/app", "app", "look"]).await;
    assert_eq!(exit, Exit::Code(0), "{text}");
    assert!(text.contains("uid=101 gid=102") && text.contains("caps=0000000000000000"), "{text}");
}

async fn exec_output(running: &Running, argv: &[&str]) -> (String, Exit) {
    let argv = argv.iter().map(|text| (*text).to_owned()).collect();
    let mut session = running.exec(ExecSpec { argv, stdin: false, tty: false }).await.unwrap();
    let mut text = String::new();
    session.stdout.read_to_string(&mut text).await.unwrap();
    (text, session.exit.await.unwrap())
}

async fn exec(world: &World) {
    let pod = world.sandbox("exec").await;
    let running = world.start(&pod, &["serve", "80", "here"]).await;
    assert_eq!(world.ask(pod.ip(), 80).await, "here");

    let (text, exit) = exec_output(&running, &["app", "app", "look"]).await;
    assert_eq!(exit, Exit::Code(0), "{text}");
    assert!(text.contains("processes=2") && text.contains("hostname=exec") && text.contains("nnp=1"), "{text}");
    let (text, _) = exec_output(&running, &["/bin/app", "app", "connect", "127.0.0.1:80"]).await;
    assert_eq!(text, "here");

    let argv = ["/bin/app", "app", "echo"].map(str::to_owned).to_vec();
    let mut session = running.exec(ExecSpec { argv, stdin: true, tty: false }).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"back and forth").await.unwrap();
    drop(stdin);
    let mut text = String::new();
    session.stdout.read_to_string(&mut text).await.unwrap();
    assert_eq!((text.as_str(), session.exit.await.unwrap()), ("back and forth", Exit::Code(7)));

    let argv = ["/bin/app", "app", "term"].map(str::to_owned).to_vec();
    let mut session = running.exec(ExecSpec { argv, stdin: true, tty: true }).await.unwrap();
    session.resize.as_ref().unwrap().send((132, 43)).await.unwrap();
    let mut text = String::new();
    session.stdout.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "terminal true\r\n");
    assert_eq!(session.exit.await.unwrap(), Exit::Code(0));

    let argv = vec!["/no/such".to_owned()];
    let error = running.exec(ExecSpec { argv, stdin: false, tty: false }).await.err().unwrap();
    assert_eq!(error.to_string(), "exec \"/no/such\": no such file or directory");

    running.signal(9);
    running.wait().await;
    let argv = vec!["/bin/app".to_owned()];
    let error = running.exec(ExecSpec { argv, stdin: false, tty: false }).await.err().unwrap();
    assert_eq!(error.to_string(), "the container is not running");
}

async fn mistakes(world: &World) {
    let pod = world.sandbox("mistakes").await;
    for (argv, expected) in [
        ("/frontend", "exec \"/frontend\": no such file or directory"),
        ("frontend", "exec \"frontend\": executable file not found in $PATH"),
        ("/bin/data", "exec \"/bin/data\": permission denied (the file is not executable)"),
        (
            "/bin/script",
            "exec \"/bin/script\": it exists, but its interpreter or dynamic loader is missing in the image",
        ),
        ("/bin", "exec \"/bin\": is a directory"),
    ] {
        let spec = ContainerSpec { argv: vec![argv.to_owned()], ..world.spec(&[]) };
        let error = world.namespaces.start(&pod, spec).await.err().unwrap();
        assert!(matches!(error, RuntimeError::CannotRun(_)));
        assert_eq!(error.to_string(), expected);
    }
    let spec = ContainerSpec { image: "absent:v1".to_owned(), ..world.spec(&[]) };
    let error = world.namespaces.start(&pod, spec).await.err().unwrap();
    assert!(matches!(error, RuntimeError::ImageNotFound(ref image) if image == "absent:v1"), "{error}");
    let source = world.dir.join("absent");
    let mounts = vec![Mount { source, target: "/x".to_owned(), read_only: false }];
    let error =
        world.namespaces.start(&pod, ContainerSpec { mounts, ..world.spec(&["exit", "0"]) }).await.err().unwrap();
    assert!(error.to_string().contains("absent at /x: No such file"), "{error}");
}

async fn leaves_nothing(world: &World) {
    let count = || {
        let processes = std::fs::read_dir("/proc").unwrap();
        let processes = processes
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().parse::<u32>().is_ok())
            .count();
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
        let files = std::fs::read_dir(world.dir.join("pods")).unwrap().count();
        (processes, descriptors, files)
    };
    let before = count();
    for round in 0..3 {
        let pod = world.sandbox(&format!("pod-{round}")).await;
        let running = world.start(&pod, &["serve", "80", "x"]).await;
        let (_, exit) = exec_output(&running, &["/bin/app", "app", "exit", "0"]).await;
        assert_eq!(exit, Exit::Code(0));
        drop(running);
        world.namespaces.remove(pod).await;
    }
    // Tasks that were cancelled drop their descriptors a moment later.
    while count() != before {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Starts ten containers at once. Prints the time that it takes, which no assertion depends on.
async fn ten_pods(world: &World) {
    world.namespaces.image("app:v1").await.unwrap();
    let began = Instant::now();
    let pods = (0..10).map(|number| async move {
        let pod = world.sandbox(&format!("pod-{number}")).await;
        let ip = pod.ip();
        let sandbox = began.elapsed();
        let running = world.start(&pod, &["serve", "80", "x"]).await;
        let started = began.elapsed();
        assert_eq!(world.ask(ip, 80).await, "x");
        (pod, running, ip, sandbox, started)
    });
    let pods = futures::future::join_all(pods).await;
    let ready = began.elapsed();
    let mut addresses: Vec<_> = pods.iter().map(|pod| pod.2).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 10);
    let last = |pick: fn(&(PodSandbox, Running, std::net::Ipv4Addr, Duration, Duration)) -> Duration| {
        pods.iter().map(pick).max().unwrap()
    };
    println!("ten pods: sandboxes {:?}, started {:?}, answering {ready:?}", last(|pod| pod.3), last(|pod| pod.4));
}

async fn serve_until_killed(world: &World) {
    let pod = world.sandbox("victim").await;
    let _running = world.start(&pod, &["serve", "80", "x"]).await;
    assert_eq!(world.ask(pod.ip(), 80).await, "x");
    println!("ready");
    std::future::pending::<()>().await;
}
