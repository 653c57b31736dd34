//! How requests are sent to endpoints, and what nginx needs for that and Portolan does not.

use http::Version;

use crate::settings::{NextUpstream, parse_size, parse_time};
use crate::snippet::Context::{Http, Location, LocationIf, Server, ServerIf};
use crate::snippet::directive::{Call, Fate, SnippetDirective, Target};

const OWN_OF_LOCATIONS: &str = "every location of ingress-nginx has its own, so that it has no effect here";

const ONE: SnippetDirective = SnippetDirective {
    name: "",
    arguments: "",
    contexts: &[Location],
    elsewhere: Some(OWN_OF_LOCATIONS),
    protects: false,
    fate: Fate::Honoured(setting),
    doc: "",
};

pub(in crate::snippet) const PROXYING: &[SnippetDirective] = &[
    SnippetDirective {
        name: "client_max_body_size",
        arguments: "size",
        doc: "as the annotation `proxy-body-size`",
        ..ONE
    },
    SnippetDirective {
        name: "client_body_buffer_size",
        arguments: "size",
        doc: "as the annotation of this name",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_connect_timeout",
        arguments: "time",
        doc: "as the annotation of this name",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_send_timeout",
        arguments: "time",
        doc: "as the annotation of this name",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_read_timeout",
        arguments: "time",
        doc: "as the annotation of this name",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_buffer_size",
        arguments: "size",
        doc: "as the annotation of this name",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_request_buffering",
        arguments: "`on` | `off`",
        doc: "as the annotation of this name",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_next_upstream",
        arguments: "condition …",
        doc: "as the annotation of this name",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_next_upstream_tries",
        arguments: "number",
        doc: "as the annotation of this name",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_next_upstream_timeout",
        arguments: "time",
        doc: "as the annotation of this name",
        ..ONE
    },
    SnippetDirective {
        name: "proxy_http_version",
        arguments: "`1.0` | `1.1`",
        doc: "as the annotation of this name",
        ..ONE
    },
];

fn setting(target: &mut Target<'_>, call: &Call<'_>) -> Result<(), String> {
    let proxy = &mut target.level.proxy;
    if call.name == "proxy_next_upstream" {
        let conditions = call.words().join(" ");
        let parsed = NextUpstream::parse(&conditions).filter(|_| !conditions.is_empty());
        proxy.next_upstream =
            Some(parsed.ok_or_else(|| format!("{conditions:?} should be conditions of nginx"))?);
        return Ok(());
    }
    let text = call.only("a value")?;
    let wanted = |wanted: &str| format!("{text:?} should be {wanted}");
    let size = || parse_size(text).ok_or_else(|| wanted("a size such as 8m"));
    let time = || parse_time(text).ok_or_else(|| wanted("a time such as 30s"));
    match call.name {
        "client_max_body_size" => proxy.body_size = Some(size()?),
        "client_body_buffer_size" => proxy.body_buffer = Some(size()?),
        "proxy_buffer_size" => {
            let size = size().ok().filter(|size| *size > 0);
            proxy.head_size = Some(size.ok_or_else(|| wanted("a size above 0"))?);
        }
        "proxy_connect_timeout" => proxy.connect_timeout = Some(time()?),
        "proxy_send_timeout" => proxy.send_timeout = Some(time()?),
        "proxy_read_timeout" => proxy.read_timeout = Some(time()?),
        "proxy_next_upstream_timeout" => proxy.next_upstream_timeout = Some(time()?),
        "proxy_next_upstream_tries" => {
            proxy.next_upstream_tries = Some(text.parse().map_err(|_| wanted("a number"))?);
        }
        "proxy_request_buffering" => {
            proxy.request_buffering = Some(match text {
                "on" => true,
                "off" => false,
                _ => return Err(wanted("on or off")),
            });
        }
        "proxy_http_version" => {
            proxy.http_version = Some(match text {
                "1.0" => Version::HTTP_10,
                "1.1" => Version::HTTP_11,
                _ => return Err(wanted("1.0 or 1.1")),
            });
        }
        _ => return Err("is not known".into()),
    }
    Ok(())
}

const STREAMED: SnippetDirective = SnippetDirective {
    name: "",
    arguments: "…",
    contexts: &[Http, Server, Location, ServerIf, LocationIf],
    elsewhere: None,
    protects: false,
    fate: Fate::WithoutEffect,
    doc: "bodies are streamed and not buffered",
};
const TUNING: SnippetDirective =
    SnippetDirective { doc: "there is no such part of nginx to tune", ..STREAMED };

pub(in crate::snippet) const WITHOUT_EFFECT: &[SnippetDirective] = &[
    SnippetDirective { name: "proxy_buffering", ..STREAMED },
    SnippetDirective { name: "proxy_buffers", ..STREAMED },
    SnippetDirective { name: "proxy_busy_buffers_size", ..STREAMED },
    SnippetDirective { name: "proxy_max_temp_file_size", ..STREAMED },
    SnippetDirective { name: "proxy_temp_file_write_size", ..STREAMED },
    SnippetDirective {
        name: "chunked_transfer_encoding",
        doc: "the framing of bodies is the proxy's",
        ..STREAMED
    },
    SnippetDirective { name: "large_client_header_buffers", doc: "use the key of the ConfigMap", ..STREAMED },
    SnippetDirective { name: "client_header_buffer_size", ..TUNING },
    SnippetDirective { name: "client_body_temp_path", ..TUNING },
    SnippetDirective { name: "output_buffers", ..TUNING },
    SnippetDirective { name: "postpone_output", ..TUNING },
    SnippetDirective { name: "proxy_headers_hash_bucket_size", ..TUNING },
    SnippetDirective { name: "proxy_headers_hash_max_size", ..TUNING },
    SnippetDirective { name: "sendfile", ..TUNING },
    SnippetDirective { name: "tcp_nodelay", ..TUNING },
    SnippetDirective { name: "tcp_nopush", ..TUNING },
    SnippetDirective { name: "rewrite_log", doc: "rewrites are not logged", ..STREAMED },
    SnippetDirective { name: "server_tokens", doc: "responses do not name a version of nginx", ..STREAMED },
    SnippetDirective { name: "log_not_found", doc: "there is no log of files", ..STREAMED },
];
