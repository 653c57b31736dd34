//! The properties of `forward` as the reference lists them.

use crate::setup::PluginOption;

/// Properties with exactly one argument. As in CoreDNS, further words on the line are the next property.
pub(super) const ONE_WORD_PROPERTIES: &[&str] = &[
    "policy",
    "max_fails",
    "expire",
    "max_age",
    "max_idle_conns",
    "read_timeout",
    "max_connect_attempts",
    "max_concurrent",
    "tls_servername",
    "doh_method",
    "source_address",
];

/// The options as the reference shows them.
pub(super) const OPTIONS: &[PluginOption] = &[
    PluginOption { syntax: "FROM", default: "", about: "The zone whose queries are forwarded." },
    PluginOption {
        syntax: "TO…",
        default: "",
        about: "Upstreams, 15 at most: `ADDRESS[:PORT]`, `dns://`, `tls://`, `https://`, `quic://`, a file such as `/etc/resolv.conf`, whose changes are followed (every 5 s), or a host name, which is resolved once. `%NAME` after an address is the name in its certificate.",
    },
    PluginOption { syntax: "except NAME…", default: "", about: "Names below FROM that are not forwarded." },
    PluginOption {
        syntax: "policy random|round_robin|sequential",
        default: "random",
        about: "The order in which upstreams are asked.",
    },
    PluginOption {
        syntax: "health_check DURATION [no_rec] [domain NAME]",
        default: "500ms",
        about: "The pause between checks of an upstream that failed. `no_rec` clears the RD bit; `domain` is the name that is asked for (the root by default).",
    },
    PluginOption {
        syntax: "max_fails NUMBER",
        default: "2",
        about: "An upstream with more failed checks in a row is down and is not asked. 0 never checks.",
    },
    PluginOption { syntax: "expire DURATION", default: "10s", about: "How long an idle connection is kept." },
    PluginOption {
        syntax: "max_age DURATION",
        default: "0s",
        about: "How long a connection is used at all; 0s has no limit.",
    },
    PluginOption {
        syntax: "max_idle_conns NUMBER",
        default: "0",
        about: "Idle connections kept for each upstream; 0 has no limit.",
    },
    PluginOption {
        syntax: "read_timeout DURATION",
        default: "2s",
        about: "How long an upstream may take to answer.",
    },
    PluginOption {
        syntax: "max_connect_attempts NUMBER",
        default: "2 for each upstream",
        about: "Attempts for one query; 0 has no limit.",
    },
    PluginOption { syntax: "force_tcp", default: "", about: "Uses TCP also for queries that came over UDP." },
    PluginOption {
        syntax: "prefer_udp",
        default: "",
        about: "Uses UDP also for queries that came over TCP, and TCP if the reply is truncated.",
    },
    PluginOption {
        syntax: "randomize_case",
        default: "",
        about: "Of Portolan: sends queries over UDP with a random letter case, which a forged reply has to guess (\"0x20\"). A reply that does not repeat it is not used: the query is sent again over TCP. An upstream that changes the letter case over TCP, too, or does not answer there, gets names as clients write them for an hour. Clients see their own letter case.",
    },
    PluginOption {
        syntax: "max_concurrent NUMBER",
        default: "0",
        about: "Queries in progress; further ones are REFUSED. 0 has no limit of its own.",
    },
    PluginOption {
        syntax: "next RCODE…",
        default: "",
        about: "Replies with these codes pass the query to the next `forward` of the block.",
    },
    PluginOption { syntax: "next_on_nodata", default: "", about: "The same for NODATA." },
    PluginOption {
        syntax: "failover RCODE…",
        default: "",
        about: "A reply with one of these codes is not passed on: the next upstream is asked, up to the last.",
    },
    PluginOption {
        syntax: "failfast_all_unhealthy_upstreams",
        default: "",
        about: "Answers SERVFAIL at once while all upstreams are down. By default one of them is asked all the same.",
    },
    PluginOption {
        syntax: "tls [CERT KEY] [CA]",
        default: "the authorities of the system",
        about: "Files of the client certificate and of the authority for `tls://`, `https://` and `quic://`.",
    },
    PluginOption {
        syntax: "tls_servername NAME",
        default: "",
        about: "The name in the certificates of the upstreams.",
    },
    PluginOption { syntax: "doh_method GET|POST", default: "POST", about: "The method for `https://`." },
    PluginOption { syntax: "source_address IP", default: "", about: "The local address of the connections." },
    PluginOption {
        syntax: "resolver IP[:PORT]…",
        default: "the resolver of the system",
        about: "Servers that resolve host names in TO.",
    },
];

/// The names of all properties.
pub(super) const KNOWN: &[&str] = &[
    "except",
    "policy",
    "health_check",
    "max_fails",
    "expire",
    "max_age",
    "max_idle_conns",
    "read_timeout",
    "max_connect_attempts",
    "force_tcp",
    "prefer_udp",
    "randomize_case",
    "max_concurrent",
    "next",
    "next_on_nodata",
    "failover",
    "failfast_all_unhealthy_upstreams",
    "tls",
    "tls_servername",
    "doh_method",
    "source_address",
    "resolver",
];
