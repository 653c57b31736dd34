//! `trace`: the spans that a collector gets.
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;

use dns_chain::codes::Rcode;
use dns_wire::Section;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use support::{Question, build, routes};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A collector: its address, and the paths and spans of the requests that it gets.
async fn collector(status: u16) -> (SocketAddr, mpsc::UnboundedReceiver<(String, Vec<Value>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    let path = request.uri().to_string();
                    assert_eq!(request.headers()["content-type"], "application/json");
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let _ = sender.send((path, serde_json::from_slice(&body).unwrap()));
                    Ok::<_, Infallible>(
                        Response::builder().status(status).body(Full::new(Bytes::new())).unwrap(),
                    )
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, receiver)
}

const INTERVAL: &str = "zipkin_max_batch_interval 20ms";

/// The names of spans, each with those of the spans that it is within, from the outermost.
fn paths(spans: &[Value]) -> Vec<String> {
    let path = |span: &Value| {
        let (mut names, mut at) = (Vec::new(), Some(span));
        while let Some(span) = at {
            names.insert(0, span["name"].as_str().unwrap());
            at = spans.iter().find(|other| other["id"] == span["parentId"]);
        }
        names.join("/")
    };
    spans.iter().map(path).collect()
}

#[tokio::test]
async fn a_query_has_a_span_for_itself_and_for_each_plugin_that_it_passes() {
    let (address, mut requests) = collector(202).await;
    let text = format!(
        ".:53 {{\nmetadata\ntrace {address} {{\nservice dns-1\n{INTERVAL}\n}}\nerrors\nlog . {{/trace/traceid}}\nloadbalance
template IN A example.org {{\nanswer \"{{{{ .Name }}}} 60 IN A 192.0.2.1\"\n}}
template IN CNAME alias.test {{\nanswer \"{{{{ .Name }}}} 60 IN CNAME www.example.org.\"\n}}
template IN TXT id.test {{\nanswer \"{{{{ .Name }}}} 60 IN TXT {{{{ .Meta \\\"trace/traceid\\\" }}}}\"\n}}
template IN A alias.test {{\nanswer \"{{{{ .Name }}}} 60 IN CNAME www.example.org.\"\n}}\n}}"
    );
    let served = routes(&text).await.unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    served.ask(&Question::new("WWW.example.org.", "A")).await;
    let (path, spans) = requests.recv().await.unwrap();
    assert_eq!(path, "/api/v2/spans");
    let above = "servedns/errors/log/loadbalance";
    let wanted = ["servedns", "servedns/errors", "servedns/errors/log", above, &format!("{above}/template")];
    assert_eq!(paths(&spans), wanted);
    let root = &spans[0];
    assert_eq!(root["kind"], "SERVER");
    assert_eq!(
        root["tags"],
        json!({
            "coredns.io/name": "www.example.org.",
            "coredns.io/type": "A",
            "coredns.io/rcode": "NOERROR",
            "coredns.io/proto": "udp",
            "coredns.io/remote": "127.0.0.1",
        })
    );
    for span in &spans {
        assert_eq!(span["traceId"], root["traceId"]);
        assert_eq!(span["localEndpoint"]["serviceName"], "dns-1");
        assert!(
            span["timestamp"].as_u64() >= root["timestamp"].as_u64() && span["duration"].as_u64() > Some(0)
        );
        assert!(span["duration"].as_u64() <= root["duration"].as_u64());
    }

    // The resolution of the target of a CNAME is a part of it.
    served.ask(&Question::new("alias.test.", "A")).await;
    let (_, spans) = requests.recv().await.unwrap();
    let found = paths(&spans);
    let nested = format!("{above}/template/errors/log/loadbalance/template");
    assert!(found.contains(&nested), "{found:?}");

    // The number of the trace is metadata.
    let shown = served.ask(&Question::new("id.test.", "TXT")).await;
    let (_, spans) = requests.recv().await.unwrap();
    let text = String::from_utf8_lossy(&shown.records(Section::Answer)[0].rdata[1..]).into_owned();
    assert_eq!(spans[0]["traceId"], text);

    // A query without an answer has an error.
    let failed = served.ask(&Question::new("nothing.test.", "A")).await;
    assert_eq!(Rcode(failed.reply.rcode).to_string(), "SERVFAIL");
    let (_, spans) = requests.recv().await.unwrap();
    assert_eq!(spans[0]["tags"]["coredns.io/rcode"], "SERVFAIL");
    assert_eq!(spans[0]["tags"]["error"], "plugin/template: no next plugin found");
}

#[tokio::test]
async fn one_of_so_many_queries_is_traced() {
    let (address, mut requests) = collector(202).await;
    let text = format!(
        ".:53 {{\ntrace zipkin http://{address}/zipkin/spans {{\nevery 3\n{INTERVAL}\n}}\nwhoami\n}}"
    );
    let served = routes(&text).await.unwrap();
    for n in 1..=6 {
        served.ask(&Question::new(&format!("{n}.test."), "A")).await;
    }
    let mut names = Vec::new();
    while names.len() < 2 {
        let (path, spans) = requests.recv().await.unwrap();
        assert_eq!(path, "/zipkin/spans");
        let roots = spans.iter().filter(|span| span["name"] == "servedns");
        names.extend(roots.map(|root| root["tags"]["coredns.io/name"].as_str().unwrap().to_owned()));
    }
    assert_eq!(names, ["3.test.", "6.test."]);
}

#[tokio::test]
async fn a_collector_that_refuses_costs_spans_only() {
    let (address, mut requests) = collector(503).await;
    let text = format!(".:53 {{\ntrace {address} {{\n{INTERVAL}\n}}\nwhoami\n}}");
    let served = routes(&text).await.unwrap();
    for _ in 0..2 {
        let received = served.ask(&Question::new("a.test.", "A")).await;
        assert_eq!(Rcode(received.reply.rcode).to_string(), "NOERROR");
        requests.recv().await.unwrap();
    }
    // The second request was sent once the first had failed.
    let counted = served.metrics.text();
    assert!(counted.contains("portolan_trace_spans_total{result=\"failed\"} 2"), "{counted}");
}

#[test]
fn mistakes_are_reported_with_their_line() {
    for (lines, wanted) in [
        (
            "trace datadog localhost:8126",
            "Corefile:2 - Error during parsing: tracing endpoint type 'datadog' is not supported",
        ),
        ("trace datadog", "tracing endpoint type 'datadog' is not supported"),
        ("trace other a:1", "tracing endpoint type 'other' is not supported"),
        ("trace zipkin a:1 b", "Corefile:2"),
        ("trace a:1/spans", "Corefile:2 - Error during parsing: invalid endpoint a:1/spans"),
        ("trace ftp://a", "Corefile:2 - Error during parsing: invalid address ftp://a"),
        ("trace {\nevery x\n}", "Corefile:3"),
        ("trace {\nzipkin_max_backlog_size 100001\n}", "Corefile:3"),
        ("trace {\nzipkin_max_batch_size -1\n}", "Corefile:3"),
        ("trace {\nclient_server maybe\n}", "Corefile:3"),
        ("trace {\nsample 1\n}", "unknown property 'sample'"),
    ] {
        let errors = build(&format!(". {{\n{lines}\nwhoami\n}}\n")).err().expect(lines);
        assert!(errors.contains(wanted), "{wanted}\nin\n{errors}");
    }
    let (servers, _) = build(". {\ntrace ZIPKIN a:1 {\ndatadog_analytics_rate 0.5\n}\nwhoami\n}\n").unwrap();
    assert!(
        servers.warnings[0].to_string().contains("Corefile:3 - trace: datadog_analytics_rate is ignored")
    );
}
