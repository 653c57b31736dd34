//! Portolan in Pods of a real cluster: kubelet, containerd, kube-proxy and all controllers, on a node of the tests.
//!
//! Needs root and Debian packages, and runs only with `PORTOLAN_TESTS=cluster` or `all`. The cases run in their order on one
//! node.

mod backends;
mod manifests;

mod chart;

mod controller;
mod logs;
mod ingress;
mod metrics;
mod migrate;
mod permissions;
mod pods;
mod resolvers;
mod rollouts;
mod security;
mod takeover_dns;
mod takeover_ingress;

mod documentation;
mod host_network;
mod limits;
mod node_cache;

use std::path::Path;
use std::process::ExitCode;

use tests::node::{self, ClusterNode};
use tests::runner::{self, Case, Selection};
use tests::{cases, isolation, pod_images, programs};

const CASES: &[Case<ClusterNode>] = cases![
    pods::a_pod_has_the_resolver_settings_of_its_node,
    takeover_dns::changing_the_image_of_stock_coredns_loses_no_lookup,
    migrate::dns_is_taken_over_and_given_back_without_a_lost_lookup,
    migrate::dns_is_taken_over_by_an_image_change_with_checks_in_a_pod,
    migrate::an_image_that_does_not_exist_is_rolled_back,
    migrate::answers_that_stop_after_the_change_are_rolled_back,
    documentation::a_takeover_of_both_and_the_way_back_do_what_the_page_shows,
    metrics::prometheus_answers_every_query_of_dashboards_and_alerts,
    takeover_ingress::ingress_nginxs_manifest_runs_our_image_and_is_taken_over_without_a_lost_request,
    takeover_ingress::an_ingress_pod_that_is_never_ready_gets_no_request,
    takeover_ingress::requests_that_fail_after_the_change_are_rolled_back,
    chart::helm_installs_both_services,
    security::pods_run_with_least_privilege,
    resolvers::programs_of_four_resolvers_find_addresses_and_services,
    ingress::requests_are_served_over_http_and_tls,
    ingress::a_canary_takes_its_share,
    ingress::a_session_stays_with_its_pod,
    ingress::a_websocket_passes_frames,
    rollouts::a_restart_of_the_backend_fails_no_request,
    rollouts::a_restart_of_portolan_loses_nothing,
    limits::memory_stays_below_the_default_limits_under_load,
    logs::logs_have_version_and_addresses_and_no_warning,
    rollouts::without_the_api_server_dns_and_ingress_serve,
    chart::helm_upgrades_to_a_daemon_set_with_host_ports_and_rolls_back,
    controller::replicas_refuse_bad_ingresses_write_addresses_and_replace_their_leader,
    host_network::a_daemon_set_binds_the_ports_of_its_node_without_root,
    node_cache::pods_resolve_through_the_cache_of_their_node,
    security::an_eviction_leaves_a_pod_of_each_service,
    security::a_forbidden_list_keeps_the_new_pod_from_serving,
    chart::helm_uninstalls_everything,
    documentation::commands_on_a_node_do_what_the_pages_show,
    permissions::each_permission_is_used_and_none_is_missing,
];

fn main() -> ExitCode {
    let selection = match Selection::from_arguments() {
        Ok(selection) => selection,
        Err(code) => return code,
    };
    let wanted = std::env::var("PORTOLAN_TESTS").is_ok_and(|value| value == "cluster" || value == "all");
    if !wanted && !selection.lists() {
        println!(
            "\nleft out: {} tests on a real node; to run them as root: \
             PORTOLAN_TESTS=cluster cargo test -p tests --test cluster\n",
            CASES.len()
        );
        return ExitCode::SUCCESS;
    }
    if selection.lists() {
        return runner::run(CASES, &selection, || Err("not started".to_owned()), |_| ());
    }
    let run = |folder: &Path| {
        runner::run(
            CASES,
            &selection,
            || ClusterNode::start(folder),
            |node: &mut ClusterNode| node.ensure_running(),
        )
    };
    match isolation::run(prepare, run) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("error: the tests on a real node cannot run: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Builds all programs and images before the namespaces are entered, since builds may need the network.
fn prepare(folder: &Path) -> Result<(), String> {
    node::check_packages()?;
    programs::cluster()?;
    programs::portolan()?;
    programs::helm()?;
    pod_images::write_all(&folder.join("images"))
}
