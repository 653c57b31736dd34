//! Argo Rollouts and Flagger: their writes for a canary in order, under requests that must not fail, and the share of requests that
//! each weight gives.

use serde_json::{Value, json};
use tests::backend::Backend;
use tests::canary::{measure, under_load};
use tests::stage::{SOON, Stage};
use tests::wait;

use crate::ingress_traffic::prepare;
use crate::manifests::{annotated, ingress, pod, pod_name};

const CANARY_WEIGHT: &str = "nginx.ingress.kubernetes.io/canary-weight";

/// A Service that selects Pods by the hash of their template, and one Pod of it.
fn version(namespace: &str, service: &str, hash: &str, address: &str) -> String {
    let pod = pod(namespace, &pod_name(address), "shop", address, true, "");
    let pod = pod.replace("labels: { app: shop }", &format!("labels: {{ app: shop, hash: {hash} }}"));
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service, "namespace": namespace},
        "spec": {"selector": {"app": "shop", "hash": hash}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    });
    format!("\n---\n{service}\n{pod}")
}

fn pods() -> [Backend; 2] {
    [Backend::start("old", "10.244.1.161:8080"), Backend::start("new", "10.244.1.162:8080")]
}

/// `SetWeight` of Argo Rollouts (1.8, `rollout/trafficrouting/nginx`): the first call creates the canary, all others patch it.
pub(crate) fn the_steps_of_argo_rollouts_give_their_shares(stage: &mut Stage) {
    prepare(stage, "rollouts");
    let _pods = pods();
    let api = &stage.plane.api;
    api.apply(&version("rollouts", "shop-stable", "a1", "10.244.1.161"));
    api.apply(&version("rollouts", "shop-canary", "b2", "10.244.1.162"));
    api.apply(&ingress("rollouts", "shop", "rollouts.test", "/", "shop-stable"));
    let _portolan = stage.ingress("portolan", &[]);
    measure("rollouts.test", 0);
    let service = json!({"name": "shop-canary", "port": {"name": "http"}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": {"service": service}});
    let canary = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "shop-shop-canary",
            "namespace": "rollouts",
            "annotations": {"nginx.ingress.kubernetes.io/canary": "true", CANARY_WEIGHT: "0"},
        },
        "spec": {"ingressClassName": "nginx", "rules": [{"host": "rollouts.test", "http": {"paths": [path]}}]},
    });
    let set_weight = |percent: u32| {
        let patch = json!({"metadata": {"annotations": {CANARY_WEIGHT: percent.to_string()}}});
        api.merge("Ingress", "rollouts", "shop-shop-canary", &patch.to_string());
        measure("rollouts.test", percent);
    };
    under_load("rollouts.test", || {
        let created = api.post("/apis/networking.k8s.io/v1/namespaces/rollouts/ingresses", &canary);
        assert_eq!(created.status, 201, "{}", created.text());
        measure("rollouts.test", 0);
        set_weight(5);
        set_weight(20);
        // Aborted.
        set_weight(0);
        for percent in [5, 20, 50, 100] {
            set_weight(percent);
        }
        // Promoted: the stable Service selects the new Pods, then the weight is reset.
        let selector = json!({"spec": {"selector": {"app": "shop", "hash": "b2"}}});
        api.merge("Service", "rollouts", "shop-stable", &selector.to_string());
        wait::until("the endpoints of the new version", SOON, || {
            let slices = api.list("EndpointSlice", "rollouts");
            let is_promoted = |slice: &Value| {
                slice["metadata"]["labels"]["kubernetes.io/service-name"] == "shop-stable"
                    && slice["endpoints"].to_string().contains("10.244.1.162")
            };
            if slices.iter().any(is_promoted) { Ok(()) } else { Err(format!("{slices:?}")) }
        });
        let patch = json!({"metadata": {"annotations": {CANARY_WEIGHT: "0"}}});
        api.merge("Ingress", "rollouts", "shop-shop-canary", &patch.to_string());
        measure("rollouts.test", 100);
    });
}

/// Flagger (1.4x, `pkg/router/ingress.go`): the canary has all annotations of the Ingress and is replaced as a whole at each step.
pub(crate) fn the_steps_of_flagger_give_their_shares(stage: &mut Stage) {
    prepare(stage, "flagger");
    let _pods = pods();
    let api = &stage.plane.api;
    api.apply(&version("flagger", "shop-primary", "a1", "10.244.1.161"));
    api.apply(&version("flagger", "shop-canary", "b2", "10.244.1.162"));
    // Flagger makes the Service `shop` of the Ingress select the primary Pods.
    api.apply(&version("flagger", "shop", "a1", "10.244.1.161"));
    let annotations = "cert-manager.io/cluster-issuer: letsencrypt, \
                       nginx.ingress.kubernetes.io/proxy-read-timeout: '30', \
                       nginx.ingress.kubernetes.io/ssl-redirect: 'false'";
    api.apply(&annotated(&ingress("flagger", "shop", "flagger.test", "/", "shop"), annotations));
    let _portolan = stage.ingress("portolan", &[]);
    measure("flagger.test", 0);
    let read = |name: &str| api.read("Ingress", "flagger", name).expect("the Ingress exists");
    let mut canary = read("shop");
    canary["metadata"] = json!({"name": "shop-canary", "namespace": "flagger", "annotations": canary["metadata"]["annotations"]});
    canary["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] = json!("shop-canary");
    let annotate = |canary: &mut Value, values: &[(&str, Option<&str>)]| {
        let annotations = canary["metadata"]["annotations"].as_object_mut().expect("annotations");
        for (name, value) in values {
            let name = format!("nginx.ingress.kubernetes.io/{name}");
            match value {
                Some(value) => annotations.insert(name, json!(value)),
                None => annotations.remove(&name),
            };
        }
    };
    let update = |values: &[(&str, Option<&str>)]| {
        let mut canary = read("shop-canary");
        annotate(&mut canary, values);
        api.replace(&canary);
    };
    under_load("flagger.test", || {
        annotate(&mut canary, &[("canary", Some("true")), ("canary-weight", Some("0"))]);
        canary.as_object_mut().expect("an object").remove("status");
        let created = api.post("/apis/networking.k8s.io/v1/namespaces/flagger/ingresses", &canary);
        assert_eq!(created.status, 201, "{}", created.text());
        measure("flagger.test", 0);
        for percent in [5, 20, 0, 5, 20, 50, 100] {
            update(&[("canary", Some("true")), ("canary-weight", Some(&percent.to_string()))]);
            measure("flagger.test", percent);
        }
        // The primary is updated by its Deployment, and the canary rests with weight 0.
        update(&[("canary", Some("true")), ("canary-weight", Some("0"))]);
        measure("flagger.test", 0);
    });

    // A/B testing: by header and cookie instead of a weight.
    update(&[
        ("canary-by-header", Some("x-user")),
        ("canary-by-header-value", Some("insider")),
        ("canary-by-cookie", Some("canary")),
    ]);
    tests::web::EDGE.expect(
        SOON,
        "
http://flagger.test/ [x-user: insider]      = 200 new
http://flagger.test/ [x-user: other]        = 200 old
http://flagger.test/ [cookie: canary=always] = 200 new
http://flagger.test/ [cookie: canary=never]  = 200 old
http://flagger.test/                        = 200 old
",
    );
}
