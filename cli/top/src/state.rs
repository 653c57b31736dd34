//! `/live/state`: version, routes, certificates, sources and problems.

use serde::Deserialize;

/// The state. Fields that a process does not send are empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    /// How many seconds it took to make.
    pub(crate) took: f64,
    pub(crate) version: String,
    pub(crate) pod: String,
    /// When the process started, in seconds since 1970.
    pub(crate) started: f64,
    pub(crate) problems: FirstOf<ShownProblem>,
    /// `null` without an ingress proxy.
    pub(crate) ingress: Option<ShownIngress>,
}

/// A list of which the first entries are sent.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct FirstOf<T> {
    pub(crate) total: usize,
    pub(crate) shown: Vec<T>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ShownProblem {
    pub(crate) severity: Option<String>,
    pub(crate) text: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ShownIngress {
    pub(crate) ingresses: usize,
    pub(crate) sources: Vec<ShownSource>,
    pub(crate) routes: FirstOf<ShownRoute>,
    pub(crate) certificates: Vec<ShownCertificate>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ShownSource {
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) objects: usize,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ShownRoute {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) ingress: Option<String>,
    pub(crate) service: Option<String>,
    /// Why all requests get 503.
    pub(crate) closed: Option<String>,
    pub(crate) endpoints: Option<Vec<String>>,
    pub(crate) canary: Option<ShownCanary>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ShownCanary {
    pub(crate) ingress: String,
    pub(crate) service: String,
    pub(crate) weight: u64,
    pub(crate) total: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ShownCertificate {
    pub(crate) host: String,
    pub(crate) secret: String,
    /// Seconds since 1970.
    pub(crate) expires: Option<f64>,
}
