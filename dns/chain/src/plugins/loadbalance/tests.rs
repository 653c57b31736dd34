use std::time::Instant;

use dns_wire::{Owner, Query};

use super::*;
use crate::request::Transport;

fn request() -> Request {
    let mut request = Request::new(Transport::Udp, ([127, 0, 0, 1], 53).into());
    request.query = Query::new(1, &"www.example.org.".parse().unwrap(), rtype::A);
    request.received = Instant::now();
    request
}

fn answer() -> Answer {
    let mut answer = Answer::default();
    let target = b"\x03web\x07example\x03org\0";
    for last in 1..=3 {
        answer.reply.push(Section::Answer, Owner::Name(target), rtype::A, 5, &[10, 0, 0, last]);
    }
    answer.reply.push(Section::Answer, Owner::Question, rtype::CNAME, 5, target);
    answer
}

fn last_octets(answer: &Answer) -> Vec<u8> {
    let addresses = answer.reply.section(Section::Answer).filter(|record| record.rtype == rtype::A);
    addresses.map(|record| answer.reply.rdata(record)[3]).collect()
}

#[test]
fn all_orders_occur_and_the_cname_comes_first() {
    let plugin = LoadBalance { weights: None, prefer: Vec::new() };
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let mut answer = answer();
        plugin.reply(&mut request(), &mut answer);
        assert_eq!(answer.reply.records()[0].rtype, rtype::CNAME);
        seen.insert(last_octets(&answer));
    }
    assert_eq!(seen.len(), 6, "all orders of three: {seen:?}");
}

#[test]
fn addresses_in_preferred_networks_come_first() {
    let plugin = LoadBalance { weights: None, prefer: vec!["10.0.0.3/32".parse().unwrap()] };
    for _ in 0..50 {
        let mut answer = answer();
        plugin.reply(&mut request(), &mut answer);
        assert_eq!(last_octets(&answer)[0], 3);
    }
}

#[test]
fn addresses_come_first_in_proportion_to_their_weights() {
    let weights = Weights::read("# weights\nWEB.example.org\n10.0.0.1 8\n10.0.0.2 1\n").unwrap();
    let plugin = LoadBalance { weights: Some(Arc::new(ArcSwap::from_pointee(weights))), prefer: Vec::new() };
    let mut first = [0; 4];
    for _ in 0..10_000 {
        let mut answer = answer();
        plugin.reply(&mut request(), &mut answer);
        first[usize::from(last_octets(&answer)[0])] += 1;
    }
    assert!((7_700..8_300).contains(&first[1]), "8 of 10: {first:?}");
    assert!((800..1_200).contains(&first[3]), "1 of 10 without a weight: {first:?}");
}

#[test]
fn addresses_of_a_name_that_is_not_listed_come_first_equally_often() {
    for file in ["", "www.example.org\n10.0.0.1 200\n"] {
        let weights = Some(Arc::new(ArcSwap::from_pointee(Weights::read(file).unwrap())));
        let plugin = LoadBalance { weights, prefer: Vec::new() };
        let mut first = [0; 4];
        for _ in 0..9_000 {
            let mut answer = answer();
            plugin.reply(&mut request(), &mut answer);
            assert_eq!(answer.reply.records()[0].rtype, rtype::CNAME);
            first[usize::from(last_octets(&answer)[0])] += 1;
        }
        assert!(first[1..].iter().all(|count| (2_700..3_300).contains(count)), "{file:?}: {first:?}");
    }
}

#[test]
fn weights_apply_to_the_additional_addresses_of_srv_replies() {
    let weights = Weights::read("web.example.org\n10.0.0.1 1\n10.0.0.2 255\n10.0.0.3 1\n").unwrap();
    let plugin = LoadBalance { weights: Some(Arc::new(ArcSwap::from_pointee(weights))), prefer: Vec::new() };
    let first_of = |qtype| {
        let mut counts = [0; 4];
        for _ in 0..1_000 {
            let (mut request, mut answer) = (request(), answer());
            request.query.qtype = qtype;
            answer.reply.records_mut().pop();
            answer.reply.records_mut().iter_mut().for_each(|record| record.section = Section::Additional);
            plugin.reply(&mut request, &mut answer);
            counts[usize::from(answer.reply.rdata(&answer.reply.records()[0])[3])] += 1;
        }
        counts
    };
    assert!(first_of(rtype::SRV)[2] > 900);
    assert_eq!(first_of(rtype::MX), [0, 1_000, 0, 0], "only for A, AAAA and SRV");
}

#[test]
fn a_file_created_later_is_read_and_a_removed_one_keeps_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (path, current) = (folder.path().join("weights.txt"), ArcSwap::from_pointee(Weights::default()));
    let nothing = reload_if_changed(&path, String::new(), &current);
    std::fs::write(&path, "www.example.org\n10.0.0.1 8\n").unwrap();
    let text = reload_if_changed(&path, nothing, &current);
    let weights = current.load_full();
    assert_ne!(*weights, Weights::default());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(reload_if_changed(&path, text.clone(), &current), text);
    assert_eq!(*current.load_full(), *weights);
}
