//! Plugins that change or make answers, each with a Corefile and what a client gets.
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

mod support;

use dns_chain::codes::Rcode;
use dns_wire::Section;
use support::{Question, Received, parsed, routes};

/// The answer of the last plugin of most configurations.
const NEXT: &str = "template ANY ANY . {\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\nauthority \". 60 IN NS ns.\"\nadditional \"ns. 60 IN A 192.0.2.2\"\n}";

/// A configuration, a query, and the response code with the records of the three sections.
type Row<'a> = (&'a str, Question<'a>, &'a str, [&'a [&'a str]; 3]);

async fn check(rows: &[Row<'_>]) {
    for (lines, question, code, sections) in rows {
        let received = ask(lines, question).await;
        let what = format!("{lines}: {} {}", question.name, question.qtype);
        assert_eq!(Rcode(received.reply.rcode).to_string(), *code, "{what} {}", received.why);
        let names = [Section::Answer, Section::Authority, Section::Additional];
        for (section, wanted) in names.into_iter().zip(sections) {
            assert_eq!(received.records(section), parsed(wanted), "{what} {section:?}");
        }
        assert_eq!(received.query.question(), question.query().question(), "{what}: the client's question");
    }
}

async fn ask(lines: &str, question: &Question<'_>) -> Received {
    let corefile = format!(".:53 {{\n{lines}\n}}\n");
    let routes = routes(&corefile).await.unwrap_or_else(|errors| panic!("{corefile}\n{errors}"));
    routes.ask(question).await
}

fn from_client<'a>(name: &'a str, qtype: &'a str, client: &'a str) -> Question<'a> {
    Question { client, ..Question::new(name, qtype) }
}

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
async fn minimal_leaves_only_the_answer_of_positive_replies() {
    let denial = "minimal\ntemplate ANY ANY {\nrcode NXDOMAIN\nauthority \". 60 SOA a. b. 1 2 3 4 5\"\n}";
    let positive = format!("minimal\n{NEXT}");
    check(&[
        (&positive, Question::new("a.", "A"), "NOERROR", [&["a. 60 IN A 192.0.2.1"], &[], &[]]),
        (denial, Question::new("a.", "A"), "NXDOMAIN", [&[], &[". 60 IN SOA a. b. 1 2 3 4 5"], &[]]),
    ])
    .await;
}

#[tokio::test]
async fn nsid_answers_clients_that_ask_for_it() {
    let served = routes(&format!(".:53 {{\nnsid rack 7\n{NEXT}\n}}")).await.unwrap();
    for (option, wanted) in [(None, vec![]), (Some(3), vec![(3, b"rack 7".to_vec())])] {
        let question = Question::new("a.", "A");
        let change = |query: &mut dns_wire::Query| {
            if let Some(code) = option {
                query.push_option(code, b"");
            }
        };
        let received = served.ask_with(&question, change).await;
        let options: Vec<_> = received.reply.options().map(|(code, data)| (code, data.to_vec())).collect();
        assert_eq!(options, wanted);
    }
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

#[tokio::test]
async fn acl_decides_by_the_first_line_that_matches() {
    let zones = "acl example.org {\nallow net 10.0.0.0/8\nblock type A AAAA net 192.0.2.0/24 fd00::/8\nfilter type TXT\ndrop net 203.0.113.7\n}\ntemplate ANY ANY {\n}";
    for (client, name, qtype, wanted) in [
        ("10.0.0.1", "example.org.", "TXT", "NOERROR"),
        ("192.0.2.1", "www.example.org.", "A", "REFUSED 15"),
        ("fd00::1", "www.example.org.", "AAAA", "REFUSED 15"),
        ("192.0.2.1", "www.example.org.", "MX", "NOERROR"),
        ("198.51.100.1", "example.org.", "TXT", "NOERROR 17"),
        ("203.0.113.7", "example.org.", "A", "dropped"),
        ("203.0.113.7", "example.net.", "A", "NOERROR"),
    ] {
        let received = ask(zones, &from_client(name, qtype, client)).await;
        let error = received.reply.options().find(|(code, _)| *code == 15);
        let error = error.map(|(_, data)| format!(" {}", data[1])).unwrap_or_default();
        let found = match received.message.is_empty() {
            true => "dropped".to_owned(),
            false => format!("{}{error}", Rcode(received.reply.rcode)),
        };
        assert_eq!(found, wanted, "{client} {name} {qtype}");
    }
    let served =
        routes(".:53 {\nacl {\nblock net 10.0.0.0/8\n}\nacl {\nallow\ndrop\n}\nwhoami\n}").await.unwrap();
    for client in ["10.0.0.1", "192.0.2.1"] {
        served.ask(&from_client("a.", "A", client)).await;
    }
    let text = served.metrics.text();
    for line in [
        "coredns_acl_blocked_requests_total{server=\"dns://:53\",zone=\".\",view=\"\"} 1",
        "coredns_acl_allowed_requests_total{server=\"dns://:53\",view=\"\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn header_changes_flags() {
    for (lines, wanted) in [
        ("header {\nresponse set ra\nresponse clear aa\n}", [false, true, true]),
        ("header {\nset aa ra\nclear rd\n}", [true, true, false]),
        ("header {\nquery clear rd\n}", [true, false, false]),
    ] {
        let received = ask(&format!("{lines}\n{NEXT}"), &Question::new("a.", "A")).await;
        let flags = u16::from_be_bytes([received.message[2], received.message[3]]);
        assert_eq!([0x0400, 0x0080, 0x0100].map(|bit| flags & bit != 0), wanted, "{lines}: AA, RA, RD");
    }
}

#[tokio::test]
async fn bufsize_lowers_the_size_of_udp_replies() {
    let many = (0..100).map(|at| format!("answer \"a. 60 IN A 10.0.0.{at}\"\n")).collect::<String>();
    let lines = format!("bufsize 600\ntemplate ANY ANY {{\n{many}}}");
    for (edns, least, most) in
        [(Some((4096, false)), 512, 600), (Some((512, false)), 490, 512), (None, 490, 512)]
    {
        let received = ask(&lines, &Question { edns, ..Question::new("a.", "A") }).await;
        assert!((least..=most).contains(&received.message.len()), "{edns:?}: {}", received.message.len());
        assert_ne!(received.message[2] & 0x02, 0, "TC");
    }
}

#[tokio::test]
async fn the_first_view_whose_expressions_hold_answers() {
    let block = |lines: &str, address: &str| {
        format!(
            ". {{\n{lines}\nprometheus localhost:0\ntemplate ANY ANY {{\nanswer \"a. 60 IN A {address}\"\n}}\n}}\n"
        )
    };
    let text =
        block("view one {\nexpr incidr(client_ip(), '10.0.0.0/8')\nexpr type() == 'A'\n}", "192.0.2.1")
            + &block("view two {\nexpr name() == 'a.'\n}", "192.0.2.2")
            + &block("", "192.0.2.3");
    let served = routes(&text).await.unwrap();
    for (client, name, qtype, wanted) in [
        ("10.0.0.1", "a.", "A", "a. 60 IN A 192.0.2.1"),
        ("10.0.0.1", "a.", "TXT", "a. 60 IN A 192.0.2.2"),
        ("192.0.2.9", "a.", "A", "a. 60 IN A 192.0.2.2"),
        ("192.0.2.9", "b.", "A", "a. 60 IN A 192.0.2.3"),
    ] {
        let received = served.ask(&from_client(name, qtype, client)).await;
        assert_eq!(received.records(Section::Answer), parsed(&[wanted]), "{client} {name} {qtype}");
    }
    let text = served.metrics.text();
    assert!(text.contains("coredns_dns_responses_total{server=\"dns://:53\",zone=\".\",view=\"two\",rcode=\"NOERROR\",plugin=\"template\"} 2"), "{text}");
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

#[tokio::test(start_paused = true)]
async fn cancel_limits_how_long_a_query_waits() {
    let start = tokio::time::Instant::now();
    let received = ask("cancel 700ms\nerratic {\ndrop 0\ndelay 1 9s\n}", &Question::new("a.", "A")).await;
    assert_eq!(received.why, "no answer within 700ms");
    assert_eq!(start.elapsed().as_millis(), 700);
}

#[tokio::test]
async fn metadata_reaches_templates_and_rewrites() {
    let view = "view inside {\nexpr true\n}\nmetadata\n";
    check(&[
        (
            &format!("{view}template IN TXT {{\nanswer \"{{{{ .Name }}}} 60 TXT \\\"{{{{ .Meta \\\"view/name\\\" }}}}\\\"\"\n}}"),
            Question::new("a.", "TXT"),
            "NOERROR",
            [&["a. 60 IN TXT \"inside\""], &[], &[]],
        ),
        (
            &format!("{view}rewrite name regex (.*)[.]test[.]$ {{1}}.{{view/name}}. metadata answer auto\n{NEXT}\nminimal"),
            Question::new("a.test.", "A"),
            "NOERROR",
            [&["a.test. 60 IN A 192.0.2.1"], &[], &[]],
        ),
    ])
    .await;
}

/// A view selects the server block before any plugin has seen the query.
#[tokio::test]
async fn metadata_selects_a_server_block() {
    let block = |view: &str, address: &str| {
        let answer = format!("template IN A {{\nanswer \"{{{{ .Name }}}} 60 IN A {address}\"\n}}");
        format!(". {{\n{view}\nkubernetes cluster.local {{\nfallthrough\n}}\n{answer}\n}}\n")
    };
    let view = |name: &str, namespace: &str| {
        format!("metadata\nview {name} {{\nexpr metadata('kubernetes/namespace') == '{namespace}'\n}}")
    };
    let without = "view none {\nexpr metadata('kubernetes/namespace') != ''\n}";
    let corefile = [
        block(without, "192.0.2.9"),
        block(&view("one", "shop"), "192.0.2.1"),
        block(&view("two", "blog"), "192.0.2.2"),
        block("", "192.0.2.3"),
    ];
    let served = routes(&corefile.concat()).await.unwrap();
    for (name, address) in [
        ("web.shop.svc.cluster.local.", "192.0.2.1"),
        ("web.blog.svc.cluster.local.", "192.0.2.2"),
        ("web.wiki.svc.cluster.local.", "192.0.2.3"),
        ("www.example.org.", "192.0.2.3"),
    ] {
        let received = served.ask(&Question::new(name, "A")).await;
        let wanted = format!("{name} 60 IN A {address}");
        assert_eq!(received.records(Section::Answer), parsed(&[&wanted]), "{name}");
    }
}

#[tokio::test]
async fn nsid_answers_the_client_whatever_rewrite_does_to_the_query() {
    for (rule, option, wanted) in [("set", None, vec![]), ("unset", Some(3), vec![(3, b"x".to_vec())])] {
        let corefile = format!(".:53 {{\nnsid x\nrewrite edns0 nsid {rule}\n{NEXT}\n}}");
        let served = routes(&corefile).await.unwrap();
        let change = |query: &mut dns_wire::Query| {
            if let Some(code) = option {
                query.push_option(code, b"");
            }
        };
        let received = served.ask_with(&Question::new("a.", "A"), change).await;
        let options: Vec<_> = received.reply.options().map(|(code, data)| (code, data.to_vec())).collect();
        assert_eq!(options, wanted, "{rule}");
    }
}

/// A dropped query has no author, as in CoreDNS.
#[tokio::test]
async fn a_dropped_query_counts_without_a_plugin() {
    let served =
        routes(&format!(".:53 {{\nprometheus localhost:0\nacl {{\ndrop\n}}\n{NEXT}\n}}")).await.unwrap();
    served.ask(&Question::new("a.", "A")).await;
    let text = served.metrics.text();
    let line = "coredns_dns_responses_total{server=\"dns://:53\",zone=\".\",view=\"\",rcode=\"NOERROR\",plugin=\"\"} 1";
    assert!(text.contains(line), "{text}");
}

/// `unset` counts as applied to any query, so that no further rule is looked at.
#[tokio::test]
async fn edns_rules_stop_and_repeat_as_in_coredns() {
    let stop = format!("rewrite edns0 local unset 0xffee\nrewrite name a. b.\n{TWO_NAMES}");
    let go_on =
        format!("rewrite continue edns0 local unset 0xffee\nrewrite name a. www.example.org.\n{TWO_NAMES}");
    let replace =
        format!("rewrite edns0 local replace 0xffee x\nrewrite name a. www.example.org.\n{TWO_NAMES}");
    for (lines, wanted) in [(&stop, "NXDOMAIN"), (&go_on, "NOERROR"), (&replace, "NOERROR")] {
        let received = ask(lines, &Question::new("a.", "A")).await;
        assert_eq!(Rcode(received.reply.rcode).to_string(), wanted, "{lines}");
    }
}

#[tokio::test]
async fn file_as_the_last_plugin_refuses_names_outside_of_its_zones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    std::fs::write(&path, "@ SOA n h 1 2 3 4 5\n").unwrap();
    let file = format!("file {} example.org", path.display());
    for (lines, wanted) in [(file.clone(), "REFUSED"), (format!("{file}\nwhoami"), "NOERROR")] {
        let received = ask(&lines, &Question::new("example.net.", "A")).await;
        assert_eq!(Rcode(received.reply.rcode).to_string(), wanted, "{lines}");
    }
}

/// CoreDNS keeps SOA and NS apart from all other records, so that such an apex has none.
#[tokio::test]
async fn an_apex_with_soa_and_ns_only_falls_through() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    for (more, wanted) in [("", 2), ("@ 60 TXT x\n", 0)] {
        std::fs::write(&path, format!("@ 60 SOA n h 1 2 3 4 5\n@ 60 NS n\n{more}")).unwrap();
        let lines = format!("file {} example.org {{\nfallthrough\n}}\nwhoami", path.display());
        let received = ask(&lines, &Question::new("example.org.", "A")).await;
        assert_eq!(received.records(Section::Additional).len(), wanted, "{more}");
    }
}

/// The sections of an answer that ends outside of the zone (coredns, plugin/file/lookup.go).
#[tokio::test]
async fn an_alias_to_another_zone_has_the_authority_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let zone = "@ 60 SOA n h 1 2 3 4 5\n@ 60 NS n\nn 60 A 10.0.0.1\nmail 60 A 10.0.0.2\na 60 CNAME a.example.net.\nb 60 CNAME b.example.net.\nc 60 CNAME c.example.net.\nd 60 CNAME mail\n";
    std::fs::write(&path, zone).unwrap();
    let other = "template IN MX example.net {\nmatch ^a[.]\nanswer \"{{ .Name }} 60 IN MX 1 mail.example.org.\"\nfallthrough\n}
        template IN MX example.net {\nmatch ^b[.]\nfallthrough\n}
        template IN MX example.net {\nrcode NXDOMAIN\nauthority \"example.net. 60 SOA a. b. 1 2 3 4 5\"\n}";
    let lines = format!("file {} example.org\n{other}", path.display());
    let soa: &[&str] = &["example.org. 60 IN SOA n.example.org. h.example.org. 1 2 3 4 5"];
    let ns: &[&str] = &["example.org. 60 IN NS n.example.org."];
    check(&[
        (
            &lines,
            Question::new("a.example.org.", "MX"),
            "NOERROR",
            [
                &["a.example.org. 60 IN CNAME a.example.net.", "a.example.net. 60 IN MX 1 mail.example.org."],
                ns,
                &["mail.example.org. 60 IN A 10.0.0.2"],
            ],
        ),
        (
            &lines,
            Question::new("b.example.org.", "MX"),
            "NOERROR",
            [&["b.example.org. 60 IN CNAME b.example.net."], soa, &[]],
        ),
        (
            &lines,
            Question::new("c.example.org.", "MX"),
            "NXDOMAIN",
            [&["c.example.org. 60 IN CNAME c.example.net."], soa, &[]],
        ),
        (
            &lines,
            Question::new("d.example.org.", "MX"),
            "NOERROR",
            [&["d.example.org. 60 IN CNAME mail.example.org."], ns, &[]],
        ),
    ])
    .await;
}

/// A rewritten name and the names below it are turned back, as owners and in the data of records.
#[tokio::test]
async fn names_below_a_rewritten_one_are_turned_back_too() {
    let next = "template ANY ANY {\nanswer \"{{ .Name }} 60 IN MX 1 x.{{ .Name }}\"\nanswer \"{{ .Name }} 60 IN PTR x.{{ .Name }}\"\nadditional \"x.{{ .Name }} 60 IN A 192.0.2.1\"\nadditional \"xb.test. 60 IN A 192.0.2.1\"\n}";
    for rule in [
        "name a.test. b.test.",
        "name prefix a. b. answer auto",
        "name substring a. b. answer auto",
        "name regex ^a[.](.*)[.]$ b.{1} answer auto",
    ] {
        check(&[(
            &format!("rewrite {rule}\n{next}"),
            Question::new("a.test.", "MX"),
            "NOERROR",
            [
                &["a.test. 60 IN MX 1 x.a.test.", "a.test. 60 IN PTR x.a.test."],
                &[],
                &["x.a.test. 60 IN A 192.0.2.1", "xb.test. 60 IN A 192.0.2.1"],
            ],
        )])
        .await;
    }
}

/// `prefix old` is no whole label, and the target of a pattern is no whole name.
#[tokio::test]
async fn texts_of_cname_rules_get_no_final_dot() {
    let next = "template IN CNAME {\nmatch ^a[.]$\nanswer \"a. 60 IN CNAME oldest.test.\"\nfallthrough\n}\ntemplate ANY ANY {\nrcode NXDOMAIN\n}";
    for rule in
        ["prefix old new", "substring olde newe", "regex ^old(.*)$ new{1}", "exact OLDEST.test newest.test"]
    {
        check(&[(
            &format!("rewrite cname {rule}\n{next}"),
            Question::new("a.", "CNAME"),
            "NOERROR",
            [&["a. 60 IN CNAME newest.test."], &[], &[]],
        )])
        .await;
    }
}

/// A plugin above `rewrite` sees the client's question, also when the query fails.
#[tokio::test]
async fn a_failure_below_a_rewrite_keeps_the_question_of_the_client() {
    for lines in ["rewrite name a. b.\nhosts /none", "rewrite name a. b.", "rewrite name a. b..c"] {
        let received = ask(lines, &Question::new("A.", "A")).await;
        assert_eq!(received.query.question(), Question::new("A.", "A").query().question(), "{lines}");
        assert_eq!(Rcode(received.reply.rcode).to_string(), "SERVFAIL", "{lines}");
    }
}

/// Names of two zones, and denials of everything else.
const TWO_NAMES: &str = "template IN A {\nmatch ^www[.]example[.]org[.]$ ^db[.]svc[.]cluster[.]local[.]$\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\nfallthrough\n}
    template ANY ANY {\nrcode NXDOMAIN\nauthority \". 60 SOA a. b. 1 2 3 4 5\"\n}";

#[tokio::test]
async fn autopath_follows_the_search_list_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolv.conf");
    std::fs::write(&path, "search demo.svc.cluster.local svc.cluster.local cluster.local\n").unwrap();
    let lines = format!("autopath {}\n{TWO_NAMES}", path.display());
    let denied: [&[&str]; 3] = [&[], &[". 60 IN SOA a. b. 1 2 3 4 5"], &[]];
    check(&[
        (
            &lines,
            Question::new("www.Example.org.demo.svc.cluster.local.", "A"),
            "NOERROR",
            [
                &[
                    "www.example.org.demo.svc.cluster.local. 60 IN CNAME www.example.org.",
                    "www.example.org. 60 IN A 192.0.2.1",
                ],
                &[],
                &[],
            ],
        ),
        (
            &lines,
            Question::new("db.demo.svc.cluster.local.", "A"),
            "NOERROR",
            [
                &[
                    "db.demo.svc.cluster.local. 60 IN CNAME db.svc.cluster.local.",
                    "db.svc.cluster.local. 60 IN A 192.0.2.1",
                ],
                &[],
                &[],
            ],
        ),
        (&lines, Question::new("none.demo.svc.cluster.local.", "A"), "NXDOMAIN", denied),
        (&lines, Question::new("demo.svc.cluster.local.", "A"), "NXDOMAIN", denied),
        (&lines, Question::new("www.example.org.svc.cluster.local.", "A"), "NXDOMAIN", denied),
    ])
    .await;
}

/// The answers of the other zones are cached under their own names, not under the name that the client asked for.
#[tokio::test]
async fn autopath_asks_the_cache_for_each_name_of_the_search_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolv.conf");
    std::fs::write(&path, "search demo.svc.cluster.local svc.cluster.local cluster.local\n").unwrap();
    let served =
        routes(&format!(".:53 {{\nautopath {}\ncache\n{TWO_NAMES}\n}}", path.display())).await.unwrap();
    let aliased = parsed(&[
        "www.example.org.demo.svc.cluster.local. 60 IN CNAME www.example.org.",
        "www.example.org. 60 IN A 192.0.2.1",
    ]);
    // The first time from the plugin below the cache, the second time from the cache.
    for _ in 0..2 {
        let received = served.ask(&Question::new("www.example.org.demo.svc.cluster.local.", "A")).await;
        assert_eq!(received.records(Section::Answer), aliased, "{}", Rcode(received.reply.rcode));
    }
    let own = served.ask(&Question::new("www.example.org.", "A")).await;
    assert_eq!(own.records(Section::Answer), parsed(&["www.example.org. 60 IN A 192.0.2.1"]));
    let denied = served.ask(&Question::new("www.example.org.cluster.local.", "A")).await;
    assert_eq!(Rcode(denied.reply.rcode).to_string(), "NXDOMAIN");
    let text = served.metrics.text();
    // The client's name, two others that are denied, and the one that exists.
    for line in [
        "coredns_cache_entries{server=\"dns://:53\",type=\"denial\",zones=\".\",view=\"\"} 3",
        "coredns_cache_entries{server=\"dns://:53\",type=\"success\",zones=\".\",view=\"\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
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

/// A zone that refuses to answer is passed over; one that fails ends the search, since the name may exist there.
#[tokio::test]
async fn autopath_counts_all_answers_and_goes_on_behind_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolv.conf");
    std::fs::write(&path, "search one two three\n").unwrap();
    let lines = "template IN A one {\nmatch ^own[.]\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\nfallthrough\n}
        template IN A one {\nmatch ^refused[.]\nrcode SERVFAIL\nfallthrough\n}
        template IN A two {\nmatch ^broken[.]\nanswer \"no record\"\nfallthrough\n}
        template IN A three {\nanswer \"{{ .Name }} 60 IN A 192.0.2.3\"\n}
        template ANY ANY {\nrcode NXDOMAIN\n}";
    let corefile = format!(".:53 {{\nautopath {}\n{lines}\n}}", path.display());
    let served = routes(&corefile).await.unwrap();
    for (name, rcode, records, count) in [
        ("own.one.", "NOERROR", 1, 1),
        ("refused.one.", "NOERROR", 2, 2),
        ("broken.one.", "SERVFAIL", 0, 2),
        ("one.", "NXDOMAIN", 0, 2),
        ("own.two.", "NXDOMAIN", 0, 2),
    ] {
        let received = served.ask(&Question::new(name, "A")).await;
        assert_eq!(Rcode(received.reply.rcode).to_string(), rcode, "{name}");
        assert_eq!(received.records(Section::Answer).len(), records, "{name}");
        let line = format!("coredns_autopath_success_total{{server=\"dns://:53\"}} {count}\n");
        assert!(served.metrics.text().contains(&line), "{name}: {}", served.metrics.text());
    }
}

#[tokio::test]
async fn autopath_tries_as_many_zones_as_resolvers_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolv.conf");
    let served = "template IN A {\nmatch ^a[.]z39[.]$\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\nfallthrough\n}\ntemplate ANY ANY {\nrcode NXDOMAIN\n}";
    let list: Vec<String> = (0..40).map(|at| format!("z{at}")).collect();
    std::fs::write(&path, format!("search {}\n", list.join(" "))).unwrap();
    let received = ask(&format!("autopath {}\n{served}", path.display()), &Question::new("a.z0.", "A")).await;
    assert_eq!(Rcode(received.reply.rcode).to_string(), "NXDOMAIN", "the fortieth zone is not tried");
    std::fs::write(&path, "search z0 z39\n").unwrap();
    let received = ask(&format!("autopath {}\n{served}", path.display()), &Question::new("a.z0.", "A")).await;
    assert_eq!(received.records(Section::Answer).len(), 2, "within the limit");
}

#[tokio::test]
async fn autopath_knows_the_search_list_of_a_pod() {
    use cluster::{Event, Key, Kind, Namespace, Object, Pod};
    let lines = format!(
        ".:53 {{\nautopath @kubernetes\nkubernetes cluster.local {{\npods verified\nfallthrough\n}}\n{}\n}}",
        TWO_NAMES.replace("template", "    template")
    );
    // `template` stands before `kubernetes`, so the cluster's own names are denied by it as well.
    let served = routes(&lines).await.unwrap();
    let pod =
        Pod { key: Key::new("demo", "web"), addresses: ["10.0.0.7".parse().unwrap()].into_iter().collect() };
    let namespace = Namespace { key: Key::cluster("demo"), labels: Default::default() };
    let mut events =
        vec![Event::Apply(Object::Namespace(namespace.into())), Event::Apply(Object::Pod(pod.into()))];
    events.extend(Kind::ALL.map(Event::Synced));
    served.cluster.cache.lock().unwrap().apply(events, 1);
    let name = "www.example.org.demo.svc.cluster.local.";
    let metadata = "metadata\nkubernetes cluster.local {\npods verified\nfallthrough\n}\ntemplate IN TXT {\nanswer \"{{ .Name }} 60 TXT {{ .Meta `kubernetes/service` }} {{ .Meta `kubernetes/client-namespace` }}.\"\n}";
    let with_metadata = routes(&format!(".:53 {{\n{metadata}\n}}")).await.unwrap();
    let pod =
        Pod { key: Key::new("demo", "web"), addresses: ["10.0.0.7".parse().unwrap()].into_iter().collect() };
    with_metadata.cluster.cache.lock().unwrap().apply(vec![Event::Apply(Object::Pod(pod.into()))], 1);
    let told = with_metadata.ask(&from_client("web.shop.svc.cluster.local.", "TXT", "10.0.0.7")).await;
    assert_eq!(
        told.records(Section::Answer),
        parsed(&["web.shop.svc.cluster.local. 60 IN TXT web demo."]),
        "{}",
        told.why
    );
    let known = served.ask(&from_client(name, "A", "10.0.0.7")).await;
    assert_eq!(known.records(Section::Answer).len(), 2, "{}", Rcode(known.reply.rcode));
    let unknown = served.ask(&from_client(name, "A", "10.0.0.8")).await;
    assert_eq!(Rcode(unknown.reply.rcode).to_string(), "NXDOMAIN");
    assert!(served.metrics.text().contains("coredns_autopath_success_total{server=\"dns://:53\"} 1"));
}
