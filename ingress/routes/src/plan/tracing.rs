//! Spans of requests for OpenTelemetry.

use std::borrow::Cow;
use std::fmt::Debug;

use crate::exchange::Exchange;

/// How the requests of a rule are traced.
pub trait TracingRule: Send + Sync + Debug {
    /// Begins the span of a request. From now on the request has a [`TraceContext`](crate::trace_context::TraceContext).
    fn begin(&self, exchange: &mut Exchange, random: &mut dyn FnMut() -> u128);

    /// The name of the span.
    fn span_name<'r>(&'r self, exchange: &'r Exchange) -> Cow<'r, str>;
}
