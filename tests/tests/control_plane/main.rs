//! Both services against a real control plane, in a network namespace of their own.
//!
//! One etcd, one API server and one controller manager serve all cases, which run one after the other; each makes
//! Kubernetes namespaces of its own and starts the `portolan` it needs. `PORTOLAN_TESTS=local` leaves all of them out.

mod manifests;

mod access;
mod dns_changes;
mod dns_records;
mod ingress_traffic;
mod histories;
mod http2;
mod itself;
mod resolvers;
mod scale;
mod up;

mod faults;
mod in_a_pod;
mod ingress_globals;
mod ingress_tls;
mod multicluster;
mod refusals;

use std::process::ExitCode;

use tests::runner::{self, Case, Selection};
use tests::stage::Stage;
use tests::{cases, namespace, programs};

const CASES: &[Case<Stage>] = cases![
    itself::the_api_server_is_not_a_mock,
    itself::slices_are_made_from_selectors,
    itself::objects_survive_the_api_server,
    dns_records::a_cluster_ip_service_has_an_address_a_port_and_a_pointer,
    dns_records::a_service_of_two_families_has_an_address_of_each,
    dns_records::a_headless_service_has_the_addresses_of_its_ready_pods,
    dns_records::a_headless_service_without_a_selector_has_what_its_slices_say,
    dns_records::an_external_name_is_a_cname_and_the_chase_of_it,
    dns_records::pod_names_answer_as_the_mode_says,
    dns_records::levels_of_the_zone_exist_and_nothing_else_does,
    dns_records::the_apex_has_a_start_of_authority_and_name_servers,
    dns_changes::a_service_comes_changes_and_goes,
    dns_changes::a_pod_that_is_no_longer_ready_leaves_its_service,
    dns_changes::a_change_of_endpoints_is_timed,
    dns_changes::selectors_leave_out_what_they_do_not_match,
    multicluster::imports_answer_with_the_endpoints_of_all_clusters,
    multicluster::without_imports_all_else_is_served_until_they_come,
    multicluster::imports_that_may_not_be_read_hold_nothing_else_back,
    resolvers::the_c_library_finds_names_as_in_a_pod,
    resolvers::gos_resolver_finds_the_api_server,
    ingress_traffic::an_ingress_leads_to_its_pods_from_its_creation_on,
    ingress_traffic::a_changed_path_moves_the_route,
    ingress_traffic::requests_follow_the_endpoints,
    ingress_traffic::a_dead_pod_costs_no_request,
    ingress_traffic::a_request_under_way_outlives_its_route,
    ingress_traffic::a_rolling_update_fails_no_request,
    ingress_tls::certificates_follow_their_secrets,
    ingress_traffic::only_ingresses_of_its_class_are_served,
    ingress_traffic::annotations_hold_from_the_moment_they_are_set,
    http2::h2spec_passes_every_case_on_a_proxied_route,
    ingress_globals::a_guard_in_the_config_map_closes_and_opens_routes_live,
    ingress_globals::a_config_map_that_may_not_be_read_keeps_the_edge_from_serving,
    ingress_globals::only_ingresses_of_selected_namespaces_are_served,
    up::both_services_follow_kubectl_and_each_change_is_shown,
    up::the_demo_runs_beside_another_and_where_nobody_reads_its_output,
    access::without_secrets_everything_else_is_served,
    access::without_slices_cluster_addresses_are_answered,
    access::without_ingresses_the_edge_is_not_ready_until_it_may_list_them,
    access::refused_credentials_and_certificates_are_said_in_those_words,
    access::an_ingress_of_one_namespace_needs_no_more_than_that,
    access::a_kubeconfig_is_found_by_flag_context_and_environment,
    access::only_the_kinds_that_are_read_are_watched,
    access::a_kind_that_a_reload_drops_is_watched_no_longer,
    access::limits_of_a_reload_hold_for_the_connection_that_is_there,
    access::a_client_certificate_opens_a_bare_endpoint,
    in_a_pod::the_usual_corefile_works_in_a_pod,
    in_a_pod::a_rotated_token_is_taken_up,
    histories::what_has_followed_a_history_says_what_a_fresh_start_says,
    scale::two_thousand_services_made_in_a_burst_all_answer,
    faults::answers_go_on_while_the_api_server_is_stopped,
    faults::an_api_server_that_is_away_is_a_problem_until_it_is_back,
    faults::what_changed_while_the_api_server_was_dead_is_seen_when_it_is_back,
    refusals::a_compaction_of_etcd_loses_nothing,
    refusals::a_list_broken_in_the_middle_makes_no_name_wrong,
    refusals::a_relist_broken_in_the_middle_loses_no_answer,
    faults::answers_go_on_while_the_api_server_hangs,
    faults::a_reload_without_an_api_server_keeps_every_answer,
    refusals::an_api_server_without_etcd_is_asked_until_it_answers,
    refusals::a_busy_api_server_is_asked_again,
    faults::a_restarted_portolan_answers_as_before,
    faults::a_start_without_an_api_server_waits_for_it,
    scale::three_hundred_ingresses_made_in_a_burst_all_lead_on,
    scale::two_thousand_services_deleted_at_once_all_go,
];

fn main() -> ExitCode {
    let selection = match Selection::parse(std::env::args().skip(1)) {
        Ok(selection) => selection,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(2);
        }
    };
    if std::env::var_os("PORTOLAN_TESTS").is_some_and(|value| value == "local") {
        return runner::leave_out(CASES, &selection, "PORTOLAN_TESTS=local: no real control plane");
    }
    runner::run(CASES, &selection, open, |stage| stage.plane.heal())
}

/// Builds first: the network that the builds may need is out of reach afterwards.
fn open() -> Result<Stage, String> {
    let cluster = programs::cluster()?;
    let portolan = programs::portolan()?;
    programs::h2spec()?;
    namespace::enter()?;
    Ok(Stage::open(&cluster, &portolan))
}
