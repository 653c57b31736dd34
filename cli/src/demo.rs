//! The demo cluster: manifests that come with the binary, and the web Pods they name, answered in this process.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::failure::Failure;

/// The manifests of the demo cluster: file name and text.
pub const MANIFESTS: &[(&str, &str)] = &[
    ("quickstart/1-cluster.yaml", include_str!("../../config/quickstart/1-cluster.yaml")),
    ("quickstart/2-shop.yaml", include_str!("../../config/quickstart/2-shop.yaml")),
    ("quickstart/3-ingress.yaml", include_str!("../../config/quickstart/3-ingress.yaml")),
];

/// A web Pod of the demo cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Where it answers, on the loopback network.
    pub address: SocketAddr,
}

/// The Pods that the demo cluster's EndpointSlices place on the loopback network.
pub fn pods() -> Vec<Pod> {
    let mut pods = Vec::new();
    for (file, text) in MANIFESTS {
        for object in sources::manifests::decode(file, text).objects {
            let cluster::Object::EndpointSlice(slice) = object else { continue };
            for endpoint in &slice.endpoints {
                let here = endpoint.addresses.iter().filter(|ip| ip.is_loopback());
                let name = endpoint.pod.as_deref().unwrap_or("pod");
                pods.extend(here.zip(&slice.ports).map(|(ip, port)| Pod {
                    name: name.to_owned(),
                    address: SocketAddr::new(*ip, port.port),
                }));
            }
        }
    }
    pods
}

/// Starts the Pods on the runtime at hand.
///
/// # Errors
/// When one of their addresses is taken.
pub async fn start(pods: Vec<Pod>) -> Result<(), Failure> {
    for pod in pods {
        let listener = TcpListener::bind(pod.address).await.map_err(|error| {
            Failure::outside(format!(
                "the demo Pod {} cannot listen on {}: {error}; serve your own manifests with --cluster DIR",
                pod.name, pod.address
            ))
        })?;
        tokio::spawn(serve(pod, listener));
    }
    Ok(())
}

async fn serve(pod: Pod, listener: TcpListener) {
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
fn page(pod: &Pod, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut text = format!("{} answers {} {}\n", pod.name, request.method(), request.uri());
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
    use super::*;

    #[test]
    fn the_demo_manifests_are_sound_and_name_pods_to_run() {
        for (file, text) in MANIFESTS {
            let decoded = sources::manifests::decode(file, text);
            assert!(
                !decoded.objects.is_empty() && decoded.problems.is_empty(),
                "{file}: {:?}",
                decoded.problems
            );
        }
        let names: Vec<_> = pods().into_iter().map(|pod| pod.name).collect();
        assert_eq!(names, ["web-0", "web-1", "web-canary-0"]);
    }
}
