//! The certificates of a case.

use std::collections::BTreeMap;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::ocsp::OcspResponder;

/// A certificate with its key.
pub(super) struct CaseCertificate {
    /// The chain (PEM), the certificate itself first.
    pub(super) certificate: String,
    /// The key (PEM).
    pub(super) key: String,
    /// The certificate as DER.
    pub(super) der: CertificateDer<'static>,
    params: CertificateParams,
    /// Answers for the certificate as long as the case runs.
    _responder: Option<OcspResponder>,
}

/// The certificates of a case by name.
#[derive(Default)]
pub(super) struct CaseCertificates(BTreeMap<String, CaseCertificate>);

impl CaseCertificates {
    /// Makes the certificates that `certs` describes; a signer comes before what it signs.
    pub(super) fn make(certs: &Value) -> Result<CaseCertificates, String> {
        let mut made = CaseCertificates::default();
        for description in certs.as_array().into_iter().flatten() {
            let name = description["name"].as_str().ok_or("a certificate without a name")?;
            made.0.insert(
                name.to_owned(),
                made.issue(description).map_err(|error| format!("{name}: {error}"))?,
            );
        }
        Ok(made)
    }

    /// A certificate by its name.
    pub(super) fn get(&self, name: &str) -> Result<&CaseCertificate, String> {
        self.0.get(name).ok_or_else(|| format!("no certificate {name:?} in certs"))
    }

    fn issue(&self, description: &Value) -> Result<CaseCertificate, String> {
        let known =
            ["name", "cn", "dns", "signer", "is_ca", "expired", "usage", "key", "chain", "ocsp_responder"];
        super::known_keys(description, &known)?;
        let names = description["dns"].as_array().into_iter().flatten();
        let names: Vec<String> = names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
        let mut params = CertificateParams::new(names).map_err(|error| error.to_string())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, description["cn"].as_str().unwrap_or_default());
        if description["is_ca"] == true {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        }
        params.extended_key_usages = match description["usage"].as_str() {
            Some("client") => vec![ExtendedKeyUsagePurpose::ClientAuth],
            _ if description["is_ca"] == true => Vec::new(),
            _ => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        if description["expired"] == true {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let mut responder = None;
        if !description["ocsp_responder"].is_null() {
            let signer = self.get(description["signer"].as_str().ok_or("ocsp_responder without signer")?)?;
            let key = KeyPair::from_pem(&signer.key).map_err(|error| error.to_string())?;
            let started = OcspResponder::start(key).map_err(|error| format!("OCSP responder: {error}"))?;
            params.custom_extensions.push(net::ocsp::testing::responder_extension(started.url()));
            responder = Some(started);
        }
        let key = match description["key"].as_str() {
            Some("rsa2048") => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            _ => KeyPair::generate(),
        }
        .map_err(|error| error.to_string())?;
        let signer = match description["signer"].as_str() {
            Some(signer) => Some(self.get(signer)?),
            None => None,
        };
        let certificate = match signer {
            None => params.self_signed(&key),
            Some(signer) => {
                let signing = KeyPair::from_pem(&signer.key).map_err(|error| error.to_string())?;
                params.signed_by(&key, &Issuer::from_params(&signer.params, signing))
            }
        }
        .map_err(|error| error.to_string())?;
        let mut chain = certificate.pem();
        if let (Some(signer), true) = (signer, description["chain"] == true) {
            chain += &signer.certificate;
        }
        let der = certificate.der().clone();
        Ok(CaseCertificate {
            certificate: chain,
            key: key.serialize_pem(),
            der,
            params,
            _responder: responder,
        })
    }
}

impl CaseCertificate {
    /// The chain and the key as rustls takes them.
    pub(super) fn identity(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes());
        Ok((chain.map_err(|error| error.to_string())?, key.map_err(|error| error.to_string())?))
    }

    /// A TLS server with this certificate that requires a client certificate of `client_ca` if that is given.
    pub(super) fn server(&self, client_ca: Option<&CaseCertificate>) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der.clone()).map_err(|error| error.to_string())?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
            }
        };
        let (chain, key) = self.identity()?;
        builder.with_single_cert(chain, key).map(Arc::new).map_err(|error| error.to_string())
    }
}

/// The subject's common name.
pub(super) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}
