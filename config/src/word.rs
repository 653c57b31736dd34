//! Words of a configuration and their conversion to values.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Bound, Deref, RangeBounds};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::address::HostPort;
use crate::error::ConfigError;
use crate::lexer::Token;
use crate::location::SourceLocation;
use crate::value;
use crate::zone;

const DURATION: &str = "a duration such as 30s, 1m30s or 500ms";

/// A word without quotes and with variables substituted. Dereferences to `str`.
#[derive(Clone, PartialEq, Eq)]
pub struct Word {
    /// The text.
    pub text: String,
    /// The line on which it begins.
    pub at: SourceLocation,
    /// The text before substitution, if it contained a variable.
    written: Option<Arc<str>>,
}

impl Word {
    /// Creates a word at a location.
    pub fn new(text: impl Into<String>, at: &SourceLocation) -> Self {
        Self { text: text.into(), at: at.clone(), written: None }
    }

    /// Creates a word from a token and its text after substitution.
    pub(crate) fn filled(text: String, token: &Token) -> Self {
        let written = (token.text.contains("{$") || token.text.contains("{%")) && *token.text != *text;
        Self { text, at: token.at.clone(), written: written.then(|| token.text.clone()) }
    }

    /// An error about this word. If it came from a variable, the variable is named, since it may be unset.
    pub fn error(&self, what: impl Into<String>, wanted: impl Into<String>) -> ConfigError {
        let mut what = what.into();
        if let Some(written) = &self.written {
            what.push_str(&format!(" (written {written})"));
        }
        ConfigError::new(&self.at, what, wanted)
    }

    fn wrong(&self, kind: &str, wanted: impl Into<String>) -> ConfigError {
        self.error(format!("{kind} {:?}", self.text), wanted)
    }

    /// A duration in Go's form: `5s`, `1m30s`, `500ms`, `0`. Not negative.
    pub fn duration(&self) -> Result<Duration, ConfigError> {
        value::duration(&self.text).map_err(|what| self.error(what, DURATION))
    }

    /// A duration; negative values become zero.
    pub fn duration_or_zero(&self) -> Result<Duration, ConfigError> {
        value::duration_or_zero(&self.text).map_err(|what| self.error(what, DURATION))
    }

    /// A duration within bounds; `wanted` describes them in the error.
    pub fn duration_in(
        &self,
        range: impl RangeBounds<Duration>,
        wanted: &str,
    ) -> Result<Duration, ConfigError> {
        let value = self.duration()?;
        if range.contains(&value) { Ok(value) } else { Err(self.wrong("duration out of range", wanted)) }
    }

    /// A whole number within bounds.
    pub fn integer<N>(&self, range: impl RangeBounds<N> + fmt::Debug) -> Result<N, ConfigError>
    where
        N: FromStr + PartialOrd,
    {
        let value = self.text.parse().ok().filter(|value| range.contains(value));
        value.ok_or_else(|| {
            let is_bounded =
                !matches!((range.start_bound(), range.end_bound()), (Bound::Unbounded, Bound::Unbounded));
            let limits = if is_bounded { format!(" in {range:?}") } else { String::new() };
            self.wrong("invalid number", format!("a whole number{limits}"))
        })
    }

    /// Any type that implements `FromStr`, such as a regular expression.
    pub fn parse<T: FromStr>(&self, wanted: &str) -> Result<T, ConfigError>
    where
        T::Err: fmt::Display,
    {
        self.text.parse().map_err(|error| self.error(format!("{:?}: {error}", self.text), wanted))
    }

    /// One of the given words.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let chosen = choices.iter().find(|(name, _)| *name == self.text);
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.wrong("unknown value", format!("one of {}", names.join(", ")))
        })
    }

    /// An address to listen on or connect to: `host:port`, `:port`, `[v6]:port`; the port is optional if there is a default.
    pub fn host_port(&self, default_port: Option<u16>) -> Result<HostPort, ConfigError> {
        HostPort::read(&self.text, default_port).ok_or_else(|| {
            let port = if default_port.is_some() { "host or host:port" } else { "host:port or :port" };
            self.wrong("invalid address", port)
        })
    }

    /// The address of a server: an IP address with or without a port.
    pub fn socket_addr(&self, default_port: u16) -> Result<SocketAddr, ConfigError> {
        let parts = HostPort::read(&self.text, Some(default_port));
        let addr = parts.and_then(|parts| parts.socket_addr());
        addr.ok_or_else(|| self.wrong("must specify an IP address:", "an IP address, or one with a port"))
    }

    /// An IP address.
    pub fn ip(&self) -> Result<IpAddr, ConfigError> {
        self.text.parse().map_err(|_| self.wrong("not an IP address:", "an IP address"))
    }

    /// A CIDR range; a single address is a range of one.
    pub fn cidr(&self) -> Result<IpNet, ConfigError> {
        let net = zone::cidr(&self.text).or_else(|| self.text.parse::<IpAddr>().ok().map(IpNet::from));
        net.ok_or_else(|| self.wrong("invalid CIDR", "an address range such as 10.0.0.0/8"))
    }

    /// The zones it names in the `[ZONES…]` arguments of plugins. A CIDR range that ends inside an octet names several.
    pub fn zones(&self) -> Result<Vec<String>, ConfigError> {
        zone::zones(&self.text)
            .map_err(|what| self.error(what, "a zone, or an address range for a reverse zone"))
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}", self.text, self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::location::SourceText;

    fn word(text: &str) -> Word {
        let source = Arc::new(SourceText { name: "Corefile".into(), text: "\n option value".into() });
        Word::new(text, &SourceLocation::new(&source, 2))
    }

    #[test]
    fn a_wrong_value_is_told_with_its_place_and_what_was_wanted() {
        let minimum = Duration::from_secs(2);
        for (error, wanted) in [
            (
                word("5").duration().unwrap_err(),
                "time: missing unit in duration \"5\"; wanted a duration such as 30s, 1m30s or 500ms",
            ),
            (
                word("1s").duration_in(minimum.., "2s or more").unwrap_err(),
                "duration out of range \"1s\"; wanted 2s or more",
            ),
            (
                word("0").integer(1..=3600).unwrap_err(),
                "invalid number \"0\"; wanted a whole number in 1..=3600",
            ),
            (word("x").integer::<u8>(..).unwrap_err(), "invalid number \"x\"; wanted a whole number"),
            (
                word("often").choice(&[("random", 1), ("sequential", 2)]).unwrap_err(),
                "unknown value \"often\"; wanted one of random, sequential",
            ),
            (
                word("8080").host_port(None).unwrap_err(),
                "invalid address \"8080\"; wanted host:port or :port",
            ),
            (
                word("example.org").socket_addr(53).unwrap_err(),
                "must specify an IP address: \"example.org\"; wanted an IP address, or one with a port",
            ),
            (word("1.2.3").ip().unwrap_err(), "not an IP address: \"1.2.3\"; wanted an IP address"),
            (
                word("10/8").cidr().unwrap_err(),
                "invalid CIDR \"10/8\"; wanted an address range such as 10.0.0.0/8",
            ),
            (
                word("a..b").zones().unwrap_err(),
                "zone is not a valid domain name: a..b; wanted a zone, or an address range for a reverse zone",
            ),
            (
                word("1.5").parse::<u8>("a byte").unwrap_err(),
                "\"1.5\": invalid digit found in string; wanted a byte",
            ),
        ] {
            assert_eq!(error.to_string(), format!("Corefile:2 - Error during parsing: {wanted}"));
            assert_eq!(error.at.text(), "option value");
        }
    }

    #[test]
    fn a_right_value_is_read() {
        assert_eq!(word("2s").duration_in(Duration::from_secs(2).., "more"), Ok(Duration::from_secs(2)));
        assert_eq!(word("65535").integer::<u16>(1..), Ok(65535));
        assert_eq!(word("two").choice(&[("one", 1), ("two", 2)]), Ok(2));
        assert_eq!(word("::1").socket_addr(53).map(|addr| addr.to_string()), Ok("[::1]:53".into()));
        assert_eq!(word("10.1.2.3").cidr().map(|net| net.to_string()), Ok("10.1.2.3/32".into()));
        assert_eq!(word("10.1.2.3/8").cidr().map(|net| net.to_string()), Ok("10.0.0.0/8".into()));
        assert_eq!(word("10.0.0.0/15").zones().map(|zones| zones.len()), Ok(2));
    }
}
