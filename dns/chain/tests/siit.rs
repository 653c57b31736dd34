//! `siit`: A records from AAAA records.
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

mod support;

use dns_chain::codes::Rcode;
use dns_wire::Section;
use support::{Question, TestRoutes, build, parsed, routes};

/// Names with AAAA records only, one with both, and others. The SOA record of answers without records has a TTL of 100.
const NEXT: &str = "template IN AAAA embedded.test {
    answer \"{{ .Name }} 300 IN AAAA 64:ff9b::c000:221\"
    answer \"{{ .Name }} 60 IN AAAA 2001:db8::9\"
}
template IN AAAA mapped.test {
    answer \"{{ .Name }} 300 IN AAAA 64:ff9b::1\"
}
template IN AAAA native.test {
    answer \"{{ .Name }} 300 IN AAAA 2001:db8::1\"
}
template IN A both.test {
    answer \"{{ .Name }} 300 IN A 198.51.100.1\"
}
template IN AAAA both.test {
    answer \"{{ .Name }} 300 IN AAAA 64:ff9b::c000:221\"
}
template IN AAAA broken.test {
    rcode SERVFAIL
}
template IN A gone.test {
    rcode NXDOMAIN
}
template IN ANY embedded.test mapped.test native.test broken.test {
    authority \"test. 100 IN SOA ns. mail. 1 2 3 4 5\"
}";

const SOA: &str = "test. 100 IN SOA ns. mail. 1 2 3 4 5";

/// A name, a type, the response code, and the records of answer and authority section.
type Row<'a> = (&'a str, &'a str, &'a str, &'a [&'a str], &'a [&'a str]);

async fn check(served: &TestRoutes, rows: &[Row<'_>]) {
    for (name, qtype, code, answers, authority) in rows {
        let received = served.ask(&Question::new(name, qtype)).await;
        assert_eq!(Rcode(received.reply.rcode).to_string(), *code, "{name} {qtype} {}", received.why);
        assert_eq!(received.records(Section::Answer), parsed(answers), "{name} {qtype}");
        assert_eq!(received.records(Section::Authority), parsed(authority), "{name} {qtype}");
    }
}

#[tokio::test]
async fn names_with_aaaa_records_only_get_a_records() {
    let text = format!(".:53 {{\nsiit {{\neam 192.0.2.7 64:ff9b::1\n}}\n{NEXT}\n}}");
    let served = routes(&text).await.unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    check(
        &served,
        &[
            // The TTL is that of the SOA record at most; an address that is not mapped is left out.
            ("embedded.test.", "A", "NOERROR", &["embedded.test. 100 IN A 192.0.2.33"], &[]),
            ("mapped.test.", "A", "NOERROR", &["mapped.test. 100 IN A 192.0.2.7"], &[]),
            ("native.test.", "A", "NOERROR", &[], &[SOA]),
            ("both.test.", "A", "NOERROR", &["both.test. 300 IN A 198.51.100.1"], &[]),
            ("broken.test.", "A", "SERVFAIL", &[], &[]),
            ("gone.test.", "A", "NXDOMAIN", &[], &[]),
            ("mapped.test.", "AAAA", "NOERROR", &["mapped.test. 300 IN AAAA 64:ff9b::1"], &[]),
        ],
    )
    .await;
    let counted = served.metrics.text();
    assert!(
        counted.contains("coredns_siit_requests_translated_total{server=\"dns://:53\"} 2"),
        "only what was translated: {counted}"
    );
}

#[tokio::test]
async fn siit_and_dns64_do_not_call_each_other() {
    let text = format!(".:53 {{\nsiit\ndns64 {{\nallow_ipv4\n}}\n{NEXT}\nwhoami\n}}");
    let served = routes(&text).await.unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    for qtype in ["A", "AAAA"] {
        let received = served.ask(&Question::new("nothing.example.", qtype)).await;
        assert_eq!(received.reply.section(Section::Answer).count(), 0, "{qtype}");
    }
    check(&served, &[("embedded.test.", "A", "NOERROR", &["embedded.test. 100 IN A 192.0.2.33"], &[])]).await;
}

#[tokio::test]
async fn a_query_that_no_plugin_answers_is_not_translated() {
    for lines in ["siit", "dns64 {\nallow_ipv4\n}", "dns64 {\nallow_ipv4\ntranslate_all\n}"] {
        let text = format!(".:53 {{\n{lines}\n{NEXT}\n}}");
        let served = routes(&text).await.unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        check(
            &served,
            &[
                ("broken.test.", "AAAA", "SERVFAIL", &[], &[]),
                ("gone.test.", "AAAA", "SERVFAIL", &[], &[]),
                ("nothing.test.", "A", "SERVFAIL", &[], &[]),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn a_lookup_without_a_reply_is_a_failure() {
    let text = format!(".:53 {{\nacl embedded.test {{\ndrop type AAAA\n}}\nsiit\n{NEXT}\n}}");
    let served = routes(&text).await.unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    check(&served, &[("embedded.test.", "A", "SERVFAIL", &[], &[])]).await;
}

#[test]
fn mistakes_are_reported_with_their_line() {
    for (lines, wanted) in [
        ("siit 64:ff9b::/96", "Corefile:2"),
        ("siit {\nipv6_prefix 10.0.0.0/8\n}", "Corefile:3 - Error during parsing: invalid prefix"),
        ("siit {\nipv6_prefix 64:ff9b::/72\n}", "Corefile:3"),
        ("siit {\nipv6_prefix 2001:db8:122:344:ff00::/96\n}", "Corefile:3"),
        ("siit {\neam 10.0.0.1\n}", "Corefile:3"),
        (
            "siit {\neam 64:dead::1 10.0.0.1\n}",
            "Corefile:3 - Error during parsing: invalid address 64:dead::1",
        ),
        ("siit {\nprefix 64:ff9b::/96\n}", "unknown property 'prefix'"),
    ] {
        let errors = build(&format!(". {{\n{lines}\nwhoami\n}}\n")).err().expect(lines);
        assert!(errors.contains(wanted), "{wanted}\nin\n{errors}");
    }
}
