//! Plugins that change the replies of others, or decide who gets one.

use dns_chain::codes::Rcode;
use dns_wire::Section;

use crate::support::{Question, parsed, routes};
use crate::{NEXT, ask, check, from_client};

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

#[tokio::test(start_paused = true)]
async fn cancel_limits_how_long_a_query_waits() {
    let start = tokio::time::Instant::now();
    let received = ask("cancel 700ms\nerratic {\ndrop 0\ndelay 1 9s\n}", &Question::new("a.", "A")).await;
    assert_eq!(received.why, "no answer within 700ms");
    assert_eq!(start.elapsed().as_millis(), 700);
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
