//! `rewrite`: queries, and the replies to rewritten queries.

use dns_chain::codes::Rcode;

use crate::support::{Question, routes};
use crate::{NEXT, TWO_NAMES, ask, check};

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

/// A reply without an OPT record of its own has the local options of the query, with `revert` as the client sent them.
#[tokio::test]
async fn answers_from_memory_repeat_local_options() {
    const CODE: u16 = 0xffee;
    for (rules, client, wanted) in [
        (&["local set 0xffee b"][..], None, &["b"][..]),
        (&["local set 0xffee b"], Some("a"), &["b"]),
        (&["local append 0xffee b"], Some("a"), &["a", "b"]),
        (&["local set 0xffee b revert"], None, &[]),
        (&["local set 0xffee b revert"], Some("a"), &["a"]),
        (&["local set 0xffee {qname} revert"], Some("a"), &["a"]),
        (&["local set 0xffee b revert", "local set 0xffee c revert"], Some("a"), &["a"]),
        (&["local set 0xffee b", "local set 0xffee c revert"], Some("a"), &["b"]),
        (&["local set 0xffee b", "local set 0xffee c"], Some("a"), &["c"]),
        (&["local unset 0xffee"], Some("a"), &[]),
        (&["nsid set revert"], Some("a"), &[]),
    ] {
        let rules: String = rules.iter().map(|rule| format!("rewrite continue edns0 {rule}\n")).collect();
        let served = routes(&format!(".:53 {{\n{rules}hosts {{\n192.0.2.1 a\n}}\n}}")).await.unwrap();
        let change = |query: &mut dns_wire::Query| {
            if let Some(data) = client {
                query.push_option(CODE, data.as_bytes());
            }
        };
        let received = served.ask_with(&Question::new("a.", "A"), change).await;
        let found: Vec<_> = received.reply.options().map(|(code, data)| (code, data.to_vec())).collect();
        let wanted: Vec<_> = wanted.iter().map(|data| (CODE, data.as_bytes().to_vec())).collect();
        assert_eq!(found, wanted, "{rules}{client:?}");
        assert_eq!(
            received.query.edns.is_some(),
            client.is_some(),
            "{rules}{client:?}: the client's OPT record"
        );
    }
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

/// Of all kinds of rules the first one that matches is applied, and after `continue` those below it.
#[tokio::test]
async fn rules_of_different_kinds_are_tried_in_the_order_of_the_corefile() {
    let hosts = "hosts /none {\n10.0.0.1 b.test\n10.0.0.2 c.test\n10.0.0.3 d.test\n}";
    let to_b = "rewrite name exact a.test b.test\n";
    let to_b_too = "rewrite continue name exact a.test b.test\n";
    let pattern_to_c = "rewrite name regex ^[ab][.]test[.]$ c.test\n";
    let pattern_to_b_too = "rewrite continue name regex ^a[.]test[.]$ b.test\n";
    let b_to_d = "rewrite name exact b.test d.test\n";
    for (rules, wanted) in [
        ([to_b, pattern_to_c, b_to_d], "a.test. 3600 IN A 10.0.0.1"),
        ([pattern_to_c, to_b, b_to_d], "c.test. 3600 IN A 10.0.0.2"),
        ([to_b, "rewrite name exact a.test d.test\n", ""], "a.test. 3600 IN A 10.0.0.1"),
        ([b_to_d, to_b_too, "rewrite ttl exact none.test 5\n"], "a.test. 3600 IN A 10.0.0.1"),
        ([to_b_too, b_to_d, ""], "a.test. 3600 IN A 10.0.0.3"),
        ([to_b_too, "rewrite type TXT MX\n", b_to_d], "a.test. 3600 IN A 10.0.0.3"),
        ([to_b_too, "rewrite type A A\n", b_to_d], "a.test. 3600 IN A 10.0.0.1"),
        ([to_b_too, "rewrite ttl exact b.test 5\n", b_to_d], "a.test. 5 IN A 10.0.0.1"),
        // A pattern without `answer` leaves its own names in the answer.
        ([to_b_too, pattern_to_c, ""], "c.test. 3600 IN A 10.0.0.2"),
        ([pattern_to_b_too, b_to_d, ""], "b.test. 3600 IN A 10.0.0.3"),
    ] {
        let lines = format!("{}{hosts}", rules.concat());
        check(&[(&lines, Question::new("a.test.", "A"), "NOERROR", [&[wanted], &[], &[]])]).await;
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
