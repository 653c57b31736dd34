//! `etcd` in a chain, with a server that answers like etcd's JSON gateway. The table is that of CoreDNS's own tests; the control
//! plane's tests ask a real etcd.
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

mod support;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dns_chain::codes::Rcode;
use dns_wire::Section;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use support::{Question, TestRoutes, build, parsed, routes};
use tokio::net::TcpListener;

/// The keys and documents, and the TTLs of leases.
#[derive(Default)]
struct Store {
    keys: Mutex<BTreeMap<String, (String, i64)>>,
    leases: BTreeMap<i64, i64>,
    /// The only valid token; none is needed if it is empty.
    token: Mutex<String>,
    requests: AtomicUsize,
}

impl Store {
    fn new(records: &[(&str, &str)]) -> Arc<Self> {
        let store = Self { leases: [(1, 3600), (2, 5), (3, -1)].into(), ..Self::default() };
        for (name, document) in records {
            let mut labels: Vec<&str> = name.split('.').collect();
            labels.reverse();
            let (document, lease) = match document.rsplit_once(" @") {
                Some((document, lease)) => (document, lease.parse().unwrap()),
                None => (*document, 0),
            };
            let key = format!("/skydns/{}", labels.join("/"));
            store.keys.lock().unwrap().insert(key, (document.to_owned(), lease));
        }
        Arc::new(store)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.requests.fetch_add(1, Relaxed);
        let path = request.uri().path().to_owned();
        let token = request.headers().get("authorization").map(|token| token.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let status = |code: u16, body: Value| {
            Response::builder().status(code).body(Full::new(body.to_string().into())).unwrap()
        };
        let valid = self.token.lock().unwrap().clone();
        if path == "/v3/auth/authenticate" {
            return match (body["name"].as_str(), body["password"].as_str()) {
                (Some("dns"), Some("secret")) => status(200, json!({ "token": valid })),
                _ => status(400, json!({ "message": "authentication failed, invalid user ID or password" })),
            };
        }
        if !valid.is_empty() && token.as_deref() != Some(&valid) {
            return status(401, json!({ "error": "invalid auth token", "code": 16 }));
        }
        match path.as_str() {
            "/v3/kv/range" => status(200, self.range(&body)),
            "/v3/lease/timetolive" => {
                let lease: i64 = body["ID"].as_str().unwrap().parse().unwrap();
                status(200, json!({ "ID": body["ID"], "TTL": self.leases[&lease].to_string() }))
            }
            _ => status(404, json!({})),
        }
    }

    fn range(&self, request: &Value) -> Value {
        let decoded = |name: &str| {
            let text = request.get(name).and_then(Value::as_str)?;
            Some(String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).unwrap())
        };
        let key = decoded("key").unwrap();
        let end = decoded("range_end");
        let keys = self.keys.lock().unwrap();
        let is_asked =
            |other: &str| end.as_ref().map_or(other == key, |end| *other >= *key && *other < **end);
        let encoded = |text: &str| BASE64_STANDARD.encode(text);
        let kvs: Vec<Value> = keys
            .iter()
            .filter(|(key, _)| is_asked(key))
            .map(|(key, (document, lease))| match lease {
                0 => json!({ "key": encoded(key), "value": encoded(document) }),
                lease => {
                    json!({ "key": encoded(key), "value": encoded(document), "lease": lease.to_string() })
                }
            })
            .take(request["limit"].as_u64().unwrap() as usize)
            .collect();
        // The gateway leaves out what is empty.
        if kvs.is_empty() {
            json!({ "header": {} })
        } else {
            json!({ "header": {}, "kvs": kvs, "count": kvs.len().to_string() })
        }
    }
}

/// Serves the store on an address.
async fn serve(store: Arc<Store>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let store = store.clone();
            let service = service_fn(move |request| {
                let store = store.clone();
                async move { Ok::<_, Infallible>(store.answer(request).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

const ZONES: &str =
    "skydns.test skydns_zonea.test skydns_zoneb.test skydns_zonec.test skydns_zoned.test 0.0.10.in-addr.arpa";

const RECORDS: &[(&str, &str)] = &[
    ("a.server1.dev.region1.skydns.test", r#"{"host":"dev.server1","port":8080}"#),
    ("a.server1.prod.region1.skydns.test", r#"{"host":"10.0.0.1","port":8080}"#),
    ("b.server1.prod.region1.skydns.test", r#"{"host":"10.0.0.2","port":8080}"#),
    ("b.server6.prod.region1.skydns.test", r#"{"host":"::1","port":8080}"#),
    ("a.txt.server1.prod.region1.skydns.test", r#"{"text":"sometext"}"#),
    ("b.txt.server1.prod.region1.skydns.test", r#"{"text":"moretext"}"#),
    ("cname.prod.region1.skydns.test", r#"{"host":"unresolvable.skydns.test"}"#),
    ("priority.skydns.test", r#"{"host":"priority.server1","priority":333,"port":8080}"#),
    ("a.sub.region1.skydns.test", r#"{"host":"sub.server1"}"#),
    ("b.sub.region1.skydns.test", r#"{"host":"sub.server2","port":80}"#),
    ("c.sub.region1.skydns.test", r#"{"host":"10.0.0.1","port":8080}"#),
    ("a.targetstrip.skydns.test", r#"{"host":"10.0.0.1","port":8080,"targetstrip":1}"#),
    ("b.cname.skydns.test", r#"{"host":"a.cname.skydns.test"}"#),
    ("a.cname.skydns.test", r#"{"host":"b.cname.skydns.test"}"#),
    ("inside.skydns.test", r#"{"host":"server1.prod.region1.skydns.test","ttl":60}"#),
    ("outside.skydns.test", r#"{"host":"www.example.org","port":1}"#),
    ("mail.skydns.test", r#"{"host":"mx.example.org","mail":true,"priority":5}"#),
    ("a.ns.dns.skydns.test", r#"{"host":"10.0.0.2"}"#),
    ("b.ns.dns.skydns.test", r#"{"host":"10.0.0.3"}"#),
    ("ns1.c.ns.dns.skydns.test", r#"{"host":"10.0.0.4","targetstrip":1}"#),
    ("ns2.c.ns.dns.skydns.test", r#"{"host":"10.0.0.5","targetstrip":1}"#),
    ("lease1.skydns.test", r#"{"host":"10.0.1.1"} @1"#),
    ("lease2.skydns.test", r#"{"host":"10.0.1.2","ttl":100} @2"#),
    ("lease3.skydns.test", r#"{"host":"10.0.1.3"} @3"#),
    ("a.group.skydns.test", r#"{"host":"10.0.2.1","group":"g1"}"#),
    ("b.group.skydns.test", r#"{"host":"10.0.2.2","group":"g1"}"#),
    ("a.c.group.skydns.test", r#"{"host":"10.0.2.3","group":"g2"}"#),
    ("broken.skydns.test", r#"{"host":"#),
    ("x.skydns_zonea.test", r#"{"host":"10.0.0.2"}"#),
    ("y.skydns_zonea.test", r#"{"host":"10.0.0.3"}"#),
    ("x.skydns_zoneb.test", r#"{"host":"10.0.0.2"}"#),
    ("apex.dns.skydns_zoneb.test", r#"{"host":"10.0.0.4"}"#),
    ("a1.apex.dns.skydns_zoned.test", r#"{"host":"10.0.0.4"}"#),
    ("a3.apex.dns.skydns_zoned.test", r#"{"host":"2003::8:1"}"#),
    ("1.0.0.10.in-addr.arpa", r#"{"host":"reverse.example.com"}"#),
];

/// The other names of the server.
const NEXT: &str =
    "template IN A example.org {\nmatch ^www\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\nfallthrough\n}
template IN A example.org {\nmatch ^mx\nanswer \"{{ .Name }} 60 IN A 192.0.2.2\"\nfallthrough\n}
template IN ANY example.org server1 server2 example.com {\nrcode NXDOMAIN\n}
whoami";

async fn served(options: &str, address: SocketAddr) -> TestRoutes {
    let text = format!(".:53 {{\netcd {ZONES} {{\nendpoint http://{address}\n{options}\n}}\n{NEXT}\n}}");
    routes(&text).await.unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

/// Compares answers with a table of lines `NAME TYPE RCODE`, below each its records; `!` stands for the SOA record of `skydns.test` in
/// the authority section, `+` for the additional section.
async fn check(served: &TestRoutes, table: &str) {
    let mut lines = table.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    while let Some(head) = lines.next() {
        let [name, qtype, code] = head.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{head}") };
        let mut wanted = [Vec::new(), Vec::new()];
        let mut is_denial = false;
        while let Some(line) = lines.next_if(|line| line.contains(" IN ") || *line == "!") {
            match line.strip_prefix("+ ") {
                _ if line == "!" => is_denial = true,
                Some(extra) => wanted[1].push(extra),
                None => wanted[0].push(line),
            }
        }
        let received = served.ask(&Question::new(name, qtype)).await;
        let head = format!("{head}: {}", received.why);
        assert_eq!(Rcode(received.reply.rcode).to_string(), code, "{head}");
        assert_eq!(received.records(Section::Answer), parsed(&wanted[0]), "{head}");
        assert_eq!(received.records(Section::Additional), parsed(&wanted[1]), "{head}");
        let authority = received.records(Section::Authority);
        assert_eq!(
            (authority.len(), authority.first().map(|record| (record.rtype, record.ttl))),
            if is_denial { (1, Some((6, 30))) } else { (0, None) },
            "{head}"
        );
        assert!(received.reply.authoritative, "{head}");
    }
}

#[tokio::test]
async fn records_are_answered_as_coredns_answers_them() {
    let served = served("", serve(Store::new(RECORDS)).await).await;
    check(
        &served,
        "
a.SERVer1.dEv.region1.skydns.tEst. SRV NOERROR
    a.server1.dev.region1.skydns.test. 300 IN SRV 10 100 8080 dev.server1.
doesnotexist.skydns.test. A NXDOMAIN
    !
a.server1.prod.region1.skydns.test. A NOERROR
    a.server1.prod.region1.skydns.test. 300 IN A 10.0.0.1
a.server1.prod.region1.skydns.test. SRV NOERROR
    a.server1.prod.region1.skydns.test. 300 IN SRV 10 100 8080 a.server1.prod.region1.skydns.test.
    + a.server1.prod.region1.skydns.test. 300 IN A 10.0.0.1
b.server6.prod.region1.skydns.test. AAAA NOERROR
    b.server6.prod.region1.skydns.test. 300 IN AAAA ::1
server1.prod.region1.skydns.test. A NOERROR
    server1.prod.region1.skydns.test. 300 IN A 10.0.0.1
    server1.prod.region1.skydns.test. 300 IN A 10.0.0.2
priority.skydns.test. SRV NOERROR
    priority.skydns.test. 300 IN SRV 333 100 8080 priority.server1.
sub.region1.skydns.test. SRV NOERROR
    sub.region1.skydns.test. 300 IN SRV 10 33 0 sub.server1.
    sub.region1.skydns.test. 300 IN SRV 10 33 80 sub.server2.
    sub.region1.skydns.test. 300 IN SRV 10 33 8080 c.sub.region1.skydns.test.
    + c.sub.region1.skydns.test. 300 IN A 10.0.0.1
targetstrip.skydns.test. SRV NOERROR
    targetstrip.skydns.test. 300 IN SRV 10 100 8080 targetstrip.skydns.test.
    + targetstrip.skydns.test. 300 IN A 10.0.0.1
cname.prod.region1.skydns.test. A NOERROR
    !
txt.server1.prod.region1.skydns.test. TXT NOERROR
    txt.server1.prod.region1.skydns.test. 300 IN TXT \"moretext\"
    txt.server1.prod.region1.skydns.test. 300 IN TXT \"sometext\"
prod.*.skydns.test. SRV NOERROR
    prod.*.skydns.test. 300 IN SRV 10 25 0 unresolvable.skydns.test.
    prod.*.skydns.test. 300 IN SRV 10 25 8080 a.server1.prod.region1.skydns.test.
    prod.*.skydns.test. 300 IN SRV 10 25 8080 b.server1.prod.region1.skydns.test.
    prod.*.skydns.test. 300 IN SRV 10 25 8080 b.server6.prod.region1.skydns.test.
    + a.server1.prod.region1.skydns.test. 300 IN A 10.0.0.1
    + b.server1.prod.region1.skydns.test. 300 IN A 10.0.0.2
    + b.server6.prod.region1.skydns.test. 300 IN AAAA ::1
server1.any.region1.skydns.test. A NOERROR
    server1.any.region1.skydns.test. 300 IN A 10.0.0.1
    server1.any.region1.skydns.test. 300 IN A 10.0.0.2
    server1.any.region1.skydns.test. 300 IN CNAME dev.server1.
a.cname.skydns.test. A NOERROR
    !
a.server1.prod.region1.skydns.test. TXT NOERROR
    !
a.server1.dev.region1.skydns.test. TXT NOERROR
    a.server1.dev.region1.skydns.test. 300 IN CNAME dev.server1.
a.server1.dev.region1.skydns.test. HINFO NOERROR
    !
a.server1.nonexistent.region1.skydns.test. HINFO NXDOMAIN
    !
skydns.test. NS NOERROR
    skydns.test. 300 IN NS a.ns.dns.skydns.test.
    skydns.test. 300 IN NS b.ns.dns.skydns.test.
    skydns.test. 300 IN NS c.ns.dns.skydns.test.
    + a.ns.dns.skydns.test. 300 IN A 10.0.0.2
    + b.ns.dns.skydns.test. 300 IN A 10.0.0.3
    + c.ns.dns.skydns.test. 300 IN A 10.0.0.4
    + c.ns.dns.skydns.test. 300 IN A 10.0.0.5
a.skydns.test. NS NXDOMAIN
    !
skydns_zonea.test. A NOERROR
    skydns_zonea.test. 300 IN A 10.0.0.2
    skydns_zonea.test. 300 IN A 10.0.0.3
skydns_zoneb.test. A NOERROR
    skydns_zoneb.test. 300 IN A 10.0.0.4
skydns_zonec.test. A NXDOMAIN
    !
skydns_zoned.test. AAAA NOERROR
    skydns_zoned.test. 300 IN AAAA 2003::8:1
1.0.0.10.in-addr.arpa. PTR NOERROR
    1.0.0.10.in-addr.arpa. 300 IN PTR reverse.example.com.
inside.skydns.test. A NOERROR
    inside.skydns.test. 60 IN CNAME server1.prod.region1.skydns.test.
    server1.prod.region1.skydns.test. 300 IN A 10.0.0.1
    server1.prod.region1.skydns.test. 300 IN A 10.0.0.2
inside.skydns.test. CNAME NOERROR
    inside.skydns.test. 60 IN CNAME server1.prod.region1.skydns.test.
a.server1.prod.region1.skydns.test. CNAME NOERROR
    !
outside.skydns.test. A NOERROR
    outside.skydns.test. 300 IN CNAME www.example.org.
    www.example.org. 60 IN A 192.0.2.1
outside.skydns.test. AAAA NOERROR
    outside.skydns.test. 300 IN CNAME www.example.org.
outside.skydns.test. SRV NOERROR
    outside.skydns.test. 300 IN SRV 10 100 1 www.example.org.
    + www.example.org. 60 IN A 192.0.2.1
mail.skydns.test. MX NOERROR
    mail.skydns.test. 300 IN MX 5 mx.example.org.
    + mx.example.org. 60 IN A 192.0.2.2
group.skydns.test. A NOERROR
    group.skydns.test. 300 IN A 10.0.2.1
    group.skydns.test. 300 IN A 10.0.2.2
lease1.skydns.test. A NOERROR
    lease1.skydns.test. 3600 IN A 10.0.1.1
lease2.skydns.test. A NOERROR
    lease2.skydns.test. 30 IN A 10.0.1.2
lease3.skydns.test. A NOERROR
    lease3.skydns.test. 300 IN A 10.0.1.3
broken.skydns.test. A SERVFAIL
    !
",
    )
    .await;
    let soa = served.ask(&Question::new("any.name.skydns.test.", "SOA")).await;
    assert_eq!(soa.records(Section::Answer)[0].owner.to_string(), "skydns.test.");
    let broken = served.ask(&Question::new("broken.skydns.test.", "A")).await;
    assert!(broken.why.starts_with("/skydns/test/skydns/broken: "), "{}", broken.why);
}

#[tokio::test]
async fn options_change_the_answers() {
    let address = serve(Store::new(RECORDS)).await;
    let strict = served("no_apex_fallback\nmin-lease-ttl 10\nmax-lease-ttl 1m", address).await;
    check(
        &strict,
        "
skydns_zonea.test. A NXDOMAIN
    !
skydns_zoneb.test. A NOERROR
    skydns_zoneb.test. 300 IN A 10.0.0.4
lease1.skydns.test. A NOERROR
    lease1.skydns.test. 60 IN A 10.0.1.1
lease2.skydns.test. A NOERROR
    lease2.skydns.test. 10 IN A 10.0.1.2
",
    )
    .await;
    let elsewhere = served("path /other", address).await;
    check(&elsewhere, "priority.skydns.test. SRV NXDOMAIN\n!").await;
    let loose = served("fallthrough", address).await;
    let next = loose.ask(&Question::new("doesnotexist.skydns.test.", "A")).await;
    assert_eq!(next.records(Section::Additional).len(), 2, "whoami");
    // A name that exists without such a record does not fall through.
    check(&loose, "priority.skydns.test. A NOERROR\npriority.skydns.test. 300 IN CNAME priority.server1.")
        .await;
}

#[tokio::test]
async fn credentials_get_a_token_and_another_one_when_it_ends() {
    let store = Store::new(RECORDS);
    "first".clone_into(&mut store.token.lock().unwrap());
    let address = serve(store.clone()).await;
    let row =
        "priority.skydns.test. SRV NOERROR\npriority.skydns.test. 300 IN SRV 333 100 8080 priority.server1.";
    let known = served("credentials dns secret", address).await;
    check(&known, row).await;
    "second".clone_into(&mut store.token.lock().unwrap());
    check(&known, row).await;
    let requests = store.requests.load(Relaxed);
    check(
        &known,
        "a.cname.skydns.test. CNAME NOERROR\na.cname.skydns.test. 300 IN CNAME b.cname.skydns.test.",
    )
    .await;
    assert_eq!(store.requests.load(Relaxed), requests + 1, "the token is kept");
    for (options, why) in
        [("", "invalid auth token"), ("credentials dns wrong", "invalid user ID or password")]
    {
        let refused =
            served(options, address).await.ask(&Question::new("priority.skydns.test.", "SRV")).await;
        assert_eq!(Rcode(refused.reply.rcode).to_string(), "SERVFAIL");
        assert!(refused.why.contains(why) && refused.why.contains(&address.to_string()), "{}", refused.why);
    }
}

#[tokio::test]
async fn another_member_is_asked_if_one_is_away() {
    // A bound socket that does not listen refuses connections.
    let gone = tokio::net::TcpSocket::new_v4().unwrap();
    gone.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = serve(Store::new(RECORDS)).await;
    let endpoints = format!("endpoint http://{} {address}", gone.local_addr().unwrap());
    let served = served(&endpoints, address).await;
    check(
        &served,
        "a.cname.skydns.test. CNAME NOERROR\na.cname.skydns.test. 300 IN CNAME b.cname.skydns.test.",
    )
    .await;
    let counted = served.metrics.text();
    assert!(counted.contains("portolan_etcd_requests_total{result=\"answered\"} 1"), "{counted}");
}

#[tokio::test]
async fn a_silent_etcd_takes_no_more_places_than_allowed() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let served = served("", silent.local_addr().unwrap()).await;
    let question = Question::new("priority.skydns.test.", "SRV");
    let waiting: Vec<_> = (0..64).map(|_| Box::pin(served.ask(&question))).collect();
    let mut waiting = futures_util::future::join_all(waiting);
    // All of them wait once each has been polled.
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let rejected = served.ask(&question).await;
    assert_eq!((Rcode(rejected.reply.rcode).to_string().as_str(), rejected.why.as_str()), ("SERVFAIL", ""));
    let other = served.ask(&Question::new("www.example.org.", "A")).await;
    assert_eq!(other.records(Section::Answer), parsed(&["www.example.org. 60 IN A 192.0.2.1"]));
    assert!(futures_util::poll!(&mut waiting).is_pending(), "they still wait");
    assert!(served.metrics.text().contains("portolan_etcd_rejected_total 1"));
}

#[tokio::test]
async fn with_shed_a_query_over_the_limit_gets_no_reply() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        ".:53 {{\nshed\netcd skydns.test {{\nendpoint http://{}\n}}\nwhoami\n}}",
        silent.local_addr().unwrap()
    );
    let served = routes(&text).await.unwrap();
    let question = Question::new("priority.skydns.test.", "SRV");
    let waiting: Vec<_> = (0..64).map(|_| Box::pin(served.ask(&question))).collect();
    let mut waiting = futures_util::future::join_all(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert!(served.ask(&question).await.message.is_empty(), "it is dropped");
    assert!(!served.ask(&Question::new("a.test.", "A")).await.message.is_empty());
    let counted = served.metrics.text();
    assert!(
        counted.contains("coredns_shed_dropped_total{server=\"dns://:53\",reason=\"query\"} 1"),
        "{counted}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_etcd_is_given_up_after_five_seconds() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let served = served(&format!("endpoint http://{address} http://{address}"), address).await;
    let started = tokio::time::Instant::now();
    let failed = served.ask(&Question::new("priority.skydns.test.", "SRV")).await;
    let took = started.elapsed().as_secs_f64();
    assert_eq!(Rcode(failed.reply.rcode).to_string(), "SERVFAIL");
    assert!(failed.why.contains("etcd") && (4.9..5.5).contains(&took), "{} after {took}", failed.why);
}

#[tokio::test]
async fn names_and_keys_for_a_query_are_limited() {
    let chain: Vec<(String, String)> = (0..60)
        .map(|n| (format!("{n}.many.skydns.test"), format!(r#"{{"host":"{n}.example.org"}}"#)))
        .chain((0..3000).map(|n| {
            (format!("{n}.wide.skydns.test"), format!(r#"{{"host":"10.1.{}.{}"}}"#, n / 256, n % 256))
        }))
        .collect();
    let chain: Vec<(&str, &str)> =
        chain.iter().map(|(name, document)| (name.as_str(), document.as_str())).collect();
    let served = served("", serve(Store::new(&chain)).await).await;
    let many = served.ask(&Question::new("many.skydns.test.", "A")).await;
    // One lookup is that of the name itself.
    assert_eq!(many.reply.section(Section::Answer).count(), 31);
    let wide = served.ask(&Question::new("wide.skydns.test.", "A")).await;
    assert_eq!(wide.reply.section(Section::Answer).count(), 2048);
}

#[test]
fn mistakes_are_reported_with_their_line() {
    for (lines, wanted) in [
        ("endpoint", "Corefile:3"),
        ("endpoint ftp://a", "Corefile:3 - Error during parsing: invalid address ftp://a"),
        ("endpoint http://a:2379/keys", "Corefile:3 - Error during parsing: http://a:2379/keys has a path"),
        ("credentials dns", "Corefile:3"),
        ("path", "Corefile:3"),
        ("tls /none.pem", "Corefile:3 - Error during parsing: etcd: /none.pem: "),
        ("min-lease-ttl soon", "Corefile:3"),
        ("no_apex_fallback yes", "Corefile:3"),
        ("prefix /a", "unknown property 'prefix'"),
    ] {
        let text = format!(". {{\netcd skydns.test {{\n{lines}\n}}\n}}\n");
        let errors = build(&text).err().expect(lines);
        assert!(errors.contains(wanted), "{wanted}\nin\n{errors}");
    }
    let (servers, _) = build(". {\netcd a.test {\nstubzones\nupstream 10.0.0.1\ndebug\n}\n}\n").unwrap();
    let warnings: Vec<String> = servers.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.len() == 3 && warnings[0].contains("etcd: stubzones is ignored"), "{warnings:?}");
}
