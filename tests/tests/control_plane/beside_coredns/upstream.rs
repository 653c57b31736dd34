//! An upstream whose reply depends on nothing but the query: each name below `up.test.` stands for a behaviour.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tests::dns::Transport;

/// The reply to a query.
pub(super) fn reply(query: &Message, transport: Transport) -> Option<Message> {
    let question = query.queries.first()?.clone();
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.checking_disabled = query.metadata.checking_disabled;
    reply.metadata.recursion_available = true;
    if let Some(asked) = &query.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        edns.set_dnssec_ok(asked.flags().dnssec_ok);
        reply.set_edns(edns);
    }
    let owner = question.name.clone();
    reply.add_query(question.clone());
    match behavior(&owner).as_str() {
        "servfail" => reply.metadata.response_code = ResponseCode::ServFail,
        "refused" => reply.metadata.response_code = ResponseCode::Refused,
        "notimp" => reply.metadata.response_code = ResponseCode::NotImp,
        "formerr" => reply.metadata.response_code = ResponseCode::FormErr,
        "big" if transport == Transport::Udp => reply.metadata.truncation = true,
        "big" => {
            let text = |at: u8| TXT::new(vec![format!("{at}-{}", "x".repeat(100))]);
            reply.add_answers((0..60).map(|at| record(&owner, RData::TXT(text(at)))));
        }
        "empty" => {}
        "nx" => deny(&mut reply, ResponseCode::NXDomain),
        "gone" => {
            reply.add_answer(record(&owner, RData::CNAME(CNAME(name("nx.up.test.")))));
            deny(&mut reply, ResponseCode::NXDomain);
        }
        behavior => {
            reply.metadata.authentic_data = behavior == "ad";
            let target = match behavior {
                "cname" => Some(vec!["a.up.test."]),
                "chain" => Some(vec!["cname.up.test.", "a.up.test."]),
                _ => None,
            };
            let mut last = owner;
            for alias in target.into_iter().flatten() {
                reply.add_answer(record(&last, RData::CNAME(CNAME(name(alias)))));
                last = name(alias);
            }
            match data(behavior, question.query_type) {
                Some(found) => reply.add_answers(found.into_iter().map(|data| record(&last, data))),
                None if behavior == "none" => return Some(denied(reply)),
                None => return Some(no_data(reply)),
            };
            if behavior == "more" {
                reply.add_authority(record(&name("up.test."), RData::NS(NS(name("ns.up.test.")))));
                reply.add_additional(record(&name("ns.up.test."), address(53)));
            }
        }
    }
    Some(reply)
}

/// The label before `up.test.`, `apex` for that name itself, and `none` for names outside.
fn behavior(owner: &Name) -> String {
    let text = owner.to_string().to_ascii_lowercase();
    match text.strip_suffix("up.test.") {
        Some("") => "apex".to_owned(),
        Some(labels) if labels.ends_with('.') => {
            labels.trim_end_matches('.').rsplit('.').next().unwrap_or_default().to_owned()
        }
        _ => "none".to_owned(),
    }
}

/// The records of a type; `None` if there are none.
fn data(behavior: &str, kind: RecordType) -> Option<Vec<RData>> {
    match (behavior, kind) {
        ("none" | "nodata", _) => None,
        ("apex", RecordType::SOA) => Some(vec![soa()]),
        ("apex", RecordType::NS) => Some(vec![RData::NS(NS(name("ns.up.test.")))]),
        ("mx", RecordType::MX) => Some(vec![RData::MX(MX::new(10, name("a.up.test.")))]),
        ("txt", RecordType::TXT) => Some(vec![RData::TXT(TXT::new(vec!["one".into(), "two words".into()]))]),
        ("srv", RecordType::SRV) => Some(vec![RData::SRV(SRV::new(1, 2, 443, name("A.up.test.")))]),
        (_, RecordType::A) => Some(vec![address(1), address(2)]),
        (_, RecordType::AAAA) => Some(vec![RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))]),
        _ => None,
    }
}

fn denied(mut reply: Message) -> Message {
    deny(&mut reply, ResponseCode::NXDomain);
    reply
}

fn no_data(mut reply: Message) -> Message {
    deny(&mut reply, ResponseCode::NoError);
    reply
}

fn deny(reply: &mut Message, code: ResponseCode) {
    reply.metadata.response_code = code;
    reply.add_authority(record(&name("up.test."), soa()));
}

fn soa() -> RData {
    RData::SOA(SOA::new(name("ns.up.test."), name("host.up.test."), 7, 7200, 1800, 86_400, 3_000))
}

fn address(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(192, 0, 2, last)))
}

fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), 3_000, data)
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a valid name")
}
