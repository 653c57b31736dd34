//! Explanations run the plugins that serve, and leave no trace of it.

use config::{Corefile, Disk, ParseOptions};
use dns_chain::explain::{ExplainedQuery, Explanation, QueryOutcome, explain, type_named};
use dns_chain::{Servers, offline};
use dns_wire::Name;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;

/// A server block that is set up but not served.
async fn servers(text: &str) -> (Servers, dns_chain::PluginContext) {
    let corefile = Corefile::parse("Corefile", text, &Disk, &ParseOptions::default()).expect("it is valid");
    let context = offline::context("test", Handle::current());
    let mut servers = dns_chain::build(&corefile, &context).unwrap_or_else(|errors| panic!("{errors}"));
    std::mem::forget(servers.begin().await.expect("the plugins begin"));
    (servers, context)
}

async fn explained(servers: &Servers, name: &str, qtype: &str, sends: bool) -> Explanation {
    let name: Name = name.parse().expect("a name");
    let qtype = type_named(qtype).expect("a type");
    let client = ([127, 0, 0, 1], 40_000).into();
    explain(&servers.listeners[0].routes, ExplainedQuery { name: &name, qtype, client, sends }).await
}

/// The lines of the steps as `plugin: text (notes)`, without plugins that say nothing.
fn lines(found: &Explanation) -> Vec<String> {
    let steps = found.steps.iter().filter(|step| !step.text.is_empty() || !step.notes.lines.is_empty());
    steps
        .map(|step| {
            format!(
                "{}{}: {} ({})",
                "  ".repeat(step.depth),
                step.plugin,
                step.text,
                step.notes.lines.join("; ")
            )
        })
        .collect()
}

#[tokio::test]
async fn each_plugin_says_what_it_did_and_from_which_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (hosts, zone) = (path("hosts"), path("zone"));
    std::fs::write(&hosts, "# comment\n10.0.0.1 a.test\n10.0.0.2 *.wild.test\n").unwrap();
    std::fs::write(&zone, "$ORIGIN zone.test.\n@ 60 IN SOA ns host 7 2 3 4 5\nwww 60 IN A 10.0.0.3\n")
        .unwrap();
    let text = format!(
        ".:53 {{\nerrors\nlog\nrewrite name old.test a.test\nhosts {hosts} test {{\nfallthrough\n}}\nfile {zone} zone.test\nacl {{\nblock type TXT\n}}\n}}\n"
    );
    let (servers, _) = servers(&text).await;
    for (name, qtype, wanted, code) in [
        ("a.test.", "A", format!("hosts: answers: NOERROR, 1 record ({hosts}:2)"), "NOERROR"),
        ("b.wild.test.", "A", format!("hosts: answers: NOERROR, 1 record ({hosts}:3)"), "NOERROR"),
        ("old.test.", "A", "rewrite: changes the question to a.test. A ()".to_owned(), "NOERROR"),
        (
            "www.zone.test.",
            "A",
            format!("file: answers: NOERROR, 1 record (zone zone.test., serial 7: the name is at {zone}:3)"),
            "NOERROR",
        ),
        ("a.test.", "TXT", "acl: answers: REFUSED, no records ()".to_owned(), "REFUSED"),
    ] {
        let found = explained(&servers, name, qtype, false).await;
        assert!(
            lines(&found).contains(&wanted),
            "{name} {qtype}: {wanted} is missing in {:#?}",
            lines(&found)
        );
        let QueryOutcome::Answered { text, .. } = &found.outcome else {
            panic!("{name}: {:?}", found.outcome)
        };
        assert_eq!(text, code, "{name} {qtype}");
    }
    let found = explained(&servers, "a.test.", "A", false).await;
    assert_eq!(found.records, ["a.test. 3600 IN A 10.0.0.1"]);
}

#[tokio::test]
async fn nothing_is_sent_counted_or_kept_unless_it_is_asked_for() {
    let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = upstream.local_addr().unwrap();
    let text = format!(".:53 {{\nprometheus 127.0.0.1:0\nerrors\ncache\nforward . {address}\n}}\n");
    let mut corefile = Corefile::parse("Corefile", &text, &Disk, &ParseOptions::default()).unwrap();
    assert_eq!(offline::remove_listeners(&mut corefile), ["prometheus"]);
    let (servers, context) = servers(&text.replace("prometheus 127.0.0.1:0\n", "")).await;

    let found = explained(&servers, "example.org.", "A", false).await;
    assert_eq!((&found.outcome, found.records.len()), (&QueryOutcome::Unsent, 0));
    assert!(
        lines(&found).contains(&format!("forward: would ask other servers; nothing was sent (to {address})")),
        "{:#?}",
        lines(&found)
    );
    assert!(upstream.try_recv(&mut [0; 512]).is_err(), "no datagram has arrived");
    let again = explained(&servers, "example.org.", "A", false).await;
    assert!(lines(&again).contains(&"cache:  (no entry)".to_owned()), "{:#?}", lines(&again));
    let metrics = context.metrics.text();
    let counted = metrics.lines().filter(|line| line.starts_with("coredns_dns_requests_total"));
    assert_eq!(counted.count(), 0, "{metrics}");

    let answering = tokio::spawn(async move {
        let mut query = [0; 512];
        let (length, client) = upstream.recv_from(&mut query).await.unwrap();
        // The same question, as a reply without records.
        query[2] |= 0x80;
        query[3] = 3;
        upstream.send_to(&query[..length], client).await.unwrap();
    });
    let found = explained(&servers, "example.org.", "A", true).await;
    answering.await.unwrap();
    assert!(
        lines(&found).contains(&"forward: answers: NXDOMAIN, no records ()".to_owned()),
        "{:#?}",
        lines(&found)
    );
    let QueryOutcome::Answered { text, .. } = &found.outcome else { panic!("{:?}", found.outcome) };
    assert_eq!(text, "NXDOMAIN");
}

#[tokio::test]
async fn a_name_outside_of_all_zones_has_no_steps() {
    let (servers, _) = servers("example.org:53 {\nwhoami\n}\n").await;
    let found = explained(&servers, "example.net.", "A", false).await;
    assert_eq!((found.outcome, found.steps.len()), (QueryOutcome::NoZone, 0));
}
