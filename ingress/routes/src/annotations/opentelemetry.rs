//! OpenTelemetry: which requests have a span, its name, and where it is sent.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::template::{RuleText, Template};
use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::filter::RequestHeadFilter;
use crate::plan::head_edits::HeadEdits;
use crate::plan::phase::Phase;
use crate::plan::tracing::TracingRule;
use crate::problem::Effect;
use crate::settings::TraceExportSettings;
use crate::trace_context::{ParentSpan, Sampler, TRACEPARENT, TRACESTATE, TraceContext, join_state};

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "opentelemetry",
    doc: "A span for each request, sent to a collector over OTLP (gRPC), and the context of the trace for endpoints, authentication \
          servers and mirrors (W3C Trace Context). Log formats and headers may have $opentelemetry_trace_id, $opentelemetry_span_id, \
          $opentelemetry_context_traceparent and $opentelemetry_context_tracestate.",
    annotations: &[
        Annotation {
            name: "enable-opentelemetry",
            values: "true, false; default that of the ConfigMap",
            doc: "Requests of the routes have a span.",
        },
        Annotation {
            name: "opentelemetry-trust-incoming-span",
            values: "true, false; default that of the ConfigMap",
            doc: "The span belongs to the trace that the client names. Otherwise it begins a trace.",
        },
        Annotation {
            name: "opentelemetry-operation-name",
            values: "a text, in which $request_method, $service_name and other variables of nginx may occur; default that of the ConfigMap",
            doc: "The name of the span.",
        },
    ],
    keys: &[
        FamilyKey {
            name: "enable-opentelemetry",
            values: "true, false; default false",
            doc: "requests have a span",
        },
        FamilyKey {
            name: "opentelemetry-trust-incoming-span",
            values: "true, false; default true",
            doc: "spans belong to the traces that clients name in traceparent",
        },
        FamilyKey {
            name: "opentelemetry-operation-name",
            values: "a text with variables of nginx; default the path of the rule",
            doc: "the name of the span",
        },
        FamilyKey {
            name: "otlp-collector-host",
            values: "a host or address",
            doc: "the collector; it may be any server that takes OTLP over gRPC",
        },
        FamilyKey { name: "otlp-collector-port", values: "a port; default 4317", doc: "its port" },
        FamilyKey {
            name: "otel-service-name",
            values: "a text; default nginx",
            doc: "the name of this service (service.name)",
        },
        FamilyKey {
            name: "otel-sampler",
            values: "AlwaysOn, AlwaysOff, TraceIdRatioBased; default AlwaysOn",
            doc: "which traces are recorded; the context is passed on whatever it decides",
        },
        FamilyKey {
            name: "otel-sampler-ratio",
            values: "a number from 0 to 1; default 0.01",
            doc: "the share of traces that TraceIdRatioBased records",
        },
        FamilyKey {
            name: "otel-sampler-parent-based",
            values: "true, false; default true",
            doc: "a trace that a trusted client names is recorded if the client records it",
        },
        FamilyKey {
            name: "otel-schedule-delay-millis",
            values: "milliseconds up to 600000; default 5000",
            doc: "how long a span waits for others",
        },
        FamilyKey {
            name: "otel-max-export-batch-size",
            values: "a number from 1 to 10000; default 512",
            doc: "how many spans are sent in a request, within 2 MiB; not more than otel-max-queuesize",
        },
        FamilyKey {
            name: "otel-max-queuesize",
            values: "a number from 1 to 100000; default 2048",
            doc: "how many spans wait; beyond it the oldest are dropped (portolan_ingress_spans_total)",
        },
    ],
    phases: &[Phase::UpstreamRequest, Phase::Log],
    syntax: "enable-opentelemetry: 'true'\n\
             opentelemetry-trust-incoming-span: 'false'\n\
             opentelemetry-operation-name: $request_method $service_name",
    read,
    read_keys,
    plan,
};

const NO_COLLECTOR: &str =
    "no spans are sent, because the ConfigMap has no otlp-collector-host; the context of traces is passed on";
const NAME: &str = "a text, in which $name stands for a variable of nginx";

/// The annotations of an Ingress.
#[derive(Clone, Debug, Default, PartialEq)]
struct TracingSettings {
    is_enabled: Option<bool>,
    trusts_incoming: Option<bool>,
    name: Option<Arc<Template>>,
}

/// The keys of the ConfigMap that routes depend on.
#[derive(Clone, Debug, PartialEq)]
struct TracingKeys {
    is_enabled: bool,
    trusts_incoming: bool,
    name: Option<Arc<Template>>,
    sampler: Sampler,
    has_collector: bool,
}

impl Default for TracingKeys {
    fn default() -> Self {
        Self {
            is_enabled: false,
            trusts_incoming: true,
            name: None,
            sampler: Sampler::ratio(1.0, true),
            has_collector: false,
        }
    }
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let own = TracingSettings {
        is_enabled: reader.flag("enable-opentelemetry"),
        trusts_incoming: reader.flag("opentelemetry-trust-incoming-span"),
        name: reader.value("opentelemetry-operation-name", NAME, Effect::DefaultUsed, name),
    };
    let is_lost = reader.global::<TracingKeys>().is_some_and(|keys| !keys.has_collector);
    if own.is_enabled == Some(true) && is_lost {
        reader.problem("enable-opentelemetry", NO_COLLECTOR.into(), Effect::Cosmetic);
    }
    if own != TracingSettings::default() {
        settings.values.set(own);
    }
}

fn name(value: &str) -> Option<Arc<Template>> {
    Template::parse(value, None).map(Arc::new)
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let default = Effect::DefaultUsed;
    let defaults = values.take::<Arc<TraceExportSettings>>().unwrap_or_default();
    let defaults = TraceExportSettings::clone(&defaults);
    let between = |least: u32, most: u32| {
        move |value: &str| value.parse::<u32>().ok().filter(|number| (least..=most).contains(number))
    };
    let port = |value: &str| value.parse().ok().filter(|port| *port > 0);
    let host = reader.value("otlp-collector-host", "a host or address without a port", default, host);
    let queue = reader.value("otel-max-queuesize", "a number from 1 to 100000", default, between(1, 100_000));
    let queue = queue.map_or(defaults.queue, |queue| queue as usize);
    let batch =
        reader.value("otel-max-export-batch-size", "a number from 1 to 10000", default, between(1, 10_000));
    let delay = reader.value(
        "otel-schedule-delay-millis",
        "a number of milliseconds up to 600000",
        default,
        between(0, 600_000),
    );
    let export = TraceExportSettings {
        host: host.or(defaults.host),
        port: reader.value("otlp-collector-port", "a port", default, port).unwrap_or(defaults.port),
        service: reader.text("otel-service-name").map_or(defaults.service, str::to_owned),
        queue,
        batch: batch.map_or(defaults.batch, |batch| batch as usize).min(queue),
        delay: delay.map_or(defaults.delay, |millis| Duration::from_millis(millis.into())),
    };
    let keys = TracingKeys {
        is_enabled: reader.flag("enable-opentelemetry").unwrap_or(false),
        trusts_incoming: reader.flag("opentelemetry-trust-incoming-span").unwrap_or(true),
        name: reader.value("opentelemetry-operation-name", NAME, default, name),
        sampler: sampler(reader),
        has_collector: export.host.is_some(),
    };
    if keys.is_enabled && !keys.has_collector {
        reader.problem("enable-opentelemetry", NO_COLLECTOR.into(), Effect::Cosmetic);
    }
    values.set(Arc::new(export));
    values.set(keys);
}

/// A host name or an address.
fn host(value: &str) -> Option<String> {
    let address = value.trim_start_matches('[').trim_end_matches(']');
    let is_name = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    (is_name || address.parse::<std::net::Ipv6Addr>().is_ok()).then(|| address.to_owned())
}

fn sampler(reader: &mut SettingReader<'_>) -> Sampler {
    const RATIO: &str = "a number from 0 to 1";
    let within = |ratio: &f64| (0.0..=1.0).contains(ratio);
    let ratio = reader
        .value("otel-sampler-ratio", RATIO, Effect::DefaultUsed, |value| value.parse().ok().filter(within));
    let ratio = ratio.unwrap_or(0.01);
    let names = "AlwaysOn, AlwaysOff or TraceIdRatioBased";
    let share = reader.value("otel-sampler", names, Effect::DefaultUsed, |value| match value {
        "AlwaysOn" => Some(1.0),
        "AlwaysOff" => Some(0.0),
        "TraceIdRatioBased" => Some(ratio),
        _ => None,
    });
    Sampler::ratio(share.unwrap_or(1.0), reader.flag("otel-sampler-parent-based").unwrap_or(true))
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let (own_default, keys_default) = <(TracingSettings, TracingKeys)>::default();
    let own = settings.values.get::<TracingSettings>().unwrap_or(&own_default);
    let keys = rule.globals.get::<TracingKeys>().unwrap_or(&keys_default);
    if !own.is_enabled.unwrap_or(keys.is_enabled) {
        return;
    }
    let name = own.name.as_ref().or(keys.name.as_ref());
    plan.tracing = Some(Box::new(RouteTracing {
        trusts_incoming: own.trusts_incoming.unwrap_or(keys.trusts_incoming),
        sampler: keys.sampler,
        name: name.map(|name| name.of_rule(rule, None)),
        path: rule.path.to_owned(),
    }));
    plan.request_head.push(Box::new(TraceFields));
}

/// The spans of a route.
#[derive(Debug)]
struct RouteTracing {
    trusts_incoming: bool,
    sampler: Sampler,
    name: Option<RuleText>,
    /// The name where no other is set.
    path: String,
}

impl TracingRule for RouteTracing {
    fn begin(&self, exchange: &mut Exchange, random: &mut dyn FnMut() -> u128) {
        let parent = self.trusts_incoming.then(|| incoming(exchange)).flatten();
        exchange.values.set(TraceContext::begin(parent, self.sampler, random));
    }

    fn span_name<'r>(&'r self, exchange: &'r Exchange) -> Cow<'r, str> {
        self.name.as_ref().map_or(Cow::Borrowed(&self.path), |name| name.value(exchange))
    }
}

/// The span that the client names, and its `tracestate`.
fn incoming(exchange: &Exchange) -> Option<(ParentSpan, String)> {
    let mut fields = exchange.header_bytes(&TRACEPARENT);
    let parent = ParentSpan::parse(fields.next()?)?;
    // Of two it is unknown which one is meant.
    let is_only = fields.next().is_none();
    is_only.then(|| (parent, join_state(exchange.header_bytes(&TRACESTATE))))
}

/// Sets `traceparent` and `tracestate`, as `opentelemetry_propagate` does.
#[derive(Debug)]
struct TraceFields;

impl RequestHeadFilter for TraceFields {
    fn edit<'r>(&'r self, exchange: &'r Exchange, edits: &mut HeadEdits<'r>) {
        let Some(context) = exchange.trace_context() else { return };
        for (name, value) in context.fields() {
            edits.set(name.as_str(), value.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
