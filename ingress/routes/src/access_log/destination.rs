//! Where the lines of the access log go.

/// Where the lines of the access log go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogDestination {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// A file with this absolute path.
    File(Box<str>),
    /// A syslog server.
    Syslog {
        /// Its name or address.
        host: Box<str>,
        /// Its port.
        port: u16,
    },
}

impl LogDestination {
    /// The destination of a path in the ConfigMap. nginx's log files are links to the standard outputs in ingress-nginx's image.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        match path {
            "/dev/stdout" | "/var/log/nginx/access.log" => Some(Self::Stdout),
            "/dev/stderr" | "/var/log/nginx/error.log" => Some(Self::Stderr),
            path if path.starts_with('/') && !path.ends_with('/') && !path.contains(char::is_whitespace) => {
                Some(Self::File(path.into()))
            }
            _ => None,
        }
    }
}

/// The least severe messages that the log of the proxy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorLogLevel {
    /// `debug`.
    Debug,
    /// `info` and `notice`.
    Info,
    /// `warn`.
    Warn,
    /// `error`, `crit`, `alert` and `emerg`.
    Error,
}

impl ErrorLogLevel {
    /// The level of a word of nginx.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "debug" => Self::Debug,
            "info" | "notice" => Self::Info,
            "warn" => Self::Warn,
            "error" | "crit" | "alert" | "emerg" => Self::Error,
            _ => return None,
        })
    }
}

/// The keys of the ConfigMap about outputs of logs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogOutputSettings {
    /// Of the lines of requests: `http-access-log-path`, else `access-log-path`; the server of `enable-syslog`.
    pub requests: LogDestination,
    /// Of the lines of streams: `stream-access-log-path`, else `access-log-path`; the server of `enable-syslog`.
    pub streams: LogDestination,
    /// `error-log-level`, if it is set.
    pub error_level: Option<ErrorLogLevel>,
    /// `enable-auth-access-log`: requests to authentication servers have lines.
    pub has_auth_requests: bool,
}
