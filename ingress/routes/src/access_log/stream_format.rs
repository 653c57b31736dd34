//! `log-format-stream`: the format of the lines of streams, compiled.

use super::format::{LogEscape, unquoted};
use super::stream_variable::StreamVariable;
use crate::template::{CompiledPart, CompiledText, TemplateError};

/// The format of the lines of TCP and UDP services in the access log.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamLineFormat {
    text: CompiledText<StreamVariable>,
    escape: LogEscape,
}

impl StreamLineFormat {
    /// The format of ingress-nginx.
    pub const DEFAULT: &'static str =
        "[$remote_addr] [$time_local] $protocol $status $bytes_sent $bytes_received $session_time";

    /// Compiles a format. The position of an error counts characters from 1.
    ///
    /// # Errors
    /// When a variable is unknown, or not written as nginx reads it.
    pub fn parse(text: &str, escape: LogEscape) -> Result<Self, TemplateError> {
        let (plain, characters) = unquoted(text)?;
        let compiled = CompiledText::compile(&plain, StreamVariable::parse);
        let compiled = compiled.map_err(|error| TemplateError { at: characters[error.at], ..error })?;
        Ok(Self { text: compiled, escape })
    }

    /// Its parts in order.
    pub fn parts(&self) -> &[CompiledPart<StreamVariable>] {
        self.text.parts()
    }

    /// How values are written.
    pub fn escape(&self) -> LogEscape {
        self.escape
    }
}

impl Default for StreamLineFormat {
    fn default() -> Self {
        Self::parse(Self::DEFAULT, LogEscape::Default).expect("a test parses the default format")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_compiled() {
        assert_eq!(StreamLineFormat::default().text.variables().count(), 7);
    }

    #[test]
    fn variables_of_requests_are_unknown_and_have_a_position() {
        for (text, at) in [("$status $request", 9), ("$http_host", 1), ("it's", 3), ("${status", 1)] {
            let error = StreamLineFormat::parse(text, LogEscape::Default).unwrap_err();
            assert_eq!(error.at, at, "{text}: {}", error.what);
        }
    }
}
