//! Signal handling.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command_error::CommandError;

/// The signals that the process handles.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    user1: Signal,
}

/// The action that a signal requests, with the signal's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalAction {
    /// SIGTERM, SIGINT, SIGQUIT: shut down.
    Stop(&'static str),
    /// SIGHUP, SIGUSR1: reload the configuration. CoreDNS reloads on SIGUSR1.
    Reload(&'static str),
}

impl Signals {
    /// Installs the signal handlers. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn listen() -> Result<Self, CommandError> {
        let listen = |kind| {
            signal(kind).map_err(|error| CommandError::outside(format!("cannot handle signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            hangup: listen(SignalKind::hangup())?,
            user1: listen(SignalKind::user_defined1())?,
        })
    }

    /// Waits for a signal to stop. Signals to reload are logged and ignored.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            match self.next().await {
                SignalAction::Stop(signal) => return signal,
                SignalAction::Reload(signal) => {
                    tracing::info!("{signal} ignored: there is nothing to reload")
                }
            }
        }
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::Stop("SIGTERM"),
            _ = self.interrupt.recv() => SignalAction::Stop("SIGINT"),
            _ = self.quit.recv() => SignalAction::Stop("SIGQUIT"),
            _ = self.hangup.recv() => SignalAction::Reload("SIGHUP"),
            _ = self.user1.recv() => SignalAction::Reload("SIGUSR1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[tokio::test]
    async fn sighup_and_sigusr1_reload_and_the_other_signals_stop() {
        let mut signals = Signals::listen().unwrap();
        for (raised, action) in [
            (Signal::SIGHUP, SignalAction::Reload("SIGHUP")),
            (Signal::SIGUSR1, SignalAction::Reload("SIGUSR1")),
            (Signal::SIGQUIT, SignalAction::Stop("SIGQUIT")),
            (Signal::SIGINT, SignalAction::Stop("SIGINT")),
        ] {
            raise(raised).unwrap();
            assert_eq!(signals.next().await, action);
        }
        raise(Signal::SIGHUP).unwrap();
        raise(Signal::SIGTERM).unwrap();
        assert_eq!(signals.stop().await, "SIGTERM");
    }
}
