//! Markdown tables.

use std::fmt;

use crate::samples::{Samples, quantile};

/// A table with a title and notes.
pub(crate) struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(title: impl Into<String>, head: &[&str]) -> Self {
        let head = head.iter().map(|cell| (*cell).to_owned()).collect();
        Self { title: title.into(), head, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Adds a line below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds a note about incorrect or missing answers, if there were any.
    pub(crate) fn note_failures(&mut self, server: &str, load: &str, samples: &Samples) {
        if samples.wrong + samples.lost > 0 {
            self.note(format!(
                "{server}, {load}: {} incorrect and {} lost answers",
                samples.wrong, samples.lost
            ));
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.chain(self.head.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            for (column, cell) in cells.iter().enumerate() {
                let width = width(column);
                if column == 0 { write!(f, "| {cell:width$} ")? } else { write!(f, "| {cell:>width$} ")? }
            }
            writeln!(f, "|")
        };
        writeln!(f, "### {}\n", self.title)?;
        line(f, &self.head)?;
        let rule = (0..self.head.len()).map(|column| match column {
            0 => "-".repeat(width(column)),
            _ => format!("{}:", "-".repeat(width(column).saturating_sub(1))),
        });
        line(f, &rule.collect::<Vec<_>>())?;
        for row in &self.rows {
            line(f, row)?;
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "- {note}")?;
        }
        Ok(())
    }
}

/// Formats bytes for a cell.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Formats a quantile of `values` (in milliseconds) for a cell.
pub(crate) fn milliseconds(values: &[f64], share: f64) -> String {
    format!("{:.2} ms", quantile(values, share).unwrap_or(f64::NAN))
}
