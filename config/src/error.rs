//! Errors and warnings of a configuration, with their locations.

use std::fmt;

use crate::location::SourceLocation;

/// One error. Its message has CoreDNS's wording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The line that has to be corrected.
    pub at: SourceLocation,
    /// The message, with the invalid value.
    pub what: String,
    /// What was expected instead; may be empty.
    pub wanted: String,
}

impl ConfigError {
    /// Creates an error at a location.
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

/// All errors of a configuration in text order; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// Errors that were found in any order, each once. Those of the first file, which imports the others, come first.
    pub fn sorted(mut errors: Vec<ConfigError>, first: &str) -> Self {
        let place = |error: &ConfigError| {
            let file = error.at.file();
            (file != first, file.to_owned(), error.at.line())
        };
        errors.sort_by_cached_key(place);
        let mut known = std::collections::HashSet::new();
        errors.retain(|error| known.insert(error.to_string()));
        Self(errors)
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    /// Writes a line for each error, followed by the line of the text that it refers to, once for the errors of a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{error}")?;
            let is_last = self.0.get(index + 1).is_none_or(|next| next.at != error.at);
            if is_last && !error.at.text().is_empty() {
                write!(f, "\n    {}", error.at.text())?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A statement that loads but is probably not what the author meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning {
    /// The line that it refers to.
    pub at: SourceLocation,
    /// The message: what is suspicious, and how it is interpreted.
    pub what: String,
}

impl ConfigWarning {
    /// Creates a warning at a location.
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
