//! Error pages: responses of a default backend that replace errors.

use std::sync::Arc;

use http::StatusCode;

use crate::pools::Pools;
use crate::upstream::UpstreamTarget;

/// Which responses of a route are replaced, and by those of which Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorPages {
    /// The statuses of these responses, sorted.
    pub statuses: Arc<[u16]>,
    /// Responses of endpoints are replaced, too, and not only those that the proxy makes itself.
    pub of_endpoints: bool,
    /// The statuses are those of the Ingress and not of the ConfigMap.
    pub is_own_list: bool,
    /// The Service of the Ingress (`default-backend`). It gets requests while the upstream of the route has no endpoint.
    pub own: Option<UpstreamTarget>,
    /// The Service of all Ingresses (`--default-backend-service`).
    pub global: Option<UpstreamTarget>,
}

impl ErrorPages {
    /// Whether any response may be replaced.
    pub fn is_active(&self) -> bool {
        !self.statuses.is_empty()
    }

    /// Whether a response that the proxy makes itself is replaced. Hot.
    pub fn replace(&self, status: StatusCode) -> bool {
        self.statuses.binary_search(&status.as_u16()).is_ok()
    }

    /// Whether a response of an endpoint is replaced. Hot.
    pub fn replace_of_endpoint(&self, status: StatusCode) -> bool {
        self.of_endpoints && self.replace(status)
    }

    /// The target that makes the page of an error. As in ingress-nginx, the Service of the Ingress makes those of its own list only.
    /// `None`: neither Service has endpoints.
    pub fn target(&self, pools: &Pools) -> Option<&UpstreamTarget> {
        let own = self.own.as_ref().filter(|_| self.is_own_list);
        own.into_iter().chain(&self.global).find(|target| target.has_endpoints(pools))
    }

    /// The target that gets the requests of an upstream without endpoints.
    pub fn substitute(&self, upstream: &UpstreamTarget, pools: &Pools) -> Option<&UpstreamTarget> {
        let own = self.own.as_ref()?;
        (!upstream.has_endpoints(pools) && own.has_endpoints(pools)).then_some(own)
    }
}
