//! Task that asks. It runs beside the loop that decides: a pod that does not answer, or a color with many pods, delays nothing else.

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use rainbow_api::IgnoredPeer;
use rainbow_plan::Time;
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{
    ask::{self, CountVia, PodAddress},
    ignored::{self, Ignored},
    known::Validity,
    pace::{self, Last},
    reading::{Reading, Source},
};
use crate::{clock::Clock, key::Key};

/// Largest number of open questions, in all and for one application, so that no application keeps others from being asked.
const OPEN: usize = 256;
const OPEN_PER_APP: usize = 32;
/// Time that an answer stays valid after the second answer after it should have come.
const MARGIN: Duration = Duration::from_secs(2);
/// Answers are taken in a moment after they have come, some sooner than others.
const TAKING_IN: Duration = Duration::from_millis(100);
/// Largest number of answers that wait to be looked at. When there are more, asking waits.
const WAITING: usize = 1024;

/// Pod to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) pod: String,
    pub(crate) uid: String,
    pub(crate) address: Option<IpAddr>,
    pub(crate) source: Arc<Source>,
    /// Time at which the pod's connections are cut.
    pub(crate) deadline: Option<Time>,
    /// Time that the pod must be without connections before it may end.
    pub(crate) settle: Duration,
}

/// Result of a question.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) key: Key,
    pub(crate) pod: String,
    pub(crate) uid: String,
    pub(crate) reading: Result<Reading, String>,
    /// Time for which the result is valid.
    pub(crate) validity: Validity,
}

/// Pods of an application that are to be asked from now on, instead of those before.
struct TargetUpdate {
    key: Key,
    targets: Vec<Target>,
    ignore: Arc<[IgnoredPeer]>,
}

/// Handle of the task, which ends when the handle is dropped.
pub(crate) struct Counter {
    orders: mpsc::UnboundedSender<TargetUpdate>,
    answers: mpsc::Receiver<Answer>,
}

impl Counter {
    pub(crate) fn start(client: Client, via: CountVia, clock: Clock) -> Self {
        let (orders, orders_of_task) = mpsc::unbounded_channel();
        let (answers_of_task, answers) = mpsc::channel(WAITING);
        let task =
            Task { client, via, clock, apps: HashMap::new(), open: FuturesUnordered::new(), answers: answers_of_task };
        tokio::spawn(task.run(orders_of_task));
        Self { orders, answers }
    }

    /// Sets which pods of an application are asked, and which peers' connections hold none. An empty list stops the questions.
    pub(crate) fn order(&self, key: &Key, targets: Vec<Target>, ignore: &[IgnoredPeer]) {
        // The task ends only with this handle.
        let _ = self.orders.send(TargetUpdate { key: key.clone(), targets, ignore: ignore.into() });
    }

    /// Waits for the next answer.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        self.answers.recv().await
    }

    /// Returns an answer that has come already.
    pub(crate) fn answer_now(&mut self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

/// Application whose pods are asked.
#[derive(Default)]
struct App {
    pods: HashMap<String, PodSchedule>,
    /// Time of the next question to each pod. Pods that are being asked are not in it.
    due: BTreeSet<(Instant, String)>,
    /// Number of open questions.
    open: usize,
    /// Peers whose connections hold no pod.
    ignore: Arc<[IgnoredPeer]>,
    ignored: Arc<Ignored>,
    /// Time at which the pods among these peers are listed next. `None`: they are being listed, or there are none.
    list: Option<Instant>,
    /// Whether the last list failed, which has been logged.
    list_failed: bool,
}

impl App {
    /// Takes over which peers' connections hold no pod. Pods that were asked before are asked again at once.
    fn ignore(&mut self, ignore: Arc<[IgnoredPeer]>, now: Instant) {
        if self.ignore == ignore {
            return;
        }
        self.ignored = Arc::new(Ignored::of(&ignore));
        self.list = ignored::selects(&ignore).then_some(now);
        self.ignore = ignore;
        self.ask_all(now);
    }

    fn ask_all(&mut self, now: Instant) {
        self.due.clear();
        for (name, asked) in &mut self.pods {
            if asked.due.is_some() {
                asked.due = Some(now);
                self.due.insert((now, name.clone()));
            }
        }
    }
}

struct PodSchedule {
    target: Target,
    failures: u32,
    /// Time at which the pod last had connections, and time since when it has none, as far as answers say.
    busy: Option<Time>,
    idle: Option<Time>,
    /// Time of the next question. `None`: the pod is being asked.
    due: Option<Instant>,
}

impl PodSchedule {
    /// Returns a pod that is asked at once.
    fn new(target: Target, now: Instant) -> Self {
        Self { target, failures: 0, busy: None, idle: None, due: Some(now) }
    }

    /// Takes in what an answer says of when the pod may end. An answer that says nothing changes nothing.
    fn see(&mut self, reading: &Reading, now: Time) {
        match (reading.count, reading.fresh) {
            (0, 0) => {
                self.idle.get_or_insert(reading.idle_since(self.busy, now));
            }
            (0, _) => {}
            _ => (self.busy, self.idle) = (Some(now), None),
        }
    }

    /// Returns the time until the earliest answer after which the pod may end, if that is still to come.
    fn to_end(&self, now: Time) -> Option<Duration> {
        let end = self.idle?.after(self.target.settle).after(TAKING_IN);
        (end > now).then(|| between(now, end))
    }
}

/// Returns the time from one moment to a later one, or none where it is not later.
fn between(from: Time, to: Time) -> Duration {
    Duration::from_millis(to.0.saturating_sub(from.0).max(0).unsigned_abs())
}

enum Completed {
    /// A pod was asked.
    PodSchedule { key: Key, target: Target, ignore: Arc<[IgnoredPeer]>, reading: Result<Reading, String> },
    /// The pods among the ignored peers were listed.
    Listed { key: Key, ignore: Arc<[IgnoredPeer]>, ignored: Result<Ignored, kube::Error> },
}

struct Task {
    client: Client,
    via: CountVia,
    clock: Clock,
    apps: HashMap<Key, App>,
    open: FuturesUnordered<BoxFuture<'static, Completed>>,
    answers: mpsc::Sender<Answer>,
}

impl Task {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<TargetUpdate>) {
        loop {
            self.list();
            self.start();
            let due = self.next();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.take(order),
                    None => return,
                },
                Some(done) = self.open.next() => {
                    let answer = match done {
                        Completed::PodSchedule { key, target, ignore, reading } => self.finished(key, target, &ignore, reading),
                        Completed::Listed { key, ignore, ignored } => {
                            self.listed(&key, &ignore, ignored);
                            None
                        }
                    };
                    let Some(answer) = answer else { continue };
                    if self.answers.send(answer).await.is_err() {
                        return;
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    fn take(&mut self, order: TargetUpdate) {
        let app = self.apps.entry(order.key.clone()).or_default();
        let now = Instant::now();
        let mut before = std::mem::take(&mut app.pods);
        app.due.clear();
        for target in order.targets {
            let known = before.remove(&target.pod).filter(|known| known.target.uid == target.uid);
            let mut asked = known.unwrap_or_else(|| PodSchedule::new(target.clone(), now));
            // A pod that was asked in another way, or that now has a deadline, is asked again at once.
            if asked.target != target {
                asked.due = asked.due.map(|_| now);
                asked.target = target;
            }
            if let Some(due) = asked.due {
                app.due.insert((due, asked.target.pod.clone()));
            }
            app.pods.insert(asked.target.pod.clone(), asked);
        }
        app.ignore(order.ignore, now);
        if app.pods.is_empty() && app.open == 0 {
            self.apps.remove(&order.key);
        }
    }

    /// Lists the pods among the ignored peers, for each application whose pods are asked.
    fn list(&mut self) {
        let now = Instant::now();
        for (key, app) in self.apps.iter_mut().filter(|(_, app)| !app.pods.is_empty()) {
            if app.list.is_none_or(|list| list > now) {
                continue;
            }
            app.list = None;
            let (client, key, ignore) = (self.client.clone(), key.clone(), Arc::clone(&app.ignore));
            let known = Ignored::of(&ignore);
            self.open.push(Box::pin(async move {
                let listed = timeout(ask::PATIENCE, known.resolve(&client, &key.namespace, &ignore)).await;
                let ignored = listed.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())));
                Completed::Listed { key, ignore, ignored }
            }));
        }
    }

    /// Takes over a list. A failed list leaves the one before, which selects nothing once it is too old.
    fn listed(&mut self, key: &Key, ignore: &Arc<[IgnoredPeer]>, ignored: Result<Ignored, kube::Error>) {
        let Some(app) = self.apps.get_mut(key).filter(|app| app.ignore == *ignore) else { return };
        let now = Instant::now();
        app.list = Some(now + ignored::REFRESH);
        match ignored {
            Ok(ignored) => {
                app.list_failed = false;
                let is_new = ignored.selected() != app.ignored.selected();
                app.ignored = Arc::new(ignored);
                if is_new {
                    app.ask_all(now);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut app.list_failed, true) {
                    tracing::warn!(app = %key, %error, "the pods of drain.ignore cannot be listed, so their connections hold");
                }
            }
        }
    }

    /// Asks the pods that are due, those first that have waited longest, as many as may be asked concurrently.
    fn start(&mut self) {
        let now = Instant::now();
        while self.open.len() < OPEN {
            let waiting = self.apps.iter_mut().filter(|(_, app)| app.open < OPEN_PER_APP && !app.due.is_empty());
            let longest = waiting.min_by_key(|(_, app)| app.due.first().map(|(due, _)| *due));
            let Some((key, app)) = longest else { return };
            match app.due.pop_first() {
                Some((due, pod)) if due > now => {
                    app.due.insert((due, pod));
                    return;
                }
                Some((_, pod)) => {
                    let Some(asked) = app.pods.get_mut(&pod) else { continue };
                    asked.due = None;
                    app.open += 1;
                    let (client, via, key, target) = (self.client.clone(), self.via, key.clone(), asked.target.clone());
                    let (ignore, ignored) = (Arc::clone(&app.ignore), Arc::clone(&app.ignored));
                    self.open.push(Box::pin(async move {
                        let whom = PodAddress {
                            namespace: &key.namespace,
                            pod: &target.pod,
                            address: target.address,
                            source: &target.source,
                            ignored: &ignored,
                        };
                        let reading = ask::ask(via, &client, whom).await;
                        Completed::PodSchedule { key, target, ignore, reading }
                    }));
                }
                None => return,
            }
        }
    }

    /// Returns the time at which the next pod is due that may be asked.
    fn next(&self) -> Option<Instant> {
        if self.open.len() >= OPEN {
            return None;
        }
        let free = self.apps.values().filter(|app| app.open < OPEN_PER_APP);
        let lists = self.apps.values().filter(|app| !app.pods.is_empty()).filter_map(|app| app.list);
        free.filter_map(|app| app.due.first().map(|(due, _)| *due)).chain(lists).min()
    }

    fn finished(
        &mut self,
        key: Key,
        target: Target,
        ignore: &Arc<[IgnoredPeer]>,
        reading: Result<Reading, String>,
    ) -> Option<Answer> {
        let app = self.apps.get_mut(&key)?;
        app.open = app.open.saturating_sub(1);
        let pods = app.pods.len();
        if pods == 0 && app.open == 0 {
            self.apps.remove(&key);
            return None;
        }
        let asked =
            app.pods.get_mut(&target.pod).filter(|asked| asked.target.uid == target.uid && asked.due.is_none())?;
        if app.ignore != *ignore {
            // Other peers count by now.
            let now = Instant::now();
            asked.due = Some(now);
            app.due.insert((now, target.pod));
            return None;
        }
        asked.failures = if reading.is_ok() { 0 } else { asked.failures.saturating_add(1) };
        let last = match &reading {
            Ok(reading) => Last::Read(reading),
            Err(_) => Last::Failed(asked.failures),
        };
        let now = self.clock.now();
        let to_deadline = asked.target.deadline.map(|deadline| between(now, deadline));
        let pause = pace::pause(last, pods, to_deadline);
        if let Ok(reading) = &reading {
            asked.see(reading, now);
        }
        // A pod that waits for the end of its time to settle does not wait for the next question, too.
        let due = Instant::now() + asked.to_end(now).map_or(pause, |left| left.min(pause));
        asked.due = Some(due);
        app.due.insert((due, target.pod.clone()));
        let next = pause + ask::PATIENCE;
        let validity = Validity { next, last: next + pause + MARGIN };
        Some(Answer { key, pod: target.pod, uid: target.uid, reading, validity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};
    use kube::client::Body;
    use std::{collections::BTreeMap, convert::Infallible, sync::Mutex};

    /// Requests that the API server was asked to pass on.
    #[derive(Default)]
    struct Seen {
        open: BTreeMap<String, usize>,
        most: BTreeMap<String, usize>,
        asked: BTreeMap<String, Vec<Instant>>,
    }

    /// Starts a counter. Pods of namespace `silent` never answer, others have no connections.
    fn counter(seen: &Arc<Mutex<Seen>>) -> Counter {
        let seen = Arc::clone(seen);
        let service = tower::service_fn(move |request: Request<Body>| {
            let seen = Arc::clone(&seen);
            async move {
                let path: Vec<&str> = request.uri().path().split('/').collect();
                let (namespace, pod) = (path[4].to_owned(), path[6].trim_end_matches(":9798").to_owned());
                let _open = Open::new(&seen, &namespace, pod);
                if namespace == "silent" {
                    std::future::pending::<()>().await;
                }
                let body = format!(
                    r#"{{"ports":[{{"port":80,"count":{0}}}],"count":{0},"fresh":0,"at":1,"complete":true}}"#,
                    if namespace == "many" { 1000 } else { 0 }
                );
                Ok::<_, Infallible>(Response::new(Body::from(body.into_bytes())))
            }
        });
        Counter::start(Client::new(service, "default"), CountVia::Api, Clock::tokio())
    }

    /// Open question, which may be given up at any time.
    struct Open(Arc<Mutex<Seen>>, String);

    impl Open {
        fn new(seen: &Arc<Mutex<Seen>>, namespace: &str, pod: String) -> Self {
            let mut all = seen.lock().unwrap();
            all.asked.entry(pod).or_default().push(Instant::now());
            let open = all.open.entry(namespace.to_owned()).or_default();
            *open += 1;
            let open = *open;
            let most = all.most.entry(namespace.to_owned()).or_default();
            *most = (*most).max(open);
            Self(Arc::clone(seen), namespace.to_owned())
        }
    }

    impl Drop for Open {
        fn drop(&mut self) {
            *self.0.lock().unwrap().open.get_mut(&self.1).unwrap() -= 1;
        }
    }

    fn key(namespace: &str) -> Key {
        Key { namespace: namespace.into(), name: "app".into() }
    }

    fn targets(prefix: &str, count: usize, deadline: Option<Time>) -> Vec<Target> {
        let source = Arc::new(Source::Tally { ports: vec![80] });
        let target = |number| Target {
            pod: format!("{prefix}-{number}"),
            uid: format!("uid-{number}"),
            address: None,
            source: Arc::clone(&source),
            deadline,
            settle: Duration::from_secs(60),
        };
        (0..count).map(target).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn five_hundred_silent_pods_keep_nobody_else_waiting() {
        let seen = Arc::default();
        let mut counter = counter(&seen);
        counter.order(&key("silent"), targets("silent", 500, None), &[]);
        tokio::time::sleep(Duration::from_millis(10)).await;
        let begin = Instant::now();
        counter.order(&key("other"), targets("other", 20, None), &[]);
        for _ in 0..20 {
            let answer = counter.answer().await.unwrap();
            assert_eq!((answer.key, answer.reading.map(|reading| reading.count)), (key("other"), Ok(0)));
        }
        assert_eq!(begin.elapsed(), Duration::ZERO, "all of the other application, before the first silence ends");
        let mut silent = BTreeSet::new();
        while silent.len() < 500 {
            let answer = counter.answer().await.unwrap();
            if answer.key == key("silent") {
                assert_eq!(answer.reading, Err("no answer within 2 s".to_owned()));
                silent.insert(answer.pod);
            }
        }
        let seen = seen.lock().unwrap();
        assert_eq!(seen.most["silent"], OPEN_PER_APP);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pace_is_what_is_wanted() {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let mut counter = counter(&seen);
        counter.order(&key("other"), targets("idle", 1, None), &[]);
        counter.order(&key("many"), targets("busy", 1, None), &[]);
        let drain = async |counter: &mut Counter| while counter.answer().await.is_some() {};
        let _ = tokio::time::timeout(Duration::from_millis(30_500), drain(&mut counter)).await;
        let times = |pod: &str| seen.lock().unwrap().asked[pod].len();
        // The answer has no age, so the many connections count as young.
        assert_eq!((times("idle-0"), times("busy-0")), (31, 16));
        // Before the deadline the pod is asked more often, at once.
        let deadline = counter_deadline();
        counter.order(&key("many"), targets("busy", 1, Some(deadline)), &[]);
        let _ = tokio::time::timeout(Duration::from_millis(10_500), drain(&mut counter)).await;
        assert_eq!(times("busy-0"), 16 + 11);
        counter.order(&key("many"), Vec::new(), &[]);
        counter.order(&key("other"), Vec::new(), &[]);
        let _ = tokio::time::timeout(Duration::from_secs(60), drain(&mut counter)).await;
        assert_eq!(times("busy-0"), 16 + 11, "nobody is asked any more");
    }

    #[tokio::test(start_paused = true)]
    async fn asked_when_the_time_to_settle_ends() {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let mut counter = counter(&seen);
        let mut targets = targets("idle", 1, None);
        targets[0].settle = Duration::from_millis(2_400);
        let begin = Instant::now();
        counter.order(&key("other"), targets, &[]);
        let drain = async |counter: &mut Counter| while counter.answer().await.is_some() {};
        let _ = tokio::time::timeout(Duration::from_millis(4_000), drain(&mut counter)).await;
        let seen = seen.lock().unwrap();
        let asked: Vec<u128> = seen.asked["idle-0"].iter().map(|at| (*at - begin).as_millis()).collect();
        assert_eq!(asked, [0, 1_000, 2_000, 2_500, 3_500]);
    }

    fn counter_deadline() -> Time {
        Time(Clock::System.now().0)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_of_a_pod_is_not_mixed_up_with_another() {
        let seen = Arc::default();
        let mut counter = counter(&seen);
        counter.order(&key("silent"), targets("a", 1, None), &[]);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut new = targets("a", 1, None);
        new[0].uid = "new".into();
        counter.order(&key("silent"), new, &[]);
        let answer = counter.answer().await.unwrap();
        assert_eq!(answer.uid, "new", "the answer of the old one is dropped");
        counter.order(&key("silent"), Vec::new(), &[]);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(counter.answer_now().is_none());
    }
}
