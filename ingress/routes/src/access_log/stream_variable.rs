//! nginx's variables of streams (`ngx_stream_core_module`, `ngx_stream_upstream_module`) that a line of the access log may have.

use super::variable::ProxyHeaderVariable;

/// A variable whose value is known when a stream or UDP session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamVariable {
    /// `$remote_addr`: the client; that of the PROXY header if the peer is trusted.
    RemoteAddress,
    /// `$binary_remote_addr`: 4 or 16 bytes.
    BinaryRemoteAddress,
    /// `$remote_port`.
    RemotePort,
    /// `$realip_remote_addr`: the peer.
    PeerAddress,
    /// `$realip_remote_port`.
    PeerPort,
    /// `$server_addr`: the address that the client connected to, as seen here.
    ServerAddress,
    /// `$server_port`.
    ServerPort,
    /// `$proxy_protocol_*`.
    ProxyHeader(ProxyHeaderVariable),
    /// `$protocol`: `TCP` or `UDP`.
    Protocol,
    /// `$status`: 200, 400 (no valid PROXY header), 500, 502 (no endpoint answers) or 503 (too many streams).
    Status,
    /// `$bytes_sent` to the client.
    BytesSent,
    /// `$bytes_received` from the client.
    BytesReceived,
    /// `$session_time`: seconds with milliseconds.
    SessionTime,
    /// `$time_local`: `21/Nov/2026:07:44:42 +0000`.
    LocalTime,
    /// `$time_iso8601`: `2026-11-21T07:44:42+00:00`.
    IsoTime,
    /// `$msec`: Unix time in seconds with milliseconds.
    UnixTime,
    /// `$connection`: its number.
    Connection,
    /// `$pid`.
    ProcessId,
    /// `$proxy_upstream_name`: `tcp-namespace-service-port`.
    UpstreamName,
    /// `$upstream_addr`: each endpoint that was tried.
    UpstreamAddress,
    /// `$upstream_bytes_sent` to each of them.
    UpstreamBytesSent,
    /// `$upstream_bytes_received`.
    UpstreamBytesReceived,
    /// `$upstream_connect_time`.
    UpstreamConnectTime,
    /// `$upstream_first_byte_time`.
    UpstreamFirstByteTime,
    /// `$upstream_session_time`.
    UpstreamSessionTime,
    /// A variable that no stream has here: `$ssl_*`, because streams are not decrypted.
    Absent,
}

impl StreamVariable {
    /// The variable of a name without its dollar sign. The case of the name does not matter, as in nginx.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        Some(match name.as_str() {
            "binary_remote_addr" => Self::BinaryRemoteAddress,
            "bytes_received" => Self::BytesReceived,
            "bytes_sent" => Self::BytesSent,
            "connection" => Self::Connection,
            "msec" => Self::UnixTime,
            "pid" => Self::ProcessId,
            "protocol" => Self::Protocol,
            "proxy_protocol_addr" => Self::ProxyHeader(ProxyHeaderVariable::SourceAddress),
            "proxy_protocol_port" => Self::ProxyHeader(ProxyHeaderVariable::SourcePort),
            "proxy_protocol_server_addr" => Self::ProxyHeader(ProxyHeaderVariable::DestinationAddress),
            "proxy_protocol_server_port" => Self::ProxyHeader(ProxyHeaderVariable::DestinationPort),
            "proxy_upstream_name" => Self::UpstreamName,
            "realip_remote_addr" => Self::PeerAddress,
            "realip_remote_port" => Self::PeerPort,
            "remote_addr" => Self::RemoteAddress,
            "remote_port" => Self::RemotePort,
            "server_addr" => Self::ServerAddress,
            "server_port" => Self::ServerPort,
            "session_time" => Self::SessionTime,
            "status" => Self::Status,
            "time_iso8601" => Self::IsoTime,
            "time_local" => Self::LocalTime,
            "upstream_addr" => Self::UpstreamAddress,
            "upstream_bytes_received" => Self::UpstreamBytesReceived,
            "upstream_bytes_sent" => Self::UpstreamBytesSent,
            "upstream_connect_time" => Self::UpstreamConnectTime,
            "upstream_first_byte_time" => Self::UpstreamFirstByteTime,
            "upstream_session_time" => Self::UpstreamSessionTime,
            _ if is_tls(&name) => Self::Absent,
            _ => return None,
        })
    }
}

/// Whether nginx's TLS module of streams has the variable.
fn is_tls(name: &str) -> bool {
    const PROPERTIES: &[&str] = &[
        "alpn_protocol",
        "cipher",
        "ciphers",
        "curve",
        "curves",
        "protocol",
        "server_name",
        "session_id",
        "session_reused",
        "preread_protocol",
        "preread_server_name",
        "preread_alpn_protocols",
        "client_verify",
        "client_s_dn",
        "client_i_dn",
        "client_serial",
        "client_fingerprint",
    ];
    name.strip_prefix("ssl_").is_some_and(|property| PROPERTIES.contains(&property))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_nginx() {
        for (name, variable) in [
            ("remote_addr", StreamVariable::RemoteAddress),
            ("Status", StreamVariable::Status),
            ("proxy_protocol_addr", StreamVariable::ProxyHeader(ProxyHeaderVariable::SourceAddress)),
            ("ssl_preread_server_name", StreamVariable::Absent),
        ] {
            assert_eq!(StreamVariable::parse(name), Some(variable), "{name}");
        }
        for unknown in
            ["", "request", "http_host", "ssl_", "ssl_client_cert", "upstream_status", "geoip_city_name"]
        {
            assert_eq!(StreamVariable::parse(unknown), None, "{unknown}");
        }
    }
}
