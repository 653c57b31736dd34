//! The plan for DNS, from facts. Pure: no I/O.

use crate::corefile::CorefileSummary;
use crate::distribution::{Distribution, node_local_cache, operator};
use crate::facts::Facts;
use crate::guidance::{instead_of_takeover, lasting};
use crate::options::{MigrateOptions, MigratedService};
use crate::plan::MigrationPlan;
use crate::takeover::{Takeover, found, shared_refusals};

/// Makes the plan. `corefile` is the result of checking the Corefile, with its origin; `None` without a workload to read it from.
pub(crate) fn plan(
    options: &MigrateOptions,
    facts: &Facts,
    corefile: Option<&Result<(String, CorefileSummary), String>>,
    requests: usize,
) -> MigrationPlan {
    let mut plan = MigrationPlan { found: found(facts), ..MigrationPlan::default() };
    plan.refusals = refusals(options, facts);
    match corefile {
        Some(Ok((origin, summary))) => {
            plan.found.push(("Corefile", format!("{origin}: every plugin is built into Portolan")));
            plan.notes.extend(summary.warnings.iter().map(|warning| format!("Corefile: {warning}")));
        }
        Some(Err(errors)) => plan.refusals.push(format!("Portolan does not serve this Corefile:\n{errors}")),
        None => {}
    }
    if let (Some(workload), true) = (facts.workload(), plan.refusals.is_empty()) {
        let takeover = Takeover { options, facts, workload, checks: format!("Look up {requests} names") };
        takeover.add_steps(&mut plan);
    }
    plan.notes.extend(lasting(facts.detection.distribution).map(str::to_owned));
    if let Some(cache) = node_local_cache(&facts.daemon_sets) {
        plan.notes.push(format!(
            "DaemonSet {cache} caches on each node and answers most queries. It stays as it is, and gets its answers from Portolan \
             through the Services that this plan changes"
        ));
    }
    if !plan.refusals.is_empty() {
        plan.steps.clear();
    }
    plan
}

/// Why the migration cannot be made.
fn refusals(options: &MigrateOptions, facts: &Facts) -> Vec<String> {
    let mut refusals = shared_refusals(options, facts);
    let distribution = facts.detection.distribution;
    let mut objects = vec![&facts.service];
    objects.extend(facts.workloads.iter().map(|workload| &workload.object));
    if let Some(sign) = operator(distribution, &objects).filter(|_| !options.unmanaged) {
        let is_eks = distribution == Distribution::Eks;
        let writer = if is_eks { "EKS maintains the add-on" } else { "an operator maintains it" };
        refusals.push(format!(
            "{writer} and would undo the change ({sign}).\nInstead: {}",
            instead_of_takeover(distribution)
        ));
    }
    if let Some(workload) =
        facts.workload().filter(|workload| workload.container(MigratedService::Dns).is_none())
    {
        refusals.push(format!("{} runs no CoreDNS", workload.title()));
    }
    refusals
}
