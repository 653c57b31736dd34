//! TLS settings of a host, from its Ingresses.

use std::sync::Arc;

use super::ingress_list::IngressList;
use super::location::BuildContext;
use crate::annotations::{AuthTls, HOSTS_CLOSED, HostConnections, foreign_error};
use crate::client_certificate::ClientCertificateRules;
use crate::problem::{Effect, RoutingProblem};

/// How TLS connections to a host are opened, where it differs from other hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerTls {
    /// `auth-tls-*` of its first Ingress with `auth-tls-secret`.
    pub client_auth: Option<Arc<ClientCertificateRules>>,
    /// `ssl-ciphers` of its first Ingress that has it: IANA's numbers.
    pub ciphers: Option<Arc<[u16]>>,
    /// `ssl-prefer-server-ciphers` of its first Ingress that has it.
    pub prefers_server_ciphers: Option<bool>,
}

/// The settings of a host with their problems.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct HostTls {
    /// `None` if no Ingress sets anything.
    pub(super) settings: Option<Arc<ServerTls>>,
    /// TLS connections to it are passed through to the endpoints of its path `/`.
    pub(super) passthrough: bool,
    /// Every request gets 403: the certificates of clients cannot be verified.
    pub(super) is_closed: bool,
    pub(super) problems: Box<[RoutingProblem]>,
}

impl HostTls {
    pub(super) fn of(members: &IngressList, context: &BuildContext<'_>) -> Self {
        let mut host = Self::default();
        let mut settings = ServerTls::default();
        let mut problems = Vec::new();
        for parsed in members.all(|traits| traits.tls_settings) {
            if let Some(HostConnections { suites, prefers_server, passthrough }) =
                parsed.settings.values.get()
            {
                settings.ciphers = settings.ciphers.take().or_else(|| suites.clone());
                if *passthrough && !context.options.ssl_passthrough {
                    let field = format!("{}/ssl-passthrough", context.options.annotations_prefix);
                    let what = "needs --enable-ssl-passthrough; TLS ends at the proxy";
                    problems.push(RoutingProblem::of_ingress(
                        &parsed.ingress.key,
                        field,
                        what,
                        Effect::Differs,
                    ));
                }
                settings.prefers_server_ciphers = settings.prefers_server_ciphers.or(*prefers_server);
            }
            let Some(AuthTls { secret, rule }) = parsed.settings.values.get::<AuthTls>() else { continue };
            let ingress = &parsed.ingress.key;
            let foreign = secret
                .as_ref()
                .and_then(|secret| foreign_error(context.globals.values(), ingress, "Secret", secret));
            let is_foreign = foreign.is_some();
            if let Some(what) = foreign {
                let field = format!("{}/auth-tls-secret", context.options.annotations_prefix);
                let what = format!("{what}; {HOSTS_CLOSED}");
                problems.push(RoutingProblem::of_ingress(ingress, field, what, Effect::ClosesOthers));
            }
            // The first Ingress decides, whatever is wrong with the Secret of another one.
            if host.is_closed || settings.client_auth.is_some() {
                continue;
            }
            match rule {
                Ok(rule) if !is_foreign => settings.client_auth = Some(rule.clone()),
                _ => host.is_closed = true,
            }
        }
        let first = members.first(|traits| traits.makes_hosts);
        let first = first.and_then(|parsed| parsed.settings.values.get::<HostConnections>());
        host.passthrough = context.options.ssl_passthrough && first.is_some_and(|first| first.passthrough);
        host.problems = problems.into();
        host.settings = (settings != ServerTls::default()).then(|| Arc::new(settings));
        host
    }
}
