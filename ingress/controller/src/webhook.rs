//! The server of the admission webhook: HTTPS, one review a request.
//!
//! Anybody who reaches the port can send anything, so connections, the time and length of a request, and the memory for long ones are bounded.

pub(crate) mod certificate;
mod review;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{Cache, ConfigMap, Current, Event, Ingress, Kind, Object, Secret};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ingress_routes::{AdmissionVerdict, RouteOptions, RouteTable};
use rustls::sign::CertifiedKey;
use sources::Cluster;
use telemetry::metrics::{Counter, Family};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use self::review::Decision;
use crate::metrics::IngressChecks;

/// A body of this length is refused, as by ingress-nginx.
const MAX_BODY: usize = 9 << 20;

/// How much of a longer body is read, so that its sender sees the response.
const MAX_DISCARDED: usize = 4 * MAX_BODY;

/// A longer body needs the permit for long ones, of which there is one: the memory for them is bounded.
const SHORT_BODY: usize = 256 << 10;

/// Connections at the same time.
const MAX_CONNECTIONS: usize = 256;

/// Time for the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for the head of a request, and between two requests. The API server closes idle connections after 90 s; if this were shorter, a request
/// could meet a connection that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Time for a request, from its head to its response. The API server waits 10 s by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Judges Ingresses by the routes.
pub(crate) struct Reviewer {
    pub(crate) cluster: Cluster,
    pub(crate) table: Current<RouteTable>,
    pub(crate) options: RouteOptions,
    pub(crate) checks: IngressChecks,
    /// Class, namespace and Pod of the controller, for metrics.
    pub(crate) controller: [String; 3],
}

impl Reviewer {
    fn review(&self, ingress: &Arc<Ingress>) -> AdmissionVerdict {
        let table = self.table.load_full();
        let references = table.admission_references(ingress, &self.options);
        // The objects are copied out, so that the watch cache is not locked while annotations are read.
        let named = self.cluster.read(|snapshot| {
            let of = |(kind, key): &(Kind, cluster::Key)| match kind {
                Kind::Secret => snapshot.get::<Secret>(key).cloned().map(Object::Secret),
                Kind::ConfigMap => snapshot.get::<ConfigMap>(key).cloned().map(Object::ConfigMap),
                _ => None,
            };
            references.iter().filter_map(of).map(Event::Apply).collect::<Vec<_>>()
        });
        let mut cache = Cache::default();
        cache.apply(named, 0);
        let verdict = table.review(ingress, &self.options, cache.snapshot());
        if table.takes(ingress, &self.options) {
            self.checks.count(&self.controller, &ingress.key, verdict.refusals.is_empty());
        }
        verdict
    }
}

/// The server.
pub(crate) struct Webhook {
    reviewer: Reviewer,
    acceptor: TlsAcceptor,
    long_bodies: Semaphore,
    reviews: Family<Counter, 1>,
}

impl Webhook {
    /// A server with the current certificate of a cell.
    ///
    /// # Errors
    /// When rustls refuses the settings.
    pub(crate) fn new(
        reviewer: Reviewer,
        certificate: Current<CertifiedKey>,
        reviews: Family<Counter, 1>,
    ) -> Result<Arc<Self>, net::TlsError> {
        let options = net::tls::TlsOptions { alpn: vec![net::tls::HTTP1.to_vec()], ..Default::default() };
        let config =
            net::tls::server_config(options, net::tls::by_name(move |_| Some(certificate.load_full())))?;
        Ok(Arc::new(Self { reviewer, acceptor: config.into(), long_bodies: Semaphore::new(1), reviews }))
    }

    /// Serves connections until the future is dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    tokio::spawn(async move {
                        server.connection(stream).await;
                        drop(permit);
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream)).await else { return };
        let service = service_fn(|request| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.respond(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        // Errors need no handling: hyper has answered a malformed request, or the client has disconnected.
        let _ = connection.await;
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return self.failed(StatusCode::METHOD_NOT_ALLOWED, "wanted POST");
        }
        let (body, _permit) = match timeout(REQUEST_TIMEOUT, self.body(request.into_body())).await {
            Ok(Ok(body)) => body,
            Ok(Err((status, reason))) => return self.failed(status, reason),
            Err(_) => return self.failed(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
        };
        match review::answer(&body, |ingress| self.reviewer.review(ingress)) {
            Ok((decision, answer)) => {
                let result = match decision {
                    Decision::Admitted => "admitted",
                    Decision::Refused => "refused",
                };
                self.reviews.with([result]).inc();
                let mut response = Response::new(Full::new(answer.into()));
                let json = http::HeaderValue::from_static("application/json");
                response.headers_mut().insert(http::header::CONTENT_TYPE, json);
                response
            }
            Err(error) => self.failed(StatusCode::BAD_REQUEST, &error),
        }
    }

    /// Reads a body of less than [`MAX_BODY`]. The permit of a long one is to be held as long as the body.
    async fn body(
        &self,
        mut body: Incoming,
    ) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), (StatusCode, &'static str)> {
        let mut bytes = Vec::new();
        let (mut permit, mut length) = (None, 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, "the body is not complete"))?;
            let Ok(data) = frame.into_data() else { continue };
            length += data.len();
            if length >= MAX_BODY {
                bytes = Vec::new();
                permit = None;
                if length >= MAX_DISCARDED {
                    break;
                }
                continue;
            }
            if length > SHORT_BODY && permit.is_none() {
                permit = self.long_bodies.acquire().await.ok();
            }
            bytes.extend_from_slice(&data);
        }
        if length >= MAX_BODY {
            return Err((StatusCode::PAYLOAD_TOO_LARGE, "an AdmissionReview of 9 MiB or more is not read"));
        }
        Ok((bytes, permit))
    }

    fn failed(&self, status: StatusCode, reason: &str) -> Response<Full<Bytes>> {
        self.reviews.with(["failed"]).inc();
        let mut response = Response::new(Full::new(format!("{reason}\n").into()));
        *response.status_mut() = status;
        response
    }
}

#[cfg(test)]
mod cves;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use cluster::{IngressPath, IngressRule, Key, PathType, PortRef, ServiceBackend};
    use hyper::client::conn::http1 as client;
    use ingress_routes::RouteIndex;
    use serde_json::{Value, json};
    use telemetry::metrics::Registry;

    use super::*;
    use crate::metrics::ControllerMetrics;

    fn ingress(number: usize) -> Arc<Ingress> {
        let service = ServiceBackend { name: "web".into(), port: PortRef::Number(80) };
        let path = IngressPath {
            path: "/".into(),
            kind: PathType::Prefix,
            backend: cluster::Backend::Service(service),
        };
        Arc::new(Ingress {
            key: Key::new("shop", format!("web-{number}")),
            created: 1,
            annotations: vec![("kubernetes.io/ingress.class".into(), "nginx".into())],
            class: None,
            default_backend: None,
            rules: vec![IngressRule { host: format!("h{number}.example").into(), paths: vec![path] }],
            tls: Vec::new(),
        })
    }

    /// A webhook of a cluster with Ingresses for the hosts `h0.example` and so on.
    pub(super) async fn webhook(ingresses: usize) -> Arc<Webhook> {
        let registry = Registry::new();
        let cluster = Cluster::start(&registry).unwrap();
        let options = RouteOptions::default();
        let table = cluster.project(RouteIndex::new(options.clone()));
        for number in 0..ingresses {
            cluster.sink().send(Event::Apply(Object::Ingress(ingress(number)))).await.unwrap();
        }
        while table.load().ingresses() < ingresses {
            tokio::task::yield_now().await;
        }
        let certificate = Current::new(certificate::temporary().unwrap());
        let ControllerMetrics { reviews, checks, .. } = ControllerMetrics::new(&registry);
        let controller = ["k8s.io/ingress-nginx", "portolan", "portolan-0"].map(str::to_owned);
        let reviewer = Reviewer { cluster, table, options, checks, controller };
        Webhook::new(reviewer, certificate, reviews).unwrap()
    }

    /// Sends a body to the service, without TLS.
    pub(super) async fn send(webhook: &Arc<Webhook>, method: &str, body: Vec<u8>) -> (u16, String) {
        let (near, far) = tokio::io::duplex(64 << 10);
        let server = webhook.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.respond(request).await) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(far), service).await;
        });
        let (mut sender, connection) = client::handshake(TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        let request =
            Request::builder().method(method).uri("/networking/v1/ingresses").header("host", "hook");
        let response =
            sender.send_request(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    pub(super) fn review(host: &str) -> Vec<u8> {
        let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
        let paths = json!([{"path": "/", "pathType": "Prefix", "backend": backend}]);
        let object = json!({
            "metadata": {"namespace": "shop", "name": "new", "annotations": {"kubernetes.io/ingress.class": "nginx"}},
            "spec": {"rules": [{"host": host, "http": {"paths": paths}}]},
        });
        let kind = json!({"group": "networking.k8s.io", "version": "v1", "kind": "Ingress"});
        let request = json!({"uid": "7", "kind": kind, "operation": "CREATE", "object": object});
        let review =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        review.to_string().into_bytes()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_review_among_twenty_thousand_ingresses_looks_only_at_its_own() {
        let webhook = webhook(20_000).await;
        for (host, allowed) in [("new.example", true), ("h17.example", false)] {
            let (status, body) = send(&webhook, "POST", review(host)).await;
            assert_eq!(status, 200, "{body}");
            let answer: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(answer["response"]["allowed"], allowed, "{body}");
        }
        let start = Instant::now();
        for _ in 0..100 {
            send(&webhook, "POST", review("new.example")).await;
        }
        println!("a review among 20,000 Ingresses: {:?}", start.elapsed() / 100);
        let count = |result: &str| webhook.reviews.with([result]).value();
        assert_eq!((count("admitted"), count("refused")), (101, 1));
        let foreign = String::from_utf8(review("new.example")).unwrap();
        send(&webhook, "POST", foreign.replace("\"nginx\"", "\"other\"").into_bytes()).await;
        let labels = ["k8s.io/ingress-nginx", "portolan", "portolan-0", "shop", "new"];
        let checks = &webhook.reviewer.checks;
        let counted = [&checks.admitted, &checks.refused].map(|family| family.with(labels).value());
        assert_eq!(counted, [101, 1], "an Ingress of another class is not counted");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn any_body_gets_an_answer() {
        let webhook = webhook(0).await;
        for (method, body, wanted) in [
            ("POST", vec![b'x'; MAX_BODY], 413),
            ("POST", vec![b'['; MAX_BODY - 1], 400),
            ("POST", vec![b' '; MAX_BODY - 1], 400),
            ("POST", Vec::new(), 400),
            ("POST", vec![0xff; 1000], 400),
            ("GET", Vec::new(), 405),
            ("POST", review("a.example"), 200),
        ] {
            let length = body.len();
            let (status, body) = send(&webhook, method, body).await;
            assert_eq!(status, wanted, "{method} with {length} bytes: {body}");
        }
        assert_eq!(webhook.long_bodies.available_permits(), 1);
        assert_eq!(webhook.reviews.with(["failed"]).value(), 6);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn long_bodies_are_read_one_after_the_other_and_short_ones_do_not_wait() {
        let webhook = webhook(0).await;
        let held = webhook.long_bodies.acquire().await.unwrap();
        let long = tokio::spawn({
            let webhook = webhook.clone();
            async move { send(&webhook, "POST", vec![b' '; SHORT_BODY * 2]).await.0 }
        });
        assert_eq!(send(&webhook, "POST", review("a.example")).await.0, 200);
        assert!(!long.is_finished());
        drop(held);
        assert_eq!(long.await.unwrap(), 400);
    }
}
