//! Plugins that answer queries themselves.

use dns_chain::codes::Rcode;
use dns_wire::Section;

use crate::support::{Question, routes};
use crate::{NEXT, ask, check, from_client};

#[tokio::test]
async fn any_is_answered_with_hinfo() {
    let lines = format!("any\n{NEXT}");
    check(&[
        (
            &lines,
            Question::new("Example.org.", "ANY"),
            "NOERROR",
            [&["example.org. 8482 IN HINFO \"ANY obsoleted\" \"See RFC 8482\""], &[], &[]],
        ),
        (
            &lines,
            Question::new("example.org.", "A"),
            "NOERROR",
            [&["example.org. 60 IN A 192.0.2.1"], &[". 60 IN NS ns."], &["ns. 60 IN A 192.0.2.2"]],
        ),
    ])
    .await;
}

#[tokio::test]
async fn chaos_tells_version_and_authors_in_class_ch_only() {
    let lines = "chaos \"Server 1\" Me\nwhoami";
    let chaos = |name| Question { qclass: "CH", ..Question::new(name, "TXT") };
    check(&[
        (lines, chaos("version.bind."), "NOERROR", [&["version.bind. 0 CH TXT \"Server 1\""], &[], &[]]),
        (lines, chaos("version.server."), "NOERROR", [&["version.server. 0 CH TXT \"Server 1\""], &[], &[]]),
        (lines, chaos("authors.bind."), "NOERROR", [&["authors.bind. 0 CH TXT \"Me\""], &[], &[]]),
        ("template IN A {\nrcode NXDOMAIN\n}", chaos("version.bind."), "REFUSED", [&[], &[], &[]]),
    ])
    .await;
    let hostname = ask(lines, &chaos("hostname.bind.")).await;
    assert_eq!(hostname.records(Section::Answer).len(), 1);
    let next = ask(lines, &Question::new("version.bind.", "TXT")).await;
    assert_eq!(next.records(Section::Additional).len(), 2, "whoami");
}

#[tokio::test]
async fn local_answers_for_names_that_never_leave_a_host() {
    let lines = format!("local\n{NEXT}");
    let without = format!("local {{\nlocalhost_prefix off\n}}\n{NEXT}");
    let explicit = format!("local {{\nlocalhost_prefix on\n}}\n{NEXT}");
    let soa = |zone: &str| format!("{zone} 604800 IN SOA localhost. root.localhost. 1 0 0 0 604800");
    let (localhost, prefixed, loopback) =
        (soa("localhost."), soa("localhost.example.org."), soa("127.in-addr.arpa."));
    let next: [&[&str]; 3] =
        [&["localhost.example.org. 60 IN A 192.0.2.1"], &[". 60 IN NS ns."], &["ns. 60 IN A 192.0.2.2"]];
    check(&[
        (
            &lines,
            Question::new("LocalHost.", "A"),
            "NOERROR",
            [&["localhost. 604800 IN A 127.0.0.1"], &[], &[]],
        ),
        (
            &lines,
            Question::new("localhost.", "AAAA"),
            "NOERROR",
            [&["localhost. 604800 IN AAAA ::1"], &[], &[]],
        ),
        (
            &lines,
            Question::new("localhost.", "NS"),
            "NOERROR",
            [&["localhost. 604800 IN NS localhost."], &[], &[]],
        ),
        (&lines, Question::new("localhost.", "SOA"), "NOERROR", [&[&localhost], &[], &[]]),
        (&lines, Question::new("localhost.", "MX"), "NOERROR", [&[], &[&localhost], &[]]),
        (
            &lines,
            Question::new("a.localhost.", "A"),
            "NOERROR",
            [&["a.localhost. 604800 IN A 127.0.0.1"], &[], &[]],
        ),
        (
            &lines,
            Question::new("localhost.example.org.", "A"),
            "NOERROR",
            [&["localhost.example.org. 604800 IN A 127.0.0.1"], &[], &[]],
        ),
        (&lines, Question::new("localhost.example.org.", "TXT"), "NOERROR", [&[], &[&prefixed], &[]]),
        (&without, Question::new("localhost.example.org.", "A"), "NOERROR", next),
        (&explicit, Question::new("localhost.example.org.", "TXT"), "NOERROR", [&[], &[&prefixed], &[]]),
        (
            &lines,
            Question::new("1.0.0.127.in-addr.arpa.", "PTR"),
            "NOERROR",
            [&["1.0.0.127.in-addr.arpa. 604800 IN PTR localhost."], &[], &[]],
        ),
        (&lines, Question::new("1.0.0.127.in-addr.arpa.", "A"), "NOERROR", [&[], &[&loopback], &[]]),
        (&lines, Question::new("2.0.0.127.in-addr.arpa.", "PTR"), "NXDOMAIN", [&[], &[&loopback], &[]]),
        (&lines, Question::new("127.in-addr.arpa.", "A"), "NOERROR", [&[], &[&loopback], &[]]),
    ])
    .await;
}

#[tokio::test]
async fn the_localhost_prefix_is_on_or_off() {
    for line in
        ["localhost_prefix", "localhost_prefix yes", "localhost_prefix on off", "disable_localhost_prefix"]
    {
        assert!(routes(&format!(".:53 {{\nlocal {{\n{line}\n}}\n}}\n")).await.is_err(), "{line}");
    }
}

#[tokio::test]
async fn template_has_its_own_class_and_type_for_any_queries() {
    let lines = "template IN TXT {\nanswer \"{{ .Name }} 60 {{ .Class }} {{ .Type }} x\"\n}";
    check(&[
        (lines, Question::new("a.", "ANY"), "NOERROR", [&["a. 60 IN TXT x"], &[], &[]]),
        (lines, Question::new("a.", "TXT"), "NOERROR", [&["a. 60 IN TXT x"], &[], &[]]),
        // Like CoreDNS, a template of any class does not open the server for other classes.
        (NEXT, Question { qclass: "CH", ..Question::new("a.", "A") }, "REFUSED", [&[], &[], &[]]),
    ])
    .await;
}

/// Of a text with several records the first one counts, whatever follows it.
#[tokio::test]
async fn a_template_takes_the_first_record_of_a_text() {
    let lines = |text| format!("template IN A {{\nanswer \"{text}\"\n}}");
    let [two, bad_second, comment, bad_first] = [
        "{{ .Name }} 60 IN A 192.0.2.1\n{{ .Name }} 60 IN A 192.0.2.2",
        "{{ .Name }} 60 IN A 192.0.2.1\n{{ .Name }} 60 IN A x",
        "; none\n\n{{ .Name }} 60 IN A 192.0.2.1\n",
        "{{ .Name }} 60 IN A x\n{{ .Name }} 60 IN A 192.0.2.1",
    ]
    .map(lines);
    let first: [&[&str]; 3] = [&["a. 60 IN A 192.0.2.1"], &[], &[]];
    check(&[
        (&two, Question::new("a.", "A"), "NOERROR", first),
        (&bad_second, Question::new("a.", "A"), "NOERROR", first),
        (&comment, Question::new("a.", "A"), "NOERROR", first),
        (&bad_first, Question::new("a.", "A"), "SERVFAIL", [&[], &[], &[]]),
    ])
    .await;
}

#[tokio::test]
async fn clients_cannot_make_series_of_template_matches() {
    let served = routes(".:53 {\nchaos\ntemplate ANY ANY {\nrcode NXDOMAIN\n}\n}\n").await.unwrap();
    for number in 0..300 {
        let (qtype, qclass) = (format!("TYPE{}", 10_000 + number), format!("CLASS{}", 10_000 + number));
        let question = Question { qclass: &qclass, ..Question::new("a.", &qtype) };
        served.ask(&question).await;
    }
    let text = served.metrics.text();
    let series: Vec<_> =
        text.lines().filter(|line| line.starts_with("coredns_template_matches_total{")).collect();
    let wanted = "coredns_template_matches_total{server=\"dns://:53\",zone=\".\",view=\"\",class=\"other\",type=\"other\"} 300";
    assert_eq!(series, [wanted]);
}

/// The cache does not look for names that `kubernetes` has in memory, unless another plugin may have answered before it.
#[tokio::test]
async fn a_template_before_the_cluster_is_cached() {
    let template = "template IN A a.cluster.local {\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\n}\n";
    for (lines, hits) in [(template, 1), ("", 0)] {
        let served = routes(&format!(".:53 {{\ncache\n{lines}kubernetes cluster.local\n}}")).await.unwrap();
        for _ in 0..2 {
            served.ask(&Question::new("a.cluster.local.", "A")).await;
        }
        let text = served.metrics.text();
        let count = |name: &str| -> u64 {
            let lines =
                text.lines().filter(|line| line.starts_with(&format!("coredns_cache_{name}_total{{")));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
        };
        assert_eq!((count("requests"), count("misses"), count("hits")), (2, 2 - hits, hits), "{lines}");
    }
}

#[tokio::test]
async fn dns64_makes_addresses_for_names_without_any() {
    let upstream = "template IN A {\nmatch ^v4[.]\nanswer \"{{ .Name }} 700 IN A 192.0.2.33\"\nfallthrough\n}
        template IN AAAA {\nmatch ^v4[.]\nauthority \". 300 SOA a. b. 1 2 3 4 5\"\nfallthrough\n}
        template IN AAAA {\nmatch ^v6[.]\nanswer \"{{ .Name }} 60 IN AAAA fd00::1\"\nfallthrough\n}
        template IN A {\nmatch ^v6[.]\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\nfallthrough\n}
        template IN A {\nmatch ^failing[.]\nrcode SERVFAIL\nfallthrough\n}
        template IN A {\nmatch ^refused[.]\nrcode REFUSED\nfallthrough\n}
        template IN AAAA {\nmatch ^(failing|refused)[.]\nauthority \". 300 SOA a. b. 1 2 3 4 5\"\nfallthrough\n}
        template ANY ANY {\nrcode NXDOMAIN\nauthority \". 300 SOA a. b. 1 2 3 4 5\"\n}";
    let (usual, all, v4) = (
        format!("dns64\n{upstream}"),
        format!("dns64 {{\ntranslate_all\nprefix 2001:db8::/32\n}}\n{upstream}"),
        format!("dns64 {{\nallow_ipv4\n}}\n{upstream}"),
    );
    let soa = ". 300 IN SOA a. b. 1 2 3 4 5";
    check(&[
        (
            &usual,
            from_client("v4.", "AAAA", "fd00::9"),
            "NOERROR",
            [&["v4. 300 IN AAAA 64:ff9b::192.0.2.33"], &[], &[]],
        ),
        (&usual, from_client("v4.", "AAAA", "10.0.0.9"), "NOERROR", [&[], &[soa], &[]]),
        (
            &v4,
            from_client("v4.", "AAAA", "10.0.0.9"),
            "NOERROR",
            [&["v4. 300 IN AAAA 64:ff9b::192.0.2.33"], &[], &[]],
        ),
        (&usual, from_client("v4.", "A", "fd00::9"), "NOERROR", [&["v4. 700 IN A 192.0.2.33"], &[], &[]]),
        (&usual, from_client("v6.", "AAAA", "fd00::9"), "NOERROR", [&["v6. 60 IN AAAA fd00::1"], &[], &[]]),
        (
            &all,
            from_client("v6.", "AAAA", "fd00::9"),
            "NOERROR",
            [&["v6. 60 IN AAAA 2001:db8:c000:201::"], &[], &[]],
        ),
        (&usual, from_client("none.", "AAAA", "fd00::9"), "NXDOMAIN", [&[], &[soa], &[]]),
        // A failed lookup of the A records is no denial of addresses.
        (&usual, from_client("failing.", "AAAA", "fd00::9"), "SERVFAIL", [&[], &[], &[]]),
        (&usual, from_client("refused.", "AAAA", "fd00::9"), "REFUSED", [&[], &[], &[]]),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn erratic_drops_delays_and_truncates() {
    let served = routes(".:53 {\nerratic {\ndrop 3\ntruncate 2\ndelay 5 1s\n}\n}").await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..6 {
        let start = tokio::time::Instant::now();
        let received = served.ask(&Question::new("a.", "A")).await;
        let kind = match received.message.get(2) {
            None => "dropped",
            Some(flags) if flags & 2 != 0 => "truncated",
            Some(_) => "whole",
        };
        seen.push((kind, start.elapsed().as_secs()));
    }
    assert_eq!(
        seen,
        [("dropped", 0), ("truncated", 0), ("whole", 0), ("dropped", 0), ("truncated", 0), ("truncated", 1)]
    );
    let other = ask("erratic {\ndrop 0\n}", &Question::new("a.", "TXT")).await;
    assert_eq!(Rcode(other.reply.rcode).to_string(), "SERVFAIL");
}

#[tokio::test]
async fn whoami_answers_in_the_class_of_the_question() {
    for qclass in ["IN", "CH", "ANY"] {
        let question = Question { qclass, ..Question::new("example.org.", "A") };
        let received = ask("chaos\nwhoami", &question).await;
        let records = received.records(Section::Additional);
        let class = question.query().qclass;
        assert!(
            records.len() == 2 && records.iter().all(|record| record.class == class),
            "{qclass}: {records:?}"
        );
    }
}
