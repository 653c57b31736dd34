//! TLS configurations of HTTPS listeners: one for each combination of settings, not for each connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use ingress_routes::{CertificateInfo, ClientCertificateRules, ServerTls, TlsSettings};
use net::TlsError;
use net::session_cache::{ScopedSessions, SessionCache};
use net::session_tickets::{SessionTickets, random_secret};
use net::tls::{TlsOptions, server_config};
use rustls::ServerConfig;
use rustls::server::{ProducesTickets, ResolvesServerCert, StoresServerSessions};

use super::stapling::Stapling;
use crate::views::ProxyViews;

/// The most configurations that are kept. Beyond it they are made again when they are needed; sessions are kept apart from them.
const MAX_CONFIGURATIONS: usize = 1024;

/// The configurations of all HTTPS listeners. The workers share them and the sessions.
pub(crate) struct TlsServers {
    certificates: Arc<dyn ResolvesServerCert>,
    sessions: Arc<SessionCache>,
    /// The secret of session tickets without `ssl-session-ticket-key`.
    ticket_secret: [u8; 48],
    /// The lock is taken once a handshake, which costs a thousand times as much.
    configurations: Mutex<Configurations>,
    /// The self-signed certificate, which is served if no Secret has one for a name.
    pub(crate) self_signed: Option<CertificateInfo>,
}

#[derive(Default)]
struct Configurations {
    /// The settings that they were made for.
    settings: Option<Arc<TlsSettings>>,
    by_key: HashMap<ConfigurationKey, Arc<ServerConfig>, RandomState>,
}

/// What configurations differ in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct ConfigurationKey {
    http2: bool,
    /// Certificate authorities of clients. They are also the scope of sessions: one that began without a certificate is not resumed
    /// where one is asked for.
    authorities: Option<[u8; 32]>,
    ciphers: Option<Arc<[u16]>>,
    prefers_client_order: bool,
}

impl TlsServers {
    pub(crate) fn new(views: &ProxyViews, stapling: Arc<Stapling>) -> Result<Self, TlsError> {
        let own = net::certificate::self_signed(std::time::SystemTime::now())?;
        let self_signed = own.cert.first().and_then(|certificate| CertificateInfo::of(certificate));
        let (certs, table) = (views.certs.clone(), views.table.clone());
        let certificates = net::tls::by_name(move |name| {
            let (certs, table) = (certs.load(), table.load());
            if table.server().tls.rejects_unknown_names && !table.server_tls(name).1 {
                return None;
            }
            let of_host = name.and_then(|name| Some((name, table.certificate_host(name)?)));
            let found = of_host.map_or_else(|| certs.find(name), |(name, host)| certs.find_for(name, host));
            match found {
                Some(found) if stapling.is_on() => Some(stapling.served(found)),
                found => Some(found.cloned().unwrap_or_else(|| own.clone())),
            }
        });
        let servers = Self {
            certificates,
            sessions: Arc::new(SessionCache::default()),
            ticket_secret: random_secret(),
            configurations: Mutex::default(),
            self_signed,
        };
        // Reports now what every handshake would fail with.
        servers.configuration(&Arc::default(), true, None)?;
        Ok(servers)
    }

    /// The configuration for a new connection to a host.
    pub(crate) fn configuration(
        &self,
        settings: &Arc<TlsSettings>,
        http2: bool,
        host: Option<&ServerTls>,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let client_auth = host.and_then(|host| host.client_auth.as_deref()).filter(|auth| auth.asks());
        let key = ConfigurationKey {
            http2,
            authorities: client_auth.map(|auth| *auth.authority.fingerprint()),
            ciphers: host.and_then(|host| host.ciphers.clone()).or_else(|| settings.ciphers.clone()),
            prefers_client_order: host.and_then(|host| host.prefers_server_ciphers) == Some(false),
        };
        let mut known = self.configurations.lock().unwrap_or_else(PoisonError::into_inner);
        if known.settings.as_ref() != Some(settings) {
            self.sessions.set_lifetime(settings.session_timeout);
            *known = Configurations { settings: Some(settings.clone()), ..Configurations::default() };
        }
        if let Some(configuration) = known.by_key.get(&key) {
            return Ok(configuration.clone());
        }
        let configuration = self.make(settings, &key, client_auth)?;
        if known.by_key.len() >= MAX_CONFIGURATIONS {
            known.by_key.clear();
        }
        known.by_key.insert(key, configuration.clone());
        Ok(configuration)
    }

    fn make(
        &self,
        settings: &TlsSettings,
        key: &ConfigurationKey,
        client_auth: Option<&ClientCertificateRules>,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let scope = key.authorities.unwrap_or_default();
        let sessions = || -> Arc<dyn StoresServerSessions> {
            Arc::new(ScopedSessions::new(self.sessions.clone(), scope))
        };
        let secret = settings.ticket_key.as_ref().map_or(&self.ticket_secret[..], |key| key.bytes());
        let tickets = || SessionTickets::new(secret, &scope, settings.session_timeout);
        let tickets = settings.session_tickets.then(tickets).flatten();
        let mut alpn = vec![net::tls::HTTP1.to_vec()];
        if key.http2 {
            alpn.insert(0, net::tls::H2.to_vec());
        }
        let options = TlsOptions {
            alpn,
            versions: settings.versions.supported(),
            ciphers: key.ciphers.clone(),
            groups: settings.groups.clone(),
            prefers_client_order: key.prefers_client_order,
            client_authorities: client_auth.map(|auth| auth.authority.names().clone()),
            sessions: settings.session_cache.then(sessions),
            tickets: tickets.map(|tickets| -> Arc<dyn ProducesTickets> { Arc::new(tickets) }),
        };
        server_config(options, self.certificates.clone())
    }
}

#[cfg(test)]
mod tests {
    use cluster::{Cache, Current};
    use ingress_routes::{CertIndex, GeoDatabases, PoolIndex, RouteIndex, RouteOptions, StreamIndex};

    use super::*;

    #[test]
    fn connections_with_the_same_settings_share_a_configuration() {
        let (mut cluster, options) = <(Cache, RouteOptions)>::default();
        let views = ProxyViews {
            table: cluster.project(RouteIndex::new(options.clone())),
            pools: cluster.project(PoolIndex::new(options.clone())),
            certs: cluster.project(CertIndex::new(options.clone())),
            streams: cluster.project(StreamIndex::new(options)),
            geo: Current::new(GeoDatabases::default()),
        };
        let stapling = Stapling::new(views.certs.clone(), false, false, Arc::new(|_| {}));
        let servers = TlsServers::new(&views, stapling).unwrap();
        let (settings, host) = (Arc::<TlsSettings>::default(), ServerTls::default());
        let plain = servers.configuration(&settings, true, None).unwrap();
        let same = servers.configuration(&Arc::default(), true, Some(&host)).unwrap();
        assert!(Arc::ptr_eq(&plain, &same), "equal settings");
        let http1 = servers.configuration(&settings, false, None).unwrap();
        assert!(!Arc::ptr_eq(&plain, &http1));
        for number in 0..2 * MAX_CONFIGURATIONS as u16 {
            let host = ServerTls { ciphers: Some([0xc02f, number].into()), ..ServerTls::default() };
            servers.configuration(&settings, true, Some(&host)).unwrap();
            assert!(servers.configurations.lock().unwrap().by_key.len() <= MAX_CONFIGURATIONS);
        }
        let other = Arc::new(TlsSettings { session_cache: false, ..TlsSettings::default() });
        let changed = servers.configuration(&other, true, None).unwrap();
        assert_eq!((plain.send_tls13_tickets, changed.send_tls13_tickets), (2, 0));
        assert_eq!(servers.configurations.lock().unwrap().by_key.len(), 1);
    }
}
