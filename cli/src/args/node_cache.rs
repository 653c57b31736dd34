//! The command line of `portolan node-cache`: the flags of NodeLocal DNSCache.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};

use super::flag::{FlagValues, switch};
use super::logging::{self, LogArgs};
use crate::command_error::CommandError;

/// Arguments of `portolan node-cache`.
#[derive(Clone, Debug)]
pub struct NodeCacheArgs {
    /// `-localip`: the addresses that the cache listens on.
    pub addresses: Vec<IpAddr>,
    /// `-setupinterface` and `-interfacename`: the interface that gets the addresses; `None` if another program adds them.
    pub interface: Option<String>,
    /// `-skipteardown`: the addresses stay when the process ends.
    pub keeps_addresses: bool,
    /// `-syncinterval`: how often they are checked.
    pub check_interval: Duration,
    /// `-basecorefile`, else `-conf`: the Corefile with or without placeholders.
    pub corefile: PathBuf,
    /// `-upstreamsvc`: the Service whose address replaces `__PILLAR__CLUSTER__DNS__`.
    pub upstream: String,
    /// `-kubednscm`: the mounted ConfigMap with stub domains.
    pub stub_domains: PathBuf,
    /// `-metrics-listen-address`.
    pub metrics: String,
    /// `-log-format` and `-v`.
    pub log: LogArgs,
}

impl NodeCacheArgs {
    /// Reads the arguments from clap's matches.
    ///
    /// # Errors
    /// When an address is not an address of the node's link, or a flag asks for packet filter rules.
    pub fn read(matches: &ArgMatches) -> Result<Self, CommandError> {
        let values = FlagValues(matches);
        for flag in ["setupiptables", "setupebtables"] {
            if values.on(flag, false) {
                return Err(CommandError::usage(format!(
                    "-{flag}=true: this program sets no packet filter rules, so it cannot take over the address of the cluster DNS. Use -{flag}=false, list only \
                     link-local addresses in -localip, and name them in kubelet's clusterDNS"
                )));
            }
        }
        let text = |name: &str, default: &str| {
            matches.get_one::<String>(name).map_or(default, String::as_str).to_owned()
        };
        let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
        let listed = text("localip", "");
        let addresses = listed.split(',').map(str::trim).filter(|word| !word.is_empty()).map(address);
        let addresses: Vec<IpAddr> = addresses.collect::<Result<_, _>>().map_err(CommandError::usage)?;
        if addresses.is_empty() {
            return Err(CommandError::usage(
                "-localip: the address that the cache listens on, such as 169.254.20.10, is missing",
            ));
        }
        let base = path("basecorefile").unwrap_or_else(|| "/etc/coredns/Corefile.base".into());
        let corefile = match path("conf") {
            Some(conf) if !base.exists() => conf,
            _ => base,
        };
        Ok(Self {
            addresses,
            interface: values.on("setupinterface", true).then(|| text("interfacename", "nodelocaldns")),
            keeps_addresses: values.on("skipteardown", false),
            check_interval: interval(&text("syncinterval", "60")).map_err(CommandError::usage)?,
            corefile,
            upstream: text("upstreamsvc", "kube-dns"),
            stub_domains: path("kubednscm").unwrap_or_else(|| "/etc/kube-dns".into()),
            metrics: text("metrics-listen-address", "0.0.0.0:9353"),
            log: LogArgs::read(matches),
        })
    }
}

/// An address of the node's link. Queries to any other address, such as the ClusterIP of the cluster DNS, would be redirected by kube-proxy
/// before they reach the cache.
fn address(word: &str) -> Result<IpAddr, String> {
    let address: IpAddr = word.parse().map_err(|_| format!("-localip: {word:?} is not an IP address"))?;
    let is_local = match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unique_local(),
    };
    if is_local {
        return Ok(address);
    }
    Err(format!(
        "-localip: {address} is not a link-local address (169.254.0.0/16, fe80::/10, fc00::/7). This program sets no packet filter rules, without which kube-proxy \
         redirects queries to a ClusterIP before they reach the cache; leave it out, and name the link-local address in kubelet's clusterDNS"
    ))
}

/// A duration, or a number of seconds.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => config::value::duration(text).map_err(|what| format!("-syncinterval: {what}"))?,
    };
    if interval.is_zero() { Err("-syncinterval: must be positive".to_owned()) } else { Ok(interval) }
}

/// The definition of the command for clap.
pub fn command() -> Command {
    let text = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let path = |name: &'static str| text(name, "FILE").value_parser(clap::value_parser!(PathBuf));
    Command::new("node-cache")
        .about("Run a DNS cache on the node's link-local address; takes the flags of NodeLocal DNSCache")
        .args_override_self(true)
        .after_help(
            "Example, as root with NET_ADMIN in the network of the node:\n  \
             portolan node-cache -localip 169.254.20.10 -conf /etc/coredns/Corefile -upstreamsvc kube-dns-upstream\n\n\
             Flags may have one dash or two.",
        )
        .args([
            text("localip", "ADDRESS,…").help("Link-local addresses to listen on; the Corefile has to bind to them"),
            path("conf").help("Corefile, if -basecorefile does not exist"),
            path("basecorefile").help(
                "Corefile with the placeholders __PILLAR__CLUSTER__DNS__ and __PILLAR__UPSTREAM__SERVERS__ [default: /etc/coredns/Corefile.base]",
            ),
            text("upstreamsvc", "NAME").help("Service whose address replaces __PILLAR__CLUSTER__DNS__ [default: kube-dns]"),
            path("kubednscm").help("Directory of the ConfigMap kube-dns; stub domains in it are refused [default: /etc/kube-dns]"),
            switch(Arg::new("setupinterface").long("setupinterface")).help("Add the addresses to an interface [default: true]"),
            text("interfacename", "NAME").help("Name of the interface [default: nodelocaldns]"),
            text("syncinterval", "SECONDS").help("How often the addresses are checked [default: 60]"),
            switch(Arg::new("skipteardown").long("skipteardown")).help("Leave the addresses when the process ends [default: false]"),
            text("metrics-listen-address", "ADDRESS").help("Address of a page with all metrics [default: 0.0.0.0:9353]"),
            switch(Arg::new("setupiptables").long("setupiptables")).help("Only false is accepted [default: false]"),
            switch(Arg::new("setupebtables").long("setupebtables")).help("Only false is accepted [default: false]"),
            text("health-port", "PORT").hide(true).help("Without effect: it selects packet filter rules"),
            switch(Arg::new("reloadwithsignal").long("reloadwithsignal")).hide(true).help("Without effect: see the plugin reload"),
        ])
        .args(logging::args())
        .args(logging::klog_args())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<NodeCacheArgs, String> {
        let matches = command().try_get_matches_from(line.split_whitespace()).expect(line);
        NodeCacheArgs::read(&matches).map_err(|error| error.message)
    }

    #[test]
    fn flags_of_node_local_dns_cache_are_read() {
        let args = read("node-cache --localip 169.254.20.10,fd00::10 --conf /etc/Corefile --upstreamsvc kube-dns-upstream --setupiptables=false --syncinterval 5").unwrap();
        assert_eq!(
            args.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["169.254.20.10", "fd00::10"]
        );
        assert_eq!((args.interface.as_deref(), args.keeps_addresses), (Some("nodelocaldns"), false));
        assert_eq!((args.check_interval.as_secs(), args.upstream.as_str()), (5, "kube-dns-upstream"));
        assert_eq!(args.corefile, PathBuf::from("/etc/Corefile"), "there is no base");
        let args = read("node-cache --localip 169.254.25.10 --setupinterface=false --skipteardown").unwrap();
        assert_eq!((args.interface, args.keeps_addresses), (None, true));
    }

    #[test]
    fn what_needs_packet_filter_rules_is_refused() {
        for (line, wanted) in [
            ("node-cache", "-localip"),
            ("node-cache --localip 169.254.20.10,10.96.0.10", "10.96.0.10 is not a link-local address"),
            (
                "node-cache --localip 169.254.20.10 --setupiptables",
                "-setupiptables=true: this program sets no packet filter rules",
            ),
            ("node-cache --localip 169.254.20.10 --setupebtables=true", "-setupebtables=true"),
            ("node-cache --localip dns", "\"dns\" is not an IP address"),
            ("node-cache --localip 169.254.20.10 --syncinterval 0", "-syncinterval"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(wanted), "{line}: {error}");
        }
    }
}
