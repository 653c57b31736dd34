//! `hosts`: the answers of CoreDNS, as data, and the file while it changes.
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Event, Key, Kind, Node, Object};
use dns_chain::run;
use dns_chain::{Answer, Request, Servers, Transport};
use dns_wire::codes::{rcode, rtype};
use dns_wire::{Name, Query, Section};
use support::{EmptyCluster, build, parse};
use telemetry::metrics::Registry;
use tokio::runtime::Handle;

/// A configuration of `hosts/answers.txt`.
struct Configuration {
    name: &'static str,
    /// `FILE` is the path of the hosts file.
    corefile: &'static str,
    hosts: &'static str,
    ttl: u32,
}

const EXAMPLE: &str = "127.0.0.1 localhost localhost.domain
::1 localhost localhost.domain
10.0.0.1 example.org
::FFFF:10.0.0.2 example.com
10.0.0.3 fallthrough-example.org
1.2.3.4 aa.example.com
5.6.7.8 *.apps.example.com
reload 5s
timeout 3600
";

const CONFIGURATIONS: &[Configuration] = &[
    Configuration { name: "example", corefile: ". {\nhosts FILE\n}", hosts: EXAMPLE, ttl: 3600 },
    Configuration {
        name: "example-fall",
        corefile: ". {\nhosts FILE {\nfallthrough\n}\nwhoami\n}",
        hosts: EXAMPLE,
        ttl: 3600,
    },
    Configuration {
        name: "fall-unsup",
        corefile: ". {\nhosts FILE {\nfallthrough\nfallthrough_unsupported\n}\nwhoami\n}",
        hosts: EXAMPLE,
        ttl: 3600,
    },
    Configuration {
        name: "fall-unsup-net",
        corefile: ". {\nhosts FILE {\nfallthrough example.net\nfallthrough_unsupported\n}\nwhoami\n}",
        hosts: EXAMPLE,
        ttl: 3600,
    },
    Configuration {
        name: "mixed",
        corefile: ". {\nhosts FILE\n}",
        hosts: "255.255.255.255\tbroadcasthost
\t127.0.0.2\todin
\t127.0.0.3\todin  # a remark after the entry
\t::2             odin
\t127.1.1.1\tthor
\t# a line of remarks
\t127.1.1.2\tullr ullrhost
\tfe80::1%lo0\tlocalhost
\t123.123.123\tloki
\t321.321.321.321
",
        ttl: 3600,
    },
    Configuration { name: "one", corefile: ". {\nhosts FILE\n}", hosts: "127.0.0.2  odin", ttl: 3600 },
    Configuration {
        name: "v4",
        corefile: ". {\nhosts FILE\n}",
        hosts: "# remark\n\t#\n\n\t127.0.0.1\tlocalhost\t# after a tab\n\t127.0.0.2\tlocalhost       # after blanks\n
\t127.0.0.3\tlocalhost\tlocalhost.localdomain\n",
        ttl: 3600,
    },
    Configuration {
        name: "v6",
        corefile: ". {\nhosts FILE\n}",
        hosts: "\t::1\t\t\tlocalhost\t# after a tab
\tfe80:0000:0000:0000:0000:0000:0000:0001\t\tlocalhost
\tfe80:0000:0000:0000:0000:0000:0000:0002%lo0\tlocalhost
\tfe80::3%lo0\t\tlocalhost\tlocalhost.localdomain\n",
        ttl: 3600,
    },
    Configuration {
        name: "case",
        corefile: ". {\nhosts FILE\n}",
        hosts: "127.0.0.1\tPreserveMe\tPreserveMe.local\n\t\t::1\t\tPreserveMe\tPreserveMe.local\n",
        ttl: 3600,
    },
    Configuration {
        name: "wild",
        corefile: ". {\nhosts FILE\n}",
        hosts: "127.0.0.53 *.example.org
127.0.1.52 *.intern.example.org
127.0.0.54 foo.example.org
192.168.33.10 *.example.com
192.168.33.11 a.example.com
192.168.33.12 b.example.com
",
        ttl: 3600,
    },
    Configuration {
        name: "inline",
        corefile: "example.org {\nhosts no-such-file example.org {\n10.0.0.1 example.org\nfallthrough\n}\n}",
        hosts: "",
        ttl: 3600,
    },
    Configuration {
        name: "options",
        corefile: ". {
            hosts FILE example.org {
                10.0.0.9 inline.example.org
                10.0.0.9 outside.example.net
                2001:db8::9 inline.example.org
                ttl 60
                no_reverse
                fallthrough
            }
            whoami
        }",
        hosts: "10.0.0.8 file.example.org\n10.0.0.7 inline.example.org\n10.0.0.6 file.example.net\n",
        ttl: 60,
    },
];

#[tokio::test]
async fn answers_are_those_of_coredns() {
    let folder = tempfile::tempdir().unwrap();
    let (mut servers, mut wrong, mut rows) = (None, Vec::new(), 0);
    for line in include_str!("hosts/answers.txt").lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let configuration = CONFIGURATIONS.iter().find(|known| known.name == name).expect(name);
            let path = folder.path().join(name);
            std::fs::write(&path, configuration.hosts).unwrap();
            let mut built = build_at(configuration.corefile, &path, &Registry::new());
            let guards = built.begin().await.unwrap();
            servers = Some((configuration, built, guards));
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(name), Some(kind)) = (words.next(), words.next()) else { continue };
        if name == "#" {
            continue;
        }
        rows += 1;
        let (configuration, servers, _) = servers.as_ref().expect("a row follows a configuration");
        let wanted: Vec<&str> = words.collect();
        let found = ask(servers, &question(name), qtype(kind), configuration.ttl);
        if found != wanted.join(" ") {
            wrong.push(format!(
                "[{}] {name} {kind}: {found}, and not {}",
                configuration.name,
                wanted.join(" ")
            ));
        }
    }
    assert!(rows > 80, "{rows} rows are not the table");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn names_outside_the_zones_go_to_the_next_plugin_and_addresses_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts");
    std::fs::write(&path, "10.0.0.1 a.example.org\n").unwrap();
    let mut servers = build_at(". {\nhosts FILE example.org\nwhoami\n}", &path, &Registry::new());
    let _guards = servers.begin().await.unwrap();
    for (name, kind, wanted) in [
        ("b.example.org", rtype::A, "SERVFAIL"),
        ("b.example.net", rtype::A, "next"),
        ("10.0.0.1", rtype::PTR, "a.example.org."),
        ("::ffff:10.0.0.1", rtype::PTR, "a.example.org."),
        ("10.0.0.2", rtype::PTR, "next"),
        ("a.example.org", rtype::PTR, "next"),
    ] {
        assert_eq!(ask(&servers, &question(name), kind, 3600), wanted, "{name}");
    }
}

#[tokio::test]
async fn the_names_of_nodes_are_served_beside_entries() {
    let cluster = Arc::new(EmptyCluster::default());
    let text = ". {\nhosts {\n10.0.0.9 server-1\nnodes\nttl 60\nfallthrough\n}\nwhoami\n}";
    let context = support::context(cluster.clone(), Handle::current(), &Registry::new());
    let mut servers = dns_chain::build(&parse(text).unwrap(), &context).unwrap();
    let node = |name: &str, address: &str| {
        let addresses = [address.parse().unwrap()].into_iter().collect();
        Event::Apply(Object::Node(Arc::new(Node {
            key: Key::cluster(name),
            addresses,
            hostnames: Default::default(),
        })))
    };
    let change = |events| cluster.cache.lock().unwrap().apply(events, 1);
    change(vec![node("server-1", "10.0.0.21"), node("agent-1", "fd00::22"), Event::Synced(Kind::Node)]);
    let _guards = servers.begin().await.unwrap();
    for (name, kind, wanted) in [
        ("server-1", rtype::A, "10.0.0.9 10.0.0.21"),
        ("server-1", rtype::AAAA, "none"),
        ("AGENT-1", rtype::AAAA, "fd00::22"),
        ("agent-1", rtype::MX, "none"),
        ("agent-2", rtype::A, "next"),
        ("10.0.0.21", rtype::PTR, "server-1."),
        ("fd00::22", rtype::PTR, "agent-1."),
    ] {
        assert_eq!(ask(&servers, &question(name), kind, 60), wanted, "{name}");
    }
    change(vec![node("agent-1", "fd00::23"), Event::Remove(Kind::Node, Key::cluster("server-1"))]);
    assert_eq!(ask(&servers, &question("agent-1"), rtype::AAAA, 60), "fd00::23");
    assert_eq!(ask(&servers, &question("server-1"), rtype::A, 60), "10.0.0.9");
    assert_eq!(ask(&servers, &question("10.0.0.21"), rtype::PTR, 60), "next");
}

#[test]
fn corefiles_are_accepted_as_by_coredns() {
    for (lines, accepted) in [
        ("hosts", true),
        ("hosts another-file", true),
        ("hosts /etc/hosts miek.nl.", true),
        ("hosts /etc/hosts miek.nl. pun.gent.", true),
        ("hosts {\nfallthrough\n}", true),
        ("hosts another-file {\nfallthrough\n}", true),
        ("hosts /etc/hosts miek.nl {\nfallthrough\n}", true),
        ("hosts /etc/hosts miek.nl 10.0.0.9/8 {\nfallthrough\n}", true),
        ("hosts {\nfallthrough\n}\nhosts {\nfallthrough\n}", false),
        ("hosts no-such-file example.org {\n10.0.0.1 example.org\nfallthrough\n}", true),
        ("hosts no-such-file example.org {\n10.0.0.1 example.org\n}", true),
        ("hosts no-such-file example.org {\nfallthrough\n10.0.0.1 example.org\n}", false),
        ("hosts {\nfallthrough\nfallthrough_unsupported\n}", true),
        ("hosts {\nfallthrough_unsupported\nfallthrough example.org\n}", true),
        ("hosts {\nfallthrough_unsupported\n}", false),
        ("hosts {\nfallthrough\nfallthrough_unsupported example.org\n}", false),
        ("hosts {\nttl 65535 more\nno_reverse more\nreload 0\n}", true),
        ("hosts {\nttl 0\n}", false),
        ("hosts {\nttl 65536\n}", false),
        ("hosts {\nttl\n}", false),
        ("hosts {\nreload\n}", false),
        ("hosts {\nreload 5\n}", false),
        ("hosts {\nreload -1s\n}", false),
        ("hosts {\nan odd line\n}", true),
        ("hosts /", true),
        ("hosts /etc/hosts/below", false),
    ] {
        let built = build(&format!(".:53 {{\n{lines}\n}}"));
        assert_eq!(built.is_ok(), accepted, "{lines}: {:?}", built.err());
    }
}

#[test]
fn a_line_that_is_no_entry_is_a_warning_and_a_line_after_fallthrough_an_error() {
    let (servers, _) = build(". {\nhosts {\n10.0.0.1 a\ntll 60\nttl 60 s\nfallthrough\n}\n}").unwrap();
    let warnings: Vec<String> = servers.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for (warning, part) in warnings.iter().zip([
        "Corefile:4 - hosts: \"tll\" is not an IP address: the line is ignored; ttl is a property",
        "Corefile:5 - hosts: ttl takes no \"s\": this is ignored",
    ]) {
        assert!(warning.contains(part), "{warning}");
    }
    let errors = build(". {\nhosts {\nfallthrough\ntll 60\n}\n}").err().unwrap();
    assert!(
        errors.contains("Corefile:4 - Error during parsing: unknown property 'tll'; wanted ttl?"),
        "{errors}"
    );
}

#[tokio::test]
async fn a_changed_file_is_served_and_a_removed_one_keeps_its_entries() {
    let folder = tempfile::tempdir().unwrap();
    let (path, metrics) = (folder.path().join("hosts"), Registry::new());
    let corefile = ". {\nhosts FILE {\n10.0.0.9 inline\nreload 5ms\n}\n}";
    let mut servers = build_at(corefile, &path, &metrics);
    let guards = servers.begin().await.unwrap();
    assert_eq!(ask(&servers, &question("a"), rtype::A, 3600), "SERVFAIL", "the file does not exist");
    assert_eq!(ask(&servers, &question("inline"), rtype::A, 3600), "10.0.0.9");

    std::fs::write(&path, "10.0.0.1 a\n").unwrap();
    becomes(&servers, "a", "10.0.0.1").await;
    // As a ConfigMap volume is updated: another file of the same size takes the name.
    let next = folder.path().join("next");
    std::fs::write(&next, "10.0.0.2 a\n").unwrap();
    std::fs::rename(&next, &path).unwrap();
    becomes(&servers, "a", "10.0.0.2").await;
    let page = metrics.text();
    let label = path.display();
    assert!(page.contains(&format!("coredns_hosts_entries{{hostsfile=\"{label}\"}} 4\n")), "{page}");
    assert!(page.contains("coredns_hosts_reload_timestamp_seconds 1"), "{page}");

    std::fs::remove_file(&path).unwrap();
    assert_eq!(ask(&servers, &question("a"), rtype::A, 3600), "10.0.0.2");
    std::fs::write(&path, "10.0.0.3 a\n").unwrap();
    becomes(&servers, "a", "10.0.0.3").await;
    drop(guards);
}

/// Waits until a name has that answer.
async fn becomes(servers: &Servers, name: &str, wanted: &str) {
    let answered = async {
        while ask(servers, &question(name), rtype::A, 3600) != wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answered).await.expect(wanted);
}

fn build_at(corefile: &str, hosts: &Path, metrics: &Registry) -> Servers {
    let corefile = parse(&corefile.replace("FILE", &hosts.display().to_string())).unwrap();
    let context = support::context(Arc::new(EmptyCluster::default()), Handle::current(), metrics);
    dns_chain::build(&corefile, &context).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The answer in the words of `hosts/answers.txt`.
fn ask(servers: &Servers, name: &Name, qtype: u16, ttl: u32) -> String {
    let mut request = Request::new(Transport::Udp, ([127, 0, 0, 1], 53).into());
    request.query = Query::new(1, name, qtype);
    let (mut answer, mut text) = (Answer::default(), String::new());
    let pending = run::answer(&servers.listeners[0].routes, &mut request, &mut answer, |_| ());
    assert!(pending.is_none(), "it is answered from memory");
    let reply = &answer.reply;
    match reply.rcode {
        rcode::NOERROR => assert!(reply.authoritative, "{name}"),
        rcode::SERVFAIL => return "SERVFAIL".to_owned(),
        code => return code.to_string(),
    }
    if answer.by == "whoami" {
        return "next".to_owned();
    }
    assert_eq!(answer.by, "hosts");
    assert_eq!(reply.records().len(), reply.section(Section::Answer).count(), "there are only answers");
    for record in reply.records() {
        assert_eq!((record.rtype, record.ttl), (qtype, ttl), "{name}");
        assert_eq!(reply.owner(record, &request.query), *name);
        let data = reply.rdata(record);
        text += &match qtype {
            rtype::A => Ipv4Addr::from(<[u8; 4]>::try_from(data).unwrap()).to_string(),
            rtype::AAAA => Ipv6Addr::from(<[u8; 16]>::try_from(data).unwrap()).to_string(),
            _ => reply.target(record, &request.query).unwrap().to_string(),
        };
        text.push(' ');
    }
    if text.is_empty() { "none".to_owned() } else { text.trim_end().to_owned() }
}

/// The name of a row. An address is its reverse name.
fn question(text: &str) -> Name {
    let reversed = match text.parse() {
        Ok(IpAddr::V4(ip)) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(IpAddr::V6(ip)) => {
            let nibbles = (0..32).map(|at| format!("{:x}.", ip.to_bits() >> (4 * at) & 0xf));
            nibbles.collect::<String>() + "ip6.arpa"
        }
        Err(_) => text.to_owned(),
    };
    reversed.parse().unwrap()
}

fn qtype(text: &str) -> u16 {
    let known =
        [("A", rtype::A), ("AAAA", rtype::AAAA), ("PTR", rtype::PTR), ("MX", rtype::MX), ("TXT", rtype::TXT)];
    known.iter().find(|(name, _)| *name == text).expect(text).1
}
