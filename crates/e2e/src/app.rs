//! Application under test: tiers in a chain, each of which names its version in its reply.

use serde_json::{Value, json};

/// Seconds that a pod may take to answer its callers and its probes: less than a load waits (`load::TIMEOUT`), more than a machine
/// that is busy with other tests needs. A pod that is only slow fails no test.
pub const POD_PATIENCE: u32 = 30;

/// Reaction of a tier's program to SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSigterm {
    /// Finishes its requests and continues to accept for a moment.
    Drain,
    /// Ends at once, even in the middle of a request.
    Die,
}

/// Pace at which the active stage moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Moves all pods at once.
    Flip,
    /// Moves one pod, then pauses for this number of milliseconds.
    OneEvery(u64),
    /// Moves one pod after the other, with a surge of one pod.
    OneMore,
}

/// Application as its user would describe it.
#[derive(Clone, Debug)]
pub struct App {
    /// Name of the Rainbow.
    pub name: &'static str,
    /// Tiers from the entry inwards; each needs the next. The last answers, the others pass on.
    pub chain: Vec<&'static str>,
    /// Pods per tier.
    pub replicas: u32,
    /// Reaction of the programs to SIGTERM.
    pub on_sigterm: OnSigterm,
    /// Pace at which the active stage moves.
    pub pace: Pace,
    /// Time for which a color stays after its last stage left it (`drain.settle`).
    pub settle: &'static str,
    /// Port of the pods.
    pub port: Port,
}

/// Port on which the programs listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Port number.
    pub number: u16,
    /// Way in which the tier names it.
    pub target: PortTarget,
}

/// Way in which a tier names the port of its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortTarget {
    /// By its number alone.
    Number,
    /// By its number; and the containers declare it, under the name that it has in the tier.
    Declared,
    /// By another name, under which the containers declare it.
    Named,
}

impl Pace {
    /// Pace of a shift that begins and then stays: a test that must see it in progress does not depend on the speed of the machine.
    pub const HELD: Self = Self::OneEvery(600_000);
    /// Pace of a shift that reaches its end soon.
    pub const BRISK: Self = Self::OneEvery(300);
}

impl App {
    /// Returns two tiers of `replicas` pods with a smoke and an active stage. No color retires during a test.
    pub fn two_tiers(replicas: u32) -> Self {
        Self {
            name: "seamless",
            chain: vec!["frontend", "backend"],
            replicas,
            on_sigterm: OnSigterm::Drain,
            pace: Pace::BRISK,
            settle: "1h",
            port: Port { number: 8080, target: PortTarget::Declared },
        }
    }

    /// Returns the manifest of the Rainbow at a version.
    pub fn at(&self, version: &str) -> Value {
        let shift = match self.pace {
            Pace::Flip => json!({ "flip": {} }),
            Pace::OneMore => json!({ "rolling": { "step": 1, "every": "300ms", "surge": 1 } }),
            Pace::OneEvery(milliseconds) => json!({ "rolling": { "step": 1, "every": format!("{milliseconds}ms") } }),
        };
        let tiers: Vec<Value> =
            self.chain.iter().enumerate().map(|(at, tier)| self.tier(tier, self.chain.get(at + 1), version)).collect();
        json!({
            "apiVersion": "rainbow.dev/v1alpha1",
            "kind": "Rainbow",
            "metadata": { "name": self.name },
            "spec": {
                "color": version,
                "tiers": tiers,
                "stages": [
                    { "name": "smoke", "promote": "Auto", "replicas": 1, "service": { "type": "NodePort" } },
                    { "name": "active", "promote": "Manual", "shift": shift, "service": { "type": "NodePort" } },
                ],
                "drain": { "deadline": "24h", "settle": self.settle, "connections": "None" },
                "keep": { "live": 8, "history": 3, "warm": self.settle },
            }
        })
    }

    fn tier(&self, name: &str, needs: Option<&&str>, version: &str) -> Value {
        let image = if needs.is_some() { "frontend" } else { "backend" };
        let on_sigterm = match self.on_sigterm {
            OnSigterm::Drain => "drain",
            OnSigterm::Die => "die",
        };
        let needs: Vec<Value> = needs.iter().map(|tier| json!({ "tier": tier, "env": "BACKEND" })).collect();
        let port = self.port.number;
        let declared = |name: &str| json!([{ "name": name, "containerPort": port }]);
        let (target, declared) = match self.port.target {
            PortTarget::Number => (json!(port), json!([])),
            PortTarget::Declared => (json!(port), declared("http")),
            PortTarget::Named => (json!("web"), declared("web")),
        };
        json!({
            "name": name,
            "replicas": self.replicas,
            "needs": needs,
            "ports": [{ "name": "http", "port": 80, "targetPort": target }],
            "template": { "spec": {
                // A pod that drains ends as soon as no node sends it clients any more: how long that takes depends on the machine.
                "terminationGracePeriodSeconds": 60,
                "containers": [{
                    "name": name,
                    "image": format!("{image}:{version}"),
                    "imagePullPolicy": "IfNotPresent",
                    "env": [
                        { "name": "ON_SIGTERM", "value": on_sigterm },
                        { "name": "PORT", "value": port.to_string() },
                        { "name": "BACKEND_TIMEOUT_MS", "value": (POD_PATIENCE * 1000).to_string() },
                    ],
                    "ports": declared,
                    "readinessProbe": { "httpGet": { "path": "/ready", "port": port }, "periodSeconds": 1, "timeoutSeconds": POD_PATIENCE },
                }],
            } },
        })
    }

    /// Returns the reply of the whole chain at a version.
    pub fn reply(&self, version: &str) -> String {
        let inner = self.chain.len() - 1;
        let parts: Vec<String> =
            (0..=inner).map(|at| format!("{}:{version}", if at < inner { "frontend" } else { "backend" })).collect();
        parts.join(" - ")
    }
}
