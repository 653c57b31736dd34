//! The phases of a request.

/// A part of the handling of a request, in the order in which they follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before a rule is found: the connection, the client's address, the head of the request, what belongs to a host.
    Server,
    /// Redirects, rewrites and closed rules.
    Rewrite,
    /// Rates and numbers of requests.
    Limits,
    /// Who may send requests.
    Access,
    /// The choice of a Service and an endpoint.
    Balance,
    /// The request to the endpoint: its head, timeouts, other attempts.
    UpstreamRequest,
    /// The head of the response to the client.
    ResponseHead,
    /// Its body.
    ResponseBody,
    /// The access log.
    Log,
}

impl Phase {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Rewrite => "rewrite",
            Self::Limits => "limits",
            Self::Access => "access",
            Self::Balance => "balance",
            Self::UpstreamRequest => "upstream request",
            Self::ResponseHead => "response head",
            Self::ResponseBody => "response body",
            Self::Log => "log",
        }
    }
}
