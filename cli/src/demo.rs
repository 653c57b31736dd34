//! The demo cluster: manifests that come with the binary, and the web Pods they name, answered in this process.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use cluster::{CompactString, EndpointSlice, Kind, Snapshot};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use sources::Cluster;
use telemetry::{Problem, Reports};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::runtime::Runtime;

/// The manifests of the demo cluster: file name and text.
const MANIFESTS: &[(&str, &str)] = &[
    ("quickstart/1-cluster.yaml", include_str!("../../config/quickstart/1-cluster.yaml")),
    ("quickstart/2-shop.yaml", include_str!("../../config/quickstart/2-shop.yaml")),
    ("quickstart/3-ingress.yaml", include_str!("../../config/quickstart/3-ingress.yaml")),
];

/// Where its web Pods answer, unless something else does.
const PORT: u16 = 8080;

/// The part of the loopback network whose addresses are those of demo Pods: 127.20.0.0/16.
const NETWORK: [u8; 2] = [127, 20];

/// The manifests with the web Pods' port: the one they name, or a free one where something listens there already.
pub fn manifests(port: u16) -> impl Iterator<Item = (&'static str, String)> {
    MANIFESTS.iter().map(move |(file, text)| (*file, text.replace(&PORT.to_string(), &port.to_string())))
}

/// A port for the web Pods, beside the addresses that this process is about to listen on.
pub fn free_port(own: &[SocketAddr]) -> u16 {
    let free = |port| {
        let listener = std::net::TcpListener::bind((Ipv4Addr::new(NETWORK[0], NETWORK[1], 0, 1), port))?;
        listener.local_addr()
    };
    let ours = own.iter().any(|address| address.ip().is_unspecified() && address.port() == PORT);
    let usual = if ours { 0 } else { PORT };
    free(usual).or_else(|_| free(0)).map_or(PORT, |address| address.port())
}

/// Web Pods by address, each with its name.
type Pods = BTreeMap<SocketAddr, CompactString>;

/// Answers for every Pod that an EndpointSlice places in [`NETWORK`], from now on and as slices come and go. Returns when
/// those that are known now answer; one that cannot is reported.
pub async fn follow(cluster: &Cluster, runtime: &Runtime) {
    let (wanted, mut news) = watch::channel(cluster.read(pods));
    cluster.observe(move |snapshot, touched| {
        if touched.iter().any(|touched| touched.kind() == Kind::EndpointSlice) {
            wanted.send_replace(pods(snapshot));
        }
    });
    let mut running = Running::default();
    running.settle(news.borrow_and_update().clone(), &runtime.reports).await;
    let runtime = runtime.clone();
    runtime.handle.clone().spawn(async move {
        while news.changed().await.is_ok() {
            let wanted = news.borrow_and_update().clone();
            running.settle(wanted, &runtime.reports).await;
        }
    });
}

fn pods(cluster: &Snapshot) -> Pods {
    let mut pods = Pods::new();
    for slice in cluster.iter::<EndpointSlice>() {
        for endpoint in &slice.endpoints {
            let name = CompactString::from(endpoint.pod.as_deref().unwrap_or("pod"));
            let here = endpoint.addresses.iter().filter(|address| is_ours(**address));
            let sockets = here.flat_map(|ip| slice.ports.iter().map(|port| SocketAddr::new(*ip, port.port)));
            pods.extend(sockets.map(|socket| (socket, name.clone())));
        }
    }
    pods
}

fn is_ours(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets().starts_with(&NETWORK))
}

/// The Pods that answer.
#[derive(Default)]
struct Running(HashMap<(SocketAddr, CompactString), AbortHandle>);

impl Running {
    async fn settle(&mut self, wanted: Pods, reports: &Reports) {
        self.0.retain(|(address, name), listening| {
            let stays = wanted.get(address) == Some(name);
            if !stays {
                listening.abort();
            }
            stays
        });
        let mut problems = Vec::new();
        for pod in wanted.into_iter().filter(|pod| !self.0.contains_key(pod)).collect::<Vec<_>>() {
            match TcpListener::bind(pod.0).await {
                Ok(listener) => {
                    let listening = tokio::spawn(serve(pod.1.clone(), listener)).abort_handle();
                    self.0.insert(pod, listening);
                }
                Err(error) => problems.push(Problem {
                    kind: "demo Pod".to_owned(),
                    key: pod.1.to_string(),
                    field: pod.0.to_string(),
                    what: format!("cannot listen: {error}"),
                    wanted: "an address that nobody else listens on".to_owned(),
                    severity: None,
                }),
            }
        }
        reports.replace("demo", problems);
    }
}

async fn serve(pod: CompactString, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let pod = pod.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let page = page(&pod, &request);
                async move { Ok::<_, Infallible>(page) }
            });
            // A connection that breaks ends here; the one who broke it knows.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

/// Who answered, and what arrived: enough to see a canary, an affinity and the headers a proxy adds.
fn page(pod: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut text = format!("{pod} answers {} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name}: {}", value.to_str().unwrap_or("(not text)"));
    }
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use cluster::Object;

    use super::*;

    #[test]
    fn the_demo_manifests_are_sound_and_name_pods_to_run() {
        let mut names = Vec::new();
        for (file, text) in manifests(8123) {
            let decoded = sources::manifests::decode(file, &text);
            assert!(
                !decoded.objects.is_empty() && decoded.problems.is_empty(),
                "{file}: {:?}",
                decoded.problems
            );
            let slices = decoded.objects.into_iter().filter_map(|object| match object {
                Object::EndpointSlice(slice) => Some(slice),
                _ => None,
            });
            for slice in slices.filter(|slice| slice.endpoints.iter().any(|it| is_ours(it.addresses[0]))) {
                assert_eq!(slice.ports[0].port, 8123);
                names.extend(
                    slice
                        .endpoints
                        .iter()
                        .filter_map(|endpoint| endpoint.pod.as_deref().map(CompactString::from)),
                );
            }
        }
        assert_eq!(names, ["web-0", "web-1", "web-canary-0"]);
    }

    #[tokio::test]
    async fn pods_answer_while_a_slice_names_them_and_one_that_cannot_listen_is_reported() {
        let reports = Reports::new(&telemetry::metrics::Registry::new());
        let taken = TcpListener::bind("127.20.0.8:0").await.expect("the loopback network is all ours");
        let free = TcpListener::bind("127.20.0.9:0").await.expect("the loopback network is all ours");
        let (taken_at, free_at) = (taken.local_addr().unwrap(), free.local_addr().unwrap());
        drop(free);
        let mut running = Running::default();
        let wanted = Pods::from([(taken_at, "web-8".into()), (free_at, "web-9".into())]);
        running.settle(wanted, &reports).await;
        assert!(tokio::net::TcpStream::connect(free_at).await.is_ok());
        let told: Vec<_> = reports.current().into_iter().map(|(_, problem)| problem.key).collect();
        assert_eq!(told, ["web-8"]);

        let ended: Vec<_> = running.0.values().cloned().collect();
        running.settle(Pods::new(), &reports).await;
        while !ended.iter().all(AbortHandle::is_finished) {
            tokio::task::yield_now().await;
        }
        assert!(tokio::net::TcpStream::connect(free_at).await.is_err());
        assert!(reports.current().is_empty());
    }
}
