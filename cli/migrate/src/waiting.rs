//! Waits for Pods, with progress, a time limit, and an early end if a Pod cannot become ready.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::JsonApi;
use crate::console::Console;
use crate::objects::{LabelMap, ObjectId, ResourceKind, items, name, strings};

/// Time between two requests.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Time between two lines of progress that say the same.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// Reasons of waiting containers that need a change to be solved.
const FATAL_REASONS: [&str; 9] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

/// Number of lines of the log of a container in a crash loop.
const LOG_LINES: u32 = 5;

/// Waits until every Pod of a workload has its current template and is ready.
pub(crate) async fn ready(
    api: &JsonApi,
    id: &ObjectId,
    limit: Duration,
    console: Console,
) -> Result<(), String> {
    let started = Instant::now();
    let mut reported = (String::new(), started);
    loop {
        let object = api.get(&id.path()).await.map_err(|error| error.to_string())?;
        let object = object.ok_or_else(|| format!("{id} does not exist any more"))?;
        let Some(state) = unready(id.resource, &object) else {
            console.progress(&format!(
                "  {id}: every Pod is ready after {:.1} s",
                started.elapsed().as_secs_f32()
            ));
            return Ok(());
        };
        let pods = pods(api, id, &strings(&object["spec"]["selector"]["matchLabels"])).await?;
        for pod in &pods {
            if let Some(problem) = problem(pod) {
                return Err(with_log(api, pod, problem).await);
            }
        }
        let unscheduled = pods.iter().find_map(unscheduled);
        let state = unscheduled.map_or_else(|| state.clone(), |why| format!("{state}; {why}"));
        if started.elapsed() >= limit {
            return Err(format!("{id}: not ready within {} s: {state}", limit.as_secs()));
        }
        if state != reported.0 || reported.1.elapsed() >= PROGRESS_INTERVAL {
            let (elapsed, limit) = (started.elapsed().as_secs(), limit.as_secs());
            console.progress(&format!("  waiting for {id}: {state} ({elapsed} s of at most {limit} s)"));
            reported = (state, Instant::now());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The Pods of a workload that are not being deleted.
pub(crate) async fn pods(api: &JsonApi, id: &ObjectId, labels: &LabelMap) -> Result<Vec<Value>, String> {
    let selector = labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    let path = format!("{}?labelSelector={selector}", ResourceKind::Pod.list_path(Some(&id.namespace)));
    let mut pods = api.list(&path).await.map_err(|error| error.to_string())?.unwrap_or_default();
    pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    Ok(pods)
}

/// Why a workload is not ready: `1 of 2 Pods ready`. `None` if it is.
fn unready(resource: ResourceKind, object: &Value) -> Option<String> {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let (spec, status) = (&object["spec"], &object["status"]);
    if number(&status["observedGeneration"]) < number(&object["metadata"]["generation"]) {
        return Some("its controller has not seen the change".to_owned());
    }
    let (wanted, updated, ready, total) = match resource {
        ResourceKind::DaemonSet => (
            number(&status["desiredNumberScheduled"]),
            number(&status["updatedNumberScheduled"]),
            number(&status["numberAvailable"]),
            number(&status["currentNumberScheduled"]),
        ),
        _ => (
            spec["replicas"].as_u64().unwrap_or(1),
            number(&status["updatedReplicas"]),
            number(&status["availableReplicas"]),
            number(&status["replicas"]),
        ),
    };
    if updated < wanted {
        return Some(format!("{updated} of {wanted} Pods have the new template"));
    }
    if total > updated {
        return Some(format!("{} old Pods are still there", total - updated));
    }
    (ready < wanted).then(|| format!("{ready} of {wanted} Pods are ready"))
}

/// Why a Pod cannot become ready.
pub(crate) fn problem(pod: &Value) -> Option<String> {
    let containers =
        items(&pod["status"]["initContainerStatuses"]).chain(items(&pod["status"]["containerStatuses"]));
    for container in containers {
        let waiting = &container["state"]["waiting"];
        let reason = waiting["reason"].as_str().unwrap_or_default();
        if FATAL_REASONS.contains(&reason) {
            let image = container["image"].as_str().unwrap_or_default();
            let message = waiting["message"].as_str().unwrap_or_default();
            return Some(format!("Pod {}, image {image}: {reason}: {message}", name(pod)));
        }
    }
    None
}

fn unscheduled(pod: &Value) -> Option<String> {
    let scheduled =
        items(&pod["status"]["conditions"]).find(|condition| condition["type"] == "PodScheduled")?;
    (scheduled["status"] == "False").then(|| {
        format!("Pod {} has no node: {}", name(pod), scheduled["message"].as_str().unwrap_or_default())
    })
}

/// Adds the end of the log of a container in a crash loop.
async fn with_log(api: &JsonApi, pod: &Value, problem: String) -> String {
    if !problem.contains("CrashLoopBackOff") {
        return problem;
    }
    match api.log(&ObjectId::of(ResourceKind::Pod, pod).path(), LOG_LINES).await {
        Ok(log) => format!("{problem}\n{}", log.trim_end()),
        Err(_) => problem,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_is_ready_when_only_new_pods_are_there_and_available() {
        for (status, wanted) in [
            (json!({}), Some("its controller has not seen the change")),
            (json!({ "observedGeneration": 2, "replicas": 2 }), Some("0 of 2 Pods have the new template")),
            (
                json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3 }),
                Some("1 old Pods are still there"),
            ),
            (
                json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1 }),
                Some("1 of 2 Pods are ready"),
            ),
            (
                json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 }),
                None,
            ),
        ] {
            let object =
                json!({ "metadata": { "generation": 2 }, "spec": { "replicas": 2 }, "status": status });
            assert_eq!(unready(ResourceKind::Deployment, &object).as_deref(), wanted, "{status}");
        }
        let set = json!({ "metadata": { "generation": 1 }, "status": { "observedGeneration": 1, "desiredNumberScheduled": 3,
            "currentNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2 } });
        assert_eq!(unready(ResourceKind::DaemonSet, &set).as_deref(), Some("2 of 3 Pods are ready"));
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_a_problem_and_a_starting_container_is_none() {
        let pod = |reason: &str| {
            json!({ "metadata": { "name": "p" }, "status": { "containerStatuses": [{ "image": "portolan:none",
                "state": { "waiting": { "reason": reason, "message": "not found" } } }] } })
        };
        assert_eq!(problem(&pod("ContainerCreating")), None);
        assert_eq!(
            problem(&pod("ErrImagePull")).as_deref(),
            Some("Pod p, image portolan:none: ErrImagePull: not found")
        );
    }
}
