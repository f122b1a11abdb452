//! Workers of the three kinds of load.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Load,
    connection::{Connection, Kept, get_once},
    recorder::Recorder,
};

/// Number of requests of the open loop that may wait for a reply at one time. More would run out of ports or memory and say
/// nothing about the server. Requests that are not sent for this reason are reported.
const IN_FLIGHT: usize = 8192;
/// Pause after a failed attempt of a keep-alive or closed-loop client, so that a refusing server is not called in a
/// tight loop.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

pub(crate) fn spawn(load: Arc<Load>, recorder: &Arc<Recorder>, stop: &CancellationToken, tasks: &TaskTracker) {
    if load.rate > 0.0 {
        tasks.spawn(open_loop(load.clone(), recorder.clone(), stop.clone(), tasks.clone()));
    }
    for _ in 0..load.closed {
        tasks.spawn(closed_loop(load.clone(), recorder.clone(), stop.clone()));
    }
    for _ in 0..load.keep_alive {
        tasks.spawn(keep_alive(load.clone(), recorder.clone(), stop.clone()));
    }
    if let Some(duration) = load.duration {
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(duration) => stop.cancel(),
                () = stop.cancelled() => {}
            }
        });
    }
}

/// Runs the open loop. Request number n is due at the start plus n/rate, whatever became of the earlier ones. Latency counts from
/// when a request was due, so that a stall shows in full.
async fn open_loop(load: Arc<Load>, recorder: Arc<Recorder>, stop: CancellationToken, tasks: TaskTracker) {
    let start = Instant::now();
    let in_flight = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT));
    let mut sent: u64 = 0;
    loop {
        let due = start + Duration::from_secs_f64(sent as f64 / load.rate);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep_until(due) => {}
        }
        sent += 1;
        let Ok(permit) = in_flight.clone().try_acquire_owned() else {
            recorder.skipped();
            continue;
        };
        let (load, recorder) = (load.clone(), recorder.clone());
        tasks.spawn(async move {
            recorder.connection();
            let result = get_once(&load.target, load.connect_timeout, load.timeout).await;
            recorder.request(result, due.elapsed(), false);
            drop(permit);
        });
    }
}

async fn closed_loop(load: Arc<Load>, recorder: Arc<Recorder>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let began = Instant::now();
        recorder.connection();
        let result = get_once(&load.target, load.connect_timeout, load.timeout).await;
        let failed = result.is_err();
        recorder.request(result, began.elapsed(), false);
        if failed {
            rest(AFTER_FAILURE, &stop).await;
        }
    }
}

/// Runs a client with a connection of its own. When the server closes it between two requests, as it may, the client opens a
/// new one and nothing has failed. When it is closed during a request, that request has failed.
async fn keep_alive(load: Arc<Load>, recorder: Arc<Recorder>, stop: CancellationToken) {
    let mut kept: Option<Connection> = None;
    while !stop.is_cancelled() {
        let began = Instant::now();
        if kept.as_ref().is_some_and(Connection::is_closed) {
            recorder.closed_idle();
            kept = None;
        }
        if kept.as_ref().is_some_and(|kept| load.max_age.is_some_and(|age| kept.opened.elapsed() >= age)) {
            kept = None;
        }
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => {
                recorder.connection();
                match Connection::open(&load.target, load.connect_timeout).await {
                    Ok(connection) => connection,
                    Err(failure) => {
                        recorder.request(Err(failure), began.elapsed(), true);
                        rest(AFTER_FAILURE, &stop).await;
                        continue;
                    }
                }
            }
        };
        match connection.get(&load.target, false, began + load.timeout).await {
            Kept::Stale => recorder.closed_idle(),
            Kept::Done(Ok(body)) => {
                recorder.request(Ok(body), began.elapsed(), true);
                kept = Some(connection);
            }
            Kept::Done(Err(failure)) => {
                recorder.request(Err(failure), began.elapsed(), true);
                rest(AFTER_FAILURE, &stop).await;
                continue;
            }
        }
        if !load.pause.is_zero() {
            rest(load.pause, &stop).await;
        }
    }
}

async fn rest(pause: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}
