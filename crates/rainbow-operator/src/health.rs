//! State of the operator, over plain HTTP and read-only: `/healthz`, `/readyz`, `/metrics`.

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::Semaphore, time::Instant};

use crate::messages;

/// Interval at which the loop shows that it turns.
pub(crate) const BEAT: Duration = Duration::from_secs(10);
/// Time without a turn after which the loop is stuck.
const STUCK: Duration = Duration::from_secs(60);
/// Time after which a client that sends its request too slowly is disconnected.
const HEADERS: Duration = Duration::from_secs(5);
/// Largest number of concurrent connections. More connections wait.
const CONNECTIONS: usize = 32;

/// Figures and state, shared between the operator's loop and its HTTP clients.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    phase: Mutex<Phase>,
    applications: AtomicU64,
    turns: AtomicU64,
    writes: AtomicU64,
    failures: AtomicU64,
    looks: AtomicU64,
    /// Figures of gates, by namespace and name of the Rainbow.
    gates: Mutex<BTreeMap<(String, String), Vec<GateFigures>>>,
    /// Nanoseconds of each [`Part`].
    spent: [AtomicU64; 3],
}

/// Figures of a gate of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GateFigures {
    pub(crate) stage: String,
    pub(crate) gate: String,
    pub(crate) verdict: &'static str,
    /// Number of measurements, by outcome.
    pub(crate) measurements: Vec<(&'static str, u64)>,
}

/// Part of the time of a look.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// Making the world from what the watches have shown.
    Observe,
    /// Deciding.
    Plan,
    /// The whole look, up to the first write.
    Look,
}

impl Part {
    const ALL: [Self; 3] = [Self::Observe, Self::Plan, Self::Look];

    const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Plan => "plan",
            Self::Look => "look",
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    /// Another operator leads, or none yet, or the cluster's version is not known yet.
    #[default]
    Waiting,
    /// This operator leads, and has not seen everything yet. With the time of its loop's last turn.
    Reading(Instant),
    /// This operator leads and acts. With the time of its loop's last turn.
    Acting(Instant),
}

impl Health {
    fn phase(&self) -> Phase {
        *self.state.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        *self.state.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// Records that another operator leads.
    pub(crate) fn waits(&self) {
        self.set(Phase::Waiting);
        self.state.gates.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.state.applications.store(0, Relaxed);
    }

    /// Records a turn of the loop: whether everything has been seen, and how many applications there are.
    pub(crate) fn beat(&self, started: bool, applications: usize) {
        let now = Instant::now();
        self.set(if started { Phase::Acting(now) } else { Phase::Reading(now) });
        self.state.applications.store(u64::try_from(applications).unwrap_or(u64::MAX), Relaxed);
    }

    /// Records a turn of an application.
    pub(crate) fn turn(&self, writes: usize, failed: bool) {
        self.state.turns.fetch_add(1, Relaxed);
        self.state.writes.fetch_add(u64::try_from(writes).unwrap_or(0), Relaxed);
        self.state.failures.fetch_add(u64::from(failed), Relaxed);
    }

    /// Records a look at an application.
    pub(crate) fn look(&self) {
        self.state.looks.fetch_add(1, Relaxed);
    }

    /// Sets the figures of a Rainbow's gates. Series of other gates of the Rainbow end.
    pub(crate) fn gates(&self, namespace: &str, rainbow: &str, figures: Vec<GateFigures>) {
        let mut gates = self.state.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let of = (namespace.to_owned(), rainbow.to_owned());
        if figures.is_empty() {
            gates.remove(&of)
        } else {
            gates.insert(of, figures)
        };
    }

    /// Adds to the time that looks have taken.
    pub(crate) fn spent(&self, part: Part, time: Duration) {
        if let Some(spent) = self.state.spent.get(part as usize) {
            spent.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        }
    }

    fn alive(&self) -> (StatusCode, String) {
        match self.phase() {
            Phase::Reading(beat) | Phase::Acting(beat) if beat.elapsed() > STUCK => {
                (StatusCode::SERVICE_UNAVAILABLE, messages::stuck(beat.elapsed()))
            }
            _ => (StatusCode::OK, messages::OK.into()),
        }
    }

    fn ready(&self) -> (StatusCode, String) {
        match self.phase() {
            // A waiting operator does its task: it is ready to take over.
            Phase::Waiting => (StatusCode::OK, messages::OK_WAITING.into()),
            Phase::Reading(_) => (StatusCode::SERVICE_UNAVAILABLE, messages::NOT_READ.into()),
            Phase::Acting(_) => (StatusCode::OK, messages::OK.into()),
        }
    }

    /// Returns the metrics in Prometheus' text format.
    pub fn metrics(&self) -> String {
        let leading = u64::from(!matches!(self.phase(), Phase::Waiting));
        let State { applications, turns, writes, failures, looks, spent, .. } = &*self.state;
        let figures = [
            ("leading", "gauge", "Whether this operator acts (1) or waits for its turn (0).", leading),
            ("applications", "gauge", "Rainbows that are looked after.", applications.load(Relaxed)),
            ("turns_total", "counter", "Times that something was written for an application.", turns.load(Relaxed)),
            ("writes_total", "counter", "Objects that were written.", writes.load(Relaxed)),
            ("failures_total", "counter", "Times that not everything could be written.", failures.load(Relaxed)),
            ("looks_total", "counter", "Times that an application was looked at.", looks.load(Relaxed)),
        ];
        let mut text = format!(
            "# HELP rainbow_operator_build_info Version of the operator.\n# TYPE rainbow_operator_build_info gauge\n\
             rainbow_operator_build_info{{version=\"{}\"}} 1\n",
            env!("CARGO_PKG_VERSION")
        );
        for (name, kind, help, value) in figures {
            let name = format!("rainbow_operator_{name}");
            // Writing to a string does not fail.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
        let name = "rainbow_operator_look_seconds_total";
        let _ = write!(text, "# HELP {name} Time that looks have taken, by part.\n# TYPE {name} counter\n");
        for (part, spent) in Part::ALL.into_iter().zip(spent) {
            let seconds = Duration::from_nanos(spent.load(Relaxed)).as_secs_f64();
            let _ = writeln!(text, "{name}{{part=\"{}\"}} {seconds}", part.name());
        }
        self.write_gates(&mut text);
        text
    }

    /// Writes the figures of gates. Names of namespaces, Rainbows, stages and gates need no escape.
    fn write_gates(&self, text: &mut String) {
        let gates = self.state.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let all = gates.iter().flat_map(|((namespace, rainbow), figures)| {
            figures.iter().map(move |one| {
                let GateFigures { stage, gate, .. } = one;
                let of = format!("namespace=\"{namespace}\",rainbow=\"{rainbow}\",stage=\"{stage}\",gate=\"{gate}\"");
                (of, one)
            })
        });
        let all: Vec<(String, &GateFigures)> = all.collect();
        let name = "rainbow_gate_measurements_total";
        let _ = write!(text, "# HELP {name} Measurements of gates, by outcome.\n# TYPE {name} counter\n");
        for (of, figures) in &all {
            for (outcome, number) in &figures.measurements {
                let _ = writeln!(text, "{name}{{{of},outcome=\"{outcome}\"}} {number}");
            }
        }
        let name = "rainbow_gate_verdict";
        let _ = write!(text, "# HELP {name} Verdict of each gate: 1 for the one that holds.\n# TYPE {name} gauge\n");
        for (of, figures) in &all {
            let _ = writeln!(text, "{name}{{{of},verdict=\"{}\"}} 1", figures.verdict);
        }
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let (status, text) = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/healthz") => self.alive(),
            (&Method::GET | &Method::HEAD, "/readyz") => self.ready(),
            (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, self.metrics()),
            (&Method::GET | &Method::HEAD, _) => (StatusCode::NOT_FOUND, messages::PATHS.into()),
            _ => (StatusCode::METHOD_NOT_ALLOWED, messages::READ_ONLY.into()),
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        let plain = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        response
    }

    /// Answers HTTP clients while the future is polled.
    pub async fn serve(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // A lack of file descriptors, for example, passes.
                    tracing::warn!(%error, "a connection for health or metrics was not taken");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            let health = self.clone();
            tokio::spawn(async move {
                let answer = service_fn(|request: Request<Incoming>| {
                    let response = health.answer(&request);
                    async { Ok::<_, Infallible>(response) }
                });
                let mut connection = http1::Builder::new();
                connection.timer(TokioTimer::new()).header_read_timeout(HEADERS);
                // A client that disconnects is no error.
                let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
                drop(place);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn get(health: &Health, path: &str) -> (u16, String) {
        let response = health.answer(&Request::get(path).body(()).unwrap());
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn ready_is_who_acts_or_would_take_over() {
        let health = Health::default();
        assert_eq!(get(&health, "/readyz").await.0, 200, "another one leads");
        health.beat(false, 0);
        assert_eq!(get(&health, "/readyz").await.0, 503, "it has not seen everything");
        health.beat(true, 3);
        assert_eq!(get(&health, "/readyz").await, (200, "ok\n".into()));
        health.waits();
        assert_eq!(get(&health, "/readyz").await.0, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_is_stuck_is_not_alive() {
        let health = Health::default();
        health.beat(true, 1);
        tokio::time::sleep(BEAT).await;
        assert_eq!(get(&health, "/healthz").await.0, 200);
        tokio::time::sleep(STUCK).await;
        assert_eq!(get(&health, "/healthz").await.0, 503);
        health.waits();
        tokio::time::sleep(STUCK * 2).await;
        assert_eq!(get(&health, "/healthz").await.0, 200, "who waits has no loop");
    }

    #[tokio::test]
    async fn figures_of_gates_end_with_the_gates() {
        let health = Health::default();
        let figures = GateFigures {
            stage: "active".into(),
            gate: "errors".into(),
            verdict: "Failed",
            measurements: vec![("Passed", 3), ("Failed", 1)],
        };
        health.gates("default", "shop", vec![figures]);
        let of = r#"namespace="default",rainbow="shop",stage="active",gate="errors""#;
        let (_, text) = get(&health, "/metrics").await;
        for line in [
            format!("rainbow_gate_measurements_total{{{of},outcome=\"Passed\"}} 3"),
            format!("rainbow_gate_measurements_total{{{of},outcome=\"Failed\"}} 1"),
            format!("rainbow_gate_verdict{{{of},verdict=\"Failed\"}} 1"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        health.gates("default", "shop", Vec::new());
        assert!(!get(&health, "/metrics").await.1.contains("rainbow_gate_verdict{"));
    }

    #[tokio::test]
    async fn figures_are_counted() {
        let health = Health::default();
        health.beat(true, 2);
        health.turn(3, false);
        health.turn(1, true);
        health.look();
        health.spent(Part::Plan, Duration::from_millis(1500));
        health.spent(Part::Plan, Duration::from_millis(500));
        let (status, text) = get(&health, "/metrics").await;
        assert_eq!(status, 200);
        for line in [
            "leading 1",
            "applications 2",
            "turns_total 2",
            "writes_total 4",
            "failures_total 1",
            "looks_total 1",
            "look_seconds_total{part=\"plan\"} 2",
        ] {
            assert!(text.lines().any(|found| found == format!("rainbow_operator_{line}")), "{line}: {text}");
        }
        assert!(!text.contains("rainbow_gate_verdict{"), "there are no gates");
        assert_eq!(get(&health, "/").await.0, 404);
        let post = health.answer(&Request::post("/healthz").body(()).unwrap());
        assert_eq!(post.status(), 405);
    }
}
