//! Reloads of the Corefile: what changes, and what a mistake leaves as it was.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use dns_wire::Section;
use dns_wire::codes::{rcode, rtype};
use support::{TestClient, TestService};

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_replaces_the_chain_without_losing_a_query() {
    let zone = |ttl: u32| format!(".:0 {{\nkubernetes cluster.local {{\nttl {ttl}\n}}\n}}");
    let service = TestService::start(&zone(1)).await;
    let (stop, count, address) = (AtomicBool::new(false), AtomicUsize::new(0), service.address);
    let reload = async {
        for ttl in 2..20 {
            let before = count.load(SeqCst);
            service.reload(&zone(ttl)).await.unwrap();
            while count.load(SeqCst) < before + 20 {
                tokio::task::yield_now().await;
            }
        }
        stop.store(true, SeqCst);
    };
    let ask = |client: TestClient| {
        let mut last = 0;
        loop {
            // Sends one more query after the last reload.
            let stopping = stop.load(SeqCst);
            let (_, reply) = client.query("web.default.svc.cluster.local.", rtype::A);
            let ttl = reply.records()[0].ttl;
            assert!(ttl >= last, "{client:?}: an old configuration answered: {ttl} after {last}");
            last = ttl;
            count.fetch_add(1, SeqCst);
            if stopping {
                return last;
            }
        }
    };
    let last = std::thread::scope(|scope| {
        let clients = [TestClient::udp(address), TestClient::tcp(address)]
            .map(|client| scope.spawn(move || ask(client)));
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(reload));
        clients.map(|client| client.join().unwrap())
    });
    assert_eq!(last, [19, 19]);
    assert_eq!(service.dns.addresses().await, [address], "the socket is still open");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_corefile_keeps_the_old_one_and_is_counted() {
    let service = TestService::start(".:0 {\nwhoami\n}").await;
    for (corefile, part) in [
        (".:0 {\nwhoamI\n}", "Corefile:2"),
        (".:0 {\ndnssec\n}", "plugin dnssec is not built yet"),
        (".:0 {\nwhoami\nhealth 192.0.2.1:0\n}", "192.0.2.1:0"),
    ] {
        let error = service.reload(corefile).await.unwrap_err().to_string();
        assert!(error.contains(part), "{part} in {error}");
        let (_, reply) = TestClient::udp(service.address).query("a.example.", rtype::A);
        assert_eq!(
            (reply.rcode, reply.section(Section::Additional).count()),
            (rcode::NOERROR, 2),
            "whoami answers"
        );
    }
    assert!(service.metrics.text().contains("coredns_reload_failed_total 3"), "{}", service.metrics.text());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_waiting_queries_follows_the_served_configuration() {
    let forward = |most: u32| format!(".:0 {{\nforward . 127.0.0.1:1 {{\nmax_concurrent {most}\n}}\n}}");
    let service = TestService::start(".:0 {\nwhoami\n}").await;
    let limit = || service.limits.waiting.limit();
    let usual = limit();
    service.reload(&forward(10_000)).await.unwrap();
    assert_eq!(limit(), 11_024);
    service.reload(&forward(20_000)).await.unwrap();
    assert_eq!(limit(), 21_024);
    let cannot_start = forward(30_000).replace("}\n}", "}\nhealth 192.0.2.1:0\n}");
    service.reload(&cannot_start).await.unwrap_err();
    assert_eq!(limit(), 21_024, "a configuration that was never served needs nothing");
    service.reload(".:0 {\nwhoami\n}").await.unwrap();
    assert_eq!(limit(), usual);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_reload_is_a_problem_until_the_next_successful_one() {
    let good = ".:0 {\nwhoami\n}";
    let service = TestService::start(good).await;
    let listed = || {
        let problems = service.reports.current().into_iter();
        problems.map(|(scope, problem)| format!("{scope}: {problem}")).collect::<Vec<_>>()
    };
    let failed = "reload failed, the previous configuration is still served: ";
    for (corefile, lines) in [
        (".:0 {\nwhoamI\n\nnosuch\n}", &["line 2", "line 4"][..]),
        (".:0 {\nwhoami\nhealth 192.0.2.1:0\n}", &["line 3"][..]),
    ] {
        service.reload(corefile).await.unwrap_err();
        let problems = listed();
        assert_eq!(problems.len(), lines.len(), "{problems:?}");
        for (problem, line) in problems.iter().zip(lines) {
            assert!(problem.starts_with(&format!("dns: Corefile {line}: {failed}")), "{problem}");
        }
    }
    service.reload(".:0 {\nwhoami\nerrors\n}").await.unwrap();
    assert_eq!(listed(), Vec::<String>::new());
    service.reload(".:0 {").await.unwrap_err();
    assert_eq!(listed().len(), 1);
    service.reload(".:0 {\nwhoami\nerrors\n}").await.unwrap();
    assert_eq!(listed(), Vec::<String>::new(), "the served configuration again");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_enabled_metric_follows_the_served_corefile() {
    let corefile = |lines: &str| format!(".:0 {{\nprometheus 127.0.0.1:0\n{lines}\n}}");
    let service = TestService::start(&corefile("health 127.0.0.1:0\nerrors\nwhoami")).await;
    let enabled = || {
        let text = service.metrics.text();
        let rows = text.lines().filter_map(|line| line.strip_prefix("coredns_plugin_enabled{"));
        let names = rows.filter_map(|row| row.split("name=").nth(1));
        names.map(|name| name.split('"').nth(1).unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    // Plugins that see no queries, such as `health`, are not listed, as in CoreDNS.
    assert_eq!(enabled(), "errors prometheus whoami");
    service.reload(&corefile("errors\nwhoami\nhealth 192.0.2.1:0")).await.unwrap_err();
    assert_eq!(enabled(), "errors prometheus whoami", "the rejected configuration has no effect");
    service.reload(&corefile("log\nwhoami")).await.unwrap();
    assert_eq!(enabled(), "log prometheus whoami");
    service.reload(".:0 {\nwhoami\n}").await.unwrap();
    assert_eq!(enabled(), "");
    service.stop().await;
}

// Time is paused: it advances when no task can run.
#[tokio::test(start_paused = true)]
async fn a_changed_corefile_is_reloaded_and_may_move_the_port() {
    let service = TestService::start(".:0 {\nwhoami\nreload 2s 0s\n}").await;
    let hash = |service: &TestService| {
        let text = service.metrics.text();
        text.lines().find(|line| line.starts_with("coredns_reload_version_info")).unwrap().to_owned()
    };
    let failed = |service: &TestService| {
        let text = service.metrics.text();
        text.lines().find(|line| line.starts_with("coredns_reload_failed_total")).map(str::to_owned)
    };
    let before = hash(&service);
    // The new port is found by the periodic check, without an explicit reload.
    let other = 'moved: loop {
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        format!(".:{} {{\nwhoami\nreload 2s 0s\n}}", other.port())
            .clone_into(&mut service.corefile.lock().unwrap());
        // Another test may have got the port in the meantime.
        let failures = failed(&service);
        while failed(&service) == failures {
            if hash(&service) != before {
                break 'moved other;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(service.dns.addresses().await, [other]);
    assert_eq!(TestClient::udp(other).query("a.", rtype::A).1.rcode, rcode::NOERROR);
    service.stop().await;
}

// Time is paused: it advances when no task can run.
#[tokio::test(start_paused = true)]
async fn an_error_that_returns_after_a_fix_is_reported_again() {
    let corefile = |line: &str| format!(".:0 {{\nwhoami\nreload 2s 0s\n{line}\n}}");
    let service = TestService::start(&corefile("")).await;
    let mut failures = 0;
    for mistake in ["whoamI", "health 192.0.2.1:0"] {
        for _ in 0..2 {
            failures += 1;
            for line in [mistake, ""] {
                corefile(line).clone_into(&mut service.corefile.lock().unwrap());
                tokio::time::sleep(Duration::from_secs(10)).await;
                let counted = format!("coredns_reload_failed_total {failures}\n");
                assert!(service.metrics.text().contains(&counted), "{mistake}, {line:?}: {counted}");
            }
        }
    }
    service.stop().await;
}
