//! The current time is the receive time of each query.

use std::net::SocketAddr;

use dns_wire::codes::rtype;
use dns_wire::{Owner, Query, Section};
use telemetry::metrics::Registry;

use super::*;
use crate::plugin::QueryFailure;
use crate::request::Transport;

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 53);

fn cache(lines: &str) -> Cache {
    let text = format!("example.org {{\ncache 3600 {{\n{lines}\n}}\n}}");
    let options = config::ParseOptions { dns_port: 53, directives: &[], env: &|_| None };
    let corefile = config::Corefile::parse("Corefile", &text, &config::Disk, &options).unwrap();
    let block = &corefile.blocks[0];
    let options = CacheOptions::read(&block.directives[0], block).unwrap();
    Cache {
        success: table(&options.success),
        denial: table(&options.denial),
        options,
        metrics: vec![Arc::new(CacheMetrics::new(&Registry::new(), ["dns://:53", "example.org.", ""]))],
        in_memory: InMemoryZones::default(),
    }
}

fn request(name: &str, start: Instant, seconds: u64) -> Request {
    let mut request = Request::new(Transport::Udp, SERVER);
    request.query = Query::new(1, &name.parse().unwrap(), rtype::A);
    request.received = start + Duration::from_secs(seconds);
    request
}

fn refresh(name: &str, start: Instant, seconds: u64) -> Request {
    let mut request = request(name, start, seconds);
    request.purpose = Purpose::Refresh;
    request
}

fn address(ttl: u32) -> Answer {
    let mut answer = Answer::default();
    answer.reply.authoritative = true;
    answer.reply.push(Section::Answer, Owner::Question, rtype::A, ttl, &[192, 0, 2, 1]);
    answer
}

fn denial(code: u16, ttl: u32) -> Answer {
    let mut answer = Answer::default();
    answer.reply.rcode = code;
    let mut data = vec![0; 22];
    data[18..].copy_from_slice(&ttl.to_be_bytes());
    answer.reply.push(Section::Authority, Owner::Name(b"\x07example\x03org\0"), rtype::SOA, 900, &data);
    answer
}

/// Queries the cache. Returns the flow, the response code and the TTL of the first record.
fn query(cache: &Cache, request: &Request) -> (Flow, u16, Option<u32>) {
    let mut answer = Answer::default();
    let flow = cache.query(&mut request.clone(), &mut answer);
    let Answer { reply, .. } = answer;
    (flow, reply.rcode, reply.records().first().map(|record| record.ttl))
}

#[test]
fn an_answer_is_cached_for_its_shortest_ttl_within_bounds() {
    for (lines, ttl, life) in [
        ("", 60, 60),
        ("", 1, 5),
        ("", 9000, 3600),
        ("success 2048 30 10", 60, 30),
        ("success 2048 30 10", 2, 10),
        ("success 2048 3", 60, 3),
        ("success 2048 3 10", 60, 3),
        ("success 0", 60, 60),
        ("success -1 30 10 7", 60, 30),
    ] {
        let (cache, start) = (cache(lines), Instant::now());
        let mut answer = address(ttl);
        cache.reply(&mut request("www.example.org.", start, 0), &mut answer);
        assert_eq!(answer.reply.records()[0].ttl, life, "{lines:?}: the first client sees it too");
        let at = |seconds| query(&cache, &request("WWW.example.org.", start, seconds));
        assert_eq!(at(1), (Flow::Done, 0, Some(life - 1)), "{lines:?}, {ttl}");
        assert_eq!(at(u64::from(life)), (Flow::Next, 0, None), "{lines:?}, {ttl}: expired");
    }
}

#[test]
fn with_keepttl_the_ttl_does_not_count_down() {
    let (cache, start) = (cache("keepttl\nserve_stale 1h"), Instant::now());
    cache.reply(&mut request("www.example.org.", start, 0), &mut address(60));
    for seconds in [0, 30, 59, 60, 600] {
        assert_eq!(query(&cache, &request("www.example.org.", start, seconds)).2, Some(60), "{seconds}");
    }
}

#[test]
fn stale_answers_are_not_served_if_that_is_switched_off() {
    for lines in ["", "serve_stale 0", "serve_stale 0 verify\nserve_stale_policy prefer_positive"] {
        let (cache, start) = (cache(lines), Instant::now());
        let name = "www.example.org.";
        cache.reply(&mut request(name, start, 0), &mut address(10));
        assert_eq!(query(&cache, &request(name, start, 10)).0, Flow::Next, "{lines:?}");
        cache.reply(&mut request(name, start, 11), &mut address(60));
        cache.reply(&mut request(name, start, 15), &mut denial(3, 60));
        assert_eq!(query(&cache, &request(name, start, 20)).1, 3, "{lines:?}: the newer answer is served");
    }
}

#[test]
fn the_last_disable_of_a_kind_takes_effect() {
    let lines = "disable success a.example.org\ndisable success b.example.org\ndisable denial";
    let (cache, start) = (cache(lines), Instant::now());
    for (name, flow) in [("a.example.org.", Flow::Done), ("b.example.org.", Flow::Next)] {
        cache.reply(&mut request(name, start, 0), &mut address(60));
        assert_eq!(query(&cache, &request(name, start, 1)).0, flow, "{name}");
    }
    cache.reply(&mut request("c.example.org.", start, 0), &mut denial(3, 60));
    assert_eq!(query(&cache, &request("c.example.org.", start, 1)).0, Flow::Next);
}

#[test]
fn the_remaining_ttl_is_rounded_up_to_full_seconds() {
    let (cache, start) = (cache(""), Instant::now());
    cache.reply(&mut request("www.example.org.", start, 0), &mut address(30));
    for (seconds, milliseconds, left) in [(0, 900, 30), (1, 100, 29), (29, 999, 1)] {
        let mut request = request("www.example.org.", start, seconds);
        request.received += Duration::from_millis(milliseconds);
        assert_eq!(query(&cache, &request), (Flow::Done, 0, Some(left)), "{seconds}.{milliseconds}");
    }
}

#[test]
fn denials_are_cached_for_the_soa_minimum_and_failures_briefly() {
    let (cache, start) = (cache(""), Instant::now());
    for (name, code, ttl, life) in
        [("a.example.org.", 3, 20, 20), ("b.example.org.", 0, 20, 20), ("c.example.org.", 2, 20, 5)]
    {
        cache.reply(&mut request(name, start, 0), &mut denial(code, ttl));
        assert_eq!(query(&cache, &request(name, start, life - 1)).1, code, "{name}");
        assert_eq!(query(&cache, &request(name, start, life)).0, Flow::Next, "{name}: expired");
    }
    assert_eq!(cache.metrics[0].denial.hits.value(), 3);
}

#[test]
fn answers_that_must_not_be_cached_are_not() {
    let (cache, start) = (cache("disable success www.example.org\nservfail 0"), Instant::now());
    let mut truncated = address(60);
    truncated.reply.truncated = true;
    let mut nothing = Answer::default();
    let mut from_memory = address(9000);
    from_memory.from_memory = true;
    let cases: [(&str, &mut Answer); 7] = [
        ("cut.example.org.", &mut truncated),
        ("nothing.example.org.", &mut nothing),
        ("refused.example.org.", &mut denial(5, 60)),
        ("failed.example.org.", &mut denial(2, 60)),
        ("a.www.example.org.", &mut address(60)),
        ("other.example.net.", &mut address(60)),
        ("memory.example.org.", &mut from_memory),
    ];
    for (name, answer) in cases {
        cache.reply(&mut request(name, start, 0), answer);
        assert_eq!(query(&cache, &request(name, start, 1)).0, Flow::Next, "{name}");
    }
    assert_eq!(
        from_memory.reply.records()[0].ttl,
        3600,
        "the upper bound also applies to answers from memory"
    );
}

/// A reply to `www.example.org A` from records written as section, owner, type, TTL and data, which is mostly a name.
fn reply(code: u16, records: &str) -> Answer {
    let mut answer = Answer::default();
    answer.reply.rcode = code;
    let wire = |name: &str| name.parse::<dns_wire::Name>().unwrap().wire().to_vec();
    for line in records.split(", ").filter(|line| !line.is_empty()) {
        let [section, owner, kind, ttl, data] = *line.split(' ').collect::<Vec<_>>() else {
            panic!("{line}")
        };
        let section = match section {
            "an" => Section::Answer,
            "ns" => Section::Authority,
            _ => Section::Additional,
        };
        let (kind, data) = match kind {
            "A" => (rtype::A, vec![192, 0, 2, 1]),
            "CNAME" => (rtype::CNAME, wire(data)),
            "NS" => (rtype::NS, wire(data)),
            "SOA" => (
                rtype::SOA,
                [wire("ns."), wire("m."), vec![0; 16], vec![0, 0, 0, data.parse().unwrap()]].concat(),
            ),
            "RRSIG" => {
                let until = (unix_seconds() as i64 + data.parse::<i64>().unwrap()) as u32;
                let (until, since) = (until.to_be_bytes(), (unix_seconds() as u32 - 900).to_be_bytes());
                (rtype::RRSIG, [&[0; 8][..], &until, &since, &[0; 3]].concat())
            }
            _ => panic!("{line}"),
        };
        answer.reply.push(section, Owner::Name(&wire(owner)), kind, ttl.parse().unwrap(), &data);
    }
    answer
}

#[test]
fn a_reply_is_cached_according_to_its_kind() {
    let soa = "ns example.org. SOA 60 50";
    let alias = "an WWW.example.org. CNAME 40 a.Example.org.";
    // The TTL that all records get, and whether the reply is cached.
    for (what, code, records, ttl, kept) in [
        ("an address", 0, "an www.example.org. A 30 .", 30, true),
        ("an alias of it", 0, &format!("{alias}, an A.example.org. A 30 ."), 30, true),
        ("the same alias twice", 0, &format!("{alias}, {alias}, an a.example.org. A 30 ."), 30, true),
        ("an alias without an address", 0, alias, 40, false),
        (
            "an alias and an address of another name",
            0,
            &format!("{alias}, an b.example.org. A 30 ."),
            30,
            false,
        ),
        ("two aliases", 0, &format!("{alias}, an www.example.org. CNAME 9 b., an b. A 9 ."), 9, false),
        ("a loop of aliases", 0, &format!("{alias}, an a.example.org. CNAME 9 www.example.org."), 9, false),
        ("an alias and a denial", 0, &format!("{alias}, {soa}"), 40, true),
        ("NODATA", 0, soa, 50, true),
        ("NODATA without a SOA", 0, "ad www.example.org. A 9 .", 9, false),
        ("NXDOMAIN", 3, soa, 50, true),
        ("NXDOMAIN without a SOA", 3, "ad www.example.org. A 9 .", 9, false),
        ("NXDOMAIN of an alias", 3, &format!("{alias}, {soa}"), 40, true),
        ("NXDOMAIN of an alias without a SOA", 3, alias, 5, false),
        ("NXDOMAIN with an address", 3, &format!("an www.example.org. A 30 ., {soa}"), 5, false),
        ("a delegation", 0, "ns example.org. NS 900 ns.example.org.", 5, true),
        ("a failure", 2, soa, 5, true),
        ("a refusal", 5, "an www.example.org. A 30 .", 5, false),
        ("a good signature", 0, "an www.example.org. A 30 ., an www.example.org. RRSIG 30 900", 30, true),
        ("an old signature", 0, "an www.example.org. A 30 ., an www.example.org. RRSIG 30 -9", 5, false),
    ] {
        let (cache, start) = (cache(""), Instant::now());
        let request = |seconds| {
            let mut request = request("www.example.org.", start, seconds);
            request.query.edns = Some(dns_wire::Edns { udp_size: 1232, version: 0, dnssec_ok: true });
            request
        };
        let mut answer = reply(code, records);
        cache.reply(&mut request(0), &mut answer);
        let ttls: Vec<u32> = answer.reply.records().iter().map(|record| record.ttl).collect();
        assert!(ttls.iter().all(|given| *given == ttl), "{what}: {ttls:?}");
        assert_eq!(query(&cache, &request(1)).0 == Flow::Done, kept, "{what}");
    }
}

#[test]
fn a_cached_failure_does_not_hide_an_answer() {
    for (code, served) in [(2, 0), (3, 3), (4, 4)] {
        let (cache, start) = (cache(""), Instant::now());
        let name = "www.example.org.";
        cache.reply(&mut request(name, start, 0), &mut address(60));
        cache.reply(&mut request(name, start, 1), &mut denial(code, 60));
        assert_eq!(query(&cache, &request(name, start, 2)).1, served);
        assert_eq!(query(&cache, &request(name, start, 4)).0, Flow::Done);
    }
}

#[test]
fn queries_with_another_do_bit_or_type_are_cached_separately() {
    let (cache, start) = (cache(""), Instant::now());
    cache.reply(&mut request("www.example.org.", start, 0), &mut address(60));
    let mut other = request("www.example.org.", start, 1);
    other.query.edns = Some(dns_wire::Edns { udp_size: 1232, version: 0, dnssec_ok: true });
    assert_eq!(query(&cache, &other).0, Flow::Next, "DO");
    let mut other = request("www.example.org.", start, 1);
    other.query.qtype = rtype::AAAA;
    assert_eq!(query(&cache, &other).0, Flow::Next, "AAAA");
}

#[test]
fn a_popular_answer_is_refreshed_once_before_it_expires() {
    let (cache, start) = (cache("prefetch 2 10s 10%"), Instant::now());
    cache.reply(&mut request("www.example.org.", start, 0), &mut address(100));
    let at = |seconds| query(&cache, &request("www.example.org.", start, seconds)).0;
    assert_eq!([at(5), at(6)], [Flow::Done, Flow::Done], "long before");
    assert_eq!(at(91), Flow::Done, "the gap was too long");
    assert_eq!([at(92), at(93)], [Flow::Refresh, Flow::Done], "one at a time");
    let mut refresh = request("www.example.org.", start, 93);
    refresh.purpose = Purpose::Refresh;
    cache.reply(&mut refresh.clone(), &mut denial(2, 60));
    assert_eq!(
        query(&cache, &request("www.example.org.", start, 94)).1,
        0,
        "a failed refresh changes nothing"
    );
    cache.reply(&mut refresh.clone(), &mut address(100));
    assert!(query(&cache, &request("www.example.org.", start, 1)).2 > Some(90), "a good one does");
}

#[test]
fn a_refreshed_answer_keeps_its_hit_count() {
    let (cache, start) = (cache("prefetch 2 20s 90%"), Instant::now());
    cache.reply(&mut request("www.example.org.", start, 0), &mut address(100));
    let at = |seconds| query(&cache, &request("www.example.org.", start, seconds)).0;
    assert_eq!([at(19), at(20)], [Flow::Done, Flow::Refresh]);
    let refresh = refresh("www.example.org.", start, 20);
    cache.reply(&mut refresh.clone(), &mut address(100));
    // A refresh reads the clock itself, so the entry was stored at about `start`.
    assert_eq!(at(11), Flow::Refresh, "once more is enough");
}

#[test]
fn a_stale_answer_is_served_while_it_is_refreshed() {
    let old = || (Flow::Done, 0, Some(3));
    let wait = || (Flow::Wait, 0, None);
    for (lines, first, next) in [
        ("serve_stale 60s immediate 3s 2s", (Flow::Refresh, 0, Some(3)), old()),
        ("serve_stale 60s immediate 3s", (Flow::Refresh, 0, Some(3)), old()),
        ("serve_stale 60s verify 1s 3s 2s", wait(), old()),
        ("serve_stale 60s VERIFY 1s 3s", wait(), old()),
        ("serve_stale 60s verify 0s 3s 2s", wait(), old()),
        ("serve_stale 60s verify 0s 3s", wait(), wait()),
        ("serve_stale 60s verify", wait(), wait()),
    ] {
        let (cache, start) = (cache(lines), Instant::now());
        cache.reply(&mut request("www.example.org.", start, 0), &mut address(10));
        let at = |seconds| query(&cache, &request("www.example.org.", start, seconds));
        assert_eq!(at(20), first, "{lines}");
        assert_eq!(at(20), next, "{lines}: the second query");
        // As in CoreDNS, refreshes of `verify` are not counted.
        let refreshes = u64::from(first.0 == Flow::Refresh);
        assert_eq!(cache.metrics[0].prefetches.value(), refreshes, "{lines}");
        assert_eq!(at(70).0, Flow::Next, "{lines}: too old");
    }
}

#[test]
fn a_stale_answer_is_refreshed_again_if_the_refresh_did_not_replace_it() {
    let name = "www.example.org.";
    for (lines, mut fresh) in [
        ("serve_stale\nsuccess 2048 3600 0", address(0)),
        ("serve_stale\nserve_stale_policy prefer_positive", denial(3, 60)),
        ("serve_stale\ndisable denial", denial(3, 60)),
        ("serve_stale", denial(2, 60)),
    ] {
        let (cache, start) = (cache(lines), Instant::now());
        cache.reply(&mut request(name, start, 0), &mut address(10));
        let at = |seconds| query(&cache, &request(name, start, seconds)).0;
        assert_eq!([at(20), at(20)], [Flow::Refresh, Flow::Done], "{lines:?}");
        let refresh = refresh(name, start, 20);
        cache.reply(&mut refresh.clone(), &mut fresh);
        assert_eq!(at(21), Flow::Refresh, "{lines:?}");
    }
}

/// An explanation asks for a refresh that is not made.
#[test]
fn a_cancelled_refresh_does_not_count_as_a_failed_one() {
    let name = "www.example.org.";
    let (cache, start) = (cache("serve_stale 60s immediate 3s 30s"), Instant::now());
    cache.reply(&mut request(name, start, 0), &mut address(10));
    let at = |seconds| query(&cache, &request(name, start, seconds)).0;
    assert_eq!([at(20), at(20)], [Flow::Refresh, Flow::Done], "a refresh is in progress");
    cache.cancel_refresh(&request(name, start, 20));
    assert_eq!(at(20), Flow::Refresh, "without the pause after a failed refresh");
    cache.reply(&mut refresh(name, start, 20), &mut denial(2, 60));
    assert_eq!(at(20), Flow::Done, "a failed refresh has a pause");
}

#[test]
fn a_refresh_from_memory_removes_the_entry() {
    let name = "www.example.org.";
    for mut kept in [address(10), denial(3, 10)] {
        let (cache, start) = (cache("serve_stale"), Instant::now());
        cache.reply(&mut request(name, start, 0), &mut kept);
        assert_eq!(query(&cache, &request(name, start, 20)).0, Flow::Refresh);
        let mut fresh = Answer { from_memory: true, ..address(60) };
        cache.reply(&mut refresh(name, start, 20), &mut fresh);
        assert_eq!(query(&cache, &request(name, start, 21)).0, Flow::Next);
    }
}

#[test]
fn with_prefer_positive_a_stale_answer_comes_before_a_denial() {
    for (policy, code) in [("", 3), ("serve_stale_policy prefer_positive", 0)] {
        let (cache, start) = (cache(&format!("serve_stale\n{policy}")), Instant::now());
        let name = "www.example.org.";
        cache.reply(&mut request(name, start, 0), &mut address(10));
        cache.reply(&mut request(name, start, 15), &mut denial(3, 60));
        assert_eq!(query(&cache, &request(name, start, 20)).1, code, "{policy:?}");
    }
}

/// 2,900 CNAMEs fit into a message of 64 KiB. Without the limit, following all of them took half a second.
#[test]
fn a_long_chain_of_cnames_is_passed_on_and_not_cached() {
    let name = |number: usize| format!("n{number}.example.org.").parse::<dns_wire::Name>().unwrap();
    let chain = |length: usize| {
        let mut answer = Answer::default();
        for number in (0..length).rev() {
            let target = name(number + 1);
            answer.reply.push(
                Section::Answer,
                Owner::Name(name(number).wire()),
                rtype::CNAME,
                60,
                target.wire(),
            );
        }
        let owner = name(length);
        answer.reply.push(Section::Answer, Owner::Name(owner.wire()), rtype::A, 60, &[192, 0, 2, 1]);
        answer
    };
    for (length, kept) in [(1, true), (16, true), (17, false), (2_900, false)] {
        let (cache, start) = (cache(""), Instant::now());
        cache.reply(&mut request("n0.example.org.", start, 0), &mut chain(length));
        assert_eq!(query(&cache, &request("n0.example.org.", start, 1)).0 == Flow::Done, kept, "{length}");
    }
}

#[test]
fn a_failure_caused_by_overload_is_not_cached() {
    let (cache, start) = (cache(""), Instant::now());
    for (failure, flow) in [
        (QueryFailure::overloaded(), Flow::Next),
        (QueryFailure::new(rcode::SERVFAIL, "i/o timeout"), Flow::Done),
    ] {
        let mut answer = Answer::default();
        answer.fail(failure);
        cache.reply(&mut request("www.example.org.", start, 0), &mut answer);
        assert_eq!(query(&cache, &request("www.example.org.", start, 1)).0, flow);
    }
}

#[test]
fn a_lost_refresh_is_started_again_after_its_lease() {
    let (cache, start) = (cache("serve_stale 1h"), Instant::now());
    cache.reply(&mut request("www.example.org.", start, 0), &mut address(10));
    let at = |seconds| query(&cache, &request("www.example.org.", start, seconds)).0;
    assert_eq!([at(20), at(21), at(30), at(32)], [Flow::Refresh, Flow::Done, Flow::Done, Flow::Refresh]);
}

#[test]
fn a_stale_answer_is_served_if_the_query_cannot_wait() {
    let (cache, start) = (cache("serve_stale 1h verify 1s 3s 2s"), Instant::now());
    cache.reply(&mut request("www.example.org.", start, 0), &mut address(10));
    let mut answer = Answer::default();
    assert_eq!(query(&cache, &request("www.example.org.", start, 20)).0, Flow::Wait);
    assert!(cache.overloaded(&request("www.example.org.", start, 20), &mut answer));
    assert_eq!(answer.reply.records()[0].ttl, 3);
    assert_eq!(
        query(&cache, &request("www.example.org.", start, 20)).0,
        Flow::Wait,
        "the next query refreshes again"
    );
    assert!(!cache.overloaded(&request("other.example.org.", start, 20), &mut answer));
}

#[test]
fn answers_take_no_more_memory_than_allowed() {
    let (cache, start) = (cache("success 0"), Instant::now());
    let large = || {
        let mut answer = Answer::default();
        answer.reply.push(Section::Answer, Owner::Question, rtype::A, 60, &[192, 0, 2, 1]);
        for _ in 0..7 {
            answer.reply.push(Section::Additional, Owner::Question, rtype::TXT, 60, &[b'x'; 60_000]);
        }
        answer
    };
    for number in 0..100 {
        cache.reply(&mut request(&format!("n{number}.example.org."), start, 0), &mut large());
        assert!(cache.success.bytes() <= MIN_BYTES, "{}", cache.success.bytes());
    }
    assert_eq!(cache.success.len(), MIN_BYTES / (420_000 + 1024));
    let mut huge = large();
    huge.reply.append(&large().reply, &request("n0.example.org.", start, 0).query);
    for _ in 0..4 {
        huge.reply.push(Section::Additional, Owner::Question, rtype::TXT, 60, &[b'x'; 60_000]);
    }
    cache.reply(&mut request("huge.example.org.", start, 0), &mut huge);
    assert_eq!(
        query(&cache, &request("huge.example.org.", start, 1)).0,
        Flow::Next,
        "too large to be cached"
    );
    let metrics = &cache.metrics[0].success;
    assert_eq!(metrics.evictions_for_bytes.value(), 100 - cache.success.len() as u64 + 1);
}
