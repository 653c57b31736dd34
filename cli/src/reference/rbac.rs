//! The permissions of both services, as manifests of Kubernetes.

use crate::args::RbacPart;

const DNS: &str = include_str!("../../../config/kustomize/dns/rbac.yaml");
const INGRESS: &str = include_str!("../../../config/kustomize/ingress/rbac.yaml");

/// The manifest: ServiceAccounts, Roles, ClusterRoles and their bindings, as the chart makes them with its default values.
pub fn manifest(part: RbacPart) -> String {
    match part {
        RbacPart::Both => format!("{DNS}{INGRESS}"),
        RbacPart::Dns => DNS.to_owned(),
        RbacPart::Ingress => INGRESS.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ingress_side_reads_secrets() {
        assert!(!manifest(RbacPart::Dns).contains("secrets"));
        assert!(manifest(RbacPart::Ingress).contains("resources: [secrets]"));
        assert!(manifest(RbacPart::Both).contains("portolan-dns"));
    }
}
