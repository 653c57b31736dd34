//! The controllers among the workloads: their flags, and what the flags select.

use ingress_routes::RouteOptions;

use crate::input::{CheckedWorkload, Container};
use crate::outcome::Outcome;
use crate::report::{CheckedObject, CheckedSetting, Place};

/// Reads the command line of `portolan ingress`.
///
/// # Errors
/// With the message of the program, which does not start with such arguments.
pub type FlagReader<'r> = &'r dyn Fn(&[String]) -> Result<ControllerFlags, String>;

/// The settings that the flags of a controller give.
#[derive(Clone, Debug)]
pub struct ControllerFlags {
    /// The options of the routes.
    pub options: RouteOptions,
    /// Flags that do not work as in ingress-nginx.
    pub findings: Vec<FlagFinding>,
}

/// A flag that does not work as in ingress-nginx.
#[derive(Clone, Debug)]
pub struct FlagFinding {
    /// Its name without dashes.
    pub name: String,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Its consequence.
    pub reason: String,
}

/// A controller whose Ingresses are checked.
pub(crate) struct CheckedController {
    /// `Deployment ingress-nginx/controller`; empty if none was found.
    pub(crate) name: String,
    pub(crate) options: RouteOptions,
}

/// The container that runs ingress-nginx, or Portolan in its place.
fn controller(workload: &CheckedWorkload) -> Option<&Container> {
    let is_controller = |container: &&Container| {
        let program = |arg: &str| arg.ends_with("nginx-ingress-controller");
        let by_image = container.image.contains("ingress-nginx/")
            || container.image.contains("nginx-ingress-controller");
        let ours =
            container.image.contains("portolan") && container.args.iter().any(|(arg, _)| arg == "ingress");
        // The chart's job that makes certificates has an image of ingress-nginx too, but it is no Deployment.
        (by_image && !container.image.contains("defaultbackend"))
            || ours
            || container.args.iter().any(|(arg, _)| program(arg))
    };
    workload.containers.iter().find(is_controller)
}

/// The controllers among the workloads, and the findings about their flags.
pub(crate) fn controllers(
    workloads: &[CheckedWorkload],
    read: FlagReader<'_>,
) -> (Vec<CheckedController>, Vec<CheckedObject>) {
    let (mut controllers, mut objects) = (Vec::new(), Vec::new());
    for workload in workloads {
        let Some(container) = controller(workload) else { continue };
        let args = container.args.iter().filter(|(arg, _)| arg.starts_with('-') || !is_program(arg));
        let expanded: Vec<_> = args.clone().map(|(arg, _)| expanded(arg, workload)).collect();
        let name = format!("{}/{}", workload.namespace, workload.name);
        let findings = match read(&expanded) {
            Ok(flags) => {
                controllers.push(CheckedController {
                    name: format!("{} {name}", workload.kind),
                    options: flags.options,
                });
                let finding = |(arg, place): &(String, Option<Place>)| {
                    let known = flags.findings.iter().find(|finding| finding.name == flag_name(arg));
                    CheckedSetting {
                        setting: arg.clone(),
                        place: place.clone(),
                        outcome: known.map_or(Outcome::AsBefore, |known| known.outcome),
                        reason: known.map(|known| known.reason.clone()).unwrap_or_default(),
                    }
                };
                args.map(finding).collect()
            }
            // The message names the flag.
            Err(message) => vec![CheckedSetting {
                setting: String::new(),
                place: workload.place.clone(),
                outcome: Outcome::Refused,
                reason: format!("the program does not start: {message}"),
            }],
        };
        objects.push(CheckedObject::new(&workload.kind, name, workload.place.clone(), findings));
    }
    (controllers, objects)
}

/// The program's path and the words before it (`dumb-init -- /nginx-ingress-controller`).
fn is_program(arg: &str) -> bool {
    arg.starts_with('/') || ["--", "ingress", "dumb-init"].contains(&arg)
}

fn flag_name(arg: &str) -> &str {
    let name = arg.trim_start_matches('-');
    name.split_once('=').map_or(name, |(name, _)| name)
}

/// The variables that kubelet replaces in arguments, as far as the manifest determines them.
fn expanded(arg: &str, workload: &CheckedWorkload) -> String {
    arg.replace("$(POD_NAMESPACE)", &workload.namespace).replace("$(POD_NAME)", &workload.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(image: &str, args: &[&str]) -> CheckedWorkload {
        let args = args.iter().map(|arg| ((*arg).to_owned(), None)).collect();
        CheckedWorkload {
            kind: "Deployment".into(),
            namespace: "edge".into(),
            name: "controller".into(),
            place: None,
            containers: vec![
                Container { image: "registry.example.com/proxy:1".into(), args: Vec::new() },
                Container { image: image.into(), args },
            ],
        }
    }

    #[test]
    fn controllers_are_recognised_by_image_and_program() {
        for (image, args, wanted) in [
            ("registry.k8s.io/ingress-nginx/controller:v1.15.1", &["--v=2"][..], true),
            ("mirror.example.com/nginx:1", &["/nginx-ingress-controller", "--v=2"], true),
            ("docker.io/library/portolan:dev", &["ingress", "--v=2"], true),
            ("docker.io/library/portolan:dev", &["dns"], false),
            ("registry.k8s.io/defaultbackend-amd64:1.5", &[], false),
            ("docker.io/library/nginx:1.29", &[], false),
        ] {
            assert_eq!(controller(&workload(image, args)).is_some(), wanted, "{image} {args:?}");
        }
    }

    #[test]
    fn flags_are_read_with_the_namespace_of_the_pod() {
        let workload = workload(
            "x/ingress-nginx/controller",
            &["/nginx-ingress-controller", "--configmap=$(POD_NAMESPACE)/c", "--v=3"],
        );
        let read = |args: &[String]| {
            assert_eq!(args, ["--configmap=edge/c", "--v=3"]);
            let finding =
                FlagFinding { name: "v".into(), outcome: Outcome::Differs, reason: "because".into() };
            Ok(ControllerFlags { options: RouteOptions::default(), findings: vec![finding] })
        };
        let (controllers, objects) = controllers(std::slice::from_ref(&workload), &read);
        assert_eq!(controllers[0].name, "Deployment edge/controller");
        let outcomes: Vec<_> =
            objects[0].settings.iter().map(|it| (it.setting.as_str(), it.outcome)).collect();
        assert_eq!(
            outcomes,
            [("--configmap=$(POD_NAMESPACE)/c", Outcome::AsBefore), ("--v=3", Outcome::Differs)]
        );

        let refuse = |_: &[String]| Err("unknown flag --x".to_owned());
        let (controllers, objects) = super::controllers(&[workload], &refuse);
        assert!(controllers.is_empty());
        assert_eq!(objects[0].outcome, Outcome::Refused);
    }
}
