//! Where the API server is and how to be let in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use telemetry::causes;
use tower::{BoxError, ServiceBuilder};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection is probed after so much silence, then every [`PROBE`]; after four probes without an answer it is dead.
/// With these a server whose machine is gone is noticed after 35 seconds.
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
    /// The service account of the Pod that this runs in. The address comes from the environment, never from DNS,
    /// which may be us. The token is read again once a minute, the authority likewise.
    InCluster,
    /// An address, `https://10.0.0.1:6443` (`endpoint` of CoreDNS's `kubernetes`, `--apiserver-host`).
    Endpoint {
        /// The address; `http://` where no scheme is given.
        url: String,
        /// With which certificates (`tls CERT KEY CACERT`, `--certificate-authority`).
        tls: ClientTls,
    },
}

/// Certificates for an endpoint, as PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Our own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The authority of the server; the system's where there is none.
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
    /// This does not run in a Pod with a service account.
    InCluster(String),
    /// The address of the endpoint is not one.
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
                    "no service account, as a Pod has one: {error}; elsewhere name a kubeconfig or an endpoint"
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

/// A client that retries nothing by itself, and the host it talks to.
pub(super) async fn client(access: &Access) -> Result<(Client, String), AccessError> {
    let config = config(access).await?;
    let host = config.cluster_url.authority().map(ToString::to_string).unwrap_or_default();
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(PROBE));
    connector.set_keepalive_retries(Some(4));
    let unusable = |error: kube::Error| AccessError::Credentials(causes(&error));
    let connector = config.rustls_https_connector_with_connector(connector).map_err(unusable)?;
    // Our own stack rather than `Client::try_from`: that one has no keep-alive to set, and it retries refused requests
    // up to fifteen times before anybody hears of them.
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(unusable)?)
        .layer(config.extra_headers_layer().map_err(unusable)?)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector));
    Ok((Client::new(service, config.default_namespace), host))
}

async fn config(access: &Access) -> Result<Config, AccessError> {
    match access {
        Access::Kubeconfig { file, context } => {
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            let bad = |error: KubeconfigError| AccessError::Kubeconfig {
                file: file.clone(),
                error: match &error {
                    // It names the file in quotes of its own, which one that was given is already.
                    KubeconfigError::ReadConfig(error, _) if file.is_some() => error.to_string(),
                    KubeconfigError::ReadConfig(error, file) => format!("{}: {error}", file.display()),
                    error => causes(error),
                },
            };
            match file {
                Some(file) => {
                    let read = Kubeconfig::read_from(file).map_err(bad)?;
                    Config::from_custom_kubeconfig(read, &options).await.map_err(bad)
                }
                None => Config::from_kubeconfig(&options).await.map_err(bad),
            }
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
        // The file is read again from time to time, so an authority may change while we run.
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
