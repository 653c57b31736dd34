//! CoreDNS and Portolan serve the same Corefiles beside each other, and get the same generated queries.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use hickory_proto::rr::RecordType;
use tests::differential::{GeneratedQuery, QueryGenerator, ReplyDifference, compare};
use tests::dns::{DnsClient, Transport};
use tests::process::Process;
use tests::stage::{SOON, Stage};
use tests::{http, programs, wait};

use crate::manifests;

/// Addresses of CoreDNS and of Portolan.
const SERVERS: [&str; 2] = ["127.0.0.2", "127.0.0.3"];

/// Queries for each Corefile, unless `PORTOLAN_QUERIES` says another number.
const QUERIES: usize = 2_000;

/// A Corefile, what is asked of it, and which differences are known.
struct ServedCorefile {
    name: &'static str,
    /// Lines of a block that binds to the server's address. `FOLDER` and `KUBECONFIG` are replaced.
    lines: &'static str,
    names: &'static [&'static str],
    /// Says why a difference is right; `None` if it is not known.
    explain: fn(&ReplyDifference) -> Option<&'static str>,
}

const FILES: [(&str, &str); 4] = [
    (
        "db.example.org",
        "$TTL 300
@ SOA ns1 admin 2024010101 7200 1800 86400 120
@ NS ns1
@ NS ns2.example.net.
@ MX 10 mail
@ MX 20 mail
@ MX 30 backup.example.net.
@ TXT \"v=spf1 -all\" \"second string\"
ns1 A 10.0.0.1
ns1 AAAA fd00::1
mail A 10.0.0.2
mail A 10.0.0.3
www CNAME web
web CNAME web2
web2 A 10.0.0.4
web2 AAAA fd00::4
out CNAME host.example.net.
gone CNAME gone.example.net.
lost CNAME nothing
other CNAME www.blocked.test.
self CNAME self
ring1 CNAME ring2
ring2 CNAME ring1
_sip._tcp SRV 1 2 5060 mail
_sip._tcp SRV 2 2 5060 Mail
_sip._tcp SRV 3 2 5060 out.example.net.
svc HTTPS 1 web2 alpn=h2,h3 ipv4hint=10.0.0.4
alias HTTPS 0 svc
a.b.c TXT deep
*.wild A 10.0.0.5
*.wild TXT star
x.wild MX 5 mail
*.cname CNAME web2
*.cnameout CNAME host.example.net.
sub NS ns.sub
sub NS ns.example.net.
ns.sub A 10.0.0.6
sub DS 12345 13 2 0000000000000000000000000000000000000000000000000000000000000000
insub CNAME deep.sub
old DNAME new
old A 10.0.0.7
host.new A 10.0.0.8
away DNAME example.net.
long TXT \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"
caa CAA 0 issue \"ca.example.net\"
ptr PTR mail
",
    ),
    (
        "db.example.net",
        "$ORIGIN example.net.\n@ 60 SOA ns1 admin 7 7200 1800 86400 60\n@ 60 NS ns1\nns1 60 A 10.1.0.1\nhost 60 A 10.1.0.2\nhost 60 MX 1 mail.example.org.\nns 60 A 10.1.0.3\n",
    ),
    (
        "hosts",
        "10.2.0.1 one.hosts.test two.hosts.test\n10.2.0.2 one.hosts.test\nfd00::21 one.hosts.test six.hosts.test\n10.2.0.3 *.star.hosts.test\n",
    ),
    ("resolv.conf", "search demo.test test example.org\n"),
];

const COREFILES: &[ServedCorefile] = &[
    ServedCorefile {
        name: "file",
        lines: "file FOLDER/db.example.org example.org {\nreload 0\n}
            file FOLDER/db.example.net example.net {\nreload 0\n}
            template IN ANY blocked.test {\nrcode NXDOMAIN\nauthority \"blocked.test. 60 SOA a. b. 1 2 3 4 5\"\n}",
        names: ZONE_NAMES,
        explain: file_difference,
    },
    ServedCorefile {
        name: "file with fallthrough",
        lines: "file FOLDER/db.example.org example.org {\nfallthrough wild.example.org c.example.org\nreload 0\n}
            file FOLDER/db.example.net example.net {\nfallthrough\nreload 0\n}\nwhoami",
        names: ZONE_NAMES,
        explain: file_difference,
    },
    ServedCorefile {
        name: "hosts",
        lines: "hosts FOLDER/hosts hosts.test in-addr.arpa ip6.arpa {\n10.2.0.9 inline.hosts.test\nttl 77\nreload 0\nfallthrough one.hosts.test in-addr.arpa\n}
            template ANY ANY in-addr.arpa hosts.test {\nrcode NXDOMAIN\n}",
        names: &[
            "one.hosts.test.",
            "two.hosts.test.",
            "six.hosts.test.",
            "inline.hosts.test.",
            "a.star.hosts.test.",
            "a.b.star.hosts.test.",
            "star.hosts.test.",
            "hosts.test.",
            "none.hosts.test.",
            "1.0.2.10.in-addr.arpa.",
            "9.0.2.10.in-addr.arpa.",
            "8.0.2.10.in-addr.arpa.",
            "1.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.",
            "example.org.",
        ],
        explain: hosts_difference,
    },
    ServedCorefile {
        name: "template",
        lines: "template IN A net.test {\nmatch ^ip-(?P<a>[0-9]+)-(?P<b>[0-9]+)[.]net[.]test[.]$\nanswer \"{{ .Name }} 60 IN A 10.0.{{ .Group.a }}.{{ .Group.b }}\"\nadditional \"ns.net.test. 60 A 10.0.0.1\"\nauthority \"net.test. 60 NS ns.net.test.\"\nfallthrough\n}
            template IN AAAA net.test {\nrcode NXDOMAIN\nauthority \"net.test. 60 {{ .Class }} SOA ns.net.test. h.net.test. (1 60 60 60 60)\"\nederror 21 \"no such family\"\n}
            template IN ANY net.test {\nmatch ^(.*)[.]alias[.]net[.]test[.]$\nanswer \"{{ .Name }} 60 IN CNAME {{ index .Match 1 }}.net.test.\"\nfallthrough\n}
            template IN TXT . {\nvar n int(len(split(name(), '.')))\nexpr n > 2\nanswer \"{{ .Name }} 5 TXT {{ .Var.n }} {{ .Zone }}\"\nfallthrough\n}
            template IN MX . {\nmatch ^never$\nfallthrough test\n}
            template ANY ANY fail.test {\nrcode SERVFAIL\n}
            template ANY A any.test {\nanswer \"{{ .Name }} 60 {{ .Type }} 10.0.0.{{ if eq .Remote `127.0.0.1` }}1{{ else }}2{{ end }}\"\n}",
        names: &[
            "ip-1-2.net.test.",
            "ip-1-2.alias.net.test.",
            "ip-300-2.net.test.",
            "ns.net.test.",
            "net.test.",
            "a.fail.test.",
            "a.any.test.",
            "any.test.",
            "a.b.c.d.",
            "org.",
            ".",
        ],
        explain: common,
    },
    ServedCorefile {
        name: "rewrite",
        lines: "rewrite continue name exact one.test two.test
            rewrite name suffix .suffix.test .net.test answer auto
            rewrite name prefix old- new- answer auto
            rewrite name substring middle center
            rewrite stop {\nname regex ^(.*)[.]regex[.]test[.]$ {1}.net.test\nanswer name ^(.*)[.]net[.]test[.]$ {1}.regex.test\nanswer value ^(.*)[.]net[.]test[.]$ {1}.value.test\n}
            rewrite continue type HINFO A
            rewrite ttl suffix .ttl.test 30-90
            rewrite ttl exact fixed.test 7
            rewrite rcode suffix .rcode.test NXDOMAIN NOERROR
            rewrite rcode exact fail.test 2 3
            rewrite continue edns0 nsid set
            rewrite continue edns0 local set 0xffee 0x61626364
            rewrite name exact bad.test a..b
            template IN ANY fail.test {\nrcode SERVFAIL\n}
            template IN A . {\nmatch (two|fixed|new-.*|center.*|.*[.]ttl|.*[.]net)[.]test[.]$\nanswer \"{{ .Name }} 300 IN A 10.0.0.1\"\nadditional \"x.{{ .Name }} 20 A 10.0.0.2\"\nfallthrough\n}
            template IN MX net.test {\nanswer \"{{ .Name }} 60 MX 1 mail.net.test.\"\n}
            template ANY ANY . {\nrcode NXDOMAIN\nauthority \"test. 60 SOA ns.net.test. h.test. 1 2 3 4 5\"\n}",
        names: &[
            "one.test.",
            "two.test.",
            "a.suffix.test.",
            "suffix.test.",
            "old-name.test.",
            "middle.test.",
            "middlemiddle.test.",
            "a.regex.test.",
            "a.b.regex.test.",
            "a.ttl.test.",
            "fixed.test.",
            "a.rcode.test.",
            "fail.test.",
            "bad.test.",
            "mail.net.test.",
            "test.",
        ],
        explain: rewrite_difference,
    },
    ServedCorefile {
        name: "small plugins",
        lines: "local\nany\nacl blocked.test {\nblock type TXT\nfilter type MX\nallow type A\nblock\n}\nchaos one two
            header {\nresponse set ra\nresponse clear aa\nquery clear rd\n}\nnsid me\nminimal\nbufsize 1000
            dns64 {\nallow_ipv4\n}
            template IN A . {\nmatch ^(v4|a)[.] [.]blocked[.]test[.]$\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\nauthority \". 60 NS ns.\"\nadditional \"ns. 60 A 192.0.2.2\"\nfallthrough\n}
            template IN TXT . {\nanswer \"{{ .Name }} 60 TXT x\"\n}
            template ANY ANY . {\nrcode NOERROR\nauthority \". 60 SOA a. b. 1 2 3 4 5\"\n}",
        names: &[
            "v4.test.",
            "a.blocked.test.",
            "blocked.test.",
            "localhost.",
            "a.localhost.",
            "localhost.example.org.",
            "1.0.0.127.in-addr.arpa.",
            "1.0.0.10.in-addr.arpa.",
            "test.",
            ".",
        ],
        explain: dns64_difference,
    },
    ServedCorefile {
        name: "autopath",
        lines: "autopath FOLDER/resolv.conf
            template IN A . {\nmatch ^(own[.]demo[.]test|second[.]test|third[.]example[.]org|last[.]net)[.]$\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\nfallthrough\n}
            template IN A . {\nmatch ^refused[.]demo[.]\nrcode SERVFAIL\nfallthrough\n}
            template IN AAAA demo.test {\nmatch ^own[.]\nfallthrough\n}
            template ANY ANY . {\nrcode NXDOMAIN\nauthority \". 60 SOA a. b. 1 2 3 4 5\"\n}",
        names: &[
            "own.demo.test.",
            "second.demo.test.",
            "third.demo.test.",
            "last.net.demo.test.",
            "none.demo.test.",
            "refused.demo.test.",
            "demo.test.",
            "second.test.",
            "last.net.",
        ],
        explain: autopath_difference,
    },
    ServedCorefile {
        name: "cache",
        lines: "cache 3600 {\nsuccess 5000 3000 60\ndenial 5000 3000 60\nservfail 10s\n}
            template IN A zone.test {\nmatch ^[a-m]\nanswer \"{{ .Name }} 3000 IN A 192.0.2.1\"\nauthority \"zone.test. 2900 NS ns.zone.test.\"\nfallthrough\n}
            template IN ANY zone.test {\nmatch ^n\nrcode NXDOMAIN\nauthority \"zone.test. 3000 SOA a. b. 1 2 3 4 3000\"\nfallthrough\n}
            template IN ANY zone.test {\nmatch ^s\nrcode SERVFAIL\nfallthrough\n}
            template ANY ANY . {\nauthority \". 3000 SOA a. b. 1 2 3 4 3000\"\n}",
        names: &["a.zone.test.", "b.zone.test.", "nx.zone.test.", "sf.zone.test.", "zone.test.", "zz.zone.test."],
        explain: cache_difference,
    },
    ServedCorefile {
        name: "kubernetes",
        lines: "kubernetes cluster.local 10.96.0.0/16 10.244.0.0/16 {\nkubeconfig KUBECONFIG\npods insecure\nttl 30\n}",
        names: CLUSTER_NAMES,
        explain: cluster_difference,
    },
    ServedCorefile {
        name: "kubernetes with options",
        lines: "kubernetes cluster.local in-addr.arpa ip6.arpa {\nkubeconfig KUBECONFIG\npods verified\nendpoint_pod_names\nignore empty_service\nfallthrough in-addr.arpa shop.svc.cluster.local\n}
            whoami",
        names: CLUSTER_NAMES,
        explain: cluster_difference,
    },
];

const ZONE_NAMES: &[&str] = &[
    "example.org.",
    "ns1.example.org.",
    "mail.example.org.",
    "www.example.org.",
    "web.example.org.",
    "web2.example.org.",
    "out.example.org.",
    "gone.example.org.",
    "lost.example.org.",
    "other.example.org.",
    "self.example.org.",
    "ring1.example.org.",
    "_sip._tcp.example.org.",
    "_tcp.example.org.",
    "svc.example.org.",
    "alias.example.org.",
    "a.b.c.example.org.",
    "b.c.example.org.",
    "c.example.org.",
    "wild.example.org.",
    "q.wild.example.org.",
    "x.wild.example.org.",
    "q.x.wild.example.org.",
    "q.cname.example.org.",
    "q.cnameout.example.org.",
    "sub.example.org.",
    "ns.sub.example.org.",
    "deep.sub.example.org.",
    "insub.example.org.",
    "old.example.org.",
    "host.old.example.org.",
    "none.old.example.org.",
    "host.away.example.org.",
    "long.example.org.",
    "caa.example.org.",
    "ptr.example.org.",
    "none.example.org.",
    "host.example.net.",
    "example.net.",
    "none.example.net.",
    "www.blocked.test.",
    "org.",
    ".",
];

const CLUSTER_NAMES: &[&str] = &[
    "cluster.local.",
    "svc.cluster.local.",
    "pod.cluster.local.",
    "shop.svc.cluster.local.",
    "beside.svc.cluster.local.",
    "beside.pod.cluster.local.",
    "none.svc.cluster.local.",
    "web.beside.svc.cluster.local.",
    "_http._tcp.web.beside.svc.cluster.local.",
    "_none._tcp.web.beside.svc.cluster.local.",
    "pod-10-244-7-1.web.beside.svc.cluster.local.",
    "10-244-7-1.web.beside.svc.cluster.local.",
    "empty.beside.svc.cluster.local.",
    "headless.beside.svc.cluster.local.",
    "_http._tcp.headless.beside.svc.cluster.local.",
    "10-244-7-1.headless.beside.svc.cluster.local.",
    "pod-10-244-7-2.headless.beside.svc.cluster.local.",
    "out.beside.svc.cluster.local.",
    "in.beside.svc.cluster.local.",
    "10-244-7-1.beside.pod.cluster.local.",
    "10-9-9-9.beside.pod.cluster.local.",
    "fd00--1.beside.pod.cluster.local.",
    "dns-version.cluster.local.",
    "ns.dns.cluster.local.",
    "200.7.96.10.in-addr.arpa.",
    "1.7.244.10.in-addr.arpa.",
    "9.9.96.10.in-addr.arpa.",
    "96.10.in-addr.arpa.",
    "1.0.0.10.in-addr.arpa.",
    "example.org.",
];

/// Differences that are the same for all Corefiles (docs/differences-coredns.md).
fn common(difference: &ReplyDifference) -> Option<&'static str> {
    let [coredns, _] = &difference.replies;
    if !difference.is_only_in(&["edns"]) {
        return None;
    }
    match difference.query.has_edns() {
        false => Some("a client without EDNS gets no OPT record"),
        true if coredns.contains("edns do=true") => Some("DO in a reply is that of the query"),
        true => None,
    }
}

fn file_difference(difference: &ReplyDifference) -> Option<&'static str> {
    let name = difference.query.name.to_lowercase();
    let is_loop = name.contains("ring") || name.contains("self");
    is_loop.then_some("aliases that lead to each other are SERVFAIL without records")
}

fn hosts_difference(difference: &ReplyDifference) -> Option<&'static str> {
    let GeneratedQuery { name, qtype, .. } = &difference.query;
    let is_below = *qtype == 12 && name.split('.').count() > 35;
    is_below.then_some("PTR for complete reverse names only")
}

fn rewrite_difference(difference: &ReplyDifference) -> Option<&'static str> {
    let is_failure = difference.replies[1].starts_with("servfail") && difference.is_only_in(&["edns"]);
    is_failure.then_some("an error reply has no options of rewrite")
}

fn dns64_difference(difference: &ReplyDifference) -> Option<&'static str> {
    let [coredns, portolan] = &difference.replies;
    let is_ra = coredns.replace("ra=false", "ra=true").replace("do=true", "do=false")
        == portolan.replace("ra=false", "ra=true").replace("do=true", "do=false");
    (is_ra && difference.query.qtype == 28).then_some("answers of dns64 keep RA")
}

fn autopath_difference(difference: &ReplyDifference) -> Option<&'static str> {
    let is_first = difference.query.name.eq_ignore_ascii_case("demo.test.");
    is_first.then_some("the first zone of a search list itself is answered as it is")
}

fn cache_difference(difference: &ReplyDifference) -> Option<&'static str> {
    difference.is_only_in_ttls(5).then_some("the answers were cached at different times")
}

fn cluster_difference(difference: &ReplyDifference) -> Option<&'static str> {
    let [coredns, portolan] = &difference.replies;
    let GeneratedQuery { name, qtype, .. } = &difference.query;
    // CoreDNS denies the name, or passes the query on where denied names fall through.
    let is_no_data = portolan.starts_with("noerror") && !portolan.contains("\nanswer ");
    if is_no_data && *qtype == 16 && !coredns.contains("\nanswer ") {
        return Some("TXT at a name without records is NODATA");
    }
    let is_server = name.to_lowercase().ends_with("ns.dns.cluster.local.");
    is_server.then_some("ns.dns exists for every type and in any letter case")
}

/// Leaves out what differs by nature: the addresses and ports of `whoami`, the serial of a cluster zone.
fn comparable(line: String) -> Option<String> {
    let is_whoami = line.starts_with("additional _udp.") && line.contains(" srv 0 0 ");
    if !is_whoami && !line.contains(" soa ns.dns.") {
        return Some(line);
    }
    // Serials and ports are larger than the other numbers.
    let is_kept = |word: &&str| word.parse::<u64>().map_or(true, |number| number < 10_000);
    let kept: Vec<&str> = line.split(' ').filter(is_kept).collect();
    Some(kept.join(" "))
}

pub(crate) fn generated_queries_have_the_answers_of_coredns(stage: &mut Stage) {
    let api = &stage.plane.api;
    let namespace = manifests::namespace("beside") + &manifests::namespace("shop");
    api.apply(&namespace);
    api.apply(&manifests::workload("beside", "web", &["10.244.7.1", "10.244.7.2"]));
    api.apply(
        "
---
apiVersion: v1
kind: Service
metadata: { name: fixed, namespace: beside }
spec: { clusterIP: 10.96.7.200, ports: [{ name: http, port: 80 }, { name: dns, port: 53, protocol: UDP }] }
---
apiVersion: v1
kind: Service
metadata: { name: empty, namespace: beside }
spec: { selector: { app: nobody }, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: headless, namespace: beside }
spec: { clusterIP: None, selector: { app: web }, ports: [{ name: http, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: out, namespace: beside }
spec: { type: ExternalName, externalName: www.example.test }
---
apiVersion: v1
kind: Service
metadata: { name: in, namespace: beside }
spec: { type: ExternalName, externalName: web.beside.svc.cluster.local }
",
    );
    for (name, text) in FILES {
        fs::write(stage.folder().join(name), text).expect("the scratch folder is writable");
    }
    let wanted = std::env::var("PORTOLAN_COREFILES").unwrap_or_default();
    let mut problems = Vec::new();
    for corefile in COREFILES.iter().filter(|corefile| corefile.name.contains(&wanted)) {
        problems.extend(differences(stage, corefile));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Serves a Corefile by both programs. Returns the differences that are not explained.
fn differences(stage: &Stage, served: &ServedCorefile) -> Vec<String> {
    let kubeconfig = stage.plane.kubeconfig("portolan", stage.plane.server.address().port());
    let paths = SERVERS.map(|address| {
        let path = stage.folder().join(format!("Corefile-{address}"));
        let lines = served.lines.replace("FOLDER", &stage.folder().to_string_lossy());
        let lines = lines.replace("KUBECONFIG", &kubeconfig.to_string_lossy());
        let text = format!(".:53 {{\nbind {address}\nready {address}:8181\nerrors\n{lines}\n}}\n");
        fs::write(&path, text).expect("the scratch folder is writable");
        path
    });
    let coredns = start_coredns(stage.folder(), &paths[0]);
    let portolan = stage.run(&["dns", "-conf", &paths[1].to_string_lossy()], &[]);
    for address in SERVERS {
        let ready = SocketAddr::new(address.parse().expect("an address"), 8181);
        wait::until(&format!("{}: {address} is ready", served.name), SOON, || {
            match http::get(ready, "localhost", "/ready") {
                Ok(response) if response.status == 200 => Ok(()),
                Ok(response) => Err(format!("{} {}\n{}", response.status, response.text(), portolan.log())),
                Err(error) => Err(format!("{error}\n{}\n{}", coredns.log(), portolan.log())),
            }
        });
    }
    let servers = SERVERS.map(|address| SocketAddr::new(address.parse().expect("an address"), 53));
    for server in servers {
        // The page may be there before the port.
        wait::until(&format!("{}: {server} answers", served.name), SOON, || {
            DnsClient(server)
                .query(Transport::Udp, served.names[0], RecordType::A)
                .map_err(|error| error.to_string())
        });
    }
    let count =
        std::env::var("PORTOLAN_QUERIES").ok().and_then(|count| count.parse().ok()).unwrap_or(QUERIES);
    let mut generator = QueryGenerator::new(served.names, 0x5eed_0000 + served.name.len() as u64);
    let found = compare(servers, &mut generator, count, comparable);
    let (answered, found) = found.unwrap_or_else(|error| panic!("{}: {error}", served.name));
    let (mut explained, mut unexplained) =
        (BTreeMap::<&str, usize>::new(), BTreeMap::<String, (usize, String)>::new());
    for difference in &found {
        match common(difference).or_else(|| (served.explain)(difference)) {
            Some(why) => *explained.entry(why).or_default() += 1,
            None => {
                let ReplyDifference { query, replies: [coredns, portolan] } = difference;
                let key = format!("{} {}", query.name.to_lowercase(), query.qtype);
                let text = format!("{}: {query}\nCoreDNS:\n{coredns}Portolan:\n{portolan}", served.name);
                unexplained.entry(key).or_insert((0, text)).0 += 1;
            }
        }
    }
    eprintln!(
        "{}: {count} queries, {answered} answered by both, {} differences, explained {explained:?}",
        served.name,
        found.len()
    );
    portolan.stop();
    coredns.stop();
    unexplained.into_values().take(12).map(|(times, text)| format!("{times} × {text}")).collect()
}

fn start_coredns(folder: &Path, corefile: &Path) -> Process {
    let mut program =
        Command::new(programs::coredns().expect("it was built before the namespace was entered"));
    program.args(["-conf", &corefile.to_string_lossy()]).current_dir(folder);
    Process::start("coredns", program, folder)
}
