//! The options of a migration.

use std::time::Duration;

use sources::kube::Access;

/// Which of the two services is migrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigratedService {
    /// `portolan migrate dns`.
    Dns,
    /// `portolan migrate ingress`.
    Ingress,
}

impl MigratedService {
    /// The word of the command line, also used in labels and names of objects.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Ingress => "ingress",
        }
    }
}

/// How clients reach Portolan's Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The selector of the existing Service is changed to the Pods of a copy of the workload.
    Selector,
    /// The image of the existing workload is changed.
    SetImage,
}

impl Strategy {
    /// The word of the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Selector => "selector",
            Self::SetImage => "set-image",
        }
    }
}

/// Where lookups and requests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckLocation {
    /// In this process if it reaches the Service, else in a Pod.
    Auto,
    /// In this process.
    Here,
    /// In a Pod.
    Pod,
}

/// The format of the plan on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// Numbered steps.
    Text,
    /// One JSON object.
    Json,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrateAction {
    /// Print the plan.
    DryRun,
    /// Print the plan and carry it out.
    Apply,
    /// Restore the state before the migration.
    Rollback,
    /// Scale the replaced workload to zero.
    Finish,
    /// Print the manifest that makes the migration survive restarts of the distribution's own deploy controller.
    Manifest,
}

/// The options of one run.
#[derive(Clone, Debug)]
pub struct MigrateOptions {
    /// The service to migrate.
    pub service: MigratedService,
    /// What to do.
    pub action: MigrateAction,
    /// How the API server is reached.
    pub access: Access,
    /// Portolan's image.
    pub image: String,
    /// The namespace of the workload.
    pub namespace: String,
    /// The Service that clients use; `None` for the usual names.
    pub service_name: Option<String>,
    /// `None` to choose.
    pub strategy: Option<Strategy>,
    /// A name of [`crate::distribution::Distribution`]; `None` to detect it.
    pub distribution: Option<String>,
    /// True if the user states that no operator maintains the add-on.
    pub unmanaged: bool,
    /// External names that are looked up too, if they resolve before the migration.
    pub external: Vec<String>,
    /// How long lookups or requests are made after the change.
    pub watch: Duration,
    /// How long each wait may take.
    pub timeout: Duration,
    /// Where checks run.
    pub check_location: CheckLocation,
    /// The format of the plan.
    pub output: OutputFormat,
}
