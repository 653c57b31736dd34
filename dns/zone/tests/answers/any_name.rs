//! Laws that hold for any name.

use dns_wire::{Name, Query, Reply, Section};
use dns_zone::{PodMode, ZoneOptions, ZoneVerdict};
use hickory_proto::op::Message;
use proptest::prelude::*;

use crate::CLUSTER;
use crate::world::{options, zone};

/// A name made of labels that the zone uses and of random bytes.
fn any_name() -> impl Strategy<Value = Name> {
    let words = "web heads state ext twice shop kube-system svc pod cluster local dns-version ns dns _http _tcp _zone pin \
                 prefer state-0 dup-name 172-0-0-2 fd00-244--1 10-1-2-3 -- in-addr ip6 arpa 0 10 96 1 f"
        .split_whitespace()
        .map(|word| word.as_bytes().to_vec())
        .collect::<Vec<_>>();
    let label = prop_oneof![
        4 => proptest::sample::select(words),
        1 => proptest::collection::vec(any::<u8>(), 1..64),
    ];
    let ends = [
        "",
        "svc.cluster.local",
        "shop.svc.cluster.local",
        "_zone.heads.shop.svc.cluster.local",
        "in-addr.arpa",
    ];
    (proptest::collection::vec(label, 0..6), proptest::sample::select(ends.to_vec())).prop_filter_map(
        "a name that is too long",
        |(labels, end)| {
            let mut wire: Vec<u8> =
                labels.iter().flat_map(|label| [&[label.len() as u8], label.as_slice()].concat()).collect();
            wire.extend_from_slice(end.parse::<Name>().ok()?.wire());
            Name::from_wire(&wire)
        },
    )
}

proptest! {
    #[test]
    fn any_name_is_answered_denied_or_left_to_others(
        name in any_name(),
        qtype in proptest::sample::select(vec![1_u16, 2, 5, 6, 12, 16, 28, 33, 252, 255]),
        zonal in any::<bool>(),
        root in any::<bool>(),
    ) {
        let mut options = ZoneOptions { pods: PodMode::Insecure, zonal, ..options() };
        options.zones.extend(root.then_some(Name::ROOT));
        let (zone, query) = (zone(options, CLUSTER), Query::new(7, &name, qtype));
        let mut reply = Reply::default();
        let verdict = zone.answer(&query, &["10.244.5.1".parse().unwrap()], &mut reply);
        let count = |section| reply.section(section).count();
        let (answers, soa) = (count(Section::Answer), count(Section::Authority));
        let held = match verdict {
            ZoneVerdict::NotMine => reply.rcode == 0 && reply.records().is_empty(),
            ZoneVerdict::Refused => reply.rcode == 5 && reply.records().is_empty(),
            ZoneVerdict::NameError => reply.rcode == 3 && (answers, soa) == (0, 1),
            ZoneVerdict::Answered => reply.rcode == 0 && (answers > 0) != (soa > 0),
            ZoneVerdict::Chase => reply.rcode == 0 && answers > 0 && soa == 0,
            ZoneVerdict::NotSynced => false,
        };
        prop_assert!(held, "{name} {qtype}: {verdict:?}, {answers} answers, {soa} SOA");
        let mut packet = vec![0; 65535];
        for limit in [512, 65535] {
            let length = reply.encode(&query, limit, &mut packet);
            let message = Message::from_vec(&packet[..length]).expect("others read it");
            // A record set has no duplicates (RFC 2181 §5).
            for (i, record) in message.answers.iter().enumerate() {
                prop_assert!(!message.answers[..i].contains(record), "{name} {qtype}: {record} twice");
            }
        }
    }
}
