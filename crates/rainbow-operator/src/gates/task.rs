//! Task that measures. It runs beside the loop that decides: a server that does not answer delays nothing else.

use futures::{
    FutureExt, StreamExt,
    future::{AbortHandle, Abortable, BoxFuture},
    stream::FuturesUnordered,
};
use kube::Client;
use rainbow_api::GateCheck;
use rainbow_plan::{Check, Time};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    answer::{Place, Question},
    judge::{Judged, Judgement},
    measure::measure,
    templates::Templates,
};
use crate::{clock::Clock, key::Key, messages};

/// Largest number of measurements under way, in all and for one application, so that no application keeps others from being measured.
const OPEN: usize = 64;
const OPEN_PER_APP: usize = 8;
/// Longest time of a measurement. Providers have shorter limits of their own.
const LONGEST: Duration = Duration::from_secs(600);
/// Largest number of answers that wait to be looked at. When there are more, measuring waits.
const WAITING: usize = 1024;

/// Identity of a check from when it begins to be measured until it is stopped. A check that is measured again from the beginning has
/// another one.
pub(super) type CheckId = u64;

/// News for the loop that decides.
#[derive(Debug)]
pub(crate) enum News {
    Answered(Answered),
    /// Gates that use a template may mean something else now.
    TemplatesChanged,
}

/// Result of a measurement.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) key: Key,
    pub(super) id: CheckId,
    pub(super) judgement: Judgement,
}

/// Measurement to be made.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) check: Check,
    pub(super) gate: Arc<GateCheck>,
    pub(super) place: Place,
    pub(super) since: Time,
    /// Number of measurements before.
    pub(super) number: u32,
}

enum Order {
    /// Makes a measurement at a time, in place of the one that waits.
    Measure { key: Key, id: CheckId, due: Time, work: Box<Work> },
    /// Makes no measurement of the check any more, and gives up the one under way.
    Stop { id: CheckId },
}

/// Handle of the task, which ends when the handle is dropped.
pub(crate) struct Measurer {
    orders: mpsc::UnboundedSender<Order>,
    answers: mpsc::Receiver<Answered>,
    pub(super) templates: Templates,
    templates_changed: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Measurer {
    pub(crate) fn start(client: Client, clock: Clock) -> Self {
        let (orders, orders_of_task) = mpsc::unbounded_channel();
        let (answers_of_task, answers) = mpsc::channel(WAITING);
        let (templates, templates_changed) = (Templates::default(), Arc::new(Notify::new()));
        let mut tasks = JoinSet::new();
        let changed = Arc::clone(&templates_changed);
        tasks.spawn(templates.clone().watch(client.clone(), move || changed.notify_one()));
        let task = Task {
            client,
            clock,
            waiting: BTreeMap::new(),
            due: HashMap::new(),
            under_way: HashMap::new(),
            open_of: HashMap::new(),
            open: FuturesUnordered::new(),
            answers: answers_of_task,
        };
        tasks.spawn(task.run(orders_of_task));
        Self { orders, answers, templates, templates_changed, _tasks: tasks }
    }

    pub(super) fn measure(&self, key: &Key, id: CheckId, due: Time, work: Work) {
        // The task ends only with this handle.
        let _ = self.orders.send(Order::Measure { key: key.clone(), id, due, work: Box::new(work) });
    }

    pub(super) fn stop(&self, id: CheckId) {
        let _ = self.orders.send(Order::Stop { id });
    }

    /// Waits for news.
    pub(crate) async fn news(&mut self) -> Option<News> {
        tokio::select! {
            answered = self.answers.recv() => answered.map(News::Answered),
            () = self.templates_changed.notified() => Some(News::TemplatesChanged),
        }
    }
}

/// Measurement that waits for its time.
struct Waiting {
    key: Key,
    work: Box<Work>,
}

struct Task {
    client: Client,
    clock: Clock,
    waiting: BTreeMap<(Time, CheckId), Waiting>,
    /// Time of each measurement that waits.
    due: HashMap<CheckId, Time>,
    under_way: HashMap<CheckId, AbortHandle>,
    /// Number of measurements under way of each application.
    open_of: HashMap<Key, usize>,
    open: FuturesUnordered<BoxFuture<'static, (Key, CheckId, Option<Judgement>)>>,
    answers: mpsc::Sender<Answered>,
}

impl Task {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            self.begin();
            let due = self.next();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.take(order),
                    None => return,
                },
                Some((key, id, judgement)) = self.open.next() => {
                    self.ended(&key);
                    // A measurement that was given up is not the one under way any more.
                    let Some(judgement) = judgement else { continue };
                    self.under_way.remove(&id);
                    if self.answers.send(Answered { key, id, judgement }).await.is_err() {
                        return;
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Measure { key, id, due, work } => {
                self.forget(id);
                self.due.insert(id, due);
                self.waiting.insert((due, id), Waiting { key, work });
            }
            Order::Stop { id } => {
                self.forget(id);
                if let Some(under_way) = self.under_way.remove(&id) {
                    under_way.abort();
                }
            }
        }
    }

    fn forget(&mut self, id: CheckId) {
        if let Some(due) = self.due.remove(&id) {
            self.waiting.remove(&(due, id));
        }
    }

    fn ended(&mut self, key: &Key) {
        if let Some(open) = self.open_of.get_mut(key) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.open_of.remove(key);
            }
        }
    }

    fn is_full(&self, key: &Key) -> bool {
        self.open_of.get(key).is_some_and(|open| *open >= OPEN_PER_APP)
    }

    /// Begins the measurements that are due, those first that have waited longest, as many as may be under way.
    fn begin(&mut self) {
        let now = self.clock.now();
        while self.open.len() < OPEN {
            let due = self.waiting.iter().take_while(|((due, _), _)| *due <= now);
            let Some(place) = due.filter(|(_, waiting)| !self.is_full(&waiting.key)).map(|(place, _)| *place).next()
            else {
                return;
            };
            let Some(Waiting { key, work }) = self.waiting.remove(&place) else { return };
            let id = place.1;
            self.due.remove(&id);
            *self.open_of.entry(key.clone()).or_default() += 1;
            let (handle, registration) = AbortHandle::new_pair();
            if let Some(before) = self.under_way.insert(id, handle) {
                before.abort();
            }
            let (client, clock) = (self.client.clone(), self.clock);
            let measured = Abortable::new(async move { once(&client, clock, &work).await }, registration);
            self.open.push(async move { (key, id, measured.await.ok()) }.boxed());
        }
    }

    /// Returns the time at which the next measurement is due that may begin.
    fn next(&self) -> Option<Instant> {
        if self.open.len() >= OPEN {
            return None;
        }
        let next = self.waiting.iter().find(|(_, waiting)| !self.is_full(&waiting.key));
        next.map(|((due, _), _)| self.clock.instant(*due))
    }
}

async fn once(client: &Client, clock: Clock, work: &Work) -> Judgement {
    let Work { check, gate, place, since, number } = work;
    let question = Question { client, clock, check, gate, place, since: *since, number: *number };
    let measured = timeout(LONGEST, measure(&question, gate)).await;
    measured.unwrap_or_else(|_| Judgement::Measured(Judged::error(messages::too_slow(LONGEST), None)))
}
