//! The redirect to a host from its counterpart, with or without `www.`.

use std::sync::Arc;

use cluster::{CompactString, PathType};

use super::location::BuildContext;
use super::route::{Route, StepLimitMark};
use crate::annotations::{Rule, Settings, counterpart, counterpart_plan};

/// The route of every request to the counterpart of a host, with or without `www.`.
pub(super) fn counterpart_route(host: &CompactString, context: &BuildContext<'_>) -> Route {
    let (globals, options) = (context.globals, context.options);
    let name = counterpart(host).unwrap_or_default();
    let rule = Rule {
        globals: globals.values(),
        host: &name,
        ingress: None,
        service: None,
        path: "/",
        kind: PathType::Prefix,
        default_backend: None,
        patterns: context.patterns,
        zones: context.zones,
        host_snippet: None,
        port_in_redirects: None,
        http_port: options.http_port,
        https_port: options.https_port,
    };
    let plan = counterpart_plan(&rule, host);
    Route {
        host: name,
        path: "/".into(),
        kind: PathType::Prefix,
        ingress: None,
        service: None,
        denied: globals.closes(&Settings::default()),
        plan: Arc::new(plan),
        upstream: None,
        step_limit: StepLimitMark::default(),
    }
}
