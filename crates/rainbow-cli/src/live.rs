//! One line of the terminal that says what is going on, and is written over again and again. Whatever else is printed takes its place.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    printer::DIM,
    terminal::{self, Charset},
    words,
};

/// A command that takes no longer says nothing of it.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct State {
    /// The line is on the terminal.
    is_shown: bool,
    /// What is being done, and since when. Gone as soon as something is printed.
    doing: Option<(String, Instant)>,
}

static STATE: Mutex<State> = Mutex::new(State { is_shown: false, doing: None });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether there is such a line: standard error is a terminal that can move its cursor.
pub(crate) fn is_possible() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Shows a text in the line, cut at the terminal's edge.
pub(crate) fn show(text: &str) {
    if is_possible() {
        draw(&mut state(), text);
    }
}

fn draw(state: &mut State, text: &str) {
    let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(80, |size| usize::from(size.ws_col).max(20));
    let charset = Charset::of_locale();
    // In the last column some terminals go to the next line.
    let text = terminal::cut(&charset.write(text), columns - 1, charset);
    let mut err = anstream::stderr().lock();
    let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
    state.is_shown = true;
}

/// Takes the line away, since something else is printed.
pub(crate) fn clear() {
    let mut state = state();
    state.doing = None;
    if std::mem::take(&mut state.is_shown) {
        let mut err = io::stderr().lock();
        let _ = err.write_all(b"\r\x1b[K").and_then(|()| err.flush());
    }
}

/// Says what is being done from now on, which is shown if it takes long.
pub(crate) fn doing(what: String) {
    state().doing = Some((what, Instant::now()));
}

/// Shows what is being done, once that takes long. Never ends.
pub(crate) async fn watch() {
    let mut ticks = tokio::time::interval(PATIENCE);
    loop {
        ticks.tick().await;
        let mut state = state();
        let Some((what, since)) = &state.doing else { continue };
        let taken = since.elapsed();
        if taken >= PATIENCE && is_possible() {
            let seconds = i64::try_from(taken.as_secs()).unwrap_or(i64::MAX);
            let text = format!("{DIM}{what}: {}{DIM:#}", words::seconds(seconds));
            draw(&mut state, &text);
        }
    }
}
