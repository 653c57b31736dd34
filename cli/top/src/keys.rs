//! The keys of the terminal, and what each asks for.

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

/// The action of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// End.
    Quit,
    /// The next list, or the one before.
    List(Direction),
    /// Down or up so many lines.
    Scroll(Direction, usize),
    /// Draw again: the window has another size.
    Draw,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Back,
}

/// The keys that are pressed, read by a thread of its own.
pub(crate) struct KeyReader(mpsc::Receiver<Action>);

impl KeyReader {
    /// Starts to read keys. The thread ends with the process.
    pub(crate) fn read() -> Self {
        let (sender, receiver) = mpsc::channel(16);
        std::thread::spawn(move || {
            while let Ok(event) = event::read() {
                if let Some(action) = action(&event)
                    && sender.blocking_send(action).is_err()
                {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// The next action; [`Action::Quit`] if the terminal is gone.
    pub(crate) async fn next(&mut self) -> Action {
        self.0.recv().await.unwrap_or(Action::Quit)
    }
}

fn action(event: &Event) -> Option<Action> {
    let key = match event {
        Event::Resize(..) => return Some(Action::Draw),
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        _ => return None,
    };
    Some(match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Action::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Action::Quit,
        KeyCode::Tab | KeyCode::Right => Action::List(Direction::Forward),
        KeyCode::BackTab | KeyCode::Left => Action::List(Direction::Back),
        KeyCode::Down | KeyCode::Char('j') => Action::Scroll(Direction::Forward, 1),
        KeyCode::Up | KeyCode::Char('k') => Action::Scroll(Direction::Back, 1),
        KeyCode::PageDown => Action::Scroll(Direction::Forward, 10),
        KeyCode::PageUp => Action::Scroll(Direction::Back, 10),
        KeyCode::Home => Action::Scroll(Direction::Back, usize::MAX),
        KeyCode::End => Action::Scroll(Direction::Forward, usize::MAX),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn keys_have_actions() {
        let pressed = |code, modifiers| action(&Event::Key(KeyEvent::new(code, modifiers)));
        for (code, wanted) in [
            (KeyCode::Char('q'), Some(Action::Quit)),
            (KeyCode::Esc, Some(Action::Quit)),
            (KeyCode::Char('c'), None),
            (KeyCode::Tab, Some(Action::List(Direction::Forward))),
            (KeyCode::BackTab, Some(Action::List(Direction::Back))),
            (KeyCode::PageUp, Some(Action::Scroll(Direction::Back, 10))),
            (KeyCode::Char('x'), None),
        ] {
            assert_eq!(pressed(code, KeyModifiers::NONE), wanted, "{code:?}");
        }
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Action::Quit));
    }
}
