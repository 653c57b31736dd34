//! `forward` with `randomize_case`: upstreams that repeat the letter case of a question, that do not, and forged replies.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

use dns_wire::Query;
use dns_wire::codes::rtype;
use support::{TestClient, TestService, address, answers, read_framed};

/// The name that clients ask for.
const NAME: &str = "Www.a-long-name.example.ORG.";

/// An upstream that answers with one address over UDP and another over TCP, and notes the names it was asked for.
struct CaseUpstream {
    address: SocketAddr,
    /// Each name, and whether it came over TCP.
    names: Arc<Mutex<Vec<(String, bool)>>>,
}

/// How a server writes the question of a reply.
#[derive(Clone, Copy, PartialEq)]
enum Question {
    Repeated,
    InLowerCase,
}

impl CaseUpstream {
    /// Without a second value its TCP connections are closed at once.
    fn start(over_udp: Question, over_tcp: Option<Question>) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let (address, names) = (udp.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let seen = names.clone();
        std::thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, client)) = udp.recv_from(&mut packet) {
                let _ = udp.send_to(&answer(&packet[..length], over_udp, false, &seen), client);
            }
        });
        let seen = names.clone();
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                let Some(question) = over_tcp else { continue };
                while let Some(query) = read_framed(&mut stream) {
                    let reply = answer(&query, question, true, &seen);
                    stream.write_all(&[&(reply.len() as u16).to_be_bytes(), &reply[..]].concat()).unwrap();
                }
            }
        });
        Self { address, names }
    }

    /// The names since the last call: those over UDP, then those over TCP.
    fn take_names(&self) -> [Vec<String>; 2] {
        let names = std::mem::take(&mut *self.names.lock().unwrap());
        [false, true].map(|over_tcp| {
            names.iter().filter(|(_, tcp)| *tcp == over_tcp).map(|(name, _)| name.clone()).collect()
        })
    }
}

fn answer(packet: &[u8], question: Question, tcp: bool, seen: &Mutex<Vec<(String, bool)>>) -> Vec<u8> {
    let mut query = Query::default();
    query.parse(packet).unwrap();
    seen.lock().unwrap().push((query.to_name().to_string(), tcp));
    let mut out = vec![0; 512];
    let length = address(&query, [192, 0, 2, 1 + u8::from(tcp)], 60).encode(&query, 512, &mut out);
    out.truncate(length);
    if question == Question::InLowerCase {
        out[12..12 + query.name().len()].make_ascii_lowercase();
    }
    out
}

async fn service(upstream: &CaseUpstream, more: &str) -> TestService {
    let lines = format!("forward . {} {{\nrandomize_case\n{more}\n}}", upstream.address);
    TestService::start(&format!(".:0 {{\n{lines}\n}}")).await
}

/// The answer that a client gets, and its owner.
fn ask(service: &TestService) -> (String, String) {
    let (query, reply) = TestClient::udp(service.address).query(NAME, rtype::A);
    let owner = reply.owner(&reply.records()[0], &query).to_string();
    (answers(&reply, &query), owner)
}

fn mismatches(service: &TestService, upstream: &CaseUpstream) -> bool {
    let line = format!("portolan_forward_case_mismatches_total{{to=\"{}\"}} 1\n", upstream.address);
    service.metrics.text().contains(&line)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_gets_a_random_letter_case_and_clients_their_own() {
    let upstream = CaseUpstream::start(Question::Repeated, None);
    let service = service(&upstream, "").await;
    for _ in 0..4 {
        assert_eq!(ask(&service), ("A 192.0.2.1".to_owned(), NAME.to_owned()));
    }
    let [mut names, _] = upstream.take_names();
    assert!(names.iter().all(|name| name.eq_ignore_ascii_case(NAME)), "{names:?}");
    names.sort();
    names.dedup();
    // With 22 letters, two equal ones among four are an event of one in 700,000.
    assert_eq!(names.len(), 4, "{names:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_changes_the_letter_case_gets_names_as_they_are() {
    let upstream = CaseUpstream::start(Question::InLowerCase, Some(Question::InLowerCase));
    let service = service(&upstream, "").await;
    assert_eq!(ask(&service).0, "A 192.0.2.2", "over TCP, because the reply over UDP may be forged");
    let [udp, tcp] = upstream.take_names();
    assert_eq!((udp.len(), tcp.len()), (1, 1));
    for _ in 0..3 {
        assert_eq!(ask(&service).0, "A 192.0.2.1");
    }
    assert_eq!(upstream.take_names(), [vec![NAME.to_owned(); 3], vec![]]);
    assert!(mismatches(&service, &upstream), "{}", service.metrics.text());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_reply_with_another_letter_case_is_not_used() {
    // The replies over UDP are those of an attacker who has guessed the ID, and not the letter case.
    let upstream = CaseUpstream::start(Question::InLowerCase, Some(Question::Repeated));
    let service = service(&upstream, "").await;
    for _ in 0..3 {
        assert_eq!(ask(&service), ("A 192.0.2.2".to_owned(), NAME.to_owned()));
    }
    let [udp, tcp] = upstream.take_names();
    assert_eq!((udp.len(), tcp.len()), (3, 3));
    assert!(udp.iter().any(|name| name != NAME), "the letter case is still random: {udp:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_without_tcp_that_changes_the_letter_case_is_asked_again() {
    let upstream = CaseUpstream::start(Question::InLowerCase, None);
    let service = service(&upstream, "max_fails 0").await;
    assert_eq!(ask(&service).0, "A 192.0.2.1", "the second attempt");
    let [udp, _] = upstream.take_names();
    assert_eq!((udp.len(), udp[1].as_str()), (2, NAME));
    service.stop().await;
}
