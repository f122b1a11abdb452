//! Runtime without processes, for tests. The image's name decides how a container behaves.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep},
};

use crate::{
    runtime::{
        Container, ContainerSpec, ExecSession, ExecSpec, Exit, ImageDefaults, Runtime, RuntimeError, Sandbox,
        SandboxSpec,
    },
    sync::lock,
};

/// Runtime whose containers behave as their image's name says:
///
/// - `app`: ends with 143 on SIGTERM.
/// - `stubborn`: ends on SIGKILL only.
/// - `job`: ends with 0 after a second.
/// - `minute`: ends with 0 after a minute.
/// - `crash`: ends with 1 after a second.
/// - `broken`: has no program to execute.
#[derive(Clone, Default)]
pub(super) struct Fake {
    pub(super) world: Arc<Mutex<World>>,
}

#[derive(Default)]
pub(super) struct World {
    pub(super) images: HashSet<String>,
    /// Log of what happened: `start NAME`, `NAME signal N`, `NAME exec PROGRAM`, `remove POD`.
    pub(super) story: Vec<(String, Instant)>,
    pub(super) specs: Vec<ContainerSpec>,
    pub(super) sandboxes: usize,
    /// Exit codes of programs run by exec; 0 for others.
    pub(super) programs: HashMap<String, i32>,
    addresses: u8,
}

impl Fake {
    pub(super) fn new(images: &[&str]) -> Self {
        let fake = Self::default();
        lock(&fake.world).images = images.iter().map(ToString::to_string).collect();
        fake
    }

    fn record(&self, what: String) {
        lock(&self.world).story.push((what, Instant::now()));
    }

    pub(super) fn story(&self) -> Vec<String> {
        lock(&self.world).story.iter().map(|(what, _)| what.clone()).collect()
    }

    /// Returns the times of an entry of the story, in seconds since its first occurrence.
    pub(super) fn times(&self, what: &str) -> Vec<u64> {
        let world = lock(&self.world);
        let times: Vec<_> = world.story.iter().filter(|(happened, _)| happened == what).map(|(_, at)| *at).collect();
        times.iter().map(|at| (*at - times[0]).as_secs()).collect()
    }
}

pub(super) struct FakeSandbox {
    ip: Ipv4Addr,
    pod: String,
}

impl Sandbox for FakeSandbox {
    fn ip(&self) -> Ipv4Addr {
        self.ip
    }
}

pub(super) struct FakeContainer {
    fake: Fake,
    name: String,
    image: String,
    exit: watch::Sender<Option<Exit>>,
}

impl Container for FakeContainer {
    async fn wait(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        exit.wait_for(Option::is_some).await.unwrap().unwrap()
    }

    fn signal(&self, signal: i32) {
        self.fake.record(format!("{} signal {signal}", self.name));
        match (signal, self.image.as_str()) {
            (15, "app") => drop(self.exit.send_replace(Some(Exit::Code(143)))),
            (9, _) => drop(self.exit.send_replace(Some(Exit::Signal(9)))),
            _ => {}
        }
    }

    async fn exec(&self, spec: ExecSpec) -> Result<ExecSession, RuntimeError> {
        let program = spec.argv[0].clone();
        self.fake.record(format!("{} exec {program}", self.name));
        let code = lock(&self.fake.world).programs.get(&program).copied().unwrap_or(0);
        let (done, exit) = oneshot::channel();
        done.send(Exit::Code(code)).unwrap();
        Ok(ExecSession {
            stdin: None,
            stdout: Box::new(tokio::io::empty()),
            stderr: Some(Box::new(tokio::io::empty())),
            resize: None,
            exit,
        })
    }
}

impl Runtime for Fake {
    type Sandbox = FakeSandbox;
    type Container = FakeContainer;

    async fn sandbox(&self, spec: SandboxSpec) -> Result<FakeSandbox, RuntimeError> {
        let mut world = lock(&self.world);
        world.sandboxes += 1;
        world.addresses += 1;
        Ok(FakeSandbox { ip: Ipv4Addr::new(10, 244, 0, world.addresses), pod: spec.pod })
    }

    async fn start(&self, _: &FakeSandbox, spec: ContainerSpec) -> Result<FakeContainer, RuntimeError> {
        if spec.image == "broken" {
            return Err(RuntimeError::CannotRun(format!("exec \"{}\": no such file or directory", spec.argv[0])));
        }
        self.record(format!("start {}", spec.name));
        let exit = watch::Sender::new(None);
        let ends = match spec.image.as_str() {
            "job" => Some((1, Exit::Code(0))),
            "minute" => Some((60, Exit::Code(0))),
            "crash" => Some((1, Exit::Code(1))),
            _ => None,
        };
        if let Some((seconds, code)) = ends {
            let exit = exit.clone();
            tokio::spawn(async move {
                sleep(Duration::from_secs(seconds)).await;
                exit.send_replace(Some(code));
            });
        }
        let container = FakeContainer { fake: self.clone(), name: spec.name.clone(), image: spec.image.clone(), exit };
        lock(&self.world).specs.push(spec);
        Ok(container)
    }

    async fn remove(&self, sandbox: FakeSandbox) {
        lock(&self.world).sandboxes -= 1;
        self.record(format!("remove {}", sandbox.pod));
    }

    async fn image(&self, image: &str) -> Result<ImageDefaults, RuntimeError> {
        if !lock(&self.world).images.contains(image) {
            return Err(RuntimeError::ImageNotFound(image.into()));
        }
        Ok(ImageDefaults {
            id: format!("sha256:{image}"),
            entrypoint: vec!["/app".into()],
            env: vec!["IMAGE=yes".into()],
            ..ImageDefaults::default()
        })
    }
}
