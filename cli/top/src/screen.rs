//! The terminal, or a text of the same size.

use std::io;

use ratatui::backend::TestBackend;
use ratatui::{DefaultTerminal, Terminal};

use crate::view::View;

/// The terminal in raw mode with the alternate screen. It is restored on drop, and by a panic.
pub(crate) struct Screen(DefaultTerminal);

impl Screen {
    /// # Errors
    /// If the terminal refuses.
    pub(crate) fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }

    /// # Errors
    /// If the terminal cannot be written to.
    pub(crate) fn draw(&mut self, view: &mut View) -> io::Result<()> {
        self.0.draw(|frame| view.draw(frame)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// The screen as text, without colours.
pub(crate) fn text(view: &mut View, (width, height): (u16, u16)) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| view.draw(frame));
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(width.max(1))) {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
