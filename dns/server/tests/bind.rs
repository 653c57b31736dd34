//! `bind`: server blocks that listen on addresses of their own.

mod support;

use std::net::SocketAddr;

use dns_wire::codes::{rcode, rtype};
use support::{FakeCluster, TestClient, TestService, answers};

/// The answers to a name over UDP and TCP at an address.
fn ask(address: SocketAddr, name: &str) -> [String; 2] {
    [TestClient::udp(address), TestClient::tcp(address)].map(|client| {
        let (query, reply) = client.query(name, rtype::A);
        match reply.rcode {
            rcode::NOERROR => answers(&reply, &query),
            code => format!("code {code}"),
        }
    })
}

fn both(answer: &str) -> [String; 2] {
    [answer.to_owned(), answer.to_owned()]
}

/// A server block on a port that the system chooses, whose zone has one name.
fn block(zone: &str, bind: &str, address: &str) -> String {
    format!("{zone}:0 {{\n{bind}\nprometheus 127.0.0.1:0\nhosts /none {{\n{address} name.{zone}\n}}\n}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_on_one_port_answer_at_their_own_addresses() {
    let corefile =
        block("a.test", "bind 127.0.0.1", "10.0.0.1") + &block("a.test", "bind 127.0.0.2", "10.0.0.2");
    let service = TestService::start(&corefile).await;
    let addresses = service.dns.addresses().await;
    assert_eq!(addresses.len(), 2);
    for (address, ip, answer) in
        [(addresses[0], "127.0.0.1", "A 10.0.0.1"), (addresses[1], "127.0.0.2", "A 10.0.0.2")]
    {
        assert_eq!(address.ip().to_string(), ip);
        assert_eq!(ask(address, "name.a.test."), both(answer));
        assert_eq!(ask(address, "name.b.test."), both("code 5"), "outside the zones");
    }
    let (_, page) = service.page("/metrics").await;
    for line in [
        "coredns_dns_requests_total{server=\"dns://127.0.0.1:0\",zone=\"a.test.\",view=\"\",proto=\"udp\",family=\"1\",type=\"A\"} 1",
        "coredns_dns_requests_total{server=\"dns://127.0.0.2:0\",zone=\"a.test.\",view=\"\",proto=\"tcp\",family=\"1\",type=\"A\"} 1",
        "coredns_dns_requests_total{server=\"dns://127.0.0.2:0\",zone=\"dropped\",view=\"\",proto=\"udp\",family=\"1\",type=\"A\"} 1",
        "coredns_plugin_enabled{server=\"dns://127.0.0.1:0\",zone=\"a.test.\",view=\"\",name=\"hosts\"} 1",
    ] {
        assert!(page.contains(line), "{line}\nin\n{page}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_without_bind_is_also_served_at_bound_addresses() {
    let corefile = block("a.test", "", "10.0.0.1") + &block("b.test", "bind 127.0.0.2", "10.0.0.2");
    let service = TestService::start(&corefile).await;
    let addresses = service.dns.addresses().await;
    let [everywhere, bound] = addresses.as_slice() else { panic!("{addresses:?}") };
    assert_eq!(bound.ip().to_string(), "127.0.0.2");
    assert_eq!(ask(*everywhere, "name.a.test."), both("A 10.0.0.1"));
    assert_eq!(ask(*everywhere, "name.b.test."), both("code 5"));
    assert_eq!(ask(*bound, "name.a.test."), both("A 10.0.0.1"));
    assert_eq!(ask(*bound, "name.b.test."), both("A 10.0.0.2"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_adds_and_removes_addresses() {
    let service = TestService::start(&block("a.test", "bind 127.0.0.1", "10.0.0.1")).await;
    let first = service.address;
    service.reload(&block("a.test", "bind 127.0.0.1\nbind 127.0.0.2", "10.0.0.2")).await.unwrap();
    let addresses = service.dns.addresses().await;
    assert_eq!((addresses.len(), addresses[0]), (2, first), "the first socket stays");
    for address in &addresses {
        assert_eq!(ask(*address, "name.a.test."), both("A 10.0.0.2"));
    }

    let error = service.reload(&block("a.test", "bind 127.0.0.2 192.0.2.1", "10.0.0.3")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Corefile:2 - cannot listen on 192.0.2.1:0: this machine has no such address"
    );
    assert_eq!(service.dns.addresses().await, addresses, "a failed reload changes nothing");
    assert_eq!(ask(first, "name.a.test."), both("A 10.0.0.2"));

    service.reload(&block("a.test", "bind 127.0.0.2", "10.0.0.4")).await.unwrap();
    assert_eq!(service.dns.addresses().await, addresses[1..]);
    assert_eq!(ask(addresses[1], "name.a.test."), both("A 10.0.0.4"));
    let closed = async {
        while std::net::TcpStream::connect(first).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), closed)
        .await
        .expect("the first address is closed");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_bound_is_an_error_with_its_line() {
    for (lines, wanted) in [
        (
            "bind nosuch0",
            "Corefile:2 - Error during parsing: not a valid IP address or interface name: \"nosuch0\"; wanted an IP address, or one of the interfaces ",
        ),
        ("bind", "Corefile:2 - Error during parsing: Wrong argument count"),
        (
            "bind 127.0.0.1 {\nexcept 127.0.0.1\n}",
            "Corefile:2 - Error during parsing: bind: no address is left after except",
        ),
        ("bind lo {\nexcept\n}", "Corefile:3 - Error during parsing: Wrong argument count"),
        ("bind lo {\nonly 127.0.0.1\n}", "Corefile:3 - Error during parsing: unknown property 'only'"),
        ("bind fe80::1%nosuch0", "not a valid IP address or interface name: \"fe80::1%nosuch0\""),
        (
            "bind 127.0.0.1\nbind 192.0.2.1",
            "Corefile:3 - cannot listen on 192.0.2.1:0: this machine has no such address",
        ),
    ] {
        let text = format!(".:0 {{\n{lines}\nwhoami\n}}\n");
        let started = TestService::try_start(&text, FakeCluster::listed(), &[]).await;
        let error = started.err().expect(lines).to_string();
        assert!(error.contains(wanted), "{wanted}\nin\n{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_stands_for_its_addresses_without_those_left_out() {
    let service = TestService::start(&block("a.test", "bind lo 127.0.0.1", "10.0.0.1")).await;
    let all = service.dns.addresses().await;
    assert!(all.iter().all(|address| address.ip().is_loopback()), "{all:?}");
    assert_eq!(all.iter().filter(|address| address.ip().to_string() == "127.0.0.1").count(), 1, "{all:?}");
    service.reload(&block("a.test", "bind 127.0.0.3 lo {\nexcept 127.0.0.1\n}", "10.0.0.1")).await.unwrap();
    let left: Vec<_> = service.dns.addresses().await.iter().map(|address| address.ip().to_string()).collect();
    assert!(left.contains(&"127.0.0.3".to_owned()) && !left.contains(&"127.0.0.1".to_owned()), "{left:?}");
    service.stop().await;
}
