//! Command-line options that affect routes.

use cluster::{CompactString, Key, LabelSelector, PortRef};

use crate::settings::Defaults;

/// Options of the projections, named after ingress-nginx's flags.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteOptions {
    /// `--controller-class`: the `spec.controller` of our IngressClasses.
    pub controller_class: CompactString,
    /// `--ingress-class`: value of the annotation `kubernetes.io/ingress.class`, and the class name with by-name.
    pub ingress_class: CompactString,
    /// `--ingress-class-by-name`: an IngressClass of that name is ours, whatever controller it has.
    pub ingress_class_by_name: bool,
    /// `--watch-ingress-without-class`.
    pub watch_ingress_without_class: bool,
    /// Ingresses without a class are ours if one of our IngressClasses is the default. Only for manifests read from files: an
    /// API server writes the default class into the Ingress when it admits it.
    pub admit_default_class: bool,
    /// `--watch-namespace`: only Ingresses of this namespace.
    pub watch_namespace: Option<CompactString>,
    /// `--watch-namespace-selector`: only Ingresses of namespaces with such labels.
    pub namespace_selector: Option<LabelSelector>,
    /// `--configmap`: the ConfigMap with global settings.
    pub config_map: Option<Key>,
    /// `--annotations-prefix`.
    pub annotations_prefix: CompactString,
    /// `--default-backend-service`: gets the requests that no rule covers. Its first port is used.
    pub default_backend_service: Option<Key>,
    /// `--default-ssl-certificate`: a TLS Secret.
    pub default_ssl_certificate: Option<Key>,
    /// `--enable-ssl-passthrough`.
    pub ssl_passthrough: bool,
    /// `--disable-catch-all`: `spec.defaultBackend` of Ingresses without rules is not served.
    pub disable_catch_all: bool,
    /// `--disable-svc-external-name`: Services of type ExternalName have no endpoints.
    pub disable_svc_external_name: bool,
    /// The zone of the proxy's own node, with `--enable-topology-aware-routing`: endpoints with hints for other zones are left out.
    pub zone: Option<CompactString>,
    /// `--secrets=tls`: Secrets of other types than `kubernetes.io/tls` are not read.
    pub tls_secrets_only: bool,
    /// The port that every redirect to https has; `None` for a port only with `use-port-in-redirects`.
    pub port_in_redirects: Option<u16>,
    /// `--http-port`, for `from-to-www-redirect`.
    pub http_port: u16,
    /// `--https-port`, for `use-port-in-redirects` and `from-to-www-redirect`.
    pub https_port: u16,
    /// `--healthz-port`: with the two above the ports that no TCP or UDP service may have.
    pub health_port: u16,
    /// `--tcp-services-configmap`: the ConfigMap of TCP services.
    pub tcp_services: Option<Key>,
    /// `--udp-services-configmap`: the ConfigMap of UDP services.
    pub udp_services: Option<Key>,
    /// The settings that the ConfigMap and annotations change.
    pub defaults: Defaults,
}

impl RouteOptions {
    /// Why a Secret cannot be used that is not among those read.
    pub(crate) fn missing_secret(&self, named: impl std::fmt::Display) -> String {
        let others =
            ", or is not of the type kubernetes.io/tls; --secrets=tls (chart: secrets.mode) reads no others";
        format!("Secret {named} does not exist{}", if self.tls_secrets_only { others } else { "" })
    }
}

impl Default for RouteOptions {
    fn default() -> Self {
        Self {
            controller_class: "k8s.io/ingress-nginx".into(),
            ingress_class: "nginx".into(),
            ingress_class_by_name: false,
            watch_ingress_without_class: false,
            admit_default_class: false,
            watch_namespace: None,
            namespace_selector: None,
            config_map: None,
            annotations_prefix: "nginx.ingress.kubernetes.io".into(),
            default_backend_service: None,
            default_ssl_certificate: None,
            ssl_passthrough: false,
            disable_catch_all: false,
            disable_svc_external_name: false,
            zone: None,
            tls_secrets_only: false,
            port_in_redirects: None,
            http_port: 80,
            https_port: 443,
            health_port: 10254,
            tcp_services: None,
            udp_services: None,
            defaults: Defaults::default(),
        }
    }
}

/// Identifies a pool: a port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// The Service.
    pub service: Key,
    /// The port, as written in the backend.
    pub port: PortRef,
}

impl PoolKey {
    /// The first port of a Service that is a default backend. No rule of an Ingress refers to a port by the empty name.
    pub fn first_port(service: Key) -> Self {
        Self { service, port: PortRef::Name(CompactString::default()) }
    }

    /// Whether a port of a backend is that of [`Self::first_port`].
    pub(crate) fn is_first(port: &PortRef) -> bool {
        matches!(port, PortRef::Name(name) if name.is_empty())
    }

    /// `<namespace>-<service>-<port>`: the name of the upstream in logs, metrics and cookies.
    pub fn upstream_name(&self) -> CompactString {
        compact_str::format_compact!("{}-{}-{}", self.service.namespace, self.service.name, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_missing_may_be_of_a_type_that_is_not_read() {
        let all = RouteOptions::default();
        let tls = RouteOptions { tls_secrets_only: true, ..RouteOptions::default() };
        let key = Key::new("shop", "cert");
        assert_eq!(all.missing_secret(&key), "Secret shop/cert does not exist");
        assert!(tls.missing_secret(&key).contains("or is not of the type kubernetes.io/tls"));
    }
}
