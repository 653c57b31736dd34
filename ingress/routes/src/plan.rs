//! The plan of a rule: how its requests are handled, phase by phase.
//!
//! The reader of Ingresses fills it through the annotation families; matching and the proxy know neither Ingresses nor annotations. The phases run in nginx's order: rewrite → limits → access → (upstream) → request head → response head.
//! Within a phase, filters run in the order in which families add them, which is the order of
//! [`FAMILIES`](crate::annotations::FAMILIES).

pub mod access;
pub mod compression;
pub mod error_pages;
pub mod fastcgi;
pub mod filter;
pub mod head_edits;
pub mod head_options;
pub mod mirror;
pub mod password_check;
pub mod phase;
pub mod redirect_origin;
pub(crate) mod shared_plans;
pub mod subrequest;
pub mod subrequest_cache;
pub mod tracing;
pub mod upstream_options;

use std::sync::Arc;

use self::access::{AccessRules, LimitRule};
use self::compression::Compression;
use self::error_pages::ErrorPages;
use self::filter::{FilterOutcome, RequestFilter, RequestHeadFilter, ResponseHeadFilter, ResponseView};
use self::head_edits::HeadEdits;
use self::head_options::HeadOptions;
use self::mirror::MirrorRule;
use self::redirect_origin::RedirectOrigin;
use self::tracing::TracingRule;
use self::upstream_options::UpstreamOptions;
use crate::exchange::Exchange;
use crate::settings::ProxySettings;

/// How the requests of a rule are handled. Everything in it was decided when the route was built; a request only reads it.
#[derive(Debug, Default)]
pub struct Plan {
    /// Filters of the host that run before the rule of a path is chosen. All routes of a host have the same.
    pub server_rewrite: Vec<Box<dyn RequestFilter>>,
    /// Redirects and rewrites. A filter may answer the request.
    pub rewrite: Vec<Box<dyn RequestFilter>>,
    /// Limits on rates and connections.
    pub limits: Vec<Box<dyn LimitRule>>,
    /// Who may send requests.
    pub access: AccessRules,
    /// The copy of each request for another server.
    pub mirror: Option<Box<dyn MirrorRule>>,
    /// Changes of the head that endpoints get.
    pub request_head: Vec<Box<dyn RequestHeadFilter>>,
    /// Changes of the head that clients get, from an endpoint or not.
    pub response_head: Vec<Box<dyn ResponseHeadFilter>>,
    /// How requests are sent to endpoints. Shared by the routes of Ingresses without settings of their own.
    pub proxy: Arc<ProxySettings>,
    /// The protocol of endpoints; `None` for plain HTTP/1.
    pub upstream: Option<Arc<UpstreamOptions>>,
    /// Which header fields are passed on.
    pub heads: HeadOptions,
    /// How endpoints' responses are compressed. All routes share it.
    pub compression: Option<Arc<Compression>>,
    /// The rate of responses, if it is limited.
    pub response_rate: Option<ResponseRate>,
    /// Which errors a default backend makes the responses to.
    pub error_pages: Option<Box<ErrorPages>>,
    /// The scheme and host in the Location of redirects within the host.
    pub redirect_origin: RedirectOrigin,
    /// `enable-access-log: "false"`: requests have no line in the access log.
    pub is_not_logged: bool,
    /// The spans of requests, if they have any.
    pub tracing: Option<Box<dyn TracingRule>>,
    /// The annotation that closes the rule and why, where a family finds out only together with the ConfigMap.
    pub closed: Option<(&'static str, String)>,
    /// Why a key of the ConfigMap closes the rule. The problem is one of the ConfigMap.
    pub closed_by_key: Option<String>,
}

/// How fast the bodies of endpoints' responses are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseRate {
    /// Bytes per second; not 0.
    pub per_second: u64,
    /// So many bytes are sent without a limit.
    pub after: u64,
}

impl Plan {
    /// Whether every request may pass the limit and access phases, and has no copy.
    pub fn is_open(&self) -> bool {
        self.limits.is_empty() && self.access.rules.is_empty() && self.mirror.is_none()
    }

    /// A text that differs between plans that handle requests differently. Settings that routes share are in it by their addresses.
    /// Secrets and counters of filters are not in it.
    fn description(&self) -> String {
        let Self {
            server_rewrite,
            rewrite,
            limits,
            access,
            mirror,
            request_head,
            response_head,
            proxy,
            upstream,
            heads,
            compression,
            response_rate,
            error_pages,
            redirect_origin,
            is_not_logged,
            tracing,
            closed,
            closed_by_key,
        } = self;
        let filters = (server_rewrite, rewrite, limits, access, mirror, request_head, response_head);
        let options = (heads, response_rate, error_pages, redirect_origin, is_not_logged, tracing);
        let shared = (Arc::as_ptr(proxy), compression.as_ref().map(Arc::as_ptr));
        format!("{filters:?} {options:?} {shared:?} {upstream:?} {closed:?} {closed_by_key:?}")
    }

    /// Applies the filters of the rewrite phase until one answers.
    pub(crate) fn rewrite(&self, exchange: &mut Exchange) -> FilterOutcome {
        for filter in &self.rewrite {
            if let outcome @ FilterOutcome::Respond(_) = filter.request(exchange) {
                return outcome;
            }
        }
        FilterOutcome::Continue
    }

    /// The changes of the head that an endpoint gets.
    pub fn edit_request_head<'r>(&'r self, exchange: &'r Exchange, edits: &mut HeadEdits<'r>) {
        for filter in &self.request_head {
            filter.edit(exchange, edits);
        }
        if let Some(certificate) = &exchange.client_certificate {
            for (name, value) in certificate.fields() {
                edits.set(name, value.as_bytes());
            }
        }
    }

    /// The changes of the head that the client gets.
    pub fn edit_response_head<'r>(
        &'r self,
        exchange: &'r Exchange,
        response: &ResponseView<'_>,
        edits: &mut HeadEdits<'r>,
    ) {
        for filter in &self.response_head {
            filter.edit(exchange, response, edits);
        }
    }
}

/// Compared by their `Debug` text: filters are plain values of settings.
impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}
