//! How the program ends.

use std::{future::Future, io, process, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::settings::{OnSigterm, Settings};

/// Longest wait for connections to close once the program has taken its leave.
const FINISH: Duration = Duration::from_secs(5);

/// What all parts of the program look at to know whether it ends. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct End {
    ending: CancellationToken,
    closing: CancellationToken,
    connections: TaskTracker,
}

impl End {
    /// Whether it has been told to end: not ready any more, though it still accepts.
    pub fn is_ending(&self) -> bool {
        self.ending.is_cancelled()
    }

    /// Waits until connections shall be closed.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Takes leave of every connection.
    pub fn close(&self) {
        self.ending.cancel();
        self.closing.cancel();
    }

    /// Runs something that is waited for at the end.
    pub fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        self.connections.spawn(connection);
    }

    /// Waits for SIGTERM or SIGINT and does what the settings say. Returns when the program may exit.
    ///
    /// # Errors
    /// Signals cannot be listened to.
    pub async fn wait(&self, settings: &Settings) -> io::Result<()> {
        // In a container this is process 1, for which the kernel ignores signals without a handler: every mode needs one.
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => match settings.on_sigterm {
                OnSigterm::Die => process::exit(143),
                OnSigterm::Drain => {
                    self.ending.cancel();
                    sleep(settings.grace).await;
                }
            },
            _ = interrupt.recv() => {}
        }
        self.close();
        self.connections.close();
        // Whoever does not take the hint is cut.
        let _ = timeout(FINISH, self.connections.wait()).await;
        Ok(())
    }
}
