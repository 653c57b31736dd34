//! `portolan migrate`: takes over cluster DNS from CoreDNS or ingress from ingress-nginx, and reverts that.
//!
//! **What is copied.** Portolan's workload is a copy of the existing Deployment with another image, its own name and one changed
//! label. Arguments, volumes (so the Corefile of the existing ConfigMap), service account, probes, tolerations and priority stay as
//! they are. Nothing else has to be installed, and no permission is granted.
//!
//! **Strategies.** `selector`, the default, starts the copy beside the existing Pods, compares the answers of both, and then changes
//! the selector of the existing Service. Clients keep the address. The old Pods keep running, so that a rollback is one change of the Service.
//! `set-image` compares in the same way with a copy of one Pod, then changes the image of the existing workload. It is chosen where
//! the selector cannot be used: Pods with host ports, and NetworkPolicies that select the DNS Pods by their label.
//!
//! **Order of checks.** Everything that can be known without a change is checked first: permissions, distribution, the Corefile. A
//! problem there is a refusal, and nothing has been written. From the first write on, every problem leads to a rollback.
//!
//! **Rollback.** Each object that is changed carries the patch that restores it in an annotation, written by the same request as the
//! change. `--rollback` and the automatic rollback read these annotations, so neither needs the memory of the process that made the
//! change.
//!
//! **Values.** `migrate values` makes a values file of Portolan's chart from one of the originals' charts, without a cluster.
//!
//! **Where checks run.** In this process if it reaches the cluster's addresses (on a node, in a Pod), else in a short-lived Pod with
//! Portolan's image, whose log is read through the API server.

mod values;

mod error;
mod options;
mod objects;
mod distribution;
mod mounted_files;
mod corefile;
mod copied_workload;
mod status_removal;
mod patch;
mod plan;

mod lookups;
mod dns_lookup;
mod http_request;
mod probe;
mod probe_log;

mod api;
mod permissions;
mod facts;

mod takeover;
mod guidance;
mod dns_plan;
mod ingress_plan;

mod console;
mod waiting;
mod checker;
mod rollback;
mod execution;
mod finish;
mod command;

pub use command::run;
pub use console::Console;
pub use distribution::Distribution;
pub use error::MigrateError;
pub use options::{CheckLocation, MigrateAction, MigrateOptions, MigratedService, OutputFormat, Strategy};
pub use probe::run_probe;
pub use values::{Finding, FlagConsequence, KeyOutcome, MigratedValues, ValuesOrigin, migrate_values};
