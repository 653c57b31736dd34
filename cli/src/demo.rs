//! The demo cluster: built-in manifests, and HTTP servers in this process that act as its web Pods.

mod shop;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use cluster::{CompactString, EndpointSlice, Kind, PodName, Snapshot};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sources::Cluster;
use telemetry::{Problem, Reports};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::runtime::Runtime;
use shop::DemoPod;

/// The manifests of the demo cluster: file name and text.
const MANIFESTS: &[(&str, &str)] = &[
    ("quickstart/1-cluster.yaml", include_str!("../../config/quickstart/1-cluster.yaml")),
    ("quickstart/2-shop.yaml", include_str!("../../config/quickstart/2-shop.yaml")),
    ("quickstart/3-ingress.yaml", include_str!("../../config/quickstart/3-ingress.yaml")),
];

/// The port of the web Pods, unless it is in use.
const PORT: u16 = 8080;

/// The network of the demo Pods, part of the loopback network: 127.20.0.0/16.
const NETWORK: [u8; 2] = [127, 20];

/// The manifests, with `port` as the port of the web Pods.
pub fn manifests(port: u16) -> impl Iterator<Item = (&'static str, String)> {
    MANIFESTS.iter().map(move |(file, text)| (*file, text.replace(&PORT.to_string(), &port.to_string())))
}

/// A free port for the web Pods: the default one, unless it is in use or is one of `own`, the addresses that this process is
/// about to listen on.
pub fn free_port(own: &[SocketAddr]) -> u16 {
    let free = |port| {
        let listener = std::net::TcpListener::bind((Ipv4Addr::new(NETWORK[0], NETWORK[1], 0, 1), port))?;
        listener.local_addr()
    };
    let conflicts = own.iter().any(|address| address.ip().is_unspecified() && address.port() == PORT);
    let usual = if conflicts { 0 } else { PORT };
    free(usual).or_else(|_| free(0)).map_or(PORT, |address| address.port())
}

/// The names of the web Pods by address.
type Pods = BTreeMap<SocketAddr, CompactString>;

/// Runs an HTTP server for each endpoint in [`NETWORK`], and follows changes of EndpointSlices. Returns when the servers of the
/// present endpoints listen. A server that cannot listen is reported as a problem.
pub async fn follow(cluster: &Cluster, runtime: &Runtime) {
    let (wanted, mut news) = watch::channel(cluster.read(pods));
    cluster.observe(move |snapshot, touched| {
        if touched.iter().any(|touched| touched.kind() == Kind::EndpointSlice) {
            wanted.send_replace(pods(snapshot));
        }
    });
    let mut running = Running::default();
    running.update(news.borrow_and_update().clone(), &runtime.reports).await;
    let runtime = runtime.clone();
    runtime.handle.clone().spawn(async move {
        while news.changed().await.is_ok() {
            let wanted = news.borrow_and_update().clone();
            running.update(wanted, &runtime.reports).await;
        }
    });
}

fn pods(cluster: &Snapshot) -> Pods {
    let mut pods = Pods::new();
    for slice in cluster.iter::<EndpointSlice>() {
        for endpoint in &slice.endpoints {
            let name = CompactString::from(endpoint.pod.map_or_else(|| "pod".into(), PodName::to_text));
            let demo = endpoint.addresses.iter().filter(|address| is_demo_address(**address));
            let sockets = demo.flat_map(|ip| slice.ports.iter().map(|port| SocketAddr::new(*ip, port.port)));
            pods.extend(sockets.map(|socket| (socket, name.clone())));
        }
    }
    pods
}

fn is_demo_address(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets().starts_with(&NETWORK))
}

/// The running servers.
#[derive(Default)]
struct Running(HashMap<(SocketAddr, CompactString), AbortHandle>);

impl Running {
    async fn update(&mut self, wanted: Pods, reports: &Reports) {
        self.0.retain(|(address, name), listening| {
            let is_wanted = wanted.get(address) == Some(name);
            if !is_wanted {
                listening.abort();
            }
            is_wanted
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
                    wanted: "an address that is not in use".to_owned(),
                    severity: None,
                }),
            }
        }
        reports.replace("demo", problems);
    }
}

async fn serve(pod: CompactString, listener: TcpListener) {
    let pod = Arc::new(DemoPod::new(pod));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let pod = pod.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = pod.respond(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            // Errors of a connection need no handling: the client has disconnected or sent a malformed request.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use cluster::Object;

    use super::*;

    #[test]
    fn the_demo_manifests_are_valid_and_have_web_pods() {
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
            for slice in
                slices.filter(|slice| slice.endpoints.iter().any(|it| is_demo_address(it.addresses[0])))
            {
                assert_eq!(slice.ports[0].port, 8123);
                names.extend(
                    slice
                        .endpoints
                        .iter()
                        .filter_map(|endpoint| endpoint.pod.map(|pod| CompactString::from(pod.to_text()))),
                );
            }
        }
        assert_eq!(names, ["web-0", "web-1", "web-canary-0"]);
    }

    #[tokio::test]
    async fn pods_run_while_a_slice_has_them_and_a_port_in_use_is_reported() {
        let reports = Reports::new(&telemetry::metrics::Registry::new());
        let in_use = TcpListener::bind("127.20.0.8:0").await.expect("all loopback addresses can be bound");
        let free = TcpListener::bind("127.20.0.9:0").await.expect("all loopback addresses can be bound");
        let (in_use_at, free_at) = (in_use.local_addr().unwrap(), free.local_addr().unwrap());
        drop(free);
        let mut running = Running::default();
        let wanted = Pods::from([(in_use_at, "web-8".into()), (free_at, "web-9".into())]);
        running.update(wanted, &reports).await;
        assert!(tokio::net::TcpStream::connect(free_at).await.is_ok());
        let reported: Vec<_> = reports.current().into_iter().map(|(_, problem)| problem.key).collect();
        assert_eq!(reported, ["web-8"]);

        let servers: Vec<_> = running.0.values().cloned().collect();
        running.update(Pods::new(), &reports).await;
        while !servers.iter().all(AbortHandle::is_finished) {
            tokio::task::yield_now().await;
        }
        assert!(tokio::net::TcpStream::connect(free_at).await.is_err());
        assert!(reports.current().is_empty());
    }
}
