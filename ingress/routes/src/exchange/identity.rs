//! The client of a request as seen behind load balancers: its address, and the scheme, host and port that it used.
//!
//! Follows nginx's `ngx_http_realip_module` (recursive) and ingress-nginx's `rewrite` for `X-Forwarded-*`.

use std::net::{IpAddr, SocketAddr};

use cluster::CompactString;
use http::HeaderName;

use super::{Exchange, HostSpan, RequestScheme};
use crate::identity_settings::IdentitySettings;

static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// The addresses in the PROXY header of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxiedConnection {
    /// The client.
    pub source: SocketAddr,
    /// The address that the client connected to.
    pub destination: SocketAddr,
}

/// The properties of the client. Those that are not set are those of the connection.
#[derive(Debug)]
pub(super) struct ClientIdentity {
    /// That of the PROXY header, or of the connection.
    connected: SocketAddr,
    client: SocketAddr,
    scheme: Option<CompactString>,
    /// With its port.
    authority: Option<CompactString>,
    port: Option<CompactString>,
}

impl ClientIdentity {
    pub(super) fn of(peer: SocketAddr) -> Self {
        Self { connected: peer, client: peer, scheme: None, authority: None, port: None }
    }
}

impl Exchange {
    /// Finds out who the client is. Hot: without PROXY protocol and trusted headers only two comparisons.
    pub fn identify(&mut self, settings: &IdentitySettings, proxied: Option<ProxiedConnection>) {
        let IdentitySettings { forwarded_headers, real_ip, proxy_protocol, .. } = *settings;
        let mut client = settings.connection_client(self.peer, proxied.map(|proxied| proxied.source));
        // As in nginx the addresses of a field come before the one in the PROXY header only with `use-forwarded-headers`. A PROXY header
        // may have no address (UNKNOWN, LOCAL), and a connection from before a change of `use-proxy-protocol` may have one nevertheless.
        let is_behind_proxy = proxy_protocol || proxied.is_some();
        let reads_addresses = forwarded_headers || real_ip && !is_behind_proxy;
        // Whatever a header says, it was added or checked by this peer.
        let is_trusted = (forwarded_headers || reads_addresses)
            && settings.trusts(self.peer)
            && (proxied.is_none() || settings.trusts(client));
        if is_trusted && reads_addresses {
            client = self.forwarded_client(client, settings);
        }
        self.identity.connected = proxied.map_or(self.peer, |proxied| proxied.source);
        self.identity.client = client;
        if is_trusted && forwarded_headers {
            self.identity.scheme = self.forwarded(&X_FORWARDED_PROTO, |_| true);
            self.identity.authority = self.forwarded_host();
            self.identity.port = self.forwarded(&X_FORWARDED_PORT, is_port);
        }
        if proxied.is_some_and(|proxied| proxied.destination.port() == 443) {
            self.identity.scheme = Some(RequestScheme::Https.as_str().into());
        }
    }

    /// The address that connected, whatever header fields say: the last one of `compute-full-forwarded-for`.
    pub fn connected_ip(&self) -> IpAddr {
        self.identity.connected.ip().to_canonical()
    }

    /// The client, with port 0 if a header without a port names it.
    pub fn client(&self) -> SocketAddr {
        self.identity.client
    }

    /// The address of the client (nginx's `$remote_addr`).
    pub fn client_ip(&self) -> IpAddr {
        self.identity.client.ip().to_canonical()
    }

    /// The scheme that the client used: of the connection, or as a trusted peer reports it, which may be any text
    /// (ingress-nginx's `$pass_access_scheme`).
    pub fn access_scheme(&self) -> &str {
        self.identity.scheme.as_deref().unwrap_or(self.scheme.as_str())
    }

    /// Host and port as the client sent them, or as a trusted peer reports them (ingress-nginx's `$best_http_host`).
    pub fn best_authority(&self) -> &str {
        self.identity.authority.as_deref().unwrap_or(self.authority())
    }

    /// The same without port and final dot.
    pub fn best_host(&self) -> &str {
        let Some(authority) = &self.identity.authority else { return self.host_as_sent() };
        &authority[..HostSpan::of(authority).map_or(authority.len(), |host| host.length)]
    }

    /// The port that the client connected to, if a trusted peer reports it.
    pub fn forwarded_port(&self) -> Option<&str> {
        self.identity.port.as_deref()
    }

    /// The client according to a header: its addresses are read from the right for as long as they are trusted.
    fn forwarded_client(&self, peer: SocketAddr, settings: &IdentitySettings) -> SocketAddr {
        let mut client = peer;
        // nginx stops at the first field that it cannot read, too.
        let mut fields: smallvec::SmallVec<[_; 4]> = self.header_values(&settings.forwarded_for).collect();
        while let Some(Some(field)) = fields.pop() {
            let addresses = field.rsplit([',', ' ', '\t']).filter(|item| !item.is_empty());
            for item in addresses {
                if !settings.trusts(client) {
                    return client;
                }
                let Some(address) = address(item) else { return client };
                client = address;
            }
        }
        client
    }

    fn forwarded(&self, name: &HeaderName, is_valid: impl Fn(&str) -> bool) -> Option<CompactString> {
        let value = self.header(name).map(str::trim).filter(|value| !value.is_empty())?;
        is_valid(value).then(|| value.into())
    }

    /// The first host of `X-Forwarded-Host`, if it is valid.
    fn forwarded_host(&self) -> Option<CompactString> {
        let host = self.header(&X_FORWARDED_HOST)?.split(',').next()?.trim();
        HostSpan::of(host).filter(|name| name.length > 0).map(|_| host.into())
    }
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An address with or without a port. IPv6 addresses with a port are in brackets.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().map(|ip| SocketAddr::new(ip, 0)).or_else(|_| text.parse());
    address.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::tests::get;

    /// Settings with these trusted networks.
    fn trusting(networks: &[&str]) -> IdentitySettings {
        let trusted = networks.iter().map(|network| network.parse().expect("a network")).collect();
        IdentitySettings { forwarded_headers: true, trusted, ..IdentitySettings::default() }
    }

    /// The client of a request from 192.0.2.7 with these values of X-Forwarded-For.
    fn client(settings: &IdentitySettings, proxied: Option<&str>, values: &[&str]) -> String {
        let headers: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
        let mut exchange = get("a.example/", &headers);
        let destination = SocketAddr::from(([192, 0, 2, 1], 80));
        let proxied = proxied
            .map(|source| ProxiedConnection { source: source.parse().expect("an address"), destination });
        exchange.identify(settings, proxied);
        exchange.client_ip().to_string()
    }

    #[test]
    fn addresses_are_read_from_the_right_while_they_are_trusted() {
        for (trusted, values, wanted) in [
            (&["0.0.0.0/0"][..], &[][..], "192.0.2.7"),
            (&["0.0.0.0/0"], &[""], "192.0.2.7"),
            (&["0.0.0.0/0"], &["1.2.3.4"], "1.2.3.4"),
            (&["0.0.0.0/0"], &["1.2.3.4, 5.6.7.8"], "1.2.3.4"),
            (&["0.0.0.0/0"], &["1.2.3.4,5.6.7.8 , 9.9.9.9 ,"], "1.2.3.4"),
            (&["0.0.0.0/0"], &["1.2.3.4", "5.6.7.8"], "1.2.3.4"),
            (&["0.0.0.0/0"], &["1.2.3.4, 2001:db8::1"], "2001:db8::1"),
            (&["0.0.0.0/0"], &["1.2.3.4:5678"], "1.2.3.4"),
            (&["0.0.0.0/0"], &["[2001:db8::1]:5678"], "2001:db8::1"),
            (&["0.0.0.0/0"], &["[2001:db8::1]"], "2001:db8::1"),
            (&["0.0.0.0/0"], &["unknown"], "192.0.2.7"),
            (&["0.0.0.0/0"], &["1.2.3.4, unknown"], "192.0.2.7"),
            (&["0.0.0.0/0"], &["unknown, 1.2.3.4"], "1.2.3.4"),
            (&["10.0.0.0/8"], &["1.2.3.4"], "192.0.2.7"),
            (&["192.0.2.0/24"], &["1.2.3.4"], "1.2.3.4"),
            (&["192.0.2.0/24"], &["1.2.3.4, 5.6.7.8"], "5.6.7.8"),
            (&["192.0.2.0/24"], &["1.2.3.4, 5.6.7.8, 192.0.2.1"], "5.6.7.8"),
            (&["192.0.2.0/24"], &["1.2.3.4, 192.0.2.2", "192.0.2.1"], "1.2.3.4"),
            (&["192.0.2.0/24"], &["1.2.3.4", "5.6.7.8", "192.0.2.1"], "5.6.7.8"),
            (&["192.0.2.0/24"], &["1.2.3.4, ::ffff:192.0.2.1"], "1.2.3.4"),
            (&[], &["1.2.3.4"], "192.0.2.7"),
        ] {
            assert_eq!(client(&trusting(trusted), None, values), wanted, "{trusted:?} {values:?}");
        }
    }

    #[test]
    fn the_address_in_the_proxy_header_is_the_first_one_on_the_right() {
        let everyone = IdentitySettings::default();
        let only_proxy = IdentitySettings { real_ip: true, ..everyone.clone() };
        let both = IdentitySettings { forwarded_headers: true, ..everyone.clone() };
        for (settings, values, wanted) in [
            (&everyone, &["1.2.3.4"][..], "203.0.113.5"),
            (&only_proxy, &["1.2.3.4"], "203.0.113.5"),
            (&both, &["1.2.3.4"], "1.2.3.4"),
            (&both, &[], "203.0.113.5"),
            (&trusting(&["192.0.2.7/32"]), &["1.2.3.4"], "203.0.113.5"),
            (&trusting(&["192.0.2.7/32", "203.0.113.0/24"]), &["1.2.3.4"], "1.2.3.4"),
            (&trusting(&["203.0.113.0/24"]), &["1.2.3.4"], "192.0.2.7"),
        ] {
            let client = client(settings, Some("203.0.113.5:4000"), values);
            assert_eq!(client, wanted, "{settings:?} {values:?}");
        }
    }

    #[test]
    fn a_proxy_header_without_an_address_does_not_make_the_field_believed() {
        let real_ip = IdentitySettings { real_ip: true, ..IdentitySettings::default() };
        let proxied = IdentitySettings { proxy_protocol: true, ..real_ip.clone() };
        let both = IdentitySettings { forwarded_headers: true, ..proxied.clone() };
        for (settings, wanted) in [(&real_ip, "1.2.3.4"), (&proxied, "192.0.2.7"), (&both, "1.2.3.4")] {
            assert_eq!(client(settings, None, &["1.2.3.4"]), wanted, "{settings:?}");
        }
    }

    #[test]
    fn only_trusted_peers_report_scheme_host_and_port() {
        let headers = [
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "Outer.example:8443, inner.example"),
            ("x-forwarded-port", "8443"),
        ];
        let read = |settings: &IdentitySettings| {
            let mut exchange = get("a.example:81/", &headers);
            exchange.identify(settings, None);
            let texts = [exchange.access_scheme(), exchange.best_authority(), exchange.best_host()];
            let [scheme, authority, host] = texts.map(str::to_owned);
            let port = exchange.forwarded_port().unwrap_or("-");
            format!("{} {scheme} {authority} {host} {port}", exchange.client_ip())
        };
        let (off, here) = (IdentitySettings::default(), "192.0.2.7 http a.example:81 a.example -");
        assert_eq!(read(&off), here);
        let trusted = "1.2.3.4 https Outer.example:8443 Outer.example 8443";
        assert_eq!(read(&trusting(&["0.0.0.0/0"])), trusted);
        assert_eq!(read(&trusting(&["10.0.0.0/8"])), here);
        let address_only = IdentitySettings { real_ip: true, ..off };
        assert_eq!(read(&address_only), "1.2.3.4 http a.example:81 a.example -");
    }

    #[test]
    fn values_that_cannot_be_used_are_ignored() {
        for (name, value) in [
            ("x-forwarded-proto", ""),
            ("x-forwarded-host", ""),
            ("x-forwarded-host", ", a.example"),
            ("x-forwarded-host", "a b"),
            ("x-forwarded-host", "evil.example/path"),
            ("x-forwarded-port", "http"),
            ("x-forwarded-port", "123456"),
        ] {
            let mut exchange = get("a.example/", &[(name, value)]);
            exchange.identify(&trusting(&["0.0.0.0/0"]), None);
            assert_eq!(exchange.access_scheme(), "http", "{name}: {value}");
            assert_eq!(exchange.best_authority(), "a.example", "{name}: {value}");
            assert_eq!(exchange.forwarded_port(), None, "{name}: {value}");
        }
    }

    #[test]
    fn port_443_in_the_proxy_header_means_https() {
        let mut exchange = get("a.example/", &[("x-forwarded-proto", "http")]);
        let source = "203.0.113.5:4000".parse().expect("an address");
        let destination = SocketAddr::from(([192, 0, 2, 1], 443));
        exchange.identify(&trusting(&["0.0.0.0/0"]), Some(ProxiedConnection { source, destination }));
        assert_eq!((exchange.access_scheme(), exchange.scheme), ("https", RequestScheme::Http));
    }
}
