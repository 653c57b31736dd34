//! The address of the API server and the credentials for it.

mod buffered;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::config::{AuthInfo, KubeConfigOptions};
use kube::{Client, Config};
use telemetry::causes;
use tower::{BoxError, ServiceBuilder};
use tracing::subscriber::{NoSubscriber, with_default};

use super::kubeconfig;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// TCP keep-alive: a silent connection is probed after this time, then every [`PROBE`], and is closed after four probes
/// without an answer. An unreachable machine is thus detected after 35 seconds.
const KEEPALIVE: Duration = Duration::from_secs(15);
const PROBE: Duration = Duration::from_secs(5);

/// How to reach an API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A kubeconfig: this file, or those of `KUBECONFIG`, or `~/.kube/config`.
    Kubeconfig {
        /// The file.
        file: Option<PathBuf>,
        /// The context; its `current-context` where none is named.
        context: Option<String>,
    },
    /// The service account of the Pod that this runs in. The address comes from the environment and never from DNS,
    /// which may be this process. Token and authority are read again once a minute.
    InCluster,
    /// An address, `https://10.0.0.1:6443` (`endpoint` of CoreDNS's `kubernetes`, `--apiserver-host`).
    Endpoint {
        /// The address; `http://` where no scheme is given.
        url: String,
        /// The certificates (`tls CERT KEY CACERT`, `--certificate-authority`).
        tls: ClientTls,
    },
}

/// Certificates for an endpoint, as PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The client certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The authority of the server's certificate; `None` for those of the system.
    pub authority: Option<PathBuf>,
}

/// Why access could not be prepared.
#[derive(Debug)]
pub enum AccessError {
    /// The kubeconfig cannot be used.
    Kubeconfig {
        /// The file, where one was named.
        file: Option<PathBuf>,
        /// What is wrong with it.
        error: String,
    },
    /// The process does not run in a Pod with a service account.
    InCluster(String),
    /// The address of the endpoint is invalid.
    Endpoint {
        /// The address as it was given.
        url: String,
        /// What is wrong with it.
        error: String,
    },
    /// A certificate, a key or a token cannot be used.
    Credentials(String),
}

impl std::fmt::Display for AccessError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kubeconfig { file: Some(file), error } => {
                write!(f, "kubeconfig {}: {error}", file.display())
            }
            Self::Kubeconfig { file: None, error } => write!(f, "kubeconfig: {error}"),
            Self::InCluster(error) => {
                write!(
                    f,
                    "no service account of a Pod: {error}; outside a Pod, configure a kubeconfig or an endpoint"
                )
            }
            Self::Endpoint { url, error } => {
                write!(f, "endpoint {url:?}: {error}; wanted an address such as https://10.0.0.1:6443")
            }
            Self::Credentials(error) => write!(f, "credentials for the API server: {error}"),
        }
    }
}

impl std::error::Error for AccessError {}

/// A client of the API server, and where that is.
pub(super) struct Connection {
    /// Retries nothing by itself.
    pub(super) client: Client,
    /// Scheme, host and port.
    pub(super) url: String,
    /// Host and port.
    pub(super) host: String,
    /// True when the server's certificate is not checked (`insecure-skip-tls-verify`).
    pub(super) unverified: bool,
}

/// Prepares a client. Does not connect.
pub(super) async fn connection(access: &Access) -> Result<Connection, AccessError> {
    let config = config(access).await?;
    let host = config.cluster_url.authority().map(ToString::to_string).unwrap_or_default();
    let url = format!("{}://{host}", config.cluster_url.scheme_str().unwrap_or("https"));
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(PROBE));
    connector.set_keepalive_retries(Some(4));
    let connector = ServiceBuilder::new().map_response(buffered::buffered).service(connector);
    let unusable = |error: kube::Error| AccessError::Credentials(causes(&error));
    // The library would log `Server cert bypassed` each time. The caller logs it once, by `unverified`.
    let connector = with_default(NoSubscriber::default(), || {
        config.rustls_https_connector_with_connector(connector).map_err(unusable)
    })?;
    // Not `Client::try_from`: it has no option for keep-alive, and it retries a rejected request up to fifteen times before
    // it returns an error.
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(unusable)?)
        .layer(config.extra_headers_layer().map_err(unusable)?)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector));
    let client = Client::new(service, config.default_namespace);
    Ok(Connection { client, url, host, unverified: config.accept_invalid_certs })
}

/// A client for single requests, which are not repeated. Does not connect.
///
/// # Errors
/// When the access cannot be prepared.
pub async fn client(access: &Access) -> Result<Client, AccessError> {
    connection(access).await.map(|connection| connection.client)
}

/// What to fix when the API server rejects the credentials, or its certificate is rejected, for reports.
#[derive(Clone, Debug, Default)]
pub(super) struct Remedy {
    /// When the server rejects the credentials.
    pub(super) credentials: String,
    /// When the server's certificate is rejected.
    pub(super) server_certificate: String,
}

impl Remedy {
    pub(super) fn new(access: &Access) -> Self {
        let (credentials, authority) = match access {
            Access::Kubeconfig { file, context } => {
                let file = file.as_ref().map_or("the kubeconfig".into(), |file| file.display().to_string());
                let of = context.as_ref().map(|context| format!(" for context {context}")).unwrap_or_default();
                (
                    format!("a token or client certificate in {file}{of} that is valid and not expired"),
                    format!("the certificate-authority in {file}"),
                )
            }
            Access::InCluster => (
                "a service account that exists, and its token under /var/run/secrets/kubernetes.io/serviceaccount"
                    .into(),
                "ca.crt of the service account".into(),
            ),
            Access::Endpoint { tls: ClientTls { identity, authority }, .. } => (
                identity.as_ref().map_or_else(
                    || "a kubeconfig with credentials: an endpoint alone has none".into(),
                    |(certificate, _)| format!("a valid client certificate in {}", certificate.display()),
                ),
                authority.as_ref().map_or("an authority of the system".into(), |file| file.display().to_string()),
            ),
        };
        let server_certificate =
            format!("a certificate for this host, signed by {authority} and not expired");
        Self { credentials, server_certificate }
    }
}

async fn config(access: &Access) -> Result<Config, AccessError> {
    match access {
        Access::Kubeconfig { file, context } => {
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            let bad = |error: String| AccessError::Kubeconfig { file: file.clone(), error };
            let read = kubeconfig::read(file.as_deref()).map_err(bad)?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(|error| bad(causes(&error)))
        }
        Access::InCluster => Config::incluster_env().map_err(|error| AccessError::InCluster(causes(&error))),
        Access::Endpoint { url, tls } => endpoint(url, tls),
    }
}

fn endpoint(url: &str, tls: &ClientTls) -> Result<Config, AccessError> {
    let bad = |error: String| AccessError::Endpoint { url: url.to_owned(), error };
    let address = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let parsed: http::Uri = address.parse().map_err(|error: http::uri::InvalidUri| bad(error.to_string()))?;
    if !matches!(parsed.scheme_str(), Some("http" | "https")) {
        return Err(bad("neither http nor https".into()));
    }
    let mut config = Config::new(parsed);
    if let Some(authority) = &tls.authority {
        readable(authority)?;
        // The library reads the file again periodically, so the authority may change at run time.
        config.root_cert_file = Some(authority.clone());
    }
    if let Some((certificate, key)) = &tls.identity {
        readable(certificate)?;
        readable(key)?;
        config.auth_info = AuthInfo {
            client_certificate: Some(certificate.display().to_string()),
            client_key: Some(key.display().to_string()),
            ..AuthInfo::default()
        };
    }
    Ok(config)
}

fn readable(path: &Path) -> Result<(), AccessError> {
    std::fs::File::open(path)
        .map(|_file| ())
        .map_err(|error| AccessError::Credentials(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests;
