//! `metadata`: its values in other plugins, and in the choice of a server block.

use dns_wire::Section;

use crate::support::{Question, parsed, routes};
use crate::{NEXT, check};

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
