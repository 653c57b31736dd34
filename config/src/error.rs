//! What is wrong with a configuration, and where.

use std::fmt;

use crate::location::SourceLocation;

/// One mistake. Its first line reads as CoreDNS prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The line that has to change.
    pub at: SourceLocation,
    /// What is wrong, with the value that is.
    pub what: String,
    /// What would be right there; empty where `what` says it all.
    pub wanted: String,
}

impl ConfigError {
    /// A mistake at a place.
    pub fn new(at: &SourceLocation, what: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self { at: at.clone(), what: what.into(), wanted: wanted.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.line() {
            0 => write!(f, "{}: {}", self.at.file(), self.what)?,
            _ => write!(f, "{} - Error during parsing: {}", self.at, self.what)?,
        }
        if self.wanted.is_empty() { Ok(()) } else { write!(f, "; wanted {}", self.wanted) }
    }
}

impl std::error::Error for ConfigError {}

/// Every mistake that was found, in the order of the text; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    /// A line for each mistake, and under it the line of the text that it is about.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{error}")?;
            if !error.at.text().is_empty() {
                write!(f, "\n    {}", error.at.text())?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Something that loads and yet is hardly what its author meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning {
    /// The line it is about.
    pub at: SourceLocation,
    /// What is odd about it, and what it is taken for.
    pub what: String,
}

impl ConfigWarning {
    /// A warning about a place.
    pub fn new(at: &SourceLocation, what: impl Into<String>) -> Self {
        Self { at: at.clone(), what: what.into() }
    }
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - {}", self.at, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_has_no_line() {
        let error = ConfigError::new(
            &SourceLocation::unread("/etc/Corefile"),
            "cannot be read: it is not there",
            "a Corefile",
        );
        let wanted = "/etc/Corefile: cannot be read: it is not there; wanted a Corefile";
        assert_eq!(ConfigErrors::from(error).to_string(), wanted);
    }
}
