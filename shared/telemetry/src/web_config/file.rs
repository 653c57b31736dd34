//! The contents of a web configuration file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::SignedDuration;
use serde::de::{Error as _, IntoDeserializer};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{MessageFormatter, UserMessageFormatter};

/// The file. Every section is optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WebConfig {
    /// TLS settings; connections are plain if not given.
    #[serde(rename = "tls_server_config", deserialize_with = "or_default")]
    pub tls: TlsServerConfig,
    #[serde(rename = "http_server_config", deserialize_with = "or_default")]
    http: HttpServerConfig,
    /// The rate limit of requests.
    #[serde(rename = "rate_limit", deserialize_with = "or_default")]
    pub rate: RateLimit,
    /// Users and the bcrypt hashes of their passwords. If empty, no password is required.
    #[serde(rename = "basic_auth_users", deserialize_with = "or_default")]
    pub users: BTreeMap<String, String>,
}

/// `tls_server_config`. File names are relative to the folder of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsServerConfig {
    #[serde(deserialize_with = "or_default")]
    cert: String,
    #[serde(deserialize_with = "or_default")]
    key: String,
    #[serde(deserialize_with = "or_default")]
    client_ca: String,
    #[serde(deserialize_with = "or_default")]
    cert_file: String,
    #[serde(deserialize_with = "or_default")]
    key_file: String,
    #[serde(deserialize_with = "or_default")]
    client_ca_file: String,
    /// Whether a client must present a certificate.
    #[serde(deserialize_with = "unless_empty")]
    pub client_auth_type: Option<ClientAuth>,
    /// A client's certificate must contain one of these names.
    pub client_allowed_sans: Option<Vec<String>>,
    /// Cipher suites of TLS 1.2 by Go's names; all if empty.
    #[serde(deserialize_with = "or_default")]
    pub cipher_suites: Vec<String>,
    /// Key exchange groups in order of preference; the library's default if empty.
    #[serde(deserialize_with = "or_default")]
    pub curve_preferences: Vec<Curve>,
    /// TLS 1.2 if not given.
    pub min_version: Option<TlsVersion>,
    /// TLS 1.3 if not given.
    pub max_version: Option<TlsVersion>,
    /// Whether the server's order of cipher suites decides; true if not given.
    pub prefer_server_cipher_suites: Option<bool>,
}

/// Go's `tls.ClientAuthType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[allow(clippy::enum_variant_names, reason = "Go's names")]
pub(super) enum ClientAuth {
    NoClientCert,
    RequestClientCert,
    #[serde(alias = "RequireClientCert")]
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

/// Versions of TLS as the file names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) enum TlsVersion {
    #[serde(rename = "TLS10")]
    Tls10,
    #[serde(rename = "TLS11")]
    Tls11,
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

/// Curves as the file names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Curve {
    #[serde(rename = "CurveP256")]
    P256,
    #[serde(rename = "CurveP384")]
    P384,
    #[serde(rename = "CurveP521")]
    P521,
    X25519,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HttpServerConfig {
    /// Accepted without effect: admin listeners support HTTP/1.1 only.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    headers: BTreeMap<String, String>,
}

/// `rate_limit`: a token bucket of `burst` tokens, with one token added per `interval`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RateLimit {
    /// Zero for no limit.
    #[serde(deserialize_with = "go_duration")]
    pub interval: Duration,
    /// Requests in a burst; zero refuses all.
    pub burst: i64,
}

/// Certificate, key and CA certificates of clients, in PEM.
#[derive(Debug, PartialEq)]
pub(super) struct PemFiles {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
    pub authorities: Option<Vec<u8>>,
}

/// Headers that may be set, with their allowed values (empty: any value).
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

impl WebConfig {
    /// Reads a file. The error contains the file, and the line if it is known.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        let web = serde_saphyr::from_str::<Option<Self>>(&text).map_err(|error| {
            let line = error.location().map_or(1, |at| at.line());
            let message = UserMessageFormatter.format_message(error.without_snippet()).into_owned();
            format!("{name}:{line}: {message}")
        })?;
        let web = web.unwrap_or_default();
        web.headers().map_err(|error| format!("{name}: {error}"))?;
        for (user, hash) in &web.users {
            bcrypt::HashParts::from_str(hash).map_err(|_| {
                format!("{name}: basic_auth_users: the password of {user:?} is not a bcrypt hash")
            })?;
        }
        Ok(web)
    }

    /// The headers of every response.
    pub(super) fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.http.headers {
            let Some((_, values)) = HEADERS.iter().find(|(known, _)| known == name) else {
                let known = HEADERS.map(|(name, _)| name).join(", ");
                return Err(format!("headers: {name:?} cannot be set, only {known}"));
            };
            if !values.is_empty() && !values.contains(&value.as_str()) {
                return Err(format!("headers: {name} should be {}, not {value:?}", values.join(" or ")));
            }
            let bad = |_| format!("headers: {name}: {value:?} is not a valid header value");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("headers: {name:?}"))?;
            headers.insert(name, HeaderValue::from_str(value).map_err(bad)?);
        }
        Ok(headers)
    }
}

impl TlsServerConfig {
    /// Whether the file asks for TLS.
    pub(super) fn is_wanted(&self) -> bool {
        let texts =
            [&self.cert, &self.key, &self.client_ca, &self.cert_file, &self.key_file, &self.client_ca_file];
        texts.iter().any(|text| !text.is_empty()) || self.client_auth_type.is_some()
    }

    /// Reads the files that it refers to. `file` is the path of the configuration file.
    pub(super) fn pem_files(&self, file: &Path) -> Result<PemFiles, String> {
        let folder = file.parent().unwrap_or(Path::new(""));
        let read = |path: &str, text: &str, option: &str| match (path, text) {
            ("", "") => Ok(None),
            ("", text) => Ok(Some(text.as_bytes().to_vec())),
            (path, _) => {
                let path: PathBuf = folder.join(path);
                let read = std::fs::read(&path);
                read.map(Some).map_err(|error| format!("{option}: {}: {error}", path.display()))
            }
        };
        Ok(PemFiles {
            certificate: read(&self.cert_file, &self.cert, "cert_file")?
                .ok_or("tls_server_config needs cert or cert_file")?,
            key: read(&self.key_file, &self.key, "key_file")?
                .ok_or("tls_server_config needs key or key_file")?,
            authorities: read(&self.client_ca_file, &self.client_ca, "client_ca_file")?,
        })
    }
}

/// Treats null as absent, as Go does.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn unless_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ClientAuth>, D::Error> {
    match Option::<String>::deserialize(from)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => ClientAuth::deserialize(text.into_deserializer()).map(Some),
    }
}

/// A duration such as `1m30s`, or a number of nanoseconds.
fn go_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    if let Ok(nanoseconds) = text.parse() {
        return Ok(Duration::from_nanos(nanoseconds));
    }
    let bad = |error| D::Error::custom(format!("time: invalid duration {text:?}: {error}"));
    let duration: SignedDuration = text.parse().map_err(bad)?;
    duration.try_into().map_err(D::Error::custom)
}
