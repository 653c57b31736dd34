//! The server name and the certificates that a client sent in its TLS handshake.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ingress_routes::{ClientCertificate, ClientCertificateRules};
use rustls::pki_types::{CertificateDer, UnixTime};

/// The server name and the certificates of a client.
pub(crate) struct ClientHandshake {
    /// The server name (SNI), if a host has it.
    server_name: Option<Box<str>>,
    /// The rules by which the handshake has asked for a certificate.
    asked: Option<Arc<ClientCertificateRules>>,
    /// The certificate of the client, and those of its issuers; empty if it has sent none.
    chain: Box<[CertificateDer<'static>]>,
    /// The result of the last check, and the rules that were checked.
    checked: RefCell<Option<(Arc<ClientCertificateRules>, Arc<ClientCertificate>)>>,
}

impl ClientHandshake {
    pub(crate) fn new(
        server_name: Option<Box<str>>,
        client_auth: Option<Arc<ClientCertificateRules>>,
        chain: Option<&[CertificateDer<'_>]>,
    ) -> Self {
        let chain = chain.into_iter().flatten().map(|certificate| certificate.clone().into_owned());
        let asked = client_auth.filter(|auth| auth.asks());
        Self { server_name, asked, chain: chain.collect(), checked: RefCell::default() }
    }

    /// What is known about the certificate by the rules of a host. `None` if the handshake was one for other rules: the client has to
    /// open another connection (421). Verifies the certificate once, and again when the rules have changed.
    pub(crate) fn certificate(
        &self,
        rules: &Arc<ClientCertificateRules>,
        host: &str,
    ) -> Option<Arc<ClientCertificate>> {
        if !self.is_negotiated(rules, host) {
            return None;
        }
        let mut checked = self.checked.borrow_mut();
        if let Some((known, certificate)) = &*checked
            && Arc::ptr_eq(known, rules)
        {
            return Some(certificate.clone());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let certificate = Arc::new(rules.check(&self.chain, UnixTime::since_unix_epoch(now)));
        *checked = Some((rules.clone(), certificate.clone()));
        Some(certificate)
    }

    /// The certificate of the client in DER, whether it was verified or not.
    pub(crate) fn der(&self) -> Option<&[u8]> {
        self.chain.first().map(|certificate| &**certificate)
    }

    fn is_negotiated(&self, rules: &ClientCertificateRules, host: &str) -> bool {
        match &self.asked {
            _ if !rules.asks() => true,
            // The rules of the same host may have changed since.
            Some(asked) => asked.negotiates_as(rules) || self.server_name.as_deref() == Some(host),
            // As in nginx, a client that names no host has no certificate.
            None => self.server_name.is_none(),
        }
    }
}
