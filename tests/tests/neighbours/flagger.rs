//! Flagger with its provider `nginx`. It judges each step by the metrics of Portolan, which Prometheus scrapes.

use std::time::Duration;

use serde_json::json;
use tests::canary::{canary_requests, measure, measure_if, under_load};
use tests::manifests::ingress;
use tests::pod_runner::PodRunner;
use tests::programs::Neighbour;
use tests::prometheus::{Prometheus, ScrapeTarget};
use tests::stage::{SOON, Stage};
use tests::wait;
use tests::web::EDGE;

use crate::{prepare, start, text};

const NAMESPACE: &str = "flagger";

const ANNOTATION: &str = "/metadata/annotations/nginx.ingress.kubernetes.io~1";

/// A Deployment in its first version, its Ingress, and its Canary with this analysis.
fn application(name: &str, analysis: &str) -> String {
    let ingress = ingress(NAMESPACE, name, &format!("{name}.flagger.test"), "/", name);
    format!(
        "{ingress}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {name}, namespace: {NAMESPACE} }}
spec:
  replicas: 2
  selector: {{ matchLabels: {{ app: {name} }} }}
  template:
    metadata: {{ labels: {{ app: {name}, version: old }} }}
    spec:
      nodeName: node-1
      containers: [{{ name: main, image: main, ports: [{{ containerPort: 8080 }}] }}]
---
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {{ name: {name}, namespace: {NAMESPACE} }}
spec:
  provider: nginx
  targetRef: {{ apiVersion: apps/v1, kind: Deployment, name: {name} }}
  ingressRef: {{ apiVersion: networking.k8s.io/v1, kind: Ingress, name: {name} }}
  service: {{ port: 80, portName: http, targetPort: 8080 }}
  analysis:
    interval: 10s
    threshold: 2
    metrics:
    - {{ name: request-success-rate, interval: 5s, thresholdRange: {{ min: 99 }} }}
    {analysis}
"
    )
}

pub(crate) fn releases_are_promoted_rolled_back_and_tested_by_header(stage: &mut Stage) {
    let neighbour = Neighbour::FLAGGER;
    prepare(stage, NAMESPACE, neighbour, "/apis/flagger.app/v1beta1/canaries");
    let _controllers = stage.plane.start_more_controllers("deployment-controller,replicaset-controller");
    let _pods = PodRunner::start(stage, NAMESPACE, "10.244.7", None);
    let portolan = stage.ingress("portolan", &["--enable-metrics"]);
    // The namespace in the metrics is that of the Ingress, as Flagger's queries expect.
    let target = ScrapeTarget { job: "portolan", address: "127.0.0.1:10254".to_owned(), namespace: "''" };
    let prometheus = Prometheus::start(stage.folder(), &[target]);
    wait::until("Prometheus", SOON, || prometheus.count("up"));
    let api = &stage.plane.api;
    api.apply(&application("shop", "stepWeights: [5, 20, 50]"));
    api.apply(&application("broken", "stepWeights: [20, 50]"));
    let matches =
        "match: [{ headers: { x-user: { exact: insider } } }, { headers: { cookie: { exact: canary } } }]";
    api.apply(&application("groups", &format!("iterations: 2\n    {matches}")));
    let arguments = ["--mesh-provider=nginx", "--metrics-server=http://127.0.0.1:9090", "--port=8089"];
    let flagger = start(stage, "flagger", neighbour, &arguments);
    let phase = |name: &str| text(&api.read("Canary", NAMESPACE, name).expect("a Canary"), "/status/phase");
    let phases = || ["shop", "broken", "groups"].map(phase);
    wait::until("the primary Deployments", Duration::from_secs(120), || match phases() {
        found if found.iter().all(|phase| phase == "Initialized") => Ok(()),
        found => Err(format!("{found:?}\n{}", flagger.log())),
    });
    for name in ["shop", "broken", "groups"] {
        EDGE.expect(SOON, &format!("http://{name}.flagger.test/ = 200 old"));
    }
    measure("shop.flagger.test", 0);
    let series = "nginx_ingress_controller_requests{namespace=\"flagger\",ingress=\"shop\"}";
    wait::until(series, SOON, || match prometheus.count(series)? {
        0 => Err(format!("{:?} targets are up\n{}", prometheus.count("up == 1"), portolan.metrics())),
        _ => Ok(()),
    });

    let annotation = |name: &str, annotation: &str| {
        let canary = api.read("Ingress", NAMESPACE, &format!("{name}-canary")).expect("a canary Ingress");
        text(&canary, &format!("{ANNOTATION}{annotation}"))
    };
    let mut weights = Vec::new();
    let mut groups_were_right = false;
    under_load("shop.flagger.test", || {
        for (name, version) in [("shop", "new"), ("broken", "failing"), ("groups", "new")] {
            let template = json!({"metadata": {"labels": {"version": version}}});
            api.merge("Deployment", NAMESPACE, name, &json!({"spec": {"template": template}}).to_string());
        }
        wait::until("the end of the releases", Duration::from_secs(300), || {
            let weight = annotation("shop", "canary-weight");
            let in_effect =
                || annotation("shop", "canary-weight") == weight && phase("shop") == "Progressing";
            if weight != "0" && !weights.contains(&weight) && in_effect() {
                let percent = weight.parse().expect("a number");
                if measure_if("shop.flagger.test", percent, in_effect) {
                    weights.push(weight.clone());
                }
            }
            for _ in 0..10 {
                EDGE.get("http://broken.flagger.test/", &[])?;
                EDGE.get("http://groups.flagger.test/", &["x-user: insider"])?;
            }
            if !annotation("groups", "canary-by-header").is_empty() && phase("groups") == "Progressing" {
                let table = "
http://groups.flagger.test/ [x-user: insider]       = 200 new
http://groups.flagger.test/ [x-user: other]         = 200 old
http://groups.flagger.test/ [cookie: canary=always] = 200 new
http://groups.flagger.test/                         = 200 old
";
                // The phase ends while the table is compared, at the latest at the next step.
                groups_were_right |= EDGE.matches(table).is_ok();
            }
            match phases() {
                found if found == ["Succeeded", "Failed", "Succeeded"] => Ok(()),
                found => Err(format!("{found:?}\n{}", flagger.log())),
            }
        });
    });
    assert_eq!(weights, ["5", "20", "50"], "{}", flagger.log());
    assert!(groups_were_right, "{}", flagger.log());
    measure("shop.flagger.test", 100);
    EDGE.expect(SOON, "http://groups.flagger.test/ = 200 new");
    EDGE.expect(SOON, "http://groups.flagger.test/ [x-user: insider] = 200 new");
    assert_eq!(canary_requests("broken.flagger.test", 500), Ok(0), "{}", portolan.problems());
    let log = flagger.log();
    for line in
        log.lines().filter(|line| line.contains("\"canary\":\"broken.flagger\"") && line.contains("\"info\""))
    {
        println!("    {line}");
    }
}
