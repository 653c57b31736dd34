//! Argo Rollouts with its traffic router `nginx`.

use serde_json::{Value, json};
use tests::canary::{measure, under_load};
use tests::manifests::ingress;
use tests::pod_runner::PodRunner;
use tests::programs::Neighbour;
use tests::stage::{SOON, Stage};
use tests::wait;
use tests::web::EDGE;

use crate::{prepare, start, text};

const NAMESPACE: &str = "rollouts";

const HOST: &str = "shop.rollouts.test";

const APPLICATION: &str = "
---
apiVersion: v1
kind: Service
metadata: { name: shop-stable, namespace: rollouts }
spec: { selector: { app: shop }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: shop-canary, namespace: rollouts }
spec: { selector: { app: shop }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: { name: shop, namespace: rollouts }
spec:
  replicas: 4
  selector: { matchLabels: { app: shop } }
  template:
    metadata: { labels: { app: shop, version: old } }
    spec:
      nodeName: node-1
      containers: [{ name: main, image: main, ports: [{ containerPort: 8080 }] }]
  strategy:
    canary:
      stableService: shop-stable
      canaryService: shop-canary
      trafficRouting:
        nginx: { stableIngress: shop, additionalIngressAnnotations: { canary-by-header: x-canary } }
      steps:
      - { setWeight: 5 }
      - { pause: {} }
      - { setWeight: 20 }
      - { pause: {} }
      - { setWeight: 50 }
      - { pause: {} }
";

pub(crate) fn the_steps_of_a_rollout_give_their_shares(stage: &mut Stage) {
    let neighbour = Neighbour::ARGO_ROLLOUTS;
    prepare(stage, NAMESPACE, neighbour, "/apis/argoproj.io/v1alpha1/rollouts");
    let _controllers = stage.plane.start_more_controllers("replicaset-controller");
    let _pods = PodRunner::start(stage, NAMESPACE, "10.244.8", None);
    let _portolan = stage.ingress("portolan", &[]);
    let api = &stage.plane.api;
    api.apply(&ingress(NAMESPACE, "shop", HOST, "/", "shop-stable"));
    api.apply(APPLICATION);
    let arguments = ["--leader-elect=false", "--healthzPort=8091", "--metricsPort=8092"];
    let rollouts = start(stage, "argo-rollouts", neighbour, &arguments);
    let read = || api.read("Rollout", NAMESPACE, "shop").expect("a Rollout");
    let wait_for = |what: &str, condition: &dyn Fn(&Value) -> bool| {
        wait::until(what, SOON * 3, || match read() {
            found if condition(&found) => Ok(()),
            found => Err(format!("{:#}\n{}", found["status"], rollouts.log())),
        });
    };
    // As `kubectl argo rollouts promote`, `abort` and `retry` do.
    let set_status = |status: Value| {
        api.merge_status("Rollout", NAMESPACE, "shop", &json!({ "status": status }).to_string());
    };
    // Waits until the step after a weight pauses the Rollout, and measures.
    let expect_weight = |step: u64, percent: u32| {
        wait_for("the pause", &|found| {
            found["status"]["currentStepIndex"] == step
                && found.pointer("/status/pauseConditions/0/reason") == Some(&json!("CanaryPauseStep"))
        });
        measure(HOST, percent);
        let by_header = format!(
            "http://{HOST}/ [x-canary: always] = 200 new\n http://{HOST}/ [x-canary: never] = 200 old"
        );
        EDGE.expect(SOON, &by_header);
    };
    let promote = || set_status(json!({ "pauseConditions": null }));
    wait_for("the first version", &|found| text(found, "/status/phase") == "Healthy");
    measure(HOST, 0);

    under_load(HOST, || {
        let template = json!({"metadata": {"labels": {"version": "new"}}});
        api.merge("Rollout", NAMESPACE, "shop", &json!({"spec": {"template": template}}).to_string());
        expect_weight(1, 5);
        promote();
        expect_weight(3, 20);
        set_status(json!({ "abort": true }));
        wait_for("the abort", &|found| text(found, "/status/phase") == "Degraded");
        measure(HOST, 0);
        set_status(json!({ "abort": false }));
        for (step, percent) in [(1, 5), (3, 20), (5, 50)] {
            expect_weight(step, percent);
            promote();
        }
        wait_for("the promotion", &|found| text(found, "/status/phase") == "Healthy");
        measure(HOST, 100);
    });
    let canary = api.read("Ingress", NAMESPACE, "shop-shop-canary").expect("the canary Ingress stays");
    println!("    annotations of the canary at the end: {}", canary["metadata"]["annotations"]);
}
