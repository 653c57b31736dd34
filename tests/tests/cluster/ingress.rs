//! Requests to the ingress Service.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use tests::credentials::CertificateAuthority;
use tests::http::{self, Connection, Response, Trust};
use tests::node::{ClusterNode, POD_TIMEOUT};
use tests::wait;

use crate::backends::{SHOP, backend};
use crate::chart::ensure_ingress;

/// An Ingress of one host with annotations and more of its spec.
pub(crate) fn ingress(name: &str, host: &str, service: &str, annotations: &str, more: &str) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{ name: {name}, namespace: {SHOP}, annotations: {{ {annotations} }} }}
spec:
  ingressClassName: nginx
  {more}
  rules:
  - host: {host}
    http:
      paths: [{{ path: /, pathType: Prefix, backend: {{ service: {{ name: {service}, port: {{ name: http }} }} }} }}]
"
    )
}

pub(crate) fn address(service: &str, port: u16) -> SocketAddr {
    (service.parse::<Ipv4Addr>().expect("a ClusterIP"), port).into()
}

/// Waits until a host is served.
#[track_caller]
pub(crate) fn wait_for_route(service: SocketAddr, host: &str) -> Response {
    wait::until(&format!("the route of {host}"), POD_TIMEOUT, || {
        let response = http::get(service, host, "/").map_err(|error| error.to_string())?;
        if response.status == 200 {
            Ok(response)
        } else {
            Err(format!("{} {}", response.status, response.text()))
        }
    })
}

/// Creates an Ingress with a certificate. Returns the authority that clients have to trust.
#[track_caller]
pub(crate) fn ensure_tls(node: &ClusterNode, service: &str) -> Trust {
    let authority = CertificateAuthority::new("shop");
    let certificate = authority.issue(&["secure.example"]);
    node.apply(&format!(
        "
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {{ name: secure, namespace: {SHOP} }}
stringData: {{ tls.crt: {:?}, tls.key: {:?} }}
",
        certificate.certificate, certificate.key
    ));
    let tls = "tls: [{ hosts: [secure.example], secretName: secure }]";
    node.apply(&ingress("secure", "secure.example", "web", "", tls));
    let trust = Trust::Authority(authority.der());
    wait::until("the certificate to be served", POD_TIMEOUT, || {
        let response = request_over_tls(service, &trust).map_err(|error| error.to_string())?;
        if response.status == 200 { Ok(()) } else { Err(response.text()) }
    });
    trust
}

/// A request over a new TLS connection.
fn request_over_tls(service: &str, trust: &Trust) -> io::Result<Response> {
    let mut connection = Connection::tls(address(service, 443), "secure.example", trust)?;
    connection.send("GET", "/", &[("host", "secure.example")], b"")
}

#[track_caller]
pub(crate) fn expect_tls(service: &str, trust: &Trust) {
    let response = request_over_tls(service, trust).expect("an answer over TLS");
    assert_eq!(response.status, 200, "{}", response.text());
}

/// Creates an Ingress and a canary that takes half of its requests.
#[track_caller]
pub(crate) fn ensure_canary(node: &ClusterNode, service: &str) {
    node.apply(&backend(SHOP, "next", 1));
    node.wait_for_rollout(SHOP, "deployment/next");
    node.apply(&ingress("split", "split.example", "web", "", ""));
    wait_for_route(address(service, 80), "split.example");
    let annotations =
        "nginx.ingress.kubernetes.io/canary: 'true', nginx.ingress.kubernetes.io/canary-weight: '50'";
    node.apply(&ingress("split-canary", "split.example", "next", annotations, ""));
    wait::until("the canary", POD_TIMEOUT, || {
        let body = split(service);
        if body.contains("by next-") { Ok(()) } else { Err(body) }
    });
}

fn split(service: &str) -> String {
    http::get(address(service, 80), "split.example", "/").expect("an answer").text()
}

/// Sends `requests` requests, of which the canary has to get about half.
#[track_caller]
pub(crate) fn expect_canary(service: &str, requests: usize) {
    let bodies: Vec<String> = (0..requests).map(|_| split(service)).collect();
    let canary = bodies.iter().filter(|body| body.contains("by next-")).count();
    let stable = bodies.iter().filter(|body| body.contains("by web-")).count();
    assert_eq!(canary + stable, bodies.len(), "{bodies:?}");
    // Within five standard deviations of the half; one is half the square root of the number.
    let difference = canary.abs_diff(stable);
    assert!(
        difference.pow(2) < 25 * requests,
        "{canary} of {requests} requests went to the canary of weight 50"
    );
}

/// Creates an Ingress with sessions. Returns the cookie of one, and the Pod that it is bound to.
#[track_caller]
pub(crate) fn ensure_session(node: &ClusterNode, service: &str) -> (String, String) {
    let annotations = "nginx.ingress.kubernetes.io/affinity: cookie";
    node.apply(&ingress("sticky", "sticky.example", "web", annotations, ""));
    let response = wait_for_route(address(service, 80), "sticky.example");
    let cookie = response.header("set-cookie").expect("the first response sets a cookie");
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    (cookie, response.header("x-pod").expect("the backend names its Pod").to_owned())
}

#[track_caller]
pub(crate) fn expect_session(service: &str, (cookie, pod): &(String, String)) {
    let mut pods: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..30 {
        // A connection each: both Pods of the controller have to understand the cookie.
        let mut connection = Connection::plain(address(service, 80)).expect("the Service answers");
        let headers = [("host", "sticky.example"), ("cookie", cookie.as_str())];
        let response = connection.send("GET", "/", &headers, b"").expect("an answer");
        *pods.entry(response.header("x-pod").unwrap_or("none").to_owned()).or_default() += 1;
    }
    assert_eq!(pods, BTreeMap::from([(pod.clone(), 30)]));
}

/// An open WebSocket to the backend's page that sends frames back.
pub(crate) struct WebSocket(TcpStream);

impl WebSocket {
    #[track_caller]
    pub(crate) fn open(service: &str) -> WebSocket {
        let mut stream = TcpStream::connect(address(service, 80)).expect("the Service answers");
        stream.set_read_timeout(Some(POD_TIMEOUT)).expect("a timeout above zero");
        stream
            .write_all(
                b"GET /echo HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .expect("the request is sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a response head");
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        // The accept value of this key in RFC 6455 section 1.3.
        assert!(head.contains(&"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_ascii_lowercase()), "{head}");
        WebSocket(stream)
    }

    /// Sends a frame and expects it back.
    #[track_caller]
    pub(crate) fn expect_echo(&mut self) {
        // A masked text frame with a mask of zeros.
        self.0.write_all(b"\x81\x85\0\0\0\0hello").expect("a frame is sent");
        let mut frame = [0; 7];
        self.0.read_exact(&mut frame).expect("the frame comes back");
        assert_eq!(&frame, b"\x81\x05hello");
    }
}

pub(crate) fn requests_are_served_over_http_and_tls(node: &mut ClusterNode) {
    let service = ensure_ingress(node);
    let response = wait_for_route(address(&service, 80), "shop.example");
    assert!(response.text().contains("GET shop.example/ by web-"), "{}", response.text());
    wait::until("the address of the Service in the status of the Ingress", POD_TIMEOUT, || {
        match node.field(SHOP, "ingress/web", "{.status.loadBalancer.ingress[0].ip}") {
            found if found == service => Ok(()),
            found => Err(found),
        }
    });
    let missing = http::get(address(&service, 80), "none.example", "/").expect("unknown hosts are answered");
    assert_eq!(missing.status, 404);
    let trust = ensure_tls(node, &service);
    expect_tls(&service, &trust);
}

pub(crate) fn a_canary_takes_its_share(node: &mut ClusterNode) {
    let service = ensure_ingress(node);
    ensure_canary(node, &service);
    expect_canary(&service, 200);
}

pub(crate) fn a_session_stays_with_its_pod(node: &mut ClusterNode) {
    let service = ensure_ingress(node);
    let session = ensure_session(node, &service);
    expect_session(&service, &session);
}

pub(crate) fn a_websocket_passes_frames(node: &mut ClusterNode) {
    let service = ensure_ingress(node);
    wait_for_route(address(&service, 80), "shop.example");
    WebSocket::open(&service).expect_echo();
}
