//! cert-manager's solver of HTTP-01 challenges, with the objects that it writes (cert-manager 1.18, `pkg/issuer/acme/http`).

use serde_json::{Value, json};
use tests::backend::Backend;
use tests::stage::{SOON, Stage};
use tests::web::EDGE;

use crate::ingress_traffic::prepare;
use crate::manifests::{annotated, ingress, pod, workload};

const NAMESPACE: &str = "acme";
const CHALLENGE: &str = "/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";

/// The labels of the objects of a challenge: domain and token as numbers (Adler-32).
fn labels() -> Value {
    json!({
        "acme.cert-manager.io/http-domain": "1029509271",
        "acme.cert-manager.io/http-token": "1086913366",
        "acme.cert-manager.io/http01-solver": "true",
    })
}

/// The Service of the Pod that solves the challenge, and the Pod.
fn solver(address: &str) -> String {
    let port = json!([{"name": "http", "port": 8089, "targetPort": 8089, "protocol": "TCP"}]);
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "cm-acme-http-solver-x7k2p",
            "namespace": NAMESPACE,
            "labels": labels(),
            "annotations": {"auth.istio.io/8089": "NONE"},
        },
        "spec": {"type": "NodePort", "selector": labels(), "ports": port},
    });
    let pod = pod(NAMESPACE, "cm-acme-http-solver-9vqtd", "app", address, true, "");
    let pod = pod.replace("labels: { app: app }", &format!("labels: {}", labels()));
    format!("---\n{service}\n{pod}")
}

/// The rule of the challenge.
fn rules(path_type: &str) -> Value {
    let service = json!({"name": "cm-acme-http-solver-x7k2p", "port": {"number": 8089}});
    let path = json!({"path": CHALLENGE, "pathType": path_type, "backend": {"service": service}});
    json!([{"host": "acme.test", "http": {"paths": [path]}}])
}

/// Creates the Ingress as the solver does, whose name the API server completes.
fn create(stage: &Stage, class: &str, path_type: &str) -> String {
    let mut annotations = json!({"nginx.ingress.kubernetes.io/whitelist-source-range": "0.0.0.0/0,::/0"});
    let mut spec = json!({"rules": rules(path_type)});
    match class {
        "ingressClassName" => spec["ingressClassName"] = json!("nginx"),
        _ => annotations["kubernetes.io/ingress.class"] = json!("nginx"),
    }
    let object = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "generateName": "cm-acme-http-solver-",
            "namespace": NAMESPACE,
            "labels": labels(),
            "annotations": annotations,
        },
        "spec": spec,
    });
    let created = stage.plane.api.post("/apis/networking.k8s.io/v1/namespaces/acme/ingresses", &object);
    assert_eq!(created.status, 201, "{}", created.text());
    let created: Value = serde_json::from_slice(&created.body).expect("an object");
    created["metadata"]["name"].as_str().expect("a name").to_owned()
}

pub(crate) fn a_challenge_is_answered_over_http_on_a_host_that_redirects(stage: &mut Stage) {
    prepare(stage, NAMESPACE);
    let _pods = [Backend::start("app", "10.244.1.151:8080"), Backend::start("solver", "10.244.1.152:8089")];
    let api = &stage.plane.api;
    api.apply(&workload(NAMESPACE, "web", &["10.244.1.151"]));
    let annotations = "nginx.ingress.kubernetes.io/force-ssl-redirect: 'true', \
                       nginx.ingress.kubernetes.io/auth-url: 'http://10.244.1.153:8080/', \
                       cert-manager.io/cluster-issuer: letsencrypt";
    let web = annotated(&ingress(NAMESPACE, "web", "acme.test", "/", "web"), annotations);
    let web = format!("{web}  tls: [{{ hosts: [acme.test], secretName: acme-tls }}]\n");
    api.apply(&web);
    let _portolan = stage.ingress("portolan", &[]);
    let redirected = format!(
        "
http://acme.test/            = 308 https://acme.test
http://acme.test{CHALLENGE}  = 308 https://acme.test{CHALLENGE}
"
    );
    EDGE.expect(SOON, &redirected);
    // Its certificate does not exist until the challenge is solved.
    EDGE.expect(SOON, "https://acme.test/ = 500");
    api.apply(&solver("10.244.1.152"));
    let solved = format!(
        "
http://acme.test{CHALLENGE}  = 200 solver
http://acme.test/            = 308 https://acme.test
"
    );
    for (class, path_type) in
        [("ingressClassName", "Exact"), ("annotation", "Exact"), ("annotation", "ImplementationSpecific")]
    {
        let name = create(stage, class, path_type);
        EDGE.expect(SOON, &solved);
        // The self-check of cert-manager wants five answers.
        for _ in 0..5 {
            EDGE.matches(&solved).unwrap_or_else(|problem| panic!("{class} {path_type}: {problem}"));
        }
        api.delete("Ingress", NAMESPACE, &name);
        EDGE.expect(SOON, &redirected);
    }

    // `acme.cert-manager.io/http01-edit-in-place`: the path is added to the Ingress itself.
    let edited = |path_type| {
        let mut rules = rules(path_type);
        let own = json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"name": "http"}}}});
        rules[0]["http"]["paths"].as_array_mut().expect("paths").push(own);
        json!({"spec": {"rules": rules}}).to_string()
    };
    api.merge("Ingress", NAMESPACE, "web", &edited("Exact"));
    EDGE.expect(
        SOON,
        &format!("http://acme.test/ = 308 https://acme.test\n http://acme.test{CHALLENGE} = 200 solver"),
    );
}
