//! `portolan check`: what changes if Portolan takes the place of CoreDNS and ingress-nginx.
//!
//! **Input.** Objects of a cluster, from manifests or from an API server: Ingresses, the ConfigMap of their controller, the
//! arguments of its Deployment or DaemonSet, and Corefiles in files or ConfigMaps.
//!
//! **Judgement.** The code that serves also judges: the route table reports what it does not serve as written, and a Corefile is
//! set up as at a start. This crate only looks up to which line a report belongs, and adds the settings about which there is none.
//!
//! **Result.** A [`Report`], which [`output`] writes as text, JSON, HTML or SARIF.

mod outcome;
mod report;

mod differences;

mod input;
mod workload;

mod corefile;
mod ingresses;
mod config_map;

mod check;

pub mod output;

pub use check::check;
pub use input::{CheckInput, CheckedWorkload, Container, FileProgress, InputError, LineIndex, read_files};
pub use outcome::Outcome;
pub use report::{CheckedObject, CheckedSetting, Counts, Place, Report, Total};
pub use workload::{ControllerFlags, FlagFinding, FlagReader};
