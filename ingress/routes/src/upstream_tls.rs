//! TLS to endpoints (`proxy-ssl-*`): the client certificate, how endpoints are verified, versions and ciphers.

mod verifier;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use cluster::Secret;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, SupportedCipherSuite};

use self::verifier::EndpointVerifier;
use crate::certificate::LoadedCertificate;
use crate::settings::TlsVersions;

/// nginx's `$proxy_host` in ingress-nginx: the name that is sent and verified where `proxy-ssl-name` gives no other.
pub(crate) const DEFAULT_NAME: &str = "upstream_balancer";

/// How many TLS sessions are kept for resumption, of all endpoints with the same settings.
const SESSIONS: usize = 256;

/// The protocol that is offered by ALPN (RFC 7301) to endpoints of gRPC. As in nginx, none is offered to others.
const H2: &[u8] = b"h2";

/// The settings of TLS to endpoints; named as annotations.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UpstreamTlsSettings {
    /// `proxy-ssl-secret`: the client certificate (`tls.crt`, `tls.key`) and the trusted authorities (`ca.crt`).
    pub(crate) secret: Option<Arc<Secret>>,
    /// `proxy-ssl-verify`.
    pub(crate) verify: bool,
    /// `proxy-ssl-verify-depth`: how many intermediate certificates a chain may have.
    pub(crate) depth: usize,
    /// `proxy-ssl-name`.
    pub(crate) name: ServerName<'static>,
    /// `proxy-ssl-server-name`: the name is sent (SNI).
    pub(crate) sends_name: bool,
    /// `proxy-ssl-protocols`.
    pub(crate) versions: TlsVersions,
    /// `proxy-ssl-ciphers`: IANA's numbers of the suites of TLS 1.2 by preference; `None` for all that rustls has.
    pub(crate) ciphers: Option<Vec<u16>>,
}

/// Without `proxy-ssl-secret` the other annotations have no effect, as in ingress-nginx: endpoints are not verified and get no name.
impl Default for UpstreamTlsSettings {
    fn default() -> Self {
        Self {
            secret: None,
            verify: false,
            depth: 1,
            name: ServerName::try_from(DEFAULT_NAME).expect("a valid name"),
            sends_name: false,
            versions: TlsVersions::Both,
            ciphers: None,
        }
    }
}

/// TLS to endpoints. Equal values have the same settings, so that connections of one may be used for requests of another.
pub struct UpstreamTls {
    settings: UpstreamTlsSettings,
    hash: u64,
    plain: Arc<ClientConfig>,
    with_h2: Arc<ClientConfig>,
}

impl UpstreamTls {
    /// TLS without `proxy-ssl-secret`. Shared by all routes without one.
    pub(crate) fn unverified() -> Arc<Self> {
        static UNVERIFIED: LazyLock<Arc<UpstreamTls>> = LazyLock::new(|| {
            let settings = UpstreamTlsSettings::default();
            Arc::new(UpstreamTls::new(settings).expect("the built-in settings need no Secret"))
        });
        UNVERIFIED.clone()
    }

    /// # Errors
    /// When the Secret has no usable certificate, as a clause about it.
    pub(crate) fn new(settings: UpstreamTlsSettings) -> Result<Self, String> {
        let authorities = settings.secret.as_deref().map(authorities).transpose()?.unwrap_or_default();
        let identity = settings.secret.as_ref().map(identity).transpose()?.flatten();
        if let Some(secret) = &settings.secret {
            let name = &secret.key;
            if identity.is_none() && authorities.is_empty() {
                return Err(format!("Secret {name} has neither tls.crt and tls.key nor ca.crt"));
            }
            if settings.verify && authorities.is_empty() {
                return Err(format!("Secret {name} has no ca.crt to verify endpoints with"));
            }
        }
        let provider = Arc::new(CryptoProvider {
            cipher_suites: suites(settings.ciphers.as_deref()),
            ..aws_lc_rs::default_provider()
        });
        let verifier = EndpointVerifier::new(&settings, authorities, &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(settings.versions.supported())
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut plain = match identity {
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key)))
            }
            None => builder.with_no_client_auth(),
        };
        plain.enable_sni = settings.sends_name;
        plain.resumption = Resumption::in_memory_sessions(SESSIONS);
        let mut with_h2 = plain.clone();
        with_h2.alpn_protocols = vec![H2.to_vec()];
        let hash = hash(&settings);
        Ok(Self { settings, hash, plain: Arc::new(plain), with_h2: Arc::new(with_h2) })
    }

    /// The configuration of a connection.
    pub fn config(&self, is_h2: bool) -> &Arc<ClientConfig> {
        if is_h2 { &self.with_h2 } else { &self.plain }
    }

    /// The name of an endpoint for TLS. Without `proxy-ssl-server-name` its address, which is not sent: sessions of different
    /// endpoints are kept apart by it.
    pub fn server_name(&self, address: IpAddr) -> ServerName<'static> {
        if self.settings.sends_name {
            self.settings.name.clone()
        } else {
            ServerName::IpAddress(address.into())
        }
    }
}

/// The suites of TLS 1.3, which OpenSSL's lists do not name, and these of TLS 1.2.
fn suites(tls12: Option<&[u16]>) -> Vec<SupportedCipherSuite> {
    let all = aws_lc_rs::default_provider().cipher_suites;
    let Some(tls12) = tls12 else { return all };
    let named =
        tls12.iter().filter_map(|number| all.iter().find(|suite| u16::from(suite.suite()) == *number));
    all.iter().filter(|suite| suite.tls13().is_some()).chain(named).copied().collect()
}

/// The client certificate of a Secret. `None` if it has only authorities.
fn identity(secret: &Arc<Secret>) -> Result<Option<LoadedCertificate>, String> {
    if secret.certificate.is_empty() && secret.private_key.is_empty() {
        return Ok(None);
    }
    LoadedCertificate::new(secret).map(Some)
}

/// The authorities in `ca.crt`. Empty without the entry.
fn authorities(secret: &Secret) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(text) = secret.entry("ca.crt") else { return Ok(Vec::new()) };
    let name = &secret.key;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("Secret {name} has no certificate in ca.crt")),
        Err(error) => Err(format!("ca.crt of Secret {name} is not PEM: {error}")),
    }
}

fn hash(settings: &UpstreamTlsSettings) -> u64 {
    let UpstreamTlsSettings { secret, verify, depth, name, sends_name, versions, ciphers } = settings;
    let mut hasher = DefaultHasher::new();
    if let Some(secret) = secret {
        (&secret.certificate, &secret.private_key, &secret.other).hash(&mut hasher);
    }
    (verify, depth, name, sends_name, versions, ciphers).hash(&mut hasher);
    hasher.finish()
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.hash == other.hash && self.settings == other.settings
    }
}

impl Eq for UpstreamTls {}

impl Hash for UpstreamTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Shows the settings, and whether the Secret is the same, but never its data.
impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { settings, hash, .. } = self;
        f.debug_struct("UpstreamTls").field("settings", settings).field("hash", hash).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
