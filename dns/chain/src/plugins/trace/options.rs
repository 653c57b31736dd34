//! The options of `trace`.

use std::time::Duration;

use config::{ConfigError, Directive};
use telemetry::span_queue::BatchLimits;

use super::sender::DEFAULT_LIMITS;
use crate::http_client::HttpServer;
use crate::setup::{PluginOption, Setup, SetupErrors, each_line};

/// The options of `trace`.
pub(super) struct TraceOptions {
    pub server: HttpServer,
    /// The path of the collector's page.
    pub path: String,
    pub every: u64,
    pub service: String,
    pub batch: BatchLimits,
}

/// The options as the reference shows them.
pub(super) const OPTIONS: &[PluginOption] = &[
    PluginOption {
        syntax: "[zipkin] [ENDPOINT]",
        default: "zipkin localhost:9411",
        about: "The collector: a host and port, where `/api/v2/spans` is used, or a URL with `http://` or `https://`. The type `datadog` is refused; Datadog's and OpenTelemetry's collectors have a receiver for Zipkin.",
    },
    PluginOption {
        syntax: "every AMOUNT",
        default: "1",
        about: "Traces one of so many queries; 0 traces none.",
    },
    PluginOption {
        syntax: "service NAME",
        default: "coredns",
        about: "The name of the service in the spans.",
    },
    PluginOption {
        syntax: "client_server [BOOLEAN]",
        default: "",
        about: "Without effect: queries over UDP and TCP bring no span that theirs could be the same as.",
    },
    PluginOption {
        syntax: "zipkin_max_backlog_size SIZE",
        default: "1000",
        about: "How many spans wait for the collector, up to 100000. Beyond it the oldest are dropped and counted.",
    },
    PluginOption {
        syntax: "zipkin_max_batch_size SIZE",
        default: "100",
        about: "How many spans are sent in a request, up to 10000.",
    },
    PluginOption {
        syntax: "zipkin_max_batch_interval DURATION",
        default: "1s",
        about: "How long a span waits for others.",
    },
];

const KNOWN: &[&str] = &[
    "every",
    "service",
    "client_server",
    "zipkin_max_backlog_size",
    "zipkin_max_batch_size",
    "zipkin_max_batch_interval",
];

const DEFAULT_PORT: u16 = 9411;
const PATH: &str = "/api/v2/spans";

pub(super) fn read(setup: &mut Setup<'_>, directive: &Directive) -> Result<TraceOptions, SetupErrors> {
    let (server, path) = collector(directive).map_err(|error| vec![error])?;
    let mut options =
        TraceOptions { server, path, every: 1, service: "coredns".to_owned(), batch: DEFAULT_LIMITS };
    each_line(directive, |line| match line.name.text.as_str() {
        "datadog_analytics_rate" => {
            setup.warn(line, "trace: datadog_analytics_rate is ignored: spans are sent to Zipkin");
            Ok(())
        }
        _ => options.line(line),
    })?;
    Ok(options)
}

/// The server and path of the collector.
fn collector(directive: &Directive) -> Result<(HttpServer, String), ConfigError> {
    const WANTED: &str = "[zipkin] [ENDPOINT]";
    let args = directive.args_between(0, 2, WANTED)?;
    let (kind, endpoint) = match args {
        [] => (None, None),
        [endpoint] => (None, Some(endpoint)),
        [kind, endpoint, ..] => (Some(kind), Some(endpoint)),
    };
    // A type alone is taken for an endpoint by CoreDNS, which is never intended.
    let only_type = endpoint
        .filter(|word| kind.is_none() && matches!(word.to_ascii_lowercase().as_str(), "zipkin" | "datadog"));
    let kind = kind.or(only_type);
    if let Some(kind) = kind.filter(|kind| !kind.eq_ignore_ascii_case("zipkin")) {
        let what = format!("tracing endpoint type '{kind}' is not supported");
        return Err(kind.error(what, "zipkin, which Datadog's and OpenTelemetry's collectors read"));
    }
    let Some(endpoint) = endpoint.filter(|_| only_type.is_none()) else {
        let authority = config::HostPort { host: "localhost".to_owned(), port: DEFAULT_PORT };
        return Ok((HttpServer { is_tls: false, authority }, PATH.to_owned()));
    };
    let is_url = endpoint.contains("://");
    let default_port = match endpoint.split_once("://") {
        Some(("https", _)) => 443,
        Some(_) => 80,
        None => DEFAULT_PORT,
    };
    let (server, path) = HttpServer::read(endpoint, endpoint, default_port)?;
    if path.bytes().any(|byte| !byte.is_ascii_graphic()) || (!is_url && !path.is_empty()) {
        return Err(endpoint.error(format!("invalid endpoint {endpoint}"), "HOST:PORT or a URL"));
    }
    let path = match (is_url, path) {
        (false, _) => PATH,
        (true, "") => "/",
        (true, path) => path,
    };
    Ok((server, path.to_owned()))
}

impl TraceOptions {
    fn line(&mut self, line: &Directive) -> Result<(), ConfigError> {
        match line.name.text.as_str() {
            "every" => self.every = line.arg("AMOUNT")?.parse("a number")?,
            "service" => self.service.clone_from(&line.arg("NAME")?.text),
            "client_server" => {
                if let Some(word) = line.optional_arg("[BOOLEAN]")? {
                    word.choice(&[("true", ()), ("false", ())])?;
                }
            }
            "zipkin_max_backlog_size" => {
                self.batch.backlog = size(line, 100_000, self.batch.backlog)?;
            }
            "zipkin_max_batch_size" => self.batch.size = size(line, 10_000, self.batch.size)?,
            "zipkin_max_batch_interval" => {
                let interval = line.arg("DURATION")?.duration_or_zero()?;
                if interval > Duration::ZERO {
                    self.batch.interval = interval.max(Duration::from_millis(10));
                }
            }
            _ => return Err(line.unknown(KNOWN)),
        }
        Ok(())
    }
}

/// A number of spans; 0 stands for the default.
fn size(line: &Directive, most: u32, default: usize) -> Result<usize, ConfigError> {
    let size = line.arg("SIZE")?.integer(0..=most)? as usize;
    Ok(if size == 0 { default } else { size })
}
