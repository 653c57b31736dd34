//! TCP and UDP services: the ConfigMaps of `--tcp-services-configmap` and `--udp-services-configmap`, as they change.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use tests::backend::Backend;
use tests::stage::{SOON, Stage};
use tests::{http, wait};

use crate::access::permit_guest;
use crate::ingress_traffic::prepare;
use crate::manifests::{slice, workload};

const PORT: u16 = 9301;
const OTHER: u16 = 9302;

fn config_map(name: &str, data: &str) -> String {
    format!(
        "\n---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: streams}}, data: {data}}}\n"
    )
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Waits until a port answers with the name of a backend, or is closed.
fn expect(port: u16, backend: Option<&str>) {
    wait::until("the port of a service", SOON, || match (http::get(local(port), "any", "/"), backend) {
        (Ok(response), Some(name)) if response.header("x-backend") == Some(name) => Ok(()),
        (Err(_), None) if TcpStream::connect(local(port)).is_err() => Ok(()),
        (response, backend) => Err(format!("{port}: {response:?} instead of {backend:?}")),
    });
}

pub(crate) fn tcp_and_udp_services_follow_their_config_maps(stage: &mut Stage) {
    prepare(stage, "streams");
    let _pods = [Backend::start("one", "10.244.1.111:8080"), Backend::start("two", "10.244.1.112:8080")];
    let api = &stage.plane.api;
    api.apply(&workload("streams", "web", &["10.244.1.111"]));
    api.apply(&workload("streams", "new", &["10.244.1.112"]));
    api.apply(&config_map("tcp", &format!("{{'{PORT}': 'streams/web:http'}}")));
    // All ConfigMaps of one namespace, besides what routes need, are enough: the cluster's may not be listed.
    let allowed = [
        ("", "services, secrets"),
        ("discovery.k8s.io", "endpointslices"),
        ("networking.k8s.io", "ingresses, ingressclasses"),
    ];
    permit_guest(stage, &allowed);
    api.apply(
        "
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: guest, namespace: streams }
rules: [{ apiGroups: [''], resources: [configmaps], verbs: [list, watch] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: guest, namespace: streams }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: guest }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: guest }]
",
    );
    let flags = ["--tcp-services-configmap", "streams/tcp", "--udp-services-configmap", "streams/udp"];
    let portolan = stage.ingress("guest", &flags);
    expect(PORT, Some("one"));
    portolan.wait_for_log(&["ConfigMap streams/udp", "does not exist", "--udp-services-configmap"]);

    // An open stream survives the change that opens a port, and the removal of its own entry.
    let mut stream = TcpStream::connect(local(PORT)).expect("the port is open");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    api.apply(&config_map(
        "tcp",
        &format!("{{'{PORT}': 'streams/web:http', '{OTHER}': 'streams/new:80', '80': 'streams/web:80', '9303': 'web:80'}}"),
    ));
    expect(OTHER, Some("two"));
    portolan.wait_for_log(&["ConfigMap streams/tcp", "80 is the port of --http-port"]);
    portolan.wait_for_log(&["ConfigMap streams/tcp", "9303", "namespace/service:port[:PROXY][:PROXY]"]);
    api.apply(&config_map("tcp", &format!("{{'{OTHER}': 'streams/new:80'}}")));
    expect(PORT, None);
    stream.write_all(b"GET /last HTTP/1.1\r\nHost: any\r\n\r\n").expect("the stream is open");
    // The body is the head of the request.
    let mut response = String::new();
    while !response.ends_with("Host: any\r\n\r\n") {
        let mut part = [0; 1024];
        let length = stream.read(&mut part).expect("an answer");
        assert_ne!(length, 0, "the stream ended after {response:?}");
        response.push_str(&String::from_utf8_lossy(&part[..length]));
    }
    assert!(response.starts_with("HTTP/1.1 200") && response.contains("GET /last"), "{response}");

    // A port is closed while its Service has no endpoint.
    api.delete("Pod", "streams", &crate::manifests::pod_name("10.244.1.112"));
    expect(OTHER, None);

    let echo = UdpSocket::bind("10.244.1.111:5353").expect("the address of a Pod");
    std::thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok((length, peer)) = echo.recv_from(&mut bytes) {
            let _ = echo.send_to(&bytes[..length], peer);
        }
    });
    api.apply(
        "
---
apiVersion: v1
kind: Service
metadata: { name: names, namespace: streams }
spec: { clusterIP: None, ports: [{ name: dns, port: 53, protocol: UDP }] }
",
    );
    let names = slice("streams", "names", "10.244.1.111");
    api.apply(&names.replace("{ name: http, port: 8080 }", "{ name: dns, port: 5353, protocol: UDP }"));
    api.apply(&config_map("udp", &format!("{{'{PORT}': 'streams/names:dns'}}")));
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.connect(local(PORT)).expect("a peer");
    client.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    wait::until("an answer to a datagram", SOON, || {
        let mut bytes = [0; 512];
        // Fails with the error of an earlier datagram while the port is closed.
        let _ = client.send(b"question");
        match client.recv(&mut bytes) {
            Ok(length) if bytes[..length] == *b"question" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}
