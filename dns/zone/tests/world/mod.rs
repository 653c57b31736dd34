//! Test support: a cluster from a few lines of text, and answers as text.

use std::net::IpAddr;
use std::sync::Arc;

use cluster::*;
use dns_wire::{Name, Query, Reply};
use dns_zone::{Zone, ZoneIndex, ZoneOptions, ZoneVerdict};
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;

/// Parses a cluster, one object per line:
///
/// ```text
/// namespace shop stage=prod
/// service   shop/web 10.96.0.1,fd00::1 http/tcp/80 dns/udp/53
/// service   shop/heads None
/// service   shop/edge 10.96.0.2 http/tcp/80 >192.0.2.1 >lb.example.org
/// service   shop/ext -> example.org
/// slice     shop/web-1 web http/tcp/8080 : 10.244.0.1 10.244.0.2=hostname 10.244.0.3~pod !10.244.0.4 10.244.0.5@zone
/// pod       shop/web-0 10.244.0.1 fd00::1
/// import    shop/web 10.97.0.1 http/tcp/80
/// slice     shop/web-2 [web@east] http/tcp/8080 : 10.1.0.1
/// names     shop/web-3 web http/tcp/8080 : example.org example.net=hostname
/// ```
///
/// `!` marks an endpoint that is not ready. An import has the same fields as a service; `[import@cluster]` instead of a
/// service name makes a slice of that import.
pub(crate) fn events(text: &str) -> Vec<Event> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| Event::Apply(object(line).unwrap_or_else(|| panic!("{line:?}")))).collect()
}

fn object(line: &str) -> Option<Object> {
    let mut words = line.split_whitespace();
    let (kind, key) = (words.next()?, words.next()?);
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    let key = Key::new(namespace, name);
    Some(match kind {
        "namespace" => {
            let labels = words.filter_map(|word| word.split_once('='));
            let labels = labels.map(|(name, value)| (name.into(), value.into())).collect();
            Object::Namespace(Arc::new(Namespace { key, labels }))
        }
        "service" | "import" => {
            let reach = match words.next()? {
                "None" => ServiceKind::Headless,
                "->" => ServiceKind::ExternalName(words.next()?.into()),
                ips => ServiceKind::ClusterIp(ips.split(',').filter_map(|ip| ip.parse().ok()).collect()),
            };
            let port = |(name, protocol, port): (CompactString, Protocol, u16)| ServicePort {
                name,
                protocol,
                port,
                target: CompactString::default(),
            };
            let (external, ports): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with('>'));
            let external = external.iter().map(|word| word[1..].into()).collect();
            let ports = ports.into_iter().map(|word| port(self::port(word).expect(word))).collect();
            if kind == "service" {
                Object::Service(Arc::new(Service {
                    key,
                    kind: reach,
                    ports,
                    external,
                    prefers_own_zone: false,
                }))
            } else {
                Object::ServiceImport(Arc::new(ServiceImport { key, kind: reach, ports }))
            }
        }
        "slice" | "names" => {
            let owner = words.next()?;
            let import = owner.strip_prefix('[').and_then(|owner| owner.strip_suffix(']')?.split_once('@'));
            let service = if import.is_none() { owner.into() } else { CompactString::default() };
            let import = import.map(|(service, cluster)| {
                Box::new(Import { service: service.into(), cluster: cluster.into() })
            });
            let ports = words.by_ref().take_while(|word| *word != ":").map(|word| {
                let (name, protocol, port) = port(word).expect(word);
                EndpointPort { name, protocol, port }
            });
            let ports = ports.collect();
            let mut zones = Vec::new();
            let (mut endpoints, mut aliases) = (Vec::new(), Vec::new());
            for word in words {
                match kind {
                    "slice" => endpoints.push(endpoint(word, &mut zones)),
                    _ => {
                        let (name, hostname) =
                            word.split_once('=').map_or((word, None), |(name, host)| (name, Some(host)));
                        aliases.push(FqdnEndpoint { name: name.into(), hostname: hostname.map(Into::into) });
                    }
                }
            }
            Object::EndpointSlice(Arc::new(EndpointSlice {
                key,
                service,
                import,
                ports,
                endpoints: endpoints.into(),
                aliases: aliases.into(),
                zones: zones.into(),
            }))
        }
        "pod" => {
            let addresses = words.map(|word| word.parse().expect(word)).collect();
            Object::Pod(Arc::new(Pod { key, addresses }))
        }
        _ => return None,
    })
}

fn port(word: &str) -> Option<(CompactString, Protocol, u16)> {
    let mut parts = word.split('/');
    let (name, protocol, number) = (parts.next()?, parts.next()?, parts.next()?);
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => Protocol::Sctp,
    };
    Some((name.into(), protocol, number.parse().ok()?))
}

fn endpoint<'a>(word: &'a str, zones: &mut Vec<CompactString>) -> Endpoint<'a> {
    let (ready, word) = word.strip_prefix('!').map_or((true, word), |word| (false, word));
    let (word, zone) = word.split_once('@').map_or((word, None), |(word, zone)| (word, Some(zone)));
    let (word, pod) = word.split_once('~').map_or((word, None), |(word, pod)| (word, Some(pod)));
    let (address, hostname) = word.split_once('=').map_or((word, None), |(word, name)| (word, Some(name)));
    let zone = zone.map_or(0, |zone| {
        zones.push(zone.into());
        zones.len() as u8
    });
    let addresses = [address.parse().expect(word)].into_iter().collect();
    Endpoint {
        addresses,
        ready,
        hostname: hostname.map(Into::into),
        pod: pod.map(Into::into),
        zone,
        hints: Default::default(),
    }
}

/// Options for `cluster.local` and all reverse zones.
pub(crate) fn options() -> ZoneOptions {
    let zones = ["cluster.local", "in-addr.arpa", "ip6.arpa"];
    ZoneOptions::new(zones.iter().map(|zone| zone.parse().expect("a name")).collect())
}

/// The zone of a completely listed cluster. Its last change was at 1499347823.
pub(crate) fn zone(options: ZoneOptions, text: &str) -> Arc<Zone> {
    unsynced(options, events(text).into_iter().chain(Kind::ALL.map(Event::Synced)))
}

/// The zone after these events.
pub(crate) fn unsynced(options: ZoneOptions, events: impl IntoIterator<Item = Event>) -> Arc<Zone> {
    let mut cache = Cache::default();
    let current = cache.project(ZoneIndex::new(options));
    cache.apply(events, 1_499_347_823);
    current.load_full()
}

/// Answers a query and decodes the packet with hickory-proto.
pub(crate) fn ask(zone: &Zone, own: &[IpAddr], name: &str, rtype: &str) -> (ZoneVerdict, Vec<String>) {
    ask_with(&|query, reply| zone.answer(query, own, reply), name, rtype)
}

/// Fills the reply to a query.
pub(crate) type Answering<'a> = &'a dyn Fn(&Query, &mut Reply) -> ZoneVerdict;

/// As [`ask`], with a function that answers.
pub(crate) fn ask_with(answering: Answering<'_>, name: &str, rtype: &str) -> (ZoneVerdict, Vec<String>) {
    let name: Name = name.parse().expect(name);
    let number = match rtype.strip_prefix("TYPE") {
        Some(number) => number.parse().expect(rtype),
        None => rtype.parse::<RecordType>().expect(rtype).into(),
    };
    let query = Query::new(7, &name, number);
    let mut reply = Reply::default();
    let verdict = answering(&query, &mut reply);
    let mut packet = vec![0; 65535];
    let length = reply.encode(&query, 65535, &mut packet);
    let message = Message::from_vec(&packet[..length]).expect("others read it");
    let expected = !matches!(verdict, ZoneVerdict::NotMine | ZoneVerdict::Refused);
    assert_eq!(message.metadata.authoritative, expected, "AA of {name} {rtype}");
    let mut lines = vec![format!("{:?}", message.metadata.response_code)];
    lines.extend(message.answers.iter().map(ToString::to_string));
    lines.extend(message.authorities.iter().map(|record| format!("! {record}")));
    lines.extend(message.additionals.iter().map(|record| format!("+ {record}")));
    (verdict, lines)
}

/// Compares a zone's answers with a table: a line `name TYPE RCODE` and below it, indented, the records in zone file form, those of
/// the authority section after `!` and of the additional section after `+`; `! SOA` is the SOA of `cluster.local`, `! SET`
/// that of `clusterset.local`.
pub(crate) fn check(zone: &Zone, own: &[IpAddr], table: &str) {
    check_with(&|query, reply| zone.answer(query, own, reply), SOA, table);
}

/// As [`check`], with a function that answers and the SOA record of its zone.
pub(crate) fn check_with(answering: Answering<'_>, soa: &str, table: &str) {
    let lines: Vec<&str> = table.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut at = 0;
    let mut wrong = String::new();
    while at < lines.len() {
        let head: Vec<&str> = lines[at].split_whitespace().collect();
        let [name, rtype, rcode] = head[..] else { panic!("no case: {:?}", lines[at]) };
        at += 1;
        let mut expected = vec![rcode.to_owned()];
        while at < lines.len() && lines[at].starts_with("    ") {
            let line = lines[at].split_whitespace().collect::<Vec<_>>().join(" ");
            let set = soa.replace("cluster.local", "clusterset.local");
            expected.push(line.replace("! SOA", soa).replace("! SET", &set));
            at += 1;
        }
        let (_, got) = ask_with(answering, name, rtype);
        let got: Vec<String> =
            got.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        if got != expected {
            wrong += &format!("{name} {rtype}\n  expected {expected:#?}\n  got {got:#?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

const SOA: &str =
    "! cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1499347823 7200 1800 86400 5";
