//! Line of the terminal that shows the current activity, and is drawn over again and again. Any other output replaces it.

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

/// Time before a running command shows its activity: a shorter one shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct State {
    /// Whether the line is on the terminal.
    is_shown: bool,
    /// Current activity, and its start. Removed as soon as something is printed.
    doing: Option<(String, Instant)>,
}

static STATE: Mutex<State> = Mutex::new(State { is_shown: false, doing: None });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether the line can be shown: standard error is a terminal that can move its cursor.
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
    // Some terminals go to the next line after the last column.
    let text = terminal::cut(&charset.write(text), columns - 1, charset);
    let mut err = anstream::stderr().lock();
    let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
    state.is_shown = true;
}

/// Removes the line, because something else is printed.
pub(crate) fn clear() {
    let mut state = state();
    state.doing = None;
    if std::mem::take(&mut state.is_shown) {
        let mut err = io::stderr().lock();
        let _ = err.write_all(b"\r\x1b[K").and_then(|()| err.flush());
    }
}

/// Sets the current activity, which is shown if it takes long.
pub(crate) fn doing(what: String) {
    state().doing = Some((what, Instant::now()));
}

/// Shows the current activity once it takes long. Never returns.
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
