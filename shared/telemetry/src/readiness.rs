//! Readiness gates: named conditions that must hold before a service is ready.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use http::StatusCode;
use tokio::sync::watch;

use crate::admin_message::{AdminRequest, AdminResponse};

/// The gates of one service. A service without gates is ready. Clones share the gates.
#[derive(Clone, Default)]
pub struct ReadinessGates(Arc<Inner>);

#[derive(Default)]
struct Inner {
    gates: Mutex<Vec<Weak<State>>>,
    changed: watch::Sender<()>,
}

struct State {
    name: String,
    open: AtomicBool,
    was_open: AtomicBool,
    changed: watch::Sender<()>,
}

/// Whether a gate that was open before can make the service unready again: the `monitor` option of CoreDNS's `ready`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Monitor {
    /// A gate that was open once counts as open.
    #[default]
    UntilReady,
    /// The current state of each gate counts.
    Continuously,
}

/// One gate, closed until it is opened. Dropping the last clone removes it.
#[derive(Clone)]
pub struct ReadinessGate(Arc<State>);

impl ReadinessGates {
    /// Creates an empty set of gates.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a closed gate. Several gates may have the same name.
    pub fn gate(&self, name: impl Into<String>) -> ReadinessGate {
        let (open, was_open) = (AtomicBool::new(false), AtomicBool::new(false));
        let changed = self.0.changed.clone();
        let state = Arc::new(State { name: name.into(), open, was_open, changed });
        let mut gates = self.states();
        gates.retain(|gate| gate.strong_count() > 0);
        gates.push(Arc::downgrade(&state));
        drop(gates);
        ReadinessGate(state)
    }

    /// The names of the closed gates, sorted and without duplicates; empty if the service is ready.
    pub fn closed(&self, monitor: Monitor) -> Vec<String> {
        let states = self.states();
        let closed = states.iter().filter_map(Weak::upgrade).filter(|state| {
            let once = monitor == Monitor::UntilReady && state.was_open.load(SeqCst);
            !once && !state.open.load(SeqCst)
        });
        let mut names: Vec<_> = closed.map(|state| state.name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The page `/ready` as in CoreDNS: `OK`, or 503 with the names of the closed gates.
    pub fn page(&self, monitor: Monitor) -> impl Fn(&AdminRequest) -> AdminResponse + Send + Sync + 'static {
        let gates = self.clone();
        move |_| match gates.closed(monitor).join(",") {
            names if names.is_empty() => AdminResponse::ok("OK"),
            names => AdminResponse::text(StatusCode::SERVICE_UNAVAILABLE, names),
        }
    }

    /// Waits until every gate is open.
    pub async fn all_open(&self) {
        let mut changed = self.0.changed.subscribe();
        while !self.closed(Monitor::Continuously).is_empty() {
            changed.changed().await.expect("the sender lives as long as these gates");
        }
    }

    fn states(&self) -> MutexGuard<'_, Vec<Weak<State>>> {
        self.0.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadinessGate {
    /// Opens the gate: the condition holds.
    pub fn open(&self) {
        self.0.was_open.store(true, SeqCst);
        self.set(true);
    }

    /// Closes the gate: the condition no longer holds.
    pub fn close(&self) {
        self.set(false);
    }

    /// Whether the gate is open.
    pub fn is_open(&self) -> bool {
        self.0.open.load(SeqCst)
    }

    fn set(&self, open: bool) {
        if self.0.open.swap(open, SeqCst) != open {
            self.0.changed.send_replace(());
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // This may have been the last closed gate that a task waits for.
        self.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_gates_are_listed_in_order() {
        let gates = ReadinessGates::new();
        assert!(gates.closed(Monitor::UntilReady).is_empty());
        let (zone, zone_again, other) =
            (gates.gate("kubernetes"), gates.gate("kubernetes"), gates.gate("etcd"));
        assert_eq!(gates.closed(Monitor::UntilReady), ["etcd", "kubernetes"]);
        zone.open();
        other.open();
        assert_eq!(
            gates.closed(Monitor::UntilReady),
            ["kubernetes"],
            "the other gate of that name is closed"
        );
        drop(zone_again);
        assert!(gates.closed(Monitor::UntilReady).is_empty(), "a gate that was dropped does not count");
        zone.close();
        assert!(gates.closed(Monitor::UntilReady).is_empty());
        assert_eq!(gates.closed(Monitor::Continuously), ["kubernetes"]);
    }

    #[tokio::test]
    async fn waiting_ends_when_the_last_gate_is_opened_or_dropped() {
        let gates = ReadinessGates::new();
        let (opened, dropped) = (gates.gate("opened"), gates.gate("dropped"));
        let waiting = tokio::spawn({
            let gates = gates.clone();
            async move { gates.all_open().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        opened.open();
        drop(dropped);
        waiting.await.unwrap();
    }
}
