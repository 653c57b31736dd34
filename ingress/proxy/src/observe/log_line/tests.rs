use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use ingress_routes::access_log::ResponseSide;

use super::*;
use crate::observe::access_log::tests::record;

/// The line of a record in a format.
fn line(record: &AccessRecord, format: &str, escape: LogEscape) -> String {
    let format = LineFormat::parse(format, escape).expect(format);
    let clock = Clock::new(jiff::tz::TimeZone::UTC);
    let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
    let connection = LoggedConnection {
        number: 3,
        requests: 2,
        peer: "[::ffff:10.0.0.9]:4711".parse().unwrap(),
        client: peer,
        scheme: RequestScheme::Http,
        port: 80,
        proxied: None,
        tls: None,
        certificate: None,
    };
    let elapsed = Duration::from_millis(2);
    let line = LogLine { record, connection, forwarded_port: None, clock: &clock, elapsed };
    let mut out = Vec::new();
    line.write(&format, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn attempt(name: &str, status: StatusCode, header: Option<Duration>) -> Attempt {
    Attempt {
        name: name.into(),
        follows_redirect: false,
        started: std::time::Instant::now(),
        connected: Some(Duration::ZERO),
        header,
        ended: Some(Duration::from_millis(1)),
        received: 5,
        status: Some(status),
    }
}

#[test]
fn the_compiled_default_format_equals_the_built_in_one() {
    let headers: [&[(&str, &[u8])]; 3] = [
        &[],
        &[("user-agent", b"curl \"x\""), ("referer", b"/\xe4"), ("authorization", b"Basic Zm9vOmJhcg==")],
        &[("authorization", b"Bearer x"), ("x-request-id", b"mine")],
    ];
    let mut records: Vec<_> = headers.into_iter().map(record).collect();
    let mut tried = record(headers[1]);
    tried.attempts.push(attempt("10.0.0.1:80", StatusCode::BAD_GATEWAY, None));
    tried.attempts.push(attempt("10.0.0.2:80", StatusCode::OK, Some(Duration::from_millis(7))));
    records.push(tried);
    records.push(AccessRecord {
        exchange: None,
        refused_line: Bytes::from_static(b"GARBAGE"),
        ..record(&[])
    });
    for record in &records {
        let mut built_in = Vec::new();
        let time = |out: &mut Vec<u8>| Clock::new(jiff::tz::TimeZone::UTC).write_local_time(out);
        record.write(&mut built_in, time, Duration::from_millis(2));
        let compiled = line(record, LineFormat::DEFAULT, LogEscape::Default);
        let without_time = |line: &str| {
            let (before, rest) = line.split_once('[').expect("a time");
            format!("{before}{}", rest.split_once(']').expect("a time").1)
        };
        assert_eq!(without_time(&compiled), without_time(&String::from_utf8_lossy(&built_in)));
    }
}

#[test]
fn variables_have_the_values_of_nginx() {
    let headers: &[(&str, &[u8])] = &[
        ("header3", b"Here is \"header3\""),
        ("x-forwarded-for", b"198.51.100.1"),
        ("x-forwarded-for", b"198.51.100.2"),
        ("cookie", b"a=1"),
        ("cookie", b"b=2"),
        ("empty", b""),
    ];
    let mut record = record(headers);
    record.sent_head = 100;
    record.attempts.push(attempt("10.0.0.1:80", StatusCode::BAD_GATEWAY, None));
    record.attempts.push(attempt("10.0.0.2:80", StatusCode::OK, Some(Duration::from_millis(7))));
    for (format, wanted) in [
        ("$http_header3|$http_header4|$http_empty|", r"Here is \x22header3\x22|-||"),
        ("$http_x_forwarded_for", "198.51.100.1, 198.51.100.2"),
        ("$proxy_add_x_forwarded_for", "198.51.100.1, 198.51.100.2, 192.0.2.7"),
        ("$http_cookie|$cookie_b|$cookie_c", "a=1; b=2|2|-"),
        ("$host|$http_host|$scheme|$https|", "shop.example|shop.example|http||"),
        ("$request_method $request_uri $server_protocol", "GET /a?b HTTP/1.1"),
        ("$uri$is_args$args|$arg_x|$query_string", "/a?b|-|b"),
        ("$escaped_request_uri", "%2Fa%3Fb"),
        ("$remote_addr:$remote_port|$binary_remote_addr", r"192.0.2.7:4711|\xC0\x00\x02\x07"),
        ("$connection.$connection_requests:$pass_port", "3.2:80"),
        ("$status $bytes_sent $body_bytes_sent $request_length", "404 246 146 82"),
        ("$upstream_addr|$upstream_status", "10.0.0.1:80, 10.0.0.2:80|502, 200"),
        ("$upstream_response_length|$upstream_response_time", "5, 5|0.001, 0.001"),
        ("$upstream_connect_time|$upstream_header_time", "0.000, 0.000|-, 0.007"),
        ("$namespace|$ingress_name|$service_name|$service_port|$location_path", "||||"),
        ("$proxy_upstream_name|$proxy_alternative_upstream_name|$server_name", "upstream-default-backend||_"),
        ("$proxy_protocol_addr|$proxy_protocol_server_port|$ssl_client_serial", "-|-|-"),
        ("$ssl_protocol|$ssl_client_verify|$upstream_cache_status|$sent_http_etag", "-|-|-|-"),
        ("$req_id|$pipe", "123456789abcdef0123456789abcdef0|."),
    ] {
        assert_eq!(line(&record, format, LogEscape::Default), wanted, "{format}");
    }
    let times = line(&record, "$time_iso8601 $msec $request_time", LogEscape::Default);
    let times: Vec<_> = times.split(' ').collect();
    assert!(times[0].ends_with("+00:00") && times[1].len() == 14 && times[2] == "0.002", "{times:?}");
}

#[test]
fn values_that_were_not_found_are_empty_without_the_default_escaping() {
    let record = record(&[("header3", b"a \"b\" \xff")]);
    let format = r#"{"x":"$http_header3","y":"$http_header4","u":"$upstream_status"}"#;
    for (escape, wanted) in [
        (LogEscape::Default, r#"{"x":"a \x22b\x22 \xFF","y":"-","u":"-"}"#),
        (LogEscape::Json, "{\"x\":\"a \\\"b\\\" \u{fffd}\",\"y\":\"\",\"u\":\"\"}"),
        (LogEscape::None, "{\"x\":\"a \"b\" \u{fffd}\",\"y\":\"\",\"u\":\"\"}"),
    ] {
        assert_eq!(line(&record, format, escape), wanted);
    }
}

#[test]
fn a_rewritten_request_has_the_rewritten_path_and_query() {
    let mut record = record(&[]);
    let exchange = record.exchange.as_mut().expect("a request");
    exchange.target = Some("/x%20y?c=d".into());
    let format = "$uri|$args|$request_uri";
    assert_eq!(line(&record, format, LogEscape::Default), "/x y|c=d|/a?b");
}

#[test]
fn the_peer_is_that_of_the_connection_and_http2_is_named() {
    let mut record = record(&[]);
    assert_eq!(
        line(&record, "$realip_remote_addr|$realip_remote_port|$http2|", LogEscape::Default),
        "10.0.0.9|4711||"
    );
    record.refused_line = Bytes::from_static(b"GET / HTTP/2.0");
    record.exchange = None;
    assert_eq!(line(&record, "$http2|$pass_server_port", LogEscape::Default), "h2c|80");
    assert_ne!(line(&record, "$hostname", LogEscape::Default), "-");
}

#[test]
fn a_request_with_a_refused_head_has_few_values() {
    let refused =
        AccessRecord { exchange: None, refused_line: Bytes::from_static(b"GARBAGE"), ..record(&[]) };
    let format =
        "$request|$request_method|$uri|$server_protocol|$host|$http_host|$remote_user|$scheme|$proxy_host|";
    assert_eq!(line(&refused, format, LogEscape::Default), "GARBAGE|-|-|-|_|-|-|http||");
}

#[test]
fn only_the_fields_of_responses_that_the_format_has_are_kept() {
    let mut record = record(&[]);
    let mut headers = HeaderMap::new();
    for (name, value) in [("etag", "\"1\""), ("x-app", "one"), ("x-app", "two"), ("server", "s")] {
        headers.append(name, value.parse().expect("a value"));
    }
    let text = "$upstream_http_x_app|$upstream_http_x_app|$sent_http_etag";
    let format = LineFormat::parse(text, LogEscape::Json).expect("a format");
    let values = |name: &HeaderName| {
        let values = headers.get_all(name).into_iter();
        values.map(|value| Bytes::copy_from_slice(value.as_bytes())).collect::<Vec<_>>().into_iter()
    };
    record.keep_fields(&format, ResponseSide::Upstream, values);
    record.keep_fields(&format, ResponseSide::Sent, values);
    assert_eq!(record.response_fields.len(), 3);
    assert_eq!(line(&record, text, LogEscape::Json), "one, two|one, two|\\\"1\\\"");
}
