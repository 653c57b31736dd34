//! The live page, the demo shop and the proxy in a real browser: Debian's Chromium, in a network namespace.
//!
//! Runs only with `PORTOLAN_TESTS=browser` or `all`. The cases run in their order on one `portolan up`.

mod site;

mod live_page;
mod hsts;
mod proxied;
mod shop;

use std::process::ExitCode;

use site::Site;
use tests::runner::{self, Case, Selection};
use tests::{browser, cases, namespace, programs};

const CASES: &[Case<Site>] = cases![
    shop::the_page_shows_which_pod_answers_and_the_canary,
    shop::the_cart_stays_with_its_pod,
    proxied::the_browser_speaks_http2_with_the_proxy,
    proxied::a_websocket_sends_messages_both_ways,
    proxied::server_sent_events_arrive_one_by_one,
    proxied::an_upload_of_ten_megabytes_arrives,
    hsts::after_an_answer_with_hsts_the_browser_asks_over_https_only,
    live_page::figures_are_those_of_real_requests,
    live_page::a_request_is_explained,
    live_page::the_search_finds_a_route,
    live_page::text_of_clients_and_objects_is_text,
    live_page::names_of_queries_have_their_shares_and_are_text,
    live_page::it_is_small_and_loads_nothing_from_elsewhere,
    live_page::every_control_has_a_name_and_is_reached_by_the_keyboard,
    live_page::it_is_legible_in_light_and_in_dark,
    live_page::a_lost_connection_is_said_and_comes_back,
];

fn main() -> ExitCode {
    let selection = match Selection::from_arguments() {
        Ok(selection) => selection,
        Err(code) => return code,
    };
    let wanted = std::env::var("PORTOLAN_TESTS").is_ok_and(|value| value == "browser" || value == "all");
    if !wanted && !selection.lists() {
        println!(
            "\nleft out: {} tests in a browser; to run them: PORTOLAN_TESTS=browser cargo test -p tests --test browser\n",
            CASES.len()
        );
        return ExitCode::SUCCESS;
    }
    if selection.lists() {
        return runner::run(CASES, &selection, || Err("not started".to_owned()), |_| ());
    }
    // Builds may need the network, which the namespace does not have.
    let prepared = browser::check_package().and_then(|()| programs::portolan());
    let start = |portolan: std::path::PathBuf| {
        namespace::enter()?;
        Ok::<_, String>(runner::run(CASES, &selection, || Ok(Site::start(&portolan)), |_| ()))
    };
    match prepared.and_then(start) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("error: the tests in a browser cannot run: {problem}");
            ExitCode::FAILURE
        }
    }
}
