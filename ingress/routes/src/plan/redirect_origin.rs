//! Scheme, host and port of redirects within a host.

use crate::exchange::{Exchange, RequestScheme};

/// How redirects to a path of the same host become absolute URLs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectOrigin {
    /// They have the host without its port, as in nginx with `port_in_redirect off`.
    #[default]
    WithoutPort,
    /// They have the port of the listener, unless it is the default of the scheme (`use-port-in-redirects`).
    WithPort {
        /// `--http-port`.
        http: u16,
        /// `--https-port`.
        https: u16,
    },
    /// They are paths (`relative-redirects`).
    Relative,
}

impl RedirectOrigin {
    /// The Location of a redirect to a path; other locations as they are.
    pub(crate) fn absolute(self, location: String, exchange: &Exchange) -> String {
        if location.starts_with('/') { self.of(exchange) + &location } else { location }
    }

    /// What precedes the path of a redirect.
    pub(crate) fn of(self, exchange: &Exchange) -> String {
        let (scheme, host) = (exchange.scheme, exchange.host());
        let port = match (self, scheme) {
            (Self::Relative, _) => return String::new(),
            (Self::WithPort { http, .. }, RequestScheme::Http) if http != 80 => Some(http),
            (Self::WithPort { https, .. }, RequestScheme::Https) if https != 443 => Some(https),
            _ => None,
        };
        let scheme = scheme.as_str();
        port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}"))
    }
}
