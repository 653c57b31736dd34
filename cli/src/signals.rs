//! What the world outside may say to a running process.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command_error::CommandError;

/// The signals that are listened to.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalAction {
    /// SIGTERM, SIGINT, by name: finish and end.
    Stop(&'static str),
    /// SIGUSR1: read the configuration again.
    Reload,
}

impl Signals {
    /// Listens from now on. Must be called within a runtime.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> Result<Self, CommandError> {
        let listen = |kind| {
            signal(kind).map_err(|error| CommandError::outside(format!("cannot listen to signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            reload: listen(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the word to stop; until something is served there is nothing to read again.
    pub async fn stop(&mut self) {
        while self.next().await == SignalAction::Reload {}
    }

    /// The next one.
    pub async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::Stop("SIGTERM"),
            _ = self.interrupt.recv() => SignalAction::Stop("SIGINT"),
            _ = self.reload.recv() => SignalAction::Reload,
        }
    }
}
