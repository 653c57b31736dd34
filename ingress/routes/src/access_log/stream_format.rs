//! `log-format-stream`: the format of the lines of streams, compiled.

use super::format::{LogEscape, compile};
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

    /// Compiles a format. Its unknown variables, which are returned with their positions, have no value in the lines. Positions count
    /// characters from 1.
    ///
    /// # Errors
    /// When a variable is not written as nginx reads it.
    pub fn compile(text: &str, escape: LogEscape) -> Result<(Self, Vec<TemplateError>), TemplateError> {
        let parse = |name: &str| StreamVariable::parse(name).ok_or(StreamVariable::Absent);
        let (text, unknown) = compile(text, parse)?;
        Ok((Self { text, escape }, unknown))
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
        Self::compile(Self::DEFAULT, LogEscape::Default).expect("a test compiles the default format").0
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
        let compile = |text| StreamLineFormat::compile(text, LogEscape::Default);
        for (text, at) in [("$status $request", 9), ("$http_host", 1)] {
            let (format, unknown) = compile(text).unwrap();
            assert_eq!(unknown[0].at, at, "{text}");
            assert!(format.text.variables().any(|variable| *variable == StreamVariable::Absent), "{text}");
        }
        for (text, at) in [("it's", 3), ("${status", 1)] {
            assert_eq!(compile(text).unwrap_err().at, at, "{text}");
        }
    }
}
