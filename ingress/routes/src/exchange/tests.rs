use bytes::BytesMut;
use ingress_wire::request_head::HeadLimits;

use super::*;

/// A head over HTTP/1.1, or over HTTP/1.0 if the host is empty.
pub(crate) fn parsed(method: &str, target: &str, headers: &[(&str, &[u8])]) -> Box<ParsedRequest> {
    let without_host = headers.contains(&("host", b""));
    let version = if without_host { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut text = format!("{method} {target} {version}\r\n").into_bytes();
    for (name, value) in headers.iter().filter(|(name, _)| !without_host || *name != "host") {
        text.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    text.extend_from_slice(b"\r\n");
    let mut request = Box::<ParsedRequest>::default();
    let parsed = request.parse(&mut BytesMut::from(&text[..]), &HeadLimits::default());
    assert_eq!(parsed, Ok(true), "{target}");
    request
}

/// A GET of `http://shop.example/` with headers that are bytes.
pub(crate) fn with_bytes(headers: &[(&str, &[u8])]) -> Exchange {
    let all: Vec<_> = [("host", &b"shop.example"[..])].into_iter().chain(headers.iter().copied()).collect();
    Exchange::new(parsed("GET", "/", &all), SocketAddr::from(([192, 0, 2, 7], 4711)), RequestScheme::Http)
        .expect("a request")
}

/// A GET of a URL over HTTP/1.1, with headers.
pub(crate) fn get(url: &str, headers: &[(&str, &str)]) -> Exchange {
    request("GET", url, headers)
}

/// The same, with another method.
pub(crate) fn request(method: &str, url: &str, headers: &[(&str, &str)]) -> Exchange {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let target = match &rest[at..] {
        "" => "/".to_owned(),
        query if query.starts_with('?') => format!("/{query}"),
        target => target.to_owned(),
    };
    let mut all = vec![("host", &rest.as_bytes()[..at])];
    all.extend(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
    let scheme = if scheme == "https" { RequestScheme::Https } else { RequestScheme::Http };
    Exchange::new(parsed(method, &target, &all), SocketAddr::from(([192, 0, 2, 7], 4711)), scheme).expect(url)
}

fn new(target: &str, host: &str) -> Result<Exchange, BadRequest> {
    let request = parsed("GET", target, &[("host", host.as_bytes())]);
    let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
    Exchange::new(request, peer, RequestScheme::Http).map_err(|(bad, _)| bad)
}

#[test]
fn hosts_are_read_as_nginx_reads_them() {
    for (target, sent, host) in [
        ("/", "shop.example", Ok("shop.example")),
        ("/", "Shop.Example.:8080", Ok("shop.example")),
        ("/", "[fd00::1]:8080", Ok("[fd00::1]")),
        ("http://Other.example:80/", "other.example:80", Ok("other.example")),
        ("/", "a:b", Err(BadRequest::BadHost)),
        ("/", "\u{e9}", Err(BadRequest::BadHost)),
        ("/../x", "a", Err(BadRequest::BadPath(BadPath::AboveRoot))),
    ] {
        let read = new(target, sent);
        assert_eq!(read.as_ref().map(Exchange::host).map_err(|bad| *bad), host, "{target} {sent}");
    }
    assert_eq!(new("/", "").unwrap().host(), "", "HTTP/1.0");
}

#[test]
fn bytes_that_make_no_text_are_encoded_in_the_target() {
    let exchange = new("/a<\u{e9}?b=`", "a").unwrap();
    assert_eq!(exchange.request_target(), "/a%3C%C3%A9?b=%60");
    assert_eq!((exchange.path(), exchange.query()), ("/a<\u{e9}", Some("b=%60")));
    assert_eq!(exchange.request.target(), "/a<\u{e9}?b=`".as_bytes());
}

#[test]
fn cookies_are_found_in_every_header() {
    let exchange = get("a.example/", &[("cookie", "a=1; b=2"), ("cookie", "c=x=y")]);
    for (name, value) in [("a", Some("1")), ("b", Some("2")), ("c", Some("x=y")), ("d", None)] {
        assert_eq!(exchange.cookie(name), value, "{name}");
    }
}

#[test]
fn a_cookie_that_is_not_ascii_does_not_hide_others() {
    let cookies = &b"name=Jos\xc3\xa9; old=\xe9; route=k|b"[..];
    let request = parsed("GET", "/", &[("host", b"a"), ("cookie", cookies)]);
    let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
    let exchange = Exchange::new(request, peer, RequestScheme::Http).unwrap();
    for (name, value) in [("name", Some("Jos\u{e9}")), ("old", None), ("route", Some("k|b"))] {
        assert_eq!(exchange.cookie(name), value, "{name}");
    }
}
