//! End of the program.

use std::{future::Future, io, process, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::settings::{OnSigterm, Settings};

/// Limit of the wait for connections to close, once the program has asked them to.
const FINISH: Duration = Duration::from_secs(5);

/// State that all parts of the program check to know whether it ends. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct End {
    ending: CancellationToken,
    closing: CancellationToken,
    connections: TaskTracker,
}

impl End {
    /// Returns whether the program has been asked to end: it is not ready any more, though it still accepts.
    pub fn is_ending(&self) -> bool {
        self.ending.is_cancelled()
    }

    /// Waits until connections must be closed.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Asks every connection to close.
    pub fn close(&self) {
        self.ending.cancel();
        self.closing.cancel();
    }

    /// Runs a connection's task, which is waited for at the end.
    pub fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        self.connections.spawn(connection);
    }

    /// Waits for SIGTERM or SIGINT and ends as the settings say. Returns when the program may exit.
    ///
    /// # Errors
    /// When signals cannot be listened for.
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
        // A connection that has not closed by then is cut.
        let _ = timeout(FINISH, self.connections.wait()).await;
        Ok(())
    }
}
