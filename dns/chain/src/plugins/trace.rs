//! `trace`: spans of queries and of the plugins that they pass, sent to a collector in Zipkin's format (version 2, JSON), which
//! OpenTelemetry's collector reads as well (its receiver `zipkin`).
//!
//! The plugins below are wrapped while the chain is built, so that nothing is added to blocks without `trace`. Spans of a query are
//! kept until its reply has been sent and then queued; a task of its own sends them.

mod options;
mod sender;
mod spans;
mod traced;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dns_wire::Name;
use telemetry::span_queue::{BatchLimits, SpanQueue};

use crate::codes::{Rcode, Type};
use crate::http_client::HttpClient;
use crate::metadata::{MetadataOffer, MetadataSource};
use crate::plugin::{Answer, Flow, Hooks, Plugin};
use crate::request::{Purpose, Request};
use crate::setup::{PluginEntry, PluginGuard, PluginInstances, Setup, SetupErrors};
use options::TraceOptions;
use sender::SpanSender;
use spans::{QuerySpans, SpanTags, TraceEndpoint};
use traced::TracedPlugin;

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "trace",
    about: "sends spans of queries and plugins to Zipkin or OpenTelemetry",
    syntax: &[
        "trace",
        "trace zipkin collector.example.org:9411 {\n    every 100\n    service dns\n    client_server\n    zipkin_max_backlog_size 1000\n    zipkin_max_batch_size 100\n    zipkin_max_batch_interval 1s\n}",
        "trace https://collector.example.org/api/v2/spans",
    ],
    options: options::OPTIONS,
    early: false,
    metrics: |metrics| {
        sender::metrics(metrics);
    },
    setup,
};

struct Trace {
    /// One of so many queries is traced; 0 for none.
    every: u64,
    count: AtomicU64,
    endpoint: Arc<TraceEndpoint>,
    queue: Arc<SpanQueue<String>>,
    limits: BatchLimits,
}

impl Plugin for Trace {
    fn hooks(&self) -> Hooks {
        Hooks::QUERY.and(Hooks::SENT)
    }

    /// Begins the spans of a query. Those of names that plugins resolve for it are among them.
    // Hot: 0 allocations for a query that is not traced.
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        if request.purpose != Purpose::Client || self.every == 0 {
            return Flow::Next;
        }
        let number = self.count.fetch_add(1, Relaxed) + 1;
        if number.is_multiple_of(self.every) {
            request.extensions.insert(Arc::new(QuerySpans::begin()));
        }
        Flow::Next
    }

    fn sent(&self, request: &Request, answer: &Answer, _: &[u8]) {
        if request.purpose != Purpose::Client {
            return;
        }
        let Some(spans) = request.extensions.get::<QuerySpans>() else { return };
        let question = request.client_question();
        let tags = SpanTags {
            name: Name::lower(question.name).to_string(),
            qtype: Type(question.qtype).to_string(),
            rcode: Rcode(answer.reply.rcode).to_string(),
            proto: request.transport.name(),
            remote: request.client.ip(),
            error: answer
                .failure
                .as_ref()
                .map(|failure| failure.why.to_string())
                .filter(|why| !why.is_empty()),
        };
        self.queue.push(spans.end(&self.endpoint, &tags), &self.limits);
    }
}

/// The metadata `trace/traceid`.
struct TraceId;

impl MetadataSource for TraceId {
    fn value(&self, label: &str, request: &Request) -> Option<String> {
        let spans = request.extensions.get::<QuerySpans>().filter(|_| label == "trace/traceid")?;
        Some(spans.trace_id())
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    let TraceOptions { server, path, every, service, batch: limits } = options::read(setup, directive)?;
    let key = setup.first_key()?;
    let endpoint = Arc::new(TraceEndpoint { service, bound: key.listen.bound });
    let tls = crate::authorities::client_config(None, None).map_err(|why| vec![directive.error(why, "")])?;
    let client = HttpClient::new(server, &Arc::new(tls));
    let client = client.map_err(|why| vec![directive.error(format!("trace: {why}"), "zipkin HOST:PORT")])?;
    let queue = Arc::new(SpanQueue::new(sender::metrics(&setup.context.metrics)));
    if setup.is_wanted::<MetadataOffer>() {
        setup.offer(Arc::new(MetadataOffer(Arc::new(TraceId))));
    }
    setup.wrap_below(Arc::new(|name, plugin| Arc::new(TracedPlugin { name, plugin })));
    let (sender, sending) = (SpanSender { client, path, limits }, queue.clone());
    setup.on_start(move || async move {
        let task = super::Task(tokio::spawn(async move { sender.run(&sending).await }));
        Ok(Box::new(task) as PluginGuard)
    });
    Ok(vec![Arc::new(Trace { every, count: AtomicU64::new(0), endpoint, queue, limits })])
}
