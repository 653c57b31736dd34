//! Both services against a real control plane, in a separate network namespace.
//!
//! One etcd, one API server and one controller manager serve all cases, which run one after the other; each makes
//! Kubernetes namespaces of its own and starts the `portolan` it needs. `PORTOLAN_TESTS=local` leaves all of them out.

mod access;
mod beside_coredns;
mod chart;
mod check;
mod dns_changes;
mod dns_records;
mod etcd;
mod ingress_traffic;
mod documentation;
mod histories;
mod http2;
mod itself;
mod feature_levels;
mod resolvers;
mod scale;
mod up;

mod faults;
mod controller;
mod in_a_pod;
mod ingress_auth;
mod ingress_globals;
mod ingress_streams;
mod ingress_tls;
mod migrate;
mod multicluster;
mod neighbours;
mod opentelemetry;
mod refusals;
mod systemd_resolved;
mod takeover;
mod taken_ports;

use std::process::ExitCode;

use tests::runner::{self, Case, Selection};
use tests::stage::Stage;
use tests::{cases, manifests, namespace, programs};

const CASES: &[Case<Stage>] = cases![
    itself::the_api_server_is_not_a_mock,
    itself::slices_are_made_from_selectors,
    itself::objects_survive_the_api_server,
    dns_records::a_cluster_ip_service_has_an_address_a_port_and_a_pointer,
    dns_records::a_dual_stack_service_has_an_address_of_each_family,
    dns_records::a_headless_service_has_the_addresses_of_its_ready_pods,
    dns_records::a_headless_service_without_a_selector_has_the_addresses_of_its_slices,
    dns_records::an_external_name_is_a_cname_and_its_target_is_resolved,
    dns_records::pod_names_follow_the_pods_option,
    dns_records::empty_non_terminals_exist_and_other_names_do_not,
    dns_records::the_apex_has_a_start_of_authority_and_name_servers,
    dns_records::external_names_follow_addresses_and_load_balancers,
    etcd::records_of_skydns_are_answered_and_followed,
    etcd::a_member_with_tls_and_users_is_asked_and_may_be_away,
    beside_coredns::generated_queries_have_the_answers_of_coredns,
    dns_changes::a_service_is_created_changed_and_deleted,
    dns_changes::a_pod_that_is_no_longer_ready_leaves_its_service,
    dns_changes::a_change_of_endpoints_is_timed,
    dns_changes::selectors_hide_objects_that_do_not_match,
    dns_changes::listeners_follow_bind_at_a_reload,
    multicluster::imports_answer_with_the_endpoints_of_all_clusters,
    multicluster::without_the_import_definition_other_zones_are_served,
    multicluster::forbidden_imports_do_not_affect_other_zones,
    resolvers::the_c_library_resolves_names_as_in_a_pod,
    resolvers::the_c_library_takes_the_answer_that_ndots_gives_at_once,
    resolvers::the_go_resolver_finds_the_api_server,
    resolvers::node_resolves_names_with_c_ares_and_with_the_c_library,
    feature_levels::systemd_resolved_stays_at_its_best_feature_level,
    systemd_resolved::systemd_resolved_forwards_names_of_the_cluster_and_others,
    ingress_traffic::an_ingress_routes_to_its_pods,
    ingress_traffic::a_changed_path_moves_the_route,
    ingress_traffic::requests_follow_the_endpoints,
    ingress_traffic::a_stopped_pod_fails_no_request,
    ingress_traffic::a_request_in_progress_outlives_its_route,
    ingress_traffic::a_rolling_update_fails_no_request,
    ingress_tls::certificates_follow_their_secrets,
    ingress_traffic::only_ingresses_of_its_class_are_served,
    ingress_traffic::annotations_take_effect_when_they_are_set,
    ingress_traffic::requests_stay_in_the_zone_of_the_node,
    http2::h2spec_passes_every_case_on_a_proxied_route,
    ingress_auth::a_route_with_passwords_is_closed_until_its_secret_exists,
    ingress_auth::a_dead_authentication_server_lets_nothing_pass,
    controller::addresses_are_written_kept_and_removed_by_the_last_pod,
    controller::another_replica_follows_a_leader_that_ends,
    controller::the_api_server_refuses_what_the_webhook_refuses,
    controller::events_say_what_is_served_and_what_is_not,
    ingress_globals::a_guard_in_the_config_map_closes_and_opens_routes_live,
    ingress_globals::a_config_map_that_may_not_be_read_keeps_the_edge_from_serving,
    ingress_globals::a_manifest_that_cannot_be_decoded_keeps_the_edge_from_serving,
    ingress_globals::only_ingresses_of_selected_namespaces_are_served,
    neighbours::oauth2_proxy::a_login_at_a_provider_lets_requests_pass_with_their_user,
    neighbours::cert_manager::a_challenge_is_answered_over_http_on_a_host_that_redirects,
    neighbours::progressive_delivery::the_steps_of_argo_rollouts_give_their_shares,
    neighbours::progressive_delivery::the_steps_of_flagger_give_their_shares,
    neighbours::external_dns::records_follow_the_status_and_stay_through_a_restart,
    neighbours::grpc::calls_of_every_kind_pass_with_metadata_deadlines_and_trailers,
    opentelemetry::spans_reach_a_collector_as_the_config_map_says,
    ingress_streams::tcp_and_udp_services_follow_their_config_maps,
    up::both_services_follow_kubectl_and_print_each_change,
    up::the_demo_runs_beside_another_and_with_a_closed_output,
    documentation::commands_without_a_cluster_do_what_the_pages_show,
    documentation::commands_on_a_cluster_do_what_the_pages_show,
    documentation::the_ingress_answers_as_the_transcripts_show,
    access::without_secrets_everything_else_is_served,
    access::without_classes_the_ingresses_that_depend_on_one_are_listed,
    access::without_slices_cluster_addresses_are_answered,
    access::without_ingresses_the_edge_is_not_ready_until_it_may_list_them,
    access::refused_credentials_and_certificates_are_reported_as_such,
    access::watching_one_namespace_needs_only_its_role,
    access::a_kubeconfig_is_found_by_flag_context_and_environment,
    access::only_the_kinds_that_are_read_are_watched,
    access::a_reload_stops_watching_a_kind_without_readers,
    access::a_reload_applies_limits_to_existing_connections,
    access::a_client_certificate_authenticates_to_an_endpoint_url,
    in_a_pod::the_kubeadm_corefile_works_in_a_pod,
    in_a_pod::a_rotated_token_is_used,
    takeover::corefiles_of_distributions_have_the_answers_of_coredns,
    chart::the_api_server_accepts_every_variant,
    chart::a_release_is_upgraded_rolled_back_and_removed_without_leftovers,
    chart::the_service_of_the_cluster_dns_keeps_address_ports_and_selector,
    chart::an_ingress_class_of_another_owner_stays_as_it_is,
    chart::upgrades::values_that_people_change_take_effect_in_an_upgrade,
    chart::upgrades::a_change_that_kubernetes_does_not_allow_is_refused_with_its_key,
    chart::upgrades::an_existing_service_is_adopted_when_pods_are_ready,
    chart::upgrades::the_service_of_another_dns_server_is_changed_when_pods_are_ready,
    chart::the_kustomize_bases_are_what_the_chart_makes,
    chart::the_kustomize_base_of_dns_is_reverted,
    chart::node_cache::the_cache_of_a_node_answers_on_its_link_local_address,
    chart::node_cache::what_a_cache_on_a_node_cannot_do_is_refused,
    chart::values::mistakes_are_refused_with_their_key,
    chart::values::an_old_values_file_is_installed_and_its_keys_without_effect_are_listed,
    chart::values::the_corefile_of_the_values_is_served,
    chart::values::migrated_values_files_are_accepted_by_helm,
    chart::roles::the_ingress_role_allows_what_is_asked_for_and_no_more,
    chart::roles::another_controller_of_a_class_is_reported,
    chart::roles::in_namespaced_mode_there_are_roles_only,
    chart::roles::the_dns_role_allows_what_is_asked_for_and_no_more,
    chart::roles::one_process_serves_both_with_one_watch_of_each_kind,
    histories::after_a_history_of_changes_answers_equal_those_of_a_new_start,
    scale::two_thousand_services_created_in_a_burst_are_all_answered,
    faults::answers_continue_while_the_api_server_is_stopped,
    faults::an_api_server_that_is_away_is_a_problem_until_it_is_back,
    faults::changes_during_an_api_server_outage_take_effect_afterwards,
    faults::a_control_plane_restored_from_a_backup_is_followed,
    taken_ports::a_taken_port_is_named_with_the_key_that_moves_it,
    refusals::a_compaction_of_etcd_loses_nothing,
    refusals::a_list_broken_in_the_middle_makes_no_name_wrong,
    refusals::a_relist_broken_in_the_middle_loses_no_answer,
    faults::answers_continue_while_the_api_server_hangs,
    faults::a_reload_without_an_api_server_keeps_every_answer,
    refusals::requests_are_repeated_while_etcd_is_down,
    refusals::requests_are_repeated_after_429,
    check::a_cluster_is_checked_with_the_flags_of_its_controller,
    check::what_may_not_be_read_is_unknown,
    migrate::each_distribution_is_named_with_its_plan_or_its_reason,
    migrate::every_missing_permission_is_named_before_a_change,
    migrate::dns_is_taken_over_and_given_back,
    migrate::dns_of_k3s_is_taken_over_with_its_hosts_and_imports,
    migrate::a_wrong_answer_leaves_everything_as_it_was,
    migrate::an_interrupted_migration_is_rolled_back,
    migrate::a_migration_is_rolled_back_once_the_api_server_answers_again,
    migrate::ingress_is_taken_over_and_given_back,
    faults::a_restarted_portolan_answers_as_before,
    faults::a_start_without_an_api_server_waits_for_it,
    scale::three_hundred_ingresses_created_in_a_burst_are_all_served,
    scale::two_thousand_services_deleted_at_once_are_all_removed,
];

fn main() -> ExitCode {
    let selection = match Selection::from_arguments() {
        Ok(selection) => selection,
        Err(code) => return code,
    };
    if std::env::var_os("PORTOLAN_TESTS").is_some_and(|value| value == "local") {
        return runner::skip_all(CASES, &selection, "PORTOLAN_TESTS=local: no real control plane");
    }
    runner::run(CASES, &selection, open, |stage| stage.plane.ensure_running())
}

/// Builds all programs before the network namespace is entered, since builds may need the network.
fn open() -> Result<Stage, String> {
    let cluster = programs::cluster()?;
    let portolan = programs::portolan()?;
    programs::coredns()?;
    programs::neighbours()?;
    programs::oauth2_proxy()?;
    programs::h2spec()?;
    programs::helm()?;
    programs::definitions()?;
    // Only one case needs it, which says what is missing.
    let _ = programs::systemd_resolved();
    namespace::enter()?;
    Ok(Stage::start(&cluster, &portolan))
}
