//! `portolan top`: what a running Portolan serves, in a terminal.
//!
//! It reads what the live page reads from the admin address: `/live/state`, what changes rarely, and `/live/events`, the counters, once a
//! second. Rates are differences of counters. Nothing is written.

mod event;
mod state;

mod admin;
mod figures;
mod format;
mod keys;

mod view;

mod screen;

pub use admin::AdminError;

use std::io::IsTerminal as _;
use std::time::Duration;

use telemetry::AdminAddress;
use tokio::sync::mpsc;

use crate::admin::{Admin, LiveEvents};
use crate::event::LiveEvent;
use crate::figures::Figures;
use crate::keys::{Action, KeyReader};
use crate::screen::Screen;
use crate::state::State;
use crate::view::View;

/// How often `/live/state` is read: a state of many routes takes long to make, and is read less often.
const STATE_PERIOD: Duration = Duration::from_secs(5);
const MAX_STATE_PERIOD: Duration = Duration::from_secs(60);

/// The pause after a state, as a multiple of the time that it took to make.
const STATE_COST: f64 = 250.0;

/// Width and height of what is printed once, if standard output is not a terminal.
const PRINTED_SIZE: (u16, u16) = (110, 34);

/// Shows the figures until `q` or Ctrl-C is pressed. With `once`, or if standard output is not a terminal, returns the text of one screen after
/// the second event.
///
/// # Errors
/// When the admin address does not answer, or forbids its live page, or when the terminal cannot be used.
pub async fn run(address: AdminAddress, once: bool) -> Result<Option<String>, AdminError> {
    let admin = Admin::new(address);
    let mut view = View::new(admin.address().authority(), admin.state().await?);
    let mut events = admin.events().await?;
    let mut last = events.next().await?;
    if once || !std::io::stdout().is_terminal() {
        let now = events.next().await?;
        view.figures(Figures::between(&last, &now));
        return Ok(Some(screen::text(&mut view, PRINTED_SIZE)));
    }
    let mut screen = Screen::open().map_err(AdminError::Terminal)?;
    let mut keys = KeyReader::read();
    let mut states = follow_state(Admin::new(admin.address().clone()));
    loop {
        screen.draw(&mut view).map_err(AdminError::Terminal)?;
        tokio::select! {
            event = next(&admin, &mut events, &mut view) => {
                view.figures(Figures::between(&last, &event));
                last = event;
            }
            Some(state) = states.recv() => view.state(state),
            action = keys.next() => match action {
                Action::Quit => return Ok(None),
                action => view.apply(action),
            },
        }
    }
}

/// Reads the state again and again, in a task of its own: keys are read meanwhile.
fn follow_state(admin: Admin) -> mpsc::Receiver<State> {
    let (sender, states) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut pause = STATE_PERIOD;
        loop {
            tokio::time::sleep(pause).await;
            // The foot of the screen says when there are no events either.
            let Ok(state) = admin.state().await else { continue };
            let cost = state.took.clamp(0.0, 1.0) * STATE_COST;
            pause = Duration::from_secs_f64(cost).clamp(STATE_PERIOD, MAX_STATE_PERIOD);
            if sender.send(state).await.is_err() {
                return;
            }
        }
    });
    states
}

/// The next event; connects again until there is one.
async fn next(admin: &Admin, events: &mut LiveEvents, view: &mut View) -> LiveEvent {
    loop {
        match events.next().await {
            Ok(event) => {
                view.connected();
                return event;
            }
            Err(error) => view.disconnected(&error),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Ok(opened) = admin.events().await {
            *events = opened;
        }
    }
}
