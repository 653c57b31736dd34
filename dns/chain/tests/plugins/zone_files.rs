//! `file`: zones from files.

use dns_chain::codes::Rcode;
use dns_wire::Section;

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
