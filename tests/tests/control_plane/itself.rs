//! Checks of the test control plane itself.

use tests::stage::{SOON, Stage};
use tests::wait;

pub(crate) fn the_api_server_is_not_a_mock(stage: &mut Stage) {
    let api = &stage.plane.api;
    for (what, manifest, words) in [
        (
            "a loopback address in a slice",
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: x}, addressType: IPv4,
              endpoints: [{addresses: [127.0.0.1]}]}",
            "loopback range",
        ),
        (
            "a Service outside the range",
            "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {clusterIP: 192.0.2.1, ports: [{port: 80}]}}",
            "does not match the current range",
        ),
        (
            "an Ingress path without a slash",
            "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: x}, spec: {rules: [{http: {paths: [
              {path: shop, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}}",
            "must be an absolute path",
        ),
    ] {
        let answer = api.try_apply(manifest);
        assert_eq!(answer.status, 422, "{what}: {}", answer.text());
        assert!(answer.text().contains(words), "{what}: {}", answer.text());
    }
}

pub(crate) fn slices_are_made_from_selectors(stage: &mut Stage) {
    let api = &stage.plane.api;
    api.apply(
        "
apiVersion: v1
kind: Namespace
metadata: { name: itself-slices }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: itself-slices }
spec: { selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: web-1, namespace: itself-slices, labels: { app: web } }
spec: { nodeName: node-1, containers: [{ name: web, image: web }] }
status:
  phase: Running
  podIP: 10.244.0.10
  podIPs: [{ ip: 10.244.0.10 }]
  conditions: [{ type: Ready, status: 'True' }]
",
    );
    wait::until("the slice", SOON, || {
        let slices = api.list("EndpointSlice", "itself-slices");
        let address = slices.iter().map(|slice| &slice["endpoints"][0]["addresses"][0]).next();
        if address.is_some_and(|address| address == "10.244.0.10") {
            Ok(())
        } else {
            Err(format!("{slices:?}"))
        }
    });
}

pub(crate) fn objects_survive_the_api_server(stage: &mut Stage) {
    let manifest = "{apiVersion: v1, kind: ConfigMap, metadata: {name: NAME}, data: {key: value}}";
    stage.plane.api.apply(&manifest.replace("NAME", "kept"));
    stage.plane.server.kill();

    let mut second = stage.plane.second_server();
    second.start(&[]);
    stage.plane.api.at(second.address()).apply(&manifest.replace("NAME", "made-meanwhile"));
    second.stop();

    stage.plane.server.start(&[]);
    for name in ["kept", "made-meanwhile"] {
        assert!(stage.plane.api.read("ConfigMap", "default", name).is_some(), "{name} is gone");
        stage.plane.api.delete("ConfigMap", "default", name);
    }
}
