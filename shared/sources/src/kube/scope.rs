//! The paths and queries of the requests for a kind.

use cluster::{Key, Kind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Selection;
use super::next_request::ListMethod;

/// Objects in a page of a list.
const PAGE: u32 = 500;

/// All but the unreserved characters of RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The objects of a kind that are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResourceScope {
    pub(super) kind: Kind,
    /// Empty for the whole cluster.
    pub(super) namespace: String,
    labels: String,
    fields: String,
}

impl ResourceScope {
    pub(super) fn new(kind: Kind, selection: &Selection) -> Self {
        let labels = match kind {
            Kind::Service | Kind::EndpointSlice | Kind::Pod => selection.labels.clone(),
            _ => String::new(),
        };
        let namespace = match &selection.namespace {
            Some(namespace) if kind.namespaced() => namespace.clone(),
            _ => String::new(),
        };
        let fields = match kind {
            // Pods that have ended keep their address, which another Pod may already use.
            Kind::Pod => "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown".to_owned(),
            Kind::Secret if selection.tls_secrets_only => "type=kubernetes.io/tls".to_owned(),
            // Most Secrets of a cluster are of these types, and none of them contains a certificate.
            Kind::Secret => "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token".to_owned(),
            // Every namespace has a copy.
            Kind::ConfigMap => "metadata.name!=kube-root-ca.crt".to_owned(),
            _ => String::new(),
        };
        let scope = Self { kind, namespace, labels, fields };
        // The ConfigMaps that flags name are always read.
        let is_outside =
            |namespace: &String| selection.config_maps.iter().any(|key| key.namespace != namespace.as_str());
        match &selection.namespace {
            Some(namespace) if kind == Kind::ConfigMap && is_outside(namespace) => {
                scope.named(&selection.config_maps)
            }
            _ => scope,
        }
    }

    /// What is read instead where a role does not allow the scope: the ConfigMaps that flags name.
    pub(super) fn fallback(&self, selection: &Selection) -> Option<Self> {
        if self.kind != Kind::ConfigMap || selection.config_maps.is_empty() {
            return None;
        }
        let named = self.clone().named(&selection.config_maps);
        (named != *self).then_some(named)
    }

    /// The narrowest scope with these ConfigMaps: a request can name one, or all of a namespace or of the cluster.
    fn named(self, keys: &[Key]) -> Self {
        match keys {
            [only] => {
                let fields = format!("metadata.name={}", only.name);
                Self { namespace: only.namespace.to_string(), fields, ..self }
            }
            [first, others @ ..] if others.iter().all(|key| key.namespace == first.namespace) => {
                Self { namespace: first.namespace.to_string(), ..self }
            }
            _ => Self { namespace: String::new(), ..self },
        }
    }

    /// The name of the resource in RBAC rules.
    pub(super) fn resource(&self) -> String {
        let (plural, group) = (self.kind.plural(), self.kind.group());
        if group.is_empty() { plural.into() } else { format!("{plural}.{group}") }
    }

    /// The request for a page of a list, or for all of it.
    pub(super) fn list(&self, method: ListMethod, next: &str) -> String {
        let mut query = self.begin();
        if method == ListMethod::Paged {
            query.add("limit", &PAGE.to_string());
        }
        query.add("continue", next);
        query.0
    }

    /// The request for a list of one object, for the version of the list.
    pub(super) fn first(&self) -> String {
        let mut query = self.begin();
        query.add("limit", "1");
        query.0
    }

    /// The request for a watch since a version, or, without one, for a streaming list. The server ends it after `seconds`.
    pub(super) fn watch(&self, since: Option<&str>, seconds: u64) -> String {
        let mut query = self.begin();
        query.add("watch", "true");
        query.add("allowWatchBookmarks", "true");
        query.add("timeoutSeconds", &seconds.to_string());
        match since {
            Some(since) => query.add("resourceVersion", since),
            None => {
                query.add("sendInitialEvents", "true");
                query.add("resourceVersionMatch", "NotOlderThan");
            }
        }
        query.0
    }

    fn begin(&self) -> Query {
        // The core group has a different root.
        let root = if self.kind.group().is_empty() { "/api" } else { "/apis" };
        let mut path = format!("{root}/{}", self.kind.api_version());
        if !self.namespace.is_empty() {
            path = format!("{path}/namespaces/{}", utf8_percent_encode(&self.namespace, RESERVED));
        }
        let mut query = Query(format!("{path}/{}", self.kind.plural()));
        query.add("labelSelector", &self.labels);
        query.add("fieldSelector", &self.fields);
        query
    }
}

/// A path with a query.
struct Query(String);

impl Query {
    /// Adds a parameter, unless its value is empty.
    fn add(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, RESERVED));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_selects_only_the_objects_that_are_used() {
        let all = Selection::default();
        let shop = Selection {
            namespace: Some("shop".into()),
            labels: "app in (web, db),tier=a".into(),
            config_maps: vec![Key::new("ingress", "settings")],
            tls_secrets_only: true,
        };
        let labels = "labelSelector=app%20in%20%28web%2C%20db%29%2Ctier%3Da";
        let running = "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed%2Cstatus.phase%21%3DUnknown";
        let secrets =
            "fieldSelector=type%21%3Dhelm.sh%2Frelease.v1%2Ctype%21%3Dkubernetes.io%2Fservice-account-token";
        let rows = [
            (Kind::Namespace, &all, "/api/v1/namespaces".to_owned()),
            (Kind::Namespace, &shop, "/api/v1/namespaces".to_owned()),
            (Kind::Service, &all, "/api/v1/services".to_owned()),
            (Kind::Service, &shop, format!("/api/v1/namespaces/shop/services?{labels}")),
            (Kind::EndpointSlice, &all, "/apis/discovery.k8s.io/v1/endpointslices".to_owned()),
            (Kind::Pod, &all, format!("/api/v1/pods?{running}")),
            (Kind::Pod, &shop, format!("/api/v1/namespaces/shop/pods?{labels}&{running}")),
            (Kind::Ingress, &shop, "/apis/networking.k8s.io/v1/namespaces/shop/ingresses".to_owned()),
            (Kind::IngressClass, &shop, "/apis/networking.k8s.io/v1/ingressclasses".to_owned()),
            (Kind::Secret, &all, format!("/api/v1/secrets?{secrets}")),
            (
                Kind::Secret,
                &shop,
                "/api/v1/namespaces/shop/secrets?fieldSelector=type%3Dkubernetes.io%2Ftls".to_owned(),
            ),
            (
                Kind::ConfigMap,
                &all,
                "/api/v1/configmaps?fieldSelector=metadata.name%21%3Dkube-root-ca.crt".to_owned(),
            ),
            (Kind::ServiceImport, &all, "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports".to_owned()),
            (Kind::Node, &shop, "/api/v1/nodes".to_owned()),
            (
                Kind::ConfigMap,
                &shop,
                "/api/v1/namespaces/ingress/configmaps?fieldSelector=metadata.name%3Dsettings".to_owned(),
            ),
        ];
        for (kind, selection, path) in rows {
            assert_eq!(ResourceScope::new(kind, selection).list(ListMethod::Unpaged, ""), path);
        }
    }

    #[test]
    fn several_config_maps_are_read_with_their_namespace_or_all() {
        let (own, tcp, other) =
            (Key::new("ingress", "settings"), Key::new("ingress", "tcp"), Key::new("elsewhere", "udp"));
        let copies = "fieldSelector=metadata.name%21%3Dkube-root-ca.crt";
        for (namespace, keys, path, fallback) in [
            ("shop", vec![&own, &tcp], "/api/v1/namespaces/ingress/configmaps", None),
            ("shop", vec![&own, &other], "/api/v1/configmaps", None),
            ("ingress", vec![&own, &tcp], "/api/v1/namespaces/ingress/configmaps", None),
            ("ingress", vec![&own, &other], "/api/v1/configmaps", None),
            ("", vec![&own, &tcp], "/api/v1/configmaps", Some("/api/v1/namespaces/ingress/configmaps")),
            ("", vec![&own, &other], "/api/v1/configmaps", None),
        ] {
            let selection = Selection {
                namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
                config_maps: keys.into_iter().cloned().collect(),
                ..Selection::default()
            };
            let scope = ResourceScope::new(Kind::ConfigMap, &selection);
            let list = |scope: &ResourceScope| scope.list(ListMethod::Unpaged, "");
            assert_eq!(list(&scope), format!("{path}?{copies}"), "{namespace}");
            let expected = fallback.map(|path| format!("{path}?{copies}"));
            assert_eq!(scope.fallback(&selection).as_ref().map(list), expected, "{namespace}");
        }
    }

    #[test]
    fn lists_and_watches_have_the_parameters_of_the_api() {
        let scope = ResourceScope::new(Kind::Service, &Selection::default());
        let rows = [
            (scope.list(ListMethod::Paged, ""), "?limit=500"),
            (scope.list(ListMethod::Paged, "a+b="), "?limit=500&continue=a%2Bb%3D"),
            (
                scope.watch(Some("7"), 300),
                "?watch=true&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=7",
            ),
            (
                scope.watch(None, 300),
                "?watch=true&allowWatchBookmarks=true&timeoutSeconds=300&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            ),
        ];
        for (path, query) in rows {
            assert_eq!(path, format!("/api/v1/services{query}"));
        }
    }
}
