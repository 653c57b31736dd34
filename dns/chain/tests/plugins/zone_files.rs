//! `file`: zones from files.

use dns_chain::codes::Rcode;
use dns_wire::Section;
use dns_wire::codes::rtype;

use crate::support::Question;
use crate::{ask, check};

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

/// As many aliases as CoreDNS follows (plugin/file/lookup.go), and the rest is left to the client. The counts were compared with its.
#[tokio::test]
async fn a_long_chain_of_aliases_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let head = "@ 60 SOA n h 1 2 3 4 5\n@ 60 NS n\n";
    let mut zone =
        format!("{head}out 60 CNAME o0.example.net.\nloop 60 CNAME loop-b\nloop-b 60 CNAME loop\n");
    for links in [8, 9, 10, 20] {
        for at in 0..links {
            zone += &format!("c{links}-{at} 60 CNAME c{links}-{}\n", at + 1);
            zone += &format!("*.w{links}-{at} 60 CNAME x.w{links}-{}\n", at + 1);
        }
        zone += &format!("c{links}-{links} 60 A 10.0.0.1\n*.w{links}-{links} 60 A 10.0.0.1\n");
    }
    // Ten aliases, the last of which leads to a wildcard with nine more.
    zone += &(0..9)
        .map(|at| format!("m{at} 60 CNAME m{}\nn{at} 60 CNAME n{}\n", at + 1, at + 1))
        .collect::<String>();
    zone += "m9 60 CNAME x.m\n*.m 60 CNAME n0\nn9 60 A 10.0.0.1\n";
    let other: String = (0..9).map(|at| format!("o{at} 60 CNAME o{}\n", at + 1)).collect();
    let mut other = format!("{head}{other}o9 60 A 10.0.0.1\n");
    zone += "p10 60 A 10.0.0.1\n";
    // From zone to zone.
    for at in [0, 2, 4, 6, 8] {
        zone += &format!("p{at} 60 CNAME p{}.example.net.\n", at + 1);
        other += &format!("p{} 60 CNAME p{}.example.org.\n", at + 1, at + 2);
    }
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("org"), zone).unwrap();
    std::fs::write(path("net"), other).unwrap();
    let lines =
        format!("file {} example.org\nfile {} example.net", path("org").display(), path("net").display());
    // The number of aliases, and of addresses behind them.
    for (name, qtype, code, counts) in [
        ("c8-0.example.org.", "A", "NOERROR", (8, 1)),
        ("c9-0.example.org.", "A", "NOERROR", (9, 1)),
        ("c9-0.example.org.", "TXT", "NOERROR", (9, 0)),
        ("c8-0.example.org.", "NS", "NOERROR", (8, 0)),
        ("c9-0.example.org.", "NS", "SERVFAIL", (9, 0)),
        ("c10-0.example.org.", "A", "NOERROR", (10, 0)),
        ("c20-0.example.org.", "A", "NOERROR", (10, 0)),
        ("x.w8-0.example.org.", "A", "NOERROR", (8, 1)),
        ("x.w9-0.example.org.", "A", "SERVFAIL", (9, 0)),
        ("m0.example.org.", "A", "NOERROR", (20, 0)),
        ("m1.example.org.", "A", "NOERROR", (19, 0)),
        ("out.example.org.", "A", "NOERROR", (10, 1)),
        ("p1.example.net.", "A", "SERVFAIL", (9, 0)),
        ("p2.example.org.", "A", "NOERROR", (8, 1)),
        ("loop.example.org.", "A", "SERVFAIL", (0, 0)),
    ] {
        let question = Question { edns: Some((4096, false)), ..Question::new(name, qtype) };
        let received = ask(&lines, &question).await;
        let answers = received.records(Section::Answer);
        let count = |rtype| answers.iter().filter(|record| record.rtype == rtype).count();
        let found = (Rcode(received.reply.rcode).to_string(), (count(rtype::CNAME), count(rtype::A)));
        assert_eq!(found, (code.to_owned(), counts), "{name} {qtype} {}", received.why);
    }
}

/// Glue is for name servers within the delegated zone, as in CoreDNS; a resolver can look others up.
#[tokio::test]
async fn a_referral_has_the_addresses_of_servers_within_the_delegated_zone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let zone = "@ 60 SOA n h 1 2 3 4 5\n@ 60 NS n\nn 60 A 10.0.0.1\nsub 60 NS n\nsub 60 NS ns.sub\nns.sub 60 A 10.0.0.2\n";
    std::fs::write(&path, zone).unwrap();
    let lines = format!("file {} example.org", path.display());
    let servers: &[&str] =
        &["sub.example.org. 60 IN NS n.example.org.", "sub.example.org. 60 IN NS ns.sub.example.org."];
    let row = |name, qtype| {
        let sections = [&[], servers, &["ns.sub.example.org. 60 IN A 10.0.0.2"][..]];
        (lines.as_str(), Question::new(name, qtype), "NOERROR", sections)
    };
    check(&[row("sub.example.org.", "A"), row("x.sub.example.org.", "AAAA")]).await;
}

#[tokio::test]
async fn each_mistake_of_a_zone_file_has_a_line_of_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    std::fs::write(&path, "@ 60 SOA n h 1 2 3 4 5\na A x\nb MX\n").unwrap();
    let corefile = format!(". {{\nfile {} example.org\n}}\n", path.display());
    let error = crate::support::check(&corefile).err().unwrap();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 3, "{error}");
    assert!(lines[0].contains("line 2: data of A") && lines[1].contains("line 3: data of MX"), "{error}");
    assert_eq!(lines[2].trim(), format!("file {} example.org", path.display()));
}
