//! The record of a request: its line in the access log and its metrics.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::CompactString;
use http::{HeaderName, StatusCode};
use ingress_routes::access_log::{ResponseField, ResponseSide};
use ingress_routes::plan::phase::Phase;
use ingress_routes::{
    AccessLogSettings, BasicCredentials, DEFAULT_UPSTREAM, Exchange, LineFormat, RequestId, SkippedUrls,
    UpstreamTarget,
};
use ingress_wire::known_header::KnownHeader;
use smallvec::SmallVec;

use crate::followed_requests::FollowTicket;
use crate::observe::format;
use crate::observe::metrics::{RequestLabels, RequestSample};
use crate::views::held_routes::HeldRoute;

/// One attempt at an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Its address.
    pub(crate) name: Rc<str>,
    /// The first attempt at a default backend, after those at the upstream (nginx's internal redirect).
    pub(crate) follows_redirect: bool,
    pub(crate) started: Instant,
    pub(crate) connected: Option<Duration>,
    pub(crate) header: Option<Duration>,
    pub(crate) ended: Option<Duration>,
    pub(crate) received: u64,
    /// Of the response, or of the failure; `None` if the client ended the attempt, or nothing did so far.
    pub(crate) status: Option<StatusCode>,
}

impl Attempt {
    /// Writes `$upstream_status`.
    pub(super) fn write_status(&self, out: &mut Vec<u8>) {
        match self.status {
            Some(status) => format::number(out, status.as_u16().into()),
            None => out.push(b'-'),
        }
    }
}

/// A request from its head to its last byte.
#[derive(Debug)]
pub(crate) struct AccessRecord {
    pub(crate) started: Instant,
    pub(crate) client: Rc<str>,
    /// The request line if there is no exchange; see [`Self::line`].
    pub(crate) refused_line: Bytes,
    pub(crate) head_bytes: u64,
    pub(crate) body_bytes: u64,
    /// `None` if the head was refused.
    pub(crate) exchange: Option<Exchange>,
    pub(crate) route: Option<Rc<HeldRoute>>,
    /// The number of the canary that was chosen.
    pub(crate) canary: Option<usize>,
    pub(crate) attempts: SmallVec<[Attempt; 1]>,
    /// The name of the default backend that responds instead of the upstream.
    pub(crate) default_backend: Option<CompactString>,
    /// The fields of the response's heads that the format of the log has.
    pub(crate) response_fields: Vec<(ResponseField, Bytes)>,
    pub(crate) request_id: RequestId,
    /// The logged status; it may be one of nginx's own codes, such as 499, which no client receives.
    pub(crate) status: u16,
    /// Bytes of the response's head; 0 for HTTP/2, whose heads are compressed.
    pub(crate) sent_head: u64,
    /// Bytes of the response's body, with chunk framing.
    pub(crate) sent: u64,
    /// The health check of the catch-all host: neither logged nor counted.
    pub(crate) silent: bool,
    /// The phase whose rule made the response, if no endpoint was asked for it.
    pub(crate) answered_in: Option<Phase>,
    /// Of a request that is followed.
    pub(crate) followed: Option<FollowTicket>,
}

impl AccessRecord {
    /// The record of a request that begins now.
    pub(crate) fn new(started: Instant, client: Rc<str>) -> Self {
        Self {
            started,
            client,
            refused_line: Bytes::new(),
            head_bytes: 0,
            body_bytes: 0,
            exchange: None,
            route: None,
            canary: None,
            attempts: SmallVec::new(),
            default_backend: None,
            response_fields: Vec::new(),
            request_id: RequestId::None,
            status: 0,
            sent_head: 0,
            sent: 0,
            silent: false,
            answered_in: None,
            followed: None,
        }
    }

    /// Makes the record that of a request that begins now. Its fields are set one by one, because it is large.
    pub(crate) fn restart(&mut self, started: Instant, client: Rc<str>) {
        (self.started, self.client) = (started, client);
        (self.head_bytes, self.body_bytes, self.sent_head, self.sent) = (0, 0, 0, 0);
        (self.status, self.silent, self.canary, self.answered_in) = (0, false, None, None);
        self.request_id = RequestId::None;
    }

    /// Releases what belongs to its request.
    pub(crate) fn clear(&mut self) {
        self.refused_line = Bytes::new();
        (self.exchange, self.route, self.default_backend) = (None, None, None);
        self.attempts = SmallVec::new();
        self.response_fields.clear();
    }

    /// `GET / HTTP/1.1`, as the client wrote it.
    pub(crate) fn line(&self) -> &[u8] {
        self.exchange.as_ref().map_or(&self.refused_line, |exchange| exchange.request.line())
    }

    fn canary_target(&self) -> Option<(usize, &UpstreamTarget)> {
        let (at, upstream) = (self.canary?, self.route.as_ref()?.upstream.as_ref()?);
        Some((at, &upstream.canary.as_ref()?.target))
    }

    /// The upstream that the last attempts were at; `None` if there was none, or if it is a default backend.
    pub(crate) fn target(&self) -> Option<&UpstreamTarget> {
        if self.default_backend.is_some() {
            return None;
        }
        let primary = || Some(&self.route.as_ref()?.upstream.as_ref()?.primary);
        self.canary_target().map(|(_, target)| target).or_else(primary)
    }

    /// The value of a field of the request.
    pub(super) fn header(&self, header: KnownHeader) -> Option<&[u8]> {
        self.exchange.as_ref()?.request.head().get(header)
    }

    /// Writes ingress-nginx's default `log-format-upstream`. Hot: allocates only for Basic authorization.
    pub(crate) fn write(&self, out: &mut Vec<u8>, local_time: impl FnOnce(&mut Vec<u8>), elapsed: Duration) {
        let put = |out: &mut Vec<u8>, text: Option<&[u8]>| match text {
            Some(text) if !text.is_empty() => format::escaped(out, text),
            _ => out.push(b'-'),
        };
        out.extend_from_slice(self.client.as_bytes());
        out.extend_from_slice(b" - ");
        let credentials = self.header(KnownHeader::Authorization).and_then(BasicCredentials::decode);
        put(out, credentials.as_ref().map(BasicCredentials::user));
        out.extend_from_slice(b" [");
        local_time(out);
        out.extend_from_slice(b"] \"");
        format::escaped(out, self.line());
        out.extend_from_slice(b"\" ");
        format::number(out, self.status.into());
        out.push(b' ');
        format::number(out, self.sent);
        out.extend_from_slice(b" \"");
        put(out, self.header(KnownHeader::Referer));
        out.extend_from_slice(b"\" \"");
        put(out, self.header(KnownHeader::UserAgent));
        out.extend_from_slice(b"\" ");
        format::number(out, self.head_bytes + self.body_bytes);
        out.push(b' ');
        format::seconds(out, elapsed);
        out.extend_from_slice(b" [");
        out.extend_from_slice(self.upstream_name().as_bytes());
        out.extend_from_slice(b"] [");
        out.extend_from_slice(self.canary_name().as_bytes());
        out.extend_from_slice(b"] ");
        self.each(out, |out, one| out.extend_from_slice(one.name.as_bytes()));
        self.each(out, |out, one| format::number(out, one.received));
        self.each(out, |out, one| format::seconds(out, one.ended.unwrap_or_default()));
        self.each(out, |out, one| one.write_status(out));
        put(out, Some(self.request_id.as_bytes()));
    }

    /// Writes one value for each attempt, and a space.
    fn each(&self, out: &mut Vec<u8>, write: impl Fn(&mut Vec<u8>, &Attempt)) {
        self.write_attempts(out, write);
        out.extend_from_slice(if self.attempts.is_empty() { b"- " } else { b" " });
    }

    /// Writes one value for each attempt.
    pub(crate) fn write_attempts(&self, out: &mut Vec<u8>, write: impl Fn(&mut Vec<u8>, &Attempt)) {
        for (at, one) in self.attempts.iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(if one.follows_redirect { b" : " } else { b", " });
            }
            write(out, one);
        }
    }

    /// `$proxy_upstream_name`.
    pub(crate) fn upstream_name(&self) -> &str {
        if let Some(name) = &self.default_backend {
            return name;
        }
        match (&self.route, &self.exchange) {
            (Some(route), _) => route.upstream_name(),
            (None, Some(_)) => DEFAULT_UPSTREAM,
            // A refused head has no route.
            (None, None) => "",
        }
    }

    /// `$proxy_alternative_upstream_name`.
    pub(crate) fn canary_name(&self) -> &str {
        self.canary_target().map_or("", |(_, target)| &target.name)
    }

    /// Keeps the fields of a head that a format has; `values` finds those of a name. Hot: not called for the default format.
    pub(crate) fn keep_fields<'f, V: Iterator<Item = Bytes>>(
        &mut self,
        format: &'f LineFormat,
        side: ResponseSide,
        values: impl Fn(&'f HeaderName) -> V,
    ) {
        for field in format.response_fields(side) {
            // A format may have the variable twice.
            if self.response_fields.iter().any(|(known, _)| known == field) {
                continue;
            }
            let values = values(&field.name);
            self.response_fields.extend(values.map(|value| (field.clone(), value)));
        }
    }

    /// Whether the request has a line.
    pub(crate) fn is_logged(&self, settings: &AccessLogSettings) -> bool {
        settings.is_enabled
            && (settings.has_default_backend || !self.is_of_default_backend())
            && !self.route.as_ref().is_some_and(|route| route.plan.is_not_logged)
            && (settings.skipped_urls.is_empty() || !self.is_skipped(&settings.skipped_urls))
    }

    /// Whether the route has spans.
    pub(crate) fn is_traced(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.plan.tracing.is_some())
    }

    fn is_skipped(&self, skipped: &SkippedUrls) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| {
            let mut budget = exchange.step_budget.get();
            skipped.contains(exchange.request_target(), &mut budget)
        })
    }

    /// Whether the built-in catch-all route was used: no Ingress covers the host.
    pub(crate) fn is_of_default_backend(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.ingress.is_none() && route.host == "_")
    }

    /// The values for the metrics.
    pub(crate) fn sample(&self, elapsed: Duration) -> RequestSample {
        let last = self.attempts.last();
        RequestSample {
            request: elapsed,
            response: last.and_then(|one| one.ended),
            header: last.and_then(|one| one.header),
            connect: last.and_then(|one| one.connected),
            request_bytes: self.head_bytes + self.body_bytes,
            response_bytes: self.sent_head + self.sent,
        }
    }

    /// The labels for the metrics; `None` if the head was refused.
    pub(crate) fn of(&self) -> Option<RequestLabels<'_>> {
        let route = self.route.as_ref()?;
        let exchange = self.exchange.as_ref()?;
        let (method, host) = (exchange.method(), exchange.host());
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Some(RequestLabels { route, canary: self.canary_target(), status, method, host })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::SocketAddr;

    use bytes::BytesMut;
    use ingress_routes::RequestScheme;
    use ingress_wire::request::ParsedRequest;
    use ingress_wire::request_head::HeadLimits;

    use super::*;

    /// A request that was answered 404, with headers.
    pub(crate) fn record(headers: &[(&str, &[u8])]) -> AccessRecord {
        let mut text = b"GET /a?b HTTP/1.1\r\nhost: shop.example\r\n".to_vec();
        for (name, value) in headers {
            text.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        text.extend_from_slice(b"\r\n");
        let mut request = Box::<ParsedRequest>::default();
        request.parse(&mut BytesMut::from(&text[..]), &HeadLimits::default()).unwrap();
        let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
        let exchange = Exchange::new(request, peer, RequestScheme::Http).unwrap();
        AccessRecord {
            head_bytes: 70,
            body_bytes: 12,
            exchange: Some(exchange),
            request_id: RequestId::of(None, || 0x1234_5678_9abc_def0_1234_5678_9abc_def0),
            status: 404,
            sent: 146,
            ..AccessRecord::new(Instant::now(), "192.0.2.7".into())
        }
    }

    fn line(record: &AccessRecord) -> String {
        let mut out = Vec::new();
        let time = |out: &mut Vec<u8>| out.extend_from_slice(b"21/Nov/2026:07:44:42 +0000");
        record.write(&mut out, time, Duration::from_millis(2));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_line_is_ingress_nginx_s_default() {
        let mut record = record(&[("user-agent", b"curl/8 \"x\"")]);
        assert_eq!(
            line(&record),
            "192.0.2.7 - - [21/Nov/2026:07:44:42 +0000] \"GET /a?b HTTP/1.1\" 404 146 \"-\" \"curl/8 \\x22x\\x22\" 82 0.002 \
             [upstream-default-backend] [] - - - - 123456789abcdef0123456789abcdef0"
        );
        let one = Attempt {
            name: "10.0.0.1:80".into(),
            follows_redirect: false,
            started: record.started,
            connected: None,
            header: None,
            ended: Some(Duration::from_millis(1)),
            received: 0,
            status: Some(StatusCode::BAD_GATEWAY),
        };
        let other =
            Attempt { name: "10.0.0.2:80".into(), received: 5, status: Some(StatusCode::OK), ..one.clone() };
        record.attempts.extend([one, other]);
        assert!(
            line(&record).contains("[] 10.0.0.1:80, 10.0.0.2:80 0, 5 0.001, 0.001 502, 200 "),
            "{}",
            line(&record)
        );
    }

    #[test]
    fn a_request_with_a_refused_head_is_logged_without_an_upstream() {
        let refused =
            AccessRecord { exchange: None, refused_line: Bytes::from_static(b"GARBAGE"), ..record(&[]) };
        assert!(
            line(&refused).contains("\"GARBAGE\" 404 146 \"-\" \"-\" 82 0.002 [] [] - - - - "),
            "{}",
            line(&refused)
        );
    }

    #[test]
    fn user_referer_and_the_client_s_request_id_are_logged() {
        let headers: &[(&str, &[u8])] = &[
            ("authorization", b"Basic Zm9vOmJhcg=="),
            ("referer", b"https://\xe4.example/"),
            ("x-request-id", b"mine"),
        ];
        let mut record = record(headers);
        record.request_id = RequestId::of(record.exchange.as_ref().map(|exchange| &*exchange.request), || 0);
        let line = line(&record);
        assert!(line.starts_with("192.0.2.7 - foo ["), "{line}");
        assert!(line.contains("\"https://\\xE4.example/\" \"-\""), "{line}");
        assert!(line.ends_with(" mine"), "{line}");
        record.request_id.drop_own();
        assert_eq!(record.request_id.as_bytes(), b"mine");
        record.request_id = RequestId::of(None, || 0);
        record.request_id.drop_own();
        assert!(self::line(&record).ends_with(" -"));
    }
}
