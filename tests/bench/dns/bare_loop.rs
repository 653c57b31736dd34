//! Baseline: a loop of `recvmmsg`, one hash lookup, a copy of a prepared answer, and `sendmmsg`, in one thread.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use rustc_hash::FxBuildHasher;

use crate::dns::batch::Batch;
use crate::dns::dataset::Dataset;
use crate::dns::query::{QueryKind, TestQuery, encode_name};
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{Testbed, free_port};

const BATCH: usize = 32;
const HEADER: usize = 12;

/// Starts this program as the baseline server.
pub(crate) fn start(testbed: &Testbed, dataset: &Dataset) -> Result<Server, String> {
    let port = free_port()?;
    let itself = std::env::current_exe().map_err(|error| format!("path of this program: {error}"))?;
    let services = dataset.services().len();
    let mut command = Command::new(itself);
    command.args(["serve", "dns-loop", &port.to_string(), &services.to_string()]);
    let process = Process::start_server(testbed, &mut command, &testbed.folder("dns-loop")?)?;
    Ok(Server::new(process, port))
}

/// Serves until the process is terminated.
pub(crate) fn serve(port: &str, services: &str) -> Result<(), String> {
    let port: u16 = port.parse().map_err(|_| format!("{port}: expected a port"))?;
    let count = services.parse().map_err(|_| format!("{services}: expected a number of Services"))?;
    let dataset = Dataset::new(count);
    let (answers, missing) = (prepare(&dataset), nxdomain());
    let socket =
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| format!("port {port}: {error}"))?;
    let mut batch = Batch::new(BATCH);
    loop {
        let got = batch.receive(&socket, true);
        for index in 0..got {
            let (packet, length) = batch.packet_mut(index);
            let answer = answers.get(&packet[HEADER..*length]).unwrap_or(&missing);
            packet[2..HEADER].copy_from_slice(&answer[..HEADER - 2]);
            let records = &answer[HEADER - 2..];
            packet[*length..*length + records.len()].copy_from_slice(records);
            *length += records.len();
        }
        batch.send_back(&socket, got);
    }
}

/// Maps the question section to the rest of the reply: the header after the ID, and the records.
type Answers = HashMap<Vec<u8>, Vec<u8>, FxBuildHasher>;

fn prepare(dataset: &Dataset) -> Answers {
    let mut answers = Answers::default();
    let mut add = |query: &[u8], answer| answers.insert(query[HEADER..].to_vec(), answer);
    let queries = |kind| dataset.services().iter().map(move |it| (it, TestQuery::new(0, kind, it)));
    for (service, query) in queries(QueryKind::Address) {
        let record = record(&[0xc0, 12], 1, &service.address.octets());
        add(&query.packet, [head(0, [1, 0, 0]), record].concat());
    }
    for (service, query) in queries(QueryKind::Port) {
        let mut data = [[0, 0], [0, 100], service.port.to_be_bytes()].concat();
        let host = encode_name(&service.host());
        data.extend(&host);
        let records = [record(&[0xc0, 12], 33, &data), record(&host, 1, &service.address.octets())].concat();
        add(&query.packet, [head(0, [1, 0, 1]), records].concat());
    }
    answers
}

fn nxdomain() -> Vec<u8> {
    let data =
        [encode_name("ns.dns.cluster.local"), encode_name("hostmaster.cluster.local"), vec![0; 20]].concat();
    [head(3, [0, 1, 0]), record(&encode_name("cluster.local"), 6, &data)].concat()
}

/// Header flags (authoritative answer) and section counts, with one question.
fn head(rcode: u8, [answers, authority, additional]: [u8; 3]) -> Vec<u8> {
    vec![0x85, rcode, 0, 1, 0, answers, 0, authority, 0, additional]
}

fn record(owner: &[u8], rtype: u16, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16).to_be_bytes();
    [owner, &rtype.to_be_bytes(), &[0, 1, 0, 0, 0, 30], &length, data].concat()
}
