//! Hosts by name, as nginx finds its servers: what a TLS handshake needs before there is a request.

use std::sync::Arc;

use cluster::CompactString;

use super::extra_names::NameKind;
use super::host::Host;
use super::route::Route;
use super::server_tls::ServerTls;
use super::{RouteMatch, RouteTable, wildcard};
use crate::client_certificate::ClientCertificateRules;
use crate::precedence::host_name;
use crate::problem::{Effect, RoutingProblem};

/// A host, as a name finds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundHost<'t> {
    pub(super) host: &'t Arc<Host>,
    /// The key of the host and why it was found, if the name is not its own.
    pub(super) extra_name: Option<(NameKind, &'t CompactString)>,
}

impl RouteTable {
    /// The host that has a name (lower case, without port); `None` for the catch-all. Hot: no allocation.
    pub(super) fn host_of(&self, name: &str) -> Option<FoundHost<'_>> {
        let name = Some(name).filter(|name| !name.starts_with('.') && !name.is_empty())?;
        let of_key = |key: &str| {
            let own = self.hosts.get(key).filter(|host| host.has_rules);
            own.map(|host| FoundHost { host, extra_name: None }).or_else(|| {
                let extra_name = self.names.get(key)?;
                Some(FoundHost { host: self.hosts.get(extra_name.1)?, extra_name: Some(extra_name) })
            })
        };
        of_key(name).or_else(|| of_key(wildcard(name)?))
    }

    /// The settings of TLS connections to a name, and whether a host has the name. Without one they are those of the catch-all. Hot: no
    /// allocation.
    pub fn server_tls(&self, name: Option<&str>) -> (Option<&Arc<ServerTls>>, bool) {
        let found = name.and_then(|name| self.host_of(name));
        let host = found.map_or(&self.catch_all, |found| found.host);
        let is_counterpart =
            found.and_then(|found| found.extra_name).is_some_and(|name| name.0 == NameKind::Counterpart);
        (host.server_tls.settings.as_ref().filter(|_| !is_counterpart), found.is_some())
    }

    /// The route of connections to a name that are passed through without being decrypted. As in ingress-nginx the name is exactly that
    /// of a host.
    pub fn passthrough(&self, name: &str) -> Option<&Arc<Route>> {
        let host =
            self.hosts.get(name).filter(|host| host.server_tls.passthrough && !name.starts_with('.'))?;
        Some(&host.root).filter(|root| root.service.is_some())
    }

    /// The host whose certificate is served for a name of a client if it covers the name: the host of an alias or of a redirect from
    /// or to `www.`. Hot: no allocation.
    pub fn certificate_host(&self, name: &str) -> Option<&str> {
        self.host_of(name)?.extra_name.map(|(_, host)| host.as_str())
    }

    /// The further names of hosts that lead nowhere because another host has them.
    pub(super) fn name_problems(&self) -> impl Iterator<Item = RoutingProblem> {
        self.names.iter().flat_map(move |(name, claims)| {
            let has_rules = self.hosts.get(name).is_some_and(|host| host.has_rules);
            let lost = claims.iter().skip(usize::from(!has_rules));
            lost.filter_map(move |(kind, key)| {
                let ingress = &self.hosts.get(key)?.owner_of(*kind)?.ingress.key;
                let name = host_name(name);
                let what = match claims.first() {
                    Some((_, first)) if !has_rules => {
                        format!("{name} leads to host {} already", host_name(first))
                    }
                    _ => format!("host {name} has rules of its own"),
                };
                let field = match kind {
                    NameKind::Counterpart => "from-to-www-redirect",
                    NameKind::Alias => "server-alias",
                };
                Some(RoutingProblem::of_ingress(ingress, field, what, Effect::Ignored))
            })
        })
    }
}

impl<'t> RouteMatch<'t> {
    /// The client certificates of the host.
    pub fn client_auth(&self) -> Option<&'t Arc<ClientCertificateRules>> {
        let is_counterpart = self.extra_name.is_some_and(|(kind, _)| kind == NameKind::Counterpart);
        self.host.server_tls.settings.as_ref().filter(|_| !is_counterpart)?.client_auth.as_ref()
    }

    /// The key of the host whose certificate is also that of the requested name, if it covers it: the name is an alias.
    pub fn alias_of(&self) -> Option<&'t str> {
        self.extra_name.filter(|(kind, _)| *kind == NameKind::Alias).map(|(_, host)| host.as_str())
    }

    /// Requests are not redirected to https although the host has a certificate: it does not cover the requested name.
    #[must_use]
    pub fn without_certificate(self) -> Self {
        Self { certificate: false, ..self }
    }
}
