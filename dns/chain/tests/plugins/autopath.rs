//! `autopath`: search lists of a file and of Pods.

use dns_chain::codes::Rcode;
use dns_wire::Section;

use crate::support::{Question, parsed, routes};
use crate::{TWO_NAMES, ask, check, from_client};

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
