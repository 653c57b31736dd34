//! Controllers of other projects beside which the ingress is tested, each with its CustomResourceDefinitions.

use std::path::PathBuf;

use super::{definitions_of, go_program};

/// A controller of another project.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour {
    /// The folder below `tests` with the Go module that has its version.
    folder: &'static str,
    /// The Go package of the program.
    package: &'static str,
    /// The Go module with the definitions, and their files.
    definitions: (&'static str, &'static [&'static str]),
}

impl Neighbour {
    /// Moves the weights of a canary Ingress step by step, and judges each by metrics.
    pub const FLAGGER: Neighbour = Neighbour {
        folder: "flagger",
        package: "github.com/fluxcd/flagger/cmd/flagger",
        definitions: ("github.com/fluxcd/flagger", &["artifacts/flagger/crd.yaml"]),
    };

    /// Creates a canary Ingress and sets its weights as the steps of a Rollout say.
    pub const ARGO_ROLLOUTS: Neighbour = Neighbour {
        folder: "argo-rollouts",
        package: "github.com/argoproj/argo-rollouts/cmd/rollouts-controller",
        definitions: (
            "github.com/argoproj/argo-rollouts",
            &[
                "manifests/crds/rollout-crd.yaml",
                "manifests/crds/analysis-run-crd.yaml",
                "manifests/crds/analysis-template-crd.yaml",
                "manifests/crds/cluster-analysis-template-crd.yaml",
                "manifests/crds/experiment-crd.yaml",
            ],
        ),
    };

    /// One program with the packages of cert-manager and external-dns: the first argument is `cert-manager`, `acmesolver` or
    /// `external-dns`.
    pub const CERT_MANAGER_AND_EXTERNAL_DNS: Neighbour = Neighbour {
        folder: "controllers",
        package: ".",
        definitions: (
            "github.com/cert-manager/cert-manager",
            &[
                "deploy/crds/acme.cert-manager.io_challenges.yaml",
                "deploy/crds/acme.cert-manager.io_orders.yaml",
                "deploy/crds/cert-manager.io_certificaterequests.yaml",
                "deploy/crds/cert-manager.io_certificates.yaml",
                "deploy/crds/cert-manager.io_clusterissuers.yaml",
                "deploy/crds/cert-manager.io_issuers.yaml",
            ],
        ),
    };

    /// The program, built unless it is cached.
    pub fn program(self) -> Result<PathBuf, String> {
        go_program(self.folder, self.package, "")
    }

    /// The CustomResourceDefinitions as one manifest.
    pub fn definitions(self) -> Result<PathBuf, String> {
        let (module, files) = self.definitions;
        let files: Vec<_> = files.iter().map(|&file| (module, file)).collect();
        definitions_of(&format!("{}-definitions", self.folder), self.folder, &files)
    }
}

/// Pebble, the ACME server of Let's Encrypt for tests, built unless it is cached.
pub fn acme_server() -> Result<PathBuf, String> {
    go_program("pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble", "")
}
