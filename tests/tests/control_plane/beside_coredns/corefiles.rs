//! The Corefiles that CoreDNS and Portolan serve beside each other.

use tests::differential::ReplyDifference;

use super::differences::{
    autopath_difference, cache_difference, cluster_difference, common, dns64_difference, file_difference,
    forward_cache_difference, forward_difference, hosts_difference, rewrite_difference,
};
use super::names::{CLUSTER_NAMES, UPSTREAM_NAMES, ZONE_NAMES};

/// A Corefile, what is asked of it, and which differences are known.
pub(super) struct ServedCorefile {
    pub(super) name: &'static str,
    /// Lines of a block that binds to the server's address. `FOLDER` and `KUBECONFIG` are replaced.
    pub(super) lines: &'static str,
    pub(super) names: &'static [&'static str],
    /// Says why a difference is right; `None` if it is not known.
    pub(super) explain: fn(&ReplyDifference) -> Option<&'static str>,
}

/// Files in the test's folder.
pub(super) const FILES: [(&str, &str); 4] = [
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

/// What both programs serve, one after the other.
pub(super) const COREFILES: &[ServedCorefile] = &[
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
    ServedCorefile {
        name: "forward",
        lines: "forward . UPSTREAM",
        names: UPSTREAM_NAMES,
        explain: forward_difference,
    },
    ServedCorefile {
        name: "forward with options",
        lines: "forward up.test UPSTREAM {\nexcept mx.up.test txt.up.test\nnext NXDOMAIN REFUSED\nnext_on_nodata\nprefer_udp\npolicy sequential\n}
            forward . UPSTREAM {\nforce_tcp\nmax_concurrent 1000\n}",
        names: UPSTREAM_NAMES,
        explain: forward_difference,
    },
    ServedCorefile {
        name: "forward with cache",
        lines: "cache 3600 {\nservfail 10s\n}\nforward . UPSTREAM",
        names: UPSTREAM_NAMES,
        explain: forward_cache_difference,
    },
];
