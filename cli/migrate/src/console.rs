//! Output of the command.

use crate::options::OutputFormat;

/// Standard output and standard error.
#[derive(Clone, Copy)]
pub struct Console {
    /// Writes text to standard output.
    pub out: fn(&str),
    /// Writes text to standard error.
    pub err: fn(&str),
    /// With JSON, only JSON goes to standard output.
    pub format: OutputFormat,
}

impl Console {
    /// Prints a line of progress.
    pub(crate) fn progress(&self, line: &str) {
        match self.format {
            OutputFormat::Text => (self.out)(&format!("{line}\n")),
            OutputFormat::Json => (self.err)(&format!("{line}\n")),
        }
    }
}
