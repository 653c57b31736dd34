use http::{HeaderMap, StatusCode};
use ingress_wire::known_header::KnownSet;
use ingress_wire::response::{MAX_RESPONSE_HEAD, ParsedResponse};

use super::*;
use crate::exchange::Exchange;
use crate::exchange::tests::{get, request};
use crate::plan::filter::ResponseView;
use crate::plan::head_edits::HeadEdits;
use crate::testing::TestCluster;

const INGRESS: &str =
    "metadata: {name: web}\nspec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}\n";

fn cluster(data: &[(&str, &str)]) -> TestCluster {
    let mut cluster = TestCluster::configured(INGRESS);
    cluster.configure(data);
    cluster
}

/// The coding of an endpoint's response, and its head for the client. The encoders of `busy` codings cannot start.
fn compressed(
    cluster: &TestCluster,
    exchange: &Exchange,
    status: u16,
    fields: &[(&str, &str)],
    busy: &[ContentCoding],
) -> (Option<ContentCoding>, HeaderMap) {
    let lines = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let text = format!("HTTP/1.1 {status} OK\r\n{}\r\n", lines.collect::<String>());
    let mut response = ParsedResponse::default();
    let parsed = response.parse(&mut bytes::BytesMut::from(text.as_str()), false, MAX_RESPONSE_HEAD);
    assert_eq!(parsed, Ok(true), "{text}");
    let table = cluster.table.load();
    let plan = &table.find(exchange.host(), exchange.path()).route().plan;
    let mut edits = HeadEdits::default();
    let view = ResponseView::of_endpoint(StatusCode::from_u16(status).expect("a status"), response.head());
    plan.edit_response_head(exchange, &view, &mut edits);
    let start = |rule: &CodingRule| (!busy.contains(&rule.coding)).then_some(rule.coding);
    let coding = plan
        .compression
        .as_ref()
        .and_then(|compression| compression.apply(exchange, &view, &mut edits, start));
    let mut head = response.head().header_map();
    edits.apply(&mut head, KnownSet::EMPTY);
    (coding, head)
}

/// The name of the coding of a long JSON response, or `-`.
fn coding(cluster: &TestCluster, exchange: &Exchange, status: u16, fields: &[(&str, &str)]) -> &'static str {
    compressed(cluster, exchange, status, fields, &[]).0.map_or("-", ContentCoding::as_str)
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn the_client_decides_with_accept_encoding_and_brotli_comes_first() {
    let both = cluster(&[("use-gzip", "true"), ("enable-brotli", "true")]);
    for (accepted, used) in [
        (&["gzip"][..], "gzip"),
        (&["gzip, deflate, br"], "br"),
        (&["gzip;q=1.0, br;q=0.1"], "br"),
        (&["br;q=0, gzip"], "gzip"),
        (&["br;q=0.000,GZIP ; q=0.5"], "gzip"),
        (&["deflate", "gzip"], "gzip"),
        (&["gzip;q=0"], "-"),
        (&["gzip;q=x"], "-"),
        (&["xgzip, gzipx, brx"], "-"),
        (&["*"], "-"),
        (&["identity"], "-"),
        (&[""], "-"),
        (&[], "-"),
    ] {
        let headers: Vec<_> = accepted.iter().map(|value| ("accept-encoding", *value)).collect();
        let exchange = get("a.example/", &headers);
        let (found, head) = compressed(&both, &exchange, 200, &[JSON], &[]);
        assert_eq!(found.map_or("-", ContentCoding::as_str), used, "{accepted:?}");
        assert_eq!(head.get("vary").expect("for all clients"), "Accept-Encoding", "{accepted:?}");
        assert_eq!(head.get("content-encoding").map_or("-", |value| value.to_str().unwrap()), used);
    }
    let gzip = cluster(&[("use-gzip", "true")]);
    let exchange = get("a.example/", &[("accept-encoding", "br, gzip")]);
    assert_eq!(coding(&gzip, &exchange, 200, &[JSON]), "gzip");
    assert_eq!(coding(&cluster(&[]), &exchange, 200, &[JSON]), "-");
}

#[test]
fn the_response_decides_with_status_type_length_and_coding() {
    let cluster = cluster(&[("use-gzip", "true")]);
    let exchange = get("a.example/", &[("accept-encoding", "gzip")]);
    for (status, fields, used) in [
        (200, &[JSON][..], "gzip"),
        (403, &[JSON], "gzip"),
        (404, &[JSON], "gzip"),
        (201, &[JSON], "-"),
        (206, &[JSON], "-"),
        (304, &[JSON], "-"),
        (500, &[JSON], "-"),
        (200, &[], "-"),
        (200, &[("content-type", "Text/HTML; charset=utf-8")], "gzip"),
        (200, &[("content-type", "text/plain;charset=utf-8")], "gzip"),
        (200, &[("content-type", "text/plainer")], "-"),
        (200, &[("content-type", "image/png")], "-"),
        (200, &[JSON, ("content-length", "256")], "gzip"),
        (200, &[JSON, ("content-length", "255")], "-"),
        (200, &[JSON, ("content-length", "0")], "-"),
        (200, &[JSON, ("content-encoding", "br")], "-"),
        (200, &[JSON, ("cache-control", "max-age=5, no-transform")], "-"),
    ] {
        let (found, head) = compressed(&cluster, &exchange, status, fields, &[]);
        assert_eq!(found.map_or("-", ContentCoding::as_str), used, "{status} {fields:?}");
        assert_eq!(head.contains_key("vary"), used != "-", "{status} {fields:?}");
    }
    let all = self::cluster(&[("use-gzip", "true"), ("gzip-types", "text/css *")]);
    for (content_type, used) in [
        ("image/png", "gzip"),
        ("", "gzip"),
        ("application/grpc-web+proto", "gzip"),
        ("application/grpc", "-"),
        ("Application/gRPC+proto", "-"),
    ] {
        assert_eq!(coding(&all, &exchange, 200, &[("content-type", content_type)]), used, "{content_type}");
    }
    assert_eq!(coding(&all, &exchange, 200, &[]), "gzip", "without a type");
    let head = request("HEAD", "a.example/", &[("accept-encoding", "gzip")]);
    assert_eq!(coding(&cluster, &head, 200, &[JSON]), "gzip", "as for GET");
    let http10 = {
        let parsed =
            crate::exchange::tests::parsed("GET", "/", &[("host", b""), ("accept-encoding", b"gzip")]);
        let peer = std::net::SocketAddr::from(([192, 0, 2, 7], 4711));
        Exchange::new(parsed, peer, crate::exchange::RequestScheme::Http).expect("a request")
    };
    assert_eq!(coding(&cluster, &http10, 200, &[JSON]), "-");
}

#[test]
fn the_head_tells_of_another_representation() {
    let cluster = cluster(&[("use-gzip", "true")]);
    let exchange = get("a.example/", &[("accept-encoding", "gzip")]);
    for (tag, sent) in [("\"a\"", Some("W/\"a\"")), ("W/\"a\"", Some("W/\"a\"")), ("a", None)] {
        let fields =
            [JSON, ("content-length", "999"), ("etag", tag), ("accept-ranges", "bytes"), ("vary", "Origin")];
        let head = compressed(&cluster, &exchange, 200, &fields, &[]).1;
        assert_eq!(head.get("etag").map(|value| value.to_str().unwrap()), sent, "{tag}");
        assert!(!head.contains_key("content-length") && !head.contains_key("accept-ranges"), "{head:?}");
        let vary: Vec<_> = head.get_all("vary").iter().collect();
        assert_eq!(vary, ["Origin", "Accept-Encoding"]);
    }
    for vary in ["origin, accept-encoding", "*"] {
        let head = compressed(&cluster, &exchange, 200, &[JSON, ("vary", vary)], &[]).1;
        assert_eq!(head.get_all("vary").iter().count(), 1, "{vary}");
    }
}

#[test]
fn the_keys_set_types_lengths_and_excluded_agents() {
    let msie6 = "Mozilla/45.0 (compatible; MSIE 6.0; Windows NT 5.1)";
    for (data, agent, fields, used) in [
        (&[("gzip-types", "application/xml")][..], "x", &[JSON][..], "-"),
        (&[("gzip-types", "application/xml")], "x", &[("content-type", "text/html")], "gzip"),
        (&[("gzip-types", "a/b\n  application/json")], "x", &[JSON], "gzip"),
        (&[("gzip-types", "*")], "x", &[("content-type", "image/png")], "gzip"),
        (&[("gzip-types", "*")], "x", &[], "gzip"),
        (&[("gzip-types", "*")], "x", &[("content-type", "application/grpc+proto")], "-"),
        (&[("gzip-min-length", "10")], "x", &[JSON, ("content-length", "10")], "gzip"),
        (&[("gzip-min-length", "10")], "x", &[JSON, ("content-length", "9")], "-"),
        (&[("gzip-disable", "msie6")], msie6, &[JSON], "-"),
        (&[("gzip-disable", "msie6")], "Mozilla/4.8 [en] (Windows NT 5.1; U)", &[JSON], "gzip"),
        (&[("gzip-disable", "msie6")], "Mozilla/4.0 (MSIE 6.0; Windows NT 5.1; SV1)", &[JSON], "gzip"),
        (&[("gzip-disable", "msie6")], "Mozilla/4.0 (MSIE 7.0)", &[JSON], "gzip"),
        (&[("gzip-disable", "msie6")], "MSIE 5.", &[JSON], "-"),
        (&[("gzip-disable", "^curl/")], "curl/8", &[JSON], "-"),
        (&[("gzip-disable", "^curl/")], "Curl/8", &[JSON], "gzip"),
        (&[("gzip-disable", "")], "x", &[JSON], "gzip"),
    ] {
        let keys = [data, &[("use-gzip", "true")]].concat();
        let cluster = cluster(&keys);
        assert_eq!(cluster.problems(), [""; 0], "{data:?}");
        let exchange = get("a.example/", &[("accept-encoding", "gzip"), ("user-agent", agent)]);
        assert_eq!(coding(&cluster, &exchange, 200, fields), used, "{data:?} {agent} {fields:?}");
    }
    let brotli = cluster(&[("enable-brotli", "true"), ("brotli-types", "a/b"), ("brotli-min-length", "24")]);
    let exchange = get("a.example/", &[("accept-encoding", "br")]);
    for (length, used) in [("24", "br"), ("23", "-")] {
        let fields = [("content-type", "a/b"), ("content-length", length)];
        assert_eq!(coding(&brotli, &exchange, 200, &fields), used, "{length}");
    }
}

#[test]
fn a_coding_whose_encoder_cannot_start_is_not_used() {
    let both = cluster(&[("use-gzip", "true"), ("enable-brotli", "true")]);
    let exchange = get("a.example/", &[("accept-encoding", "br, gzip")]);
    for (busy, used) in [
        (&[][..], "br"),
        (&[ContentCoding::Brotli], "gzip"),
        (&[ContentCoding::Brotli, ContentCoding::Gzip], "-"),
    ] {
        let (found, head) = compressed(&both, &exchange, 200, &[JSON, ("etag", "\"a\"")], busy);
        assert_eq!(found.map_or("-", ContentCoding::as_str), used);
        assert_eq!(head.get("etag").unwrap(), if used == "-" { "\"a\"" } else { "W/\"a\"" });
    }
}

#[test]
fn invalid_values_are_reported_and_replaced_by_defaults() {
    let cluster = cluster(&[
        ("use-gzip", "true"),
        ("gzip-level", "10"),
        ("gzip-min-length", "1k"),
        ("gzip-disable", "("),
        ("brotli-level", "12"),
    ]);
    let problems = cluster.problems();
    for key in ["gzip-level", "gzip-min-length", "gzip-disable", "brotli-level"] {
        assert!(problems.iter().any(|problem| problem.contains(&format!("{key}: "))), "{key}: {problems:?}");
    }
    let exchange = get("a.example/", &[("accept-encoding", "gzip")]);
    assert_eq!(coding(&cluster, &exchange, 200, &[JSON, ("content-length", "256")]), "gzip");
}
